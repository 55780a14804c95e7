"""The layer at which a signal leaves each number format, forward and back."""

from collections.abc import Mapping

import numpy as np

from varprobe.nets.float_formats import FORMATS, TRAINED_IN
from varprobe.verdict.measured import Measured, first_layer

__all__ = ["left_layers", "left_sentence"]

RANGES = {name: np.log10([FORMATS[name].smallest_normal, FORMATS[name].largest]) for name in TRAINED_IN}


def left_layers(net: Measured) -> dict[str, dict[str, int | None]]:
    """For each format of `TRAINED_IN`, the first layer at which a signal leaves its normal range.

    That is above its largest finite number or below its smallest normal one.
    `activation_rms` and `activation_absmax` are the RMS (seed mean) and the largest magnitude (of all seeds) of
    activations and preactivations, whichever leaves first on the way from the input, which is layer 0;
    `gradient_rms` and `gradient_absmax` those of gradients on their way from layer L to 1. None: never, or not
    measured.
    """
    found: dict[str, dict[str, int | None]] = {name: {} for name in TRAINED_IN}
    for side, names in (("activation", ("preactivation", "activation")), ("gradient", ("gradient",))):
        sizes = {
            "rms": [net.mean(f"{name}_log10_mean_square") / 2 for name in names],
            "absmax": [net.values[f"{name}_log10_absmax"].max(axis=0) for name in names],
        }
        for what, values in sizes.items():
            high, low = np.fmax.reduce(values), np.fmin.reduce(values)
            for name, (smallest, largest) in RANGES.items():
                outside = (high > largest) | (low < smallest)
                found[name][f"{side}_{what}"] = last_layer(outside) if side == "gradient" else first_layer(outside)
    return found


def last_layer(where: np.ndarray) -> int | None:
    """The last layer at which a condition over (layers,) holds: the first that a gradient meets."""
    at = first_layer(where[::-1])
    return None if at is None else where.size - 1 - at


def left_sentence(left: Mapping[str, Mapping[str, int | None]]) -> str:
    """`The signal leaves float16 at layer 28, float8_e4m3 at 12; the gradient float16 at 23.`; "" where none is left.

    Args:
        left: what `left_layers` returns; the sooner of RMS and largest magnitude is told.
    """
    clauses: list[str] = []
    for word, side, sooner in (("signal", "activation", min), ("gradient", "gradient", max)):
        layers = {
            name: [n for key, n in at.items() if key.startswith(side) and n is not None] for name, at in left.items()
        }
        told = [f"{name} at {{}}{sooner(found)}" for name, found in layers.items() if found]
        if told:
            verb, first = ("", "") if clauses else (" leaves", "layer ")
            clauses.append(f"the {word}{verb} {', '.join(told)}".replace("{}", first, 1).replace("{}", ""))
    return f"{'; '.join(clauses)}.".replace("the", "The", 1) if clauses else ""
