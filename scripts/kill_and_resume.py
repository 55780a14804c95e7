"""Kill a sweep (SIGKILL) at random moments and resume it: is anything lost, done twice, or left behind?

    python scripts/kill_and_resume.py [--kills 30] [--seed 0] [--folder FOLDER]

prints a line for every kill and a verdict, and exits with 1 if a finished cell was computed again, a file of a killed
sweep is left, or a number differs from those of a sweep that nobody killed. Where it may mount (as root), it also fills
a small disk, and makes another read-only, while the sweep writes to it. Takes some minutes.
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OPTIONS: dict[str, Any] = {
    "depth": "2,3",
    "width": 4,
    "batch": 4,
    "seeds": 200,
    "act": "relu,tanh",
    "init": "he_normal",
}
"""Two groups of two configurations: 400 cells, each of which takes longer to write than to compute."""

FILLED = "2m"
"""A disk that holds part of the cells."""

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["varprobe.sweeps.sweep"])  # the sweeps start within a second, and are killed at work


@dataclass(frozen=True)
class Finished:
    """A file as it is on disk: a cell that is computed again has another inode or time."""

    inode: int
    written: int
    content: bytes


def sweep_into(folder: Path, options: dict[str, Any], cache: Path, told: Any = None) -> None:
    """Measure into a folder; compiled code is kept in `cache`. What goes wrong goes into the queue `told`."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import jax

    import varprobe

    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    try:
        varprobe.sweep(**options, out=folder)
    except (varprobe.MachineError, varprobe.InvalidArgumentError) as error:
        if told is None:
            raise
        told.put(f"{type(error).__name__}: {error}")


def sweeping(folder: Path, options: dict[str, Any], cache: Path, told: Any = None) -> Any:
    """A process that does so, started."""
    process = processes.Process(target=sweep_into, args=(folder, options, cache, told))
    process.start()
    return process


def finished(folder: Path) -> dict[str, Finished]:
    """The cells of a run that are there."""
    found = {}
    for path in sorted((folder / "cells").glob("[0-9a-f]*.npz")):
        status = path.stat()
        found[path.name] = Finished(status.st_ino, status.st_mtime_ns, path.read_bytes())
    return found


def left_behind(folder: Path) -> list[str]:
    """Files of a run folder that a finished sweep does not have."""
    whole = {"spec.json", "results.nc", "results.csv"}
    files = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return sorted(str(p) for p in files if str(p) not in whole and not (p.parts[0] == "cells" and p.suffix == ".npz"))


def differences(folder: Path, whole: Path) -> list[str]:
    """What of a run is not as in one that was not interrupted, file by file and number by number."""
    import varprobe

    ours, theirs = finished(folder), finished(whole)
    found = [f"{name} is in one of the two" for name in sorted(ours.keys() ^ theirs.keys())]
    found += [f"{n} has other bytes" for n in ours.keys() & theirs.keys() if ours[n].content != theirs[n].content]
    if (folder / "results.csv").read_bytes() != (whole / "results.csv").read_bytes():
        found.append("results.csv has other bytes")
    if not varprobe.open_run(folder).identical(varprobe.open_run(whole)):
        found.append("the dataset has other numbers")
    found += [f"{path} was left" for path in left_behind(folder)]
    return found + [str(finding) for finding in varprobe.verify(folder).findings]


@dataclass(frozen=True)
class Kill:
    """A sweep that was killed, or that was done before.

    Attributes:
        killed: whether it was.
        before, behind: finished cells at its start and at its end.
        again: of those at its start, how many it wrote again, or lost.
        strays: files half written that it left.
    """

    killed: bool
    before: int
    behind: int
    again: int
    strays: int


def wait_for(folder: Path, cells: int, process: Any) -> None:
    """Wait until so many cells are finished, or the process is."""
    while process.is_alive() and len(list((folder / "cells").glob("[0-9a-f]*.npz"))) < cells:
        time.sleep(0.002)


def kill_once(folder: Path, options: dict[str, Any], cache: Path, more: int = 0, after: float = 3600.0) -> Kill:
    """Sweep into a folder, and kill the sweep so many seconds after so many more cells are finished."""
    before = finished(folder)
    process = sweeping(folder, options, cache)
    wait_for(folder, len(before) + more, process)
    process.join(after)
    killed = process.is_alive()
    process.kill()
    process.join()
    if not killed and process.exitcode:
        raise RuntimeError(f"the sweep failed by itself, with exit code {process.exitcode}")
    now = finished(folder)
    again = sum(now.get(name) != file for name, file in before.items())
    return Kill(killed, len(before), len(now), again, len(list(folder.rglob(".*.varprobe.tmp"))))


