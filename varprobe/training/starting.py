"""The parameters that nets start from: those of `varprobe.build`, layers of one shape in one array."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from varprobe.bases import Base, Custom
from varprobe.building import base_matrix, block_of, readout_of, unit_factors
from varprobe.configs import Config, Request
from varprobe.draws import keys_of
from varprobe.kernels import Kernel
from varprobe.training.trainee import Params, Trainee

__all__ = ["Remembered", "starting_params", "unstacked"]


class Remembered:
    """`building.base_matrix`, computed once for each base, shape, layer and key: nets of a seed share their draws."""

    def __init__(self) -> None:
        self.found: dict[Any, np.ndarray] = {}

    def __call__(self, base: Base, key: Array, shape: tuple[int, ...], layer: int, depth: int, dtype: Any) -> Any:
        """The base of a layer, on the host."""
        of_depth = depth if isinstance(base, Custom | Kernel) else 0
        name = base, jax.random.key_data(key).tobytes(), shape, layer, of_depth, jnp.dtype(dtype).name
        if name not in self.found:
            self.found[name] = np.asarray(base_matrix(base, key, shape, layer, depth, dtype))
        return self.found[name]


def starting_params(
    request: Request, config: Config, trainee: Trainee, seed: int, x: Array, draw: Callable[..., Any]
) -> Params:
    """The parameters of a net, on the host.

    Args:
        request: that the configuration is of.
        config: of the net.
        trainee: its program's.
        seed: which draw.
        x: the first batch, on which a data-driven read-out depends.
        draw: `Remembered`, or `building.base_matrix`.
    """
    setting, keys = request.setting, keys_of(request.setting.root_seed, seed)
    dtype = jnp.dtype(setting.dtype)
    units = unit_factors(request, config, seed) if config.data_driven else {}
    layers = [block_of(config, keys, layer, dtype, units, draw) for layer in config.drawn_layers]
    readout = readout_of(config, setting.outputs, keys, tuple(layers), jnp.asarray(x, dtype), dtype)
    blocks = []
    for segment in trainee.segments:
        own = layers[segment.first - 1 : segment.first - 1 + segment.count]
        block = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *own)
        blocks.append(
            block | scales_of(config, segment.first, segment.count, dtype) if isinstance(block, dict) else block
        )
    return tuple(blocks), jax.tree.map(np.asarray, readout)


def scales_of(config: Config, first: int, count: int, dtype: Any) -> dict[str, np.ndarray]:
    """The scales of residual branches, where the initializer's are learned."""
    if config.arch.own or not any(config.weights_at(layer).branch_scale for layer in range(first, first + count)):
        return {}
    each = [config.numbers(layer)["branch_scale"] for layer in range(first, first + count)]
    return {"branch_scale": np.array(each, dtype)}


def unstacked(params: Params) -> tuple[Any, ...]:
    """Layer by layer, as `varprobe.build` has them."""
    blocks, readout = params
    layers: list[Any] = []
    for block in blocks:
        count = len(jax.tree.leaves(block)[0])
        layers += [jax.tree.map(lambda a, i=i: a[i], block) for i in range(count)]
    return (*layers, readout)
