"""Residual stacks against closed forms, independent recursions and nets written out in float64."""

import numpy as np
import pytest
from float64_blocks import agree, measure
from hypothesis import given, settings
from hypothesis import strategies as st

import varprobe as vp
from varprobe.errors import InvalidArgumentError
from varprobe.theory.blocks import Blocks, Shape, pass_blocks
from varprobe.theory.elementwise import activation
from varprobe.theory.sources import Source
from varprobe.theory.trajectories import Inputs
from varprobe.theory.unit_layers import Norm

LN10 = np.log(10)
SIGMA = st.floats(1e-3, 30)


@settings(max_examples=25, deadline=None)
@given(SIGMA, SIGMA, st.floats(0.01, 3), st.sampled_from([(2, "post"), (2, "pre"), (1, "pre")]))
def test_relu_grows_alike_both_ways(w: float, v: float, s: float, kind: tuple[int, str]) -> None:
    """Every phi halves: 1 + s^2 w v / 2, / 4 with a second phi, 1 + s^2 w / 2 with one matrix."""
    layers, order = kind
    growth = s**2 * (w / 2 if layers == 1 else w * v / (2 if order == "post" else 4))
    found = vp.theory.residual("relu", 7, w, v, layers, order, s, q0=3.0)
    steps = np.log10(1 + growth)
    np.testing.assert_allclose(found.stream, np.log10(3) + np.arange(8) * steps, atol=1e-11)
    np.testing.assert_allclose(found.gradient, np.arange(6, -1, -1) * steps, atol=1e-11)
    np.testing.assert_allclose([found.forward_factor, found.backward_factor], 1 + growth, rtol=1e-10)
    assert not found.stream_mean_over_rms.any()


def test_one_over_sqrt_depth() -> None:
    """Branches of unit gain: (1 + 1/L)^L, below e."""
    for depth in (1, 10, 100):
        found = vp.theory.residual("relu", depth, 2.0, 1.0, branch_scale=depth**-0.5)
        assert found.stream[-1] == pytest.approx(depth * np.log10(1 + 1 / depth), abs=1e-12)
    assert np.isnan(vp.theory.residual("relu", 1).forward_factor)
    scales = 1 / np.sqrt(np.arange(1, 21))
    found = vp.theory.residual("relu", 20, branch_scale=scales)
    np.testing.assert_allclose(10**found.stream, np.concatenate([[1], np.cumprod(1 + scales**2)]), rtol=1e-12)


def test_the_mean_of_relu_builds_up() -> None:
    """x + relu(W x), sigma_w2 = 2: with r = E x / rms, a = 1/sqrt(pi), r -> (r + a) / sqrt(2 + 2 r a)."""
    found = vp.theory.residual("relu", 40, 2.0, branch_layers=1)
    r, log_q, ratios, logs = 0.0, 0.0, [], []
    for _ in range(40):
        growth = 2 + 2 * r / np.sqrt(np.pi)
        r, log_q = (r + 1 / np.sqrt(np.pi)) / np.sqrt(growth), log_q + np.log10(growth)
        ratios.append(r)
        logs.append(log_q)
    np.testing.assert_allclose(found.stream_mean_over_rms[1:], ratios, rtol=1e-10)
    np.testing.assert_allclose(found.stream[1:], logs, rtol=1e-10)
    assert found.backward_factor == pytest.approx(2, rel=1e-10)
    settled = 10 ** (found.stream[-1] - found.stream[-2])
    roots = np.roots([2 / np.sqrt(np.pi), 1, -2 / np.sqrt(np.pi), -1 / np.pi])
    assert settled == pytest.approx(2 + 2 * max(roots.real) / np.sqrt(np.pi), rel=1e-9)
    np.testing.assert_allclose(found.stream_var[1:], np.log10(1 - np.square(ratios)) + logs, atol=1e-10)


