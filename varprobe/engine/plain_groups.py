"""From configurations to compiled programs: who can share a draw, a product, or the whole computation.

Nets that differ in scale and mean only are columns of one block. Where the activation is homogeneous of degree 1,
biases are zero and the loss is the cotangent, multiplying W_l by s_l multiplies z_l and h_l by s_1 ... s_l and delta_l
by s_{l+1} ... s_L, so nets that differ in scales alone are one net, and each configuration a shift of its logarithms.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import jax.numpy as jnp
import numpy as np

from varprobe.engine.program import (
    ActivationSpec,
    Block,
    LayerNumbers,
    Numbers,
    PhiNumbers,
    Program,
    Segment,
    segments_of,
)
from varprobe.engine.weight_bases import WeightBasis, base_of
from varprobe.nets.activations import Activation, Asymptotics
from varprobe.nets.config import Config, SweepSettings
from varprobe.nets.initializers import Initializer
from varprobe.nets.parametrizations import log10_multipliers

__all__ = [
    "ZERO_EXPONENT",
    "PlainGroup",
    "Member",
    "Net",
    "layer_numbers",
    "phi_numbers",
    "phi_of",
    "plain_groups",
    "weight_bytes",
]

CELL_BYTES = 256 * 2**20
"""What a cell may keep for its backward pass before its nets are split over several. Fixed, not taken from the machine:
what runs together must not depend on where it runs."""

WEIGHT_BYTES = 512 * 2**20
"""Weights are kept for the backward pass up to here, and drawn again beyond."""

ZERO_EXPONENT = -(2**14)


@dataclass(frozen=True)
class Member:
    """A configuration, and what it adds to the logarithms of the net that stands for it."""

    config: int
    log10_scales: tuple[float, ...]
    weights: tuple[tuple[float, float], ...]
    log10_multipliers: tuple[float, ...]


@dataclass
class Net:
    """A net to be computed: the base of each segment; (mean, scale) of W and b of each layer, and of the read-out."""

    bases: tuple[WeightBasis, ...]
    weights: tuple[tuple[float, float], ...]
    biases: tuple[tuple[float, float], ...]
    readout: tuple[float, float] | None
    parameters: tuple[tuple[str, float], ...]
    behavior: Asymptotics
    members: list[Member] = field(default_factory=list)


@dataclass(frozen=True)
class PlainGroup:
    """A program and the nets that it runs, block by block."""

    program: Program
    nets: tuple[tuple[Net, ...], ...]

    @property
    def configs(self) -> list[int]:
        """The configurations, in the order of its tables' rows."""
        return [member.config for _, _, member in self.members]

    @property
    def members(self) -> list[tuple[int, int, Member]]:
        """(block, column, member) of every configuration in the group, in configuration order."""
        found = [(b, c, m) for b, nets in enumerate(self.nets) for c, net in enumerate(nets) for m in net.members]
        return sorted(found, key=lambda x: x[2].config)

    def numbers(self) -> list[Numbers]:
        """The run-time arguments, one entry a block."""
        return [
            block_numbers(self.program, block, nets) for block, nets in zip(self.program.blocks, self.nets, strict=True)
        ]


def plain_groups(
    configs: Sequence[tuple[int, Config]], setting: SweepSettings, behaviors: Mapping[Activation, Asymptotics]
) -> list[PlainGroup]:
    """Programs that compute every (index, configuration) once, all of them plain stacks."""
    collected: dict[tuple[tuple[Segment, ...], int], dict[Block, dict[Hashable, Net]]] = {}
    ends = [(c.init_first, c.init_last, c.depth) for _, c in configs]
    cuts = frozenset(cut for first, last, depth in ends for cut in ([2] if first else []) + ([depth] if last else []))
    for index, config in configs:
        block, net = net_of(index, config, setting, behaviors[config.act], cuts)
        segments = segments_of(config.widths, cuts)
        nets = collected.setdefault((segments, config.batch), {}).setdefault(block, {})
        key = (net.bases, net.weights, net.biases, net.readout, net.parameters)
        if key in nets:
            nets[key].members.extend(net.members)
        else:
            nets[key] = net
    groups = []
    for (segments, batch), blocks in collected.items():
        for part in split(segments, batch, {b: by_base(n.values()) for b, n in blocks.items()}, setting):
            groups.append(group_of(segments, batch, part, setting))
    return groups


