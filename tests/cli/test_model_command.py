"""`varprobe probe`, and what becomes of its runs."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import varprobe as vp
from varprobe.__main__ import main
from varprobe.model.run_folders import model_folder
from varprobe.storage.checksums import unsealed_json

Run = Callable[..., tuple[int, str, str]]

NET = """
import jax, jax.numpy as jnp
from flax import nnx

class Net(nnx.Module):
    def __init__(self, rngs, gain=2.0):
        init = nnx.initializers.variance_scaling(gain, "fan_in", "normal")
        self.layers = nnx.List([nnx.Linear(16, 16, kernel_init=init, rngs=rngs) for _ in range(6)])
        self.head = nnx.Linear(16, 4, rngs=rngs)

    def __call__(self, x):
        for layer in self.layers:
            x = nnx.relu(layer(x))
        return self.head(x)

X, Y = jax.random.normal(jax.random.key(1), (8, 16)), jnp.arange(8) % 4

def make(key):
    return Net(nnx.Rngs(key)), X, Y, {"loss": "cross_entropy"}

def small():
    return Net(nnx.Rngs(0), 0.02), X

def number():
    return 3

def broken():
    raise ValueError("no such checkpoint")

def mismatched():
    return Net(nnx.Rngs(0)), X[:, :3]

def refuses():
    def loss(p, x):
        assert len(x) == 7, "eight samples"
    return loss, jnp.eye(16), X

def misspelt():
    return Net(nnx.Rngs(0)), X, Y, {"los": "mse"}

def picks():
    return Net(nnx.Rngs(0)), X, {"output": "logits"}

def vector():
    return lambda model, x: model(x), Net(nnx.Rngs(0)), X

