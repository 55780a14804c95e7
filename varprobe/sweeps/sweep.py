"""`varprobe.sweep`: every configuration of a grid, measured."""

import os
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any, Literal

import xarray as xr

from varprobe.engine.groups import chunks_of, work_of
from varprobe.errors import InvalidArgumentError
from varprobe.nets.config import DEFAULT_BATCH
from varprobe.storage.locks import Claims, claims
from varprobe.storage.progress import Progress, Unwatched
from varprobe.sweeps.assemble import dataset
from varprobe.sweeps.filling import Filling, Table, computed, in_order
from varprobe.sweeps.merge_probes import Probing
from varprobe.sweeps.predict.plain import predicted
from varprobe.sweeps.probes.store import TaskStore
from varprobe.sweeps.queue import CellTask, ListQueue
from varprobe.sweeps.record import plan
from varprobe.sweeps.request import Request, read_request
from varprobe.sweeps.resources import Resources, read_resources
from varprobe.sweeps.run_folder import Run, find_run
from varprobe.sweeps.shards import share

__all__ = ["Progress", "run", "sweep"]


def sweep(
    *,
    depth: Any = None,
    width: Any = 512,
    act: Any = "relu",
    init: Any = None,
    init_first: Any = None,
    init_last: Any = None,
    init_qk: Any = None,
    init_v: Any = None,
    init_o: Any = None,
    init_mlp: Any = None,
    bias: Any = "zeros",
    sigma_w2: Any = None,
    sigma_b2: Any = None,
    arch: Any = "plain",
    norm: Any = "none",
    dropout: Any = 0.0,
    input_width: int | None = None,
    batch: Any = DEFAULT_BATCH,
    seeds: int = 8,
    root_seed: int = 0,
    data: Any = "normal",
    labels: Any = None,
    standardize: bool = False,
    loss: Literal["cotangent", "mse", "cross_entropy"] = "cotangent",
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = "float32",
    range: Literal["unbounded", "dtype"] = "unbounded",
    forward_only: bool = False,
    correlation: Any = None,
    jacobian: bool = False,
    histogram: bool = False,
    out: str | os.PathLike[str] | None = None,
    fresh: bool = False,
    memory: Any = None,
    devices: int | None = None,
    shard: str | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Measure signals and gradients, layer by layer, in every combination of what is given, before any training.

    Where several values may stand, give one, a comma list in a string, or a list: act="relu,tanh", depth=[10, 50].
    Numbers may be a range "LO:HI:N" or "LO:HI:Nlog", ends included.

    Args:
        depth: how many weight layers; several. 50.
        width: units of each layer; several. Also a profile such as "784-512-256", the widths of layers 1, 2
            and 3, which is a depth of its own. The input's width is `input_width`, or that of the data.
        act: activations; several. Names (`varprobe list acts`) with parameters in the call form, such as
            "leaky_relu(0.1)"; your own as "FILE.py:NAME", "PKG.MOD:NAME", a function from array to array, or
            {"Label": function}.
        init: initializers of the weights; several. Names as "normal(std=0.01)" or "uniform(limit=1/sqrt(fan_in))"
            (`varprobe list inits`); your own as above, with jax's signature (key, shape, dtype) and, where it wants
            them, keyword-only layer and depth. Without it the standard ones.
        init_first: the initializer of layer 1, where it differs; several.
        init_last: the initializer of layer L and of the loss's read-out, where it differs; several.
        init_qk: the initializer of a transformer's queries and keys in all layers, where it differs; several.
        init_v: of its values; several.
        init_o: of the attention's outputs; several.
        init_mlp: of its perceptrons; several.
        bias: the initializer of the biases; several.
        sigma_w2: numbers: Var W = sigma_w2 / fan_in, normal, in place of init; several.
        sigma_b2: numbers: Var b = sigma_b2, normal, in place of bias; several.
        arch: architectures; several. Names (`varprobe list archs`: what a layer, z and delta of each are) with
            parameters in the call form, such as "residual(branch_scale=1/sqrt(depth))"; or a block of your own as
            "FILE.py:NAME" or "PKG.MOD:NAME", an object or {"Label": object} with init(key, width) -> params, any
            pytree, and apply(params, x) -> x. Its init may take parameters of the call form and keyword-only layer and
            depth; it has its own activation and initializer, and its signal the range of the dtype.
        norm: normalizations; several. Names (`varprobe list norms`), such as "batch" or "layer(position=post)". z is
            what a norm before the activation is given.
        dropout: numbers from 0 to below 1: the share of activations that is dropped, the others scaled up; several.
        input_width: features of a random input, where they are not as many as layer 1's units.
        batch: samples; several.
        seeds: how many independent draws of weights, input and cotangent; they are the unit of uncertainty.
        root_seed: 0 to 2^32 - 1; which draws.
        data: "normal", "uniform", "sphere", "tokens(vocab=1000)", "digits", a .npy, .npz or .csv file, or an array
            (samples, ...).
        labels: a file or an array, one row a sample, for the losses that take one.
        standardize: give each feature of a file or an array mean 0 and variance 1.
        loss: whose gradient is measured: a random cotangent on h_L, or one of two losses on a linear read-out of h_L.
        dtype: of weights and signals.
        range: "unbounded" gives signals an exponent of their own, so that nothing overflows; "dtype" the dtype's.
        forward_only: leave the gradients out (NaN).
        correlation: cosines, from -1 to 1, of pairs of inputs that are followed: `pair_correlation` and, of gradients
            under one cotangent (that of the loss `cotangent`), `gradient_pair_correlation`, with a further dim `c0`,
            `theory_pair_correlation`, and `effective_rank` of the batch; several.
        jacobian: singular values of one sample's Jacobians dh_l/dh_{l-1} (`partial_jacobian_log10_max`, `_min`,
            `_median`, `_mean_square`, `_condition`), of their product dh_l/dh_0 (`jacobian_log10_*`), and all of the
            last layer (`jacobian_log10_singular_values`, dim `index`), in float64 whatever the dtype. In batch norm the
            other samples are held fixed at every layer. Costs width^3 a layer: seconds a net at width 128, minutes at
            512.
        histogram: `activation_kurtosis`, `gradient_kurtosis` (excess), and histograms `activation_density` and
            `gradient_density` of values over their RMS (dim `bin`, -6 to 6), with the shares beyond.
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
    request = read_request(
        depth=depth,
        width=width,
        act=act,
        init=init,
        init_first=init_first,
        init_last=init_last,
        init_qk=init_qk,
        init_v=init_v,
        init_o=init_o,
        init_mlp=init_mlp,
        bias=bias,
        sigma_w2=sigma_w2,
        sigma_b2=sigma_b2,
        arch=arch,
        norm=norm,
        dropout=dropout,
        input_width=input_width,
        batch=batch,
        seeds=seeds,
        root_seed=root_seed,
        data=data,
        labels=labels,
        standardize=standardize,
        loss=loss,
        dtype=dtype,
        range=range,
        forward_only=forward_only,
        correlation=correlation,
        jacobian=jacobian,
        histogram=histogram,
    )
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
    chunks, executor = chunks_of(list(request.configs), request.setting), resources.cell_executor()
    items = [CellTask(chunk, seed) for seed in range(request.setting.seeds) for chunk in chunks]
    probing = Probing(request, None, True, progress.note)
    progress.start(len(items) + probing.total, 0)

    def tables() -> Iterator[tuple[list[int], int, Table]]:
        for item, table in computed(executor, ListQueue(in_order(items, executor)), request):
            assert table is not None  # nobody else wrote it
            progress.advance(1)
            yield item.chunk.configs, item.seed, table

    frame = predicted(request, dataset(request, tables()))
    probing.run(executor, Claims(None), progress.advance)
    return probing.joined(frame)


