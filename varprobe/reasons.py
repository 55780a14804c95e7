"""Why a net is judged as it is, and what to change: a sentence each."""

import math

import numpy as np

from varprobe.nets import Measured
from varprobe.numerals import rounded
from varprobe.rates import Rate

__all__ = ["advice_of", "reason_of"]

ALIKE = 0.1
"""Rates are one where their logarithms differ by less than this share."""


def times(ratio: float) -> str:
    """How many times larger or smaller, from its log10."""
    return f"{rounded(10 ** abs(ratio))}x" if abs(ratio) < 5 else f"10^{abs(ratio):.0f}"


def finite(found: Rate) -> bool:
    """Whether it can be told as a factor per layer."""
    return all(math.isfinite(x) for x in (found.factor, found.ratio)) and found.factor > 0


def together(rates: list[Rate]) -> bool:
    """Whether signal and gradient change alike."""
    logs = [math.log(r.factor) for r in rates]
    return max(logs) - min(logs) < ALIKE * max(map(abs, logs))


def reason_of(forward: Rate, backward: Rate | None, words: tuple[str, str | None], net: Measured) -> str:
    """What the signal and the gradient do from end to end."""
    if net.depth == 1:
        return "One layer has no rate."
    rates = {"signal": forward} | ({"gradient": backward} if backward else {})
    changed = {name: r for (name, r), word in zip(rates.items(), words, strict=False) if word != "stable"}
    if not changed:
        return "Signal and gradient keep their scale." if backward else "The signal keeps its scale."
    if not all(map(finite, changed.values())):
        parts = [lost(name, r, net) for name, r in changed.items()]
        return f"{' and '.join(parts)}.".replace("the", "The", 1)
    span = f"over {net.depth} layers"
    if len(changed) == 1:
        ((name, found),) = changed.items()
        return (
            f"Each layer multiplies the {name}'s mean square by {rounded(found.factor)}: {span} its RMS {moved(found)}."
        )
    assert backward is not None
    if together([forward, backward]):
        both = f"the mean square of signal and gradient by {rounded(forward.factor)}"
        return f"Each layer multiplies {both}: {span} their RMS {moved(forward)}."
    return (
        f"Each layer multiplies the mean square of the signal by {rounded(forward.factor)}, of the gradient by "
        f"{rounded(backward.factor)}: {span} the RMS {moved(forward)} and {moved(backward)}."
    )


def moved(found: Rate) -> str:
    """`falls by 4370x`."""
    return f"{'falls' if found.ratio < 0 else 'grows'} by {times(found.ratio)}"


def lost(name: str, found: Rate, net: Measured) -> str:
    """What became of a signal or gradient, at least one of which has no finite rate."""
    zero = np.isneginf(net.mean(f"{'activation' if name == 'signal' else name}_log10_ms")[1:])
    if zero.any():
        layers = np.flatnonzero(zero) + 1
        where = f"from layer {layers[0]} on" if name == "signal" else f"at layer {layers[-1]}"
        return f"the {name} is exactly zero {where}"
    return f"the {name}'s RMS {moved(found)}" if math.isfinite(found.ratio) else f"the {name} is not finite"


def advice_of(flags: list[str], notes: list[str], forward: Rate, backward: Rate | None, net: Measured) -> str | None:
    """What to change, or None where a measurement alone does not tell."""
    if "symmetric" in flags:
        return "Draw the weights at random, for example he_normal or orthogonal."
    noted = {note.partition("(")[0] for note in notes}
    if noted & {"overflows", "underflows", "gradient_overflows", "gradient_underflows"}:
        small = net.coordinates["dtype"] == "float16"
        return f"Rescale the weights so that each layer keeps its scale{', or use bfloat16' if small else ''}."
    if "non_finite" in flags:
        return None
    if "mean_dominated" in noted:
        return f"Give the weights{'' if net.coordinates['bias'] == 'zeros' else ' and biases'} mean zero."
    rates = [r for r in (forward, backward) if r is not None]
    if not all(map(finite, rates)):
        return None
    worst = max((r.factor for r in rates), key=lambda f: abs(math.log(f)))
    if abs(math.log(worst)) < 0.01:
        return "Reduce the weight std." if "saturated" in flags else None
    if together(rates):
        return f"Multiply the weight std by {rounded(worst**-0.5)}."
    if "saturated" in flags or worst > 1:
        return f"Divide the weight std by about {rounded(worst**0.5)}." if worst > 1 else "Reduce the weight std."
    return None
