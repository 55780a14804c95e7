"""Fixed points, critical lines and phase grids against reference values, marginal cases included."""

import itertools
import time

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import varprobe as vp
from varprobe.errors import InvalidArgumentError

# tanh: sigma_w2, sigma_b2, q*, chi_1, chi_q, c*, slope at c*; mpmath residuals of q* below 1e-13
TANH = [
    (1.5, 0.0, 0.286894229380011, 1.0405675650325255, 0.6954911538575348, 0.0, 0.9810837404743273),
    (1.76, 0.0, 0.4552124519182369, 1.0734987445526598, 0.6109211374943777, 0.0, 0.9673128100165891),
    (2.0, 0.0, 0.6179647697685752, 1.1055288204394094, 0.552516000855293, 0.0, 0.9550106888004053),
    (2.5, 0.0, 0.9735741071946121, 1.1729703986310203, 0.46605941028217746, 0.0, 0.9319904024906898),
    (3.0, 0.0, 1.3453932251298233, 1.2387971495723566, 0.40717789897658796, 0.0, 0.912574526482102),
    (4.0, 0.0, 2.1214735682032466, 1.3626733375215374, 0.3309671489709338, 0.0, 0.8822153887397786),
    (0.5, 0.05, 0.08757986518679527, 0.4319873818209409, 0.37112187583639167, 1.0, 0.4319873818209409),
    (1.0, 0.05, 0.19359252024530366, 0.7590316471854042, 0.5642799820467772, 1.0, 0.7590316471854042),
    (1.5, 0.05, 0.41803720053349536, 0.9386362681988597, 0.5519832056635056, 1.0, 0.9386362681988597),
    (1.76, 0.05, 0.5694628398517999, 0.999796424203743, 0.518314952314753, 1.0, 0.999796424203743),
    (2.0, 0.05, 0.7217618726520992, 1.0476659995757434, 0.4865217440313434, 0.744082419500292, 0.9611147919737756),
    (2.5, 0.05, 1.0639583774168497, 1.1335156987042803, 0.4284638509464328, 0.4468042323440012, 0.9187167749136829),
    (3.0, 0.05, 1.4280084621965197, 1.208934424061126, 0.38282019657628896, 0.2993176418152275, 0.8954047157586998),
    (4.0, 0.05, 2.1954939280345553, 1.3424024144452025, 0.31819509940454627, 0.16506496202225118, 0.8665279955972149),
]  # fmt: skip


@pytest.mark.parametrize("row", TANH)
def test_tanh(row: tuple[float, ...]) -> None:
    sigma_w2, sigma_b2, q, chi_1, chi_q, c, chi_c = row
    found = vp.theory.fixed_point("tanh", sigma_w2=sigma_w2, sigma_b2=sigma_b2)
    values = (found.q_star, found.chi_1, found.chi_q, found.c_star, found.chi_c_star)
    np.testing.assert_allclose(values, (q, chi_1, chi_q, c, chi_c), rtol=1e-9, atol=1e-9)
    assert found.xi_q == pytest.approx(-1 / np.log(chi_q), rel=1e-8)
    assert found.xi_c == pytest.approx(-1 / np.log(chi_c), rel=1e-8)
    assert found.xi_gradient == pytest.approx(1 / np.log(chi_1), rel=1e-8)
    assert found.phase == ("ordered" if chi_1 < 1 else "chaotic")


def test_tanh_without_a_signal() -> None:
    ordered, critical = (vp.theory.fixed_point("tanh", sigma_w2) for sigma_w2 in (0.5, 1.0))
    assert (ordered.q_star, ordered.c_star, ordered.phase) == (0, None, "ordered")
    assert ordered.chi_1 == pytest.approx(0.5) and ordered.xi_c == pytest.approx(1.4426950408889634)
    assert ordered.xi_q == pytest.approx(1.4426950408889634)
    assert (critical.q_star, critical.xi_q, critical.xi_c, critical.c_star) == (0, None, None, None)
    assert critical.phase == "critical" and critical.chi_1 == pytest.approx(1) == critical.chi_q


