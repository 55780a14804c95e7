"""`varprobe.sweep`: every configuration of a grid, measured."""

import os
import warnings
from collections.abc import Iterator
from typing import Any, Literal, Protocol

import numpy as np
import xarray as xr

from varprobe.cells import AnyChunk, run_cells
from varprobe.chunks import chunks_of
from varprobe.configs import DEFAULT_BATCH, Request, read_request
from varprobe.plans import fill, plan
from varprobe.predictions import predicted
from varprobe.probes.joining import Probing
from varprobe.probes.keeping import Shelf
from varprobe.results import dataset
from varprobe.resume import find_run
from varprobe.storage import Cell

__all__ = ["Progress", "run", "sweep"]

Table = dict[str, np.ndarray]


class Progress(Protocol):
    """What a sweep tells of itself while it runs, always from the thread that called it."""

    def start(self, total: int, cached: int) -> None:
        """So many cells are to be computed, and so many were found finished. Called once."""

    def advance(self, cells: int = 1) -> None:
        """So many more cells are finished, and on disk where there is a run folder."""

    def note(self, text: str) -> None:
        """One line for the user, such as which file is damaged."""


class Unwatched:
    """The progress that nobody watches: notes become Python warnings."""

    def start(self, total: int, cached: int) -> None:
        """Say nothing."""

    def advance(self, cells: int = 1) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Warn."""
        warnings.warn(text, stacklevel=2)


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
    progress: Progress | None = None,
) -> xr.Dataset:
    """Measure signals and gradients, layer by layer, in every combination of what is given, before any training.

    Where several values may stand, give one, a comma list in a string, or a list: act="relu,tanh", depth=[10, 50].
    Numbers may be a range "LO:HI:N" or "LO:HI:Nlog", ends included.

    Args:
        depth: how many weight layers; several. 50.
        width: units of each layer; several. Also a profile such as "784-512-256", which is a depth of its own.
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
            `_median`, `_ms`, `_condition`), of their product dh_l/dh_0 (`jacobian_log10_*`), and all of the last layer
            (`jacobian_log10_singular_values`, dim `index`), in float64 whatever the dtype. In batch norm the other
            samples are held fixed at every layer. Costs width^3 a layer: seconds a net at width 128, minutes at 512.
        histogram: `activation_kurtosis`, `gradient_kurtosis` (excess), and histograms `activation_density` and
            `gradient_density` of values over their RMS (dim `bin`, -6 to 6), with the shares beyond.
        out: a run folder, made if it is not there. Every finished part is kept in it at once, the same request again
            computes only what is missing, and results.nc and results.csv hold the whole. None writes nothing.
        fresh: compute what is in the folder again.
        progress: told what is going on; without it notes are Python warnings.

    Returns:
        A dataset with dims (config, seed, layer), float64: for preactivation, activation, gradient and weight_gradient
        `*_log10_ms`, `*_log10_var`, `*_mean_over_rms` and `*_log10_absmax`, and the layer's weight_log10_ms, fractions
        and correlations; for some architectures more, such as `branch_log10_ms`. Layer 0 is the input. arch, act, init,
        bias, norm, depth, width, batch, loss and dtype are coordinates on config. -inf is the log of zero; NaN where a
        quantity does not apply, as behind the last layer of shallower configurations.

    Raises:
        RequestError: a value is wrong, or `out` is a file, another run, or cannot be written. Nothing was written.
        MachineError: disk, memory or device failed; what was finished is kept.

    Example:
        ds = varprobe.sweep(depth=50, act="relu,tanh", init=["he_normal", "glorot_normal"], out="runs/first")
        varprobe.select(ds, act="relu").gradient_log10_ms.mean("seed")
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
    return run(request, out=out, fresh=fresh, progress=progress)


def run(
    request: Request,
    *,
    out: str | os.PathLike[str] | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> xr.Dataset:
    """`sweep` of arguments that were read before."""
    progress = progress or Unwatched()
    return in_memory(request, progress) if out is None else in_folder(request, out, fresh, progress)


def in_memory(request: Request, progress: Progress) -> xr.Dataset:
    """Measure, and write nothing."""
    chunks = chunks_of(list(request.configs), request.setting)
    cells = [(chunk, seed) for seed in range(request.setting.seeds) for chunk in chunks]
    probing = Probing(request, None, True, progress.note)
    progress.start(len(cells) + probing.total, 0)

    def tables() -> Iterator[tuple[list[int], int, Table]]:
        for chunk, seed, table in run_cells(cells, request.setting):
            progress.advance(1)
            yield chunk.configs, seed, table

    return probing.joined(predicted(request, dataset(request, tables())), progress.advance)


def in_folder(request: Request, out: str | os.PathLike[str], fresh: bool, progress: Progress) -> xr.Dataset:
    """Measure what the folder does not hold yet."""
    held = find_run(out, request, progress.note)
    if held.record and not fresh and (ds := held.finished(request)) is not None:
        progress.start(0, len(held.record.cells))
        return ds
    chunks = chunks_of(list(request.configs), request.setting)
    frame = dataset(request, [])
    record = plan(request, frame, [chunk.configs for chunk in chunks])
    with held.claimed(record):
        missing: list[Cell] = []
        for cell in record.cells:
            table = None if fresh else held.load(cell)
            if table is None:
                missing.append(cell)
            else:
                fill(frame, cell.configs, cell.seed, table)
        probing = Probing(request, Shelf.of(held.folder, request), fresh, progress.note)
        progress.start(len(missing) + probing.total, len(record.cells) - len(missing) + probing.cached)
        for cell, table in computed(missing, chunks, request):
            held.save(cell, table)
            fill(frame, cell.configs, cell.seed, table)
            progress.advance(1)
        frame = probing.joined(predicted(request, frame), progress.advance)
        held.finish(frame)
    return frame


def computed(cells: list[Cell], chunks: list[AnyChunk], request: Request) -> Iterator[tuple[Cell, Table]]:
    """The numbers of these cells, in the order in which they are done."""
    if cells:
        wanted = [(chunks[cell.chunk], cell.seed) for cell in cells]
        waiting = {(id(chunk), seed): cell for (chunk, seed), cell in zip(wanted, cells, strict=True)}
        for chunk, seed, table in run_cells(wanted, request.setting):
            yield waiting[id(chunk), seed], table
