"""`varprobe phase`: the diagram's numbers against the theory's own and against quadrature; what is measured; the command."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import varprobe as vp
from varprobe.__main__ import outcome
from varprobe.theory.elementwise import activation
from varprobe.theory.phase_axes import axes_for, axis, is_logarithmic
from varprobe.theory.phase_diagram import ends_in, phase_diagram, whole_line
from varprobe.verdict.phase_measured import Measured, compare

FIELDS = ("q_star", "chi_1", "chi_q", "c_star", "xi_q", "xi_c")


def run(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    code = outcome(["phase", *arguments])
    return code, *capsys.readouterr()


def expected_of(act: str, w: float, b: float) -> dict[str, Any]:
    found = vp.theory.fixed_point(act, w, b)
    return {name: getattr(found, name) for name in (*FIELDS, "phase")}


@pytest.mark.parametrize("act", ["tanh", "relu_squared"])
def test_json_has_the_fixed_points(act: str, capsys: Any, tmp_path: Path) -> None:
    save = str(tmp_path / "x.png")
    grid = ("--sigma-w2", "0.2:3:6", "--sigma-b2", "0.01:0.3:5")
    code, out, err = run(capsys, "--act", act, *grid, "--save", save, "--json")
    found = json.loads(out)
    assert (code, err, found["figure"], found["measured"]) == (0, "", save, None)
    assert Path(save).read_bytes()[1:4] == b"PNG"
    assert found["sigma_w2"] == pytest.approx(np.linspace(0.2, 3, 6)) and len(found["sigma_b2"]) == 5
    for i, j in ((0, 0), (1, 4), (3, 2), (5, 0), (5, 4)):
        expected = expected_of(act, found["sigma_w2"][i], found["sigma_b2"][j])
        assert found["phase"][i][j] == expected["phase"]
        for name in FIELDS:
            loose = name in ("c_star", "xi_c")  # interpolated, right to 1e-5 for a smooth phi
            value = expected[name]
            if value is not None:
                value = pytest.approx(value, rel=1e-4 if loose else 1e-7)
            assert found[name][i][j] == value, (name, i, j)
    for point in found["initializers"]:
        expected = expected_of(act, point["sigma_w2"], 0.0)
        assert all(point[name] == expected[name] for name in ("q_star", "chi_1", "xi_c", "phase"))


def test_initializers_are_the_standard_ones_with_mean_0() -> None:
    points = {names: p.fixed.sigma_w2 for p in phase_diagram("relu", width=100).points for names in p.names}
    assert points == pytest.approx(
        {
            "normal(std=0.01)": 0.01,
            "uniform(limit=0.01)": 0.01 / 3,
            "uniform(limit=1)": 100 / 3,
            "torch_default": 1 / 3,
            **dict.fromkeys(("glorot_normal", "glorot_uniform", "lecun_normal", "orthogonal"), 1.0),
            **dict.fromkeys(("he_normal", "he_uniform"), 2.0),
        },
        rel=1e-12,
    )
    assert [p.text for p in phase_diagram("relu").points][3:5] == ["glorot, lecun_normal, orthogonal", "he"]


def test_the_line_is_critical_by_another_quadrature() -> None:
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    line = whole_line(activation("tanh"))
    assert line.q[0] == 0 and line.sigma_w2[0] == pytest.approx(1, rel=1e-12) and (np.diff(line.q) > 0).all()
    for point in line.points[1:80:6]:  # q up to 1, where the sum is exact to rounding
        z = np.sqrt(point.q) * nodes
        assert point.sigma_w2 * weights @ (1 - np.tanh(z) ** 2) ** 2 == pytest.approx(1, rel=1e-9)
        settled = point.sigma_w2 * weights @ np.tanh(z) ** 2 + point.sigma_b2
        assert settled == pytest.approx(point.q, rel=1e-9)


def test_the_line_ends_where_it_leaves_the_axes() -> None:
    start, end = ends_in(phase_diagram("tanh", count=8))
    assert start == pytest.approx((1, 0), rel=1e-12)
    assert end[1] == pytest.approx(1, rel=1e-12)
    # between points of the line that are 12% apart in q, a straight line is off by (0.12)^2 / 8 of its curvature
    assert end[0] == pytest.approx(vp.theory.critical("tanh", sigma_b2=1.0).sigma_w2[0], rel=2e-3)
    assert ends_in(phase_diagram("tanh", "0.1:0.5:3", "0:1:3")) == []


KINDS = ("tanh", "relu", "gelu", "softplus", "sigmoid", "relu6", "relu_squared", "sin(omega=30)", "soft_sign")


@pytest.mark.parametrize("act", KINDS)
def test_default_axes_show_the_line_and_the_initializers(act: str) -> None:
    line = whole_line(activation(act))
    w, b = axes_for(line, 20)
    assert w.size == b.size == 20 and b[0] == 0 and (np.diff(w) > 0).all()
    assert w[0] <= 1 and w[-1] >= 2
    if line.q.size:
        inside = (line.sigma_w2 >= w[0]) & (line.sigma_w2 <= w[-1]) & (line.sigma_b2 <= b[-1])
        assert inside.any()
        place = np.log(line.sigma_w2[inside] / w[0]) / np.log(w[-1] / w[0])
        if not is_logarithmic(w):
            place = line.sigma_w2[inside] / w[-1]
        assert place.min() > 0.03


def test_axes() -> None:
    assert axis("sigma_w2", "3,1,2").tolist() == [1, 2, 3]
    assert axis("sigma_b2", np.linspace(0, 1, 5)).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert is_logarithmic(axis("sigma_w2", "0.01:100:7log")) and not is_logarithmic(axis("sigma_w2", "0.1:5:50"))
    assert not is_logarithmic(np.array([1.0, 2.0])) and not is_logarithmic(np.array([0.0, 1.0, 2.0]))


def tolerance(w: float, b: float, depth: int, width: int, batch: int, seeds: int) -> tuple[float, float]:
    """(drift, five standard errors) of ln factor of tanh from the middle layer on, by the finite-width law.

    A line fitted to N steps of a random walk of variance v each has a slope of variance 6 v / (5 N).
    """
    law = vp.theory.finite_width("tanh", None, width, depth, batch, "gradient", w, b)
    first = depth // 2 - 1
    deviation = np.sqrt(6 / 5 * (law.variance[first] - law.variance[-1])) / (depth - 1 - first)
    return -float(np.polyfit(np.arange(depth - first), law.drift[first:], 1)[0]), 5 * deviation / np.sqrt(seeds)


@pytest.fixture(scope="module")
def tanh_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    folder = tmp_path_factory.mktemp("phase") / "run"
    arguments = ["--act", "tanh", "--sigma-w2", "0.8,3", "--sigma-b2", "0.05,0.5", "--measure", "--depth", "10"]
    return [*arguments, "--width", "128", "--seeds", "4", "--out", str(folder), "--no-compile-cache"], folder


def test_measured_is_as_predicted(tanh_run: tuple[list[str], Path], capsys: Any) -> None:
    arguments, folder = tanh_run
    code, out, _ = run(capsys, *arguments, "--json")
    found = json.loads(out)
    measured = found["measured"]
    assert code == 0 and found["figure"] == str(folder / "phase.pdf")
    assert {path.name for path in folder.glob("phase.*")} == {"phase.pdf", "phase.png"}
    assert (measured["depth"], measured["width"], measured["seeds"], measured["layers"]) == (10, 128, 4, [5, 10])
    ds = vp.open_run(folder)
    for i, w in enumerate(found["sigma_w2"]):
        for j, b in enumerate(found["sigma_b2"]):
            value, predicted = measured["gradient_factor"][i][j], measured["predicted_gradient_factor"][i][j]
            one = vp.select(ds, init=f"variance_scaling(scale={w:.12g},mode=fan_in,distribution=normal)")
            one = vp.select(one, bias=f"normal(var={b:.12g})")
            levels = one.gradient_log10_mean_square.values[0, :, 5:11]
            lines = np.polyfit(np.arange(6), levels.T, 1)[0]
            assert value == pytest.approx(10 ** -lines.mean(), rel=1e-9)
            drift, most = tolerance(w, b, 10, 128, 16, 4)
            assert abs(np.log(value / predicted) - drift) < most < 0.2, (w, b)
    ratios = np.abs(np.divide(measured["gradient_factor"], measured["predicted_gradient_factor"]) - 1)
    assert measured["median_deviation"] == pytest.approx(np.median(ratios))
    assert abs(measured["largest_deviation"]) == pytest.approx(ratios.max())


def test_a_run_is_found_again(tanh_run: tuple[list[str], Path], capsys: Any) -> None:
    arguments, folder = tanh_run
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}
    code, out, _ = run(capsys, *arguments)
    assert code == 0 and {path.name: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()} == before
    assert "fitted to layers 5 to 10" in " ".join(out.split()) and "median deviation" in out
    assert all(len(line) <= 80 for line in out.splitlines() if str(folder) not in line)


def test_factors_of_a_known_dataset() -> None:
    weights, biases, layers = np.array([0.5, 2.0, 6.0]), np.array([0.0, 1.0]), np.arange(7)
    factors = np.outer(np.array([1.0, 1.5]), weights / 2).ravel()  # weights vary fastest
    noise = np.array([-0.1, 0.1])[:, None] * layers
    levels = noise - np.log10(factors)[:, None, None] * layers
    levels[:, :, :3] = 99.0  # not in the deeper half
    theory = -np.log10(np.tile(weights / 2, 2))[:, None] * layers
    dims = ("config", "seed", "layer")
    ds = xr.Dataset(
        {
            "gradient_log10_mean_square": (dims, levels),
            "theory_gradient_log10_mean_square": (dims, np.stack([theory, theory], axis=1)),
        },
        {"depth": ("config", [6] * 6), "width": ("config", [9] * 6)},
    )
    found = compare(ds, weights, biases)
    assert found.measured == pytest.approx(np.outer(weights / 2, [1.0, 1.5]), rel=1e-12)
    assert found.predicted == pytest.approx(np.outer(weights / 2, [1.0, 1.0]), rel=1e-7)
    assert (found.depth, found.width, found.seeds, found.layers) == (6, 9, 2, (3, 6))


def test_deviations_of_what_is_not_finite() -> None:
    plane = np.array([[1.0, np.nan], [1.1, 3.0]])
    found = Measured(plane, np.array([[1.0, 1.0], [1.0, 2.0]]), 4, 8, 1, (2, 4))
    assert found.median == pytest.approx(0.1) and found.largest == (1, 1)
    nothing = Measured(np.full((2, 2), np.nan), plane, 4, 8, 1, (2, 4))
    assert np.isnan(nothing.median) and nothing.largest is None


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("--act", "relu"), "is the point (2, 0)"),
        (("--act", "gelu"), "Part of it is unstable"),
        (("--act", "softplus"), "No critical line: chi_1 = 1 would need"),
        (("--act", "tanh", "--sigma-w2", "0.1:0.5:4", "--show", "xi"), "is outside these axes"),
    ],
)
def test_screen(arguments: tuple[str, ...], said: str, capsys: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert (code, err) == (0, "")
    assert said in " ".join(out.split())
    assert all(len(line) <= 80 for line in out.splitlines())
    assert out.splitlines()[-1] == f"Figure  phase-{arguments[1]}.pdf"
    assert [path.name for path in tmp_path.iterdir()] == [f"phase-{arguments[1]}.pdf"]


OWN = """
import jax.numpy as jnp
def swishy(x): return x / (1 + jnp.exp(-x))
def gauss(x): return jnp.exp(x * x)
"""


@pytest.mark.exhaustive
def test_the_users_own_activation(capsys: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(OWN)
    code, out, err = run(capsys, "--act", "mine.py:swishy", "--sigma-w2", "0.5:3:4", "--sigma-b2", "0:1:4", "--json")
    found = json.loads(out)
    assert (code, err, found["figure"]) == (0, "", "phase-swishy.pdf")
    same = json.loads(run(capsys, "--act", "silu", "--sigma-w2", "0.5:3:4", "--sigma-b2", "0:1:4", "--json")[1])
    assert found["phase"] == same["phase"]
    assert found["q_star"][1] == pytest.approx(same["q_star"][1], rel=1e-7)
    code, out, err = run(capsys, "--act", "mine.py:gauss")
    assert (code, out) == (2, "") and err.startswith("varprobe: --act: mine.py:gauss has no finite averages beyond")


@pytest.mark.parametrize(
    "arguments, line",
    [
        (("--sigma-w2", "2:1:5"), "--sigma-w2: the range '2:1:5' runs backwards"),
        (("--sigma-w2", "-1:1:5"), "--sigma-w2: -1 is out of range (allowed: numbers from 0 to 1000000)"),
        (("--sigma-w2", "0:1:5"), "--sigma-w2: 0 is out of range (allowed: numbers above 0, to 1000000)"),
        (("--sigma-w2", "1:1e9:5"), "--sigma-w2: 250000000.75 is out of range"),
        (("--sigma-w2", "0.1:4:101"), "--sigma-w2: 101 values are too many for an axis (at most 100)"),
        (("--sigma-w2", "0.1:4:999999999"), "--sigma-w2: the range '0.1:4:999999999' must end in"),
        (("--sigma-w2", "1.5"), "--sigma-w2: '1.5' is one value"),
        (("--sigma-b2", "nan"), "--sigma-b2: nan is not a finite number"),
        (("--sigma-b2", "0:inf:3"), "--sigma-b2: inf is not a finite number"),
        (("--sigma-b2", ""), "--sigma-b2: "),
        (("--sigma-b2", "0:1"), "--sigma-b2: '0:1' is not a range"),
        (("--sigma-b2", "\u0661,x"), "--sigma-b2: 'x' is not a number"),
        (("--act", "tahn"), "--act: unknown activation 'tahn'; did you mean 'tanh'?"),
        (("--act", "tanh,relu"), "--act: 'tanh,relu' is a list where one item is expected"),
        (("--show", "chi1"), "--show: unknown quantity 'chi1'; did you mean 'chi_1'? (allowed: chi_1, xi)"),
        (("--width", "0"), "--width: 0 is out of range"),
        (("--depth", "20"), "--depth: '20' goes with --measure"),
        (("--fresh",), "--fresh: goes with --measure"),
        (("--measure", "--show", "xi"), "--show: 'xi' is of theory"),
        (("--measure", "--depth", "1"), "--depth: 1 is out of range"),
        (("--measure", "--depth", "3,4"), "--depth: takes one number"),
        (("--save", "x.gif"), "--save: 'x.gif' must end in one of"),
        (("--save", "none/x.pdf"), "--save: there is no folder 'none'"),
        (("--size", "1x1in"), "--size: 1 x 1 inches are too small for this figure"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], line: str, capsys: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"varprobe: {line}") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
