"""What to change in an unhealthy net: one sentence, with a number wherever measurement or theory has one."""

import math

import numpy as np

from varprobe.spec.number_format import rounded
from varprobe.verdict.block_causes import block_advice, is_plain
from varprobe.verdict.causes import finite, mean_drives, name_of, sigma_w2_of, together
from varprobe.verdict.flags import noted
from varprobe.verdict.measured import Measured
from varprobe.verdict.rates import Rate
from varprobe.verdict.thresholds import threshold

__all__ = ["advice_of"]

NEAR = 0.02
"""A weight std within this share of the best is the best."""


def advice_of(flags: list[str], notes: list[str], forward: Rate, backward: Rate | None, net: Measured) -> str | None:
    """What to change, or None where neither measurement nor theory tells."""
    names, zero_bias = noted(notes), net.coordinates["bias"] == "zeros"
    if net.own:
        return None
    if "symmetric" in flags:
        return "Draw the weights at random, for example he_normal or orthogonal."
    if names.keys() & {"overflows", "underflows", "gradient_overflows", "gradient_underflows"}:
        small = net.coordinates["dtype"] == "float16"
        return f"Rescale the weights so that each layer keeps its scale{', or use bfloat16' if small else ''}."
    if "non_finite" in flags:
        return None
    plain = is_plain(net)
    if plain and ("mean_dominated" in names or mean_drives(net)):
        return centered(net, zero_bias)
    if "dead" in flags:
        return (
            "Use an activation whose units cannot die, such as leaky_relu." if zero_bias else "Set the biases to zero."
        )
    rates = [r for r in (forward, backward) if r is not None]
    if not all(map(finite, rates)):
        return None
    if "zero_in_some_seeds" in flags and max(abs(r.ratio) for r in rates) <= math.log10(threshold("vanishing")):
        return "Widen the layers, or use an activation whose slope is zero nowhere, such as leaky_relu."
    if not plain:
        conv = str(net.coordinates["arch"]).startswith("conv") and net.coordinates["norm"] == "none"
        return by_rate(flags, rates) if conv else block_advice(rates, net)
    return by_theory(net) or by_rate(flags, rates)


def centered(net: Measured, zero_bias: bool) -> str:
    """Mean zero, and the std that theory prefers where it is known."""
    from varprobe.verdict.target_variance import target

    found, widths = target(str(net.coordinates["act"]), 0.0, net.depth, start_of(net)), set(net.widths[1:])
    if found is None:
        return f"Give the weights{'' if zero_bias else ' and biases'} mean zero."
    aim = f"sigma_w2 = {rounded(found.sigma_w2)}"
    std = f"std {rounded(math.sqrt(found.sigma_w2 / max(widths)))} ({aim})" if len(widths) == 1 else aim
    return f"Give the weights mean zero and {std}{'' if zero_bias else ', and set the biases to zero'}."


def by_theory(net: Measured) -> str | None:
    """What to multiply the weights by so that theory has signals get through; None where it does not know the net."""
    from varprobe.nets.initializers import INITIALIZERS
    from varprobe.verdict.target_variance import bias_variance, target

    act, sigma_w2 = name_of(net), sigma_w2_of(net)
    sigma_b2 = bias_variance(str(net.coordinates["bias"]), net.widths[-1], net.depth)
    if sigma_b2 is None or not 0 < sigma_w2 < math.inf:
        return None
    found = target(str(net.coordinates["act"]), sigma_b2, net.depth, start_of(net))
    if found is None:
        return None
    factor = math.sqrt(found.sigma_w2 / sigma_w2)
    lost = found.change > math.log10(threshold("vanishing"))
    if abs(factor - 1) < NEAR:
        return f"No weight std carries {act} through {net.depth} layers." if lost else None
    if lost:
        return (
            f"Multiply the weight std by {rounded(factor)}, to sigma_w2 = {rounded(found.sigma_w2)}: better, though "
            f"nothing carries {act} through {net.depth} layers."
        )
    how = " (--init critical)" if found.critical and not sigma_b2 and "critical" in INITIALIZERS else ""
    return f"Multiply the weight std by {rounded(factor)}, to sigma_w2 = {rounded(found.sigma_w2)}{how}."


def by_rate(flags: list[str], rates: list[Rate]) -> str | None:
    """What to multiply the weights by, from what was measured alone: exact for an activation of degree 1."""
    worst = max((r.factor for r in rates), key=lambda f: abs(math.log(f)))
    if abs(math.log(worst)) < NEAR / 2:
        return "Reduce the weight std." if "saturated" in flags else None
    if together(rates):
        return f"Multiply the weight std by {rounded(worst**-0.5)}."
    if worst > 1:
        return f"Divide the weight std by about {rounded(worst**0.5)}."
    if len(rates) == 2 and all(r.factor < 1 for r in rates):
        return f"Multiply the weight std by about {rounded(worst**-0.5)}."
    return "Reduce the weight std." if "saturated" in flags else None


def start_of(net: Measured) -> float:
    """log10 of the input's mean square, to two digits; 0 where it is not a number."""
    found = float(np.mean(net.values["activation_log10_mean_square"][:, 0]))
    return round(found, 2) if math.isfinite(found) else 0.0
