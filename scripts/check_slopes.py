"""Measured factors per layer against mean-field theory, with the finite-width drift: at most 4 standard errors apart.

    python scripts/check_slopes.py [--width 1000] [--depth 40] [--seeds 16] [ACT ...]

For every registered activation, at its critical or gain-preserving point and at two others: factor, standard error and
z-score of signal and gradient. Ends with exit code 1 if a z-score is beyond 4 or a standard error beyond 1%.
"""

import argparse
import sys

import numpy as np

import varprobe as vp
from varprobe.nets.activations import ACTIVATIONS
from varprobe.verdict.rates import slopes


def main() -> int:
    """Print a line a network; whether all are as predicted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("acts", nargs="*", default=list(ACTIVATIONS))
    parser.add_argument("--width", type=int, default=1000)
    parser.add_argument("--depth", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=16)
    args = parser.parse_args()
    wrong = judged = 0
    for act in args.acts:
        preserving = vp.theory.gain(act).sigma_w2
        weights = [round(preserving * share, 3) for share in (0.5, 1, 2)]
        ds = vp.sweep(act=act, sigma_w2=weights, sigma_b2=0.05, depth=args.depth, width=args.width, seeds=args.seeds)
        for i, row in enumerate(vp.diagnose(ds)):
            told = []
            for quantity in ("activation", "gradient"):
                each = slopes(ds[f"{quantity}_log10_mean_square"].values[i, :, 1:]) * np.log(10)
                error = float(each.std(ddof=1) / len(each) ** 0.5)
                factor, z = row[f"theory_{quantity}_factor"], row[f"theory_{quantity}_z"]
                if z is None or factor is None:
                    told.append(f"{'no law to first order':>44}")
                    continue
                judged += 1
                off = abs(z) > 4 or error > 0.01
                wrong += off
                told.append(
                    f"{row[f'{quantity}_factor']:10.5f} ({error:.3%}) theory {factor:10.5f} z {z:+5.1f}{'!' * off:1}"
                )
            print(f"{act:14} sigma_w2 {weights[i]:7.3f}  {'  '.join(told)}", flush=True)
    print(f"{wrong} of {judged} are off")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
