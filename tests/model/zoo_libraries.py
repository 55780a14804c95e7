"""Models of Flax, Equinox and Haiku with the initializations that these libraries have by default."""

from typing import Any

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
from flax import nnx
from zoo_parts import Model, Random, labels, normal

KEY = jax.random.key(0)
BATCH, CLASSES, DEPTH, WIDTH = 32, 10, 5, 64


def vectors(random: Random) -> tuple[Any, Any]:
    return normal(random, 1, BATCH, WIDTH), labels(random, CLASSES, BATCH)


def images(random: Random) -> tuple[Any, Any]:
    return normal(random, 1, 8, 8, 8, 3), labels(random, CLASSES, 8)


class NnxMlp(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(WIDTH, WIDTH, rngs=rngs) for _ in range(DEPTH)])
        self.head = nnx.Linear(WIDTH, CLASSES, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = nnx.relu(layer(x))
        return self.head(x)


class LinenCnn(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        for features in (16, 16, 32):
            x = nn.relu(nn.Conv(features, (3, 3))(x))
        x = nn.max_pool(x, (2, 2), (2, 2)).reshape(len(x), -1)
        return nn.Dense(CLASSES)(nn.relu(nn.Dense(64)(x)))


class LinenLstm(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.Dense(CLASSES)(nn.RNN(nn.OptimizedLSTMCell(32), name="rnn")(x)[:, -1])


class EquinoxCnn(eqx.Module):
    layers: list[Any]

    def __init__(self, key: Any) -> None:
        a, b, c, d = jax.random.split(key, 4)
        convolutions = [eqx.nn.Conv2d(3, 16, 3, key=a), jax.nn.relu, eqx.nn.Conv2d(16, 16, 3, key=b), jax.nn.relu]
        self.layers = [*convolutions, jnp.ravel, eqx.nn.Linear(256, 64, key=c), jax.nn.relu]
        self.layers += [eqx.nn.Linear(64, CLASSES, key=d)]

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


def nnx_mlp(random: Random) -> Model:
    return Model(NnxMlp(nnx.Rngs(0)), vectors(random), {"loss": "cross_entropy"})


def linen(module: nn.Module, x: Any, target: Any) -> Model:
    variables = jax.jit(module.init)(KEY, x)
    return Model((module, variables), (x, target), {"loss": "cross_entropy"})


def linen_cnn(random: Random) -> Model:
    return linen(LinenCnn(), *images(random))


def linen_lstm(random: Random) -> Model:
    return linen(LinenLstm(), normal(random, 1, BATCH, 16, 8), labels(random, CLASSES, BATCH))


def equinox_mlp(random: Random) -> Model:
    model = eqx.nn.MLP(WIDTH, CLASSES, WIDTH, DEPTH, key=KEY)
    x, target = vectors(random)
    return Model(lambda model, x: jax.vmap(model)(x), (model, x, target), {"loss": "cross_entropy"})


def equinox_cnn(random: Random) -> Model:
    x, target = images(random)

    def loss(model: Any, x: Any, target: Any) -> Any:
        log_p = jax.nn.log_softmax(jax.vmap(model)(x))
        return -jnp.take_along_axis(log_p, target[:, None], 1).mean()

    return Model(loss, (EquinoxCnn(KEY), x.transpose(0, 3, 1, 2), target))


def haiku_mlp(random: Random) -> Model:
    x, target = vectors(random)
    transformed = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([*[WIDTH] * DEPTH, CLASSES])(x)))
    return Model(transformed, (jax.jit(transformed.init)(KEY, x), x, target), {"loss": "cross_entropy"})


HEALTHY = {
    "nnx mlp": nnx_mlp,
    "linen cnn": linen_cnn,
    "linen lstm": linen_lstm,
    "equinox mlp": equinox_mlp,
    "equinox cnn": equinox_cnn,
    "haiku mlp": haiku_mlp,
}