def test_tanh_against_another_quadrature() -> None:
    z = np.linspace(-12, 12, 2401)  # the trapezoid rule of a smooth Gaussian integral converges exponentially
    weights = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    w, v, b, s, q, log_g = 1.7, 0.9, 0.1, [0.3, 1.0, 0.5], 2.0, [0.0]
    expected, chis = [2.0], []
    for scale in s:
        u = np.sqrt(w * q + b) * z
        q += scale**2 * (v * (weights @ np.tanh(u) ** 2) + b)
        chis.append(scale**2 * v * w * (weights @ np.cosh(u) ** -4))
        expected.append(q)
    for chi in chis[:0:-1]:
        log_g.append(log_g[-1] + np.log10(1 + chi))
    found = vp.theory.residual("tanh", 3, w, v, branch_scale=s, sigma_b2=b, q0=2.0)
    np.testing.assert_allclose(10**found.stream, expected, rtol=1e-8)
    np.testing.assert_allclose(found.gradient, log_g[::-1], atol=1e-8)


@pytest.mark.parametrize("arguments", [
    {"layers": 2, "order": "post"}, {"layers": 2, "order": "pre", "sigma_b2": 0.1},
    {"layers": 1, "order": "post", "scale": 0.7}, {"layers": 1, "order": "pre"},
])  # fmt: skip
@pytest.mark.parametrize("act", ["relu", "sigmoid"])
def test_against_nets(act: str, arguments: dict) -> None:
    depth, width, batch = 3, 160, 6
    seen = measure(act, depth, width, batch, 6, **arguments)
    found = vp.theory.residual(
        act, depth, branch_layers=arguments["layers"], order=arguments["order"], batch=batch,
        branch_scale=arguments.get("scale", 1.0), sigma_b2=arguments.get("sigma_b2", 0.0),
    )  # fmt: skip
    allowance = 5 * depth / width  # the drift of ln(mean square) is a few 1/n a layer
    for name, log10 in (
        ("branch", found.branch), ("preactivation", found.preactivation), ("gradient", found.gradient),
        ("inner_gradient", found.preactivation_gradient), ("weight_gradient", found.weight_gradient),
        ("stream", found.stream),
    ):  # fmt: skip
        agree(getattr(seen, name), log10 * LN10, allowance)
    agree(seen.cosine, found.stream_cosine[1:], allowance)
    agree(seen.mean, found.stream_mean_over_rms[1:], allowance)


@pytest.mark.parametrize(("act", "batch", "bias", "scale"), [("relu", 1, 0.0, 1.0), ("relu", 8, 0.0, 0.5), ("tanh", 1, 0.1, 1.0)])  # fmt: skip
def test_finite_width(act: str, batch: int, bias: float, scale: float) -> None:
    """Drift and spread of 200 narrow nets: within 4.5 standard errors and the next order in 1 / n, about a tenth."""
    depth, width, seeds = 4, 48, 200
    seen = measure(act, depth, width, batch, seeds, sigma_b2=bias, scale=scale)
    found = vp.theory.residual(act, depth, branch_scale=scale, sigma_b2=bias, batch=batch, width=width)
    for logs, level, drift, std in (
        (seen.stream[:, 1:] / LN10, found.stream[1:], found.stream_drift, found.stream_std),
        (seen.gradient / LN10, found.gradient, found.gradient_drift, found.gradient_std),
    ):
        np.testing.assert_allclose(logs.std(0, ddof=1), std, rtol=4.5 / np.sqrt(2 * seeds) + 0.1)
        assert (np.abs(logs.mean(0) - level - drift) < 4.5 * std / np.sqrt(seeds) + 0.1 * np.abs(drift)).all()
    assert np.isnan(vp.theory.residual("relu", 3, branch_layers=1, width=9).stream_std).all()


@pytest.mark.parametrize(("act", "scale"), [("identity", 1.0), ("identity", 0.5), ("relu", 0.7)])
def test_spread_against_draws_of_its_law(act: str, scale: float) -> None:
    """|h|^2 is chi-squared, of half the units of a relu; V h is Gaussian given |h|, of any angle with x."""
    n, depth, draws, weights, values = 1000, 4, 200_000, 1.2, 0.9
    rng, active = np.random.default_rng(0), 0.5 if act == "relu" else 1.0
    x2, logs = rng.chisquare(n, draws) / n, []
    for _ in range(depth):
        h2 = weights * x2 / n * rng.chisquare(rng.binomial(n, active, draws))
        along = rng.standard_normal(draws)
        added = values * h2 / n * (along**2 + rng.chisquare(n - 1, draws))
        x2 = x2 + 2 * scale * np.sqrt(values * x2 * h2 / n) * along + scale**2 * added
        logs.append(np.log10(x2))
    found = vp.theory.residual(act, depth, weights, values, branch_scale=scale, width=n)
    np.testing.assert_allclose(found.stream_std, np.std(logs, axis=1), rtol=0.012)
    np.testing.assert_allclose(found.stream_drift, np.mean(logs, axis=1) - found.stream[1:], atol=3e-4)
    if act == "identity":  # back it is the same from the cotangent on, which no block has changed yet
        np.testing.assert_allclose(found.gradient_std[:-1], found.stream_std[-2::-1], rtol=1e-9)
        np.testing.assert_allclose(found.gradient_std[-1], np.sqrt(2 / n) / np.log(10), rtol=1e-9)