def in_folder(
    request: Request, out: str | os.PathLike[str], fresh: bool, progress: Progress, resources: Resources
) -> xr.Dataset:
    """Measure what the folder does not hold yet, or of that our share."""
    held, executor, shard = find_run(out, request, progress.note), resources.cell_executor(), resources.shard
    versions = executor.versions()
    if held.record and not fresh and (ds := held.finished(request, versions)) is not None:
        progress.start(0, len(held.record.cells))
        return ds
    if shard and not request.reusable:
        raise InvalidArgumentError(
            f"{shard}: a function whose source is in no file is a new one in every process", "shard"
        )
    chunks = chunks_of(list(request.configs), request.setting)
    record = plan(request, [chunk.configs for chunk in chunks], versions)
    items = [CellTask(chunks[cell.chunk], cell.seed, cell) for cell in record.cells]
    with held.claimed(record), claims(held.folder) as ours:
        frame = record.frame(held.folder)
        filling = Filling(request, held, frame, executor, ours, progress)
        wanted = share(list(enumerate(items)), shard, lambda item: work_of(item[1].chunk))
        missing = wanted if fresh else filling.missing(wanted)
        probing = Probing(request, TaskStore.of(held.folder, request, versions), fresh, progress.note, shard)
        progress.start(len(missing) + probing.total, len(wanted) - len(missing) + probing.cached)
        filling.fill(missing, fresh)
        probing.run(executor, ours, progress.advance, len(items))
        if shard:
            if not (probing.complete and all(held.has(cell) for cell in record.cells)):
                return unfinished(frame, held)
            mine = {number for number, _ in wanted}
            filling.fill(filling.missing([(number, item) for number, item in enumerate(items) if number not in mine]))
        frame = probing.joined(predicted(request, frame))
        held.finish(frame)
    return frame


def unfinished(frame: xr.Dataset, held: Run) -> xr.Dataset:
    """What our share has, and a word on the others; NaN where theirs is."""
    assert held.record
    there = sum(map(held.has, held.record.cells))
    return frame.assign_attrs(unfinished=f"{there} of {len(held.record.cells)} cells of the run are there")
