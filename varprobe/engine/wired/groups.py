"""From configurations to compiled programs, for all architectures but the plainest."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from varprobe.engine.plain_groups import CELL_BYTES, WEIGHT_BYTES, ZERO_EXPONENT, layer_numbers, phi_numbers, phi_of
from varprobe.engine.program import LayerNumbers, Segment, segments_of
from varprobe.engine.weight_bases import WeightBasis, base_of
from varprobe.engine.wired.program import NetNumbers, SegmentNumbers, Wired
from varprobe.nets.activations import Activation, Asymptotics
from varprobe.nets.config import Config, SweepSettings
from varprobe.nets.parametrizations import log10_multipliers

__all__ = ["WiredGroup", "is_wired", "wired_groups"]

KEPT = 4
"""Arrays of a block's size that its backward pass works on at once, for each of its matrices."""

Pairs = tuple[tuple[float, float], ...]


def is_wired(config: Config) -> bool:
    """Whether a configuration is more than the plain stack that `stack` computes."""
    return config.arch_name != "plain" or bool(config.norm) or config.dropout > 0 or config.data_driven


@dataclass(frozen=True)
class Member:
    """A configuration, and how it is told from what its net computes.

    weights: (mean, scale) of each slot's W by layer. log10_multipliers: of what that is multiplied by. log10_scales: W
    over the W that is computed, by layer.
    """

    config: int
    weights: tuple[Pairs, ...]
    log10_multipliers: tuple[tuple[float, ...], ...]
    log10_scales: tuple[float, ...]


@dataclass(frozen=True)
class WiredNet:
    """One net: (mean, scale) of each slot's W and b by layer, and of the read-out; the numbers of its architecture.

    unit: of each slot's W by layer whether the batch sets its scale.
    """

    weights: tuple[Pairs, ...]
    biases: tuple[Pairs, ...]
    readout: tuple[float, float] | None
    arch: tuple[tuple[str, tuple[float, ...]], ...]
    parameters: tuple[tuple[str, float], ...]
    behavior: Asymptotics
    dropout: float
    unit: tuple[tuple[bool, ...], ...]
    unit_readout: bool


@dataclass(frozen=True)
class WiredGroup:
    """A program, the nets that it runs, and the configurations that each of them stands for."""

    program: Wired
    nets: tuple[WiredNet, ...]
    members: tuple[tuple[Member, ...], ...]

    @property
    def columns(self) -> list[tuple[int, Member]]:
        """(net, member), in the order of the nets."""
        return [(column, member) for column, members in enumerate(self.members) for member in members]

    @property
    def configs(self) -> list[int]:
        """The configurations, in the order of `columns`."""
        return [member.config for _, member in self.columns]

    def numbers(self) -> NetNumbers:
        """The run-time arguments."""
        p, nets = self.program, self.nets
        wide = "float64" if p.dtype == "float64" else "float32"
        segments = []
        for s in p.segments:
            rows = slice(s.first - 1, s.first - 1 + s.count)
            weights, biases = (
                tuple(
                    numbers_of(np.array([getattr(n, kind)[i][rows] for n in nets]).swapaxes(0, 1), p.dtype)
                    for i in range(len(nets[0].weights))
                )
                for kind in ("weights", "biases")
            )
            names = [name for name, _ in nets[0].arch]
            arch = {k: np.array([dict(n.arch)[k][rows] for n in nets], wide).T for k in names}
            slots = range(len(nets[0].unit) if p.unit else 0)
            unit = tuple(np.array([n.unit[i][rows] for n in nets]).T for i in slots)
            segments.append(SegmentNumbers(weights, biases, arch, unit))
        readout = numbers_of(np.array([n.readout for n in nets]), p.dtype) if p.outputs else None
        phi = phi_numbers(p.phi, [n.parameters for n in nets], [n.behavior for n in nets], p.dtype)
        chosen = np.array([n.unit_readout for n in nets]) if p.outputs and p.unit else None
        return NetNumbers(tuple(segments), readout, phi, np.array([n.dropout for n in nets], wide), chosen)


class Found(NamedTuple):
    """A net, the bases of each of its segments and slots, and that of its read-out (none without)."""

    net: WiredNet
    bases: tuple[tuple[WeightBasis, ...], ...]
    readout: tuple[WeightBasis, ...]


def numbers_of(pairs: np.ndarray, dtype: str) -> LayerNumbers:
    """`layer_numbers`, but a matrix of zeros has the exponent 0: its gradient is not zero, and is near its signal's."""
    found = layer_numbers(pairs, dtype)
    return found._replace(e=np.where(found.e == ZERO_EXPONENT, 0, found.e).astype(np.int32))