def test_spread_of_tanh_against_draws_of_its_law() -> None:
    """The gradient has the average of phi'^2 where the signal is, and what its own draws add: with f = chi / (1 + chi),
    (4 f (1 - f) + f^2 (1 + 3 E phi'^4 / (E phi'^2)^2)) / n a block, and 2 / n of the cotangent.
    """
    n, depth, draws, weights, values = 100, 4, 20_000, 1.7, 0.9
    rng, z = np.random.default_rng(0), np.linspace(-10, 10, 801)
    gauss = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()

    def slope(q: float, power: int) -> float:
        return float(gauss @ np.cosh(np.sqrt(q) * z) ** (-2 * power))

    grid = np.linspace(-1, 3, 101)  # ln q
    logs_of = np.array([np.log1p(weights * values * slope(np.exp(log_q), 2)) for log_q in grid])
    x2, level, streams, back, own = rng.chisquare(n, draws) / n, 1.0, [], [], []
    for _ in range(depth):
        at = weights * level
        chi = weights * values * slope(at, 2)
        f = chi / (1 + chi)
        own.append((4 * f * (1 - f) + f**2 * (1 + 3 * slope(at, 4) / slope(at, 2) ** 2)) / n)
        back.append(np.interp(np.log(weights * x2), grid, logs_of) - np.log1p(chi))
        units = np.tanh(rng.standard_normal((draws, n), np.float32) * np.sqrt(weights * x2)[:, None])
        h2, along = np.mean(units**2, axis=1), rng.standard_normal(draws)
        added = values * h2 / n * (along**2 + rng.chisquare(n - 1, draws))
        x2 = x2 + 2 * np.sqrt(values * x2 * h2 / n) * along + added
        level = level + values * (gauss @ np.tanh(np.sqrt(at) * z) ** 2)
        streams.append(np.log(x2 / level))
    found = vp.theory.residual("tanh", depth, weights, values, width=n)
    passed = np.cumsum([np.zeros(draws), *back[:0:-1]], axis=0)[::-1]  # at layer l: of the blocks above it
    rest = np.cumsum([2 / n, *own[:0:-1]])[::-1]
    for drawn, drift, std, alone in (
        (np.array(streams), found.stream_drift, found.stream_std, np.zeros(depth)),
        (passed, found.gradient_drift, found.gradient_std, rest),
    ):
        np.testing.assert_allclose((std * LN10) ** 2 - alone, drawn.var(axis=1), rtol=0.06, atol=1e-9)
        error = 3 * drawn.std(axis=1) / np.sqrt(draws) + 0.05 * np.abs(drawn.mean(axis=1))
        assert (np.abs(drawn.mean(axis=1) - drift * LN10 - alone / 2) <= error + 1e-9).all()


@pytest.mark.parametrize("norm", ["layer", "rms", "batch"])
def test_normalized_branches_of_unit_size(norm: str) -> None:
    """The branch no longer grows with the stream: 1 + l."""
    found = vp.theory.residual("relu", 30, 2.0, 2.0, norm=norm, batch=16, eps=0.0)
    np.testing.assert_allclose(10**found.stream, 1 + np.arange(31), rtol=1e-9)
    np.testing.assert_allclose(found.branch, 0, atol=1e-9)


def test_layer_norm_back() -> None:
    """relu, V phi(LN(W x)): g_{l-1} = g_l (1 + 1 / q_{l-1}), q_l = 1 + l, so that g_l = (L + 1) / (l + 1)."""
    found = vp.theory.residual("relu", 30, 2.0, 2.0, norm="layer", eps=0.0)
    np.testing.assert_allclose(10**found.gradient, 31 / (1 + np.arange(1, 31)), rtol=1e-9)


