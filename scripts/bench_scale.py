"""How a sweep scales: throughput against workers, what a scheduler costs a cell, and what a large sweep would take.

    python scripts/bench_scale.py                     all of it, some ten minutes on two cores
    python scripts/bench_scale.py --part overhead     one part: throughput, weak, overhead

Workers are processes of one core that Dask schedules (`--dask local`), or the same number of sweeps on their own.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from varprobe.engine.groups import groups_of
from varprobe.sweeps import pool_executor
from varprobe.sweeps.dask_executor import local_cluster
from varprobe.sweeps.pickling import packed
from varprobe.sweeps.pool_executor import PoolCellExecutor
from varprobe.sweeps.queue import CellTask
from varprobe.sweeps.request import Request, read_request
from varprobe.sweeps.resources import Resources
from varprobe.sweeps.sweep import run

USUAL = {"depth": 30, "width": 256, "act": "tanh", "sigma_w2": "1:3:40"}
"""Forty nets a cell."""

TINY = {"depth": 2, "width": 4, "act": "tanh", "init": "he_normal", "batch": 2}

ALONE = """
import sys, time
from varprobe.sweeps.request import read_request
from varprobe.sweeps.resources import Resources
from varprobe.sweeps.sweep import run
arguments = {arguments!r}
run(read_request(**arguments | {{"seeds": 1}}), resources=Resources(devices=1))
print("ready", flush=True)
sys.stdin.readline()
start = time.perf_counter()
run(read_request(**arguments), resources=Resources(devices=1))
print(time.perf_counter() - start, flush=True)
"""


@contextmanager
def executor_of(workers: int, request: Request) -> Iterator[PoolCellExecutor]:
    """So many local processes, each of which has compiled what the request needs."""
    from distributed import Client

    with local_cluster(workers) as local, Client(local, set_as_default=False) as client:
        executor = PoolCellExecutor(client.get_executor(pure=False), None, lambda: workers)
        for group in groups_of(list(request.configs), request.setting):
            parcel = packed(pool_executor.Batch((CellTask(group, 0),), request.setting, executor.versions()))
            client.gather(
                [client.submit(pool_executor.work, parcel, workers=[w], pure=False) for w in client.nthreads()]
            )
        yield executor


def timed(executor: PoolCellExecutor, request: Request, out: Path | None = None) -> float:
    """Seconds of a sweep."""
    start = time.perf_counter()
    run(request, out=out, resources=Resources(executor=executor))
    return time.perf_counter() - start


def throughput(most: int, seeds: int) -> dict[int, float]:
    """Cells a second against the number of workers."""
    found = {}
    request = read_request(**USUAL, seeds=seeds)
    for workers in range(1, most + 1):
        with executor_of(workers, request) as executor:
            found[workers] = seeds / min(timed(executor, request) for _ in range(2))
        ratio = found[workers] / found[1]
        print(f"{workers} worker{'s' if workers > 1 else ' '}: {found[workers]:7.2f} cells/s, {ratio:.2f} times one")
    return found


def weak(count: int, seeds: int) -> None:
    """Weak scaling: so many workers with a share each, against as many processes that know nothing of each other."""
    request = read_request(**USUAL, seeds=count * seeds)
    with executor_of(count, request) as executor:
        together = min(timed(executor, request) for _ in range(2))
    code = ALONE.format(arguments=USUAL | {"seeds": seeds})
    alone = []
    for _ in range(2):
        command = [sys.executable, "-c", code]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        processes = [subprocess.Popen(command, **pipes) for _ in range(count)]
        for process in processes:
            process.stdout.readline()
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        alone.append(max(float(process.stdout.readline()) for process in processes))
    best = min(alone)
    print(f"weak scaling: {count} workers {together:.2f} s, {count} independent processes {best:.2f} s for the same")
    print(f"cells; efficiency {best / together:.2f} of what independent processes reach")


def overhead(cells: int, workers: int) -> float:
    """Seconds that scheduler, transport and files cost a cell, with tiny cells."""
    request = read_request(**TINY, seeds=cells)
    few = read_request(**TINY, seeds=max(100, cells // 20))
    run(read_request(**TINY, seeds=1), resources=Resources(devices=1))
    start = time.perf_counter()
    run(few, resources=Resources(devices=1))
    alone = (time.perf_counter() - start) / few.setting.seeds
    with executor_of(workers, request) as executor:
        seconds = timed(executor, request)
        with tempfile.TemporaryDirectory() as folder:
            kept = timed(executor, few, Path(folder) / "run") / few.setting.seeds
    each = seconds / cells - alone / workers
    print(f"{cells} tiny cells: {alone * 1e3:.2f} ms a cell in one process without a scheduler,")
    print(f"{seconds / cells * 1e3:.2f} ms a cell with {workers} workers: {each * 1e6:.0f} us a cell for the scheduler")
    print(f"{kept * 1e3:.2f} ms a cell where each is a file, flushed")
    return each


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["throughput", "weak", "overhead"])
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seeds", type=int, default=48, help="cells of the usual size")
    parser.add_argument("--cells", type=int, default=100_000, help="tiny cells")
    asked = parser.parse_args()
    rate = cost = None
    if asked.part in (None, "throughput"):
        rate = throughput(asked.workers, asked.seeds)
    if asked.part in (None, "weak"):
        weak(asked.workers, asked.seeds // 2)
    if asked.part in (None, "overhead"):
        cost = overhead(asked.cells, asked.workers)
    if rate and cost is not None:
        million, hosts, cores = 1e6, 100, 16
        compute, schedule = million / (rate[1] * hosts * cores) / 60, million * max(cost, 0) / 60
        print(f"on paper, 10^6 cells of this size on {hosts} hosts of {cores} such cores: {compute:.0f} min to compute")
        print(f"them and {schedule:.0f} min of one scheduler, which go on at once: {max(compute, schedule):.0f} min")


if __name__ == "__main__":
    main()
