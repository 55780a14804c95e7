"""`varprobe rerun`: a run says enough to be measured again, and what is not the same is found."""

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from stand_in import compute_with

import varprobe as vp
from varprobe.__main__ import main
from varprobe.runs.rerun import changes
from varprobe.runs.tolerances import LOST, SAFETY, UNIT, tolerances
from varprobe.spec.serialize import repeatable
from varprobe.storage.checksums import sealed_json, unsealed_json
from varprobe.storage.provenance import machine
from varprobe.sweeps.assemble import variable_names
from varprobe.sweeps.request import read_request

sweeping = importlib.import_module("varprobe.sweeps.sweep")

OPTIONS: dict[str, Any] = dict(depth=3, width=4, batch=4, seeds=3, act="relu,tanh", init="he_normal")


class Engine:
    """A stand-in for the engine; `error` is added to the gradients of seed 1."""

    def __init__(self) -> None:
        self.error, self.calls = 0.0, 0

    def __call__(self, group: Any, setting: Any, seed: int) -> dict[str, np.ndarray]:
        self.calls += 1
        shape = (len(group.members), group.program.depth + 1)
        table = {name: np.full(shape, -0.1 * seed) for name in variable_names()}
        table["gradient_log10_mean_square"] = table["gradient_log10_mean_square"] + self.error * (seed == 1)
        return table


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    monkeypatch.chdir(tmp_path)
    engine = Engine()
    compute_with(monkeypatch, engine)
    return engine


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([*arguments, "--no-compile-cache"])
        return (int(stop.value.code or 0), *capsys.readouterr())

    return run


def elsewhere(folder: str) -> None:
    """Let a run be one of another machine."""
    record = unsealed_json(Path(folder, "spec.json"))
    record["machines"][0]["processor"] = "another"
    Path(folder, "spec.json").write_bytes(sealed_json(record))


def test_the_same_again_is_the_same_bits_and_leaves_nothing(engine: Engine, run: Any) -> None:
    vp.sweep(**OPTIONS, out="first")
    found = vp.rerun("first")
    assert found.reproduced and found.changed == [] and found.again is None
    assert found.comparison.different == 0
    assert found.comparison.numbers == sum(v.size for v in vp.open_run("first").data_vars.values())
    code, out, _ = run("rerun", "first")
    assert code == 0 and out.count("\n") == 1 and "are the same bits, on the same machine and versions" in out
    assert [p.name for p in Path().iterdir()] == ["first"]
    assert run("rerun", "first", "--out", "kept")[0] == 0
    assert vp.verify("kept").intact


def test_one_other_bit_on_the_same_machine_is_not_reproduced(engine: Engine, run: Any) -> None:
    vp.sweep(**OPTIONS, out="first")
    engine.error = 1e-15
    code, out, _ = run("rerun", "first")
    assert code == 1 and "8 of " in out and "differ, though machine and versions are the same" in out
    assert "gradient_log10_mean_square" in out and Path("first-again", "results.nc").is_file()
    assert max(map(len, out.splitlines()[1:])) <= 80
    code, _, err = run("rerun", "first")
    assert code == 2 and "first-again holds a finished run already" in err


def test_elsewhere_differences_are_compared_with_rounding(engine: Engine, run: Any) -> None:
    vp.sweep(**OPTIONS, out="first")
    elsewhere("first")
    for error, code in ((0.0, 0), (1e-6, 0), (1e-3, 1)):
        engine.error = error
        out = f"again{code}{error}"
        found = run("rerun", "first", "--out", out, "--json")
        answer = json.loads(found[1])
        assert found[0] == code and answer["reproduced"] is not bool(code)
        assert [text.partition(" ")[0] for text in answer["changed"]] == ["processor"]
        assert answer["different"] == (8 if error else 0) and answer["beyond"] == (8 if code else 0)
        if error:
            (one,) = answer["differences"]
            assert one["variable"] == "gradient_log10_mean_square" and one["seed"] == 1
            np.testing.assert_allclose(one["largest"], error, rtol=1e-6)


