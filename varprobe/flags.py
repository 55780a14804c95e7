"""What is wrong with a net whatever its rates are (flags), and what is worth knowing about it (notes)."""

import math

import numpy as np

from varprobe.nets import Measured, first_layer
from varprobe.verdicts import threshold

__all__ = ["flags_of", "notes_of", "range_reason"]

SMALLEST_NORMAL = 6.103515625e-05
"""Of float16."""

SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}
"""The smallest number above zero."""


def flags_of(net: Measured) -> dict[str, str]:
    """Flag -> a sentence, the gravest first."""
    found = {
        "non_finite": non_finite(net),
        "symmetric": symmetric(net),
        "dead": dead(net),
        "saturated": saturated(net),
    }
    return {flag: sentence for flag, sentence in found.items() if sentence}


def non_finite(net: Measured) -> str | None:
    """The first quantity that is infinite or NaN, and where: the gradient comes from the last layer."""
    found: list[tuple[int, int, str]] = []
    for order, name in enumerate(["preactivation", "activation", *(["gradient"] if net.backward else [])]):
        largest, ms = net.values[f"{name}_log10_absmax"][:, 1:], net.values[f"{name}_log10_ms"][:, 1:]
        infinite = np.isposinf(largest) | np.isposinf(ms)
        wrong = np.flatnonzero((infinite | np.isnan(largest) | np.isnan(ms)).any(axis=0))
        if wrong.size and not (found and name == "gradient"):
            at = int(wrong[-1 if name == "gradient" else 0])
            what = "overflows" if infinite[:, at].any() else "is not a number"
            found.append((at, order, f"The {name} {what} at layer {at + 1}."))
    return min(found)[2] if found else None


def symmetric(net: Measured) -> str | None:
    """All units of a layer compute the same of an input that is not zero, by their weights and not by underflow."""
    z, weights = net.mean("preactivation_log10_ms"), net.mean("weight_log10_ms")
    meant = np.isfinite(z) | np.isneginf(weights)
    alive = np.concatenate([[False], np.isfinite(net.mean("activation_log10_ms")[:-1])])
    equal = net.mean("equal_unit_fraction") >= 1
    layer = first_layer(equal & meant & alive & (np.array(net.widths) > 1))
    if layer is None:
        return None
    what = "zero" if np.isneginf(z[layer]) else "the same value"
    return f"Every unit of layer {layer} computes {what}, and would keep doing so in training."


def dead(net: Measured) -> str | None:
    """Too many units of a layer are zero on the whole batch."""
    share = net.mean("dead_unit_fraction")
    layer = first_layer(share > threshold("dead"))
    return None if layer is None else f"{share[layer]:.0%} of the units of layer {layer} are zero on the whole batch."


def saturated(net: Measured) -> str | None:
    """A bounded activation is flat where its units are."""
    share = net.mean("saturated_nonzero_fraction")[1:]
    share = share[np.isfinite(share)]
    if not share.size or np.median(share) <= threshold("saturated"):
        return None
    return f"In the median layer {np.median(share):.0%} of the units are saturated (|phi'| < 0.01)."


LEFT = {
    "underflows": "The signal is rounded to zero at layer {}.",
    "gradient_underflows": "The gradient is rounded to zero at layer {} on its way to layer 1.",
}


def range_reason(notes: list[str]) -> str | None:
    """A sentence about a signal that became smaller than its dtype can hold."""
    parts = [note.rstrip(")").split("(layer=") for note in notes]
    return next((LEFT[name].format(layer) for name, layer in parts if name in LEFT), None)


def notes_of(net: Measured) -> list[str]:
    """`name(layer=l)` of what is no failure, with the layer that a signal on its way meets first."""
    with np.errstate(invalid="ignore"):
        found = {
            "correlation_collapse": net.mean("activation_correlation") > threshold("correlation_collapse"),
            "mean_dominated": np.abs(net.mean("preactivation_mean_over_rms")) > threshold("mean_dominated"),
            "leaves_float16": leaves_float16(net),
        }
    notes = {name: layer for name, where in found.items() if (layer := first_layer(where)) is not None}
    if net.real_range:
        notes |= range_notes(net)
    return [f"{name}(layer={layer})" for name, layer in notes.items()]


def leaves_float16(net: Measured) -> np.ndarray:
    """Where the largest magnitude is beyond float16, or the RMS below its normal numbers."""
    largest = np.fmax(net.values["activation_log10_absmax"], net.values["preactivation_log10_absmax"]).max(axis=0)
    rms = np.fmin(net.mean("activation_log10_ms"), net.mean("preactivation_log10_ms")) / 2
    return (largest > math.log10(threshold("leaves_float16"))) | (rms < math.log10(SMALLEST_NORMAL))


def range_notes(net: Measured) -> dict[str, int]:
    """Where the range of the dtype was left: upward to infinity, downward to zero; gradients come from layer L."""
    notes = {}
    z, h = (net.values[f"{name}_log10_ms"] for name in ("preactivation", "activation"))
    largest = np.fmax(net.values["preactivation_log10_absmax"], net.values["activation_log10_absmax"])
    if (layer := first_layer((np.isposinf(largest) | np.isnan(h)).any(axis=0))) is not None:
        notes["overflows"] = layer
    arrives, weighted = np.isfinite(h[:, :-1]), np.isfinite(net.values["weight_log10_ms"][:, 1:])
    product_lost = np.isneginf(z[:, 1:]) & arrives & weighted
    tiny = z[:, 1:] / 2 < math.log10(SMALLEST[net.coordinates["dtype"]]) / 2  # phi(z) can be z^2, but is not yet dead
    value_lost = np.isneginf(h[:, 1:]) & np.isfinite(z[:, 1:]) & tiny
    if (layer := first_layer((product_lost | value_lost).any(axis=0))) is not None:
        notes["underflows"] = layer + 1
    if net.backward and "overflows" not in notes:
        g = net.values["gradient_log10_ms"][:, 1:]
        lost = np.isneginf(g) & np.isfinite(h[:, 1:]) & np.concatenate([np.isfinite(g[:, 1:]), weighted[:, :1]], axis=1)
        for name, where in (("gradient_overflows", np.isposinf(g) | np.isnan(g)), ("gradient_underflows", lost)):
            if (layers := np.flatnonzero(where.any(axis=0))).size:
                notes[name] = int(layers[-1]) + 1
    return notes
