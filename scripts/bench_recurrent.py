"""Time per recurrent net against PyTorch hooks, on the default grid: 11 initializers, 8 seeds, depth 100, width 256.

PyTorch: the cell of torch.nn in a loop over the steps, with a forward hook on the cell and a gradient hook on every
state (h, and c of the LSTM), which record mean and variance, and mean and variance of every weight gradient. The time
of varprobe includes its draws, and leaves out compilation, which is told apart. Both run in one process, in turn, on
all cores; medians are printed.

    pip install torch==2.13.0
    python scripts/bench_recurrent.py [--arch rnn,lstm,gru] [--batch 16] [--repeats 3]
"""

import time
from statistics import median

import click
import torch
from bench_torch import sweep_seconds
from torch import nn

import varprobe as vp
from varprobe.engine.groups import groups_of
from varprobe.sweeps.request import read_request

CELLS = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}


def torch_seconds(arch: str, depth: int, width: int, batch: int) -> float:
    """Seconds for one net, without building it."""
    cell = CELLS[arch](width, width)
    record: list[torch.Tensor] = []

    def keep(t: torch.Tensor) -> None:
        record.append(torch.stack(torch.var_mean(t.detach())))

    def seen(module: nn.Module, inputs: tuple, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        for state in output if isinstance(output, tuple) else (output,):
            keep(state)
            state.register_hook(keep)

    cell.register_forward_hook(seen)
    start = time.perf_counter()
    x = torch.randn(depth, batch, width)
    zero = torch.zeros(batch, width)
    state = (zero, zero) if arch == "lstm" else zero
    for t in range(depth):
        state = cell(x[t], state)
    h = state[0] if arch == "lstm" else state
    (h * torch.randn_like(h)).sum().backward()
    for p in cell.parameters():
        keep(p.grad)
    torch.stack(record).numpy()
    return time.perf_counter() - start


def compare(arch: str, batch: int, depth: int, width: int, seeds: int, repeats: int) -> None:
    """Print one line."""
    request = read_request(arch=arch, act="tanh", batch=batch, depth=depth, width=width, seeds=seeds)
    groups = groups_of(list(request.configs), request.setting)
    nets = len(request.configs) * seeds
    start = time.perf_counter()
    sweep_seconds(request, groups, 0)
    first = time.perf_counter() - start
    torch_seconds(arch, depth, width, batch)
    ours, theirs = [], []
    for i in range(repeats):
        ours.append(sweep_seconds(request, groups, 100 * i) / nets)
        theirs.append(median(torch_seconds(arch, depth, width, batch) for _ in range(4)))
    ratio = median(t / o for t, o in zip(theirs, ours, strict=True))
    print(
        f"{arch:4s} batch {batch:4d}: varprobe {median(ours) * 1e3:6.2f} ms a net (compile "
        f"{first - median(ours) * nets:.1f} s), PyTorch {median(theirs) * 1e3:6.1f} ms: {ratio:.1f} times less",
        flush=True,
    )


@click.command()
@click.option("--arch", default="rnn,lstm,gru")
@click.option("--batch", default="16")
@click.option("--depth", default=100)
@click.option("--width", default=256)
@click.option("--seeds", default=8)
@click.option("--repeats", default=3)
def main(arch: str, batch: str, depth: int, width: int, seeds: int, repeats: int) -> None:
    """Compare every architecture and batch."""
    print(f"varprobe {vp.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for a in arch.split(","):
        for b in batch.split(","):
            compare(a, int(b), depth, width, seeds, repeats)


if __name__ == "__main__":
    main()
