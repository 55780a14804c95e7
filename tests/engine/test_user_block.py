"""A user's own block as an architecture: what it measures, what it refuses, and when its results are used again."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import varprobe as vp
from varprobe.errors import InvalidArgumentError
from varprobe.sweeps.request import read_request

EXAMPLE = """\
import jax, jax.numpy as jnp

class Gated:
    @staticmethod
    def init(key, width, gain=1.0):
        w, v = jax.random.normal(key, (2, width, width)) / width**0.5
        return {"w": gain * w, "v": v}

    @staticmethod
    def apply(p, x):
        return x + jax.nn.gelu(x @ p["w"]) * (x @ p["v"])
"""
"""As in README.md."""

TINY: dict[str, Any] = {"depth": 3, "width": 8, "batch": 4}
ROUNDING = 1e-9


@pytest.fixture
def gated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "gated.py"
    path.write_text(EXAMPLE)
    return path


def log10_mean_square(a: Any) -> float:
    return float(np.log10(np.mean(np.square(np.asarray(a, np.float64)))))


class Doubling:
    """Forward the identity; backward 1 + 10^30."""

    @staticmethod
    def init(key: jax.Array, width: int) -> jax.Array:
        return jnp.full((width,), 1e30)

    @staticmethod
    def apply(p: jax.Array, x: jax.Array) -> jax.Array:
        return x + p * (x - jax.lax.stop_gradient(x))


class Growing:
    """x 10^20."""

    def __init__(self, factor: float = 1e20) -> None:
        self.factor = factor

    def init(self, key: jax.Array, width: int, *, layer: Any, depth: int) -> dict[str, Any]:
        return {"scale": jnp.asarray(self.factor, jnp.float32), "of": layer, "steps": jnp.arange(depth)}

    def apply(self, p: dict[str, Any], x: jax.Array) -> jax.Array:
        return x * p["scale"]


# What is measured


def test_equals_brute_force(gated: Path, x64: None) -> None:
    """Every layer of the example, in float64, against jax.grad with zeros added to each block's output."""
    ds = vp.sweep(arch="gated.py:Gated(gain=0.7)", loss="mse", seeds=1, dtype="float64", **TINY).isel(config=0, seed=0)
    net = vp.build(ds.expand_dims("config"))

    def value(added: jax.Array, params: Any) -> Any:
        h, seen = net.x, []
        for p, zero in zip(params, added, strict=False):
            h = h + jax.nn.gelu(h @ p["w"]) * (h @ p["v"]) + zero
            seen.append(h)
        return jnp.sum(net.cotangent * (h @ params[3]["w"])), seen

    (delta, dw), seen = jax.jit(jax.grad(value, (0, 1), has_aux=True))(np.zeros((3, 4, 8)), net.params)
    params, delta, dw, seen = jax.tree.map(np.asarray, (net.params, delta, dw, seen))
    for layer in range(1, 4):
        weights, gradients = (np.concatenate([p[layer - 1][k].ravel() for k in "wv"]) for p in (params, dw))
        expected = {
            "activation_log10_mean_square": log10_mean_square(seen[layer - 1]),
            "preactivation_log10_mean_square": log10_mean_square(seen[layer - 1]),
            "gradient_log10_mean_square": log10_mean_square(delta[layer - 1]),
            "weight_log10_mean_square": log10_mean_square(weights),
            "weight_gradient_log10_mean_square": log10_mean_square(gradients),
            "weight_gradient_log10_var": np.log10(np.var(gradients)),
            "weight_gradient_log10_absmax": np.log10(np.abs(gradients).max()),
            "weight_gradient_mean_over_rms": gradients.mean() / np.sqrt(np.square(gradients).mean()),
        }
        for name, wanted in expected.items():
            assert float(ds[name][layer]) == pytest.approx(wanted, abs=ROUNDING), (name, layer)
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for i, a in enumerate(seen[2]) for b in seen[2][:i]]
    assert float(ds.activation_correlation[3]) == pytest.approx(np.mean(cosines), abs=ROUNDING)
    assert np.isnan(ds.theory_activation_log10_mean_square).all()


def test_the_first_block_has_the_documented_key(gated: Path) -> None:
    """init(fold_in(weights stream, layer), width): what anyone can draw again."""
    net = vp.build({"arch": "gated.py:Gated", "root_seed": 5, **TINY}, seed=2)
    stream = jax.random.fold_in(jax.random.fold_in(jax.random.key(5, impl="threefry2x32"), 2), 0)
    drawn = jax.random.normal(jax.random.fold_in(stream, 1), (2, 8, 8)) / 8**0.5
    np.testing.assert_allclose(net.params[0]["w"], drawn[0], rtol=1e-6)


