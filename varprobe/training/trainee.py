"""The nets of a program: stacks that differ in numbers only, as one function of their parameters.

Layers of one shape are a scan. Parameters are ({name: (layers, ...)} of every segment, {"w", "b"} of the read-out), the
same matrices and biases as `varprobe.build` has layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from varprobe.blocks import Own
from varprobe.blocks.architecture import Plain
from varprobe.blocks.recurrent import Recurrent
from varprobe.building import last_state, learned, plain_of, pooled
from varprobe.callform import Call
from varprobe.configs import Config, Request
from varprobe.draws import layer_keys
from varprobe.initializers import resolve_initializer
from varprobe.moments import wide
from varprobe.program import LossName, Segment, segments_of

__all__ = ["Numbers", "Params", "Trainee", "numbers_of", "trainee_of"]

Params = tuple[tuple[Any, ...], dict[str, Array]]
UNIT = resolve_initializer(Call("normal", ()))
"""Stands for every initializer: what a program depends on are shapes."""


class Numbers(NamedTuple):
    """What nets of a program may differ in beside their parameters; of every segment by layer, (layers,).

    arch: the architecture's numbers. factors: what stands between a matrix and its parameter, by slot; none where that
    is 1 in all of a net, as to multiply would only take time. readout: the same of the read-out.
    """

    arch: tuple[dict[str, Any], ...]
    factors: tuple[dict[str, Any], ...]
    readout: Any


@dataclass(frozen=True)
class Trainee:
    """What the code of a net is compiled for; `config` without initializers and numbers.

    scaled: whether something stands between matrices and their parameters.
    """

    config: Config
    loss: LossName
    outputs: int
    dtype: str
    scaled: bool

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """Layers of one shape; where all steps share their weights, one layer."""
        widths = self.config.widths
        return (Segment(1, 1, *widths[:2]),) if self.config.arch.shared else segments_of(widths)

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

            def layer(x: Array, given: Any) -> tuple[Array, None]:
                p, n, key = given
                return self.block(p, n, key, x).astype(x.dtype), None

            given = multiplied(p, factors), n | learned(p, n), layer_keys(key, segment.first, segment.count)
            if segment.count > 1:
                x, _ = lax.scan(layer, x, given)
            else:
                x, _ = layer(x, jax.tree.map(lambda a: a[0], given))
        return x

    def block(self, p: Any, numbers: Mapping[str, Any], key: Array, x: Array) -> Array:
        """One layer."""
        arch = self.config.arch
        if isinstance(arch, Own):
            return arch.applied(p, x)
        numbers = {name: jnp.asarray(value, x.dtype) for name, value in numbers.items()}
        plain: Plain = plain_of(self.config, numbers, key)
        return arch.reference(plain, p, x)

    def error(self, params: Params, numbers: Numbers, key: Array, x: Array, target: Array) -> Float[Array, ""]:
        """The loss, as `varprobe.losses` has it."""
        return self.error_of(self.output(params, numbers, key, x), target)

    def error_of(self, output: Float[Array, "batch outputs"], target: Array) -> Float[Array, ""]:
        """The loss of an output."""
        z = wide(output)
        if self.loss == "mse":
            return jnp.mean(jnp.square(z - target))
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), target[:, None], axis=1))


def multiplied(p: Any, factors: Mapping[str, Any]) -> Any:
    """The matrices that parameters stand for, layer by layer."""
    if not factors:
        return p
    times = {k: jnp.asarray(f, p[k].dtype).reshape(-1, *(1,) * (p[k].ndim - 1)) for k, f in factors.items()}
    return {k: times[k] * v if k in times else v for k, v in p.items()}


def trainee_of(config: Config, request: Request) -> Trainee:
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
    return Trainee(bare, setting.loss, setting.outputs, setting.dtype, scaled)


def numbers_of(config: Config, outputs: int) -> Numbers:
    """What tells a configuration's net from others of its program."""
    trainee_segments = (Segment(1, 1, *config.widths[:2]),) if config.arch.shared else segments_of(config.widths)
    arch, factors = [], []
    for segment in trainee_segments:
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
    return Numbers(tuple(arch), tuple(factors), np.array(last))
