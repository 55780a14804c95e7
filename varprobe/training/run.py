"""Train what was asked for, and put it together as one dataset; what a run folder holds already is not done again."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.storage.files import load_dataset
from varprobe.storage.kinds import kind_of
from varprobe.storage.locks import Claims
from varprobe.storage.progress import Progress, Unwatched
from varprobe.storage.reading import Reader, open_results
from varprobe.storage.records import Record
from varprobe.storage.run_folder import RunFolder
from varprobe.storage.text_tables import csv_of_rows
from varprobe.sweeps.assemble import skeleton, variable_names
from varprobe.sweeps.filling import Filling
from varprobe.training.files import record_of, with_files
from varprobe.training.jobs import Outcome, Task, jobs_of, outcomes
from varprobe.training.nets import net_table
from varprobe.training.request import Training

__all__ = ["UPDATES", "run_training"]

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
    training: Training,
    out: Path | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
    judge: Callable[[xr.Dataset], xr.Dataset] = lambda ds: ds,
) -> xr.Dataset:
    """The dataset of a training run, with dims (config, seed, step, layer) and (config, seed, training_step).

    Args:
        training: what was asked for.
        out: a run folder; None writes nothing.
        fresh: compute what is there again.
        progress: is given the number of networks, and notes.
        judge: takes the dataset, and adds to it before it is written.

    Raises:
        InvalidArgumentError: the folder holds another run.
        MachineError: disk, memory or device failed; what was finished is kept.
    """
    progress = progress or Unwatched()
    if out is None:
        return judge(train_all(training, None, Claims(), fresh, progress))
    held = RunFolder.find(out, training.spec["command"], training.spec, Record.of, progress.note)
    record = record_of(training)
    if not fresh and (ds := finished(held, record, training)) is not None:
        held.tidy()
        progress.start(0, ds.sizes["config"] * ds.sizes["seed"])
        return ds
    with held.claimed(record) as ours:
        ds = judge(train_all(training, held, ours, fresh, progress))
        held.finish(ds, csv_of_rows(*net_table(ds)) if kind_of(ds) == "trainability" else None)
    return ds


def finished(held: RunFolder[Record], record: Record, training: Training) -> xr.Dataset | None:
    """What the folder holds, if it is all of this training run, and intact."""
    if held.record is None or held.record.identity != record.identity or held.record.spec != record.spec:
        return None
    if not held.holds(task.file for task in with_files(jobs_of(training), training) if task.file):
        return None
    try:
        return open_results(held.folder, vars(held.record), Reader(load_dataset))
    except InvalidArgumentError:  # damaged or unfinished
        return None


def train_all(
    training: Training, held: RunFolder[Record] | None, claims: Claims, fresh: bool, progress: Progress
) -> xr.Dataset:
    """All outcomes in one dataset; NaN where a quantity does not apply."""
    jobs = list(enumerate(with_files(jobs_of(training), training)))
    ds = frame_of(training)
    arrays = {str(name): variable.values for name, variable in ds.data_vars.items()}

    def enter(job: Task, outcome: Outcome) -> None:
        for name, values in outcome.items():
            if values.ndim == 3:
                arrays[name][list(job.nets), job.seed, :, : values.shape[2]] = values
            else:
                arrays[name][list(job.nets), job.seed] = values

    filling = Filling(held, claims, enter, progress.advance)
    missing = jobs if fresh else filling.missing(jobs)
    todo = sum(job.steps for _, job in missing)
    progress.start(todo, sum(job.steps for _, job in jobs) - todo)
    filling.fill(missing, lambda queue, folder: outcomes(queue, [job for _, job in missing]), fresh)
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
