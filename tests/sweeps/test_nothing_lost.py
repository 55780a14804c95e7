"""Whatever happens to a sweep on the way: it is resumed to the same bits, nothing finished is done again or left behind."""

import errno
import importlib
import json
import os
import random
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import kill_and_resume as killing
import numpy as np
import pytest
from stand_in import compute_with

import varprobe as vp
from varprobe.storage.checksums import FORMAT, sealed

OPTIONS: dict[str, Any] = dict(depth=2, width=4, batch=4, seeds=24, act="relu", init="he_normal")
"""One group, 24 cells."""

sweeping = importlib.import_module("varprobe.sweeps.sweep")


class StatisticsHook:
    """A progress that remembers, and does something after so many cells."""

    def __init__(self, after: int | None = None, act: Any = None) -> None:
        self.total = self.cached = self.done = 0
        self.notes: list[str] = []
        self.after, self.act = after, act

    def start(self, total: int, cached: int) -> None:
        self.total, self.cached = total, cached

    def advance(self, cells: int = 1) -> None:
        self.done += cells
        if self.done == self.after:
            self.act()

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `compiled` code and the run `whole`, which nobody interrupted."""
    place = tmp_path_factory.mktemp("sweeps")
    killing.kill_once(place / "whole", OPTIONS, place / "compiled")
    assert len(killing.finished(place / "whole")) == OPTIONS["seeds"]
    return place


@pytest.fixture
def folder(place: Path, tmp_path: Path) -> Path:
    """A copy of the whole run."""
    return Path(shutil.copytree(place / "whole", tmp_path / "run"))


@pytest.fixture(scope="module")
def tables(place: Path) -> dict[int, dict[str, np.ndarray]]:
    """The numbers of the whole run's cells, by seed."""
    from varprobe.storage.records import read_values
    from varprobe.storage.tasks import load_task
    from varprobe.sweeps.record import SweepRecord

    record = SweepRecord.read(read_values(place / "whole"))
    return {cell.seed: load_task(place / "whole", cell, record.variables(cell)) for cell in record.cells}


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch, tables: dict[int, dict[str, np.ndarray]]) -> list[int]:
    """The seeds of the cells that are computed, by a stand-in for the engine that knows the numbers."""
    seen = []

    def table_of(group: Any, setting: Any, seed: int) -> dict[str, np.ndarray]:
        seen.append(seed)
        return tables[seed]

    compute_with(monkeypatch, table_of)
    return seen


@pytest.mark.parametrize("count", [2, pytest.param(5, marks=pytest.mark.exhaustive)])
def test_a_sweep_that_is_killed_comes_to_the_same_bits(place: Path, count: int) -> None:
    kills = list(killing.killed_and_resumed(place, OPTIONS, count, random.Random(1)))
    assert [wrong for _, wrong in kills if wrong] == []
    assert sum(kill.killed for kill, _ in kills) == count
    assert any(0 < kill.behind < OPTIONS["seeds"] for kill, _ in kills)


def test_what_is_compared_after_a_kill_can_fail(place: Path, folder: Path) -> None:
    assert killing.differences(folder, place / "whole") == []
    cells = sorted((folder / "cells").iterdir())
    cells[0].write_bytes(cells[1].read_bytes())
    (folder / "cells" / ".x.npz.0123abcd.varprobe.tmp").write_bytes(b"half")
    cells[2].unlink()
    found = " ".join(killing.differences(folder, place / "whole"))
    for words in ("is in one of the two", "has other bytes", "was left", "is another task's", "is missing"):
        assert words in found