def test_gradients_have_no_range() -> None:
    """Three blocks that multiply the gradient by 10^30 each: beyond float32, which the forward signal is not."""
    ds = vp.sweep(arch=Doubling, seeds=1, **{**TINY, "depth": 4}).isel(config=0, seed=0)
    steps = np.diff(ds.gradient_log10_mean_square.values[1:])
    np.testing.assert_allclose(steps, -60, atol=1e-5)
    assert float(ds.activation_log10_mean_square[4]) == pytest.approx(
        float(ds.activation_log10_mean_square[0]), abs=1e-6
    )
    assert float(ds.weight_log10_mean_square[1]) == pytest.approx(60, abs=1e-5)


def test_a_signal_that_leaves_the_range_is_flagged(recwarn: pytest.WarningsRecorder) -> None:
    """10^20 a block is beyond float32 in the second; parameters that are no floating-point numbers do not count."""
    ds = vp.sweep(arch={"Growing": Growing()}, seeds=2, **TINY)
    (row,) = vp.diagnose(ds).rows
    assert row["arch"] == "Growing" and row["init"] == row["act"] == "own"
    assert row["flags"] == ["non_finite"] and row["reason"] == "The activation overflows at layer 2."
    assert float(ds.weight_log10_mean_square[0, 0, 1]) == pytest.approx(40, abs=1e-5)
    assert row["advice"] is None


def test_beside_another_architecture(gated: Path) -> None:
    """Activations and initializers are the other one's axes; a block of one's own is one configuration."""
    ds = vp.sweep(
        arch=["plain", "gated.py:Gated"], act="tanh", init="he_normal,lecun_normal", forward_only=True, seeds=1, **TINY
    )
    assert ds.init.values.tolist() == ["he_normal", "lecun_normal", "own"]
    assert ds.act.values.tolist() == ["tanh", "tanh", "own"]
    assert np.isfinite(ds.activation_log10_mean_square).all() and np.isnan(ds.gradient_log10_mean_square).all()
    assert np.isfinite(ds.theory_activation_log10_mean_square[:2, :, 1:]).all()


# What is refused

BAD = """\
import jax, jax.numpy as jnp, numpy as np
same = lambda p, x: x
class NoApply:
    init = staticmethod(lambda key, width: jnp.ones(width))
class Wide:
    init = staticmethod(lambda key, width: jnp.ones((width, 2 * width)))
    apply = staticmethod(lambda p, x: x @ p)
class Half:
    init = staticmethod(lambda key, width: jnp.ones(width))
    apply = staticmethod(lambda p, x: (p * x).astype(jnp.bfloat16))
class Pair:
    init = staticmethod(lambda key, width: jnp.ones(width))
    apply = staticmethod(lambda p, x: (x, x))
class Empty:
    init = staticmethod(lambda key, width: {})
    apply = staticmethod(same)
class Nan:
    init = staticmethod(lambda key, width: jnp.full(width, jnp.nan))
    apply = staticmethod(same)
class Drifting:
    count = 0
    @staticmethod
    def init(key, width):
        Drifting.count += 1
        return jnp.full(width, float(Drifting.count))
    apply = staticmethod(same)
class Numpy:
    init = staticmethod(lambda key, width: jnp.ones(width))
    apply = staticmethod(lambda p, x: np.tanh(np.asarray(x)))
class OneArgument:
    init = staticmethod(lambda key: jnp.ones(3))
    apply = staticmethod(same)
class Needs:
    init = staticmethod(lambda key, width, *, gain: gain * jnp.ones(width))
    apply = staticmethod(same)
class Raises:
    init = staticmethod(lambda key, width: 1 / 0)
    apply = staticmethod(same)
"""


