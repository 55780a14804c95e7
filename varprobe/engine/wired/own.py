"""The engine of a user's own block: one net, whose blocks are called as they are.

Forward, signals have the range of their dtype, since only the block knows what it does with them; what leaves it is
infinite or NaN, and flagged. Backward is linear, and gradients have an exponent of their own. Parameters are not kept
for the way back, but drawn again.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from varprobe.engine.fractions import FRACTIONS, LayerValues, fractions_of
from varprobe.engine.moments import Moments, factor, measure
from varprobe.engine.plain_groups import layer_numbers
from varprobe.engine.program import LayerNumbers
from varprobe.engine.random_bits import materialized
from varprobe.engine.statistics import CellTable, quantity
from varprobe.engine.weight_bases import WeightBasis, base_of
from varprobe.engine.wired.cell import Keys, loss_gradient, near_one
from varprobe.nets.architectures.own import Own
from varprobe.nets.config import Config, LossName, SweepSettings
from varprobe.nets.scaled_float import Signal, wide

__all__ = ["OwnGroup", "OwnProgram", "own_groups", "own_table", "run_own"]


@dataclass(frozen=True)
class OwnProgram:
    """What the code of one net is compiled for."""

    arch: Own
    depth: int
    width: int
    batch: int
    readout: tuple[WeightBasis, ...]
    loss: LossName
    outputs: int
    dtype: str
    real_range: bool
    forward_only: bool
    nets: int = 1

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return (self.width,)

    output_shape = input_shape

    def params(self, keys: Keys, layer: Array, running: Array) -> Any:
        """Those of a block, as numbers in memory: of constants the compiler would square powers of two, and get NaN."""
        make = lambda key: self.arch.params(key, self.width, layer, self.depth, self.dtype)  # noqa: E731
        return materialized(make, jax.random.fold_in(keys.weights, layer), running)


class OwnNumbers(NamedTuple):
    """The read-out's numbers, as in `wired.program.NetNumbers`."""

    readout: LayerNumbers | None
    unit_readout: None = None
    readout_bias: Float[Array, "1 outputs"] | None = None


@dataclass(frozen=True)
class OwnGroup:
    """A program and the configuration that it runs."""

    program: OwnProgram
    config: int
    readout: tuple[float, float] | None

    @property
    def configs(self) -> list[int]:
        """The one."""
        return [self.config]

    def numbers(self) -> OwnNumbers:
        """The run-time arguments."""
        return OwnNumbers(layer_numbers(np.array([self.readout]), self.program.dtype) if self.readout else None)


class OwnStatistics(NamedTuple):
    """All that a cell returns; arrays of shape (layers,) or (layers, 1)."""

    input: Moments
    input_correlation: Array
    activation: Moments
    weights: Moments
    scalars: dict[str, Array]
    gradient: Moments | None
    weight_gradient: Moments | None
    gradient_correlation: Array | None


def own_groups(configs: list[tuple[int, Config]], setting: SweepSettings) -> list[OwnGroup]:
    """A program for every (index, configuration)."""
    return [own_group(index, config, setting) for index, config in configs]


def own_group(index: int, config: Config, setting: SweepSettings) -> OwnGroup:
    """The program of one configuration."""
    assert isinstance(config.arch, Own)
    outputs = setting.outputs
    program = OwnProgram(
        config.arch,
        config.depth,
        config.widths[-1],
        config.batch,
        (base_of(config.readout.law),) if outputs else (),
        setting.loss,
        outputs,
        setting.dtype,
        setting.real_range,
        setting.forward_only,
    )
    return OwnGroup(program, index, config.readout.at(config.place(config.depth + 1, outputs)) if outputs else None)


def still() -> Array:
    """The exponent of signals in their real range."""
    return jnp.zeros((1,), jnp.int32)


def entries(tree: Any) -> Float[Array, "1 1 entries"]:
    """All floating-point numbers of a pytree in one row."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.concatenate([wide(leaf).ravel() for leaf in leaves])[None, None]


def run_own(
    program: OwnProgram,
    running: Bool[Array, ""],
    keys: Keys,
    x: Float[Array, "batch width"],
    target: Array,
    numbers: OwnNumbers,
) -> OwnStatistics:
    """Statistics of the net for one seed; arguments as in `wired.cell.run_wired`."""
    arch, layers = program.arch, jnp.arange(1, program.depth + 1)
    start, arriving = measure(Signal(x[None], still()))

    def forward(h: Array, layer: Array) -> tuple[Array, Any]:
        params = program.params(keys, layer, running)
        out = arch.applied(params, h)
        measured, moments = measure(Signal(out[None], still()))
        scalars = {name: value[0] for name, value in fractions_of(LayerValues(z=measured.m, y=out[None])).items()}
        scalars["activation_correlation"] = factor(measured.m, by_gram=False)[1][0]
        return out, (h, moments, measure(Signal(entries(params), still()))[1], scalars)

    last, (inputs, activation, weights, scalars) = lax.scan(forward, x.astype(program.dtype), layers)
    common = arriving, factor(start.m, by_gram=False)[1], activation, weights, scalars
    if program.forward_only:
        return OwnStatistics(*common, None, None, None)

    def backward(g: Signal, xs: tuple[Array, Array]) -> tuple[Signal, Any]:
        h, layer = xs
        leaves, form = jax.tree.flatten(program.params(keys, layer, running))
        chosen = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)]

        def block(some: list[Array], h: Array) -> Array:
            whole = dict(enumerate(leaves)) | dict(zip(chosen, some, strict=True))
            return arch.applied(jax.tree.unflatten(form, list(whole.values())), h)

        measured, moments = measure(g)
        _, pull = jax.vjp(block, [leaves[i] for i in chosen], h)
        dw, dh = pull(g.m[0].astype(h.dtype))
        new = Signal(wide(dh)[None], g.e)
        weight_gradient = measure(Signal(entries(dw), g.e))[1]
        cosine = factor(measured.m, by_gram=False)[1]
        return new if program.real_range else near_one(new), (moments, weight_gradient, cosine)

    g = loss_gradient(program, running, keys, Signal(last[None], still()), target, numbers)  # type: ignore[arg-type]
    g = Signal(wide(g.m), g.e)
    _, found = lax.scan(backward, g, (inputs, layers), reverse=True)
    return OwnStatistics(*common, *found)


def own_table(group: OwnGroup, statistics: OwnStatistics) -> CellTable:
    """Every variable of the results, each (1, depth + 1); layer 0 is the input and has an activation only."""
    s, zero = statistics, np.zeros(())
    flat = lambda moments: jax.tree.map(lambda a: np.asarray(a, np.float64).reshape(-1), moments)  # noqa: E731
    rows = quantity("activation", flat(s.activation), zero)
    rows |= {name.replace("activation", "preactivation"): values for name, values in rows.items()}
    rows |= {name: np.full(group.program.depth, np.nan) for name in FRACTIONS}
    rows |= {name: np.asarray(values, np.float64) for name, values in s.scalars.items()}
    rows["weight_log10_mean_square"] = quantity("", flat(s.weights), zero)["_log10_mean_square"]
    if s.gradient is not None and s.weight_gradient is not None:
        rows |= quantity("gradient", flat(s.gradient), zero)
        rows |= quantity("weight_gradient", flat(s.weight_gradient), zero)
        rows["gradient_correlation"] = flat(s.gradient_correlation)
    inputs = quantity("activation", flat(s.input), zero) | {"activation_correlation": flat(s.input_correlation)}
    return {k: np.concatenate([inputs.get(k, np.full(1, np.nan)), v])[None] for k, v in rows.items()}
