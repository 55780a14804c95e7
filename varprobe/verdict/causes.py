"""Why a net is judged as it is: one sentence, what happens and what causes it.

A layer multiplies the mean square of the signal by (fan_in E W^2) (E phi^2 / E z^2) and the gradient's by
(fan_out E W^2) E phi'^2; the cause is the factor that was measured to be off.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from varprobe.spec.number_format import rounded
from varprobe.verdict.block_causes import block_cause, is_plain
from varprobe.verdict.flags import note_sentence, noted, saturated_units
from varprobe.verdict.measured import Measured
from varprobe.verdict.multipliers import measured_log10_multipliers
from varprobe.verdict.rates import Rate, power
from varprobe.verdict.thresholds import threshold

__all__ = ["finite", "mean_drives", "name_of", "reason_of", "sigma_w2_of", "together"]

ALIKE = 0.1
"""Rates are one where their logarithms differ by less than this share."""

SLIGHT = 0.05
"""log10 of a factor per layer that is no cause."""

ALIGNED = 0.15
"""log10 of what E z^2 has beyond fan_in E W^2 E h^2 where the weights are not at random."""

UNEVEN = 0.25
"""A rate tells how far a signal gets where its ends agree with it to this share."""


@dataclass(frozen=True)
class Parts:
    """log10 of what multiplies a mean square per layer, from layer 2 on.

    weights: fan_in E W^2. act: E phi^2 / E z^2. excess: E z^2 over weights times signal, which means and biases add, in
    `layers` layers: those whose input and preactivations are not zero.
    widths: fan_out / fan_in.
    """

    weights: float
    act: float
    excess: float
    layers: int
    widths: float


def parts_of(net: Measured) -> Parts:
    """The parts of a net's rates; NaN where there are none."""
    wide = np.log10(np.array(net.widths, float))
    with np.errstate(invalid="ignore"):
        z, h = net.mean("preactivation_log10_mean_square")[2:], net.mean("activation_log10_mean_square")
        matrices = net.mean("weight_log10_mean_square") + 2 * measured_log10_multipliers(net)
        weights, act = matrices[2:] + wide[1:-1], h[2:] - z
        excess = z - h[1:-1] - weights
        known = excess[np.isfinite(excess)]
        return Parts(
            weights=float(np.mean(weights)),
            act=float(np.mean(act)),
            excess=float(np.mean(known)) if known.size else math.nan,
            layers=known.size,
            widths=float(np.mean(np.diff(wide[1:]))),
        )


def sigma_w2_of(net: Measured) -> float:
    """fan_in E W^2 of the weights, the typical layer's (geometric mean from layer 2 on)."""
    return power(parts_of(net).weights) if net.depth > 1 else math.nan


def mean_drives(net: Measured) -> bool:
    """Whether a layer's inputs add up along a mean of the weights, and not at random."""
    if net.coordinates["bias"] != "zeros" or net.depth == 1:
        return False
    parts = parts_of(net)
    draws = min(net.widths[1:]) * net.seeds * max(1, parts.layers)  # E z^2 of n units has a relative variance of 2 / n
    return parts.excess > ALIGNED + 3 * math.log10(math.e) * math.sqrt(2 / draws)


def finite(found: Rate) -> bool:
    """Whether it can be told as a factor per layer."""
    return all(math.isfinite(x) for x in (found.factor, found.ratio)) and found.factor > 0


def together(rates: list[Rate]) -> bool:
    """Whether signal and gradient change alike."""
    logs = [math.log(r.factor) for r in rates]
    return max(logs) - min(logs) < ALIKE * max(map(abs, logs))


def reason_of(
    flags: Mapping[str, str],
    notes: list[str],
    forward: Rate,
    backward: Rate | None,
    words: tuple[str, str | None],
    net: Measured,
) -> str:
    """What signal and gradient do from layer to layer, how soon that is 1000x, and why; or what is graver."""
    grave = gravest(flags, notes)
    if grave and ("dead" not in flags or len(flags) > 1 or not finite(forward)):
        killed = grave == flags.get("dead") and is_plain(net) and mean_drives(net)
        return f"{grave.rstrip('.')}: the non-zero mean of the weights dominates." if killed else grave
    if net.depth == 1:
        return "One layer has no rate."
    rates = {"signal": forward} | ({"gradient": backward} if backward else {})
    changed = {name: r for (name, r), word in zip(rates.items(), words, strict=False) if word != "stable"}
    if not changed:
        return flag_of(flags) or unchanged(notes, backward is not None)
    if not all(map(finite, changed.values())):
        parts = [lost(name, r, net) for name, r in changed.items()]
        return f"{' and '.join(parts)}.".replace("the", "The", 1)
    both = backward is not None and finite(forward) and finite(backward) and together([forward, backward])
    cause = cause_of(flags, notes, changed, net)
    return f"{effect(rates if both else changed, both, net.depth)}{f': {cause}' if cause else ''}."


def gravest(flags: Mapping[str, str], notes: list[str]) -> str | None:
    """The sentence of a flag that no rate explains; dead units are no reason where their signal was rounded to zero."""
    left = [note for note in notes if note.startswith(("underflows", "gradient_underflows"))]
    first = next((flag for flag in flags if flag != "saturated"), None)
    if left and first in (None, "dead"):
        return note_sentence(left[0])
    return flags[first] if first else None


def flag_of(flags: Mapping[str, str]) -> str | None:
    """The sentence of the gravest flag."""
    return next(iter(flags.values()), None)


def unchanged(notes: list[str], backward: bool) -> str:
    """What may be said of a signal that gets through."""
    kept = "Signal and gradient keep their scale" if backward else "The signal keeps its scale"
    layer = noted(notes).get("correlation_collapse")
    alike = f", but from layer {layer} on the mean cosine between inputs is above {threshold('correlation_collapse')}"
    return f"{kept}{'' if layer is None else alike}."