def killed_and_resumed(
    place: Path, options: dict[str, Any], kills: int, chance: random.Random
) -> Iterator[tuple[Kill, list[str]]]:
    """(a kill, what is wrong) until there were so many; a run that got to its end is compared, and another begun.

    A moment is up to 0.1 s after a random number of further cells, at most an eighth of all; one in six is up to 2 s
    after the start, and of a run that has all cells one is up to 2 s later, when results are written.
    """
    cache, whole = place / "compiled", place / "whole"
    kill_once(whole, options, cache)
    total, number, done = len(finished(whole)), 0, 0
    while done < kills:
        folder = place / f"run{number}"
        missing = total - len(finished(folder))
        early = chance.randrange(6) == 0
        more = 0 if early else chance.randint(0, min(missing, total // 8))
        after = chance.uniform(0, 0.1 if missing and not early else 2)
        kill = kill_once(folder, options, cache, more, after)
        done += kill.killed
        wrong = [f"{kill.again} finished cells were written again"] if kill.again else []
        if not (kill.killed and missing) or done == kills:
            wrong += resumed(folder, place, options)
            number += 1
        yield kill, wrong


def resumed(folder: Path, place: Path, options: dict[str, Any]) -> list[str]:
    """Let a run come to its end; what is wrong then."""
    last = kill_once(folder, options, place / "compiled")
    wrong = [f"{last.again} finished cells were written again"] if last.again else []
    return wrong + differences(folder, place / "whole")


@contextlib.contextmanager
def disk(place: Path, size: str) -> Iterator[Path | None]:
    """A disk of its own, in memory; None where none may be mounted."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    mounted = os.name == "posix" and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield place if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


def fill_and_resume(place: Path, options: dict[str, Any]) -> tuple[str, list[str]]:
    """(what the sweep said of a full disk, what was wrong after there was room again)."""
    with disk(place / "full", FILLED) as folder:
        if folder is None:
            return "not tried: no disk may be mounted here", []
        told = processes.Queue()
        process = sweeping(folder / "run", options, place / "compiled", told)
        process.join()
        said, kept = told.get(timeout=60), finished(folder / "run")
        subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True)
        return f"{said} ({len(kept)} cells kept)", resumed(folder / "run", place, options)


def freeze_and_resume(place: Path, options: dict[str, Any], cells: int) -> tuple[str, list[str]]:
    """(what the sweep said of a disk that became read-only, what was wrong after it could be written again)."""
    with disk(place / "frozen", "1g") as folder:
        if folder is None:
            return "not tried: no disk may be mounted here", []
        told = processes.Queue()
        process = sweeping(folder / "run", options, place / "compiled", told)
        wait_for(folder / "run", cells, process)
        frozen = ["mount", "-o", "remount,ro", str(folder)]
        while subprocess.run(frozen, capture_output=True).returncode:  # busy while a file is open for writing
            time.sleep(0.001)
        process.join()
        said, kept = told.get(timeout=60), finished(folder / "run")
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        return f"{said} ({len(kept)} cells kept)", resumed(folder / "run", place, options)


def main() -> None:
    """Kill, resume, compare, and say so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", type=Path, help="where to sweep; a temporary folder without it")
    given = parser.parse_args()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        place = Path(name)
        print("  kill  cells before  after  written again  half written", flush=True)
        number = 0
        for kill, found in killed_and_resumed(place, OPTIONS, given.kills, random.Random(given.seed)):
            number += kill.killed
            what = f"{number:6}" if kill.killed else "  done"
            row = f"{what}  {kill.before:12}  {kill.behind:5}  {kill.again:13}  {kill.strays:12}"
            print("\n".join([row, *(f"        {text}" for text in found)]), flush=True)
            wrong += found
        for title, (said, found) in (
            ("disk full", fill_and_resume(place, OPTIONS)),
            ("made read-only", freeze_and_resume(place, OPTIONS, 50)),
        ):
            print("\n".join([f"{title}: {said.replace(str(place), '...')}", *(f"        {t}" for t in found)]))
            wrong += found
    print(f"{number} kills: " + (f"{len(wrong)} faults" if wrong else "nothing lost, done twice, or left behind"))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
