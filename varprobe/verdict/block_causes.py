"""What makes signal or gradient change in networks that are more than plain stacks, and what to change in them."""

import math
from collections.abc import Mapping

import numpy as np

from varprobe.spec.number_format import rounded
from varprobe.verdict.measured import Measured
from varprobe.verdict.rates import Rate, power

__all__ = ["block_advice", "block_cause", "is_plain"]

SLIGHT = 0.01
"""log10 of a change per layer that needs no remedy."""


def is_plain(net: Measured) -> bool:
    """Whether a net is a plain stack of weights and activations, whose rates `reasons` takes apart."""
    return net.coordinates["arch"] == "plain" and net.coordinates["norm"] == "none"


def block_cause(changed: Mapping[str, Rate], net: Measured) -> str | None:
    """What multiplies signal or gradient from block to block, where that is known."""
    norm = str(net.coordinates["norm"]).partition("(")[0]
    if (added := added_share(net)) is not None and any(rate.factor > 1 for rate in changed.values()):
        return f"a branch has {rounded(power(added))} of the mean square of the stream that it is added to"
    if norm == "batch" and "gradient" in changed and changed["gradient"].factor > 1:
        return "batch norm amplifies gradients in every layer, whatever the weights"
    return None


def block_advice(rates: list[Rate], net: Measured) -> str | None:
    """What to change, or None where the weights are not to blame."""
    worst = max((r.factor for r in rates), key=lambda f: abs(math.log(f)))
    if abs(math.log10(worst)) < SLIGHT:
        return None
    if added_share(net) is not None:
        return "Scale the branches, for example branch_scale=1/sqrt(depth)." if worst > 1 else None
    if net.coordinates["norm"] != "none":
        return "No weight scale changes this; add skip connections (--arch residual)."
    return None


def added_share(net: Measured) -> float | None:
    """log10 of the mean square that a scaled branch has of the stream before it, the typical block's; None without."""
    if "branch_share" not in net.values:
        return None
    branch, stream = net.mean("branch_share")[1:], net.mean("stream_share")[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.log10(branch / stream)
    known = shares[np.isfinite(shares)]
    return float(np.median(known)) if known.size else None
