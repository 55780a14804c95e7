"""What is said of a family of a model's sites, and what to change."""

import math

from varprobe.model.causes import cause_of, weights_of
from varprobe.model.evidence import Evidence
from varprobe.model.families import Family
from varprobe.model.findings import Finding
from varprobe.model.judging import Judged, Side, steps_until_lost
from varprobe.spec.number_format import rounded
from varprobe.verdict.causes import effect, finite, times, together
from varprobe.verdict.rates import Rate, power
from varprobe.verdict.remedies import by_rate

__all__ = ["advice_of", "forgotten", "is_explained", "reason_of"]

GATES = "Raise the bias of the gate that keeps the state, such as a forget gate's, to 1 or more."
BRANCHES = "Divide what each branch adds by the root of the number of branches, or put a norm at the start of each."
FAST = 2
"""A factor of the mean square per site that is further from 1 is told, however few the sites are."""
RECURRENT = "{} the recurrent weights by about {}"


def reason_of(found: Judged | None, seen: Evidence) -> str:
    """What signal and gradient do in the worst family, naming sites."""
    if found is None:
        return "There are no similar sites to compare."
    changed = {name: side for name, side in found.sides.items() if side.word != "stable"}
    if not changed:
        return unchanged(found)
    rates = {name: side.rate for name, side in changed.items() if side.rate}
    if not found.family.fitted or len(rates) < len(changed) or not all(map(finite, rates.values())):
        return f"{'; '.join(compared(name, side, seen) for name, side in changed.items())}."
    if powers := {name: side for name, side in changed.items() if side.growth}:
        said = "; ".join(powered(name, side, len(found.family.layers)) for name, side in powers.items())
        rates = {name: rate for name, rate in rates.items() if name not in powers}
        if rates:
            said = f"{said}; {lowered(effect(rates, False, len(found.family.layers)))}"
        cause = cause_of(found.family, found.forward.rate, seen) if "signal" in changed else ""
        return f"{found.family.name}: {said}{cause}."
    every = {name: side.rate for name, side in found.sides.items() if side.rate}
    both = len(every) == 2 and all(map(finite, every.values())) and together(list(every.values()))
    said = effect(every if both else rates, both, len(found.family.layers))
    if found.recurrent:
        said = said.replace("Each layer", "Each step").replace(" layers", " steps").replace(" layer", " step")
    cause = cause_of(found.family, found.forward.rate, seen) if both or "signal" in changed else ""
    return f"{found.family.name}: {lowered(said)}{cause}."


def unchanged(found: Judged) -> str:
    """That they keep their scale, or change by less than counts, and how fast."""
    rates = {name: side.rate for name, side in found.sides.items() if side.rate}
    fast = any(finite(rate) and abs(math.log(rate.factor)) > math.log(FAST) for rate in rates.values())
    if not found.family.fitted or not fast or found.recurrent or has_power(found):
        what = f"The {next(iter(rates))} keeps its" if len(rates) == 1 else "Signal and gradient keep their"
        return f"{what} scale."
    sites = len(found.family.layers)
    known = {name: rate for name, rate in rates.items() if finite(rate) and rate.factor != 1}
    both = len(known) == 2 and together(list(known.values()))
    return f"{found.family.name}: RMS changes less than 10x over {sites} sites; {lowered(effect(known, both, sites))}."


def is_explained(found: Judged, seen: Evidence) -> bool:
    """Whether a signal that changes does so by the weights and activations of a family alone."""
    if "stable" in (found.forward.word, found.backward.word) or not found.family.fitted:
        return False
    return cause_of(found.family, found.forward.rate, seen).count(",") == 1


def lowered(text: str) -> str:
    """A sentence as it goes on behind a colon."""
    return text[:1].lower() + text[1:]


def powered(name: str, side: Side, sites: int) -> str:
    """`the signal's mean square is like depth^1.02, not exponential, and its RMS grows 4.1x over 12 sites`."""
    assert side.growth and side.rate
    start = "depth" if side.growth.start < 0.5 else f"(depth + {rounded(side.growth.start)})"
    verb = "grows" if side.rate.ratio > 0 else "falls"
    change = f"its RMS {verb} {times(side.rate.ratio)} over {sites} sites"
    return f"the {name}'s mean square is like {start}^{side.growth.exponent:.2f}, not exponential, and {change}"


def compared(name: str, side: Side, seen: Evidence) -> str:
    """`blocks/7/out: gradient 1e-6 of blocks/11/out`."""
    far, near = seen.labels[side.far], seen.labels[side.near]
    if side.rate is None:
        return f"from {near} to {far} the {name} is exactly zero"
    if not math.isfinite(side.rate.ratio):
        what = "exactly zero" if side.rate.ratio < 0 else "exactly zero or not finite"
        return f"{far}: the {name} is {what}"
    return f"{far}: the RMS of the {name} is {rounded(power(side.rate.ratio))} of that at {near}"


def advice_of(found: Judged, seen: Evidence) -> str | None:
    """What to multiply the weights by, where a rate says it; for recurrent nets what their kind needs."""
    if found.recurrent and found.gated and found.backward.word == "vanishing":
        return GATES
    rates = [side.rate for side in found.sides.values() if side.rate]
    if not found.family.fitted or not rates or not all(map(finite, rates)) or has_power(found):
        return None
    if found.recurrent:
        return None if found.gated else recurrent(rates, found.family, seen)
    if found.family.kind == "residual":
        return BRANCHES if found.forward.word == "exploding" else None
    if found.family.kind not in ("linear", "conv"):
        return None
    advice = by_rate([], rates)
    steps = max(abs(math.log(rate.factor)) for rate in rates)
    again = " Then probe again." if steps > 2 * math.log(FAST) else ""
    return advice and advice.replace("weight std", f"weight std of {found.family.name}") + again


def has_power(found: Judged) -> bool:
    """Whether a side goes like a power of depth."""
    return any(side.growth for side in found.sides.values())


def forgotten(found: Judged) -> Finding:
    """A gated state that keeps the gradient for a part of the sequence."""
    assert found.backward.rate
    steps, name = steps_until_lost(found.backward.rate), found.family.name
    text = f"{name}: the RMS of the gradient falls 1000x in {steps:.0f} steps, so that more is hardly remembered."
    return Finding("forgets", name, text, steps, None, GATES)


def recurrent(rates: list[Rate], family: Family, seen: Evidence) -> str:
    """What changes the rate per step of a recurrent net without gates; orthogonal weights have fan_in E W^2 = 1."""
    weights = weights_of(seen, family)
    orthogonal = weights is not None and abs(weights - 1) < 0.01
    worst = max((r.factor for r in rates), key=lambda f: abs(math.log(f)))
    verb = "Multiply" if worst < 1 else "Divide"
    said = RECURRENT.format(verb, rounded(max(worst, 1 / worst) ** 0.5))
    return f"{said}." if orthogonal else f"{said}, or draw them orthogonal."
