"""Run every architecture with every norm, activation and initializer at a tiny size: all work, or are refused.

    python scripts/check_combinations.py [--act relu,tanh] [ARCH ...]

All of them take five hours of two cores, which go into compiling. Those of one architecture, norm and activation run as
one sweep. What a sweep leaves must be a number wherever it applies: every mean square of layers 1 to L, forward and
back, is finite, or -inf where it is exactly zero. One line for each architecture and norm, with how many ran and why
others were refused; exit code 1 if anything else happened.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator

import click
import jax
import numpy as np
import xarray as xr

import varprobe as vp
from varprobe.engine import compile
from varprobe.nets.activations import ACTIVATIONS
from varprobe.nets.initializers import INITIALIZERS
from varprobe.sweeps.request import read_request

ARCHS = [
    "plain",
    "plain(order=pre)",
    "residual",
    "residual(branch_layers=1,order=pre)",
    "conv(size=4)",
    "conv(dims=1,padding=zero,size=8,transpose=true)",
    "transformer(heads=2,tokens=3)",
    "transformer(heads=2,tokens=3,causal=true,norm_position=post,gated=true)",
    "transformer(heads=2,tokens=3,norm_position=none)",
    "rnn",
    "lstm",
    "gru(inputs=first)",
]
NORMS = ["none", "batch", "layer", "rms", "group(groups=2)", "layer(position=post)"]
REQUIRED = {"uniform": "limit=0.3", "constant": "value=0.1", "sparse": "density=0.4,std=0.5"}
INITS = [f"{name}({REQUIRED[name]})" if name in REQUIRED else name for name in INITIALIZERS]
TINY = {"depth": 2, "width": 8, "batch": 4, "seeds": 1}
QUANTITIES = ("preactivation", "activation", "gradient", "weight_gradient")


def allowed(arch: str, norm: str, act: str, inits: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """(initializers that a sweep takes there, initializer -> why it is refused)."""
    taken, refused = [], {}
    for init in inits:
        try:
            read_request(arch=arch, norm=norm, act=act, init=init, **TINY)
            taken.append(init)
        except vp.InvalidArgumentError as error:
            refused[init] = str(error)
    return taken, refused


def faults(ds: xr.Dataset) -> Iterator[str]:
    """What is not a number and should be one."""
    for quantity in QUANTITIES:
        values = ds[f"{quantity}_log10_mean_square"].values[:, :, 1:]
        for i in np.flatnonzero(~(np.isfinite(values) | np.isneginf(values)).all(axis=(1, 2))):
            yield f"{quantity} of {ds.init.values[i]}"


@click.command()
@click.argument("archs", nargs=-1)
@click.option("--act", default=",".join(ACTIVATIONS), help="Activations, all by default.")
def main(archs: tuple[str, ...], act: str) -> None:
    """All architectures, or those named."""
    jax.config.update("jax_disable_most_optimizations", True)  # every program runs once
    wrong = 0
    for arch in archs or ARCHS:
        for norm in NORMS:
            ran, reasons = 0, Counter[str]()
            for name in act.split(","):
                inits, refused = allowed(arch, norm, name, INITS)
                reasons.update(refused.values())
                if not inits:
                    continue
                found = list(faults(vp.sweep(arch=arch, norm=norm, act=name, init=inits, **TINY)))
                wrong += len(found)
                ran += len(inits)
                for fault in found:
                    print(f"WRONG {arch}, {norm}, {name}: {fault}", flush=True)
            print(f"{arch}, {norm}: {ran} ran, {reasons.total()} refused", flush=True)
            for reason, count in reasons.items():
                print(f"    {count} x {reason}", flush=True)
            compile.programs.clear()  # what is compiled stays in memory otherwise
            jax.clear_caches()
    print(f"{wrong} wrong")
    sys.exit(int(wrong > 0))


if __name__ == "__main__":
    main()
