"""Parameters that a step of the optimizer leaves as they are."""

import numpy as np

from varprobe.model.evidence import Evidence
from varprobe.model.findings import Finding
from varprobe.spec.number_format import rounded
from varprobe.verdict.rates import power
from varprobe.verdict.thresholds import threshold

__all__ = ["lost_updates", "unmoved"]

ADVICE = "Keep the parameters in float32, and cast them where they are used."


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
    return [Finding("lost_updates", name, text, value, 0.0, ADVICE)]


def unmoved(seen: Evidence) -> list[Finding]:
    """Parameters that have a gradient, and no update."""
    update, gradient = seen.mean("parameter_update_log10_ms"), seen.mean("parameter_gradient_log10_ms")
    rounded_away = np.nan_to_num(seen.mean("parameter_lost_update_fraction")) > 0
    found = np.flatnonzero(np.isneginf(update) & np.isfinite(gradient) & ~rounded_away)
    if not found.size:
        return []
    name, size = seen.parameters[found[0]], rounded(power(float(gradient[found[0]]) / 2))
    who = name if found.size == 1 else f"{name} and {found.size - 1} other parameters"
    text = f"{who}: a step changes nothing, though the gradient has RMS {size}."
    return [Finding("unmoved", name, text, 0.0)]
