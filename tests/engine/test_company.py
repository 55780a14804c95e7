"""Numbers do not depend on company, groups, memory, workers or devices, to the bit.

What is compared to the bit are float64 datasets, NaN equal to NaN, of code compiled as a user's is.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr
from chosen_nets import group_sizes, request_of

import varprobe as vp
from varprobe import sweep
from varprobe.engine import groups, plain_groups
from varprobe.sweeps import local_executor
from varprobe.sweeps.sweep import run

COMPILED_AS_FOR_USERS = True

SCALES = [f"normal(std={s})" for s in (0.3, 0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8)]
COMPANY = {
    "tanh": SCALES,
    "gelu": ["orthogonal"],
    "relu": ["normal(mean=0.02,std=0.3)"],
    "softplus": ["sparse(density=0.3,std=0.2)"],
}
FEWER = {"tanh": SCALES[:7], "gelu": ["orthogonal"]}
SHARED: dict[str, Any] = {"depth": 5, "seeds": 2, "bias": "normal(std=0.1)"}


def assert_same(a: xr.Dataset, b: xr.Dataset) -> None:
    for name in a.data_vars:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=str(name))


def assert_differ(a: xr.Dataset, b: xr.Dataset) -> None:
    """The known wrong input beside the right one: what is compared are numbers, not constants."""
    for name in ("activation_log10_mean_square", "gradient_log10_var", "weight_gradient_log10_mean_square"):
        assert not np.array_equal(a[name].values, b[name].values, equal_nan=True)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "width, batch, alone, company, more",
    [
        (7, 1, "tanh", COMPANY, {}),
        (33, 3, "relu", COMPANY, {"dtype": "bfloat16"}),
        (100, 32, "tanh", COMPANY, {}),
        (33, 32, "tanh", ("tanh", "relu"), {"loss": "mse"}),
        (5, 2, "softplus", COMPANY, {"loss": "cross_entropy"}),
        ("3-20", 5, "tanh", ("tanh", "softplus"), {"depth": None, "input_width": 1}),
        (9, 4, "tanh", COMPANY, {"dtype": "float16", "range": "dtype"}),
    ],
)
def test_alone_as_in_company(width: Any, batch: int, alone: str, company: Iterable[str], more: dict[str, Any]) -> None:
    """Up to sixteen nets of two or four activations and bases in one program, and one net in its own."""
    arguments = SHARED | more | {"width": width, "batch": batch}
    together = run(request_of({act: COMPANY[act] for act in company}, **arguments))
    one = run(request_of({alone: COMPANY[alone][:1]}, **arguments))
    assert_same(one, vp.select(together, act=alone, init=COMPANY[alone][0]))
    assert_differ(together.isel(config=0), together.isel(config=1))


@pytest.mark.exhaustive
def test_alone_as_in_company_on_an_older_processor() -> None:
    """With vectors half as long, sums of the same shape run in another order; this once told one net from forty."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "exhaustive"]
    command += ["-k", "company[7-1- or company[100-32-"]
    flags = {"XLA_FLAGS": "--xla_cpu_max_isa=AVX2"}
    done = subprocess.run([*command, __file__], env=os.environ | flags, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and "programs in 2 tests" in done.stdout, done.stdout


WIDE: dict[str, Any] = {"width": 10, "batch": 16, **SHARED}


@pytest.fixture(scope="module", params=["fewer", pytest.param("sixteen", marks=pytest.mark.exhaustive)])
def nets(request: pytest.FixtureRequest) -> dict[str, list[str]]:
    """Eight nets of two activations and bases, or sixteen of four."""
    return FEWER if request.param == "fewer" else COMPANY


@pytest.fixture(scope="module")
def whole(nets: dict[str, list[str]]) -> xr.Dataset:
    return run(request_of(nets, **WIDE))


def test_one_net_as_in_the_whole(whole: xr.Dataset) -> None:
    one = run(request_of({"gelu": ["orthogonal"]}, **WIDE))
    assert_same(one, vp.select(whole, act="gelu", init="orthogonal"))
    assert_differ(vp.select(whole, act="tanh", init=SCALES[0]), vp.select(whole, act="tanh", init=SCALES[1]))


def test_groups_as_a_whole(nets: dict[str, list[str]], whole: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nets split over cells of at most five."""
    request = request_of(nets, **WIDE)
    assert group_sizes(request) == [whole.sizes["config"]]
    monkeypatch.setattr(plain_groups, "CELL_BYTES", 5 * 4 * 5 * 16 * 10)
    # seven or thirteen tanh nets, in pieces of one size
    assert group_sizes(request) == ([4, 4, 1] if nets is FEWER else [5, 5, 5, 1, 1, 1])
    assert_same(run(request), whole)


def test_weights_drawn_again_as_kept(
    nets: dict[str, list[str]], whole: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_of({"gelu": ["orthogonal"]} if nets is FEWER else nets, **WIDE)
    kept = groups.groups_of(list(request.configs), request.setting)
    assert all(group.program.keep_weights for group in kept)
    monkeypatch.setattr(plain_groups, "WEIGHT_BYTES", 0)
    again = groups.groups_of(list(request.configs), request.setting)
    assert not any(group.program.keep_weights for group in again)
    assert_same(run(request), vp.select(whole, act="gelu") if nets is FEWER else whole)


def test_one_worker_as_two(nets: dict[str, list[str]], whole: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (1, 2):
        monkeypatch.setattr(local_executor, "teams", lambda _, count=count: [tuple(jax.local_devices()[:1])] * count)
        assert_same(run(request_of(nets, **WIDE)), whole)


TWO_DEVICES = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
import varprobe as vp
from varprobe.engine import compile
assert len(jax.local_devices()) == int(sys.argv[1])
assert [len(team) for team in compile.teams()] == [int(sys.argv[1])]
ds = vp.sweep(act="tanh", init="normal(std=0.3),orthogonal", width=33, depth=12, batch=3, seeds=4)
assert {devices for _, devices in compile.programs} == {tuple(range(int(sys.argv[1])))}
ds.to_netcdf(sys.argv[2], engine="h5netcdf")
"""


@pytest.mark.exhaustive  # tests/sweeps/test_scale.py has four devices, and nets that are less chaotic
def test_two_devices_as_one(tmp_path: Path) -> None:
    """In processes of their own, of which each compiles anew; and chaotic nets, in which a bit would grow."""
    one = sweep(act="tanh", init="normal(std=0.3),orthogonal", width=33, depth=12, batch=3, seeds=4)
    command = [sys.executable, "-c", TWO_DEVICES, "2", str(tmp_path / "two.nc")]
    subprocess.run(command, check=True, timeout=300)
    with xr.open_dataset(tmp_path / "two.nc", engine="h5netcdf") as two:
        assert_same(two, one)
        assert json.loads(two.attrs["spec"]) == json.loads(one.attrs["spec"])


def test_same_again(nets: dict[str, list[str]], whole: xr.Dataset) -> None:
    again = run(request_of(nets, **WIDE))
    assert_same(again, whole)
    xr.testing.assert_identical(again, whole)
    assert_differ(whole.isel(seed=0), whole.isel(seed=1))
    assert_same(run(request_of(nets, **WIDE | {"seeds": 1})), whole.isel(seed=[0]))  # more seeds change none
