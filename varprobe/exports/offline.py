"""Weights & Biases: a run that needs no account, to be synced later."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import xarray as xr

from varprobe.exports.folders import placed
from varprobe.exports.naming import config_names
from varprobe.exports.series import histograms, points
from varprobe.runs.diagnose import diagnose
from varprobe.spec.extras import needed

__all__ = ["save_offline"]

PROJECT = "varprobe"
TOLD = ("activation_factor", "gradient_factor", "forward", "backward", "healthy", "reason", "advice")
"""Fields of a verdict that the summary has."""


def save_offline(folder: Path, ds: xr.Dataset) -> None:
    """Write an offline run under `folder`/wandb, for `wandb sync`: the step is the layer.

    It has the keys of the event files (`gradient/log10_mean_square/NAME`, mean over seeds, and
    `gradient/log10_mean_square_std/NAME`) and histograms, each configuration's verdict in its summary, and the
    dataset's attributes as its configuration. Nothing is sent anywhere.

    Raises:
        InvalidArgumentError: no wandb, or a folder that is not empty.
        MachineError: the disk refuses.
    """
    wandb = needed("wandb", "offline runs", "wandb")
    steps: dict[int, dict[str, Any]] = defaultdict(dict)
    for tag, layer, value in points(ds):
        steps[layer][tag] = value
    for found in histograms(ds):
        steps[found.layer][found.tag] = wandb.Histogram(np_histogram=(found.shares, found.edges))
    verdicts = zip(config_names(ds), diagnose(ds).rows, strict=True)
    with placed(folder) as half:
        run = wandb.init(
            project=PROJECT,
            dir=str(half),
            mode="offline",
            reinit="create_new",
            config=dict(ds.attrs),
            settings=wandb.Settings(silent=True, console="off", save_code=False, disable_git=True),
        )
        run.define_metric("*", step_metric="layer")
        for layer, values in sorted(steps.items()):
            run.log({"layer": layer, **values}, step=layer)
        run.summary.update({"verdicts": {name: {key: row[key] for key in TOLD} for name, row in verdicts}})
        run.finish()
