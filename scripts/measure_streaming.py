"""Measure what results larger than memory cost: filled, saved, opened, judged and exported under a limit of memory.

    python scripts/measure_streaming.py FOLDER [CONFIGS] [LIMIT_MB]

The numbers are random and lie in FOLDER. The limit is on what the process reserves beyond what its libraries took at
the start; pages of files, which the system takes back as it needs, do not count. Printed are seconds and the most own
memory while each step ran.
"""

import argparse
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import varprobe as vp
from varprobe.storage import memory
from varprobe.storage.files import open_dataset, save_dataset
from varprobe.sweeps.assemble import dataset
from varprobe.sweeps.record import fill
from varprobe.sweeps.request import read_request

SEEDS, DEPTH, CELL = 8, 50, 500


def own_bytes(which: str = "RssAnon") -> int:
    """What the process has of its own: used (RssAnon) or reserved (VmData)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(which)))


@contextmanager
def measured(what: str) -> Iterator[None]:
    """Print a step's seconds and peak."""
    peak, done, start = own_bytes(), threading.Event(), time.monotonic()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.05):
            peak = max(peak, own_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        print(f"{what:32} {time.monotonic() - start:8.1f} s {peak / 1e6:8.0f} MB", flush=True)


def main(folder: Path, configs: int, limit: int) -> None:
    """Run every step."""
    request = read_request(
        act="relu", depth=DEPTH, width=64, seeds=SEEDS, init=[f"normal(std={i + 1}e-6)" for i in range(configs)]
    )
    most = own_bytes("VmData") + limit
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    memory.free_bytes = lambda: max(0, limit - own_bytes())
    rng = np.random.default_rng(0)
    with measured("frame on disk"):
        ds = dataset(request, folder)
    print(
        f"{configs} configurations, {SEEDS} seeds, depth {DEPTH}: {ds.nbytes / 1e9:.1f} GB under {limit / 1e9:.1f} GB"
    )
    with measured("filled cell by cell"):
        for seed in range(SEEDS):
            for start in range(0, configs, CELL):
                cell = tuple(range(start, min(start + CELL, configs)))
                table = {str(name): rng.standard_normal((len(cell), DEPTH + 1)) for name in ds.data_vars}
                fill(ds, cell, seed, table)
    with measured("results.nc"):
        digest = save_dataset(folder / "results.nc", ds)
    with measured("opened lazily"):
        lazy = open_dataset(folder / "results.nc", digest, chunks={})
    with measured("one variable's mean over seeds"):
        lazy["gradient_log10_mean_square"].mean("seed").compute()
    some = lazy.isel(config=slice(0, configs, 10))
    with measured("verdicts on a tenth"):
        vp.diagnose(some)
    for ending in ("parquet", "csv", "json", "nc"):
        with measured(f"a tenth as .{ending}"):
            vp.export(some, folder / f"some.{ending}")
    with measured("all as .parquet"):
        vp.export(lazy, folder / "all.parquet")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("configs", type=int, nargs="?", default=10_000)
    arguments.add_argument("limit_mb", type=int, nargs="?", default=600)
    given = arguments.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    main(given.folder, given.configs, given.limit_mb * 10**6)
