"""A device that computes something else than NumPy is refused, and so are first numbers that no network can have."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import varprobe as vp
from varprobe.engine import device_check
from varprobe.engine.device_check import check_device, check_table
from varprobe.errors import MachineError
from varprobe.nets.scaled_float import exponent

NAMES = [
    f"{q}_{s}" for q in ("activation", "preactivation") for s in ("log10_mean_square", "log10_var", "log10_absmax")
]


@pytest.fixture
def unchecked(monkeypatch):
    monkeypatch.setattr(device_check, "sound", set())


def changed(fake):
    """The device's answers, but for one that is put through `fake`."""
    true = device_check.computed

    def answers(*given):
        found = list(true(*given))
        place, wrong = fake
        found[place] = wrong(found[place])
        return tuple(found)

    return answers


def test_a_sound_device_is_asked_once(unchecked, monkeypatch):
    device = jax.devices()[0]
    check_device(device)
    assert device_check.sound == {device}
    monkeypatch.setattr(device_check, "computed", lambda *_: pytest.fail("it was asked again"))
    check_device(device)


@pytest.mark.parametrize(
    "fake, what",
    [
        ((0, lambda e: e + (e == -126)), "it misreads the exponent of a float"),
        ((1, lambda p: jnp.where(p < 2.0**-125, 0, p)), "its powers of two are not exact"),
        ((2, lambda seen: seen | True), "it does not see infinities and NaN"),
        ((3, lambda d: 0 * jnp.nan_to_num(d)), "it takes an infinity for a number"),
        ((4, lambda d: d.at[1].set(1)), "it adds in another order than is written"),
        ((5, lambda e: e.astype(jnp.float32).astype(jnp.int32)), "its whole numbers are rounded"),
        ((6, lambda s: s.astype(jnp.bfloat16).astype(jnp.float32)), "its sums of squares are wrong"),
        ((7, lambda p: p.at[0, 0].add(-2)), "its products of whole numbers are rounded"),
    ],
)
def test_a_broken_device_is_refused_in_one_line(unchecked, monkeypatch, fake, what):
    monkeypatch.setattr(device_check, "computed", changed(fake))
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    for _ in range(2):  # it stays refused
        with pytest.raises(MachineError) as caught:
            check_device(jax.devices()[0])
        assert str(caught.value) == (
            f"{jax.devices()[0]} cannot be trusted: {what}; XLA_FLAGS is not set: its driver or jaxlib is at fault"
        )


def test_the_product_tells_shorter_formats():
    """TF32 has 11 bits of a float's 24, bfloat16 has 8; three passes of bfloat16 have enough for these numbers."""
    right = device_check.expected()["its products of whole numbers are rounded"]
    exact = device_check.FACTORS.astype(np.int64) @ device_check.FACTORS.astype(np.int64).T
    assert (right == exact).all() and np.abs(exact).max() < 2**24
    bits = device_check.FACTORS.view(np.uint32)
    for kept in (11, 8):
        shorter = (bits & np.uint32(0xFFFFFFFF << (24 - kept) & 0xFFFFFFFF)).view(np.float32)
        assert not (shorter @ shorter.T == right).all()


def test_every_exponent_is_compared():
    values = np.ldexp(np.float32(1.999), device_check.EXPONENTS)
    assert (np.asarray(exponent(values)) == device_check.EXPONENTS).all()
    assert (
        np.isfinite(np.float32(2) ** 127)
        and device_check.EXPONENTS.max() == 127
        and device_check.EXPONENTS.min() == -126
    )


def test_fast_math_is_refused():
    code = "import jax; from varprobe.engine.device_check import check_device; check_device(jax.devices()[0])"
    flags = "--xla_cpu_enable_fast_math=true"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True, timeout=120
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("varprobe.errors.MachineError: ") and "cannot be trusted: it " in last
    assert last.endswith(f"; look at XLA_FLAGS, which is '{flags}'")


def tables(**given):
    """The table of one network of two layers, as `sweep` has it."""
    ds = vp.sweep(**{"depth": 2, "width": 8, "batch": 4, "seeds": 1, "init": "he_normal"} | given)
    return {str(name): v.values[:, 0] for name, v in ds.data_vars.items() if v.dims == ("config", "seed", "layer")}


@pytest.fixture(scope="module")
def table():
    return tables()


@pytest.mark.parametrize(
    "given", [{"init": "zeros,he_normal", "bias": ["zeros", "constant(value=3)"]}, {"dtype": "bfloat16"}]
)
def test_what_networks_have_passes(given):
    """Exact zeros, means that are not zero, half precision."""
    check_table(tables(**given), overflows=False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(table, name, value):
    layer = 0 if name.startswith("activation") else 1
    broken = {k: v.copy() for k, v in table.items()}
    broken[name][0, layer] = value
    with pytest.raises(MachineError, match=rf"^the device's first numbers are not finite: {name} at layer {layer}; "):
        check_table(broken, overflows=False)
    check_table(broken | {name: table[name]}, overflows=False)
    if layer:
        check_table(broken, overflows=True)  # a float16 may


@pytest.mark.parametrize(
    "name, change",
    [
        ("log10_mean_square", lambda log: log + 0.01),
        ("log10_var", lambda log: log - np.inf),
        ("log10_absmax", lambda log: log - np.inf),
        ("mean_over_rms", lambda m: m + 0.5),
        ("mean_over_rms", lambda m: m * np.nan),
    ],
)
def test_what_contradicts_itself_is_refused(table, name, change):
    broken = table | {f"preactivation_{name}": change(table[f"preactivation_{name}"])}
    with pytest.raises(MachineError, match="^the device's first numbers contradict each other: preactivation, mean"):
        check_table(broken, overflows=False)
