"""Coordinate checks of muP transformers, whose attention divides by d or by sqrt(d), with zero queries and readout."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import varprobe as vp

VOCABULARY, LENGTH, HEADS = 64, 16, 4
BASE = 32
"""The width at which all learning rates are 0.01."""


def transformer(power: float, blocks: int = 1) -> Any:
    """A factory in plain JAX; attention is scaled by (BASE / HEADS)^(power - 0.5) / d_head^power."""

    def factory(width: int, key: Any) -> Any:
        size = width // HEADS
        keys = iter(jax.random.split(key, 2 + 5 * blocks))

        def normal(fan_in: int, *shape: int) -> Any:
            return jax.random.normal(next(keys), shape) / np.sqrt(fan_in)

        params = {"embed": normal(1, VOCABULARY, width), "positions": normal(1, LENGTH, width)}
        params["blocks"] = [
            {
                "q": jnp.zeros((width, HEADS, size)),
                "k": normal(width, width, HEADS, size),
                "v": normal(width, width, HEADS, size),
                "o": normal(width, width, width),
                "up": normal(width, width, 4 * width),
                "down": normal(4 * width, 4 * width, width),
            }
            for _ in range(blocks)
        ]
        params["readout"] = jnp.zeros((width, VOCABULARY))
        labels = jax.tree.map(lambda _: "hidden", params) | {"embed": "input", "positions": "input"}
        rates = {"input": optax.adam(0.01), "hidden": optax.adam(0.01 * BASE / width)}
        x = jax.random.randint(jax.random.key(7), (8, LENGTH + 1), 0, VOCABULARY)
        scale = (BASE / HEADS) ** (power - 0.5) / size**power
        loss = lambda params, x, y: loss_of(params, x, y, scale)  # noqa: E731
        return loss, params, x[:, :-1], x[:, 1:], {"optimizer": optax.multi_transform(rates, labels)}

    return factory


def loss_of(params: Any, x: Any, y: Any, scale: float) -> Any:
    """Cross entropy of the next token."""
    h = params["embed"][x] + params["positions"]
    for block in params["blocks"]:
        q, k, v = (jnp.einsum("btc,chd->bhtd", norm(h), block[name]) for name in "qkv")
        scores = jnp.where(jnp.tri(LENGTH, dtype=bool), jnp.einsum("bhtd,bhsd->bhts", q, k) * scale, -1e30)
        mixed = jnp.einsum("bhts,bhsd->bthd", jax.nn.softmax(scores), v)
        h = h + mixed.reshape(h.shape) @ block["o"]
        h = h + jax.nn.gelu(norm(h) @ block["up"]) @ block["down"]
    logits = jax.nn.log_softmax(norm(h) @ params["readout"])
    return -jnp.take_along_axis(logits, y[..., None], -1).mean()


def norm(x: Any) -> Any:
    """Layer norm without parameters."""
    return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)


def verdict(power: float, widths: list[int], **given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """(row, the layer of the attention scores) of a check."""
    (row,) = vp.diagnose(vp.coord_check(transformer(power), widths=widths, **given)).rows
    (scores,) = [layer for layer in row["layers"] if layer["site"] == "blocks/0/logits"]
    return row, scores


@pytest.mark.exhaustive
def test_scores_divided_by_d_level_off() -> None:
    """At these widths they fall faster than width^-1/4, and their exponent moves to 0."""
    row, scores = verdict(1.0, [32, 64, 128, 256])
    local = scores["change_exponents"]
    assert local[0] < local[1] < local[2] < -0.25 and abs(scores["change_limit"]) < 0.25
    assert row["mup"] is True and scores["text"] == "levels off" and scores["value_exponent"] is None
    assert {layer["verdict"] for layer in row["layers"]} == {"stable"}


@pytest.mark.exhaustive
def test_scores_divided_by_the_root_of_d_are_undecided_at_small_widths() -> None:
    """Their exponent rises to 1/2, and is below 1/4 at these widths; the probabilities grow at an earlier step."""
    row, scores = verdict(0.5, [32, 64, 128, 256])
    first = next(layer for layer in row["layers"] if layer["verdict"] == "grows")
    assert row["mup"] is False and first["site"] == "blocks/0/probabilities" and "at step 2" in first["text"]
    assert scores["go_to_width"] in (512, 1024) and 0 < scores["change_exponent"] < 0.25 < scores["change_limit"]
    assert scores["text"] == f"undecided: go to width {scores['go_to_width']}"


@pytest.mark.exhaustive
def test_scores_at_larger_widths() -> None:
    row, scores = verdict(1.0, [128, 256, 512])
    assert row["mup"] is True and abs(scores["change_exponent"]) < 0.25
    row, scores = verdict(0.5, [128, 256, 512])
    assert row["mup"] in (None, False) and scores["verdict"] in ("undecided", "grows")


def test_too_few_steps_to_leave_zero_are_undecided() -> None:
    """After one step only the readout has moved, as it was zero."""
    row, scores = verdict(1.0, [32, 64], steps=1, seeds=2)
    assert row["mup"] is None and " Take more than 1 step." in row["reason"]
    texts = {layer["site"]: layer["text"] for layer in row["layers"]}
    assert texts["blocks/0/o"] == texts["embed"] == "undecided: zero so far, take more steps"
