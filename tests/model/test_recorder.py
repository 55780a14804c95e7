"""Training runs that are recorded: what is kept, and the step and site at which one of them diverges."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import varprobe as vp

WIDTH, LAYERS = 32, 2
KEY = jax.random.key(0)


def parameters(dtype: Any) -> dict[str, Any]:
    keys = jax.random.split(KEY, LAYERS + 1)
    blocks = [{"w": (jax.random.normal(k, (WIDTH, WIDTH)) * np.sqrt(2 / WIDTH)).astype(dtype)} for k in keys[1:]]
    return {"blocks": blocks, "out": {"w": (jax.random.normal(keys[0], (WIDTH, 10)) / np.sqrt(WIDTH)).astype(dtype)}}


def loss(p: dict[str, Any], x: Any, y: Any) -> Any:
    for block in p["blocks"]:
        x = jax.nn.relu(x @ block["w"])
    logits = (x @ p["out"]["w"]).astype(jnp.float32)
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], -1))


def moved(rate: float, parameter: Any, gradient: Any) -> Any:
    """A step of gradient descent, in the parameter's dtype."""
    return (parameter - rate * gradient).astype(parameter.dtype)


def trained(rate: Callable[[int], float], dtype: Any, steps: int, **options: Any) -> tuple[vp.Recorder, list[float]]:
    """A recorder, and the loss at each step of gradient descent."""
    probed, recorder, p = jax.jit(vp.instrument(loss, check=True)), vp.Recorder(**options), parameters(dtype)
    x, y = jax.random.normal(KEY, (64, WIDTH)).astype(dtype), jax.random.randint(KEY, (64,), 0, 10)
    values = []
    for step in range(steps):
        value, gradients, stats = probed(p, x, y)
        recorder(step, stats)
        values.append(float(value))
        p = jax.tree.map(partial(moved, rate(step)), p, gradients)
    return recorder, values


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.exhaustive)])
def test_divergence_is_caught_before_the_loss_is_lost(dtype: Any) -> None:
    """The learning rate is far too high from step 20 on."""
    recorder, values = trained(lambda step: 0.02 if step < 20 else 100.0, dtype, 40)
    lost = next(step for step, value in enumerate(values) if not np.isfinite(value))
    (row,) = vp.diagnose(recorder).rows
    assert 20 < row["step"] < lost and row["flags"][0] == "departed" and not row["healthy"]
    assert row["reason"].startswith(f"step {row['step']}: ") and "first to leave its trend" in row["reason"]
    assert row["site"] in {"out", *(f"blocks/{i}" for i in range(LAYERS))}
    assert row["reason"] in " ".join(str(vp.diagnose(recorder)).split())
    with pytest.raises(AssertionError, match="unhealthy"):
        vp.assert_healthy(recorder)


def test_a_run_that_converges_is_healthy() -> None:
    recorder, values = trained(lambda step: 0.05, jnp.float32, 60, every=2, keep=5)
    assert values[-1] < values[0] and recorder.departure is None
    assert recorder.steps == list(range(0, 60, 2))
    ds = recorder.dataset()
    assert ds.step.values.tolist() == [50, 52, 54, 56, 58] and ds.sizes["config"] == 5
    (row,) = vp.diagnose(recorder).rows
    assert row["healthy"] and "No site left its trend in 30 records" in row["reason"]
    assert len(vp.diagnose(ds)) == 5
    vp.assert_healthy(recorder)


def test_the_site_that_breaks_is_named() -> None:
    """One matrix is replaced by a hundred times itself."""
    probed, recorder, p = jax.jit(vp.instrument(loss)), vp.Recorder(), parameters(jnp.float32)
    x, y = jax.random.normal(KEY, (64, WIDTH)), jnp.zeros(64, int)
    for step in range(12):
        if step == 9:
            p["blocks"][1]["w"] *= 100
        recorder(step, probed(p, x, y)[2])
    departure = recorder.departure
    assert departure is not None and departure.step == 9
    (row,) = vp.diagnose(recorder).rows
    assert row["site"] in ("blocks/0", "blocks/1", "out")


def test_what_is_refused() -> None:
    probed, p, recorder = jax.jit(vp.instrument(loss)), parameters(jnp.float32), vp.Recorder()
    with pytest.raises(vp.InvalidArgumentError, match="nothing was recorded"):
        recorder.dataset()
    stats = probed(p, jnp.ones((2, WIDTH)), jnp.zeros(2, int))[2]
    recorder(3, stats)
    with pytest.raises(vp.InvalidArgumentError, match="step: step 3 comes after step 3; steps must rise"):
        recorder(3, stats)
    with pytest.raises(
        vp.InvalidArgumentError, match="stats: dict is not what a function of varprobe.instrument gives"
    ):
        recorder(4, p)
    with pytest.raises(vp.InvalidArgumentError, match="step: 4.5 is no whole number"):
        recorder(4.5, stats)  # type: ignore[arg-type]
    with pytest.raises(vp.InvalidArgumentError, match="another model"):
        recorder(4, probed(p, jnp.ones((5, WIDTH)), jnp.zeros(5, int))[2])


@pytest.mark.exhaustive
def test_auxiliary_output_and_gradients() -> None:
    p, x, y = parameters(jnp.float32), jax.random.normal(KEY, (8, WIDTH)), jnp.zeros(8, int)
    probed = jax.jit(vp.instrument(lambda p, x, y: (loss(p, x, y), {"n": x.shape[0]})))
    (value, more), gradients, stats = probed(p, x, y)
    expected, slopes = jax.jit(jax.value_and_grad(loss))(p, x, y)
    assert more == {"n": 8} and float(value) == float(stats.loss)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), gradients, slopes)
