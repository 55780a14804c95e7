"""`varprobe advise`: the point against closed forms and mean-field theory, the snippets by running them, the command."""

import ast
import importlib.util
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from check_advice import check
from hypothesis import given, settings
from hypothesis import strategies as st

import varprobe as vp
from varprobe.__main__ import outcome
from varprobe.cli.advise import show
from varprobe.cli.console import console_for
from varprobe.nets.activations import ACTIVATIONS
from varprobe.theory.choices import PREFERENCE, choose, saturated_share
from varprobe.theory.elementwise import activation
from varprobe.theory.walks import walk
from varprobe.verdict.advise import ALTERNATIVES
from varprobe.verdict.snippets import FRAMEWORKS, snippets

LN10 = math.log(10)


def run(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    code = outcome(["advise", *arguments])
    return code, *capsys.readouterr()


# A walk is the trajectory


@pytest.mark.parametrize("act, sigma_w2, sigma_b2", [("gelu", 1.96, 0.257), ("hard_tanh", 1.2, 0.06), ("relu", 1.7, 0.0), ("sin", 1.3, 0.0)])  # fmt: skip
def test_walk_is_the_trajectory(act: str, sigma_w2: float, sigma_b2: float) -> None:
    """To 1e-6 decades: the spline of the averages is the only difference."""
    depth, width = 12, 4096
    found = walk(activation(act), sigma_w2, sigma_b2, depth, width)
    path = vp.theory.trajectory(act, sigma_w2, sigma_b2, depth)
    forward, gradient = path.activation_log10_mean_square / 2, path.gradient_log10_mean_square / 2
    np.testing.assert_allclose(found.forward, forward - forward[0], atol=1e-6)
    np.testing.assert_allclose(found.backward[-1] - found.backward, gradient - gradient[-1], atol=1e-6)
    assert found.worst == pytest.approx(max(abs(forward - forward[0]).max(), abs(gradient - gradient[-1]).max()), abs=1e-6)  # fmt: skip
    for quantity, spread, end in (("activation", found.forward_sd, -1), ("gradient", found.backward_sd, 0)):
        wide = vp.theory.finite_width(
            act, width=width, depth=depth, sigma_w2=sigma_w2, sigma_b2=sigma_b2, quantity=quantity
        )
        rel = 1e-5 if end else 0.2  # what the signal's own fluctuations do to gradients is left out of a walk
        assert spread[-1] == pytest.approx(wide.std_log10[end] / 2, rel=rel)


def test_walk_stops_where_it_is_told() -> None:
    path = walk(activation("identity"), 0.01, 0.0, 1000, 64, limit=3.0)
    np.testing.assert_allclose(path.forward, [0, -1, -2, -3, -4][: path.forward.size], atol=1e-12)
    assert path.forward.size in (4, 5)  # the fourth is at the limit to rounding


# The point


def test_relu() -> None:
    """He et al. (2015): 2, exactly; the spread is that of a product of (2/n) chi2_K, K ~ Binomial(n, 1/2)."""
    advice = vp.advise("relu", depth=80, width=256)
    assert (advice.kind, advice.sigma_w2, advice.sigma_b2, advice.chi_1, advice.chi_q) == ("critical", 2, 0, 1, 1)
    assert advice.gain == math.sqrt(2) and advice.std == "sqrt(2 / fan_in)"
    assert advice.forward_rms == advice.backward_rms == 0
    assert advice.within_10x is None and advice.within_1000x is None
    _, variance = vp.theory.finite_widths.relu_log(256)
    assert advice.forward_sd == pytest.approx(math.sqrt(80 * variance) / (2 * LN10), rel=1e-12)
    assert advice.spread_10x == math.ceil((2 * LN10) ** 2 / variance)
    assert advice.init == "variance_scaling(scale=2,mode=fan_in,distribution=normal)" and advice.bias == "zeros"


@pytest.mark.parametrize("act, sigma_w2", [("identity", 1.0), ("leaky_relu(0.5)", 1.6)])
def test_scale_free(act: str, sigma_w2: float) -> None:
    """2 / (1 + slope^2)."""
    advice = vp.advise(act, depth=300)
    assert advice.sigma_w2 == pytest.approx(sigma_w2, rel=1e-8) and advice.kind == "critical"
    assert "10x at any depth" in str(advice)


def test_with_biases_and_without() -> None:
    """On the line with biases chi_1 = 1 at a fixed point; at its end, without, that is 0."""
    advice = vp.advise("tanh", depth=50)
    assert advice.kind == "critical" and advice.sigma_b2 > 0
    point = vp.theory.fixed_point("tanh", advice.sigma_w2, advice.sigma_b2)
    assert point.q_star == pytest.approx(advice.q, rel=1e-6)
    assert point.chi_1 == pytest.approx(1, abs=1e-6) and advice.chi_1 == pytest.approx(1, abs=1e-6)
    assert advice.chi_q == pytest.approx(point.chi_q, rel=1e-5)
    assert advice.within_10x is None and advice.worst < 0.2
    found = choose(activation("hard_tanh"), 50, 512)[0]  # which is linear to |x| = 1, and hardly fades
    assert (found.kind, found.sigma_w2, found.sigma_b2, found.q) == ("critical", 1, 0, 0)


@pytest.mark.parametrize("act, rate", [("tanh", " as 1/l"), ("sin", " as 1/l"), ("soft_sign", " as 1/l^2"), ("relu6", "")])  # fmt: skip
def test_how_it_fades(act: str, rate: str) -> None:
    """phi = x - x^3/3 loses 2 q^2 of q; one with a kink in its slope q^1.5; relu6 nothing that a power could tell."""
    from varprobe.verdict.advise import fading

    sigma_w2 = 2.0 if act == "relu6" else 1.0
    assert fading(activation(act), sigma_w2) == rate
    if rate == " as 1/l":
        path = walk(activation(act), 1.0, 0.0, 4000, 512)
        step = path.log_q[-1] - path.log_q[1999]
        assert step == pytest.approx(-math.log(2), abs=0.02)


def test_reach_is_where_the_trajectory_leaves() -> None:
    """selu at its own gain, chi_1 = 1.0716 at q = 1 (Klambauer et al. 2017): ln 100 / ln chi_1 layers, one more."""
    advice = vp.advise("selu", depth=8)
    assert advice.kind == "gain" and advice.sigma_w2 == pytest.approx(1, abs=1e-6)
    assert advice.chi_1 == pytest.approx(1.0716, abs=1e-4)
    assert advice.within_10x == pytest.approx(1 + math.log(100) / math.log(advice.chi_1), abs=1.0)
    assert advice.within_1000x == pytest.approx(1 + math.log(1e6) / math.log(advice.chi_1), abs=1.0)


def test_saturated() -> None:
    """|sigmoid'| < 0.01 beyond |x| = 4.585, which is 1.4 - 0.98 of N(0, q)."""
    advice = vp.advise("sigmoid")
    assert advice.kind == "saturated" and advice.sigma_w2 == pytest.approx(103.0, abs=0.1) and advice.q > 40
    assert "tanh" in advice.alternatives and "50% of the units" in str(advice)
    from scipy.stats import norm

    edge = math.log((1 + math.sqrt(0.96)) / (1 - math.sqrt(0.96)))
    assert saturated_share(activation("sigmoid"), advice.q) == pytest.approx(2 * norm.sf(edge / math.sqrt(advice.q)), abs=5e-4)  # fmt: skip
    assert saturated_share(activation("relu"), 1.0) == 0


def test_no_critical_point() -> None:
    """For softplus any other sigma_w2 changes more at this depth, by the trajectory."""
    advice = vp.advise("softplus", depth=10)
    assert advice.kind is None and advice.alternatives == ("elu", "mish")
    assert vp.advise("log_sigmoid", depth=10).alternatives == advice.alternatives  # -softplus(-x)
    for factor in (0.97, 1.03):
        path = vp.theory.trajectory("softplus", advice.sigma_w2 * factor, 0, 10)
        h, g = path.activation_log10_mean_square / 2, path.gradient_log10_mean_square / 2
        assert max(abs(h - h[0]).max(), abs(g - g[-1]).max()) > advice.worst + 0.01


def test_relu_squared_is_said_to_be_lost() -> None:
    advice = vp.advise("relu_squared")
    assert advice.kind is None and advice.chi_q == pytest.approx(1.5) and "no stable point" in str(advice)
    assert advice.alternatives and advice.worst > 3


def test_biases_are_taken_where_they_are_worth_it() -> None:
    best, plain = choose(activation("gelu"), 50, 512)
    assert best.kind == "biases" and plain is not None and plain.sigma_b2 == 0
    assert best.cost < plain.worst + plain.spread + PREFERENCE[plain.kind]
    assert set(ALTERNATIVES) <= set(ACTIVATIONS)


@pytest.mark.exhaustive
def test_advice_of_callables_and_json() -> None:
    def mine(x: jax.Array) -> jax.Array:
        return x * jax.nn.sigmoid(1.702 * x)

    advice = vp.advise(mine, depth=5, width=32)
    assert advice.act == "mine" and json.loads(json.dumps(advice.as_dict(), allow_nan=False))["chi_1"] > 0
    ds = advice.probe("keras", seeds=1, batch=2)
    assert ds.init.values.tolist() == ["glorot_uniform", advice.init] and set(ds.act.values) == {"mine"}
    with pytest.raises(vp.InvalidArgumentError, match="depth: 10001 is beyond"):
        vp.advise(mine, depth=10001)
    with pytest.raises(vp.InvalidArgumentError, match="^init: the advice decides it"):
        advice.probe(init="he_normal")
    with pytest.raises(vp.InvalidArgumentError, match="unknown framework 'flaxx'; did you mean 'flax'"):
        advice.probe("flaxx")


@pytest.mark.parametrize(
    "act", ["relu", *(pytest.param(act, marks=pytest.mark.exhaustive) for act in ("gelu", "tanh"))]
)
def test_never_worse_and_as_predicted(act: str) -> None:
    """The script's own check, small."""
    found = check(act, depth=20, width=64, seeds=2, framework="pytorch")
    assert found.never_worse and found.as_predicted, found


def test_averages_that_end(capsys: Any) -> None:
    """sinh has averages to q of about 200 only; the points that lead beyond are left out."""
    advice = vp.advise(jax.numpy.sinh, depth=3, width=64)
    assert math.isfinite(advice.worst)
    with pytest.raises(vp.InvalidArgumentError):
        vp.theory.critical(jax.numpy.sinh, q=1e6)


# The lines of code

FAN_IN, FAN_OUT, SCALE, VARIANCE = 384, 640, 1.7345678, 0.21
Z = 5.0


def close(found: Any, variance: float) -> bool:
    """Within `Z` standard errors sqrt(2/n) of a normal sample's variance."""
    found = np.asarray(found, np.float64)
    return bool(abs(np.mean(found**2) / variance - 1) < Z * math.sqrt(2 / found.size))


def drawn(name: str, sigma_b2: float) -> tuple[np.ndarray, np.ndarray]:
    """(weights, biases) after running the lines as they are."""
    names: dict[str, Any] = {"fan_in": FAN_IN, "fan_out": FAN_OUT, "key": jax.random.key(3)}
    if name == "flax":
        from flax import nnx

        names["rngs"] = nnx.Rngs(3)
    elif name == "equinox":
        import equinox as eqx

        names["model"] = eqx.nn.MLP(FAN_IN, 2, FAN_OUT, 1, key=jax.random.key(4))
    elif name == "pytorch":
        import torch

        torch.manual_seed(3)
        names["model"] = torch.nn.Sequential(torch.nn.Linear(FAN_IN, FAN_OUT), torch.nn.ReLU())
    exec(snippets(SCALE, sigma_b2)[name], names)
    if name == "jax":
        key = names["key"]
        return names["kernel_init"](key, (FAN_IN, FAN_OUT)), names["bias_init"](key, (FAN_OUT,))
    if name == "flax":
        return names["layer"].kernel[...], names["layer"].bias[...]
    if name == "equinox":
        return names["model"].layers[0].weight, names["model"].layers[0].bias
    return names["model"][0].weight.detach().numpy(), names["model"][0].bias.detach().numpy()


RUNNABLE = ["jax", "flax", "equinox", *(["pytorch"] if importlib.util.find_spec("torch") else [])]


@pytest.mark.parametrize("name", RUNNABLE)
def test_lines_set_exactly_these_variances(name: str) -> None:
    weights, biases = drawn(name, VARIANCE)
    assert close(weights, SCALE / FAN_IN) and not close(weights, SCALE / FAN_OUT)
    assert close(biases, VARIANCE) and not close(biases, 2 * VARIANCE)
    assert (
        weights.std() * math.sqrt(FAN_IN / SCALE) < np.abs(weights).max() * math.sqrt(FAN_IN / SCALE) / 3.5
    )  # not cut
    weights, biases = drawn(name, 0.0)
    assert close(weights, SCALE / FAN_IN) and not np.asarray(biases).any()


@pytest.mark.exhaustive
def test_equinox_lines_reach_every_layer_and_spare_what_has_no_bias() -> None:
    import equinox as eqx

    model = eqx.nn.MLP(8, 2, 300, 2, use_bias=False, use_final_bias=False, key=jax.random.key(4))
    names: dict[str, Any] = {"key": jax.random.key(3), "model": model}
    exec(snippets(SCALE, 0.0)["equinox"], names)
    layers = names["model"].layers
    assert [close(layer.weight, SCALE / layer.in_features) for layer in layers] == [True] * 3
    assert not np.allclose(layers[1].weight[:8, :8], layers[2].weight[:2, :8].mean())


@pytest.mark.parametrize("sigma_b2", [0.0, VARIANCE])
def test_lines_parse_and_fit_a_screen(sigma_b2: float) -> None:
    found = snippets(12.3456789e-3, sigma_b2)
    assert list(found) == list(FRAMEWORKS)
    for text in found.values():
        ast.parse(text)
        assert max(map(len, text.splitlines())) <= 76


def test_keras_lines_by_their_documented_formula() -> None:
    """VarianceScaling, untruncated_normal: stddev = sqrt(scale / n), n = fan_in; RandomNormal has that stddev."""
    calls = [n for n in ast.walk(ast.parse(snippets(SCALE, VARIANCE)["keras"])) if isinstance(n, ast.Call)]
    values = {c.func.attr: {k.arg: getattr(k.value, "value", None) for k in c.keywords} for c in calls}  # type: ignore[attr-defined]
    assert values["VarianceScaling"] == {"scale": SCALE, "mode": "fan_in", "distribution": "untruncated_normal"}
    assert values["RandomNormal"]["stddev"] ** 2 == pytest.approx(VARIANCE, rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-12, 1e12), st.one_of(st.just(0.0), st.floats(1e-12, 1e12)))