def untraceable():
    def loss(p, x):
        return (x @ p).sum() if x.sum() > 0 else 0.0
    return loss, jnp.eye(16), X
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `varprobe ...`: (exit code, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run


def test_a_healthy_model_and_its_run(run: Run) -> None:
    code, out, err = run("probe", "net.py:make", "--seeds", "4", "--out", "made", "--no-compile-cache")
    assert (code, err) == (0, "") and all(len(line) <= 80 for line in out.splitlines())
    assert "Net, 7 sites, 4 seeds, batch 8, loss cross_entropy, 7 of 7 matrix products" in out
    ds = vp.open_run("made")
    assert ds.sizes["seed"] == 4 and ds.site.values.tolist()[:3] == ["input", "layers/0", "layers/1"]
    (row,) = vp.diagnose(ds).rows
    assert row["healthy"] and row["families"][0]["family"] == "layers/*"
    assert f"{row['activation_factor']:.3f} ±" in out
    assert run("check", "made")[0] == 0
    assert run("plot", "made", "--save", "figure.png")[0] == 0 and Path("figure.png").stat().st_size > 10_000
    header, *lines = Path("made/results.csv").read_text().splitlines()
    assert len(lines) == 4 * 8 and "gradient_log10_mean_square" in header


def test_an_unhealthy_model_as_json(run: Run) -> None:
    code, out, err = run("probe", "net.py:small", "--json", "--out", "made", "--no-compile-cache")
    answer = json.loads(out)
    (row,) = answer["rows"]
    assert (code, err, answer["run"]) == (0, "", "made")
    assert (
        row["backward"] == "vanishing"
        and not row["healthy"]
        and row["activation_factor"] == pytest.approx(0.01, rel=0.3)
    )
    assert row["advice"].startswith("Multiply the weight std of layers/* by 10.") and row["reason"].startswith(
        "layers/*: each layer"
    )
    assert run("check", "made")[0] == 1


def test_data_of_a_file(run: Run) -> None:
    np.save("rows.npy", np.full((9, 16), 3.0))
    code, out, _ = run("probe", "net.py:small", "--data", "rows.npy", "--out", "made", "--json", "--no-compile-cache")
    assert code == 0 and float(vp.open_run("made").activation_log10_mean_square[0, 0, 0]) == pytest.approx(
        2 * np.log10(3)
    )


@pytest.mark.exhaustive
def test_side_by_side(run: Run) -> None:
    assert run("probe", "net.py:small", "--out", "made", "--no-compile-cache")[0] == 0
    code, out, err = run("probe", "--compare", "made", "net.py:make", "--seeds", "1", "--no-compile-cache")
    lines = out.splitlines()
    assert (code, err) == (0, "") and max(map(len, lines)) <= 80
    assert lines[0] == "A = made, B = net.py:make; RMS at each site" and len(lines) == 2 + 8
    code, out, _ = run("probe", "--compare", "made", "made", "--json", "--no-compile-cache")
    rows = json.loads(out)["rows"]
    assert [row["site"] for row in rows[:2]] == ["input", "layers/0"]
    assert {row["signal_ratio"] for row in rows} == {1.0}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["net.py:number"], "FACTORY: net.py:number returns int (allowed: a tuple of what probe takes"),
        (["net.py:broken"], "FACTORY: net.py:broken fails: ValueError: no such checkpoint"),
        (["net.py:mak"], "FACTORY: net.py:mak: there is no 'mak' in it; did you mean 'make'?"),
        (["net"], "FACTORY: 'net' is not of the form PKG.MOD:NAME or FILE.py:NAME"),
        (["net.py:mismatched"], "FACTORY: net.py:mismatched fails: "),
        (["net.py:untraceable"], "FACTORY: net.py:untraceable: loss is not traceable by jax: net.py:"),
        (["net.py:small", "--seeds", "0"], "--seeds: 0 is out of range (allowed: whole numbers from 1 to 1000)"),
        (["net.py:small", "--seeds", "x"], "--seeds: 'x' is not a number (allowed: whole numbers from 1 to 1000)"),
        (["net.py:small", "--step-size", "-1"], "--step-size: -1 is out of range (allowed: numbers from 0)"),
        (["net.py:small", "--data", "no.npy"], "--data: "),
        (["net.py:small", "--data", "normal"], "--data: 'normal' is no file (allowed: FILE.npy, FILE.npz, FILE.csv)"),
        (["net.py:small", "--out", "narrow.npy"], "--out: 'narrow.npy' is a file, not a folder"),
        (["net.py:small", "--out", "narrow.npy/a"], "--out: 'narrow.npy' is a file, not a folder"),
        (["net.py:small", "--out", ""], "--out: '' cannot be used as a folder"),
        (["net.py:refuses"], "FACTORY: net.py:refuses fails: AssertionError: eight samples"),
        (
            ["net.py:misspelt"],
            "FACTORY: net.py:misspelt returns a dict with 'los'; did you mean 'loss'? (allowed: loss, output",
        ),
        (["net.py:picks"], "FACTORY: net.py:picks, output=: there is no 'logits': the model returns one array"),
        (["net.py:vector"], "FACTORY: net.py:vector, loss=: the function returns float32[8, 4] and no scalar"),
        (["--compare", "a", "b", "--seeds", "3"], "--seeds: does not go with --compare of two runs"),
        (["net.py:small", "--data", "narrow.npy"], "--data: rows of 5 values do not fit inputs of shape [16]"),
        (["net.py:small", "--data", "few.npy"], "--data: 2 rows are fewer than the batch of 8"),
        (["--compare", "net.py:small"], "--compare"),
        (["--compare", "none", "net.py:small"], "--compare: there is no run 'none'"),
        (["net.py:small", "--compare", "a", "b"], "--compare: 'net.py:small' is one model too many"),
        ([], "FACTORY: missing FACTORY, such as mynet.py:make"),
    ],
)
def test_bad_input(arguments: list[str], message: str, run: Run) -> None:
    np.save("narrow.npy", np.ones((9, 5)))
    np.save("few.npy", np.ones((2, 16)))
    writing = ["--out", "made"] if not {"--compare", "--out"} & set(arguments[:2]) else []
    message = message.replace("{here}", str(Path.cwd()))
    code, out, err = run("probe", "--no-compile-cache", *writing, *arguments)
    assert (code, out) == (2, "") and err.startswith(f"varprobe: {message}") and err.count("\n") == 1
    assert not Path("made").exists()


def test_damaged_runs(run: Run) -> None:
    assert run("probe", "net.py:small", "--out", "made", "--no-compile-cache")[0] == 0
    before = vp.open_run("made")
    record = unsealed_json(Path("made/spec.json"))
    with pytest.raises(ZeroDivisionError), model_folder(Path("made"), "probe", record["spec"]):
        raise ZeroDivisionError  # interrupted before it was measured again: the run is as it was
    assert vp.open_run("made").identical(before)
    Path("made/results.nc").write_bytes(b"no")
    code, _, err = run("check", "made")
    assert code == 2 and err == "varprobe: RUN: made/results.nc is damaged; the same command computes it again\n"
    Path("made/spec.json").write_text("[]")
    assert run("check", "made")[2].startswith(
        "varprobe: RUN: made is not a run that varprobe wrote: its spec.json is damaged, or of an older version"
    )
