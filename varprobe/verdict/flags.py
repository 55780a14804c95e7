"""What is wrong with a net whatever its rates are (flags), and what is worth knowing about it (notes)."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from varprobe.nets.float_formats import FORMATS
from varprobe.verdict.measured import Measured, first_layer, mean_over_seeds
from varprobe.verdict.thresholds import threshold

__all__ = ["flags_of", "lost_seeds", "note_sentence", "noted", "notes_of", "saturated_units"]


MOSTLY = 0.99
"""Units of which a larger share is not zero are called the units."""


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
    for order, name in enumerate(
        [*([] if net.own else ["preactivation"]), "activation", *(["gradient"] if net.backward else [])]
    ):
        largest, ms = net.values[f"{name}_log10_absmax"][:, 1:], net.values[f"{name}_log10_mean_square"][:, 1:]
        infinite = np.isposinf(largest) | np.isposinf(ms)
        wrong = np.flatnonzero((infinite | np.isnan(largest) | np.isnan(ms)).any(axis=0))
        if wrong.size and not (found and name == "gradient"):
            at = int(wrong[-1 if name == "gradient" else 0])
            what = "overflows" if infinite[:, at].any() else "is not a number"
            found.append((at, order, f"The {name} {what} at layer {at + 1}."))
    return min(found)[2] if found else None


def lost_seeds(net: Measured) -> str | None:
    """How many seeds have a signal or gradient that is exactly zero, and where first; None where none or all have."""
    lost = net.lost
    if not lost.any() or lost.all():
        return None
    count = f"In {lost.sum()} of {lost.size} seeds the"
    names = ("activation", "gradient")
    zero = [np.isneginf(net.values[f"{name}_log10_mean_square"][lost, 1:]) for name in names]
    signal, gradient = (np.logical_or.reduce(layers, axis=0) for layers in zero)
    if (layer := first_layer(signal)) is not None:
        return f"{count} signal is exactly zero, first at layer {layer + 1}."
    return f"{count} gradient is exactly zero, first at layer {np.flatnonzero(gradient)[-1] + 1}."


def symmetric(net: Measured) -> str | None:
    """All units of a layer compute the same of an input that is not zero, by their weights and not by underflow."""
    z, weights = net.mean("preactivation_log10_mean_square"), net.mean("weight_log10_mean_square")
    meant = np.isfinite(z) | np.isneginf(weights)
    alive = np.concatenate([[False], np.isfinite(net.mean("activation_log10_mean_square")[:-1])])
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
    share, units = saturated_units(net)
    return f"In the median layer {units} are saturated (|phi'| < 0.01)." if share > threshold("saturated") else None


def saturated_units(net: Measured) -> tuple[float, str]:
    """The share of the units that are not zero, and are saturated, in the median layer: (0 to 1, `73% of the units`).

    Half of the units are zero in a ReLU6 that is not saturated; in a hard sigmoid that is, too.
    """
    nonzero = 1 - net.mean("activation_zero_fraction")[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = net.mean("saturated_nonzero_fraction")[1:] / nonzero
    known = np.isfinite(shares)
    share = float(np.median(shares[known])) if known.any() else 0.0
    some = " that are not zero" if known.any() and np.median(nonzero[known]) < MOSTLY else ""
    return share, f"{share:.0%} of the units{some}"


NOTES = {
    "correlation_collapse": "From layer {} on the mean cosine between inputs is above 0.999.",
    "mean_dominated": "At layer {} the mean of the preactivations is above 90% of their RMS.",
    "leaves_float16": "The signal leaves the range of float16 at layer {}.",
    "overflows": "The signal becomes infinite at layer {}.",
    "underflows": "The signal is rounded to zero at layer {}.",
    "gradient_overflows": "The gradient becomes infinite at layer {} on its way to layer 1.",
    "gradient_underflows": "The gradient is rounded to zero at layer {} on its way to layer 1.",
}


def note_sentence(note: str) -> str:
    """The sentence that a note stands for, such as `correlation_collapse(layer=12)`."""
    ((name, layer),) = noted([note]).items()
    return NOTES[name].format(layer)


def noted(notes: Sequence[str]) -> dict[str, int]:
    """Name -> layer of each note."""
    parts = [note.rstrip(")").split("(layer=") for note in notes]
    return {name: int(layer) for name, layer in parts}


def notes_of(net: Measured, left: Mapping[str, Mapping[str, int | None]]) -> list[str]:
    """`name(layer=l)` of what is no failure, with the layer that a signal on its way meets first.

    Args:
        net: what was measured.
        left: `format_range.left_layers` of it.
    """
    with np.errstate(invalid="ignore"):
        where = {
            "correlation_collapse": net.mean("activation_correlation") > threshold("correlation_collapse"),
            "mean_dominated": mean_share(net) > threshold("mean_dominated"),
        }
    notes = {name: layer for name, found in where.items() if (layer := first_layer(found)) is not None}
    if layers := [
        layer for key, layer in left["float16"].items() if key.startswith("activation") and layer is not None
    ]:
        notes["leaves_float16"] = min(layers)
    if net.real_range:
        notes |= range_notes(net)
    return [f"{name}(layer={layer})" for name, layer in notes.items()]


def mean_share(net: Measured) -> np.ndarray:
    """|mean| / RMS of the preactivations, averaged over seeds, whose means may have either sign; 0 for one number."""
    several = np.array(net.widths) * float(net.coordinates["batch"]) > 1
    return np.where(several, mean_over_seeds(np.abs(net.values["preactivation_mean_over_rms"])), 0.0)


def range_notes(net: Measured) -> dict[str, int]:
    """Where the range of the dtype was left: upward to infinity, downward to zero; gradients come from layer L."""
    notes = {}
    z, h = (net.values[f"{name}_log10_mean_square"] for name in ("preactivation", "activation"))
    largest = np.fmax(net.values["preactivation_log10_absmax"], net.values["activation_log10_absmax"])
    if (layer := first_layer((np.isposinf(largest) | np.isnan(h)).any(axis=0))) is not None:
        notes["overflows"] = layer
    arrives, weighted = np.isfinite(h[:, :-1]), np.isfinite(net.values["weight_log10_mean_square"][:, 1:])
    product_lost = np.isneginf(z[:, 1:]) & arrives & weighted
    tiny = (
        z[:, 1:] / 2 < math.log10(FORMATS[net.coordinates["dtype"]].smallest) / 2
    )  # phi(z) can be z^2, but is not yet dead
    value_lost = np.isneginf(h[:, 1:]) & np.isfinite(z[:, 1:]) & tiny
    if (layer := first_layer((product_lost | value_lost).any(axis=0))) is not None:
        notes["underflows"] = layer + 1
    if net.backward and "overflows" not in notes:
        g = net.values["gradient_log10_mean_square"][:, 1:]
        lost = np.isneginf(g) & np.isfinite(h[:, 1:]) & np.concatenate([np.isfinite(g[:, 1:]), weighted[:, :1]], axis=1)
        for name, where in (("gradient_overflows", np.isposinf(g) | np.isnan(g)), ("gradient_underflows", lost)):
            if (layers := np.flatnonzero(where.any(axis=0))).size:
                notes[name] = int(layers[-1]) + 1
    return notes
