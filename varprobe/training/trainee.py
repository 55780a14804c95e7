"""The nets of a program: stacks that differ in numbers only, as one function of their parameters.

Layers of one shape are a scan, or, where nets differ in how many there are, a loop. Parameters are ({name: (layers,
...)} of every segment, {"w", "b"} of the read-out): matrices and biases as `varprobe.build` has them layer by layer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from varprobe.engine.program import Segment, segments_of
from varprobe.engine.random_bits import layer_keys
from varprobe.engine.reference_network import last_state, learned, plain_of, pooled
from varprobe.nets.architectures import Own
from varprobe.nets.architectures.architecture import Plain
from varprobe.nets.architectures.recurrent import Recurrent
from varprobe.nets.config import Config, LossName
from varprobe.nets.initializers import resolve_initializer
from varprobe.nets.scaled_float import wide
from varprobe.spec.calls import Call
from varprobe.sweeps.request import Request
from varprobe.training.layers import through

__all__ = ["Numbers", "Params", "StackModel", "filled", "numbers_of", "serving", "stacked_segments", "trainee_of"]

Params = tuple[tuple[Any, ...], dict[str, Array]]
UNIT = resolve_initializer(Call("normal", ()))
"""Stands for every initializer: what a program depends on are shapes."""


class Numbers(NamedTuple):
    """What nets of a program may differ in beside their parameters; of every segment by layer, (layers,).

    arch: the architecture's numbers. factors: what stands between a matrix and its parameter, by slot; none where that
    is 1 in all of a net, as to multiply would only take time. readout: the same of the read-out. count: layers of the
    last segment.
    """

    arch: tuple[dict[str, Any], ...]
    factors: tuple[dict[str, Any], ...]
    readout: Any
    count: Any


@dataclass(frozen=True)
class StackModel:
    """What the code of a net is compiled for; `config` without initializers and numbers.

    scaled: whether something stands between matrices and their parameters. mixed: whether it serves nets whose last
    segment is shorter, too; their parameters and numbers are filled up with zeros.
    """

    config: Config
    loss: LossName
    outputs: int
    dtype: str
    scaled: bool
    mixed: bool = False

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """Layers of one shape; where all steps share their weights, one layer."""
        return stacked_segments(self.config)

    def output(self, params: Params, numbers: Numbers, key: Array, x: Float[Array, "batch ..."]) -> Array:
        """The read-out's output, (batch, outputs); `key` is that of dropout."""
        blocks, readout = params
        x = self.last(blocks, numbers, key, x.astype(self.dtype))
        factor = jnp.asarray(numbers.readout, x.dtype)
        return jnp.matmul(pooled(x), factor * readout["w"], precision="highest") + readout["b"]

    def last(self, blocks: Any, numbers: Numbers, key: Array, x: Array) -> Array:
        """h_L."""
        arch, config = self.config.arch, self.config
        if isinstance(arch, Recurrent):
            p = jax.tree.map(lambda a: a[0], multiplied(blocks[0], numbers.factors[0]))
            return last_state(config, arch, key, p, x, jax.tree.map(lambda a: a[0], numbers.arch[0]))
        for segment, p, n, factors in zip(self.segments, blocks, numbers.arch, numbers.factors, strict=True):
            p, fixed = multiplied(p, factors), (n, layer_keys(key, segment.first, segment.count))
            if self.mixed and segment == self.segments[-1]:
                x = through(self.block, p, fixed, numbers.count, x)
            elif segment.count > 1:
                x, _ = lax.scan(lambda x, given: (self.block(*given, x), None), x, (p, fixed))
            else:
                p, fixed = jax.tree.map(lambda a: a[0], (p, fixed))
                x = self.block(p, fixed, x)
        return x

    def block(self, p: Any, fixed: tuple[Mapping[str, Any], Array], x: Array) -> Array:
        """One layer, of its parameters, its numbers of the architecture and its key of dropout."""
        arch, (numbers, key) = self.config.arch, fixed
        if isinstance(arch, Own):
            return arch.applied(p, x).astype(x.dtype)
        numbers = {name: jnp.asarray(value, x.dtype) for name, value in (dict(numbers) | learned(p, numbers)).items()}
        plain: Plain = plain_of(self.config, numbers, key)
        return arch.reference(plain, p, x).astype(x.dtype)

    def error(self, params: Params, numbers: Numbers, key: Array, x: Array, target: Array) -> Float[Array, ""]:
        """The loss, as `varprobe.engine.losses` has it."""
        return self.error_of(self.output(params, numbers, key, x), target)

    def error_of(self, output: Float[Array, "batch outputs"], target: Array) -> Float[Array, ""]:
        """The loss of an output."""
        z = wide(output)
        if self.loss == "mse":
            return jnp.mean(jnp.square(z - target))
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), target[:, None], axis=1))


