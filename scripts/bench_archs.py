"""Time per net against PyTorch hooks, for every architecture, on a grid of four initializers and four seeds.

PyTorch: one net at a time, with a forward hook and a full backward hook on every block and every module with weights,
which record mean and variance of what passes, and mean and variance of every weight gradient. Its time includes
building and initializing the net, as varprobe's includes its draws; compilation is told apart. Both run in one process,
in turn, on all cores; medians are printed.

    pip install torch==2.13.0
    python scripts/bench_archs.py [--only residual,transformer] [--repeats 3]
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import click
import torch
from torch import Tensor, nn

import varprobe as vp
from varprobe.engine.groups import groups_of
from varprobe.sweeps.local_executor import LocalCellExecutor
from varprobe.sweeps.queue import CellTask, Queue
from varprobe.sweeps.request import read_request

INITS = "he_normal,lecun_normal,glorot_normal,normal(std=0.02)"
SEEDS = 4


class Residual(nn.Module):
    """x + V relu(W x)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(width, width, False), nn.ReLU(), nn.Linear(width, width, False))

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        return x + self.branch(x)


class Attention(nn.Module):
    """Pre-LN attention and MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, False) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width, False), nn.ReLU(), nn.Linear(4 * width, width, False))

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        h = self.first(x)
        split = lambda t: t.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731
        mixed = nn.functional.scaled_dot_product_attention(split(self.q(h)), split(self.k(h)), split(self.v(h)))
        x = x + self.o(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.second(x))


class Recurrent(nn.Module):
    """A cell over time, unrolled, so that each state can be hooked."""

    def __init__(self, cell: nn.Module, gated: bool) -> None:
        super().__init__()
        self.cell, self.gated = cell, gated

    def forward(self, x: Tensor) -> Tensor:
        """The last state."""
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return state[0] if self.gated else state


def stack(depth: int, block: Callable[[], nn.Module]) -> nn.Module:
    """So many blocks."""
    return nn.Sequential(*(block() for _ in range(depth)))


@dataclass(frozen=True)
class Case:
    """A sweep, and the same net in PyTorch: how to build it, and the shape of a sample."""

    sweep: dict[str, Any]
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batch: int = 16


def linear_layers(width: int, norm: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Linear, norm, ReLU."""
    return lambda: nn.Sequential(nn.Linear(width, width, False), norm(), nn.ReLU())


CASES = {
    "plain(order=pre)": Case(
        {"arch": "plain(order=pre)", "depth": 50, "width": 512},
        lambda: stack(50, lambda: nn.Sequential(nn.ReLU(), nn.Linear(512, 512, False))),
        (512,),
    ),
    "batch norm": Case(
        {"norm": "batch", "depth": 50, "width": 512},
        lambda: stack(50, linear_layers(512, lambda: nn.BatchNorm1d(512))),
        (512,),
    ),
    "layer norm": Case(
        {"norm": "layer", "depth": 50, "width": 512},
        lambda: stack(50, linear_layers(512, lambda: nn.LayerNorm(512))),
        (512,),
    ),
    "residual": Case({"arch": "residual", "depth": 50, "width": 512}, lambda: stack(50, lambda: Residual(512)), (512,)),
    "conv": Case(
        {"arch": "conv(kernel=3,dims=2,size=16)", "depth": 20, "width": 64},
        lambda: stack(
            20,
            lambda: nn.Sequential(nn.Conv2d(64, 64, 3, padding=1, padding_mode="circular", bias=False), nn.ReLU()),
        ),
        (64, 16, 16),
    ),
    "transformer": Case(
        {"arch": "transformer(heads=8,tokens=64)", "depth": 12, "width": 256, "batch": 8},
        lambda: stack(12, lambda: Attention(256, 8)),
        (64, 256),
        8,
    ),
    "rnn": Case(
        {"arch": "rnn", "act": "tanh", "depth": 100, "width": 256},
        lambda: Recurrent(nn.RNNCell(256, 256, False), False),
        (100, 256),
    ),
    "lstm": Case(
        {"arch": "lstm", "act": "tanh", "depth": 100, "width": 256},
        lambda: Recurrent(nn.LSTMCell(256, 256, False), True),
        (100, 256),
    ),
    "gru": Case(
        {"arch": "gru", "act": "tanh", "depth": 100, "width": 256},
        lambda: Recurrent(nn.GRUCell(256, 256, False), False),
        (100, 256),
    ),
}


def torch_seconds(case: Case) -> float:
    """Seconds for one net, from building it to its statistics."""
    start = time.perf_counter()
    record: list[Tensor] = []

    def keep(found: Any) -> None:
        for t in found if isinstance(found, tuple) else (found,):
            if t is not None:
                record.append(torch.stack(torch.var_mean(t.detach())))

    net = case.build()
    for p in net.parameters():
        if p.ndim > 1:
            nn.init.kaiming_normal_(p)
    for module in net.modules():
        if module is not net:
            module.register_forward_hook(lambda m, i, o: keep(o))
            module.register_full_backward_hook(lambda m, gi, go: keep(go))
    x = torch.randn(case.batch, *case.shape, requires_grad=True)
    out = net(x)
    (out * torch.randn_like(out)).sum().backward()
    for p in net.parameters():
        record.append(torch.stack(torch.var_mean(p.grad)))
    torch.stack(record).numpy()
    return time.perf_counter() - start


def compare(name: str, case: Case, repeats: int) -> None:
    """Print one line."""
    request = read_request(**({"init": INITS, "seeds": SEEDS} | case.sweep))
    groups = groups_of(list(request.configs), request.setting)
    nets = len(request.configs) * SEEDS

    def ours(first_seed: int) -> float:
        cells = Queue.of(CellTask(group, seed) for seed in range(first_seed, first_seed + SEEDS) for group in groups)
        start = time.perf_counter()
        for _ in LocalCellExecutor().run(cells, request.setting):
            pass
        return (time.perf_counter() - start) / nets

    first = ours(0) * nets
    torch_seconds(case)
    pairs = [(ours(100 * i), median(torch_seconds(case) for _ in range(3))) for i in range(1, repeats + 1)]
    mine, theirs = (median(side) for side in zip(*pairs, strict=True))
    ratio = median(b / a for a, b in pairs)
    print(
        f"{name:17s} varprobe {mine * 1e3:7.1f} ms a net (compile {first - mine * nets:5.1f} s), "
        f"PyTorch hooks {theirs * 1e3:7.1f} ms: {ratio:4.1f} times less",
        flush=True,
    )


@click.command()
@click.option("--only", default=",".join(CASES))
@click.option("--repeats", default=3)
def main(only: str, repeats: int) -> None:
    """Compare each architecture."""
    print(f"varprobe {vp.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name in only.split(","):
        compare(name, CASES[name], repeats)


if __name__ == "__main__":
    main()
