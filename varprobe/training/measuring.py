"""What the sweep's own cells say of a net whose weights are given: the same statistics at any step of training.

A cell draws the bases of its weights by layer; here the base of a layer is its matrix, W = 0 + 1 * base.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from varprobe.engine.reference_network import learned
from varprobe.engine.statistics import CellTable
from varprobe.engine.weight_bases import Custom
from varprobe.engine.wired.cell import Keys, WiredStatistics, run_wired
from varprobe.engine.wired.groups import WiredGroup, wired_groups
from varprobe.engine.wired.own import OwnGroup, OwnStatistics, own_group, own_table, run_own
from varprobe.engine.wired.recurrent import run_recurrent
from varprobe.engine.wired.tables import wired_statistics
from varprobe.nets.activations import behavior
from varprobe.nets.architectures import Own
from varprobe.nets.config import Config, SweepSettings
from varprobe.nets.initializers import resolve_initializer
from varprobe.nets.parametrizations import log10_multipliers
from varprobe.spec.calls import Call
from varprobe.training.trainee import Numbers, Params, StackModel, multiplied

__all__ = ["StepProbe", "gauge_of"]

UNIT = resolve_initializer(Call("lecun_normal"))
BIAS = resolve_initializer(Call("normal"))
"""Laws of no meaning, in whose places the given matrices stand."""


class StepProbe(Protocol):
    """A cell of one network, for given weights."""

    def __call__(self, params: Params, numbers: Numbers, keys: Keys, x: Array, target: Array) -> Any:
        """The statistics of a network on a batch, traced."""

    def table(self, config: Config, found: Any) -> CellTable:
        """Every variable of the results, each (depth + 1,), of a network's statistics; they are on the host."""


@dataclass(frozen=True)
class OwnProbe:
    """That of a user's own block."""

    group: OwnGroup

    def __call__(self, params: Params, numbers: Numbers, keys: Keys, x: Array, target: Array) -> OwnStatistics:
        """The statistics of a network on a batch, traced."""
        blocks, last, bias = given_weights(params, numbers)
        program = replace(self.group.program, arch=block_of(self.group.program.arch, blocks[0]), readout=last)
        return run_own(program, jnp.asarray(True), keys, x, target, self.group.numbers()._replace(readout_bias=bias))

    def table(self, config: Config, found: OwnStatistics) -> CellTable:
        """Every variable of the results."""
        return {name: values[0] for name, values in own_table(self.group, found).items()}


@dataclass(frozen=True)
class WiredProbe:
    """That of the other architectures."""

    group: WiredGroup

    def __call__(self, params: Params, numbers: Numbers, keys: Keys, x: Array, target: Array) -> WiredStatistics:
        """The statistics of a network on a batch, traced."""
        blocks, last, bias = given_weights(params, numbers)
        found = self.group.numbers()._replace(readout_bias=bias)
        bare, segments = self.group.program, range(len(self.group.program.segments))
        weights = tuple(
            tuple((given(matrix_of(blocks[i][slot.name], bare.segments[i].first)),) for slot in bare.slots(i))
            for i in segments
        )
        biases = tuple(bias_of(padded(blocks, bias_name(slot.name))) if slot.bias else None for slot in bare.slots(0))
        program = replace(bare, weights=weights, biases=biases, readout=last)
        arch = [
            {k: jnp.asarray(v)[:, None] for k, v in (numbers.arch[i] | learned(blocks[i], numbers.arch[i])).items()}
            for i in segments
        ]
        ours = tuple(s._replace(arch=spread(a, s.arch)) for s, a in zip(found.segments, arch, strict=True))
        run = run_recurrent if program.arch.shared else run_wired
        return run(program, jnp.asarray(True), keys, x, target, found._replace(segments=ours))

    def table(self, config: Config, found: WiredStatistics) -> CellTable:
        """Every variable of the results."""
        multipliers = tuple(log10_multipliers(config, i) for i in range(len(config.slots(1))))
        ((member,),) = self.group.members
        group = replace(self.group, members=((replace(member, log10_multipliers=multipliers),),))
        return {name: values[0] for name, values in wired_statistics(group, found).items()}


def given_weights(params: Params, numbers: Numbers) -> tuple[tuple[Any, ...], tuple[Custom], Array]:
    """(what the parameters of the segments represent, the base of the readout's matrix, its bias)."""
    blocks, readout = params
    whole = tuple(multiplied(p, f) for p, f in zip(blocks, numbers.factors, strict=True))
    matrix = jnp.asarray(numbers.readout, readout["w"].dtype) * readout["w"]
    return whole, (given(lambda layer: matrix),), readout["b"][None]


def given(lookup: Callable[[Array], Array]) -> Custom:
    """The base whose matrix in a layer is known."""
    return Custom(lambda key, shape, dtype, *, layer: lookup(layer), (), ("layer",))


def matrix_of(a: Array, first: int) -> Callable[[Array], Array]:
    """Layer -> its matrix, of a segment's; a kernel's rows are its entries with the channels in."""
    shape = int(np.prod(a.shape[1:-1])), a.shape[-1]
    return lambda layer: jnp.take(a, layer - first, axis=0).reshape(shape)


def bias_of(table: Array) -> Custom:
    """The base whose entries in a layer are the first of a row."""
    return Custom(lambda key, shape, dtype, *, layer: jnp.take(table, layer - 1, axis=0)[: shape[0]], (), ("layer",))


def padded(blocks: Any, name: str) -> Array:
    """The biases of all layers, zeros behind those of narrower ones."""
    widest = max(block[name].shape[1] for block in blocks)
    return jnp.concatenate([jnp.pad(block[name], ((0, 0), (0, widest - block[name].shape[1]))) for block in blocks])


def bias_name(slot: str) -> str:
    """Of the biases beside a matrix."""
    return "b" if slot == "w" else f"b_{slot}"


def block_of(arch: Own, block: Any) -> Own:
    """A user's block whose parameters in a layer are known."""

    def initialize(key: Array, width: int, *, layer: Array) -> Any:
        return jax.tree.map(lambda a: jnp.take(a, layer - 1, axis=0), block)

    return replace(arch, initialize=initialize, keywords=(), positions=("layer",))


def spread(arch: dict[str, Array], like: dict[str, Any]) -> dict[str, Array]:
    """The architecture's numbers in the kind that a cell takes."""
    return {name: value.astype(np.asarray(like[name]).dtype) for name, value in arch.items()}


def gauge_of(config: Config, setting: SweepSettings, trainee: StackModel) -> StepProbe:
    """The cell of nets of a program."""
    if config.arch.own:
        return OwnProbe(replace(own_group(0, config, setting), readout=(0.0, 1.0)))
    bare = replace(
        config, init=UNIT, init_first=UNIT if trainee.config.init_first else None, init_last=None, bias=BIAS, roles=()
    )
    (group,) = wired_groups([(0, bare)], setting, {config.act: behavior(config.act)})
    return WiredProbe(of_units(group))


def of_units(group: WiredGroup) -> WiredGroup:
    """The group with mean 0 and scale 1 everywhere."""
    (net,), ((member,),) = group.nets, group.members
    ones = lambda slots: tuple(((0.0, 1.0),) * len(pairs) for pairs in slots)  # noqa: E731
    net = replace(net, weights=ones(net.weights), biases=ones(net.biases), readout=(0.0, 1.0))
    return replace(group, nets=(net,), members=((replace(member, weights=ones(member.weights)),),))
