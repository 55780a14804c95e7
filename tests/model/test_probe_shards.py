"""Sites in shard_map, on one device and on four, against the same model without it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import varprobe as vp
from varprobe.model import probing
from varprobe.model import programs as compiled
from varprobe.model.adapters import subject_of
from varprobe.model.changing import sizes, sizes_by_row
from varprobe.model.probed import plan_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 8)).astype(np.float32)
PARAMS = {name: RNG.normal(size=(8, 8)).astype(np.float32) / 2 for name in "abc"}
COMPARED = ("preactivation", "activation", "gradient", "activation_gradient", "weight", "weight_gradient")
COUNTS = ("fan_in", "fan_out", "rows", "terms")


def mesh(kind: AxisType = AxisType.Auto, *sizes: int) -> Any:
    """All devices on one axis, or as many as given on several."""
    shape = sizes or (jax.device_count(),)
    return jax.make_mesh(shape, ("data", "model")[: len(shape)], axis_types=(kind,) * len(shape))


def layer(x: Any, w: Any) -> Any:
    return jnp.tanh(x @ w)


def plain(p: Any, x: Any) -> Any:
    return jnp.square(layer(layer(layer(x, p["a"]), p["b"]), p["c"])).mean()


def over_data(check: bool, kind: AxisType = AxisType.Auto) -> Any:
    """Each device has a part of the batch, and the whole of the parameters."""

    def each(p: Any, x: Any) -> Any:
        return jax.lax.pmean(plain(p, x), "data")

    return jax.shard_map(each, mesh=mesh(kind), check_vma=check, in_specs=(P(), P("data")), out_specs=P())


def over_units(check: bool) -> Any:
    """Each device has some columns of the first matrix, and these rows of the second, whose product it adds up."""

    def each(x: Any, a: Any, b: Any) -> Any:
        return jnp.tanh(jax.lax.psum(layer(x, a) @ b, "model"))

    two = 2 if jax.device_count() > 1 else 1
    specs = (P("data"), P(None, "model"), P("model"))
    here = mesh(AxisType.Auto, two, two)
    f = jax.shard_map(each, mesh=here, check_vma=check, in_specs=specs, out_specs=P("data"))
    return lambda p, x: jnp.square(layer(f(x, p["a"], p["b"]), p["c"])).mean()


def gathered(p: Any, x: Any) -> Any:
    """Each device has some rows of the parameters, and gathers the others."""

    def each(p: Any, x: Any) -> Any:
        whole = {name: jax.lax.all_gather(w, "data", tiled=True) for name, w in p.items()}
        return jax.lax.pmean(plain(whole, x), "data")

    return jax.shard_map(each, mesh=mesh(), in_specs=(P("data"), P("data")), out_specs=P())(p, x)


def scanned(p: Any, x: Any) -> Any:
    """Layers in a scan in the shards."""

    def each(w: Any, x: Any) -> Any:
        return jax.lax.scan(lambda h, w: (layer(h, w), None), x, w)[0]

    h = jax.shard_map(each, mesh=mesh(), in_specs=(P(), P("data")), out_specs=P("data"))(stacked(p), x)
    return jnp.square(h).mean()


def scan_of_shards(p: Any, x: Any) -> Any:
    """Shards in a scan."""
    each = jax.shard_map(layer, mesh=mesh(), in_specs=(P("data"), P()), out_specs=P("data"))
    return jnp.square(jax.lax.scan(lambda h, w: (each(h, w), None), x, stacked(p))[0]).mean()


def stacked(p: Any) -> Any:
    return jnp.stack([p[name] for name in "abc"])


def scan_alone(p: Any, x: Any) -> Any:
    return jnp.square(jax.lax.scan(lambda h, w: (layer(h, w), None), x, stacked(p))[0]).mean()


def with_rule(scale: float) -> Any:
    """A layer whose rule gives so many times its gradient, in shards."""
    ruled = jax.custom_vjp(lambda x, a, b: layer(x, a) @ b)
    ruled.defvjp(
        lambda *given: (ruled.fun(*given), given),
        lambda given, c: jax.tree.map(lambda g: scale * g, jax.vjp(ruled.fun, *given)[1](c)),
    )
    f = jax.shard_map(ruled, mesh=mesh(), in_specs=(P("data"), P(), P()), out_specs=P("data"))
    return lambda p, x: jnp.square(layer(jnp.tanh(f(x, p["a"], p["b"])), p["c"])).mean()


MODELS: dict[str, tuple[Callable[[], Any], Any]] = {
    "data": (lambda: over_data(True), plain),
    "data, not checked": (lambda: over_data(False), plain),
    "data on explicit axes": (lambda: over_data(True, AxisType.Explicit), plain),
    "units": (lambda: over_units(True), plain),
    "units, not checked": (lambda: over_units(False), plain),
    "gathered": (lambda: gathered, plain),
    "a scan in shards": (lambda: scanned, scan_alone),
    "shards in a scan": (lambda: scan_of_shards, scan_alone),
    "a rule": (lambda: with_rule(1.0), plain),
}


def arguments(name: str) -> tuple[Any, Any]:
    """The parameters and the batch, on the devices."""
    if "explicit" not in name:
        return PARAMS, X
    here = mesh(AxisType.Explicit)
    return jax.device_put(PARAMS, NamedSharding(here, P())), jax.device_put(X, NamedSharding(here, P("data")))


def numbers(ds: Any) -> dict[str, list[float]]:
    """What is compared, by variable."""
    found = {q: ds[q].values[0, 0, 1:].tolist() for q in (f"{name}_log10_mean_square" for name in COMPARED) if q in ds}
    return found | {name: ds[name].values[1:].tolist() for name in COUNTS}


def differences(names: Sequence[str], inside: bool = False) -> dict[str, float]:
    """The largest difference of each model from the model without shards; `inside`: of statistics of the devices."""
    found = {}
    for name in names:
        build, alone = MODELS[name]
        one, other = numbers(vp.probe(build(), *arguments(name))), numbers(vp.probe(alone, PARAMS, X))
        found[name] = float(max(np.abs(np.subtract(one[q], other[q])).max() for q in other))
    if not inside:
        compiled.kept.clear()
        probing.MOST_BYTES = 0
        return found | {f"{name}, inside": off for name, off in differences(names[:2], True).items()}
    return found


def check(found: dict[str, float], names: Sequence[str]) -> None:
    assert len(found) == len(names) + 2
    assert {name: off for name, off in found.items() if not off < 1e-4} == {}


def test_shards_on_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "MOST_BYTES", probing.MOST_BYTES)
    check(differences(["data", "units, not checked"]), ["data", "units, not checked"])
    compiled.kept.clear()


def test_a_rule_in_shards_is_not_bypassed() -> None:
    ds = vp.probe(with_rule(3.0), PARAMS, X)
    assert ds.note.values.tolist() == ["", "gradient not computed", "", ""]


@pytest.mark.parametrize(
    "names",
    [
        ["data", "units, not checked", "a rule"],
        pytest.param([*MODELS], marks=pytest.mark.exhaustive),
    ],
    ids=["some", "all"],
)
def test_shards_on_four_devices(names: list[str]) -> None:
    """Statistics are of all shards together, and gradients those of a value that all devices have."""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    code = f"import sys, json; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_probe_shards as t; "
    code += f"print(json.dumps(t.differences({names!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | flags, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    check(json.loads(done.stdout.splitlines()[-1]), names)


def test_changes_in_shards_and_rules_are_those_of_the_plain_model() -> None:
    after = jax.tree.map(lambda w: 1.1 * w, PARAMS)

    def found(model: Any) -> Any:
        plan = plan_of(subject_of(model, (PARAMS, X), None))
        return sizes_by_row(plan.layout, jax.tree.map(np.asarray, sizes(plan, PARAMS, after, X)))

    wanted = found(plain)
    for model in (over_units(True), over_units(False), with_rule(3.0)):
        np.testing.assert_allclose(found(model), wanted, atol=1e-4)