def limited(folder: Path, size: int, cache: Path, told: Any) -> None:
    """Sweep where no file can become larger."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    killing.sweep_into(folder, OPTIONS, cache, told)


def locked(folder: Path, cells: int, cache: Path, told: Any) -> None:
    """Sweep into a folder that after so many cells can no longer be written to, not even by root."""

    def lock() -> None:
        for path in (folder / "cells", folder):
            path.chmod(0o555)
        if os.geteuid() == 0:
            os.seteuid(65534)

    killing.sweep_into(folder, OPTIONS | {"progress": StatisticsHook(cells, lock)}, cache, told)


def told_by(function: Any, *arguments: Any) -> str:
    """What a sweep in a process of its own says of why it ended."""
    told = killing.processes.Queue()
    process = killing.processes.Process(target=function, args=(*arguments, told))
    process.start()
    text = told.get(timeout=120)
    process.join()
    assert process.exitcode == 0
    return text


def test_a_full_disk_is_one_line_and_what_was_finished_is_kept(place: Path, tmp_path: Path, computed: list) -> None:
    whole, out, cells = place / "whole", tmp_path / "run", OPTIONS["seeds"]
    size = (whole / "results.csv").stat().st_size - 1
    assert max(len(cell.content) for cell in killing.finished(whole).values()) < size
    said = told_by(limited, out, size, place / "compiled")
    assert said == f"MachineError: cannot write {str(out / 'results.csv')!r}: File too large"
    assert len(killing.finished(out)) == cells and not list(out.rglob(".*"))
    vp.sweep(**OPTIONS, out=out)
    assert computed == [] and killing.differences(out, whole) == [] and not list(out.rglob(".*"))


def test_a_folder_made_read_only_midway(place: Path, tmp_path: Path, computed: list) -> None:
    out = tmp_path / "run"
    said = told_by(locked, out, 7, place / "compiled")
    assert said.startswith("MachineError: cannot write ") and "Permission denied" in said and "\n" not in said
    kept = killing.finished(out)
    assert len(kept) == 7
    for path in (out, out / "cells"):
        path.chmod(0o755)
    vp.sweep(**OPTIONS, out=out)
    assert len(computed) == OPTIONS["seeds"] - 7 and killing.differences(out, place / "whole") == []
    assert kept.items() <= killing.finished(out).items()


@pytest.mark.exhaustive
def test_a_file_system_that_turns_read_only_between_writing_and_renaming(
    place: Path, tmp_path: Path, computed: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, replace = tmp_path / "run", os.replace

    def frozen(*_: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def freezing(source: Any, target: Any) -> None:
        if len(computed) == 4:
            monkeypatch.setattr(Path, "unlink", frozen)
            frozen()
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", freezing)
        with pytest.raises(vp.MachineError, match="Read-only file system"):
            vp.sweep(**OPTIONS, out=out)
    monkeypatch.undo()
    assert len(killing.finished(out)) == 3 and len(list(out.rglob(".*.varprobe.tmp"))) == 1
    killing.kill_once(out, OPTIONS, place / "compiled")
    assert killing.differences(out, place / "whole") == []


def of_another_version(content: bytes) -> bytes:
    """A cell as a later version would seal it."""
    return sealed(content[:-64].replace(b"varprobe %d " % FORMAT, b"varprobe %d " % (FORMAT + 1)))


@pytest.mark.parametrize("results_too", [False, True])
def test_damaged_cells_are_named_and_only_they_are_computed_again(
    place: Path, folder: Path, computed: list, results_too: bool
) -> None:
    paths = sorted((folder / "cells").iterdir())
    before = killing.finished(folder)
    damages = {
        "it has no checksum": lambda c: c[: len(c) // 2],
        "its checksum does not fit": lambda c: c[:900] + bytes([c[900] ^ 16]) + c[901:],
        "is of another version of varprobe": of_another_version,
        "too much to be read": lambda c: c * 4,
    }
    for path, damage in zip(paths, damages.values(), strict=False):
        path.write_bytes(damage(path.read_bytes()))
    if results_too:
        (folder / "results.nc").unlink()
    found = vp.verify(folder)
    assert not found.intact and found.problems("cells") == len(damages)
    watch = StatisticsHook()
    vp.sweep(**OPTIONS, out=folder, progress=watch)
    notes = [note for note in watch.notes if "cells" in note and "computed again" in note]
    assert len(computed) == len(damages) == len(notes)
    for path, why in zip(paths, damages, strict=False):
        assert any(str(path) in note and why in note for note in notes)
    assert killing.differences(folder, place / "whole") == []
    after = killing.finished(folder)
    assert {name for name in before if before[name] == after[name]} == {p.name for p in paths[len(damages) :]}


@pytest.mark.parametrize("when", [0, pytest.param(2**31, marks=pytest.mark.exhaustive)])
def test_a_clock_that_was_set_changes_nothing(
    place: Path, tmp_path: Path, computed: list, monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    out = tmp_path / "run"

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vp.sweep(**OPTIONS, out=out, progress=StatisticsHook(8, interrupt))
    for path in [*out.rglob("*"), out]:
        os.utime(path, (when, when))
    monkeypatch.setattr(time, "time", lambda: 1e9)
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)
    watch = StatisticsHook()
    vp.sweep(**OPTIONS, out=out, progress=watch)
    assert (watch.total, watch.cached, watch.notes) == (16, 8, []) and sorted(computed) == list(range(24))
    assert killing.differences(out, place / "whole") == []


def test_of_two_different_sweeps_into_one_folder_one_is_refused(place: Path, tmp_path: Path) -> None:
    """Even if both saw an empty folder: the request is compared again under the lock."""
    out, told = tmp_path / "run", killing.processes.Queue()
    options = [OPTIONS | {"root_seed": seed} for seed in (0, 1)]
    both = [killing.sweeping(out, given, place / "compiled", told) for given in options]
    said = told.get(timeout=120)
    for process in both:
        process.join()
    winner = vp.open_run(out)
    there, here = (0, 1) if json.loads(winner.attrs["spec"])["root_seed"] == 0 else (1, 0)
    differs = f"root_seed is {there} there and {here} here"
    assert said == f"InvalidArgumentError: out: {out} holds another run: {differs}; name another folder"
    assert vp.verify(out).findings == [] and not list(out.rglob(".*"))


@pytest.mark.parametrize("left", ["nothing", "cells/", ".claims", ".spec.json.0.varprobe.tmp"])
def test_a_sweep_that_was_killed_at_its_start_is_resumed(
    place: Path, tmp_path: Path, computed: list[int], left: str
) -> None:
    """Whatever it left before spec.json was there: no folder of a start is called one that holds no run."""
    out = tmp_path / "run"
    out.mkdir()
    if left.endswith("/"):
        (out / left).mkdir()
    elif left != "nothing":
        (out / left).write_bytes(b"half")
    vp.sweep(**OPTIONS, out=out)
    assert len(computed) == OPTIONS["seeds"] and killing.differences(out, place / "whole") == []
    (out / "spec.json").unlink()
    with pytest.raises(vp.InvalidArgumentError, match="holds files and no run"):
        vp.sweep(**OPTIONS, out=out)


def test_eight_sweeps_that_start_together_with_a_slow_disk(place: Path, tmp_path: Path) -> None:
    """None removes the temporary file of another one: their locks say who lives."""
    out = tmp_path / "run"
    started = [slow_sweep(out, place / "compiled") for _ in range(8)]
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * 8
    assert killing.differences(out, place / "whole") == []


def slow_sweep(folder: Path, cache: Path) -> Any:
    """A process that sweeps where every fsync takes up to 50 ms, started."""
    process = killing.processes.Process(target=slowly, args=(folder, cache))
    process.start()
    return process


def slowly(folder: Path, cache: Path) -> None:
    """Sweep there."""
    fsync = os.fsync

    def late(descriptor: Any) -> None:
        time.sleep(random.random() * 0.05)
        fsync(descriptor)

    os.fsync = late
    killing.sweep_into(folder, OPTIONS, cache)


def test_two_sweeps_into_one_folder_at_once(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    both = [killing.sweeping(out, OPTIONS, place / "compiled") for _ in range(2)]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert killing.differences(out, place / "whole") == []