def test_what_cannot_be_measured_again_says_why(engine: Engine, run: Any) -> None:
    def refused(folder: str, words: str, *options: str) -> None:
        code, out, err = run("rerun", folder, *options)
        assert (code, out) == (2, "") and words in err and err.count("\n") == 1, err
        assert not Path(f"{folder}-again").exists()

    vp.sweep(**OPTIONS | {"data": np.eye(4)}, out="array")
    refused("array", "cannot be measured again from what it says: data is an array, not a file")
    vp.sweep(**OPTIONS | {"act": {"Ours": lambda x: x * 0.5}}, out="function")
    refused("function", "act is a function or a block that was given in Python")
    np.save("rows.npy", np.eye(4))
    Path("mine.py").write_text("def half(x):\n    return x / 2\n")
    vp.sweep(**OPTIONS | {"data": "rows.npy", "act": "mine.py:half"}, out="files")
    refused("files", "names code, mine.py:half, which would be imported; --allow-code does so")
    assert run("rerun", "files", "--allow-code")[0] == 0
    Path("mine.py").write_text("def half(x):\n    return x / 3\n")
    refused("files", "the source of a function changed since", "--allow-code")
    Path("mine.py").write_text("def half(x):\n    return x / 2\n")
    np.save("rows.npy", 2 * np.eye(4))
    refused("files", "the data changed since", "--allow-code")
    vp.sweep(**OPTIONS, out="unfinished")
    record = unsealed_json(Path("unfinished", "spec.json"))
    Path("unfinished", "spec.json").write_bytes(sealed_json(record | {"results": None}))
    refused("unfinished", "is unfinished")
    Path("unfinished", "spec.json").write_bytes(sealed_json(record | {"arguments": {"depht": 3}}))
    refused("unfinished", "does not take")
    refused("nowhere", "there is no run 'nowhere'")
    assert "is the run itself" in run("rerun", "files", "--out", "files")[2]


def test_a_run_that_is_damaged_is_refused_before_it_is_measured(engine: Engine, run: Any) -> None:
    vp.sweep(**OPTIONS, out="first")
    Path("first", "results.nc").write_bytes(b"no")
    measured = engine.calls
    code, _, err = run("rerun", "first")
    assert code == 2 and "results.nc is damaged" in err and "varprobe verify" in err
    assert not Path("first-again").exists() and engine.calls == measured


def test_another_number_of_devices_rounds_in_another_way() -> None:
    there = machine() | {"devices": 2}
    assert changes({"jax": "1"}, {"jax": "1"}, machine()) == []
    assert changes({"jax": "1"}, {"jax": "1"}, there) == [f"devices (2 -> {machine()['devices']})"]


@pytest.mark.parametrize("done", ["nothing", "some cells", "results", "compared", "removed in part"])
def test_a_rerun_that_was_killed_goes_on(engine: Engine, run: Any, done: str) -> None:
    """Its folder has the mark of a repetition; any other finished run is refused, even a copy of the run itself."""
    vp.sweep(**OPTIONS, out="first")
    again = Path("first-again")
    again.mkdir()
    (again / ".rerun.0.varprobe.tmp").touch()
    if done != "nothing":
        vp.sweep(**OPTIONS, out=again)
        (again / ".rerun.0.varprobe.tmp").touch()
    if done == "some cells":
        next((again / "cells").iterdir()).unlink()
    if done == "removed in part":
        for path in (*again.glob("results.*"), *(again / "cells").iterdir(), again / "spec.json"):
            path.unlink()
    code, out, err = run("rerun", "first")
    assert (code, err) == (0, "") and "are the same bits" in out and not again.exists()
    shutil.copytree("first", again)
    code, out, err = run("rerun", "first")
    assert code == 2 and "holds a finished run already" in err and again.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {
            "depth": 2,
            "width": "8-4,4-2",
            "act": ["relu", "leaky_relu(0:0.5:3)"],
            "init": "normal(std=1/sqrt(fan_in))",
        },
        {"sigma_w2": np.linspace(1, 2, 3), "sigma_b2": (0, 0.1), "depth": np.int64(3), "width": range(4, 6)},
        {
            "arch": "residual(branch_scale=0.5)",
            "norm": "layer,none",
            "dropout": 0.1,
            "root_seed": np.uint32(7),
            "depth": 4,
        },
        {"correlation": [0.1, 0.5], "histogram": True, "forward_only": np.True_, "dtype": "float64", "width": 8},
    ],
)
def test_arguments_are_written_down_so_that_they_mean_the_same(arguments: dict[str, Any]) -> None:
    arguments = {"depth": 3, "width": 4, **arguments}
    request = read_request(**arguments)
    assert request.unrepeatable == "" and request.arguments is not None
    again = read_request(**json.loads(json.dumps(request.arguments)))
    assert (again.spec, again.configs, again.arguments) == (request.spec, request.configs, request.arguments)


