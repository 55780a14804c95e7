"""Kill commands before every change that they make to files, and run them again: do they come to the same files?

    python scripts/kill_every_write.py [COMMAND ...] [--every N]
    python scripts/kill_every_write.py --starters 100 [--delay 0.02]
    python scripts/kill_every_write.py --pairs 50

The first kills (SIGKILL) a process before its change 1, 2, 3, ... and runs the same command again. A fault is an exit
code other than 0, a file that is missing, left over or other than those of a run that nobody killed, or a finished task
that is computed again. The second starts processes of one sweep within 5 seconds in one folder, each fsync delayed by
about so many seconds: all must end with 0. The third starts pairs of different sweeps in one folder at once: one must
end with 0, the other with 2, and the figure must be that of the first. Exits with 1 if there is a fault.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SMALL = "--depth 2 --width 4 --batch 4 --seeds 2 --quiet"
COMMANDS = {
    "sweep": f"sweep --init he_normal,glorot_normal {SMALL} --correlation 0.5 --out run",
    "phase": "phase --act tanh --measure --sigma-w2 1:2:2 --sigma-b2 0:1:2 --depth 2 --width 4 --seeds 1 --quiet"
    " --out run",
    "track": f"track --init he_normal {SMALL} --steps 2 --out run",
    "trainability": f"trainability --init he_normal {SMALL} --steps 2 --out run",
    "coord-check": "coord-check --widths 8,16 --depth 2 --steps 1 --seeds 2 --out run --quiet",
    "probe": "probe net.py:make --seeds 2 --out run --quiet",
    "rerun": "rerun base --quiet",
    "plot": "plot base --save figure.pdf",
    "report": "report base --save report.html",
    **{f"export {kind}": f"export base --save table.{kind}" for kind in ("csv", "json", "nc", "md", "tex")},
    "export tb": "export base --save tb:logs",
}
"""Name -> command line; `base` is a finished sweep and `net.py` a model, both in the current folder."""

MODEL = """
import jax
import jax.numpy as jnp

def make(key):
    keys = jax.random.split(key, 4)
    weights = [jax.random.normal(k, (4, 4)) / 2 for k in keys[:2]]
    x, y = (jax.random.normal(k, (8, 4)) for k in keys[2:])

    def loss(p, x, y):
        for w in p:
            x = jnp.tanh(x @ w)
        return jnp.square(x - y).mean()

    return loss, weights, x, y
"""

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
VOLATILE = ("spec.json", "events.")
"""Beginnings of names of files that hold random marks or times: that they are there is enough."""

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    ["varprobe.cli.sweep", "varprobe.sweeps.sweep", "varprobe.plots", "varprobe.training.run"]
)


def run(line: str, folder: Path, cache: Path, last: int, delay: float, count: Any) -> None:
    """Run a command line in a folder, and die before change number `last`; `count` has the number of changes."""
    os.chdir(folder)
    os.environ |= {"XDG_CACHE_HOME": str(cache), "TF_CPP_MIN_LOG_LEVEL": "3"}
    for number in (1, 2):
        os.dup2(os.open(folder.with_suffix(f".{number}"), os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    here, fsync = str(folder), os.fsync

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if (writes or event in CHANGES) and isinstance(arguments[0], str | os.PathLike):
            if os.path.abspath(arguments[0]).startswith(here):
                count.value += 1
                if count.value == last:
                    os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    os.fsync = lambda descriptor: (time.sleep(random.random() * 2 * delay), fsync(descriptor))[1]
    from varprobe.__main__ import main

    main(line.split())


def start(line: str, folder: Path, cache: Path, last: int = 0, delay: float = 0.0) -> tuple[Any, Any]:
    """(process, its number of changes), started."""
    count = processes.Value("i", 0)
    process = processes.Process(target=run, args=(line, folder, cache, last, delay, count))
    process.start()
    return process, count


def ended(line: str, folder: Path, cache: Path, last: int = 0) -> tuple[int, int]:
    """(exit code, number of changes) of a command."""
    process, count = start(line, folder, cache, last)
    process.join()
    return process.exitcode, count.value


def contents(folder: Path) -> dict[str, bytes]:
    """The files in a folder; folders end with a slash."""
    return {
        str(path.relative_to(folder)) + "/" * path.is_dir(): b"" if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts
    }


def tasks(folder: Path) -> dict[Path, tuple[int, int]]:
    """The files of finished tasks; one that is written again has another inode or time."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("[0-9a-f]*.npz")}


