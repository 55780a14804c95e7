"""What the loss takes: its logits, and the output against its target."""

import math
from dataclasses import dataclass

import numpy as np

from varprobe.model.evidence import Evidence
from varprobe.model.findings import Finding
from varprobe.spec.number_format import rounded
from varprobe.verdict.rates import power
from varprobe.verdict.thresholds import threshold

__all__ = ["large_logits", "squashed_logits", "target_scale", "target_shape"]

SURE = 1.1
"""Squared distance of probabilities and labels above which logits are sure of wrong classes; without labels it is 1."""
COSINES = 10
"""Standard deviation of logits that are made of two signals, or of normalized weights, above which they are large."""
SCALED = 1.5
"""Logits that are more times what their site gives are multiplied by something behind it."""


def large_logits(seen: Evidence) -> list[Finding]:
    """Logits of a cross entropy that vary so much that it starts far above chance, which is ln of their number.

    For two classes it may be one logit, of a logistic function. For Gaussian logits of a standard deviation s the cross
    entropy with labels that do not depend on them is on average ln V + s^2 / 2, as long as s^2 < 2 ln V (Derrida 1981).
    """
    given, *own = (seen.mean(f"{name}_log10_var") for name in ("logits", "preactivation", "activation"))
    own_spread = np.where(np.isnan(own[0]), own[1], own[0])
    spread = np.where(np.isnan(given), own_spread, given)
    for site, classes in seen.listed("logits"):
        rows = seen.rows[site]
        found, before = (power(float(values[rows].mean()) / 2) for values in (spread, own_spread))
        loss = float(seen.ds["loss_value"].values.mean()) if "loss_value" in seen.ds else math.nan
        if classes > 1 and found > least_of(seen, rows[0]) and is_wrong(seen, rows, classes, loss):
            source = source_of(seen, rows[0])
            scaled = found / before if abs(math.log(found / before)) > math.log(SCALED) else None
            behind = f", which are {rounded(scaled)} times what {site} gives" if scaled else source or ""
            chance = f"chance, ln {classes} = {math.log(classes):.1f}"
            text = (
                f"{site}: the loss takes logits of standard deviation {rounded(found)}{behind}; "
                f"the loss is {rounded(loss)}, and with 1 it is near {chance}."
            )
            advice = smaller(site, found, scaled, source)
            product = power(float(seen.mean("product_log10_var")[rows].mean()) / 2)
            if not scaled and product < before / 2:
                advice = f"Make the biases of {site} smaller: without them the logits have {rounded(product)}."
            return [Finding("large_logits", site, text, found, 1.0, advice)]
    return []


def least_of(seen: Evidence, row: int) -> float:
    """Above which a standard deviation is large: more for logits whose factors are not parameters, such as cosines."""
    return threshold("large_logits") if source_of(seen, row) else COSINES


def is_wrong(seen: Evidence, rows: list[int], classes: int, loss: float) -> bool:
    """Whether predictions are worse than equal probabilities, unlike those of a model that was trained.

    The squared distance of probabilities and labels, which does not depend on the weight of the loss, is 1 - 1/V for
    equal ones and 2 where all is on a wrong class. Where that was not measured the loss decides.
    """
    error = float(seen.mean("prediction_error")[rows].mean())
    return error > SURE if math.isfinite(error) else loss > math.log(classes) + 1


def smaller(site: str, found: float, scaled: float | None, source: "Source | None") -> str:
    """What brings the standard deviation of logits to 1."""
    limit = threshold("large_logits")
    if scaled and scaled > SCALED:
        return f"Divide what multiplies the output of {site}, such as 1 / temperature, by {rounded(found)}."
    if source is None:
        return f"Divide the factors of {site} by {rounded(found)} in all; if they are normalized, lower their scale."
    if source.site and source.entering > limit > source.weights:
        return f"Make the values that enter {site} smaller, or normalize them."
    return f"Divide the weights of {site} by {rounded(found)}, or set them to zero."


@dataclass(frozen=True)
class Source:
    """What the RMS of a product is made of: that of its inputs, their site, and fan_in E W^2."""

    entering: float
    site: str
    weights: float

    def __str__(self) -> str:
        of = f" from {self.site}" if self.site else ""
        return f" (inputs of RMS {rounded(self.entering)}{of}, fan_in E W^2 = {rounded(self.weights)})"


def source_of(seen: Evidence, row: int) -> Source | None:
    """The factors of a product's RMS; None where they are not known."""
    product, value = (float(seen.mean(f"{name}_log10_mean_square")[row]) for name in ("product", "preactivation"))
    weights, value = float(seen.weights().mean(axis=0)[row]), value if math.isnan(product) else product
    if not math.isfinite(weights) or not math.isfinite(value):
        return None
    direct = (seen.lineage.direct or {}).get(seen.sites[row], ())
    before = [i for i in range(row) if seen.sites[i] in direct]
    return Source(power((value - weights) / 2), seen.labels[before[-1]] if before else "", power(weights))


def target_scale(seen: Evidence) -> list[Finding]:
    """An output whose RMS is far off that of the target, one of them being large."""
    target, output = (seen.mean(f"{name}_log10_mean_square") for name in ("target", "output"))
    value = np.where(np.isnan(output), seen.value(), output)
    for row in np.flatnonzero(np.isfinite(target)):
        apart, limit = (value[row] - target[row]) / 2, threshold("target_scale")
        large = max(value[row], target[row]) / 2
        if abs(apart) > math.log10(limit) and large > math.log10(limit):
            label, own, wanted = seen.labels[row], power(float(value[row]) / 2), power(float(target[row]) / 2)
            text = f"{label}: the output has RMS {rounded(own) if own else 0} and its target {rounded(wanted)}."
            scaled = (
                "the target by its RMS." if apart < 0 else f"the weights of {label} by {rounded(power(float(apart)))}."
            )
            return [Finding("target_scale", label, text, own, wanted, f"Divide {scaled}")]
    return []


def squashed_logits(seen: Evidence) -> list[Finding]:
    """Probabilities that the loss takes for logits, so that it cannot come near zero."""
    return [
        Finding(
            "squashed_logits",
            site,
            f"{site}: the loss takes its probabilities for logits, and applies a second softmax or logistic function.",
            advice="Remove that of the model, or use a loss of probabilities.",
        )
        for site in seen.listed("squashed")[:1]
    ]


def target_shape(seen: Evidence) -> list[Finding]:
    """An output and a target of other shapes, whose difference has each entry of one with each of the other."""
    return [
        Finding(
            "target_shape",
            site,
            f"{site}: the loss subtracts each of {target} targets from each of {output} outputs, by broadcasting.",
            advice="Give outputs and targets the same shape.",
        )
        for site, output, target in seen.listed("mismatched")[:1]
    ]
