"""What is wrong with a model at one site or parameter, whatever the rates are."""

import numpy as np

from varprobe.model.evidence import Evidence
from varprobe.model.findings import Finding
from varprobe.model.tables import NOTES
from varprobe.nets.float_formats import FORMATS
from varprobe.spec.number_format import rounded
from varprobe.verdict.rates import power
from varprobe.verdict.thresholds import threshold

__all__ = ["alike", "dead", "leaves_float16", "lost_gradients", "no_gradient", "non_finite", "saturated"]

QUANTITIES = ("preactivation", "activation", "gradient")
UNSTUCK = "Draw one of two zeros that multiply each other at random; a gate may start at 1."
SCALE_LOSS = "Multiply the loss by a large number and divide the gradients by it (loss scaling), or use bfloat16."
SAID = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!=", "convert_element_type": "a cast"}
THROUGH = "Let the gradient through, as in x + stop_gradient(f(x) - x) for such a function f."
ALIVE = "Set its bias to zero, or use an activation whose units cannot die, such as leaky_relu."
EMPTY = "Look at what enters {}, which is zero."
SMALLER = "Draw its weights smaller, or its biases nearer to zero (a forget gate's near 1)."


def non_finite(seen: Evidence) -> list[Finding]:
    """The first site that is not finite, a gradient comes from the last; else the loss."""
    for quantity in QUANTITIES:
        largest, ms = seen.seeds(f"{quantity}_log10_absmax"), seen.seeds(f"{quantity}_log10_mean_square")
        wrong = (np.isposinf(largest) | (np.isnan(ms) & ~np.isnan(largest))).any(axis=0)
        if quantity != "activation":
            wrong |= (seen.seeds(f"{'gradient_' if quantity == 'gradient' else ''}overflow_fraction") > 0).any(axis=0)
        if wrong.any():
            label = seen.labels[np.flatnonzero(wrong)[-1 if quantity == "gradient" else 0]]
            return [Finding("non_finite", label, f"{label}: the {quantity} is not finite.")]
    slopes = seen.seeds("parameter_gradient_log10_mean_square")
    if (bad := (np.isnan(slopes) | np.isposinf(slopes)).any(axis=0)).any():
        name = seen.parameters[int(np.argmax(bad))]
        return [Finding("non_finite", name, f"{name}: its gradient is not finite.")]
    if not np.isfinite(seen.mean("loss_value")).all():
        return [Finding("non_finite", "loss", "The loss is not finite, and every site is.")]
    return []


def dead(seen: Evidence) -> list[Finding]:
    """Units that are zero on the whole batch."""
    units = np.nan_to_num(seen.mean("dead_unit_fraction"))
    zeros = np.nan_to_num(seen.mean("activation_zero_fraction"))
    share = np.where((np.array(seen.kinds) == "conv") & (zeros >= 1), 1.0, units)
    share = np.where(np.array(seen.notes) == NOTES["unreached"], 0, share)
    entering = np.isneginf(seen.mean("preactivation_log10_mean_square")) & np.isfinite(
        seen.mean("weight_log10_mean_square")
    )
    found = []
    for at in np.flatnonzero(share > threshold("dead"))[:1]:
        label = seen.labels[at]
        text = f"{label}: {share[at]:.0%} of the units are zero on the whole batch."
        advice = EMPTY.format(label) if entering[at] else ALIVE
        found.append(Finding("dead", label, text, float(share[at]), 0.5, advice))
    return found


def no_gradient(seen: Evidence) -> list[Finding]:
    """No parameter has a gradient, or the weights of a site have none though a signal enters there.

    Weights behind stop_gradient have none on purpose.
    """
    zero = np.asarray(np.isneginf(seen.seeds("parameter_gradient_log10_mean_square")).all(axis=0))
    weights = np.isin(seen.parameters, reached_weights(seen))
    if zero.size and zero.all():
        text = "The gradient of every parameter is exactly zero: a step of training changes nothing."
        advice = SCALE_LOSS if "float16" in seen.ds["dtype"].item().split("+") else None
        return [Finding("no_gradient", "", text, 0.0, None, advice)]
    if weights.any() and zero[weights].all():
        text = "The gradient of all weights is exactly zero: a step of training changes biases at most."
        return [Finding("no_gradient", "", text, 0.0)]
    if found := stuck_parameters(seen):
        return found
    if "note" not in seen.ds.coords:
        return []
    site_zero = np.isneginf(seen.seeds("weight_gradient_log10_mean_square")).all(axis=0) & (np.array(seen.notes) == "")
    site_zero &= ~np.isin(seen.sites, seen.listed("frozen"))
    for name in ("preactivation_log10_mean_square", "product_log10_mean_square"):
        site_zero &= ~np.isneginf(seen.seeds(name)).any(axis=0)
    return [
        Finding("no_gradient", seen.labels[at], f"{seen.labels[at]}: the gradient of its weights is exactly zero.", 0.0)
        for at in np.flatnonzero(site_zero)[:1]
    ]


