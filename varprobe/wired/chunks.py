"""From configurations to compiled programs, for all architectures but the plainest."""

from collections.abc import Hashable
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from varprobe.activations import Behavior
from varprobe.bases import base_of
from varprobe.configs import Config, Setting
from varprobe.engine import CELL_BYTES, WEIGHT_BYTES, layer_numbers, phi_numbers, phi_of
from varprobe.program import LayerNumbers, segments_of
from varprobe.wired.program import NetNumbers, SegmentNumbers, Wired

__all__ = ["WiredChunk", "is_wired", "wired_chunks"]

KEPT = 4
"""Arrays of a block's size that its backward pass works on at once, for each of its matrices."""

Pairs = tuple[tuple[float, float], ...]


def is_wired(config: Config) -> bool:
    """Whether a configuration is more than the plain stack that `stack` computes."""
    return config.arch_name != "plain" or bool(config.norm) or config.dropout > 0


@dataclass(frozen=True)
class WiredNet:
    """One net: (mean, scale) of each slot's W and b by layer, and of the read-out; the numbers of its architecture."""

    config: int
    weights: tuple[Pairs, ...]
    biases: tuple[Pairs, ...]
    readout: tuple[float, float] | None
    arch: tuple[tuple[str, tuple[float, ...]], ...]
    parameters: tuple[tuple[str, float], ...]
    behavior: Behavior
    dropout: float


@dataclass(frozen=True)
class WiredChunk:
    """A program and the nets that it runs."""

    program: Wired
    nets: tuple[WiredNet, ...]

    @property
    def configs(self) -> list[int]:
        """The configurations, in the order of the nets."""
        return [net.config for net in self.nets]

    def numbers(self) -> NetNumbers:
        """The run-time arguments."""
        p, nets = self.program, self.nets
        wide = "float64" if p.dtype == "float64" else "float32"
        segments = []
        for s in p.segments:
            rows = slice(s.first - 1, s.first - 1 + s.count)
            weights, biases = (
                tuple(
                    exponents_of_zero(
                        layer_numbers(np.array([getattr(n, kind)[i][rows] for n in nets]).swapaxes(0, 1), p.dtype)
                    )
                    for i in range(len(nets[0].weights))
                )
                for kind in ("weights", "biases")
            )
            names = [name for name, _ in nets[0].arch]
            arch = {k: np.array([dict(n.arch)[k][rows] for n in nets], wide).T for k in names}
            segments.append(SegmentNumbers(weights, biases, arch))
        readout = layer_numbers(np.array([n.readout for n in nets]), p.dtype) if p.outputs else None
        phi = phi_numbers(p.phi, [n.parameters for n in nets], [n.behavior for n in nets], p.dtype)
        return NetNumbers(tuple(segments), readout, phi, np.array([n.dropout for n in nets], wide))


def exponents_of_zero(numbers: LayerNumbers) -> LayerNumbers:
    """The numbers with exponent 0 where all entries are 0: an extreme one would lose the gradient of such a matrix."""
    return numbers._replace(e=np.where((numbers.scale == 0) & (numbers.mean == 0), 0, numbers.e))


def wired_chunks(configs: list[tuple[int, Config]], setting: Setting, behaviors: dict[object, Behavior]) -> list[WiredChunk]:
    """Programs that compute every (index, configuration) once."""
    groups: dict[Hashable, tuple[Wired, list[tuple[WiredNet, tuple[tuple[tuple[object, ...], ...], ...], tuple[object, ...]]]]] = {}
    for index, config in configs:
        program, net, laws = net_of(index, config, setting, behaviors[config.act])
        groups.setdefault(program, (program, []))[1].append((net, *laws))
    chunks = []
    for program, members in groups.values():
        members.sort(key=lambda member: str(member[1]))  # nets of the same bases side by side
        size = max(1, CELL_BYTES // net_bytes(program))
        pieces = -(-len(members) // size)
        length = -(-len(members) // pieces)
        for start in range(0, len(members), length):
            chunks.append(chunk_of(program, members[start : start + length]))
    return chunks


def net_of(index: int, config: Config, setting: Setting, found: Behavior) -> tuple[Wired, WiredNet, tuple]:
    """(its program without nets, the net, the bases of its (segments, slots) and of its read-out)."""
    arch = config.arch.static()
    cuts = frozenset(([2] if config.init_first else []) + ([config.depth] if config.init_last else []))
    segments = segments_of(config.widths, cuts)
    layers = range(1, config.depth + 1)
    count = len(config.slots(1))
    weights = tuple(
        tuple(config.initializer(layer, i).at(config.place(layer, slot=i)) for layer in layers) for i in range(count)
    )
    biases = tuple(tuple(config.bias.at(config.place(layer, slot=i)) for layer in layers) for i in range(count))
    no_bias = all(b == (0.0, 0.0) for slot in biases for b in slot) and config.bias.law[0] != "custom"
    places = [config.arch.numbers(config.place(layer)) for layer in layers]
    bases = tuple(
        tuple(base_of(config.initializer(s.first, i).law) for i in range(count)) for s in segments
    )
    readout = config.init_last or config.init
    outputs = setting.outputs
    program = Wired(
        arch=arch,
        norm=config.norm,
        phi=phi_of(config.act, found),
        segments=segments,
        batch=config.batch,
        weights=(),
        biases=tuple(None if no_bias else base_of(config.bias.law) for _ in range(count)),
        with_mean=(),
        loss=setting.loss,
        outputs=outputs,
        dtype=setting.dtype,
        real_range=setting.real_range,
        forward_only=setting.forward_only,
        dropout=config.dropout > 0,
    )
    net = WiredNet(
        index,
        weights,
        biases,
        readout.at(config.place(config.depth + 1, outputs)) if outputs else None,
        tuple((k, tuple(p[k] for p in places)) for k in places[0]),
        config.act.numeric,
        found,
        config.dropout,
    )
    return program, net, (bases, (base_of(readout.law),) if outputs else ())


def net_bytes(program: Wired) -> int:
    """What one net keeps for its backward pass, and works on."""
    positions = int(np.prod(program.output_shape)) // program.segments[-1].fan_out
    each = sum(
        s.count * (sum(slot.fan_out for slot in program.slots(i)) + program.arch.kept_units(s.fan_out))
        for i, s in enumerate(program.segments)
    )
    return KEPT * 4 * program.batch * positions * each


def chunk_of(program: Wired, members: list) -> WiredChunk:
    """The program with these nets."""
    nets = tuple(net for net, *_ in members)
    segments, itemsize = range(len(program.segments)), jnp.dtype(program.dtype).itemsize
    slots = [program.slots(i) for i in segments]
    weights = tuple(
        tuple(tuple(bases[i][j] for _, bases, _ in members) for j in range(len(slots[i]))) for i in segments
    )
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
    kept = sum(
        program.segments[i].count * base.bytes(slot.fan_in, slot.fan_out, itemsize)
        for i in segments
        for slot, bases in zip(slots[i], weights[i], strict=True)
        for base in set(bases)
    )
    sized = replace(
        program,
        weights=weights,
        with_mean=with_mean,
        readout=tuple(readout[0] for *_, readout in members) if program.outputs else (),
        keep_weights=kept <= WEIGHT_BYTES,
    )
    return WiredChunk(sized, nets)
