"""`varprobe check` and `vp.assert_healthy`: exit code 1, or AssertionError, where a signal cannot get through."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import varprobe as vp
from varprobe.__main__ import outcome
from varprobe.verdict.thresholds import threshold

SIZE = ("--depth", "30", "--width", "32", "--seeds", "2", "--batch", "4", "--no-compile-cache")
ALIGNED = ("--act", "tanh", "--bias", "normal(std=1)", "--init", "normal(var=1/fan_in)")
"""tanh in its ordered phase: every pair of inputs ends with one direction, and nothing vanishes at depth 8."""


@pytest.fixture(scope="module")
def ds(tmp_path_factory: Any) -> xr.Dataset:
    return vp.sweep(
        depth=30,
        width=32,
        seeds=2,
        batch=4,
        init="he_normal,glorot_normal",
        out=tmp_path_factory.mktemp("check") / "run",
    )


@pytest.fixture
def run(ds: xr.Dataset, tmp_path_factory: Any) -> str:
    return str(tmp_path_factory.getbasetemp() / "check0" / "run")


def check(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    code = outcome(["check", *arguments])
    return code, *capsys.readouterr()


def test_of_a_run(capsys: Any, run: str, ds: xr.Dataset) -> None:
    code, out, _ = check(capsys, run)
    assert code == 1
    assert "1 of 2 unhealthy" in out and "glorot_normal" in out and "he_normal" not in out
    code, out, _ = check(capsys, run, "--json")
    assert code == 1
    assert json.loads(out)["rows"] == json.loads(json.dumps(vp.diagnose(ds).rows))


def test_of_options(capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = check(capsys, *SIZE, "--init", "he_normal")
    assert code == 0 and out.endswith("healthy\n") and all(len(line) <= 80 for line in out.splitlines())
    code, out, _ = check(capsys, *SIZE, "--init", "he_normal,glorot_normal")
    assert code == 1 and "glorot_normal" in out and "he_normal" not in out


def test_strict_counts_notes(capsys: Any, tmp_path: Path) -> None:
    small = ("--depth", "20", *SIZE[2:], *ALIGNED, "--forward-only", "--out", str(tmp_path / "aligned"))
    assert check(capsys, *small)[0] == 0
    code, out, _ = check(capsys, *small, "--strict")
    assert code == 1 and "on the mean cosine between inputs is above 0.999." in " ".join(out.split())
    ds = vp.open_run(tmp_path / "aligned")
    assert float(ds.activation_correlation.mean("seed")[0, -1]) > threshold("correlation_collapse")
    vp.assert_healthy(ds)
    with pytest.raises(AssertionError, match="1 of 1 configurations are unhealthy"):
        vp.assert_healthy(ds, strict=True)


def test_assert_healthy(ds: xr.Dataset) -> None:
    vp.assert_healthy(vp.select(ds, init="he_normal"))
    with pytest.raises(AssertionError) as caught:
        vp.assert_healthy(ds)
    message = str(caught.value)
    assert message.startswith("1 of 2 configurations are unhealthy\nrelu, depth 30, width 32, 2 seeds, batch 4")
    assert "glorot_normal" in message and "Multiply the" in message and "he_normal" not in message


@pytest.mark.parametrize(
    "arguments, line",
    [
        (("--depth", "3"), "--depth: does not go with a RUN"),
        (("--fresh",), "--fresh: does not go with a RUN"),
        (("--out", "there"), "--out: does not go with a RUN"),
    ],
)
def test_a_run_has_its_own_options(capsys: Any, run: str, arguments: tuple[str, ...], line: str) -> None:
    code, out, err = check(capsys, run, *arguments)
    assert code == 2 and out == "" and err.startswith(f"varprobe: {line}") and err.count("\n") == 1


def test_what_is_not_a_run(capsys: Any, tmp_path: Path, run: str) -> None:
    code, _, err = check(capsys, str(tmp_path / "nothing"))
    assert code == 2 and err.startswith("varprobe: RUN: there is no run") and err.count("\n") == 1
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "spec.json").write_text("{}")
    code, _, err = check(capsys, str(copy))
    assert code == 2 and err.startswith("varprobe: RUN: ") and err.count("\n") == 1