@pytest.mark.parametrize("arguments", [
    {"norm": "batch"}, {"norm": "batch", "order": "pre", "sigma_b2": 0.1}, {"norm": "batch", "position": "post"},
    {"norm": "layer", "position": "post", "scale": 0.7}, {"norm": "rms", "order": "pre"},
    {"norm": "group", "size": 16, "layers": 1, "order": "pre"},
])  # fmt: skip
def test_norms_against_nets(arguments: dict) -> None:
    depth, width, batch, act = 3, 128, 16, "silu" if arguments["norm"] == "rms" else "relu"
    seen = measure(act, depth, width, batch, 6, **arguments)
    found = vp.theory.residual(
        act, depth, branch_layers=arguments.get("layers", 2), order=arguments.get("order", "post"), batch=batch,
        branch_scale=arguments.get("scale", 1.0), sigma_b2=arguments.get("sigma_b2", 0.0), norm=arguments["norm"],
        norm_position=arguments.get("position", "pre"), group_size=arguments.get("size"),
    )  # fmt: skip
    allowance = 8 * depth / width
    for name, log10 in (("stream", found.stream), ("gradient", found.gradient), ("branch", found.branch),
                        ("inner_gradient", found.preactivation_gradient), ("weight_gradient", found.weight_gradient)):  # fmt: skip
        agree(getattr(seen, name), log10 * LN10, allowance)


def test_far_out_and_without_a_signal() -> None:
    found = vp.theory.residual("gelu", 12, 1e30, 1e30, sigma_b2=1e-30)
    assert np.isfinite(found.stream).all() and found.stream[-1] > 600
    for arguments in ({"branch_scale": 0.0}, {"sigma_w2": 0.0, "sigma_v2": 0.0}):
        still = vp.theory.residual("relu", 4, **arguments)
        np.testing.assert_allclose(still.stream, 0, atol=1e-14)
        np.testing.assert_allclose(still.gradient, 0, atol=1e-14)
    against = vp.theory.residual("relu", 5, branch_layers=1, branch_scale=-1.0)
    assert (against.stream_mean_over_rms[1:] < 0).all() and against.forward_factor > 2


def test_a_net_is_the_same_in_any_company() -> None:
    rng = np.random.default_rng(0)
    rows = [np.log(rng.uniform(0.5, 3, (5, 6))) for _ in range(4)]
    blocks, inputs = Blocks(*rows, rng.uniform(0.1, 1, (5, 6))), Inputs(*np.zeros((4, 5)))
    for norm in (None, Norm("layer"), Norm("batch")):
        shape, source = Shape(2, "pre", True, norm, 8), Source(activation("relu"))
        together = pass_blocks(source, blocks, shape, inputs)
        for i in range(5):
            alone = pass_blocks(
                source, Blocks(*(f[i : i + 1] for f in blocks)), shape, Inputs(*(f[:1] for f in inputs))
            )
            for both, one in zip(together, alone, strict=True):
                np.testing.assert_array_equal(both[i], one[0])


@pytest.mark.parametrize(("arguments", "says"), [
    ({"branch_layers": 3}, "branch_layers: 3 is not an integer from 1 to 2"),
    ({"order": "psot"}, "order: unknown order 'psot'; did you mean 'post'?"),
    ({"norm": "bacth"}, "norm: unknown norm 'bacth'; did you mean 'batch'?"),
    ({"norm": "batch", "batch": 3}, "batch: 3 is not an integer of at least 4"),
    ({"norm": "rms", "group_size": 4}, "group_size: rms norm has no groups"),
    ({"norm": "layer", "norm_position": "before"}, "norm_position: unknown position 'before'"),
    ({"norm": "layer", "eps": -1}, "eps: -1 is not a finite number of at least 0"),
    ({"norm": "batch", "batch": 8, "c0": 1.0}, "samples that are all alike"),
    ({"branch_scale": float("nan")}, "branch_scale: nan is not a finite number"),
    ({"branch_scale": [1.0, 2.0]}, "branch_scale: 2 values for 50 layers"),
    ({"sigma_v2": -1}, "sigma_v2: -1 is not a finite number of at least 0"),
    ({"width": 0}, "width: 0 is not an integer of at least 1"),
])  # fmt: skip
def test_refused(arguments: dict, says: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        vp.theory.residual("relu", **arguments)
    assert says in str(caught.value)
