"""Can a signal get through this network, forward and back, before anyone trains it?

    import varprobe as vp
    ds = vp.sweep(depth=50, act="relu")
    print(vp.diagnose(ds))

Names are loaded when they are first used, so that importing the package imports neither jax, xarray nor matplotlib.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

__version__ = version("varprobe")

HOMES = {
    "advise": "varprobe.verdict.advise",
    "assert_healthy": "varprobe.runs.health",
    "MachineError": "varprobe.errors",
    "Recorder": "varprobe.model.recording",
    "InvalidArgumentError": "varprobe.errors",
    "build": "varprobe.runs.build",
    "coord_check": "varprobe.training.coordinates",
    "diagnose": "varprobe.runs.diagnose",
    "export": "varprobe.exports.exporting",
    "healthy": "varprobe.runs.health",
    "instrument": "varprobe.model.instrumenting",
    "mark": "varprobe.model.marking",
    "open_run": "varprobe.runs.open",
    "plot_histogram": "varprobe.plots.histogram",
    "plot_before_after": "varprobe.plots.change",
    "plot_coord_check": "varprobe.plots.coordinates",
    "plot_correlation": "varprobe.plots.correlation",
    "plot_heatmap": "varprobe.plots.heatmap",
    "plot_match": "varprobe.plots.match",
    "plot_model": "varprobe.plots.sites",
    "plot_widths": "varprobe.plots.widths",
    "plot_panels": "varprobe.plots.panels",
    "plot_phase": "varprobe.plots.phase",
    "plot_spectrum": "varprobe.plots.spectrum",
    "plot_training": "varprobe.plots.training",
    "plot_trainability": "varprobe.plots.trainability",
    "plot_variance": "varprobe.plots",
    "verdict_accuracy": "varprobe.training.nets",
    "probe": "varprobe.model.probing",
    "report": "varprobe.exports.reporting.writing",
    "rerun": "varprobe.runs.rerun",
    "select": "varprobe.storage.dataset",
    "style": "varprobe.plots.style",
    "sweep": "varprobe.sweeps.sweep",
    "theory": "varprobe.theory",
    "track": "varprobe.training.track",
    "trainability": "varprobe.training.trainability",
    "verify": "varprobe.runs.verifying.whole",
}
"""The module of each public name; a module that has the name itself is what the name means."""

__all__ = [
    "MachineError",
    "Recorder",
    "InvalidArgumentError",
    "advise",
    "assert_healthy",
    "build",
    "coord_check",
    "diagnose",
    "export",
    "healthy",
    "instrument",
    "mark",
    "open_run",
    "plot_histogram",
    "plot_before_after",
    "plot_coord_check",
    "plot_correlation",
    "plot_heatmap",
    "plot_match",
    "plot_model",
    "plot_widths",
    "plot_panels",
    "plot_phase",
    "plot_spectrum",
    "plot_training",
    "plot_trainability",
    "plot_variance",
    "verdict_accuracy",
    "probe",
    "report",
    "rerun",
    "select",
    "style",
    "sweep",
    "theory",
    "track",
    "trainability",
    "verify",
]

if TYPE_CHECKING:
    from varprobe import theory
    from varprobe.errors import InvalidArgumentError, MachineError
    from varprobe.exports.exporting import export
    from varprobe.exports.reporting.writing import report
    from varprobe.model.instrumenting import instrument
    from varprobe.model.marking import mark
    from varprobe.model.probing import probe
    from varprobe.model.recording import Recorder
    from varprobe.plots import plot_variance
    from varprobe.plots.change import plot_before_after
    from varprobe.plots.coordinates import plot_coord_check
    from varprobe.plots.correlation import plot_correlation
    from varprobe.plots.heatmap import plot_heatmap
    from varprobe.plots.histogram import plot_histogram
    from varprobe.plots.match import plot_match
    from varprobe.plots.panels import plot_panels
    from varprobe.plots.phase import plot_phase
    from varprobe.plots.sites import plot_model
    from varprobe.plots.spectrum import plot_spectrum
    from varprobe.plots.style import style
    from varprobe.plots.trainability import plot_trainability
    from varprobe.plots.training import plot_training
    from varprobe.plots.widths import plot_widths
    from varprobe.runs.build import build
    from varprobe.runs.diagnose import diagnose
    from varprobe.runs.health import assert_healthy, healthy
    from varprobe.runs.open import open_run
    from varprobe.runs.rerun import rerun
    from varprobe.runs.verifying.whole import verify
    from varprobe.storage.dataset import select
    from varprobe.sweeps.sweep import sweep
    from varprobe.training.coordinates import coord_check
    from varprobe.training.nets import verdict_accuracy
    from varprobe.training.track import track
    from varprobe.training.trainability import trainability
    from varprobe.verdict.advise import advise


RENAMED = {"RequestError": "InvalidArgumentError", "prediction": "verdict_accuracy"}
"""Public names of 0.1, and what they are called."""


def __getattr__(name: str) -> Any:
    if name in RENAMED:
        raise AttributeError(f"varprobe.{name} is called varprobe.{RENAMED[name]}")
    if name not in HOMES:
        raise AttributeError(f"module 'varprobe' has no attribute {name!r}")
    home = import_module(HOMES[name])
    value = home if home.__name__ == f"{__name__}.{name}" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *HOMES])
