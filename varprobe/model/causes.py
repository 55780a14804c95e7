"""Why the signal of a family changes, in numbers whose product is the factor that was measured."""

import numpy as np

from varprobe.model.evidence import Evidence
from varprobe.model.families import Family
from varprobe.model.levels import sums
from varprobe.spec.number_format import rounded
from varprobe.verdict.rates import Rate, power, slopes

__all__ = ["cause_of", "needed", "weights_of"]

SAME = 0.02
"""Decades: factors that are nearer than this, or than twice the standard error of their mean, are the same."""


def cause_of(family: Family, forward: Rate | None, seen: Evidence) -> str:
    """What multiplies the mean square from one site to the next, where that is known, and what is left.

    A product multiplies by terms E W^2, terms being the number of products that an output sums, and by what its
    activation keeps; a residual sum by one and the mean square of its branch over the stream's. Other layers between
    the sites of a family, correlation, means and biases are what is left.
    """
    if forward is None:
        return ""
    if family.kind == "residual":
        return cause_of_sums(family, seen)
    return cause_of_products(family, seen) if family.kind in ("linear", "conv") else ""


def cause_of_products(family: Family, seen: Evidence) -> str:
    """Of matrix products and convolutions."""
    layers = list(family.layers)[1:]
    weight = seen.weights()[:, layers]
    after, before = seen.seeds("activation_log10_mean_square"), seen.seeds("preactivation_log10_mean_square")
    with np.errstate(invalid="ignore"):
        kept = (after - before)[:, layers]
        rest = np.diff(after[:, list(family.layers)]) - weight - kept
    weights, act, left = map(slope, (weight, kept, rest))
    if not np.isfinite([weights, act, left]).all():
        return ""
    terms = seen.terms()[layers]
    plain = np.allclose(terms, seen.ds["fan_in"].values[layers])
    name = "fan_in E W^2" if plain else f"E W^2 times the {terms.mean():.4g} terms that an output sums"
    said = f": {name} = {rounded(power(weights))}, and the activation keeps {rounded(power(act))}"
    return (
        said if same(left, rest) else f"{said}; other layers between, and chance, multiply it by {rounded(power(left))}"
    )


def cause_of_sums(family: Family, seen: Evidence) -> str:
    """Of a residual stream: what its branches add, and how far they point along it."""
    added, value = sums(seen), seen.seeds("activation_log10_mean_square")
    layers = list(family.layers)
    steps = []
    for before, after in zip(layers, layers[1:], strict=False):
        rows = [row for row in range(before + 1, after + 1) if row in added]
        if not rows:
            return ""
        parts = [branch_of(seen, *added[row]) for row in rows]
        steps.append(np.sum(np.log10(1 + 10 ** np.array(parts)), axis=0))
    branch = np.array(steps).T
    rest = np.diff(value[:, layers]) - branch
    adds, left = slope(branch), slope(rest)
    if not np.isfinite([adds, left]).all():
        return ""
    said = f": the branches that are added multiply it by {rounded(power(adds))}"
    return (
        said if same(left, rest) else f"{said}, and what they have in common with the stream by {rounded(power(left))}"
    )


def branch_of(seen: Evidence, stream: int, branch: int) -> np.ndarray:
    """log10 of the mean square of a branch over that of its stream, (seeds,)."""
    value = seen.values()
    return np.asarray(value[:, branch] - value[:, stream])


def slope(steps: np.ndarray) -> float:
    """The part that steps of (seeds, sites - 1) have in the fitted factor: the slope of what they add up to."""
    with np.errstate(invalid="ignore"):
        return float(slopes(np.pad(np.cumsum(steps, axis=1), ((0, 0), (1, 0)))).mean())


def same(left: float, rest: np.ndarray) -> bool:
    """Whether what is left is nothing, within its error."""
    return abs(left) < SAME + 2 * float(rest.std() / np.sqrt(rest.size))


def weights_of(seen: Evidence, family: Family) -> float | None:
    """terms E W^2 of a family's kernels, the geometric mean; None without any."""
    return mean_power(seen.weights()[:, list(family.layers)])


def needed(seen: Evidence, family: Family) -> float | None:
    """What terms E W^2 must be for the activation behind to give back the mean square; None where that is not known."""
    layers = list(family.layers)
    with np.errstate(invalid="ignore"):
        kept = (seen.seeds("activation_log10_mean_square") - seen.seeds("preactivation_log10_mean_square"))[:, layers]
    if weights_of(seen, family) is None:
        return None
    return mean_power(-kept) if not np.isnan(kept).all() else 1.0


def mean_power(log10: np.ndarray) -> float | None:
    """10^mean of those that are numbers; None where none is finite."""
    found = log10[np.isfinite(log10)]
    return power(float(found.mean())) if found.size else None
