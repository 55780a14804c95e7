"""At batch 1 the finite-width law is exact: z-scores over many root seeds must follow Student's t.

    python scripts/check_z_scores.py [--roots 200] > scripts/check_z_scores.log

Every root seed is a sweep of its own, 8 seeds of Gaussian weights. Printed for each activation and direction: mean and
standard deviation of z beside those of Student's t with 7 degrees of freedom, and the Kolmogorov-Smirnov test.
"""

import argparse

import numpy as np
from scipy import stats

import varprobe as vp

SEEDS, DEPTH, WIDTH = 8, 40, 64
NETS = {"relu": 2, "identity": 1}
"""Activation -> sigma_w2."""


def main() -> None:
    """Collect and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roots", type=int, default=200)
    roots = parser.parse_args().roots
    print(f"depth {DEPTH}, width {WIDTH}, batch 1, {SEEDS} seeds, root seeds 0 to {roots - 1}")
    student = stats.t(SEEDS - 1)
    for act, sigma_w2 in NETS.items():
        found = []
        for root in range(roots):
            shape = {"depth": DEPTH, "width": WIDTH, "batch": 1, "seeds": SEEDS}
            row = vp.diagnose(vp.sweep(act=act, sigma_w2=sigma_w2, root_seed=root, **shape)).rows[0]
            found.append([row["theory_activation_z"], row["theory_gradient_z"]])
        for direction, z in zip(("forward", "backward"), np.array(found).T, strict=True):
            test = stats.kstest(z, student.cdf)
            print(
                f"{act:8} {direction:8} mean {z.mean():+.3f} (0 +- {student.std() / roots**0.5:.3f})  "
                f"sd {z.std(ddof=1):.3f} (t: {student.std():.3f})  largest {np.abs(z).max():.2f}  "
                f"KS {test.statistic:.3f}, p = {test.pvalue:.3f}"
            )


if __name__ == "__main__":
    main()
