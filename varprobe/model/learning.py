"""Parameters that a step of the optimizer leaves as they are, or changes too much."""

import numpy as np

from varprobe.model.evidence import Evidence
from varprobe.model.findings import Finding
from varprobe.spec.number_format import rounded
from varprobe.verdict.rates import power
from varprobe.verdict.thresholds import threshold

__all__ = ["large_updates", "lost_updates", "unmoved"]

WIDER = "Keep the parameters in float32, and cast them where they are used."
LARGER = "Raise the step size."


def lost_updates(seen: Evidence) -> list[Finding]:
    """Updates that rounding loses, in the dtype of a parameter."""
    share = np.nan_to_num(seen.mean("parameter_lost_update_fraction"))
    found = np.flatnonzero(share > threshold("lost_updates"))
    if not found.size:
        return []
    at = found[np.argmax(share[found])]
    name, value = seen.parameters[at], float(share[at])
    more = f", and above {threshold('lost_updates'):.0%} in {found.size - 1} other parameters" if found.size > 1 else ""
    text = f"{name}: rounding loses {value:.0%} of the updates of a step{more}."
    return [Finding("lost_updates", name, text, value, 0.0, LARGER if seen.ds["dtype"].item() == "float32" else WIDER)]


def unmoved(seen: Evidence) -> list[Finding]:
    """Parameters that have a gradient, and no update."""
    update, gradient = (
        seen.mean("parameter_update_log10_mean_square"),
        seen.mean("parameter_gradient_log10_mean_square"),
    )
    rounded_away = np.nan_to_num(seen.mean("parameter_lost_update_fraction")) > 0
    found = np.flatnonzero(np.isneginf(update) & np.isfinite(gradient) & ~rounded_away)
    if not found.size:
        return []
    name, size = seen.parameters[found[0]], rounded(power(float(gradient[found[0]]) / 2))
    who = name if found.size == 1 else f"{name} and {found.size - 1} other parameters"
    text = f"{who}: a step changes nothing, though the gradient has RMS {size}."
    return [Finding("unmoved", name, text, 0.0)]


def large_updates(seen: Evidence) -> list[Finding]:
    """Weights that a step changes by more than their RMS."""
    ratio = seen.mean("parameter_update_log10_ratio")
    weights = np.isin(seen.parameters, [name for name, *_ in seen.listed("factors")])
    found = np.flatnonzero(weights & (np.nan_to_num(ratio, posinf=0) > np.log10(threshold("large_updates"))))
    if not found.size:
        return []
    at = found[np.argmax(ratio[found])]
    name, value = seen.parameters[at], power(float(ratio[at]))
    text = f"{name}: a step changes it by {rounded(value)} of its RMS."
    return [Finding("large_updates", name, text, value, 0.001, "Lower the step size.")]
