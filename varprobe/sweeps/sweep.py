"""`varprobe.sweep`: every configuration of a grid, measured."""

import os
from concurrent.futures import Executor
from functools import partial
from typing import Unpack

import xarray as xr

from varprobe.engine.groups import groups_of, work_of
from varprobe.errors import InvalidArgumentError
from varprobe.spec.argument_types import checks_types
from varprobe.storage.locks import Claims
from varprobe.storage.progress import Progress, Unwatched
from varprobe.storage.tasks import Table
from varprobe.sweeps.arguments import SweepArguments, takes_sweep_arguments
from varprobe.sweeps.assemble import dataset
from varprobe.sweeps.cells import computed, in_order
from varprobe.sweeps.filling import Filling
from varprobe.sweeps.merge_probes import Probing
from varprobe.sweeps.predict.plain import predicted
from varprobe.sweeps.queue import CellTask
from varprobe.sweeps.record import fill, plan
from varprobe.sweeps.request import Request, read_request
from varprobe.sweeps.resources import Resources, read_resources
from varprobe.sweeps.run_folder import SweepFolder, find_run, finished, remove_unusable
from varprobe.sweeps.shards import share

__all__ = ["Progress", "run", "sweep"]


@takes_sweep_arguments
@checks_types
def sweep(
    *,
    out: str | os.PathLike[str] | None = None,
    fresh: bool = False,
    memory: int | str | None = None,
    devices: int | None = None,
    shard: str | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **grid: Unpack[SweepArguments],
) -> xr.Dataset:
    """Measure signals and gradients, layer by layer, in every combination of what is given, before any training.

    Where several values may stand, give one, a comma list in a string, or a list: act="relu,tanh", depth=[10, 50].
    Numbers may be a range "LO:HI:N" or "LO:HI:Nlog", ends included.

    Args:
        grid: what is measured; see `SweepArguments`.
        out: a run folder, made if it is not there. Every finished part is kept in it at once, the same request again
            computes only what is missing, and results.nc and results.csv hold the whole (results.csv where that is not
            larger than memory). None writes nothing.
        fresh: compute what is in the folder again.
        memory: bytes that may be used, or a text such as "8GiB" or "50%" (of what is free). 80% of what is free.
        devices: how many of this machine's devices are used, or of its cores where a CPU is the only one. All.
        shard: "I/N", the share I of N of the work, for job arrays: all shares have the same `out`, the last one to
            finish writes the dataset, and the others return what they have (NaN elsewhere, and the attribute
            `unfinished`).
        executor: a `concurrent.futures.Executor` whose processes compute instead of this one, here or on a cluster.
            Its processes need this package in the same versions; a Dask client has `get_executor()`.
        progress: told what is going on; without it notes are Python warnings.

    Returns:
        A dataset with dims (config, seed, layer), float64: for preactivation, activation, gradient and weight_gradient
        `*_log10_mean_square`, `*_log10_var`, `*_mean_over_rms` and `*_log10_absmax`, and the layer's
        weight_log10_mean_square, fractions and correlations; for some architectures more, such as
        `branch_log10_mean_square`. Layer 0 is the input. arch, act, init, bias, norm, depth, width, batch, loss and
        dtype are coordinates on config. -inf is the log of zero; NaN where a quantity does not apply, as behind the
        last layer of shallower configurations.

    Raises:
        InvalidArgumentError: a value is wrong, or `out` is a file, another run, or cannot be written. Nothing was
            written.
        MachineError: disk, memory or device failed; what was finished is kept.

    Example:
        ds = varprobe.sweep(depth=50, act="relu,tanh", init=["he_normal", "glorot_normal"], out="runs/first")
        varprobe.select(ds, act="relu").gradient_log10_mean_square.mean("seed")
    """
    request = read_request(**grid)
    resources = read_resources(memory=memory, devices=devices, shard=shard, executor=executor)
    return run(request, out=out, fresh=fresh, progress=progress, resources=resources)


