"""`varprobe.trainability`: who of a grid of nets learns, beside what was said of them before any training."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.spec.argument_types import checks_types
from varprobe.storage.paths import folder_of
from varprobe.storage.progress import Progress, Unwatched
from varprobe.sweeps.sweep import run
from varprobe.training.jobs import programs
from varprobe.training.optimizers import DEFAULT
from varprobe.training.outcomes import has_trained, skill_of_accuracy, skill_of_loss
from varprobe.training.request import Training, read_training
from varprobe.training.run import run_training
from varprobe.verdict.stacks import diagnosed_stacks

__all__ = ["run_trainability", "trainability", "with_defaults"]

STEPS = 200
DEFAULTS = {"act": "tanh", "depth": "10:60:6", "width": 128, "seeds": 1}
SIGMAS = {"sigma_w2": "1:4:7", "sigma_b2": 0.05}
"""Schoenholz et al. (2017), figure 5, where no initializer is given: tanh is critical at sigma_w2 = 1.76 there."""

TEXTS = {
    "healthy": "the verdict before training",
    "forward": "its word for the activations",
    "backward": "its word for the gradients",
    "flags": "its flags",
    "notes": "its notes",
}


@checks_types
def trainability(
    *,
    optimizer: Any = DEFAULT,
    steps: int = STEPS,
    out: str | os.PathLike[str] | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
    **stack: Any,
) -> xr.Dataset:
    """Train every net of a grid, and tell how well the verdict before training predicted which networks learn.

    The nets are those that `varprobe.sweep` measures, weights and first batch the same; nets of one shape are trained
    by one compiled program.

    Args:
        optimizer: see `varprobe.track`; several.
        steps: updates.
        out: a run folder; what is finished is kept, and the same request again computes only what is missing. None
            writes nothing.
        fresh: compute what is in the folder again.
        progress: told what is going on; without it notes are Python warnings.
        stack: what `varprobe.sweep` takes, with these differences. data: "digits" (the default), a file or an array.
            labels: for data of your own. loss: "cross_entropy" or "mse"; without it what the labels are. act: "tanh".
            depth: "10:60:6". width: 128. seeds: 1. Without init and sigma_w2: sigma_w2="1:4:7"; with sigma_w2, and
            without bias: sigma_b2=0.05.

    Returns:
        A dataset with dims (config, seed). `final_accuracy`, `final_loss`, over at most 2048 samples, `diverged_step`
        and `batch_loss` (by `training_step`, too) as of `varprobe.track`; `skill`, the share of the way from the best
        constant answer to all right (R^2 for mse; NaN for a net that diverged); `trained`, whether that is 0.5 at
        least; `score`, the larger of |log10 RMS ratio| of activations and of gradients between layers 1 and L before
        training (infinite where a signal is lost). Coordinates on config beside those of a sweep: optimizer, which
        varies fastest, and the verdict of `vp.diagnose` before training: healthy, forward, backward, flags, notes.
        `varprobe.prediction(ds)` compares the two.

    Raises:
        InvalidArgumentError: a value is wrong, the data have no labels, or fewer samples than a batch.
        MachineError: disk, memory or device failed; what was finished is kept.

    Example:
        ds = varprobe.trainability(act="tanh", depth="10:60:6", sigma_w2="1:4:13", steps=500)
        print(varprobe.prediction(ds).recall)
        varprobe.plot_trainability(ds)
    """
    if "at" in stack:
        raise InvalidArgumentError("trainability measures nothing on the way; varprobe.track does", "at")
    training = read_training("trainability", optimizer=optimizer, steps=steps, at=(), **with_defaults(stack))
    folder = None if out is None else folder_of(out, "out")
    return run_trainability(training, folder, fresh, progress)


def with_defaults(stack: dict[str, Any]) -> dict[str, Any]:
    """The arguments with what stands for those that were not given."""
    stack = {name: value for name, value in stack.items() if value is not None}
    weights, biases = {"init", "sigma_w2"} & set(stack), {"bias", "sigma_b2"} & set(stack)
    wanted = dict(DEFAULTS)
    if "-" in str(stack.get("width", "")):
        del wanted["depth"]
    if "init" not in weights:
        wanted |= {name: value for name, value in SIGMAS.items() if name == "sigma_w2" or not biases}
    return wanted | stack


def run_trainability(
    training: Training, out: Path | None = None, fresh: bool = False, progress: Progress | None = None
) -> xr.Dataset:
    """`trainability` of arguments that were read before."""
    progress = progress or Unwatched()
    baseline_of(training)

    def judge(ds: xr.Dataset) -> xr.Dataset:
        programs.clear()  # their memory is for the sweep's
        return judged(ds, training, progress)

    return run_training(training, out, fresh, progress, judge)


def judged(ds: xr.Dataset, training: Training, progress: Progress) -> xr.Dataset:
    """The trained nets with their skills, and the verdict on each before training."""
    levels, rows = before(training, progress)
    each = len(training.optimizers)
    baseline = baseline_of(training)
    if ds.attrs["loss"] == "mse":
        skill = skill_of_loss(ds["final_loss"].values, baseline)
    else:
        skill = skill_of_accuracy(ds["final_accuracy"].values, baseline)
    by_seed = {
        "skill": (skill, "share of the way from the best constant answer to all right"),
        "trained": (has_trained(skill), "whether the skill is enough"),
        "score": (np.repeat(levels, each, axis=0), "largest |log10 RMS ratio| between layers 1 and L before training"),
    }
    ds = ds.assign({name: (("config", "seed"), a, {"long_name": text}) for name, (a, text) in by_seed.items()})
    told = [row | {name: ",".join(row[name]) for name in ("flags", "notes")} for row in rows]
    verdict = {
        name: ("config", np.repeat([row[name] for row in told], each), {"long_name": text})
        for name, text in TEXTS.items()
    }
    return ds.assign_coords(verdict).assign_attrs(baseline=baseline)


def before(training: Training, progress: Progress) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """(score by configuration and seed, rows of the diagnosis) of the nets before training."""
    request = training.request
    setting = replace(request.setting, loss="cotangent", outputs=0)
    spec = request.spec | {"loss": "cotangent"}
    ds = run(replace(request, setting=setting, spec=spec), progress=Noting(progress))
    return score_of(ds), diagnosed_stacks(ds)[0]


class Noting(Unwatched):
    """A progress within another one: it hands on what is noted."""

    def __init__(self, progress: Progress) -> None:
        self.note = progress.note  # type: ignore[method-assign]


def score_of(ds: xr.Dataset) -> np.ndarray:
    """The larger of |log10 RMS ratio| forward and backward between layers 1 and L, (configs, seeds); inf for none."""
    last = xr.DataArray(ds["depth"].values, dims="config")
    ratios = []
    with np.errstate(invalid="ignore"):
        for name in ("activation", "gradient"):
            levels = ds[f"{name}_log10_mean_square"].transpose("config", "seed", "layer")
            ratios.append(abs(levels.isel(layer=last) - levels.isel(layer=1)).values / 2)
    return np.nan_to_num(np.maximum(*ratios), nan=np.inf, posinf=np.inf)


def baseline_of(training: Training) -> float:
    """What the best constant answer has: accuracy, or the mean square error.

    Raises:
        InvalidArgumentError: it is right everywhere.
    """
    setting = training.request.setting
    labels = setting.source.labels
    assert labels is not None
    if setting.loss == "mse":
        found = float(labels.reshape(len(labels), -1).astype(np.float64).var(axis=0).mean())
        trivial = found == 0
    else:
        found = float(np.unique(labels, return_counts=True)[1].max() / len(labels))
        trivial = found == 1
    if trivial:
        raise InvalidArgumentError("are all the same, so that there is nothing to learn", "labels")
    return found
