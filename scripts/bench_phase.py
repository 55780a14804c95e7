"""Seconds for the theory of a 50 x 50 phase diagram, after a first one has compiled the activation.

Usage: python scripts/bench_phase.py [--act tanh,relu,gelu,selu,hard_tanh]
"""

import time

import click
import numpy as np

from varprobe.theory import phase_grid
from varprobe.theory.phase_diagram import phase_diagram


@click.command()
@click.option("--act", default="tanh,relu,gelu,selu,hard_tanh,softplus,sigmoid")
def main(act: str) -> None:
    for name in act.split(","):
        start = time.perf_counter()
        diagram = phase_diagram(name)
        first = time.perf_counter() - start
        times = []
        for repeat in range(3):  # other points each time, so that nothing is found done
            start = time.perf_counter()
            phase_grid(name, diagram.grid.sigma_w2 * (1 + 1e-6 * (repeat + 1)), diagram.grid.sigma_b2)
            times.append(time.perf_counter() - start)
        print(f"{name:10s} grid {np.median(times):5.2f} s; whole diagram, first time {first:5.2f} s", flush=True)


if __name__ == "__main__":
    main()
