"""Levels that are off: logits of the loss, the output against its target, what a branch adds to its stream."""

import math
from dataclasses import dataclass

import numpy as np

from varprobe.model.evidence import Evidence
from varprobe.model.findings import Finding
from varprobe.spec.number_format import rounded
from varprobe.verdict.rates import power
from varprobe.verdict.thresholds import threshold

__all__ = ["branches", "large_logits", "other_terms", "sums", "target_scale"]


def large_logits(seen: Evidence) -> list[Finding]:
    """Logits of a cross entropy that vary so much that it starts far above chance, which is ln of their number.

    For two classes it may be one logit, of a logistic function. For Gaussian logits of a standard deviation s the cross
    entropy with labels that do not depend on them is on average ln V + s^2 / 2, as long as s^2 < 2 ln V (Derrida 1981).
    """
    before, after = (seen.seeds(f"{quantity}_log10_var") for quantity in ("preactivation", "activation"))
    spread = np.where(np.isnan(before), after, before)
    for site, classes in seen.listed("logits"):
        rows = seen.rows[site]
        found = power(float(spread[:, rows].mean()) / 2)
        loss = float(seen.ds["loss_value"].values.mean()) if "loss_value" in seen.ds else math.nan
        trained = not loss > math.log(max(classes, 1)) + 1  # as of a model that knows its answers
        if classes > 1 and found > threshold("large_logits") and not trained:
            start = f"the loss is {rounded(loss)}"
            source = source_of(seen, rows[0])
            chance = f"chance, ln {classes} = {math.log(classes):.1f}"
            spread_is = f"{site}: logits of {rounded(found)} standard deviation{source or ''}"
            text = f"{spread_is}; {start}, and with 1 it is near {chance}."
            advice = f"Divide the weights of {site} by {rounded(found)}, or set them to zero."
            if source and source.site and source.entering > threshold("large_logits") > source.weights:
                advice = f"Make the values that enter {site} smaller, or normalize them."
            return [Finding("large_logits", site, text, found, 1.0, advice)]
    return []


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
    weights, value = float(seen.weights().mean(axis=0)[row]), float(seen.mean("preactivation_log10_ms")[row])
    if not math.isfinite(weights) or not math.isfinite(value):
        return None
    direct = (seen.lineage.direct or {}).get(seen.sites[row], ())
    before = [i for i in range(row) if seen.sites[i] in direct]
    return Source(power((value - weights) / 2), seen.labels[before[-1]] if before else "", power(weights))


def target_scale(seen: Evidence) -> list[Finding]:
    """An output whose RMS is far off that of the target, one of them being large."""
    target, value = seen.mean("target_log10_ms"), seen.value()
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


def other_terms(seen: Evidence) -> list[Finding]:
    """Weights that are right for the fan-in of the kernel's shape, where outputs sum another number of terms."""
    weights, terms, fan_in = seen.weights().mean(axis=0), seen.terms(), seen.ds["fan_in"].values
    with np.errstate(invalid="ignore", divide="ignore"):
        kept = seen.mean("activation_log10_ms") - seen.mean("preactivation_log10_ms")
        apart = np.log10(terms / fan_in)
        by_shape = weights - apart + np.nan_to_num(kept)
    limit = math.log10(threshold("terms"))
    wrong = np.isfinite(by_shape) & (np.abs(apart) > limit) & (np.abs(by_shape) < limit / 2)
    for row in np.flatnonzero(wrong)[:1]:
        label, ratio = seen.labels[row], rounded(power(float(-apart[row]) / 2))
        text = f"{label}: the kernel's shape says {fan_in[row]} terms, and an output sums {terms[row]:.4g}."
        return [
            Finding("terms", label, text, float(terms[row]), float(fan_in[row]), f"Multiply its weights by {ratio}.")
        ]
    return []


def branches(seen: Evidence) -> list[Finding]:
    """A sum whose branch is far larger than the stream that enters it."""
    value = seen.value()
    for row, (stream, branch) in sums(seen).items():
        if value[row] - value[stream] > 2 * math.log10(threshold("large_branch")):
            one, other = (rounded(power(float(value[i]) / 2)) for i in (stream, row))
            label, before = seen.labels[row], seen.labels[stream]
            text = f"{label}: the stream enters with RMS {one} ({before}) and leaves with {other}."
            advice = f"Make {before} larger, or {seen.labels[branch]} smaller."
            near = power(float(value[stream]) / 2)
            return [Finding("large_branch", label, text, power(float(value[row]) / 2), near, advice)]
    return []


def sums(seen: Evidence) -> dict[int, tuple[int, int]]:
    """Rows of residual sums -> (row of the stream that enters, row of the branch that is added), finite ones."""
    direct, value = seen.lineage.direct or {}, seen.value()
    latest: dict[str, int] = {}
    found = {}
    for row, site in enumerate(seen.sites):
        if seen.kinds[row] == "residual":
            behind = sorted((latest[s] for s in direct.get(site, ()) if s in latest), reverse=True)
            branch = next((i for i in behind if seen.kinds[i] not in ("residual", "embedding")), None)
            stream = next((i for i in behind if i != branch), None)
            if branch is not None and stream is not None and np.isfinite(value[[row, stream, branch]]).all():
                found[row] = stream, branch
        latest[site] = row
    return found