def by_base(nets: Iterable[Net]) -> list[Net]:
    """Nets of the same bases side by side, else in their order."""
    collected: dict[tuple[WeightBasis, ...], list[Net]] = {}
    for net in nets:
        collected.setdefault(net.bases, []).append(net)
    return [net for some in collected.values() for net in some]


def net_of(
    index: int, config: Config, setting: SweepSettings, found: Asymptotics, cuts: frozenset[int]
) -> tuple[Block, Net]:
    """The net that stands for a configuration, and its block without nets."""
    segments = segments_of(config.widths, cuts)
    weights = pairs_of(config, segments, config.weights_at)
    biases = pairs_of(config, segments, lambda layer: config.bias)
    no_bias = all(b == (0.0, 0.0) for b in biases) and config.bias.law[0] != "custom"
    outputs = setting.outputs
    readout = config.readout.at(config.place(config.depth + 1, outputs)) if outputs else None
    shared = found.homogeneous and no_bias and setting.loss == "cotangent" and not setting.real_range
    units = tuple(abs(s) or abs(m) for m, s in weights)
    shared = shared and all(u > 0 for u in units)
    if shared:
        weights_run = tuple((m / u, s / u) for (m, s), u in zip(weights, units, strict=True))
        logs = tuple(math.log10(u) for u in units)
    else:
        weights_run, logs = weights, (0.0,) * config.depth
    numeric = config.act.numeric
    block = Block(
        phi=phi_of(config.act, found),
        weights=((),) * len(segments),
        biases=tuple(None if no_bias else base_of(config.bias.law) for _ in segments),
        readout=base_of(config.readout.law) if outputs else None,
    )
    bases = tuple(base_of(config.weights_at(s.first).law) for s in segments)
    net = Net(
        bases, weights_run, biases, readout, numeric, found, [Member(index, logs, weights, log10_multipliers(config))]
    )
    return block, net


def phi_of(act: Activation, found: Asymptotics) -> ActivationSpec:
    """An activation as compiled code knows it."""
    return ActivationSpec(
        act.function,
        act.static,
        tuple(k for k, _ in act.numeric),
        found.near is not None,
        found.far is not None,
        found.bounded,
        found.homogeneous,
    )


def pairs_of(
    config: Config, segments: tuple[Segment, ...], at: Callable[[int], Initializer]
) -> tuple[tuple[float, float], ...]:
    """(mean, scale) of every layer; one evaluation a segment where the initializer does not look at the layer."""
    pairs: list[tuple[float, float]] = []
    for s in segments:
        init = at(s.first)
        layers = range(s.first, s.first + s.count)
        pairs += (
            [init.at(config.place(layer)) for layer in layers]
            if init.layerwise
            else [init.at(config.place(s.first))] * s.count
        )
    return tuple(pairs)


def net_bytes(segments: tuple[Segment, ...], batch: int) -> int:
    """What one net keeps for its backward pass."""
    return sum(s.count * batch * s.fan_out for s in segments) * 4


def weight_bytes(segments: tuple[Segment, ...], blocks: Iterable[Block], itemsize: int) -> int:
    """Memory of the weights of all layers, each base once."""
    blocks = list(blocks)
    return sum(
        s.count * sum(base.bytes(s.fan_in, s.fan_out, itemsize) for base in {w for b in blocks for w in b.weights[i]})
        for i, s in enumerate(segments)
    )


