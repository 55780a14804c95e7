"""Arguments of wrong types: every public function takes them or says in one line which one is wrong, and what is allowed."""

import inspect
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr
from made_up import signals
from matplotlib import pyplot
from stand_in import compute_with

import varprobe as vp
from varprobe import theory
from varprobe.errors import LONGEST
from varprobe.sweeps.arguments import ARGUMENTS
from varprobe.sweeps.request import read_request

SMALL: dict[str, Any] = {"act": "tanh", "init": "he_normal", "depth": 3, "width": 64, "batch": 6, "seeds": 2}
SENSIBLE = {"act": "tanh", "depth": 3, "width": 16, "sigma_w2": 1.5, "function": np.tanh}


def nested() -> Any:
    """Lists within lists, deeper than Python calls functions."""
    value: Any = []
    for _ in range(3000):
        value = [value]
    return value


WRONG: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "NaN": lambda: float("nan"),
    "a flag": lambda: True,
    "an object": object,
    "a key": lambda: jax.random.key(0),
    "nested lists": nested,
    "an endless list": lambda: itertools.repeat("relu"),
    "words in an array": lambda: np.array(["relu", "tanh"]),
    "an empty list": list,
    "a huge integer": lambda: 10**30,
    "a long text": lambda: "a" * 100_000,
    "half a character": lambda: "\udc80",
    "a function": lambda: lambda: 1,
    "a dataset": lambda: xr.Dataset({"x": ("y", np.zeros(500))}),
}


def refused_or_done(function: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """Call the function: nothing but its own error may come, in one line that is not endless."""
    try:
        function(**arguments)
    except vp.InvalidArgumentError as error:
        text = str(error)
        assert "\n" not in text and len(text) < LONGEST + 60
    finally:
        pyplot.close("all")


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("name", [n for n in theory.__all__ if inspect.isfunction(getattr(theory, n))])
def test_theory(name: str, what: str) -> None:
    function = getattr(theory, name)
    parameters = inspect.signature(function).parameters.values()
    base = {p.name: SENSIBLE.get(p.name, 2.0) for p in parameters if p.default is p.empty}
    for p in parameters:
        refused_or_done(function, base | {p.name: WRONG[what]()})


@pytest.mark.parametrize("what", WRONG)
def test_a_sweep(what: str) -> None:
    for name in ARGUMENTS:
        refused_or_done(read_request, SMALL | {name: WRONG[what]()})


@pytest.fixture(scope="module")
def ds() -> Iterator[xr.Dataset]:
    """A sweep."""
    with pytest.MonkeyPatch.context() as patch:
        compute_with(patch, signals)
        yield vp.sweep(**SMALL)


OF_A_DATASET = (
    "diagnose",
    "healthy",
    "assert_healthy",
    "plot_variance",
    "plot_heatmap",
    "plot_match",
    "export",
    "report",
)
OF_A_PATH = ("open_run", "verify", "rerun")


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("name", [*OF_A_DATASET, *OF_A_PATH])
def test_functions_of_runs(ds: xr.Dataset, name: str, what: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    function = getattr(vp, name)
    parameters = inspect.signature(function).parameters.values()
    first = "ds" if name in OF_A_DATASET else "run"
    base: dict[str, Any] = {p.name: ds if first == "ds" else "nowhere" for p in list(parameters)[:1]}
    base |= {p.name: "made.csv" for p in list(parameters)[1:] if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
    for p in parameters:
        if p.kind is p.VAR_KEYWORD or (p.name == "advance" and what == "a function"):
            continue
        try:
            refused_or_done(function, base | {p.name: WRONG[what]()})
        except AssertionError as error:
            assert name == "assert_healthy", error


def test_phase_diagrams_and_coordinate_checks() -> None:
    for given in ({"width": 0}, {"width": None}, {"ax": 5}, {"sigma_w2": "x"}):
        with pytest.raises(vp.InvalidArgumentError, match=f"^{next(iter(given))}: "):
            vp.plot_phase("tanh", **given)
    for given in ({"init": []}, {"init": np.array(["mup"])[0:0]}, {"seeds": 10**9}, {"progress": 1}):
        with pytest.raises(vp.InvalidArgumentError, match=f"^{next(iter(given))}: "):
            vp.coord_check(widths="8,16", **given)
    with pytest.raises(vp.InvalidArgumentError, match="^causal: nan is neither True nor False"):
        theory.transformer("relu", 2, causal=float("nan"))