def effect(rates: Mapping[str, Rate], both: bool, depth: int) -> str:
    """What each layer does, and what comes of it."""
    found = list(rates.values())
    outcomes = [outcome(rate, depth) for rate in found]
    start = "Each layer multiplies the"
    if both:
        return f"{start} mean square of signal and gradient by {rounded(found[0].factor)}, so RMS {outcomes[0]}"
    if len(found) == 1:
        return f"{start} {next(iter(rates))}'s mean square by {rounded(found[0].factor)}, so RMS {outcomes[0]}"
    (signal, gradient), (one, other) = (rounded(rate.factor) for rate in found), outcomes
    (head, _, most), (common, _, rest) = one.rpartition(" in "), other.rpartition(" in ")
    same = f"RMS {head} in {most.split()[0]} and {rest}"
    ends = same if head and head == common else f"the signal's RMS {one} and the gradient's {other}"
    return f"{start} signal's mean square by {signal} and the gradient's by {gradient}, so {ends}"


def outcome(found: Rate, depth: int) -> str:
    """`falls 1000x in 20 layers`; from end to end where the rate does not hold all the way."""
    log = math.log10(found.factor)
    verb = "falls" if found.ratio < 0 else "grows"
    if abs(log * (depth - 1) / 2 - found.ratio) > UNEVEN * abs(found.ratio):
        return f"{verb} {times(found.ratio)} over {depth} layers"
    decades = math.log10(threshold("vanishing"))
    layers = max(1, round(2 * decades / abs(log)))
    return f"{verb} {rounded(10**decades)}x in {layers} layer{'s' if layers > 1 else ''}"


def times(ratio: float) -> str:
    """How many times larger or smaller, from its log10."""
    return f"{rounded(10 ** abs(ratio))}x" if abs(ratio) < 5 else f"10^{abs(ratio):.0f}"


def lost(name: str, found: Rate, net: Measured) -> str:
    """What became of a signal or gradient, at least one of which has no finite rate."""
    zero = np.isneginf(net.mean(f"{'activation' if name == 'signal' else name}_log10_mean_square")[1:])
    if zero.any():
        layers = np.flatnonzero(zero) + 1
        where = f"from layer {layers[0]} on" if name == "signal" else f"at layer {layers[-1]}"
        return f"the {name} is exactly zero {where}"
    if math.isfinite(found.ratio):
        return f"the {name}'s RMS {'falls' if found.ratio < 0 else 'grows'} by {times(found.ratio)}"
    return f"the {name} is not finite"


def cause_of(flags: Mapping[str, str], notes: list[str], changed: Mapping[str, Rate], net: Measured) -> str | None:
    """What makes signal or gradient change, or None where the parts measured do not explain it."""
    if "dead" in flags:
        return flags["dead"].rstrip(".")
    if net.own:
        return None
    if not is_plain(net):
        return block_cause(changed, net)
    parts, saturated = parts_of(net), saturation(flags, net)
    signal, gradient = changed.get("signal"), changed.get("gradient")
    if mean_drives(net) or (
        signal and signal.factor > 1 and "mean_dominated" in noted(notes) and parts.excess > SLIGHT
    ):
        of = "weights" if net.coordinates["bias"] == "zeros" else "weights or biases"
        return f"the non-zero mean of the {of} dominates{f', saturating {saturated}' if saturated else ''}"
    if signal:
        log = math.log10(signal.factor)
        explained = abs(parts.weights + parts.act - log) < max(SLIGHT, ALIKE * abs(log))
        return cause_forward(parts, log, net) if explained else None
    assert gradient is not None
    log = math.log10(gradient.factor)
    if abs(parts.widths) > abs(log) / 2 and parts.widths * log > 0:
        return f"fan_out is {rounded(power(parts.widths))} of fan_in a layer"
    if saturated:
        return f"sigma_w2 = {rounded(power(parts.weights))} saturates {saturated}"
    layer = noted(notes).get("correlation_collapse")
    collapse = f", inputs alike from layer {layer} on" if layer is not None else ""
    return f"chi_1 = sigma_w2 E phi'^2 {f'< 1 (ordered{collapse})' if log < 0 else '> 1 (chaotic)'}"


def cause_forward(parts: Parts, log: float, net: Measured) -> str:
    """Which of weights and activation makes a signal of this log10 rate change."""
    weights, act = f"sigma_w2 = {rounded(power(parts.weights))}", name_of(net)
    if abs(parts.weights) > 2 * SLIGHT and parts.weights * log > 0:
        return f"{weights} is too {'small' if log < 0 else 'large'} for {act}"
    if log < 0:
        return f"{act} {loss(parts, net)}, not restored by {weights}"
    return f"{act} multiplies it by {rounded(power(parts.act))}, and {weights}"


def loss(parts: Parts, net: Measured) -> str:
    """`drops half of it` where units are zero, `keeps 0.28 of it` where they are small."""
    zero, kept = float(np.mean(net.mean("activation_zero_fraction")[1:])), power(parts.act)
    if zero < ALIKE or kept > 1:
        return f"keeps {rounded(kept)} of it"
    return "drops half of it" if abs(kept - 0.5) < SLIGHT else f"drops {1 - kept:.0%} of it"


def saturation(flags: Mapping[str, str], net: Measured) -> str | None:
    """`73% of the units (|phi'| < 0.01)` where that is flagged."""
    if "saturated" not in flags:
        return None
    return f"{saturated_units(net)[1]} (|phi'| < 0.01)"


def name_of(net: Measured) -> str:
    """The activation without its parameters, or the file it comes from."""
    return str(net.coordinates["act"]).partition("(")[0].rpartition(":")[2]