def run(
    request: Request,
    *,
    out: str | os.PathLike[str] | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
    resources: Resources | None = None,
) -> xr.Dataset:
    """`sweep` of arguments that were read before."""
    progress, resources = progress or Unwatched(), resources or Resources()
    if out is not None:
        return in_folder(request, out, fresh, progress, resources)
    if resources.shard:
        raise InvalidArgumentError(f"{resources.shard}: a share is kept in a run folder, which --out names", "shard")
    return in_memory(request, progress, resources)


def in_memory(request: Request, progress: Progress, resources: Resources) -> xr.Dataset:
    """Measure, and write nothing."""
    executor, groups = resources.cell_executor(), groups_of(list(request.configs), request.setting)
    frame = dataset(request)
    filling = filling_of(frame, None, Claims(), progress)
    items = list(enumerate(CellTask(group, seed) for seed in range(request.setting.seeds) for group in groups))
    probing = Probing(request, progress.advance, Claims())
    progress.start(len(items) + probing.total, 0)
    filling.fill(in_order(items, executor), partial(computed, executor, request))
    frame = predicted(request, frame)
    probing.run(executor)
    return probing.joined(frame)


def in_folder(
    request: Request, out: str | os.PathLike[str], fresh: bool, progress: Progress, resources: Resources
) -> xr.Dataset:
    """Measure what the folder does not hold yet, or what of our shard it does not hold."""
    held, executor, shard = find_run(out, request, progress.note), resources.cell_executor(), resources.shard
    versions = executor.versions()
    if held.record and not fresh and (ds := finished(held, request, versions)) is not None:
        held.tidy()
        progress.start(0, len(held.record.cells))
        return ds
    if shard and not request.reusable:
        raise InvalidArgumentError(
            f"{shard}: a function whose source is in no file is a new one in every process", "shard"
        )
    groups = groups_of(list(request.configs), request.setting)
    record = plan(request, [group.configs for group in groups], versions)
    items = list(enumerate(CellTask(groups[cell.group], cell.seed, cell) for cell in record.cells))
    compute = partial(computed, executor, request)
    with held.claimed(record) as ours:
        remove_unusable(held)
        frame = record.frame(held.folder)
        filling = filling_of(frame, held, ours, progress)
        wanted = share(items, shard, lambda item: work_of(item[1].group))
        missing = wanted if fresh else filling.missing(wanted)
        probing = Probing(request, progress.advance, ours, held, versions, fresh, shard, len(items))
        progress.start(len(missing) + probing.total, len(wanted) - len(missing) + probing.cached)
        filling.fill(in_order(missing, executor), compute, fresh)
        probing.run(executor)
        if shard:
            if not (probing.complete() and all(held.has(cell) for cell in record.cells)):
                return unfinished(frame, held)
            mine = {number for number, _ in wanted}
            others = filling.missing([(number, item) for number, item in items if number not in mine])
            filling.fill(in_order(others, executor), compute)
        frame = probing.joined(predicted(request, frame))
        held.finish(frame)
    return frame


def filling_of(frame: xr.Dataset, held: SweepFolder | None, claims: Claims, progress: Progress) -> Filling[CellTask]:
    """The cells of a dataset, which are entered into it."""

    def enter(item: CellTask, table: Table) -> None:
        fill(frame, item.configs, item.seed, table)

    variables = {"variables": held.record.variables} if held and held.record else {}
    return Filling(held, claims, enter, progress.advance, group=lambda item: id(item.group), **variables)


def unfinished(frame: xr.Dataset, held: SweepFolder) -> xr.Dataset:
    """What our shard has, and how much of the others is there; NaN where theirs is."""
    assert held.record
    there = sum(map(held.has, held.record.cells))
    return frame.assign_attrs(unfinished=f"{there} of {len(held.record.cells)} cells of the run are there")