def test_numbers_of_the_lines_are_those_given(sigma_w2: float, sigma_b2: float) -> None:
    for text in snippets(sigma_w2, sigma_b2).values():
        numbers = [n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant) and isinstance(n.value, float)]  # fmt: skip
        assert sigma_w2 in numbers
        assert sigma_b2 == 0 or any(n**2 == pytest.approx(sigma_b2, rel=1e-8) for n in numbers)


# --init critical


def sigma_w2_of(ds: Any, config: int, layer: int, fan_in: int) -> float:
    return float(10 ** ds.weight_log10_mean_square.values[config, :, layer].mean() * fan_in)


def test_critical_is_each_activations_own(tmp_path: Path) -> None:
    """The drawn weights are those of the same variance by number: 2 for relu, pi/4 for erf, to float32's rounding.

    The same request again finds its run.
    """
    numbers = {"relu": 2, "erf": math.pi / 4}
    named = {a: f"variance_scaling(scale={n!r},mode=fan_in,distribution=normal)" for a, n in numbers.items()}
    common: dict[str, Any] = {"depth": 3, "width": 32, "batch": 2}
    wanted = {"act": list(numbers), "init": ["critical", *named.values()], "seeds": 2, "out": tmp_path, **common}
    ds = vp.sweep(**wanted)
    cells = {p: p.stat().st_mtime_ns for p in (tmp_path / "cells").iterdir()}
    assert vp.sweep(**wanted).identical(ds) and {p: p.stat().st_mtime_ns for p in cells} == cells
    for act, same in named.items():
        own, other = vp.select(ds, act=act, init="critical"), vp.select(ds, act=act, init=same)
        for name in ("activation_log10_mean_square", "gradient_log10_mean_square", "weight_log10_mean_square"):
            np.testing.assert_allclose(own[name].values, other[name].values, atol=1e-5)
        net = vp.build(own, seed=1)
        expected = vp.build({"act": act, "sigma_w2": numbers[act], **common}, seed=1)
        np.testing.assert_allclose(net.params[1]["w"], expected.params[1]["w"], rtol=1e-6)


