"""A network as plain arrays and a plain function, drawn as the engine draws it, to check the engine by."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from varprobe.engine.inputs import arguments, inputs_of, target_of
from varprobe.engine.losses import output_gradient
from varprobe.engine.random_bits import keys_of, layer_keys
from varprobe.engine.weight_bases import Draw, WeightBasis, base_of
from varprobe.engine.wired.cell import run_wired, slot_key
from varprobe.engine.wired.groups import wired_groups
from varprobe.engine.wired.layer import unit_names
from varprobe.nets.activations import behavior
from varprobe.nets.architectures import Own, Plain
from varprobe.nets.architectures.recurrent import Recurrent
from varprobe.nets.config import Config, SweepSettings
from varprobe.nets.initializers import Initializer
from varprobe.nets.norms import standardized
from varprobe.nets.scaled_float import Signal

__all__ = ["Net"]


class Net(NamedTuple):
    """One net of a sweep.

    Attributes:
        params: a tuple of {"w": (fan_in, fan_out), "b": (fan_out,)}, one a layer; a loss adds its read-out. Blocks of
            several matrices have each by its name, and its bias as b_NAME; kernels are (sides..., channels in, out); a
            block of the user's has its own pytree; recurrent nets have one for all steps. With `ntk` "w" is the
            parameter, which apply multiplies.
        apply: apply(params, x) -> h_L, or the read-out's output (batch, outputs) where the loss has one.
        x: the batch, (batch, input width), or (batch, positions..., units), or (batch, steps, units).
        cotangent: dLoss/d apply(params, x). The gradient of sum(cotangent * apply(params, x)) is that of the loss.
    """

    params: tuple[dict[str, Array], ...]
    apply: Callable[[Any, Array], Array]
    x: Float[Array, "batch input"]
    cotangent: Float[Array, "batch outputs"]


def net_of(setting: SweepSettings, config: Config, seed: int) -> Net:
    """Draw what the engine draws."""
    dtype = jnp.dtype(setting.dtype)
    keys = keys_of(setting.root_seed, seed)
    units = unit_factors(setting, config, seed) if config.data_driven else {}
    params: tuple[Any, ...] = tuple(block_of(config, keys, layer, dtype, units) for layer in config.drawn_layers)
    arch = config.arch
    enters = arch.input_shape(config.widths[0], config.depth)
    drawn, rows = inputs_of(setting, keys, config.batch, enters, arch.embeds)
    x = jnp.asarray(drawn.astype(dtype))
    ends = arch.sample_shape(config.widths[-1])
    target = target_of(setting, keys["loss"], rows, config.batch, math.prod(ends))
    if setting.outputs:
        params += (readout_of(config, setting.outputs, keys, params, x, dtype),)
    apply = partial(applied, config, setting.outputs, keys["dropout"])
    if setting.loss == "cotangent":
        cotangent = jnp.asarray(target.reshape(config.batch, *ends).astype(dtype))
    else:
        output = apply(params, x)
        g = output_gradient(setting.loss, Signal(output[None], jnp.zeros((1,), jnp.int32)), jnp.asarray(target))
        cotangent = jnp.ldexp(g.m[0], g.e[0]).astype(dtype)
    return Net(params, apply, x, cotangent)


def applied(config: Config, outputs: int, dropout_key: Array, params: Any, x: Array) -> Array:
    """The stack's output, or the read-out's, which reads the mean over positions."""
    if isinstance(config.arch, Recurrent):
        x = last_state(config, config.arch, dropout_key, multiplied(config, 1, params[0]), x, config.numbers(1))
    else:
        for layer in range(1, config.depth + 1):
            if isinstance(config.arch, Own):
                x = config.arch.applied(params[layer - 1], x)
                continue
            p, numbers = params[layer - 1], config.numbers(layer)
            plain = plain_of(config, numbers | learned(p, numbers), jax.random.fold_in(dropout_key, layer))
            x = config.arch.reference(plain, multiplied(config, layer, p), x)
    if not outputs:
        return x
    factor = config.readout.multiplier_at(config.place(config.depth + 1, outputs))
    w = params[-1]["w"]
    return jnp.matmul(pooled(x), w if factor == 1 else factor * w, precision="highest") + params[-1]["b"]


def learned(p: Any, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Those numbers of an architecture that are parameters in training."""
    return {name: p[name] for name in numbers if isinstance(p, dict) and name in p}


def pooled(x: Array) -> Float[Array, "batch units"]:
    """The mean over positions."""
    return x.mean(axis=tuple(range(1, x.ndim - 1)))


def multiplied(config: Config, layer: int, p: Mapping[str, Array]) -> dict[str, Array]:
    """The matrices that the parameters of a layer stand for."""
    factors = {
        slot.name: config.initializer(layer, i).multiplier_at(config.place(layer, slot=i))
        for i, slot in enumerate(config.slots(layer))
    }
    return {k: v if factors.get(k, 1.0) == 1.0 else factors[k] * v for k, v in p.items()}


def readout_of(
    config: Config, outputs: int, keys: dict[str, Array], params: Any, x: Array, dtype: Any
) -> dict[str, Array]:
    """The matrix of a loss's read-out; its bias is 0."""
    place, init = config.place(config.depth + 1, outputs), config.readout
    w = entries(init, jax.random.fold_in(keys["weights"], place.layer), (place.fan_in, outputs), place, dtype)
    if init.data_driven:
        std = jnp.std(jnp.matmul(pooled(applied(config, 0, keys["dropout"], params, x)), w, precision="highest"))
        w = jnp.where(std > 0, w / jnp.where(std > 0, std, 1), w).astype(dtype)
    return {"w": w, "b": jnp.zeros((outputs,), dtype)}


