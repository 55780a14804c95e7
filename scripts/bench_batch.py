"""Which batch gives the smallest standard error of the factors per second? The answer is the default of --batch.

For each batch: seconds a seed of the default sweep, the standard error of log10 of both factors that one seed brings
(standard deviation over seeds of the slope, averaged over initializers), and se * sqrt(seconds): the error after one
second of work. The smallest wins.

    python scripts/bench_batch.py [--act relu,gelu] [--batches 8,16,32,64,128] [--seeds 32]
"""

import time

import click
import numpy as np

from varprobe.engine.groups import groups_of
from varprobe.sweeps.local_executor import LocalCellExecutor
from varprobe.sweeps.queue import CellTask, Queue
from varprobe.sweeps.request import read_request
from varprobe.verdict.rates import slopes


def measure(act: str, batch: int, seeds: int) -> tuple[float, float, float]:
    """(seconds a seed, error of the forward slope, of the backward slope) for one seed."""
    request = read_request(act=act, batch=batch, seeds=seeds)
    (group,) = groups_of(list(request.configs), request.setting)
    list(LocalCellExecutor().run(Queue.of([CellTask(group, 0)]), request.setting))
    start = time.perf_counter()
    items = Queue.of(CellTask(group, seed) for seed in range(seeds))
    tables = [table for _, table in LocalCellExecutor().run(items, request.setting)]
    seconds = (time.perf_counter() - start) / seeds
    errors = []
    for name in ("activation_log10_mean_square", "gradient_log10_mean_square"):
        values = np.stack([t[name][:, 1:] for t in tables], axis=1)
        errors.append(np.mean([slopes(v).std(ddof=1) for v in values]))
    return seconds, errors[0], errors[1]


@click.command()
@click.option("--act", default="relu,gelu")
@click.option("--batches", default="8,16,32,64,128")
@click.option("--seeds", default=32)
def main(act: str, batches: str, seeds: int) -> None:
    """Print a table."""
    for a in act.split(","):
        for b in batches.split(","):
            seconds, forward, backward = measure(a, int(b), seeds)
            print(
                f"{a:6s} batch {b:>4s}: {seconds * 1e3:7.1f} ms a seed; error of log10 factor forward {forward:.5f}, "
                f"backward {backward:.5f}; after one second {forward * seconds**0.5:.6f} {backward * seconds**0.5:.6f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
