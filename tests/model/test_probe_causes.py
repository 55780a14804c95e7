"""The terms that an output sums, and causes whose numbers multiply to the factor that was measured."""

import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import varprobe as vp
from varprobe.model.adapters import subject_of
from varprobe.model.probed import plan_of

KEY = jax.random.key(0)
NHWC = ("NHWC", "HWIO", "NHWC")
CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "same": ((2, 5, 6, 3), (3, 3, 3, 4), {"window_strides": (1, 1), "padding": "SAME"}),
    "strided": ((2, 8, 7, 3), (3, 2, 3, 4), {"window_strides": (2, 3), "padding": [(1, 0), (2, 2)]}),
    "dilated": ((1, 8, 8, 2), (3, 3, 2, 4), {"window_strides": (1, 1), "padding": "SAME", "rhs_dilation": (2, 3)}),
    "grouped": ((1, 6, 6, 4), (3, 3, 2, 8), {"window_strides": (1, 1), "padding": "SAME", "feature_group_count": 2}),
    "depthwise": ((1, 6, 6, 4), (3, 3, 1, 4), {"window_strides": (1, 1), "padding": "SAME", "feature_group_count": 4}),
    "transposed": (
        (1, 4, 4, 2),
        (4, 4, 2, 3),
        {"window_strides": (1, 1), "padding": [(2, 2)] * 2, "lhs_dilation": (2, 2)},
    ),
}


@pytest.mark.parametrize(("data", "kernel", "options"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_terms_are_what_a_convolution_of_ones_with_ones_counts(data: Any, kernel: Any, options: dict[str, Any]) -> None:
    def conv(w: Any, x: Any) -> Any:
        return jax.lax.conv_general_dilated(x, w, dimension_numbers=NHWC, **options)

    plan = plan_of(subject_of(lambda w, x: conv(w, x).sum(), (jnp.ones(kernel), jnp.ones(data)), None))
    (row,) = plan.layout.rows
    assert row.terms == pytest.approx(float(conv(jnp.ones(kernel), jnp.ones(data)).mean()), rel=1e-6)
    assert row.fan_in == math.prod(kernel[:-1])


def plain(p: Any, x: Any) -> Any:
    for w in p:
        x = jax.nn.relu(x @ w)
    return jnp.square(x).mean()


def upward(p: Any, x: Any) -> Any:
    for w in p:
        x = jax.nn.relu(jax.lax.conv_transpose(x, w, (2, 2), "SAME"))
    return jnp.square(x).mean()


def with_sums(p: Any, x: Any) -> Any:
    for w in p:
        x = jnp.cumsum(jnp.tanh(x @ w), -1)
    return jnp.square(x).mean()


def matrices(scale: float, *shape: int) -> list[Any]:
    return [scale * jax.random.normal(key, shape) for key in jax.random.split(KEY, 6)]


CHANGING = {
    "plain": (plain, matrices(0.06, 128, 128), jax.random.normal(KEY, (64, 128))),
    "transposed convolutions": (upward, matrices((2 / 128) ** 0.5, 4, 4, 8, 8), jax.random.normal(KEY, (2, 2, 2, 8))),
    "something between": (with_sums, matrices(0.01, 32, 32), jax.random.normal(KEY, (16, 32))),
}


@pytest.mark.parametrize(("loss", "p", "x"), CHANGING.values(), ids=CHANGING)
def test_a_cause_multiplies_to_the_factor(loss: Any, p: Any, x: Any) -> None:
    (row,) = vp.diagnose(vp.probe(loss, p, x)).rows
    reason = row["reason"]
    numbers = re.findall(r"(?:= |keeps |multiply it by )([\d.e-]*\d)", reason)
    assert len(numbers) == 2 + ("other layers between" in reason)
    assert math.prod(map(float, numbers)) == pytest.approx(row["activation_factor"], rel=0.1)
    assert ("other layers between" in reason) == (loss is with_sums)
    assert ("terms that an output sums" in reason) == (loss is upward)


def branched(p: Any, x: Any) -> Any:
    for first, second in zip(p[::2], p[1::2], strict=True):
        x = x + jax.nn.relu(x @ first) @ second
    return jnp.square(x).mean()


@pytest.mark.parametrize("along", [0.0, 0.3])
def test_the_cause_of_a_sum_multiplies_to_the_factor(along: float) -> None:
    """What a branch adds, and, where it points along the stream, what they have in common."""
    size = 64
    p = [(2 / size) ** 0.5 * jax.random.normal(key, (size, size)) for key in jax.random.split(KEY, 24)]
    p = [
        w + along * jnp.eye(size) if i % 2 == 0 else along * jnp.eye(size) + w / (2 if along else 1)
        for i, w in enumerate(p)
    ]
    (row,) = vp.diagnose(vp.probe(branched, p, jax.random.normal(KEY, (64, size)))).rows
    (stream,) = [found for found in row["families"] if found["kind"] == "residual"]
    numbers = re.findall(r"(?:multiply it by|stream by) ([\d.e-]*\d)", row["reason"])
    assert row["reason"].startswith(stream["family"]) and len(numbers) == 1 + (along > 0)
    assert math.prod(map(float, numbers)) == pytest.approx(stream["activation_factor"], rel=0.1)