def test_critical_with_biases_gain_and_edges() -> None:
    """chi_1 = 1 at the fixed point with the sigma_b2 of the bias; gain is a factor; each layer has its own fan_in."""
    from varprobe.sweeps.request import read_request

    request = read_request(
        act="tanh", init="critical(gain=2)", init_first="critical", init_last="he_normal,critical",
        bias="normal(var=0.05),torch_default", width="40-10", input_width=90,
    )  # fmt: skip
    config = next(c for c in request.configs if c.bias.name.startswith("normal"))
    mean, scale = config.weights_at(1).at(config.place(1))
    point = vp.theory.fixed_point("tanh", 90 * scale**2, 0.05)
    assert mean == 0 and point.chi_1 == pytest.approx(1, abs=1e-9)
    assert config.init.at(config.place(2))[1] == pytest.approx(2 * scale * math.sqrt(90 / 40), rel=1e-12)
    config = next(c for c in request.configs if c.bias.name == "torch_default" and c.init_last.name == "critical")
    for layer, fan_in in ((1, 90), (2, 40)):
        scale = config.weights_at(layer).at(config.place(layer))[1]
        expected = vp.theory.critical("tanh", sigma_b2=1 / (3 * fan_in)).point
        assert fan_in * scale**2 == pytest.approx(expected.sigma_w2, rel=1e-10)
    assert {c.init_last.name for c in request.configs} == {"he_normal", "critical"}
    assert request.spec["init"] == ["critical(gain=2)"]