@pytest.mark.parametrize(
    "name, message",
    [
        ("Absent", "there is no 'Absent' in it"),
        ("NoApply", "'NoApply' is of type type, not a block with init(key, width) and apply(params, x)"),
        ("Wide", "apply(params, x) with x of shape (4, 8), float32, returns shape (4, 16), float32"),
        ("Half", "returns shape (4, 8), bfloat16"),
        ("Pair", "returns tuple, not an array"),
        ("Empty", "init(key, 8) returns no floating-point arrays: there is no parameter"),
        ("Nan", "init(key, 8) returns numbers that are not finite"),
        ("Numpy", "fails under jax.jit (is it written with jax.numpy?): TracerArrayConversionError"),
        ("OneArgument", "is called with 2 positional arguments and takes 1"),
        ("Needs", "init needs a value for gain"),
        ("Needs(gain=2,gains=3)", "unknown parameter 'gains'; did you mean 'gain'? (allowed: gain)"),
        (
            "Raises",
            "init(key, 8) fails under jax.jit (is it written with jax.numpy?): ZeroDivisionError: division by zero",
        ),
    ],
)
def test_a_bad_block_is_told_in_one_line(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    with pytest.raises(InvalidArgumentError) as error:
        read_request(arch=f"{tmp_path / 'bad.py'}:{name}", **TINY)
    text = str(error.value)
    assert text.startswith("arch: ") and message in text and "\n" not in text


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"init": "he_normal"}, "init: gated.py:Gated has its own; this option does not apply to it"),
        ({"act": "tanh"}, "act: gated.py:Gated has its own"),
        ({"bias": "normal(std=1)"}, "bias: gated.py:Gated has its own"),
        ({"sigma_w2": 2}, "sigma_w2: gated.py:Gated has its own"),
        ({"init_first": "zeros"}, "init_first: gated.py:Gated has its own"),
        ({"init_last": "zeros"}, "init_last: gated.py:Gated has its own"),
        ({"norm": "layer"}, "arch: gated.py:Gated: --norm does not apply; it belongs into the block"),
        ({"dropout": 0.1}, "arch: gated.py:Gated: --dropout does not apply; it belongs into the block"),
        ({"depth": None, "width": "8-9"}, "width: 8-9: every block of gated.py:Gated keeps the width of its input"),
        ({"loss": "mse", "init_last": "lsuv"}, "arch: gated.py:Gated: lsuv does not apply to its read-out"),
        ({"arch": {"residual": Doubling}}, "arch: 'residual' is the name of another architecture; label it"),
        ({"arch": lambda x: x}, "arch: <function"),
    ],
)
def test_what_does_not_apply_is_refused(gated: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        read_request(**{"arch": "gated.py:Gated", **TINY, **arguments})
    assert str(error.value).startswith(message)


class Restless:
    @staticmethod
    def init(key: Any, width: int) -> Any:
        return jnp.asarray(np.random.default_rng().normal(size=(width, width)), jnp.float32)

    @staticmethod
    def apply(params: Any, x: Any) -> Any:
        return x @ params


class Ending:
    def __init__(self) -> None:
        raise SystemExit(0)

    def init(self, key: Any, width: int) -> Any: ...

    def apply(self, params: Any, x: Any) -> Any: ...


@pytest.mark.parametrize(
    "block, message",
    [
        (Restless, "arch: Restless: init returns other numbers for the same key; draw with jax.random from it alone"),
        (Ending, "arch: Ending() fails: SystemExit"),
        (
            type("Short", (), {"init": staticmethod(lambda key: key), "apply": staticmethod(lambda p, x: x)}),
            "arch: Short: <lambda> is called with 2 positional arguments and takes 1 (a block has init(key, width))",
        ),
    ],
)
def test_blocks_that_cannot_work_are_refused(block: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        read_request(**{"arch": block, **TINY})
    assert str(error.value).startswith(message)


# When results are used again


class Watching:
    """How many cells were computed and found."""

    def start(self, total: int, cached: int) -> None:
        self.counts = total, cached

    def advance(self, cells: int = 1) -> None: ...

    def note(self, text: str) -> None:
        self.text = text


def counts(out: Path, arch: Any) -> tuple[int, int]:
    watching = Watching()
    vp.sweep(arch=arch, forward_only=True, seeds=2, out=out, progress=watching, **TINY)
    return watching.counts


def test_a_run_is_found_again_until_the_file_changes(gated: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert counts(out, "gated.py:Gated") == (2, 0)
    assert counts(out, "gated.py:Gated") == (0, 2)
    assert isinstance(vp.open_run(out), xr.Dataset)
    spec = json.loads((out / "spec.json").read_text())["spec"]
    assert (spec["arch"], spec["act"], spec["init"]) == (["gated.py:Gated"], ["own"], ["own"])
    gated.write_text(EXAMPLE.replace("gelu", "relu"))
    assert counts(out, "gated.py:Gated") == (2, 0)


@pytest.mark.exhaustive
def test_what_a_file_does_not_say_is_not_used_again(tmp_path: Path) -> None:
    """A class of this file is told by it; an instance may hold anything."""
    assert counts(tmp_path / "class", Doubling) == (2, 0)
    assert counts(tmp_path / "class", Doubling) == (0, 2)
    assert counts(tmp_path / "instance", Growing(2.0)) == (2, 0)
    assert counts(tmp_path / "instance", Growing(3.0)) == (2, 0)


def test_reading_a_run_does_not_run_its_code(gated: Path, tmp_path: Path) -> None:
    counts(tmp_path / "run", "gated.py:Gated")
    gated.write_text("raise SystemExit('ran')")
    assert vp.open_run(tmp_path / "run").sizes["layer"] == 4
