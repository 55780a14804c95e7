"""Training of a user's own model: recording changes nothing, and says what the steps add."""

from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import varprobe as vp
from varprobe.training.feed import batch_of, feed_of, paced
from varprobe.training.own import track_model

WIDTH, BATCH, STEPS = 8, 6, 7
KEY = jax.random.key(1)


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def batches(steps: int) -> list[Any]:
    rng = np.random.default_rng(1)
    return [
        (jnp.asarray(rng.normal(size=(BATCH, WIDTH))), jnp.asarray(rng.normal(size=(BATCH, 1)))) for _ in range(steps)
    ]


def mlp() -> dict[str, Any]:
    rng = np.random.default_rng(2)
    hidden = [{"w": jnp.asarray(rng.normal(size=(WIDTH, WIDTH)) / 3), "b": jnp.asarray(np.zeros(WIDTH))} for _ in "ab"]
    return {"hidden": hidden, "out": jnp.asarray(rng.normal(size=(WIDTH, 1))), "step": np.arange(3)}


def loss(p: dict[str, Any], x: Any, y: Any) -> Any:
    for layer in p["hidden"]:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return jnp.mean(jnp.square(x @ p["out"] - y)), {"size": x.shape[0]}


def line(p: Any, x: Any, y: Any) -> Any:
    return jnp.mean(jnp.square(x @ p["w"] - y))


