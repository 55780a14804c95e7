"""Time per net against PyTorch hooks, on the default grid: 11 initializers, 8 seeds, depth 50, width 512.

PyTorch: one `nn.Sequential` per net with a forward hook and a full backward hook on every module, which record mean and
variance of every activation and gradient, and mean and variance of every weight gradient; initialized alike.
Its time is told with and without building and initializing the net; varprobe's includes its draws, and leaves out
compilation, which is told apart. Both run in one process, in turn, on all cores; medians are printed.

    pip install torch==2.13.0
    python scripts/bench_torch.py [--act relu,gelu] [--batch 32] [--repeats 3]
"""

import time
from statistics import median

import click
import torch
from torch import nn

import varprobe as vp
from varprobe.engine.groups import groups_of
from varprobe.engine.inputs import arguments
from varprobe.sweeps.arguments import DEFAULTS
from varprobe.sweeps.request import read_request

ACTIVATIONS = {"relu": nn.ReLU, "gelu": lambda: nn.GELU(approximate="tanh"), "tanh": nn.Tanh}


def hooked_net(act: str, depth: int, width: int) -> tuple[nn.Sequential, list[torch.Tensor]]:
    """A stack whose hooks append (mean, variance) of what passes."""
    record: list[torch.Tensor] = []

    def keep(t: torch.Tensor) -> None:
        t = t.detach()
        record.append(torch.stack(torch.var_mean(t)))

    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(width, width, bias=False)
        nn.init.kaiming_normal_(linear.weight)
        layers += [linear, ACTIVATIONS[act]()]
    net = nn.Sequential(*layers)
    for module in net:
        module.register_forward_hook(lambda m, i, o: keep(o))
        module.register_full_backward_hook(lambda m, gi, go: keep(go[0]))
    return net, record


def torch_net(act: str, depth: int, width: int, batch: int) -> tuple[float, float]:
    """Seconds for one net: (with building it, without)."""
    start = time.perf_counter()
    net, record = hooked_net(act, depth, width)
    built = time.perf_counter()
    x = torch.randn(batch, width, requires_grad=True)
    out = net(x)
    (out * torch.randn_like(out)).sum().backward()
    for p in net.parameters():
        record.append(torch.stack(torch.var_mean(p.grad)))
    torch.stack(record).numpy()
    end = time.perf_counter()
    return end - start, end - built


def sweep_seconds(request, groups, first_seed: int) -> float:
    """Seconds for all cells of a request, compiled before."""
    seeds = range(first_seed, first_seed + request.setting.seeds)
    cells = Queue.of(CellTask(group, seed) for seed in seeds for group in groups)
    start = time.perf_counter()
    for _ in LocalCellExecutor().run(cells, request.setting):
        pass
    return time.perf_counter() - start


def compare(act: str, batch: int, depth: int, width: int, seeds: int, repeats: int) -> None:
    """Print one line."""
    request = read_request(act=act, batch=batch, depth=depth, width=width, seeds=seeds)
    groups = groups_of(list(request.configs), request.setting)
    arguments(groups[0], request.setting, 0)
    start = time.perf_counter()
    sweep_seconds(request, groups, 0)
    first = time.perf_counter() - start
    torch_net(act, depth, width, batch)
    nets = len(request.configs) * seeds
    ours, whole, bare = [], [], []
    for i in range(repeats):
        ours.append(sweep_seconds(request, groups, 100 * i) / nets)
        timings = [torch_net(act, depth, width, batch) for _ in range(4)]
        whole.append(median(t for t, _ in timings))
        bare.append(median(t for _, t in timings))
    ratio = median(t / o for t, o in zip(whole, ours, strict=True))
    ratio_bare = median(t / o for t, o in zip(bare, ours, strict=True))
    print(
        f"{act:6s} batch {batch:4d}: varprobe {median(ours) * 1e3:6.2f} ms a net "
        f"(compile {first - median(ours) * nets:.1f} s), PyTorch hooks {median(whole) * 1e3:6.1f} ms "
        f"({median(bare) * 1e3:.1f} without building the net): "
        f"{ratio:.1f} times less ({ratio_bare:.1f})",
        flush=True,
    )


@click.command()
@click.option("--act", default="relu,gelu")
@click.option("--batch", default=str(DEFAULTS["batch"]))
@click.option("--depth", default=50)
@click.option("--width", default=512)
@click.option("--seeds", default=8)
@click.option("--repeats", default=3)
def main(act: str, batch: str, depth: int, width: int, seeds: int, repeats: int) -> None:
    """Compare every activation and batch."""
    print(f"varprobe {vp.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for a in act.split(","):
        for b in batch.split(","):
            compare(a, int(b), depth, width, seeds, repeats)


if __name__ == "__main__":
    main()
