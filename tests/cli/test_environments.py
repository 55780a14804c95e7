"""Settings and limits of the process: commands work with them, or name the one that has to change."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest

import varprobe as vp
from varprobe.__main__ import outcome
from varprobe.engine.device_check import SETTINGS
from varprobe.sweeps.request import read_request


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_with_which_nothing_can_be_measured_are_named(name: str) -> None:
    before = getattr(jax.config, name)
    jax.config.update(name, "strict" if name == "jax_numpy_dtype_promotion" else True)
    try:
        with pytest.raises(vp.InvalidArgumentError, match=f"^{name.upper()} is .* and must be "):
            read_request(depth=2, width=4)
    finally:
        jax.config.update(name, getattr(before, "value", before))
    assert read_request(depth=2, width=4).configs


@pytest.mark.parametrize(
    "limit, words",
    [("RLIMIT_AS", "address space (ulimit -v) is 65536 bytes"), ("RLIMIT_STACK", "stack (ulimit -s) is 65536 bytes")],
)
def test_too_low_a_limit_is_named_before_jax_starts(limit: str, words: str, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (2**16 if which == getattr(resource, limit) else -1, -1))
    assert outcome(["theory", "--act", "relu"]) == 3
    err = capsys.readouterr().err
    assert err.startswith("varprobe: out of memory: the limit on the ") and err.count("\n") == 1
    assert words in err


def test_a_backend_that_matplotlib_does_not_know_is_none_of_ours(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "varprobe", "phase", "--act", "tanh", "--save", "phase.png"]
    line += ["--sigma-w2", "1:2:3", "--sigma-b2", "0:1:2"]
    environment = os.environ | {"MPLBACKEND": "nonsense"}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and (tmp_path / "phase.png").stat().st_size > 1000


@pytest.mark.parametrize("name", ["a\0b", "a\udc80"])
def test_names_that_no_file_holds_are_refused_before_anything_is_computed(name: str, tmp_path: Path) -> None:
    with pytest.raises(vp.InvalidArgumentError, match="^act: .* has a null character or half a character"):
        vp.sweep(act={name: jax.nn.relu}, init="he_normal", depth=2, width=4, seeds=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_advice_that_cannot_be_written_down_is_not_begun(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert outcome("advise --act tanh --depth 5 --width 16 --out file".split()) == 2
    assert capsys.readouterr() == ("", "varprobe: --out: 'file' is a file, not a folder\n")
