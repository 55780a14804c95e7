"""How well does the verdict before training foretell who learns? A few thousand nets on the digits, trained.

    python scripts/measure_prediction.py [--steps 400] [--out runs/prediction] > scripts/measure_prediction.log

Activations x the standard initializers x depths x norms x optimizers, width 64, one seed, batch 16. "Will not train" is
unhealthy, by `varprobe.diagnose` of the sweep at step 0 (loss cotangent, the same data); a net that did not train has
less than half of the way from the commonest class to all right. Printed by optimizer, norm, activation and depth: nets,
how many did not train, precision and recall of "will not train", and Spearman's rank correlation of score and skill.
"""

import argparse
import itertools

import numpy as np

import varprobe as vp
from varprobe.nets.initializers import STANDARD

GRID = {
    "act": "relu,tanh,gelu,selu,silu,sigmoid",
    "init": list(STANDARD),
    "depth": [5, 10, 20, 50],
    "norm": "none,batch,layer",
    "optimizer": "sgd(lr=0.1),sgd(lr=0.01,momentum=0.9),adam(lr=0.001)",
}
AXES = ("optimizer", "norm", "act", "depth")


def line(name: str, ds) -> str:
    """One row of the table."""
    found = vp.verdict_accuracy(ds)
    numbers = (found.precision, found.recall, found.rank_correlation)
    cells = " ".join("     -" if number is None else f"{number:6.2f}" for number in numbers)
    return f"{name:34} {found.nets:5} {found.failed:6} {found.unhealthy:9} {cells}"


def main() -> None:
    """Train, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--out")
    options = parser.parse_args()
    ds = vp.trainability(**GRID, width=64, seeds=1, steps=options.steps, out=options.out)
    print(f"{ds.sizes['config']} nets of width 64, {options.steps} steps of batch 16 of the digits")
    print(f"{'':34} {'nets':>5} {'failed':>6} {'unhealthy':>9} precis recall   rank")
    print(line("all", ds))
    for axis in AXES:
        for value in dict.fromkeys(ds[axis].values.tolist()):
            print(line(f"{axis} {value}", vp.select(ds, **{axis: value})))
    for norm, optimizer in itertools.product(*(dict.fromkeys(ds[a].values.tolist()) for a in ("norm", "optimizer"))):
        print(line(f"{norm}, {optimizer}", vp.select(ds, norm=norm, optimizer=optimizer)))
    missed = ~ds["trained"].values[:, 0] & ds["healthy"].values
    wrong = ds["trained"].values[:, 0] & ~ds["healthy"].values
    for text, chosen in (("healthy, and did not train", missed), ("unhealthy, and trained", wrong)):
        words = {
            a: dict(zip(*np.unique(ds[a].values[chosen], return_counts=True), strict=True)) for a in ("act", "init")
        }
        told = "; ".join(
            ", ".join(f"{k} {v}" for k, v in sorted(w.items(), key=lambda i: -i[1])[:6]) for w in words.values()
        )
        print(f"{chosen.sum()} {text}: {told}")


if __name__ == "__main__":
    main()