@pytest.mark.parametrize("excess", [1e-2, 1e-4, 1e-6])
def test_slow_convergence_is_no_obstacle(excess: float) -> None:
    """tanh just above sigma_w2 = 1: w (1 - 2q + O(q^2)) = 1 gives q* = e/2 to first order."""
    q = vp.theory.fixed_point("tanh", 1 + excess).q_star
    assert q == pytest.approx(excess / 2, rel=2 * excess + 1e-9 / excess**0.5)
    m = vp.theory.moments("tanh", q)
    assert (1 + excess) * m.mean_square == pytest.approx(q, rel=1e-12)


def test_relu_on_and_off_its_line() -> None:
    on = vp.theory.fixed_point("relu", 2.0)
    assert (on.phase, on.why, on.c_star) == ("critical", "every q is a fixed point", 1.0)
    assert on.chi_1 == pytest.approx(1) and on.xi_c is None
    below, above = vp.theory.fixed_point("relu", 1.9), vp.theory.fixed_point("relu", 2.1)
    assert (below.phase, below.q_star) == ("vanishes", 0.0) and below.chi_1 == pytest.approx(0.95)
    assert (above.phase, above.q_star) == ("grows without bound", None) and above.chi_1 == pytest.approx(1.05)
    biased = vp.theory.fixed_point("relu", 1.5, 0.1)
    assert biased.q_star == pytest.approx(0.1 / (1 - 0.75), rel=1e-13) and biased.c_star == 1


def test_known_facts_of_other_activations() -> None:
    selu = vp.theory.fixed_point("selu", 1.0)  # Klambauer et al. 2017: mean 0, variance 1
    assert selu.q_star == pytest.approx(1, abs=1e-9) and selu.chi_1 == pytest.approx(1.0716, abs=1e-4)
    assert selu.c_star == pytest.approx(0, abs=1e-9)
    assert vp.theory.fixed_point("softplus", 4.0).phase == "grows without bound"
    assert vp.theory.fixed_point("softplus", 1.0).phase == "ordered"
    assert vp.theory.fixed_point("gelu", 3.0).chi_1 == pytest.approx(1.5)
    squared = vp.theory.fixed_point("relu_squared", 0.1)
    assert (squared.q_star, squared.chi_1, squared.xi_c) == (0, 0, 0)
    assert vp.theory.fixed_point("tanh", 0.0, 0.3).q_star == pytest.approx(0.3)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.05, 9), st.floats(1e-6, 2), st.sampled_from(["tanh", "erf", "hard_tanh", "sigmoid", "soft_sign"]))
def test_a_bounded_activation_has_a_fixed_point(sigma_w2: float, sigma_b2: float, name: str) -> None:
    found = vp.theory.fixed_point(name, sigma_w2, sigma_b2)
    m = vp.theory.moments(name, found.q_star)
    assert sigma_w2 * m.mean_square + sigma_b2 == pytest.approx(found.q_star, rel=1e-11)
    c = vp.theory.correlation_map(name, found.c_star, found.q_star)
    assert (sigma_w2 * c.phi + sigma_b2) / found.q_star == pytest.approx(found.c_star, abs=1e-10)
    assert found.chi_q is not None and found.chi_q < 1 and 0 <= found.c_star <= 1
    assert found.chi_c_star is not None and found.chi_c_star < 1 + 1e-9


def test_critical_line_of_tanh() -> None:
    """Points at given sigma_b2: two quadratures."""
    for sigma_b2, sigma_w2, q in [(0.01, 1.424205290488565, 0.2733009134582311), (0.05, 1.7609546396067006, 0.5700478816407636)]:  # fmt: skip
        point = vp.theory.critical("tanh", sigma_b2=sigma_b2).point
        assert point is not None and point.stable
        np.testing.assert_allclose((point.sigma_w2, point.q), (sigma_w2, q), rtol=1e-10)
        there = vp.theory.fixed_point("tanh", point.sigma_w2, sigma_b2)
        assert there.phase == "critical" and there.q_star == pytest.approx(q, rel=1e-9)
    end = vp.theory.critical("tanh", sigma_b2=0.0).point
    assert end is not None and end.q == 0 and end.sigma_w2 == pytest.approx(1)
    line = vp.theory.critical("tanh")
    assert line.q.size == 161 and line.stable.all() and (np.diff(line.sigma_w2) > 0).all()