def wired_groups(
    configs: Sequence[tuple[int, Config]], setting: SweepSettings, behaviors: Mapping[Activation, Asymptotics]
) -> list[WiredGroup]:
    """Programs that compute every (index, configuration) once."""
    by_program: dict[Wired, dict[Found, list[Member]]] = {}
    for index, config in configs:
        program, found, member = net_of(index, config, setting, behaviors[config.act])
        by_program.setdefault(program, {}).setdefault(found, []).append(member)
    groups = []
    for program, nets in by_program.items():
        ordered = sorted(nets.items(), key=lambda item: str(item[0].bases))  # nets of the same bases side by side
        size = max(1, CELL_BYTES // net_bytes(program))
        pieces = -(-len(ordered) // size)
        length = -(-len(ordered) // pieces)
        for start in range(0, len(ordered), length):
            groups.append(group_of(program, ordered[start : start + length]))
    return groups


def net_of(index: int, config: Config, setting: SweepSettings, found: Asymptotics) -> tuple[Wired, Found, Member]:
    """The program of a configuration, still without nets, the net that stands for it, and what it makes of that."""
    arch = config.arch.static()
    cuts = frozenset(([2] if config.init_first else []) + ([config.depth] if config.init_last else []))
    segments = (Segment(1, config.depth, *config.widths[:2]),) if arch.shared else segments_of(config.widths, cuts)
    layers, slots = config.drawn_layers, config.slots(1)
    count, times = len(slots), config.depth // len(layers)
    weights = tuple(
        tuple(config.initializer(layer, i).at(config.place(layer, slot=i)) for layer in layers) * times
        for i in range(count)
    )
    biases = tuple(tuple(config.bias_at(layer, i) for layer in layers) * times for i in range(count))
    no_bias = all(b == (0.0, 0.0) for slot in biases for b in slot) and config.bias.law[0] != "custom"
    places = [config.numbers(layer) for layer in layers] * times
    bases = tuple(tuple(base_of(config.law(s.first, i)) for i in range(count)) for s in segments)
    readout = config.readout
    outputs = setting.outputs
    program = Wired(
        arch=arch,
        norm=config.norm,
        phi=phi_of(config.act, found),
        segments=segments,
        batch=config.batch,
        weights=(),
        biases=tuple(base_of(config.bias.law) if slot.bias and not no_bias else None for slot in slots),
        with_mean=(),
        loss=setting.loss,
        outputs=outputs,
        dtype=setting.dtype,
        real_range=setting.real_range,
        forward_only=setting.forward_only,
        dropout=config.dropout > 0,
    )
    run, logs = weights, (0.0,) * config.depth
    if arch.homogeneous and no_bias and not config.norm and not config.data_driven and scale_passes(found, setting):
        run, logs = without_scales(weights)
    net = WiredNet(
        run,
        biases,
        readout.at(config.place(config.depth + 1, outputs)) if outputs else None,
        tuple((k, tuple(p[k] for p in places)) for k in places[0]),
        config.act.numeric,
        found,
        config.dropout,
        tuple(tuple(config.initializer(layer, i).data_driven for layer in layers) for i in range(count)),
        readout.data_driven,
    )
    member = Member(index, weights, tuple(log10_multipliers(config, i) for i in range(count)), logs)
    return program, Found(net, bases, (base_of(readout.law),) if outputs else ()), member


def scale_passes(found: Asymptotics, setting: SweepSettings) -> bool:
    """Whether a net of one matrix a layer has the scale of its weights in all signals and gradients, as a factor."""
    return found.homogeneous and setting.loss == "cotangent" and not setting.real_range


def without_scales(weights: tuple[Pairs, ...]) -> tuple[tuple[Pairs, ...], tuple[float, ...]]:
    """((mean, scale) of the only slot with the larger of them 1, log10 of what they were divided by)."""
    (pairs,) = weights
    units = [abs(scale) or abs(mean) for mean, scale in pairs]
    if not all(units):
        return weights, (0.0,) * len(pairs)
    run = tuple((mean / unit, scale / unit) for (mean, scale), unit in zip(pairs, units, strict=True))
    return (run,), tuple(map(math.log10, units))


def net_bytes(program: Wired) -> int:
    """What one net keeps for its backward pass, and works on."""
    positions = int(np.prod(program.output_shape)) // program.segments[-1].fan_out
    each = sum(
        s.count
        * (sum(slot.fan_out for slot in program.slots(i) if slot.role != "first") + program.arch.kept_units(s.fan_out))
        for i, s in enumerate(program.segments)
    )
    return KEPT * 4 * program.batch * positions * each


def weight_bytes(program: Wired) -> int:
    """Memory of the weights of all layers, each base once."""
    itemsize = jnp.dtype(program.dtype).itemsize
    return sum(
        segment.count * base.bytes(slot.fan_in, slot.fan_out, itemsize)
        for i, segment in enumerate(program.segments)
        for slot, bases in zip(program.slots(i), program.weights[i], strict=True)
        for base in set(bases)
    )


def group_of(program: Wired, nets_and_members: Sequence[tuple[Found, list[Member]]]) -> WiredGroup:
    """The program with these nets."""
    founds = [found for found, _ in nets_and_members]
    nets = tuple(found.net for found in founds)
    segments = range(len(program.segments))
    slots = [program.slots(i) for i in segments]
    weights = tuple(tuple(tuple(found.bases[i][j] for found in founds) for j in range(len(slots[i]))) for i in segments)
    rows = [slice(s.first - 1, s.first - 1 + s.count) for s in program.segments]
    with_mean = tuple(
        tuple(
            frozenset(
                base
                for net, base in zip(nets, weights[i][j], strict=True)
                if any(mean for mean, _ in net.weights[j][rows[i]])
            )
            for j in range(len(slots[i]))
        )
        for i in segments
    )
    sized = replace(
        program,
        weights=weights,
        with_mean=with_mean,
        readout=tuple(found.readout[0] for found in founds) if program.outputs else (),
        unit=any(any(map(any, net.unit)) or net.unit_readout for net in nets),
    )
    sized = replace(sized, keep_weights=weight_bytes(sized) <= WEIGHT_BYTES)
    return WiredGroup(sized, nets, tuple(tuple(members) for _, members in nets_and_members))
