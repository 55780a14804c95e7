"""`varprobe.build`: the very net that a sweep measured, as plain arrays and a plain function."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from varprobe.arguments import single
from varprobe.bases import Base, Draw, base_of
from varprobe.cells import batch_of, target_of
from varprobe.configs import Config, Request, read_request
from varprobe.draws import keys_of
from varprobe.errors import RequestError
from varprobe.extended import Signal
from varprobe.initializers import Initializer
from varprobe.losses import output_gradient

__all__ = ["Net", "build"]


class Net(NamedTuple):
    """One net of a sweep.

    Attributes:
        params: a tuple of {"w": (fan_in, fan_out), "b": (fan_out,)}, one a layer; a loss adds its read-out.
        apply: apply(params, x) -> h_L, or the read-out's output (batch, outputs) where the loss has one.
        x: the batch, (batch, input width).
        cotangent: dLoss/d apply(params, x). The gradient of sum(cotangent * apply(params, x)) is that of the loss.
    """

    params: tuple[dict[str, Array], ...]
    apply: Callable[[Any, Array], Array]
    x: Float[Array, "batch input"]
    cotangent: Float[Array, "batch outputs"]


def build(config: Mapping[str, Any] | xr.Dataset, seed: int = 0) -> Net:
    """The net of one configuration and seed, so that any number can be checked with plain jax.grad.

    Weights are in the configuration's dtype; float64 needs jax_enable_x64, or `with jax.enable_x64(True)` around this
    call and what follows. Outside a float's range the arrays overflow, where the sweep's own numbers do not.

    Args:
        config: a dict of `varprobe.sweep`'s arguments with one value each, or `ds.isel(config=i)`.
        seed: which draw; a sweep's own are 0, 1, ..., seeds - 1, and any other is as good.

    Raises:
        RequestError: the arguments describe several configurations, or are wrong.
    """
    seed = single("seed", seed, 0, 2**32 - 1)
    if not isinstance(config, Mapping | xr.Dataset):
        raise RequestError(
            f"{config!r:.80} is neither a dict of arguments nor a dataset with one configuration", "config"
        )
    arguments = arguments_of(config) if isinstance(config, xr.Dataset) else dict(config)
    request = read_request(**arguments)
    if len(request.configs) != 1:
        raise RequestError(f"build takes one configuration, these arguments describe {len(request.configs)}")
    return net_of(request, request.configs[0], seed)


def arguments_of(ds: xr.Dataset) -> dict[str, Any]:
    """The arguments of `sweep` that give the one configuration of a dataset."""
    if ds.sizes.get("config", 1) != 1:
        raise RequestError(f"build takes one configuration (ds.isel(config=i)), this dataset has {ds.sizes['config']}")
    spec = json.loads(ds.attrs["spec"])
    arguments = {k: str(np.squeeze(ds[k].values)) for k in ("act", "init", "bias", "width", "depth", "batch")}
    for name in ("init_first", "init_last"):
        if name in ds.coords and str(np.squeeze(ds[name].values)):
            arguments[name] = str(np.squeeze(ds[name].values))
    names = ("input_width", "seeds", "root_seed", "data", "labels", "standardize", "loss", "dtype", "range")
    return arguments | {k: spec[k] for k in names if spec.get(k) is not None}


def net_of(request: Request, config: Config, seed: int) -> Net:
    """Draw what the engine draws."""
    setting = request.setting
    dtype = jnp.dtype(setting.dtype)
    keys = keys_of(setting.root_seed, seed)
    params = []
    for layer in range(1, config.depth + (2 if setting.outputs else 1)):
        place = config.place(layer, setting.outputs)
        readout = layer > config.depth
        init = (config.init_last or config.init) if readout else config.weights_at(layer)
        shape = (place.fan_in, place.fan_out)
        w = entries(init, jax.random.fold_in(keys["weights"], layer), shape, place, dtype)
        b = jnp.zeros(shape[1:], dtype)
        if not readout:
            b = entries(config.bias, jax.random.fold_in(keys["biases"], layer), shape[1:], place, dtype)
        params.append({"w": w, "b": b})
    drawn, rows = batch_of(setting.source, keys["data"], config.batch, config.widths[0])
    x = jnp.asarray(drawn.astype(dtype))
    target = target_of(setting, keys["loss"], rows, config.batch, config.widths[-1])

    def apply(params: Any, x: Array) -> Array:
        """The stack's output, or the read-out's."""
        hidden = params[:-1] if setting.outputs else params
        for p in hidden:
            x = config.act(jnp.matmul(x, p["w"], precision="highest") + p["b"])
        return jnp.matmul(x, params[-1]["w"], precision="highest") if setting.outputs else x

    if setting.loss == "cotangent":
        cotangent = jnp.asarray(target.astype(dtype))
    else:
        output = apply(tuple(params), x)
        g = output_gradient(setting.loss, Signal(output[None], jnp.zeros((1,), jnp.int32)), jnp.asarray(target))
        cotangent = jnp.ldexp(g.m[0], g.e[0]).astype(dtype)
    return Net(tuple(params), apply, x, cotangent)


def entries(init: Initializer, key: Array, shape: tuple[int, ...], place: Any, dtype: Any) -> Array:
    """mean + scale * base, as the engine has it."""
    mean, scale = init.at(place)
    matrix = base_matrix(base_of(init.law), key, shape, place.layer, place.depth, dtype)
    return (np.asarray(mean, matrix.dtype) + np.asarray(scale, matrix.dtype) * matrix).astype(dtype)


@partial(jax.jit, static_argnums=(0, 2, 4, 5))  # op by op the draws would round differently
def base_matrix(base: Base, key: Array, shape: tuple[int, ...], layer: int, depth: int, dtype: Any) -> Array:
    """The base of one layer, float32 at least."""
    matrix = base.matrix(base.draw(Draw(key, shape, layer, depth, dtype)), shape)
    return matrix.astype(jnp.promote_types(dtype, jnp.float32))
