"""Do z-scores against theory follow Student's t? Many groups of a few seeds for many kinds of networks.

    python scripts/check_z_scores.py [--groups 200] [--seeds 4] [NAME ...] > scripts/check_z_scores.log

Each kind is one sweep of groups x seeds draws. A line has, forward and backward: the mean of z (0 if theory is right),
the fraction of |z| beyond Student's 95% (0.05), the p-value of the Kolmogorov-Smirnov test against Student's t, and the
coverage of the 95% intervals of the mean slope (0.95). Where no z is given it has the reason. Marked are means beyond
0.3 and p-values below 0.01.
"""

import argparse
from typing import Any

import numpy as np
from scipy import stats

import varprobe as vp
from varprobe.verdict.rates import slopes
from varprobe.verdict.z_scores import QUANTITIES, predicted_slope

SHAPES = {
    "64x20": {"width": 64, "depth": 20},
    "16x50": {"width": 16, "depth": 50},
    "32x100": {"width": 32, "depth": 100},
}
KINDS: dict[str, dict[str, Any]] = {
    "relu he": {"act": "relu", "init": "he_normal"},
    "relu he batch 1": {"act": "relu", "init": "he_normal", "batch": 1},
    "relu uniform": {"act": "relu", "init": "he_uniform"},
    "relu orthogonal": {"act": "relu", "init": "orthogonal(gain=1.41421356)"},
    "linear lecun": {"act": "identity", "init": "lecun_normal"},
    "tanh glorot": {"act": "tanh", "init": "glorot_normal"},
    "tanh orthogonal": {"act": "tanh", "init": "orthogonal"},
    "tanh chaotic": {"act": "tanh", "sigma_w2": 2.5, "sigma_b2": 0.1},
    "sigmoid glorot": {"act": "sigmoid", "init": "glorot_normal"},
    "silu he": {"act": "silu", "init": "he_normal"},
    "gelu he": {"act": "gelu", "init": "he_normal"},
    "gelu orthogonal": {"act": "gelu", "init": "orthogonal(gain=1.41421356)"},
    "selu lecun": {"act": "selu", "init": "lecun_normal"},
    "elu lecun": {"act": "elu", "init": "lecun_normal"},
    "leaky he": {"act": "leaky_relu(0.2)", "init": "he_normal"},
    "softplus he": {"act": "softplus", "init": "he_normal"},
    "residual relu": {"arch": "residual", "act": "relu", "init": "he_normal"},
    "residual scaled": {"arch": "residual(branch_scale=1/sqrt(depth))", "act": "relu", "init": "he_normal"},
    "residual pre": {"arch": "residual(order=pre)", "act": "relu", "init": "he_normal"},
    "residual layer norm": {"arch": "residual", "act": "relu", "init": "he_normal", "norm": "layer"},
    "layer norm": {"act": "relu", "init": "he_normal", "norm": "layer"},
    "batch norm": {"act": "relu", "init": "he_normal", "norm": "batch"},
}


def groups_of(ds: Any, quantity: str, seeds: int) -> np.ndarray:
    """Measured slopes in the direction of the signal, (groups, seeds)."""
    values = ds[f"{quantity}_log10_mean_square"].isel(config=0).values
    return (QUANTITIES[quantity] * slopes(values[:, 1:])).reshape(-1, seeds)


def line_of(ds: Any, quantity: str, seeds: int) -> str:
    """What the z-scores of a direction come to."""
    measured = groups_of(ds, quantity, seeds)
    theory = {str(name): ds[name].isel(config=0, seed=0).values for name in ds if str(name).startswith("theory_")}
    mean, error = measured.mean(axis=1), measured.std(axis=1, ddof=1) / np.sqrt(seeds)
    draws = theory["theory_draws"][-1]
    student = stats.t(seeds - 1)
    inside = np.abs(mean - measured.mean()) <= student.ppf(0.975) * error
    expected = predicted_slope(theory, quantity, drift=True)
    if not np.isfinite(expected):
        return f"no z ({inside.mean():.3f})".ljust(32)
    z = (mean - expected) / (error * np.sqrt(1 + (seeds / draws if draws > 0 else 0)))
    p, beyond = stats.kstest(z, student.cdf).pvalue, (np.abs(z) > student.ppf(0.975)).mean()
    mark = "*" if abs(z.mean()) > 0.3 or p < 0.01 else " "
    return f"{mark} {np.clip(z, -10, 10).mean():+.2f} {beyond:.2f} p {p:.3f} ({inside.mean():.3f})".ljust(32)


def main() -> None:
    """Collect and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--groups", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    print(f"{options.groups} groups of {options.seeds} seeds: mean z, fraction beyond 95%, KS p (coverage)")
    print(f"{'':31}{'forward':32}backward")
    for name in options.names or KINDS:
        for shape, sizes in SHAPES.items():
            asked = {"batch": 8, "seeds": options.groups * options.seeds} | sizes | KINDS[name]
            ds = vp.sweep(**asked)
            lines = [line_of(ds, quantity, options.seeds) for quantity in QUANTITIES]
            print(f"{name:22} {shape:8}{''.join(lines)}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
