"""Train what was asked for, and put it together as one dataset; what a run folder holds already is not done again."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from varprobe.storage.checksums import DamagedError
from varprobe.storage.progress import Progress, Unwatched
from varprobe.sweeps.assemble import skeleton, variable_names
from varprobe.training.folders import require_folder, save_training, write_record
from varprobe.training.jobs import Outcome, Task, jobs_of, outcomes
from varprobe.training.request import Training
from varprobe.training.store import TaskStore

__all__ = ["UPDATES", "run_training", "train_all"]

UPDATES = {
    "update_log10_mean_square": "log10 of the mean square of what the step changes the weights by",
    "update_log10_ratio": "log10 of the RMS of that change over the RMS of the weights",
}
ENDS = {
    "final_loss": "loss over the data after all steps",
    "final_accuracy": "share of the data told right after all steps; NaN without classes",
    "diverged_step": "the first step whose loss is not finite; NaN where all are",
}
LOSSES = {"batch_loss": "loss of a step's batch before its update"}


def run_training(
    training: Training, out: Path | None = None, fresh: bool = False, progress: Progress | None = None
) -> xr.Dataset:
    """The dataset of a training, with dims (config, seed, step, layer) and (config, seed, training_step).

    Args:
        training: what was asked for.
        out: a run folder; None writes nothing.
        fresh: compute again what is there.
        progress: told what is going on.

    Raises:
        InvalidArgumentError: the folder holds another run.
        MachineError: disk, memory or device failed; what was finished is kept.
    """
    ds = train_all(training, out, fresh, progress or Unwatched())
    if out is not None:
        save_training(out, ds, training.spec, training.arguments)
    return ds


def train_all(training: Training, out: Path | None, fresh: bool, progress: Progress) -> xr.Dataset:
    """`run_training` without the dataset's file."""
    if out is not None:
        require_folder(out, training.spec)
    kept, jobs, found = TaskStore.of(out, training) if out else None, jobs_of(training), dict[Task, Outcome]()
    if kept and not fresh:
        found = dict(finished(kept, jobs, progress))
    missing = [job for job in jobs if job not in found]
    if out is not None and missing:
        write_record(out, training.spec, None, training.arguments)
    progress.start(sum(len(job.nets) for job in missing), sum(len(job.nets) for job in found))
    for job, outcome in outcomes(missing):
        if kept:
            kept.save(job, outcome)
        found[job] = outcome
        progress.advance(len(job.nets))
    return together(training, found)


def finished(kept: TaskStore, jobs: list[Task], progress: Progress) -> Iterator[tuple[Task, Outcome]]:
    """The jobs whose files are there."""
    for job in jobs:
        try:
            outcome = kept.load(job)
        except DamagedError as error:
            progress.note(f"{kept.path(job)} {error}; it is computed anew")
            continue
        if outcome is not None:
            yield job, outcome


def together(training: Training, found: dict[Task, Outcome]) -> xr.Dataset:
    """All outcomes in one dataset; NaN where a quantity does not apply."""
    ds = frame_of(training)
    arrays = {str(name): variable.values for name, variable in ds.data_vars.items()}
    for job, outcome in found.items():
        for name, values in outcome.items():
            if values.ndim == 3:
                arrays[name][list(job.nets), job.seed, :, : values.shape[2]] = values
            else:
                arrays[name][list(job.nets), job.seed] = values
    losses = ds["batch_loss"].values
    lost = ~np.isfinite(losses)
    ds["diverged_step"].values[:] = np.where(lost.any(axis=2), lost.argmax(axis=2), np.nan)
    return ds


def frame_of(training: Training) -> xr.Dataset:
    """The dataset without its numbers."""
    bare = skeleton(training.request)
    configs, optimizers = range(bare.sizes["config"]), [o.name for o in training.optimizers]
    ds = bare.isel(config=np.repeat(configs, len(optimizers)))
    ds = ds.assign_coords(
        optimizer=("config", np.tile(optimizers, len(configs))),
        training_step=np.arange(training.steps + 1),
    )
    named: dict[tuple[str, ...], dict[str, str]] = {
        ("config", "seed"): ENDS,
        ("config", "seed", "training_step"): LOSSES,
    }
    if training.at:
        ds = ds.assign_coords(step=np.array(training.at))
        measured = variable_names(training.request.spec["arch"]) | update_names(training)
        named[("config", "seed", "step", "layer")] = measured
    else:
        ds = ds.drop_vars("layer")
    sizes = ds.sizes
    data = {
        name: (dims, np.full([sizes[dim] for dim in dims], np.nan), {"long_name": text})
        for dims, names in named.items()
        for name, text in names.items()
    }
    kind = "track" if training.at else "trainability"
    return ds.assign(data).assign_attrs(kind=kind, spec=json.dumps(training.spec), steps=training.steps)


def update_names(training: Training) -> dict[str, str]:
    """The variables of updates; of further matrices of an architecture with their names before them."""
    slots = dict.fromkeys(slot.name for config in training.request.configs for slot in config.slots(1))
    return {
        (name if slot == "w" else f"{slot}_{name}"): text
        for slot, (name, text) in itertools.product(slots, UPDATES.items())
    }
