"""What cells and whole sweeps take of memory, planned and measured: each measured in a process of its own.

    python scripts/measure_memory.py [--more]

`cell` is what the compiler plans for one cell, and what the process grows by while it runs the cell, over what it had
when the cell was compiled; `sweep` is the rough formula's answer, and the peak in a whole sweep of two seeds.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import click

CASES = [
    {"depth": 50},
    {"depth": 50, "act": "gelu", "batch": 64},
    {"depth": 10, "width": 2048, "act": "tanh", "init": "he_normal"},
    {"depth": 30, "width": 1024, "act": "tanh", "init": "orthogonal", "batch": 256},
    {"depth": 20, "act": "gelu", "batch": 64, "dtype": "float64"},
    {"depth": 20, "act": "gelu", "batch": 64, "dtype": "bfloat16"},
    {"depth": 20, "arch": "residual", "norm": "layer", "batch": 64},
    {"depth": 20, "arch": "conv(kernel=3,dims=2,size=16)", "width": 128, "act": "tanh", "init": "he_normal,zeros"},
    {"depth": 12, "arch": "transformer(heads=8,tokens=64)", "act": "gelu", "width": 256, "init": "gpt2,bert"},
    {"depth": 200, "arch": "lstm", "act": "tanh", "width": 256, "init": "orthogonal,he_normal", "batch": 64},
]
MORE = [
    {"depth": 100, "act": "tanh", "init": "he_normal", "batch": 256, "bias": "normal(std=0.1)", "loss": "mse"},
    {"depth": 2, "width": 6000, "act": "tanh", "init": "he_normal"},
    {"depth": 3, "width": 6000, "act": "tanh", "init": "he_normal,orthogonal", "batch": 64},
    {"depth": 20, "act": "gelu", "batch": 64, "range": "dtype"},
    {"depth": 100, "arch": "gru", "act": "tanh", "init": "he_normal", "batch": 128},
    {"depth": 50, "arch": "rnn", "act": "tanh", "init": "he_normal", "batch": 256},
    {"width": "784-512-256-10", "act": "tanh", "init": "he_normal", "batch": 8192},
]
MIB = 2**20


def status(name: str) -> int:
    """A number of this process's status, in bytes."""
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def measure(case: dict[str, object], whole: bool) -> dict[str, float]:
    """What it took in this process, and the estimate."""
    import jax

    from varprobe.engine.compile import Worker, tables_of, teams
    from varprobe.engine.groups import groups_of
    from varprobe.sweeps.budget import needed_bytes
    from varprobe.sweeps.estimates import sweep_bytes
    from varprobe.sweeps.request import read_request
    from varprobe.sweeps.sweep import run

    jax.config.update("jax_enable_compilation_cache", False)
    request = read_request(seeds=2, **case)
    groups = groups_of(list(request.configs), request.setting)
    if whole:
        run(request)
        return {"measured": status("VmHWM"), "estimate": sweep_bytes(request, groups, len(teams()))}
    group, worker = groups[0], Worker(jax.devices()[:1])
    need = needed_bytes(worker, group)
    before = status("VmRSS")
    tables_of(worker, group, request.setting, [0])
    return {"measured": status("VmHWM") - before, "estimate": need}


@click.command()
@click.option("--more", is_flag=True, help="All cases.")
@click.option("--one", hidden=True)
@click.option("--whole", is_flag=True, hidden=True)
def main(more: bool, one: str | None, whole: bool) -> None:
    """Print a table."""
    if one:
        print(json.dumps(measure(json.loads(one), whole)))
        return
    for case in CASES + MORE * more:
        row = []
        for flags in ([], ["--whole"]):
            command = [sys.executable, __file__, "--one", json.dumps(case), *flags]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            ratio = found["estimate"] / found["measured"]
            row.append(f"{found['estimate'] / MIB:6.0f} {found['measured'] / MIB:6.0f} MiB {ratio:5.2f}")
        text = " ".join(f"{k}={v}" for k, v in case.items())
        print(f"cell {row[0]}   sweep {row[1]}   {text}", flush=True)


if __name__ == "__main__":
    main()
