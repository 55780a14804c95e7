"""`varprobe theory`: the numbers of the library on a screen, in JSON, and one line for what is wrong."""

import json
from typing import Any

import pytest

import varprobe as vp
from varprobe.__main__ import outcome

KEYS = ("q_star", "chi_1", "chi_q", "c_star", "xi_q", "xi_c", "phase")


def run(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    code = outcome(["theory", *arguments])
    return code, *capsys.readouterr()


def test_json_has_the_fixed_point(capsys: Any) -> None:
    code, out, _ = run(capsys, "--act", "tanh", "--sigma-w2", "1.5", "--sigma-b2", "0.05", "--json")
    found, expected = json.loads(out), vp.theory.fixed_point("tanh", 1.5, 0.05)
    assert code == 0
    assert {k: found[k] for k in KEYS} == {k: getattr(expected, k) for k in KEYS}
    path = vp.theory.trajectory("tanh", 1.5, 0.05, 50)
    assert found["activation_log10_mean_square"] == path.activation_log10_mean_square[-1]
    assert (
        found["gradient_log10_mean_square_ratio"]
        == path.gradient_log10_mean_square[0] - path.gradient_log10_mean_square[-1]
    )


@pytest.mark.parametrize(
    "arguments, sigma_w2, sigma_b2",
    [
        ((), 2, 0),
        (("--init", "glorot_uniform", "--bias", "normal(std=0.1)"), 1, 0.01),
        (("--init", "torch_default", "--bias", "uniform(limit=0.3)"), 1 / 3, 0.03),
        (("--init", "orthogonal", "--bias", "normal(var=0.2)"), 1, 0.2),
        (("--init", "normal(std=0.1)", "--width", "50"), 0.5, 0),
        (("--init", "he_normal", "--sigma-b2", "0.5"), 2, 0.5),
    ],
)
def test_variances_of_initializers(capsys: Any, arguments: tuple[str, ...], sigma_w2: float, sigma_b2: float) -> None:
    found = json.loads(run(capsys, "--json", *arguments)[1])
    assert found["sigma_w2"] == pytest.approx(sigma_w2, rel=1e-12)
    assert found["sigma_b2"] == pytest.approx(sigma_b2, rel=1e-12)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("--act", "tanh", "--sigma-w2", "1.5", "--sigma-b2", "0.05"), "6 xi_c = 94.7 layers"),
        (("--act", "relu"), "On the critical line"),
        (("--act", "relu", "--sigma-w2", "1.9"), "vanishes"),
        (("--act", "softplus"), "grows without bound"),
    ],
)
def test_screen(capsys: Any, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run(capsys, *arguments)
    assert code == 0 and err == ""
    assert said in out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert all(key in out for key in KEYS)


@pytest.mark.parametrize(
    "arguments, line",
    [
        (("--sigma-w2", "1:2:3"), "--sigma-w2: takes one number, got '1:2:3'"),
        (("--sigma-w2", "-1"), "--sigma-w2: -1 is out of range (allowed: numbers from 0)"),
        (("--sigma-b2", "x"), "--sigma-b2: 'x' is not a number (allowed: numbers from 0)"),
        (("--sigma-w2", "1", "--init", "lecun_normal"), "--sigma-w2: '1' is what 'lecun_normal' has too"),
        (("--act", "rleu"), "--act: unknown activation 'rleu'; did you mean 'relu'?"),
        (("--init", "normal(mean=0.1,std=1)"), "--init: normal(mean=0.1,std=1) has the mean 0.1"),
        (("--bias", "orthogonal"), "--bias: "),
        (("--depth", "0"), "--depth: 0 is out of range"),
    ],
)
def test_bad_input(capsys: Any, arguments: tuple[str, ...], line: str) -> None:
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == ""
    assert err.startswith(f"varprobe: {line}") and err.count("\n") == 1
