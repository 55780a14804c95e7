"""Who learned, and how well that was predicted: pure functions of numbers, one a net."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from varprobe.verdict.thresholds import threshold

__all__ = [
    "VerdictAccuracy",
    "accuracy_of",
    "has_trained",
    "rank_correlation",
    "skill_of_accuracy",
    "skill_of_loss",
    "spearman",
]

Numbers = Float[np.ndarray, " nets"]
RESAMPLES = 2000
AT_ONCE = 2**22
"""Numbers that are resampled together."""


@dataclass(frozen=True)
class VerdictAccuracy:
    """How a verdict on nets before training compares with what became of them.

    Attributes:
        nets: how many.
        failed: that did not train.
        unhealthy: of which the verdict said that they will not train.
        found: of these, that did not.
        rank_correlation: Spearman's, of score with skill, from -1 (a net whose signal changes more learns less) to 1;
            None where there is none.
        rank_correlation_ci95: its 95% bootstrap interval over nets; Nones where there is none.
        precision: found / unhealthy; None where no net is unhealthy.
        recall: found / failed; None where all nets trained.
        reasons: why a number is None, by its name.
    """

    nets: int
    failed: int
    unhealthy: int
    found: int
    rank_correlation: float | None
    rank_correlation_ci95: tuple[float | None, float | None]
    precision: float | None
    recall: float | None
    reasons: dict[str, str]


def skill_of_accuracy(accuracy: Numbers, chance: float) -> Numbers:
    """Share of the way from `chance`, the accuracy of the best constant answer, to 1; below 0 for less than that."""
    return (accuracy - chance) / (1 - chance)


def skill_of_loss(loss: Numbers, constant: float) -> Numbers:
    """R^2: share of `constant`, the mean square error of the best constant answer, that is gone."""
    return 1 - loss / constant


def instead(values: Numbers, of_nan: float) -> Numbers:
    """The values with another number for NaN."""
    return np.where(np.isnan(values), of_nan, values)


def has_trained(skill: Numbers) -> Bool[np.ndarray, " nets"]:
    """Whether each net trained (`varprobe list verdicts`); one that diverged (NaN) did not."""
    return instead(skill, -np.inf) >= threshold("trained")


def accuracy_of(
    score: Numbers, healthy: Bool[np.ndarray, " nets"], skill: Numbers, root_seed: int = 0
) -> VerdictAccuracy:
    """Compare a verdict with what became of nets.

    Args:
        score: how far a net's signals are from keeping their size, from 0; NaN counts as the farthest.
        healthy: the verdict.
        skill: what was learned; NaN, of a net that diverged, counts as the least.
        root_seed: of the bootstrap.
    """
    failed, unhealthy = ~has_trained(skill), ~np.asarray(healthy, bool)
    found, reasons = int((failed & unhealthy).sum()), dict[str, str]()
    for name, count, why in (
        ("precision", unhealthy.sum(), "every net is healthy"),
        ("recall", failed.sum(), "every net trained"),
    ):
        if not count:
            reasons[name] = why
    low, value, high = rank_correlation(instead(score, np.inf), instead(skill, -np.inf), root_seed)
    if value is None:
        reasons["rank_correlation"] = "all scores are alike" if np.unique(score).size < 2 else "all skills are alike"
    elif low is None:
        reasons["rank_correlation_ci95"] = "there are fewer than four nets"
    return VerdictAccuracy(
        nets=failed.size,
        failed=int(failed.sum()),
        unhealthy=int(unhealthy.sum()),
        found=found,
        rank_correlation=value,
        rank_correlation_ci95=(low, high),
        precision=found / int(unhealthy.sum()) if unhealthy.any() else None,
        recall=found / int(failed.sum()) if failed.any() else None,
        reasons=reasons,
    )


def rank_correlation(x: Numbers, y: Numbers, root_seed: int = 0) -> tuple[float | None, float | None, float | None]:
    """(low, value, high): Spearman's rank correlation with its 95% percentile interval over resampled nets.

    Nones where either has fewer than two values, bounds alone for fewer than four nets. Resamples without a correlation
    are left out.
    """
    (value,) = spearman(x[None], y[None])
    if np.isnan(value):
        return None, None, None
    if x.size < 4:
        return None, float(value), None
    generator, count, found = np.random.default_rng(root_seed), max(1, AT_ONCE // x.size), []
    for start in range(0, RESAMPLES, count):
        rows = generator.integers(x.size, size=(min(count, RESAMPLES - start), x.size))
        found.append(spearman(x[rows], y[rows]))
    low, high = np.nanpercentile(np.concatenate(found), [2.5, 97.5])
    return float(low), float(value), float(high)


def spearman(x: Float[np.ndarray, "rows nets"], y: Float[np.ndarray, "rows nets"]) -> Float[np.ndarray, " rows"]:
    """Pearson's correlation of the ranks of each row, ties at their mean; NaN where one of the two is constant."""
    from scipy.stats import rankdata  # takes long to import, and few need it

    ranks = [rankdata(a, axis=1) - (a.shape[1] + 1) / 2 for a in (x, y)]
    a, b = ranks
    with np.errstate(invalid="ignore"):
        return np.clip((a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1)), -1, 1)
