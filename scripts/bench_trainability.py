"""Time of a trainability grid against PyTorch, which trains the very same shapes one by one.

PyTorch: `nn.Sequential` of `nn.Linear` and `nn.Tanh` with a read-out, cross entropy, `torch.optim.SGD`, no hooks; with
one thread or two, and with or without `foreach`, whichever is fastest. One net of every depth takes some steps, and is
taken for all nets of its depth and all steps. varprobe: everything that a second grid of these shapes needs (draws,
initialization, training, judgment), on all cores; compilation is told apart. Both in one process, in turn.

    pip install torch==2.13.0
    python scripts/bench_trainability.py [--width 32,64,128] [--steps 200] [--repeats 3]
"""

import time
from dataclasses import replace
from statistics import median

import click
import numpy as np
import torch
from torch import nn

import varprobe as vp
from varprobe.training.batches import lesson
from varprobe.training.request import Training, read_training
from varprobe.training.run import run_training

DEPTHS = list(range(10, 101, 10))
SIGMA_W2 = np.linspace(1, 4, 13).tolist()
TIMED = 30
"""Steps of PyTorch that are timed, after five."""


def torch_net(depth: int, width: int, inputs: int, classes: int, sigma_w2: float) -> nn.Sequential:
    """A stack, built and initialized."""
    layers: list[nn.Module] = []
    for fan_in in [inputs] + [width] * (depth - 1):
        linear = nn.Linear(fan_in, width)
        nn.init.normal_(linear.weight, std=(sigma_w2 / fan_in) ** 0.5)
        nn.init.normal_(linear.bias, std=0.05**0.5)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(width, classes))


def torch_seconds(depth: int, width: int, x: torch.Tensor, y: torch.Tensor, foreach: bool) -> tuple[float, float]:
    """(to build a net, of one step)."""
    start = time.perf_counter()
    net = torch_net(depth, width, x.shape[1], 10, 2.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, foreach=foreach)
    built = time.perf_counter() - start
    for step in range(5 + TIMED):
        if step == 5:
            start = time.perf_counter()
        rows = torch.arange(16 * step, 16 * step + 16) % len(x)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
    return built, (time.perf_counter() - start) / TIMED


def torch_grid(training: Training, width: int) -> tuple[float, float, str]:
    """(seconds that the whole grid takes, of these building, with what settings)."""
    config = training.request.configs[0]
    given = lesson(config, training.request.setting, 0, 1)
    x, y = torch.tensor(np.array(given.x)), torch.tensor(np.array(given.target), dtype=torch.long)
    found = []
    for threads in (1, 2):
        for foreach in (False, True):
            torch.set_num_threads(threads)
            each = [torch_seconds(depth, width, x, y, foreach) for depth in DEPTHS]
            building, stepping = (len(SIGMA_W2) * sum(column) for column in zip(*each, strict=True))
            text = f"{threads} thread{'s' * (threads > 1)}{', foreach' * foreach}"
            found.append((building + training.steps * stepping, building, text))
    return min(found)


def our_seconds(training: Training, root_seed: int) -> float:
    """Of a grid with other draws."""
    setting = replace(training.request.setting, root_seed=root_seed)
    start = time.perf_counter()
    run_training(replace(training, request=replace(training.request, setting=setting)))
    return time.perf_counter() - start


def compare(width: int, steps: int, repeats: int) -> None:
    """Print one line."""
    training = read_training(
        "trainability", act="tanh", depth=DEPTHS, sigma_w2=SIGMA_W2, sigma_b2=0.05, width=width, batch=16, steps=steps,
        seeds=1, at=(), optimizer="sgd(lr=0.01)",
    )  # fmt: skip
    first = our_seconds(training, 0)
    pairs = [(our_seconds(training, i + 1), torch_grid(training, width)) for i in range(repeats)]
    ours, theirs, building = (median(c) for c in zip(*((o, t[0], t[1]) for o, t in pairs), strict=True))
    ratio = median(t[0] / o for o, t in pairs)
    with_compiling = theirs / first
    print(
        f"width {width:4d}: varprobe {ours:6.1f} s (compiling {first - ours:.1f} s more), PyTorch {theirs:6.1f} s, "
        f"{building:.1f} s of it building ({pairs[0][1][2]}): {ratio:.1f} times less "
        f"({with_compiling:.1f} with compiling, {(theirs - building) / ours:.1f} without PyTorch's building)",
        flush=True,
    )


@click.command()
@click.option("--width", default="32,64,128")
@click.option("--steps", default=200)
@click.option("--repeats", default=3)
def main(width: str, steps: int, repeats: int) -> None:
    """Compare at every width."""
    nets = len(DEPTHS) * len(SIGMA_W2)
    print(f"varprobe {vp.__version__}, torch {torch.__version__}: {nets} tanh nets of depth 10 to 100, {steps} steps")
    for w in width.split(","):
        compare(int(w), steps, repeats)


if __name__ == "__main__":
    main()