slope_by_hand = jax.jit(jax.value_and_grad(loss, has_aux=True))
LINE = {"w": np.ones((WIDTH, 1))}
ADAM = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.03))


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        kinds = {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": rngs}
        self.up, self.norm = nnx.Linear(WIDTH, 12, **kinds), nnx.BatchNorm(12, **kinds)
        self.down = nnx.Linear(12, 1, **kinds)
        self.drop = nnx.Dropout(0.25, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.down(self.drop(nnx.relu(self.norm(self.up(x)))))


def nnx_loss(model: Net, x: Any, y: Any) -> Any:
    return jnp.mean(jnp.square(model(x) - y))


def eqx_loss(model: Any, x: Any, y: Any) -> Any:
    return jnp.mean(jnp.square(jax.vmap(model)(x) - y))


def tracked(*arguments: Any, **options: Any) -> tuple[Any, Any]:
    """(dataset, trained model)."""
    found: list[Any] = []
    return track_model(*arguments, **options, after=found.append), found[0]


def same(ours: Any, theirs: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), ours, theirs)


def log10_mean_square(x: Any) -> float:
    return float(np.log10(np.mean(np.square(np.asarray(x)))))


def by_hand(transform: Any, p: Any, keep: Callable[[Any], None] = lambda p: None) -> tuple[Any, list[float]]:
    """A plain optax loop on the mlp: (parameters, losses)."""
    whole, p = p, p | {"step": None}
    state, losses = jax.jit(transform.init)(p), []

    @jax.jit
    def move(gradients: Any, state: Any, p: Any) -> Any:
        updates, state = transform.update(gradients, state, p)
        return optax.apply_updates(p, updates), state

    for x, y in batches(STEPS):
        (value, _), gradients = slope_by_hand(p, x, y)
        keep(p)
        p, state = move(gradients, state, p)
        losses.append(float(value))
    return p | {"step": whole["step"]}, losses


@pytest.fixture(scope="module")
def pytree() -> tuple[Any, Any, list[Any], list[float]]:
    """(dataset, trained model, parameters before each step and after the last, losses of a plain loop)."""
    with jax.enable_x64(True):
        every: list[Any] = []
        expected, losses = by_hand(ADAM, mlp(), every.append)
        return *tracked(loss, mlp(), ADAM, batches(STEPS + 1), steps=STEPS), [*every, expected], losses


def test_a_pytree_is_trained_as_in_a_plain_loop_and_its_updates_are_told(pytree: Any) -> None:
    ds, trained, every, losses = pytree
    same(trained, every[-1])
    np.testing.assert_allclose(ds.batch_loss.values, [[losses]], rtol=1e-12)
    assert ds.step.values.tolist() == [0, 1, 2, 4, 7] and dict(ds.sizes)["training_step"] == STEPS
    assert np.isnan(ds.diverged_step.values).all()
    assert ds.preactivation_log10_mean_square.dims == ("config", "seed", "step", "layer")
    for step in (0, 1, 2, 4):
        now, then = ds.isel(config=0, seed=0).sel(step=step), every[step + 1]["hidden"][1]["w"]
        change = then - every[step]["hidden"][1]["w"]
        assert float(now.update_log10_mean_square[2]) == pytest.approx(log10_mean_square(change), abs=1e-9)
        ratio = (log10_mean_square(change) - log10_mean_square(every[step]["hidden"][1]["w"])) / 2
        assert float(now.update_log10_ratio[2]) == pytest.approx(ratio, abs=1e-9)
        told = now.parameter_update_log10_mean_square.sel(parameter="hidden/1/w")
        assert float(told) == pytest.approx(log10_mean_square(change), abs=1e-9)
    probed = vp.probe(loss, trained, *batches(STEPS + 1)[STEPS])
    for name in (
        "preactivation_log10_mean_square",
        "gradient_log10_var",
        "weight_gradient_log10_absmax",
        "parameter_log10_mean_square",
    ):
        np.testing.assert_allclose(ds[name].sel(step=STEPS).values, probed[name].values, rtol=1e-9, atol=1e-9)


def test_a_name_with_clipping_means_the_same_and_what_is_recorded_changes_no_bit(pytree: Any) -> None:
    ds, trained = tracked(loss, mlp(), "adam(lr=0.03,clip=0.5)", batches(STEPS), at=[3])
    jax.tree.map(np.testing.assert_array_equal, trained, pytree[1])
    assert ds.optimizer.values.tolist() == ["adam(lr=0.03,clip=0.5)"] and ds.step.values.tolist() == [3]


def test_an_nnx_module_keeps_its_state_from_step_to_step() -> None:
    model, given = Net(nnx.Rngs(3)), Net(nnx.Rngs(3))
    optimizer = nnx.Optimizer(model, optax.sgd(0.05, momentum=0.9), wrt=nnx.Param)

    @nnx.jit
    def step(model: Net, optimizer: Any, x: Any, y: Any) -> Any:
        value, slope = nnx.value_and_grad(nnx_loss)(model, x, y)
        optimizer.update(model, slope)
        return value

    losses = [float(step(model, optimizer, x, y)) for x, y in batches(3)]
    ds, trained = tracked(nnx_loss, given, optax.sgd(0.05, momentum=0.9), batches(3))
    assert isinstance(trained, Net)
    np.testing.assert_allclose(ds.batch_loss.values[0, 0], losses, rtol=1e-11)
    for kind in (nnx.Param, nnx.BatchStat):
        same(nnx.to_pure_dict(nnx.state(trained, kind)), nnx.to_pure_dict(nnx.state(model, kind)))
        fresh = nnx.to_pure_dict(nnx.state(Net(nnx.Rngs(3)), kind))
        jax.tree.map(np.testing.assert_array_equal, nnx.to_pure_dict(nnx.state(given, kind)), fresh)
    assert {"up", "norm", "down"} <= set(ds.site.values.tolist())


@pytest.mark.exhaustive
def test_an_equinox_module() -> None:
    model = eqx.nn.MLP(WIDTH, 1, 12, 1, key=KEY)
    transform = optax.adamw(0.01)

    @eqx.filter_jit
    def step(model: Any, state: Any, x: Any, y: Any) -> Any:
        slope = eqx.filter_grad(eqx_loss)(model, x, y)
        updates, state = transform.update(slope, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state

    expected, state = model, jax.jit(transform.init)(eqx.filter(model, eqx.is_inexact_array))
    for x, y in batches(3):
        expected, state = step(expected, state, x, y)
    ds, trained = tracked(eqx_loss, model, transform, batches(3))
    assert isinstance(trained, eqx.nn.MLP)
    same(eqx.filter(trained, eqx.is_array), eqx.filter(expected, eqx.is_array))
    assert ds.optimizer.item() == "own" and np.isfinite(ds.update_log10_mean_square.values[..., 1:]).all()


def test_parameters_that_are_frozen_have_updates_of_exactly_zero() -> None:
    labels = {
        "hidden": [{"w": "train", "b": "freeze"}, {"w": "freeze", "b": "train"}],
        "out": "train",
        "step": "freeze",
    }
    transform = optax.multi_transform({"train": optax.adam(0.02), "freeze": optax.set_to_zero()}, labels)
    expected, _ = by_hand(transform, mlp())
    ds, trained = tracked(loss, mlp(), transform, batches(STEPS))
    same(trained, expected)
    told = ds.parameter_update_log10_mean_square.isel(config=0, seed=0)
    frozen = np.isneginf(told).all("step")
    assert told.parameter.values[frozen.values].tolist() == ["hidden/0/b", "hidden/1/w"]
    assert np.isfinite(told.values[:, ~frozen.values]).all()
    for name in ("update_log10_mean_square", "update_log10_ratio"):
        assert np.isneginf(ds[name].values[0, 0, :, 2]).all()


def test_what_is_masked_or_stops_the_gradient_is_not_moved() -> None:
    def half(p: Any, x: Any, y: Any) -> Any:
        return line(p, x @ jax.lax.stop_gradient(p["held"]) @ p["masked"], y)

    eye = np.eye(WIDTH)
    given = {"held": eye, "masked": eye, **LINE}
    transform = optax.chain(
        optax.adam(0.1), optax.masked(optax.set_to_zero(), {"held": False, "masked": True, "w": False})
    )
    ds, trained = tracked(half, given, transform, batches(3))
    for name in ("held", "masked"):
        np.testing.assert_array_equal(trained[name], eye)
    assert (
        np.isneginf(ds.update_log10_mean_square.sel(layer=[1, 2])).all()
        and np.isfinite(ds.update_log10_mean_square.sel(layer=3)).all()
    )


def test_a_run_that_diverges_is_recorded_to_its_end() -> None:
    ds = track_model(loss, mlp(), "sgd(lr=1e12)", batches(1)[0], steps=60, at=[0, 60])
    lost = int(ds.diverged_step.item())
    losses = ds.batch_loss.values[0, 0]
    assert 0 < lost < 60 and np.isfinite(losses[:lost]).all() and not np.isfinite(losses[lost])
    first, last = (vp.diagnose(ds.isel(step=i)).rows[0] for i in (0, -1))
    assert first["flags"] == ["large_updates"] and first["step"] == 0 and first["advice"] == "Lower the step size."
    assert last["flags"] == ["non_finite"] and not last["healthy"] and last["step"] == 60
    assert "step 60" in vp.diagnose(ds.isel(step=-1)).title


def test_batches_come_in_every_form() -> None:
    x, y = np.ones((2, 3)), np.zeros(2)
    named, pair, pairs = {"x": x, "y": y}, (x, y), ((x, y), (y, x))
    for given, known, first in (
        (pair, np.inf, pair),
        ((pair, y), np.inf, (pair, y)),
        (named, np.inf, (named,)),
        (x, np.inf, (x,)),
        (pairs, 2, pair),
        ([named] * 3, 3, (named,)),
        ([[x, True]], 1, (x, True)),
        (iter(pairs), None, pair),
    ):
        feed = feed_of(given)
        assert feed.known == known
        step, batch, end = next(paced(feed, 5))
        assert (step, end) == (0, False) and jax.tree.all(jax.tree.map(np.array_equal, batch.whole, first))
    assert batch_of((x, "mean", 2, False)).arrays == (x, 2)
    told = [(step, float(batch.whole[0]), end) for step, batch, end in paced(feed_of(iter([(1.0,), (2.0,)])), None)]
    assert told == [(0, 1.0, False), (1, 2.0, False), (2, 2.0, True)]  # the last one again
    told = [(step, float(batch.whole[0]), end) for step, batch, end in paced(feed_of([1.0, 2.0, 3.0, 4.0]), 2)]
    assert told == [(0, 1.0, False), (1, 2.0, False), (2, 3.0, True)]  # the batch behind


def test_a_batch_may_hold_what_is_no_array() -> None:
    def of_dict(p: Any, batch: Any, how: str, squared: bool) -> Any:
        return line(p, batch["x"], batch["y"]) if squared and how == "mean" else jnp.float64(0)

    named = [({"x": x, "y": y}, "mean", True) for x, y in batches(2)]
    ds = track_model(of_dict, LINE, "sgd", (batch for batch in named), at=[0])
    x, y = map(np.asarray, batches(1)[0])
    value = np.mean(np.square(x.sum(axis=1, keepdims=True) - y))
    assert ds.batch_loss.shape == (1, 1, 2) and float(ds.batch_loss[0, 0, 0]) == pytest.approx(value, rel=1e-12)


def test_an_output_has_its_loss() -> None:
    ds = track_model(lambda p, x: x @ p["w"], LINE, "sgd", batches(2), loss="mse")
    assert ds.attrs["loss"] == "mse" and ds.batch_loss.shape == (1, 1, 2)


REFUSED = {
    "no steps": ({"batches": "one"}, "steps: must say how many, where one batch serves every step"),
    "few": ({"steps": 9}, "batches: there are 3 batches, too few for 9 steps"),
    "few of a generator": ({"steps": 9, "batches": "generator"}, "batches: there are 3 batches, too few for 9 steps"),
    "none": ({"batches": []}, "batches: there are 0 batches, too few for 1 steps"),
    "zero": ({"steps": 0}, "steps: 0 is out of range"),
    "at": ({"at": [0, 5]}, "at: 5 is no step that is made .allowed: whole numbers from 0 to 3."),
    "at later": ({"at": [5], "batches": "generator"}, "at: step 5 was not reached: there are 3 batches"),
    "nothing": ({"at": []}, "at: there is no step to record"),
    "optimizer": ({"optimizer": "adm"}, "optimizer: unknown optimizer 'adm'; did you mean 'adam'"),
    "two": ({"optimizer": "adam,sgd"}, "optimizer: takes one, got adam, sgd"),
    "schedule": ({"optimizer": "adam(schedule=cosine)", "batches": "generator"}, "optimizer: its schedule ends with the last step"),
    "no batches": ({"batches": 3}, "batches: int is no batch"),
    "noise": ({"loss": "cotangent"}, "loss: 'cotangent' is noise"),
    "model": ({"loss_fn": (line, 1)}, "loss_fn: tuple is no function of parameters and a batch"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    given, message = REFUSED[case]
    found = {"loss_fn": line, "params": LINE, "optimizer": "sgd", "batches": batches(3)} | given
    found["batches"] = {"one": batches(1)[0], "generator": iter(batches(3))}.get(
        str(found["batches"]), found["batches"]
    )
    with pytest.raises(vp.InvalidArgumentError, match=message):
        track_model(**found)