def unit_factors(setting: SweepSettings, config: Config, seed: int) -> dict[tuple[int, str], tuple[float, int]]:
    """(layer, slot) -> (f, k): what the engine multiplies that matrix by, f 2^k, for its product to have variance 1."""
    setting = replace(setting, forward_only=True, loss="cotangent", outputs=0)
    (group,) = wired_groups([(0, config)], setting, {config.act: behavior(config.act)})
    with jax.enable_x64(setting.dtype == "float64"):
        found = jax.jit(run_wired, static_argnums=0)(group.program, *arguments(group, setting, seed))
        several = [{name: np.asarray(v, np.float64)[:, 0] for name, v in part.items()} for part in found.scalars]
    rows = {name: np.concatenate([part[name] for part in several]) for name in several[0]}
    return {
        (layer, slot.name): (float(rows[factor][layer - 1]), int(rows[exponent][layer - 1]))
        for layer in range(1, config.depth + 1)
        for slot in config.slots(layer)
        for factor, exponent in [unit_names(slot.name)]
    }


def last_state(
    config: Config, arch: Recurrent, dropout_key: Array, p: dict[str, Array], x: Array, numbers: Mapping[str, Any]
) -> Array:
    """h after all steps of a recurrent net; x is (batch, steps, units), or its first state."""

    def step(states: tuple[Array, ...], time: tuple[Array, Array | None]) -> tuple[tuple[Array, ...], None]:
        key, entering = time
        return arch.reference(plain_of(config, numbers, key)._replace(input=entering), p, states), None

    zero = jnp.zeros((len(x), config.widths[1]), x.dtype)
    first, entering = (zero, x.swapaxes(0, 1)) if arch.inputs == "every" else (x, None)
    states = (first, *(zero for _ in range(arch.states - 1)))
    (h, *_), _ = jax.lax.scan(step, states, (layer_keys(dropout_key, 1, config.depth), entering))
    return h


def plain_of(config: Config, numbers: Mapping[str, Any], dropout_key: Array) -> Plain:
    """The plain functions of a layer, whose numbers of the architecture these are."""

    def norm(z: Array, position: str) -> Array:
        return standardized(config.norm, z[None], config.norm.eps)[0] if config.norm.position == position else z

    def dropped(h: Array, site: int) -> Array:
        if not config.dropout:
            return h
        u = jax.random.uniform(jax.random.fold_in(dropout_key, site), h.shape, jnp.float32)
        return jnp.where(u < np.float32(1 - config.dropout), h / (1 - config.dropout), 0).astype(h.dtype)

    return Plain(config.act, norm if config.norm else lambda z, _: z, dropped, numbers)


def block_of(
    config: Config,
    keys: dict[str, Array],
    layer: int,
    dtype: Any,
    units: Mapping[tuple[int, str], tuple[float, int]],
    draw: Callable[..., Any] | None = None,
    fold: Callable[[Array, int], Array] = jax.random.fold_in,
) -> dict[str, Array]:
    """The matrices of a layer by slot, and their biases: b, b_SLOT.

    Args:
        config: of the net.
        keys: the seed's.
        layer: from 1.
        dtype: of weights.
        units: as of `unit_factors`.
        draw: in place of `base_matrix`, such as one that remembers.
        fold: in place of `jax.random.fold_in`, likewise.
    """
    key, bias_key = (fold(keys[name], layer) for name in ("weights", "biases"))
    if isinstance(config.arch, Own):
        return own_params(config.arch, key, config.widths[-1], layer, config.depth, dtype)
    params = {}
    for i, slot in enumerate(config.slots(layer)):
        place = config.place(layer, slot=i)
        init, shape = config.initializer(layer, i), (slot.fan_in, slot.fan_out)
        w = entries(init, slot_key(key, i), shape, place, dtype, config.law(layer, i), draw)
        factor, exponent = units.get((layer, slot.name), (1.0, 0))
        w = jnp.ldexp(w * np.asarray(factor, w.dtype), exponent).astype(dtype) if units else w
        params[slot.name] = w.reshape(slot.shape)
        if not slot.bias:
            continue
        name = "b" if slot.name == "w" else f"b_{slot.name}"
        biases = place._replace(bias=True)
        params[name] = entries(config.bias, slot_key(bias_key, i), (slot.units,), biases, dtype, None, draw)
    return params


def entries(
    init: Initializer,
    key: Array,
    shape: tuple[int, ...],
    place: Any,
    dtype: Any,
    law: Any = None,
    draw: Callable[..., Any] | None = None,
) -> Array:
    """mean + scale * base, as the engine has it; of the parameter, where a multiplier stands beside it."""
    factor = init.multiplier_at(place)
    mean, scale = (v / factor for v in init.at(place))
    matrix = (draw or base_matrix)(base_of(law or init.law), key, shape, place.layer, place.depth, dtype)
    return (np.asarray(mean, matrix.dtype) + np.asarray(scale, matrix.dtype) * matrix).astype(dtype)


own_params = jax.jit(Own.params, static_argnums=(0, 2, 4, 5))


@partial(jax.jit, static_argnums=(0, 2, 4, 5))  # op by op the draws would round differently
def base_matrix(base: WeightBasis, key: Array, shape: tuple[int, ...], layer: int, depth: int, dtype: Any) -> Array:
    """The base of one layer, float32 at least."""
    matrix = base.matrix(base.draw(Draw(key, shape, layer, depth, dtype)), shape)
    return matrix.astype(jnp.promote_types(dtype, jnp.float32))
