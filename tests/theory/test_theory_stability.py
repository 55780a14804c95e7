"""Stable, unstable and half-stable fixed points against closed forms, and the signals that they separate."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import varprobe as vp
from varprobe.__main__ import outcome
from varprobe.errors import InvalidArgumentError

# relu_squared: V(q) = 1.5 sigma_w2 q^2 + sigma_b2, so q = (1 -+ sqrt(1 - 6 sigma_w2 sigma_b2)) / (3 sigma_w2)


@pytest.mark.parametrize(("sigma_w2", "sigma_b2"), [(0.6667, 0.0), (2.0, 0.0), (0.1, 0.05), (3.3, 0.05), (1e-6, 0.0)])
def test_relu_squared_has_the_roots_of_a_parabola(sigma_w2: float, sigma_b2: float) -> None:
    found = vp.theory.all_fixed_points("relu_squared", sigma_w2, sigma_b2)
    root = np.sqrt(1 - 6 * sigma_w2 * sigma_b2)
    low, high = (1 - root) / (3 * sigma_w2), (1 + root) / (3 * sigma_w2)
    assert [p.stability for p in found] == ["stable", "unstable"]
    np.testing.assert_allclose([p.q_star for p in found], [low, high], rtol=1e-9)
    np.testing.assert_allclose([p.chi_q for p in found], [3 * sigma_w2 * low, 3 * sigma_w2 * high], rtol=1e-9)
    for start, end in ((0.99, low), (1.01, None)):
        moved = vp.theory.fixed_point("relu_squared", sigma_w2, sigma_b2, q0=start * high)
        assert moved.q_star == (end if end is None else pytest.approx(end, rel=1e-9))


def test_half_stable_points_are_where_two_fixed_points_meet() -> None:
    """relu_squared: q = 2 sigma_b2 at sigma_w2 = 1 / (6 sigma_b2)."""
    (point,) = vp.theory.half_stable("relu_squared", 0.05)
    assert (point.q_star, point.sigma_w2) == (pytest.approx(0.1, rel=1e-12), pytest.approx(1 / 0.3, rel=1e-12))
    assert point.stability == "half-stable" and point.chi_q == pytest.approx(1, abs=1e-12)
    counts = [
        [p.stability for p in vp.theory.all_fixed_points("relu_squared", point.sigma_w2 * factor, 0.05)]
        for factor in (1 - 1e-5, 1, 1 + 1e-5)
    ]
    assert counts == [["stable", "unstable"], ["half-stable"], []]


@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_half_stable_points_of_other_activations(name: str) -> None:
    """chi_q = 1 at each, and the number of fixed points differs by two on its sides."""
    points = vp.theory.half_stable(name, 0.1)
    assert points and all(p.chi_q == pytest.approx(1, abs=1e-9) for p in points)
    for p in points:
        counts = [len(vp.theory.all_fixed_points(name, p.sigma_w2 * factor, 0.1)) for factor in (1 - 1e-6, 1 + 1e-6)]
        assert abs(counts[1] - counts[0]) == 2
    assert vp.theory.half_stable("relu") == () == vp.theory.half_stable("tanh", 0.1)


@pytest.mark.parametrize(("act", "sigma_w2", "expected"), [
    ("relu", 2.0, [(1.0, "neutral")]), ("relu", 1.0, [(0.0, "stable")]), ("relu", 3.0, [(0.0, "unstable")]),
    ("tanh", 1.0, [(0.0, "stable")]), ("tanh", 2.0, [(0.0, "unstable"), (0.6179647697685752, "stable")]),
    ("gelu", 4.0, [(0.0, "unstable")]), ("softplus", 3.0, []),
])  # fmt: skip
def test_words(act: str, sigma_w2: float, expected: list[tuple[float, str]]) -> None:
    found = vp.theory.all_fixed_points(act, sigma_w2)
    assert [(pytest.approx(p.q_star, rel=1e-9), p.stability) for p in found] == expected


@pytest.mark.parametrize("act", ["relu_squared", "gelu", "tanh", "softplus", "elu"])
def test_advice_names_a_fixed_point_that_theory_finds(act: str) -> None:
    advice = vp.advise(act, depth=20)
    found = vp.theory.all_fixed_points(act, advice.sigma_w2, advice.sigma_b2)
    named = [p for p in found if p.q_star == pytest.approx(advice.q, rel=1e-3)]
    if advice.kind in ("critical", "critical, q fades") or "no stable point" in str(advice):
        assert [p.stability for p in named] == ["unstable" if advice.chi_q > 1 + 1e-6 else "stable"]
    assert ("unstable fixed point" in str(advice)) == (advice.kind == "critical" and advice.chi_q > 1 + 1e-6)


def oscillating(x: jax.Array) -> jax.Array:
    return x + jnp.sin(x) ** 2


def test_a_line_with_an_oscillation() -> None:
    """phi = x + (1 - cos 2x) / 2: E phi = 1/2, E phi^2 = q + 3/8, E phi'^2 = 3/2, but for exp(-2 q) at large q."""
    for q in (32.0, 1e3, 1e6, 1e12):
        found = vp.theory.moments(oscillating, q)
        assert found.mean == pytest.approx(0.5, abs=1e-9 * np.sqrt(q))
        assert found.mean_square == pytest.approx(q + 3 / 8, rel=1e-9)
        assert found.derivative_mean_square == pytest.approx(1.5, rel=1e-9)
        assert found.z_phi_dphi == pytest.approx(np.sqrt(q), rel=1e-9)
    grows = vp.theory.fixed_point(oscillating, 1.0)
    assert grows.phase == "grows without bound" and grows.chi_1 == pytest.approx(1.5, rel=1e-9)
    # with sigma_w2 = 0.99 and sigma_b2 = 1 the fixed point is q = (0.99 * 3/8 + 1) / 0.01
    settled = vp.theory.fixed_point(oscillating, 0.99, 1.0)
    assert settled.q_star == pytest.approx((0.99 * 3 / 8 + 1) / 0.01, rel=1e-6) and settled.stability == "stable"


@pytest.mark.exhaustive
def test_a_line_with_an_oscillation_has_a_trajectory() -> None:
    path = vp.theory.trajectory(oscillating, 1.5, depth=14)
    q, h = 10**path.preactivation_log10_mean_square, 10**path.activation_log10_mean_square
    np.testing.assert_allclose(q, 1.5 * np.concatenate([[1], h[:-1]]), rtol=1e-9)
    np.testing.assert_allclose(h[-5:], q[-5:] + 3 / 8, rtol=1e-9)


def test_a_bounded_oscillation_that_is_no_line_is_still_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="oscillates too fast"):
        vp.theory.moments(lambda x: x * jnp.sin(x), 1e6)


def test_the_command_says_where_signals_go(capsys: Any) -> None:
    """An input of mean square 1 has q = sigma_w2 at layer 1, here below the unstable point 1 / (1.5 sigma_w2)."""
    arguments = ["theory", "--act", "relu_squared", "--sigma-w2", "0.6667"]
    assert outcome(arguments) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "The signal falls to 0." in printed and "grows from layer to layer" not in printed
    assert "q = 0.99995 is an unstable fixed point (chi_q 2): a signal below it goes to 0" in printed
    assert outcome([*arguments, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["q_star"] == 0 and [p["stability"] for p in answer["fixed_points"]] == ["stable", "unstable"]
    assert answer["fixed_points"][1]["q"] == pytest.approx(1 / (1.5 * 0.6667), rel=1e-12)