def test_critical_points_of_other_activations() -> None:
    relu = vp.theory.critical("relu")
    np.testing.assert_allclose(relu.sigma_w2, 2, rtol=1e-12)
    assert (relu.sigma_b2 == 0).all() and vp.theory.critical("relu", sigma_b2=0).point.q == 1
    assert vp.theory.critical("relu", sigma_b2=0.1).point is None
    softplus = vp.theory.critical("softplus")
    assert softplus.point is None and "negative sigma_b2" in softplus.why
    sigmoid = vp.theory.critical("sigmoid", sigma_b2=0.0)
    assert len(sigmoid.points) == 1 and sigmoid.sigma_w2[0] == pytest.approx(103.0, abs=0.1)
    assert sigmoid.q[0] > 40 and vp.theory.critical("sigmoid", q=1.0).point is None
    gelu = vp.theory.critical("gelu", q=[0.5, 1.0, 2.0])
    assert gelu.q.size == 3 and not gelu.stable.any()
    assert gelu.chi_q[1] / gelu.sigma_w2[1] == pytest.approx(0.4865484263153861, rel=1e-10)
    assert vp.theory.critical("selu", q=1.0).stable.all()


@pytest.mark.parametrize("name", ["tanh", "hard_tanh", "relu", "selu", "gelu"])
def test_grid_agrees_with_single_points(name: str) -> None:
    weights, biases = [0.3, 1.0, 1.7, 2.0, 3.3], [0.0, 0.02, 0.4]
    grid = vp.theory.phase_grid(name, weights, biases)
    for (i, w), (j, b) in itertools.product(enumerate(weights), enumerate(biases)):
        one = vp.theory.fixed_point(name, w, b)
        q = np.inf if one.q_star is None else one.q_star
        assert grid.q_star[i, j] == pytest.approx(q, rel=1e-10)
        assert grid.phase[i, j] == {"vanishes": "ordered"}.get(one.phase, one.phase)
        for field, tolerance in {
            "chi_q": 1e-9,
            "c_star": 1e-4,
            "xi_q": 1e-6,
            "xi_c": 1e-3,
            "xi_gradient": 1e-6,
        }.items():
            value = getattr(one, field)
            assert getattr(grid, field)[i, j] == pytest.approx(
                np.nan if value is None else value, rel=tolerance, abs=1e-6, nan_ok=True
            ), field


def test_grid_is_fast() -> None:
    vp.theory.phase_grid("tanh", [1.0], [0.1])
    start = time.perf_counter()
    grid = vp.theory.phase_grid("tanh", np.linspace(0.1, 4, 50), np.linspace(0, 0.5, 50))
    assert time.perf_counter() - start < 10  # 0.5 s on an idle core
    assert grid.q_star.shape == (50, 50) and np.isfinite(grid.chi_1).all()
    assert (np.diff(grid.chi_1[:, 10]) > 0).all()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: vp.theory.fixed_point("tanh", -1), "sigma_w2: -1 is not a finite number of at least 0"),
        (lambda: vp.theory.fixed_point("tanh", 1, np.inf), "sigma_b2: inf is not a finite number of at least 0"),
        (lambda: vp.theory.fixed_point("tanh", 1, 0, q0=0), "q0: 0 is not a number from 1e-20 to 1e+20"),
        (lambda: vp.theory.fixed_point("tahn", 1), "did you mean 'tanh'?"),
        (lambda: vp.theory.fixed_point(jnp.exp, 1.0), "no fixed point below"),
        (lambda: vp.theory.critical("tanh", q=1, sigma_b2=0.1), "q: give q or sigma_b2, not both"),
        (lambda: vp.theory.critical("tanh", q=[1, -1]), "q: -1 is not a finite number above 0"),
        (lambda: vp.theory.critical("tanh", sigma_b2="x"), "sigma_b2: 'x' is not"),
        (lambda: vp.theory.phase_grid("tanh", [], [0]), "sigma_w2: the list is empty"),
        (lambda: vp.theory.phase_grid("tanh", [0.0], [0]), "sigma_w2: 0.0 is not a finite number above 0"),
    ],
)
def test_refused(call, says: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        call()
    assert says in str(caught.value)