@pytest.mark.parametrize(
    "name, value, why",
    [
        ("data", np.eye(2), "data is an array"),
        ("labels", [1, 2], "labels is a list"),
        ("act", [np.tanh], "act is a function"),
        ("act", {"Ours": np.tanh}, "act is a function"),
        ("arch", object(), "arch is of type object"),
    ],
)
def test_what_cannot_be_written_down_is_named(name: str, value: Any, why: str) -> None:
    arguments, reason = repeatable({name: value})
    assert arguments is None and reason.startswith(why)


def stack(gradients: float, dtype: str = "float32", layers: int = 41) -> xr.Dataset:
    """A dataset whose gradients grow by so many decades a layer towards the input."""
    names = [*variable_names()]
    shape = (1, 1, layers)
    ds = xr.Dataset({name: (("config", "seed", "layer"), np.zeros(shape)) for name in names})
    ds["gradient_log10_mean_square"].values[:] = -gradients * np.arange(layers)
    return ds.assign_coords(width=("config", [64]), dtype=("config", [dtype]))


def test_tolerances_grow_with_the_root_of_the_depth_where_signals_neither_settle_nor_spread() -> None:
    found = tolerances(stack(0))["activation_log10_mean_square"][0, 0]
    np.testing.assert_allclose(found, SAFETY * UNIT * 8 * np.sqrt(np.arange(1, 42)) * 2 / np.log(10), rtol=1e-12)
    without = stack(0)
    without["gradient_log10_mean_square"].values[:] = np.nan
    np.testing.assert_allclose(tolerances(without)["activation_log10_mean_square"][0, 0], found, rtol=1e-12)


def test_tolerances_of_gradients_add_up_from_the_last_layer() -> None:
    """Each layer adds its own rounding, 1, and the forward error at which its derivative is taken, sqrt(l + 1)."""
    squares = np.cumsum(np.arange(42, 1, -1))  # layers 40, 39, ..., 0
    found = tolerances(stack(0))["gradient_log10_mean_square"][0, 0]
    np.testing.assert_allclose(found[::-1], SAFETY * UNIT * 8 * np.sqrt(squares) * 2 / np.log(10), rtol=1e-12)


def test_tolerances_settle_in_order_and_are_lost_in_chaos() -> None:
    ordered = tolerances(stack(-0.2))["activation_log10_mean_square"][0, 0]
    limit = SAFETY * UNIT * 8 / np.sqrt(1 - 10**-0.2) * 2 / np.log(10)
    np.testing.assert_allclose(ordered[-1], limit, rtol=1e-6)
    chaotic = tolerances(stack(0.5))["activation_log10_mean_square"][0, 0]
    growing = np.isfinite(chaotic)
    assert growing[0] and not growing[-1]
    np.testing.assert_allclose(np.diff(np.log10(chaotic[growing]))[-1], 0.25, rtol=1e-3)
    assert chaotic[growing].max() < LOST * 2 / np.log(10)


def test_a_variance_that_is_left_of_a_large_mean_has_fewer_digits() -> None:
    ds = stack(0)
    ds["activation_log10_var"].values[:] = -4
    found = tolerances(ds)
    np.testing.assert_allclose(found["activation_log10_var"], 1e4 * found["activation_log10_mean_square"], rtol=1e-12)