def stacked_segments(config: Config) -> tuple[Segment, ...]:
    """Layers of one shape; where all steps share their weights, one layer."""
    return (Segment(1, 1, *config.widths[:2]),) if config.arch.shared else segments_of(config.widths)


def multiplied(p: Any, factors: Mapping[str, Any]) -> Any:
    """The matrices that parameters stand for, layer by layer."""
    if not factors:
        return p
    times = {k: jnp.asarray(f, p[k].dtype).reshape(-1, *(1,) * (p[k].ndim - 1)) for k, f in factors.items()}
    return {k: times[k] * v if k in times else v for k, v in p.items()}


def trainee_of(config: Config, request: Request) -> StackModel:
    """The program's net of a configuration; equal for configurations that one program serves."""
    setting = request.setting
    bare = replace(
        config,
        init=UNIT,
        init_first=UNIT if config.arch.shared and config.init_first else None,
        init_last=None,
        bias=UNIT,
        width="",
        arch_name="",
        arch=config.arch.static(),
        norm_name="",
        roles=(),
    )
    scaled = any(numbers_of(config, setting.outputs).factors)
    return StackModel(bare, setting.loss, setting.outputs, setting.dtype, scaled)


def serving(trainees: Iterable[StackModel]) -> dict[StackModel, StackModel]:
    """Who serves each: nets whose last segments are alike, and within a factor of four as long, share a program."""
    families = defaultdict[Any, set[StackModel]](set)
    for trainee in trainees:
        bare = replace(trainee.config, widths=trainee.config.widths[: trainee.segments[-1].first + 1])
        families[trainee if trainee.config.arch.shared else replace(trainee, config=bare)].add(trainee)
    found = dict[StackModel, StackModel]()
    for family in families.values():
        rest = sorted(family, key=lambda trainee: -trainee.segments[-1].count)
        while rest:
            longest = rest[0]
            near = [t for t in rest if 4 * t.segments[-1].count > longest.segments[-1].count]
            rest = rest[len(near) :]
            found |= dict.fromkeys(near, replace(longest, mixed=len(near) > 1))
    return found


def filled(trainee: StackModel, params: Params, numbers: Numbers) -> tuple[Params, Numbers]:
    """A net's own with zeros for the layers that its program has beyond it."""
    if not trainee.mixed:
        return params, numbers
    count = trainee.segments[-1].count

    def longer(parts: tuple[Any, ...]) -> tuple[Any, ...]:
        """The parts by segment, with layers of zeros behind those of the last."""
        *before, last = parts
        return *before, jax.tree.map(lambda a: np.pad(a, [(0, count - len(a)), *[(0, 0)] * (a.ndim - 1)]), last)

    blocks, readout = params
    return (longer(blocks), readout), numbers._replace(arch=longer(numbers.arch), factors=longer(numbers.factors))


def numbers_of(config: Config, outputs: int) -> Numbers:
    """What tells a configuration's net from others of its program."""
    segments = stacked_segments(config)
    arch, factors = [], []
    for segment in segments:
        layers = range(segment.first, segment.first + segment.count)
        each = [config.numbers(layer) for layer in layers]
        arch.append({name: np.array([n[name] for n in each]) for name in each[0]})
        found = {
            slot.name: np.array(
                [config.initializer(layer, i).multiplier_at(config.place(layer, slot=i)) for layer in layers]
            )
            for i, slot in enumerate(config.slots(segment.first))
        }
        factors.append({} if config.arch.own else found)
    if all((f == 1).all() for found in factors for f in found.values()):
        factors = [{} for _ in factors]
    last = config.readout.multiplier_at(config.place(config.depth + 1, outputs))
    return Numbers(tuple(arch), tuple(factors), np.array(last), np.array(segments[-1].count, np.int32))
