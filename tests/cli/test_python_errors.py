"""What Python callers get wrong: one InvalidArgumentError that names the argument, never an error from deep inside."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

import varprobe as vp


@pytest.fixture(scope="module")
def ds(measured: Callable[..., xr.Dataset]) -> xr.Dataset:
    return measured(depth=3, width=24, seeds=2, batch=6, init="he_normal")


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda ds: vp.build(ds.isel(config=0), seed=-1), "seed: -1 is out of range"),
        (lambda ds: vp.build(ds.isel(config=0), seed=1.5), "seed: 1.5 is not a whole number"),
        (lambda ds: vp.build(ds.isel(config=0), seed="a"), "seed: 'a' is not a number"),
        (lambda ds: vp.build(None), "config: None is neither a dict of arguments nor a dataset"),
        (lambda ds: vp.select(ds, init=[]), "init: the list is empty"),
        (lambda ds: vp.select(None, init="x"), "ds: None is not a dataset of varprobe.sweep"),
        (lambda ds: vp.diagnose("RUN"), "ds: 'RUN' is not a dataset of varprobe.sweep; varprobe.open_run reads"),
        (lambda ds: vp.diagnose(ds.isel(seed=0)), "ds: the dataset has no dimension 'seed'; isel(seed=[0]) keeps it"),
        (lambda ds: vp.diagnose(ds.isel(layer=slice(0, 2))), "ds: the dataset has 2 of the layers 0 to 3"),
        (
            lambda ds: vp.diagnose(ds.drop_vars("gradient_log10_mean_square")),
            "ds: the dataset has no variable 'gradient_log10",
        ),
        (lambda ds: vp.assert_healthy(3), "ds: 3 is not a dataset"),
        (lambda ds: vp.plot_variance(None), "ds: None is not a dataset"),
        (lambda ds: vp.plot_variance(ds.isel(seed=[])), "ds: the dataset has no seed left"),
        (lambda ds: vp.plot_variance(ds, labels={"he_norml": "He"}), "label: nothing in this run is called 'he_norml'"),
        (lambda ds: vp.plot_variance(ds, labels={"he_normal": "$x^$"}), r"label: '$x^$' is not valid math text"),
        (lambda ds: vp.theory.finite_width("relu", c0=5), "c0: 5 is not a number from -1 to 1"),
        (lambda ds: vp.theory.finite_width("relu", q0=-1), "q0: -1 is not a finite number above 0"),
        (lambda ds: vp.theory.finite_width("relu", width=[]), "width: the list is empty"),
        (lambda ds: vp.theory.critical("tanh", q=[1, "a"]), "q: 'a' is not a finite number above 0"),
        (lambda ds: vp.theory.trajectory("tanh", 1, depth="a"), "depth: 'a' is not an integer of at least 1"),
        (lambda ds: vp.sweep(init="normal(std=1e-400)"), "init: '1e-400' holds a number too small for float64"),
        (lambda ds: vp.sweep(act=lambda x: None), "act: <lambda> returns NoneType, not an array"),
        (lambda ds: vp.sweep(act=lambda x: x.astype(int)), "act: <lambda> returns int32 for float32"),
    ],
)
def test_one_line_names_the_argument(ds: xr.Dataset, call: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(vp.InvalidArgumentError) as caught:
        call(ds)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_what_is_right_still_is(ds: xr.Dataset) -> None:
    first, third = vp.build(ds.isel(config=0), seed=np.int64(1)), vp.build(ds.isel(config=0), seed=2)
    assert not np.array_equal(first.params[0]["w"], third.params[0]["w"])
    assert vp.sweep(depth=3, width=24, seeds=2, batch=6, init="normal(std=0e-3)").sizes["config"] == 1
    ax = vp.plot_variance(ds, labels={"he_normal": r"$\sigma_w^2 = 2$"})
    assert any("sigma_w" in text.get_text() for text in [*ax.texts, *ax.figure.texts])