def differences(found: dict[str, bytes], whole: dict[str, bytes]) -> list[str]:
    """What is not as in a folder where nothing was killed."""
    names = {("events" if "events." in name else name) for name in found}
    wanted = {("events" if "events." in name else name) for name in whole}
    faults = [f"{name} is missing" for name in sorted(wanted - names)]
    faults += [f"{name} is left over" for name in sorted(names - wanted)]
    same = [name for name in found.keys() & whole.keys() if not Path(name).name.startswith(VOLATILE)]
    return faults + [f"{name} has other bytes" for name in sorted(same) if found[name] != whole[name]]


def kill_everywhere(name: str, place: Path, cache: Path, every: int) -> tuple[int, list[str]]:
    """(kills, faults) of a command that is killed before every change."""
    base, line = place / "base", COMMANDS[name]
    whole = Path(shutil.copytree(base, place / "whole"))
    code, changes = ended(line, whole, cache)
    expected, faults, kills = contents(whole), [], 0
    shutil.rmtree(whole)
    if code:
        return 0, [f"{line}: exit code {code}: {whole.with_suffix('.2').read_text()}"]
    for last in range(1, changes + 1, every):
        folder = Path(shutil.copytree(base, place / "killed"))
        code, _ = ended(line, folder, cache, last)
        if code == -signal.SIGKILL:
            kills += 1
            before = tasks(folder)
            code, _ = ended(line, folder, cache)
            after = tasks(folder)
            found = differences(contents(folder), expected) + [f"exit code {code}"] * bool(code)
            found += ["a finished task was computed again"] * any(after.get(p, s) != s for p, s in before.items())
            faults += [f"{name}, before change {last} of {changes}: {fault}" for fault in found]
        shutil.rmtree(folder)
    return kills, faults


def start_many(place: Path, cache: Path, count: int, delay: float) -> list[str]:
    """Faults of processes that start together."""
    whole, folder = (Path(shutil.copytree(place / "base", place / name)) for name in ("whole", "together"))
    line = COMMANDS["sweep"].replace("--seeds 2", "--seeds 40")
    ended(line, whole, cache)
    started = []
    for _ in range(count):
        started.append(start(line, folder, cache, delay=delay))
        time.sleep(5 / count)
    for process, _ in started:
        process.join()
    faults = [f"exit code {process.exitcode}" for process, _ in started if process.exitcode]
    return faults + differences(contents(folder), contents(whole))


def start_pairs(place: Path, cache: Path, count: int) -> list[str]:
    """Faults of pairs of different requests in one folder."""
    from varprobe.storage.figure_origin import origin_of
    from varprobe.storage.records import read_values

    faults = []
    for i in range(count):
        folder = Path(shutil.copytree(place / "base", place / f"pair{i}"))
        lines = [f"{COMMANDS['sweep']} --root-seed {seed}" for seed in (0, 1)]
        both = [start(line, folder, cache) for line in lines]
        for process, _ in both:
            process.join()
        codes = sorted(process.exitcode for process, _ in both)
        if codes != [0, 2]:
            faults.append(f"pair {i}: exit codes {codes}")
        elif origin_of(folder / "run" / "variance.png")["runs"] != [read_values(folder / "run")["spec"]]:
            faults.append(f"pair {i}: the figure is of the other run")
        shutil.rmtree(folder)
    return faults


def main() -> int:
    """Kill, compare and say what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=f"of {', '.join(COMMANDS)}")
    parser.add_argument("--every", type=int, default=1, help="kill before every N-th change only")
    parser.add_argument("--starters", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="mean delay of an fsync, in seconds")
    parser.add_argument("--pairs", type=int, default=0)
    options = parser.parse_args()
    faults = []
    with tempfile.TemporaryDirectory() as text:
        place, cache = Path(text), Path(text, "cache")
        (place / "base").mkdir()
        (place / "base" / "net.py").write_text(MODEL)
        ended(COMMANDS["sweep"].replace("--out run", "--out base"), place / "base", cache)
        if options.starters:
            faults += start_many(place, cache, options.starters, options.delay)
            print(f"{options.starters} starters, fsync delayed by {options.delay} s: {len(faults)} faults")
        if options.pairs:
            faults += start_pairs(place, cache, options.pairs)
            print(f"{options.pairs} pairs: {len(faults)} faults")
        if not options.starters and not options.pairs:
            for name in options.commands or COMMANDS:
                kills, found = kill_everywhere(name, place, cache, options.every)
                faults += found
                print(f"{name}: {kills} kills, {len(found)} faults", flush=True)
    for fault in faults:
        print(fault)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