def test_critical_of_theory() -> None:
    found = vp.theory.finite_width("erf", init="critical", width=32, depth=4)
    same = vp.theory.finite_width("erf", sigma_w2=math.pi / 4, width=32, depth=4)
    np.testing.assert_allclose(found.variance, same.variance, rtol=1e-9)


@pytest.mark.parametrize(
    "arguments, line",
    [
        (("--act", "softplus", "--init", "critical"), "--init: softplus has no critical point with sigma_b2 = 0, nor with any other; `varprobe advise --act softplus`"),
        (("--act", "tanh,softplus", "--init-first", "critical"), "--init-first: softplus has no critical point"),
        (("--act", "relu", "--init", "critical", "--bias", "normal(var=0.1)"), "--init: relu has no critical point with sigma_b2 = 0.1, but with sigma_b2 = 0;"),
        (("--init", "critical(sigma_w2=2)",), "--init: critical(sigma_w2=2): unknown parameter 'sigma_w2'"),
        (("--bias", "critical",), "--bias: critical has no meaning for a bias vector"),
        (("--init", "critial",), "--init: unknown initializer 'critial'; did you mean 'critical'?"),
    ],
)  # fmt: skip
def test_critical_that_there_is_not(arguments: tuple[str, ...], line: str, capsys: Any, tmp_path: Path) -> None:
    assert outcome(["sweep", *arguments, "--depth", "3", "--width", "8", "--out", str(tmp_path / "run")]) == 2
    found = capsys.readouterr()
    assert found.out == "" and found.err.startswith(f"varprobe: {line}") and found.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_critical_on_the_command_line(capsys: Any) -> None:
    assert outcome(["theory", "--act", "erf", "--init", "critical", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sigma_w2"] == pytest.approx(math.pi / 4, rel=1e-10)
    assert outcome(["theory", "--act", "softplus", "--init", "critical"]) == 2
    assert capsys.readouterr().err.startswith("varprobe: --init: softplus has no critical point")
    assert outcome(["list", "inits"]) == 0
    assert "chi_1 = 1" in capsys.readouterr().out


# The command


def test_json(capsys: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    arguments = ("--act", "tanh", "--depth", "6", "--width", "16", "--seeds", "2", "--batch", "4", "--framework", "equinox")  # fmt: skip
    code, out, _ = run(capsys, *arguments, "--no-compile-cache", "--out", str(folder), "--json")
    found, advice = json.loads(out), vp.advise("tanh", 6, 16)
    assert code == 0
    assert {k: found[k] for k in ("sigma_w2", "sigma_b2", "gain", "chi_1", "chi_q", "snippets")} == {
        k: getattr(advice, k) for k in ("sigma_w2", "sigma_b2", "gain", "chi_1", "chi_q", "snippets")
    }
    assert (found["before"]["init"], found["before"]["bias"]) == ("torch_default", "torch_default")
    assert (found["after"]["init"], found["after"]["bias"]) == (advice.init, advice.bias)
    assert found["run"] == str(folder) and (folder / "variance.pdf").stat().st_size > 1000
    same = vp.open_run(folder)
    row = same.isel(config=0)
    assert str(row.init.values) == "torch_default" and str(row.bias.values) == "torch_default"


def test_screen(capsys: Any, tmp_path: Path) -> None:
    arguments = ("--act", "relu", "--depth", "4", "--width", "16", "--seeds", "2", "--batch", "2", "--no-compile-cache")
    code, out, _ = run(capsys, *arguments, "--framework", "pytorch", "--all", "--out", str(tmp_path / "run"))
    assert code == 0
    lines = [line for line in out.splitlines() if not line.startswith(("Figure", "Data"))]
    assert max(map(len, lines)) <= 80
    for part in (
        "before:",
        "torch_default",
        "after: sigma_w2=2",
        "std = sqrt(2 / fan_in)",
        "10x at any depth",
        *FRAMEWORKS,
    ):
        assert part in out


def test_theory_only(capsys: Any) -> None:
    code, out, err = run(capsys, "--act", "sigmoid", "--no-probe", "--framework", "keras")
    assert code == 0 and err == "" and max(map(len, out.splitlines())) <= 80
    assert "poor point" in out and "tanh" in out and "untruncated_normal" in out
    found = json.loads(run(capsys, "--act", "sigmoid", "--no-probe", "--json")[1])
    assert found["run"] is None and found["before"] is None and found["kind"] == "saturated"


def test_the_screen_has_variances_and_what_they_are_of(capsys: Any) -> None:
    advice = replace(vp.advise("relu"), sigma_w2=2.25, gain=1.5, sigma_b2=0.0625, chi_1=1.125, chi_q=0.875)
    show(console_for(sys.stdout), advice, {"every": False, "framework": "flax"})
    told = {words[0]: " ".join(words[1:]) for line in capsys.readouterr().out.splitlines() if (words := line.split())}
    assert told["sigma_w2"].startswith("2.25 fan_in Var W") and told["gain"] == "1.5 sqrt(sigma_w2)"
    assert told["sigma_b2"] == "0.0625 Var b: normal biases, std = 0.25"
    assert told["chi_1"].startswith("1.125 factor of the gradient") and told["chi_q"].startswith("0.875 factor of a")


@pytest.mark.parametrize(
    "arguments, line",
    [
        (("--act", "rleu"), "--act: unknown activation 'rleu'; did you mean 'relu'?"),
        (("--act", "relu,tanh"), "--act: "),
        (("--act", ""), "--act: "),
        (("--act", "ρελου"), "--act: unknown activation"),
        (("--depth", "0"), "--depth: 0 is out of range"),
        (("--depth", "10001"), "--depth: 10001 is out of range (allowed: whole numbers from 1 to 10000)"),
        (("--depth", "nan"), "--depth: "),
        (("--depth", "2.5"), "--depth: 2.5 is not a whole number"),
        (("--depth", "10,20"), "--depth: takes one number"),
        (("--width", "0"), "--width: 0 is out of range"),
        (("--width", "1e400"), "--width: "),
        (("--width", "99999999999"), "--width: 99999999999 is out of range"),
        (("--framework", "tensorflow"), "--framework: unknown framework 'tensorflow'"),
        (("--no-probe", "--seeds", "3"), "--seeds: '3' is for the measurement, which --no-probe leaves out"),
        (("--seeds", "0"), "--seeds: 0 is out of range"),
        (("--batch", "-1"), "--batch: -1 is out of range"),
        (("--data", "nowhere.npy"), "--data: "),
        (("--init", "he_normal"), "--init: unknown option"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], line: str, capsys: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    extra = () if "--width" in arguments else ("--width", "8")
    code, out, err = run(capsys, *arguments, *extra)
    assert code == 2 and err.startswith(f"varprobe: {line}") and err.count("\n") == 1, err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind, said", [("constant", "constant"), ("fast", "faster"), ("nan", "not finite"), ("step", "constant")])  # fmt: skip
def test_activations_that_cannot_be(kind: str, said: str) -> None:
    import jax.numpy as jnp

    functions = {
        "constant": lambda x: 0 * x + 1.0,
        "fast": lambda x: jnp.exp(x * x / 3),
        "nan": lambda x: jnp.log(x),
        "step": lambda x: jnp.sign(x),
    }
    with pytest.raises(vp.InvalidArgumentError, match=said) as caught:
        vp.advise({"f": functions[kind]}["f"], depth=3)
    assert caught.value.option == "act"