def split(
    segments: tuple[Segment, ...], batch: int, blocks: dict[Block, list[Net]], setting: SweepSettings
) -> Iterable[dict[Block, list[Net]]]:
    """All blocks together while they fit a cell; else block by block, in pieces of one size."""
    size = max(1, CELL_BYTES // net_bytes(segments, batch))
    if setting.real_range:
        size = max(1, min(size, CELL_BYTES // (4 * max(s.fan_in * s.fan_out for s in segments))))
    if sum(len(nets) for nets in blocks.values()) <= size:
        yield blocks
        return
    for block, nets in blocks.items():
        pieces = -(-len(nets) // size)
        length = -(-len(nets) // pieces)
        for start in range(0, len(nets), length):
            piece = nets[start : start + length]
            spare = [replace(piece[-1], members=[])] * (length - len(piece))
            yield {block: piece + spare}


def group_of(
    segments: tuple[Segment, ...], batch: int, blocks: dict[Block, list[Net]], setting: SweepSettings
) -> PlainGroup:
    """The program that runs these nets."""
    itemsize = jnp.dtype(setting.dtype).itemsize
    sized = tuple(
        replace(block, weights=tuple(tuple(net.bases[i] for net in nets) for i in range(len(segments))))
        for block, nets in blocks.items()
    )
    nets = [net for block_nets in blocks.values() for net in block_nets]
    with_mean = tuple(
        frozenset(n.bases[i] for n in nets if any(m != 0 for m, _ in n.weights[s.first - 1 : s.first - 1 + s.count]))
        for i, s in enumerate(segments)
    )
    program = Program(
        segments=segments,
        batch=batch,
        blocks=sized,
        loss=setting.loss,
        outputs=setting.outputs,
        dtype=setting.dtype,
        real_range=setting.real_range,
        forward_only=setting.forward_only,
        keep_weights=weight_bytes(segments, sized, itemsize) <= WEIGHT_BYTES,
        with_mean=with_mean,
    )
    return PlainGroup(program, tuple(tuple(nets) for nets in blocks.values()))


def layer_numbers(pairs: np.ndarray, dtype: str) -> LayerNumbers:
    """(mean, scale) pairs of shape (layers, nets, 2) as mantissas with one exponent."""
    mean, scale = pairs[..., 0], pairs[..., 1]
    _, e = np.frexp(np.maximum(np.abs(mean), np.abs(scale)))
    e = np.where((mean == 0) & (scale == 0), ZERO_EXPONENT, e)
    small = np.maximum(e, -1000)
    wide = "float64" if dtype == "float64" else "float32"
    return LayerNumbers(np.ldexp(scale, -small).astype(wide), np.ldexp(mean, -small).astype(wide), e.astype(np.int32))


def block_numbers(program: Program, block: Block, nets: tuple[Net, ...]) -> Numbers:
    """The numbers of a block's nets, cut into segments."""
    weights = np.array([net.weights for net in nets], np.float64).swapaxes(0, 1)
    biases = np.array([net.biases for net in nets], np.float64).swapaxes(0, 1)
    rows = [slice(s.first - 1, s.first - 1 + s.count) for s in program.segments]
    readout = None
    if block.readout is not None:
        readout = layer_numbers(np.array([net.readout for net in nets], np.float64), program.dtype)
    return Numbers(
        weights=tuple(layer_numbers(weights[r], program.dtype) for r in rows),
        biases=tuple(layer_numbers(biases[r], program.dtype) for r in rows),
        readout=readout,
        phi=phi_numbers(block.phi, [net.parameters for net in nets], [net.behavior for net in nets], program.dtype),
    )


def phi_numbers(
    phi: ActivationSpec,
    parameters: Sequence[tuple[tuple[str, float], ...]],
    behaviors: Sequence[Asymptotics],
    dtype: str,
) -> PhiNumbers:
    """The numbers of an activation, one column a net."""
    wide, none = "float64" if dtype == "float64" else "float32", (0.0, 0.0)
    return PhiNumbers(
        {name: np.array([dict(net)[name] for net in parameters], wide) for name in phi.numeric},
        near=np.array([found.near or none for found in behaviors], wide),
        far=np.array([found.far or none for found in behaviors], wide),
    )