def stuck_parameters(seen: Evidence) -> list[Finding]:
    """Parameters that multiply a signal and never get a gradient: two zeros, or those that a flat function cuts off."""
    uses = [(name, site) for key in ("factors", "functions") for name, *_, site in seen.listed(key)]
    stuck = np.nan_to_num(seen.mean("parameter_stuck")) > 0
    zero = stuck & np.isneginf(seen.mean("parameter_log10_mean_square"))
    names, zeros = (set(np.array(seen.parameters)[some].tolist()) for some in (stuck, zero))
    if found := list(dict.fromkeys(name for name, _ in uses if name in zeros)):
        first, *others = found
        more = "" if not others else f" and {others[0]}" if len(others) == 1 else f" and {len(others)} more parameters"
        are = "are" if others else "is"
        text = f"{first}{more} {are} zero and without a gradient, also after steps that move the other parameters."
        return [Finding("no_gradient", first, text, 0.0, None, UNSTUCK)]
    flat, frozen = dict(seen.listed("flat")), seen.listed("frozen")
    for name, site in uses:
        if name in names and site and site not in frozen and (site in flat or is_passed_by(seen, site)):
            through = SAID.get(flat.get(site, ""), flat.get(site)) or "what is made of them"
            text = f"{site}: its weights get no gradient through {through}, whose slope is zero."
            return [Finding("no_gradient", site, text, 0.0, None, THROUGH)]
    return []


def is_passed_by(seen: Evidence, site: str) -> bool:
    """Whether a signal enters a site, and a gradient of its product comes back, so that its weights should have one."""
    rows = seen.rows.get(site, [])
    slopes, values = (seen.mean(f"{name}_log10_mean_square")[rows] for name in ("gradient", "preactivation"))
    known = np.isfinite(slopes) & np.isfinite(values) & np.isnan(seen.mean("weight_log10_mean_square")[rows])
    return bool(rows) and bool(known.all())


def reached_weights(seen: Evidence) -> list[str]:
    """The parameters that multiply a signal which the loss reaches; none if some product is of none of them."""
    kinds = dict(zip(seen.sites, seen.kinds, strict=True))
    reached = {s for s, note in zip(seen.sites, seen.notes, strict=True) if not note}
    factors = [(name, site) for name, _, site in seen.listed("factors") if not site or site in reached]
    products = {site for site in reached if kinds[site] in ("linear", "conv")}
    return [name for name, _ in factors] if products <= {site for _, site in factors} else []


def saturated(seen: Evidence) -> list[Finding]:
    """Gates, and other bounded functions, that are flat at most of their inputs."""
    share = np.nan_to_num(seen.mean("saturated_fraction"))
    found = np.flatnonzero(share > threshold("saturated"))
    if not found.size:
        return []
    at, others = found[np.argmax(share[found])], len({seen.sites[row] for row in found}) - 1
    label = seen.labels[at]
    more = f"; so are {others} other site{'s' * (others > 1)}" if others else ""
    text = (
        f"{label}: {share[at]:.0%} of what its logistic function or tanh gives is saturated (slope below 0.01){more}."
    )
    return [Finding("saturated", label, text, float(share[at]), 0.0, SMALLER)]


def lost_gradients(seen: Evidence) -> list[Finding]:
    """Gradients that are too small for their dtype."""
    share = np.nan_to_num(seen.mean("gradient_underflow_fraction"))
    at = int(np.argmax(share))
    if share[at] <= threshold("lost_gradients"):
        return []
    label = seen.labels[at]
    text = f"{label}: {share[at]:.0%} of the gradient is below the smallest normal number of its dtype."
    return [Finding("lost_gradients", label, text, float(share[at]), 0.0, SCALE_LOSS)]


def leaves_float16(seen: Evidence) -> list[Finding]:
    """Values that float16 cannot hold, whatever they were computed in."""
    largest = np.fmax(seen.mean("preactivation_log10_absmax"), seen.mean("activation_log10_absmax"))
    most = FORMATS["float16"].largest
    over = np.flatnonzero(np.nan_to_num(largest, nan=-np.inf, posinf=-np.inf)[1:] > np.log10(most)) + 1
    return [
        Finding(
            "leaves_float16",
            seen.labels[at],
            f"{seen.labels[at]}: the largest value is {rounded(power(largest[at]))}, and float16 ends at {most:.0f}.",
            power(largest[at]),
            most,
        )
        for at in over[:1]
    ]


def alike(seen: Evidence) -> list[Finding]:
    """From where on all samples, or positions, have one direction."""
    cosine, limit = seen.mean("activation_correlation"), threshold("correlation_collapse")
    at = np.flatnonzero(np.nan_to_num(cosine) > limit)
    if not at.size:
        return []
    label = seen.labels[at[0]]
    text = f"{label}: the mean cosine between samples or positions is above {limit}."
    return [Finding("correlation_collapse", label, text, float(cosine[at[0]]))]
