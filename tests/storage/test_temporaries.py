"""Temporary files: whoever writes one holds its lock, and only those of dead writers are removed."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from varprobe.storage import temporaries
from varprobe.storage.temporaries import is_temporary, remove_dead, temporary_file


def test_two_writers_of_one_file_have_a_temporary_file_each(tmp_path: Path) -> None:
    with temporary_file(tmp_path / "x") as (one, first), temporary_file(tmp_path / "x") as (two, second):
        assert one != two and is_temporary(one) and is_temporary(two)
        first.write(b"a")
        second.write(b"b")
        first.flush()
        one.rename(tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["x"] and (tmp_path / "x").read_bytes() == b"a"


def test_only_files_of_dead_writers_are_removed_or_used_again(tmp_path: Path) -> None:
    dead = tmp_path / ".x.0.varprobe.tmp"
    dead.write_bytes(b"of a process that was killed")
    (tmp_path / ".y.3.varprobe.tmp").touch()
    (tmp_path / ".not.ours.tmp").touch()
    with temporary_file(tmp_path / "x") as (path, file):
        assert path == dead and file.read() == b""
        remove_dead([tmp_path, tmp_path / "nowhere"])
        assert sorted(p.name for p in tmp_path.iterdir()) == [".not.ours.tmp", ".x.0.varprobe.tmp"]
    assert [p.name for p in tmp_path.iterdir()] == [".not.ours.tmp"]


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        with temporary_file(tmp_path / "x"):
            os._exit(9)  # as a kill does, it runs nothing
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert [p.name for p in tmp_path.iterdir()] == [".x.0.varprobe.tmp"]
    remove_dead([tmp_path])
    assert not list(tmp_path.iterdir())


def test_without_locks_names_are_random_and_age_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(temporaries.fcntl, "flock", none)
    with temporary_file(tmp_path / "x") as (path, _):
        assert len(path.name) == len(".x.01234567.varprobe.tmp")
        remove_dead([tmp_path])
        assert path.exists()
        os.utime(path, (time.time() - 3700,) * 2)
        remove_dead([tmp_path])
        assert not path.exists()
