"""How close a sweep comes to the bare arithmetic that it cannot avoid.

The floor is what the nets that must be computed need whatever the program around them does: per layer one product
forward, one backward, the two Gram matrices (the cheaper way to the weight-gradient moments), and one set of base draws
per seed and layer. Activations, moments, normalization, keeping and reading back are overhead. Both run on the same
worker threads in the same process, in turn; the median ratio is printed.

    python scripts/bench_floor.py [--act relu,gelu] [--batch 32,64] [--repeats 5]
"""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

import click
import jax
import jax.numpy as jnp
from jax import lax

from varprobe.engine.compile import Worker, teams
from varprobe.engine.groups import groups_of
from varprobe.engine.inputs import arguments
from varprobe.engine.program import Program
from varprobe.engine.random_bits import layer_keys
from varprobe.engine.weight_bases import Draw, Orthogonal
from varprobe.sweeps.request import read_request

OPTIONS = {"xla_cpu_multi_thread_eigen": False}


def floor(program: Program, running: jax.Array, key: jax.Array) -> jax.Array:
    """Products and draws of one cell, and nothing else."""
    (segment,) = program.segments
    width, batch = segment.fan_out, program.batch
    bases = program.bases(0)

    def draw(key: jax.Array) -> list[jax.Array]:
        source = Draw(key, (width, width), 1, program.depth, jnp.dtype("float32"), running)
        drawn = [source.normal if isinstance(b, Orthogonal) else b.draw(source) for b in bases]
        return drawn

    def step(hs: list[jax.Array], key: jax.Array) -> tuple[list[jax.Array], None]:
        matrices = draw(key)
        new = []
        for h, w in zip(hs, matrices, strict=True):
            up = h @ w
            down = up @ w.T
            grams = []
            for m in (h, up):
                nets = m.reshape(-1, batch, width)
                grams.append(jnp.einsum("nbu,ncu->nbc", nets, nets))
            grams, down = lax.optimization_barrier((grams, down))
            new.append(down + 1e-30 * sum(g[0, 0, 0] for g in grams))
        return new, None

    nets = [base for block in program.blocks for base in block.weights[0]]
    hs = [jnp.full((nets.count(base) * batch, width), 1e-3) for base in bases]
    return lax.scan(step, hs, layer_keys(key, 1, program.depth))[0]


def timed(call, cells: int, pool: ThreadPoolExecutor) -> float:
    """Seconds for all cells on all workers."""
    start = time.perf_counter()
    list(pool.map(lambda seed: jax.block_until_ready(call(seed)), range(cells)))
    return time.perf_counter() - start


def compare(act: str, batch: int, width: int, depth: int, seeds: int, repeats: int) -> None:
    """Print one line."""
    request = read_request(act=act, batch=batch, width=width, depth=depth, seeds=seeds)
    (group,) = groups_of(list(request.configs), request.setting)
    device = jax.devices()[0]
    inputs = [jax.device_put(arguments(group, request.setting, seed), device) for seed in range(seeds)]
    start = time.perf_counter()
    free = [Worker(devices) for devices in teams()]
    free[0].run(group.program, inputs[:1])
    compile_s = time.perf_counter() - start
    bare = jax.jit(partial(floor, group.program)).lower(*inputs[0][:2]).compile(compiler_options=OPTIONS)
    pool = ThreadPoolExecutor(len(free))

    def cell(seed: int) -> object:
        worker = free.pop()
        statistics = worker.run(group, [inputs[seed]])
        free.append(worker)
        return statistics

    runs = {"cell": cell, "floor": lambda s: bare(*inputs[s][:2])}
    for call in runs.values():
        timed(call, seeds, pool)
    times = {name: [] for name in runs}
    for _ in range(repeats):
        for name, call in runs.items():
            times[name].append(timed(call, seeds, pool))
    ratio = median(f / c for f, c in zip(times["floor"], times["cell"], strict=True))
    nets = len(request.configs) * seeds
    print(
        f"{act:6s} batch {batch:4d} width {width} depth {depth}: {median(times['cell']) / nets * 1e3:6.2f} ms a net "
        f"({sum(b.nets for b in group.program.blocks)} computed of {len(request.configs)}), "
        f"floor {median(times['floor']) / nets * 1e3:6.2f} ms; {ratio:.2f} of the floor's speed; "
        f"compiled in {compile_s:.1f} s",
        flush=True,
    )


@click.command()
@click.option("--act", default="relu,gelu")
@click.option("--batch", default="32,64")
@click.option("--width", default=512)
@click.option("--depth", default=50)
@click.option("--seeds", default=4)
@click.option("--repeats", default=3)
def main(act: str, batch: str, width: int, depth: int, seeds: int, repeats: int) -> None:
    """Compare every activation and batch with its floor."""
    for a in act.split(","):
        for b in batch.split(","):
            compare(a, int(b), width, depth, seeds, repeats)


if __name__ == "__main__":
    main()
