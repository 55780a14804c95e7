"""The parameters that nets start from: those of `varprobe.build`, layers of one shape in one array."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from varprobe.engine.random_bits import keys_of
from varprobe.engine.reference_network import base_matrix, block_of, readout_of, unit_factors
from varprobe.engine.weight_bases import Custom, Kernel, WeightBasis
from varprobe.nets.config import Config
from varprobe.sweeps.request import Request
from varprobe.training.trainee import Params, stacked_segments

__all__ = ["DrawCache", "starting_params", "unstacked"]


class DrawCache:
    """Keys and bases of one seed, each computed once: nets share their draws.

    Attributes:
        keys: the seed's.
    """

    def __init__(self, root_seed: int, seed: int) -> None:
        self.keys = keys_of(root_seed, seed)
        self.folded: dict[tuple[int, int], tuple[Array, Array]] = {}
        self.bytes: dict[int, bytes] = {}
        self.found: dict[Any, np.ndarray] = {}

    def fold(self, key: Array, data: int) -> Array:
        """`jax.random.fold_in`; both keys are kept, so that no other object has their id."""
        if (id(key), data) not in self.folded:
            new = jax.random.fold_in(key, data)
            self.folded[id(key), data] = key, new
            self.bytes[id(new)] = bytes_of(new)
        return self.folded[id(key), data][1]

    def __call__(
        self, base: WeightBasis, key: Array, shape: tuple[int, ...], layer: int, depth: int, dtype: Any
    ) -> Any:
        """`building.base_matrix`, on the host."""
        of_depth = depth if isinstance(base, Custom | Kernel) else 0
        content = self.bytes.get(id(key)) or bytes_of(key)
        name = base, content, shape, layer, of_depth, jnp.dtype(dtype).name
        if name not in self.found:
            self.found[name] = np.asarray(base_matrix(base, key, shape, layer, depth, dtype))
        return self.found[name]


def bytes_of(key: Array) -> bytes:
    """What tells a key from others."""
    return jax.random.key_data(key).tobytes()


def starting_params(request: Request, config: Config, seed: int, x: Array, draw: DrawCache) -> Params:
    """The parameters of a net, on the host.

    Args:
        request: that the configuration is of.
        config: of the net.
        seed: which draw.
        x: the first batch, on which a data-driven read-out depends.
        draw: what is known of the seed.
    """
    setting, keys = request.setting, draw.keys
    dtype = jnp.dtype(setting.dtype)
    units = unit_factors(request.setting, config, seed) if config.data_driven else {}
    layers = [block_of(config, keys, layer, dtype, units, draw, draw.fold) for layer in config.drawn_layers]
    readout = readout_of(config, setting.outputs, keys, tuple(layers), jnp.asarray(x, dtype), dtype)
    blocks = []
    for segment in stacked_segments(config):
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
