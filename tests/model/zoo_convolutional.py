"""Convolutional networks that train, and ways to break them."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from zoo_parts import (
    Broken,
    Model,
    Random,
    batch_norm,
    conv,
    cross_entropy,
    fan_in,
    group_norm,
    he_conv,
    labels,
    normal,
    ones,
    zeros,
)

BATCH, SIZE, CLASSES = 16, 8, 10


def images(random: Random, channels: int = 3, size: int = SIZE) -> tuple[Any, Any]:
    return normal(random, 1, BATCH, size, size, channels), labels(random, CLASSES, BATCH)


def scaled(*shape: int, scale: float = 1.0) -> dict[str, Any]:
    """Scale and bias of a norm."""
    return {"scale": scale * ones(*shape), "bias": zeros(*shape)}


def resnet(random: Random, *, depth: int = 6, width: int = 16, last: float = 0.0, before: bool = False) -> Model:
    """Two convolutions and batch norms in each block. last: scale of the second norm; before: pre-activation."""
    blocks = {f"conv_{i}": he_conv(random, depth, 3, 3, width, width) for i in (1, 2)}
    blocks |= {"norm_1": scaled(depth, width), "norm_2": scaled(depth, width, scale=last)}

    def block(x: Any, q: Any) -> tuple[Any, None]:
        if before:
            y = conv(jax.nn.relu(batch_norm(x, **q["norm_1"])), q["conv_1"])
            return x + conv(jax.nn.relu(batch_norm(y, **q["norm_2"])), q["conv_2"]), None
        y = jax.nn.relu(batch_norm(conv(x, q["conv_1"]), **q["norm_1"]))
        return jax.nn.relu(x + batch_norm(conv(y, q["conv_2"]), **q["norm_2"])), None

    def loss(p: Any, x: Any, target: Any) -> Any:
        x = jax.nn.relu(batch_norm(conv(x, p["stem"]), **p["norm"]))
        return cross_entropy(jax.lax.scan(block, x, p["blocks"])[0].mean((1, 2)) @ p["head"], target)

    p = {"stem": he_conv(random, 3, 3, 3, width), "norm": scaled(width), "blocks": blocks}
    return Model(loss, (p | {"head": fan_in(random, 1, width, CLASSES)}, *images(random)))


def plain(random: Random, *, depth: int = 10, width: int = 16, gain: float = 2.0) -> Model:
    """VGG without norms."""

    def loss(p: Any, x: Any, target: Any) -> Any:
        x = conv(x, p["stem"])
        for w in p["layers"]:
            x = conv(jax.nn.relu(x), w)
        return cross_entropy(jax.nn.relu(x).mean((1, 2)) @ p["head"], target)

    p = {"stem": he_conv(random, 3, 3, 3, width, gain=1)}
    p |= {"layers": [he_conv(random, 3, 3, width, width, gain=gain) for _ in range(depth)]}
    return Model(loss, (p | {"head": fan_in(random, 1, width, CLASSES)}, *images(random)))


def mobilenet(random: Random, *, depth: int = 5, width: int = 8, normed: bool = True, terms: int = 9) -> Model:
    """Inverted residuals: expand, depthwise, project. terms: fan-in that the depthwise kernels are made for."""
    wide = 4 * width
    blocks = {
        "expand": he_conv(random, depth, 1, 1, width, wide),
        "depthwise": fan_in(random, 2, depth, 3, 3, 1, wide, terms=terms),
        "project": he_conv(random, depth, 1, 1, wide, width, gain=1),
    }
    blocks |= {f"norm_{i}": scaled(depth, wide if i < 3 else width) for i in (1, 2, 3)}
    norm = batch_norm if normed else lambda x, **_: x

    def block(x: Any, q: Any) -> tuple[Any, None]:
        y = jax.nn.relu6(norm(conv(x, q["expand"]), **q["norm_1"]))
        y = jax.nn.relu6(norm(conv(y, q["depthwise"], groups=wide), **q["norm_2"]))
        y = norm(conv(y, q["project"]), **q["norm_3"])
        return x + y if normed else y, None

    def loss(p: Any, x: Any, target: Any) -> Any:
        x = jax.lax.scan(block, conv(x, p["stem"]), p["blocks"])[0]
        return cross_entropy(x.mean((1, 2)) @ p["head"], target)

    p = {"stem": he_conv(random, 3, 3, 3, width), "blocks": blocks, "head": fan_in(random, 1, width, CLASSES)}
    return Model(loss, (p, *images(random)))


def double(image: Any) -> Any:
    return jnp.repeat(jnp.repeat(image, 2, 1), 2, 2)


def unet(random: Random, width: int = 8) -> Model:
    """Two levels, group norm, skips by concatenation, an embedding of the noise level; predicts the noise."""
    shapes = {"down_1": (width, width), "down_2": (width, 2 * width), "middle": (2 * width, 2 * width)}
    shapes |= {"up_2": (4 * width, 2 * width), "up_1": (3 * width, width)}
    p = {
        name: {"norm": scaled(a), "conv": he_conv(random, 3, 3, a, b), "level": fan_in(random, 1, 16, b)}
        for name, (a, b) in shapes.items()
    }

    def block(q: Any, x: Any, level: Any) -> Any:
        return conv(jax.nn.silu(group_norm(x, **q["norm"])), q["conv"]) + (level @ q["level"])[:, None, None]

    def loss(p: Any, noisy: Any, level: Any, noise: Any) -> Any:
        angle = level[:, None] * 2.0 ** jnp.arange(8)
        e = jax.nn.silu(jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1) @ p["embed"])
        a = block(p["down_1"], conv(noisy, p["stem"]), e)
        b = block(p["down_2"], a[:, ::2, ::2], e)
        c = block(p["middle"], b, e)
        c = block(p["up_2"], jnp.concatenate([b, c], -1), e)
        c = block(p["up_1"], jnp.concatenate([a, double(c)], -1), e)
        return jnp.square(conv(jax.nn.silu(group_norm(c, **p["norm"])), p["last"]) - noise).mean()

    p |= {"stem": he_conv(random, 3, 3, 3, width, gain=1), "embed": fan_in(random, 1, 16, 16)}
    p |= {"norm": scaled(width), "last": zeros(3, 3, width, 3)}
    noise = normal(random, 1, BATCH, SIZE, SIZE, 3)
    return Model(loss, (p, 0.7 * noise + normal(random, 0.7, *noise.shape), normal(random, 1, BATCH), noise))


def densenet(random: Random, depth: int = 5, growth: int = 8) -> Model:
    """Each layer sees all layers before it."""
    widths = [2 * growth + i * growth for i in range(depth)]
    layers = [{"norm": scaled(n), "conv": he_conv(random, 3, 3, n, growth)} for n in widths]

    def loss(p: Any, x: Any, target: Any) -> Any:
        x = conv(x, p["stem"])
        for q in p["layers"]:
            x = jnp.concatenate([x, conv(jax.nn.relu(batch_norm(x, **q["norm"])), q["conv"])], -1)
        x = jax.nn.relu(batch_norm(x, **p["norm"])).mean((1, 2))
        return cross_entropy(x @ p["head"], target)

    last = widths[-1] + growth
    p = {"stem": he_conv(random, 3, 3, 3, 2 * growth), "layers": layers, "norm": scaled(last)}
    return Model(loss, (p | {"head": fan_in(random, 1, last, CLASSES)}, *images(random)))


def wavenet(random: Random, depth: int = 6, width: int = 16) -> Model:
    """Dilated causal convolutions with gates, residual and skip outputs; classes of the next sample."""
    layers = [
        {"taps": fan_in(random, 1, 2, width, 2 * width, terms=2 * width), "out": fan_in(random, 1, width, 2 * width)}
        for _ in range(depth)
    ]

    def loss(p: Any, x: Any, target: Any) -> Any:
        x, skips = p["embed"][x], 0.0
        for i, q in enumerate(p["layers"]):
            y = jax.lax.conv_general_dilated(
                x, q["taps"], (1,), [(2**i, 0)], rhs_dilation=(2**i,), dimension_numbers=("NWC", "WIO", "NWC")
            )
            a, b = jnp.split(y, 2, -1)
            more, skip = jnp.split((jnp.tanh(a) * jax.nn.sigmoid(b)) @ q["out"], 2, -1)
            x, skips = x + more, skips + skip
        return cross_entropy(jax.nn.relu(jax.nn.relu(skips) @ p["last"]) @ p["head"], target)

    p = {"embed": normal(random, 1, 64, width), "layers": layers, "last": fan_in(random, 2, width, width)}
    p |= {"head": fan_in(random, 1, width, 64)}
    x = labels(random, 64, 4, 65)
    return Model(loss, (p, x[:, :-1], x[:, 1:]))


def upward(x: Any, w: Any, stride: int) -> Any:
    return jax.lax.conv_transpose(x, w, (stride, stride), "SAME")


def gan(random: Random, width: int = 16) -> Model:
    """DCGAN: all weights N(0, 0.02^2), batch norm; the loss of the generator through the discriminator."""

    def weights(*shape: int) -> Any:
        return normal(random, 0.02, *shape)

    generator = {"first": weights(32, 4 * 4 * 2 * width), "norm_1": scaled(2 * width)}
    generator |= {"up_1": weights(4, 4, 2 * width, width), "norm_2": scaled(width), "up_2": weights(4, 4, width, 3)}
    critic = {"down_1": weights(4, 4, 3, width), "down_2": weights(4, 4, width, 2 * width), "norm": scaled(2 * width)}
    critic |= {"last": weights(4 * 4 * 2 * width, 1)}

    def loss(p: Any, z: Any) -> Any:
        g, d = p["generator"], p["critic"]
        x = jax.nn.relu(batch_norm((z @ g["first"]).reshape(len(z), 4, 4, -1), **g["norm_1"]))
        x = jax.nn.relu(batch_norm(upward(x, g["up_1"], 2), **g["norm_2"]))
        x = jnp.tanh(upward(x, g["up_2"], 2))
        h = jax.nn.leaky_relu(conv(x, d["down_1"], 2), 0.2)
        h = jax.nn.leaky_relu(batch_norm(conv(h, d["down_2"], 2), **d["norm"]), 0.2)
        return jax.nn.softplus(-(h.reshape(len(h), -1) @ d["last"])).mean()

    return Model(loss, ({"generator": generator, "critic": critic}, normal(random, 1, BATCH, 32)))


def upsampler(random: Random, *, depth: int = 4, width: int = 8) -> Model:
    """Transposed convolutions of stride 2, whose kernels have a variance of 2 / the number of terms in an output."""
    layers = [fan_in(random, 2, 4, 4, width, width, terms=4 * width) for _ in range(depth)]

    def loss(p: Any, z: Any, y: Any) -> Any:
        x = z
        for w in p["layers"]:
            x = jax.nn.relu(upward(x, w, 2))
        return jnp.square(x @ p["head"] - y).mean()

    size = 2 * 2**depth
    p = {"layers": layers, "head": fan_in(random, 1, width, 1)}
    return Model(loss, (p, normal(random, 1, 4, 2, 2, width), normal(random, 1, 4, size, size, 1)))


HEALTHY = {
    "resnet, last scales zero": resnet,
    "resnet": partial(resnet, last=1.0),
    "pre-activation resnet": partial(resnet, last=1.0, before=True),
    "vgg of 10 layers": plain,
    "mobilenet": mobilenet,
    "unet of a diffusion model": unet,
    "densenet": densenet,
    "wavenet": wavenet,
    "dcgan": gan,
    "transposed convolutions": upsampler,
}
BROKEN = {
    "vgg of 24 layers, weights too small": Broken(partial(plain, depth=24, gain=0.3), "vanishing", "layers/"),
    "depthwise fan-in counts all channels": Broken(
        partial(mobilenet, depth=6, normed=False, terms=9 * 32), "vanishing", "blocks/"
    ),
}
