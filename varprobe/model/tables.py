"""From the statistics of a model to the dataset that everything else reads."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
import xarray as xr

from varprobe.model.layout import Layout, Row
from varprobe.model.probed import Stats
from varprobe.model.slots import ENDS
from varprobe.model.stats import Seen

__all__ = ["NOTES", "dataset_of"]

STATISTICS = {
    "log10_mean_square": "log10 of the mean square",
    "log10_var": "log10 of the variance about the mean",
    "mean_over_rms": "mean over root mean square, in [-1, 1]",
    "log10_absmax": "log10 of the largest magnitude",
}
QUANTITIES = {
    "product": "a matrix product before its bias",
    "preactivation": "what goes into an activation: a matrix product and its bias, or a norm",
    "activation": "what an activation gives; of other sites their value",
    "gradient": "dLoss/d(preactivation), of other sites dLoss/d(value)",
    "activation_gradient": "dLoss/d(activation)",
    "weight": "the parameter that feeds a matrix product or is its table",
    "weight_gradient": "dLoss/d(weight), over all its uses",
}
SHARES = {
    "activation_zero_fraction": "share of activations that are exactly zero",
    "activation_correlation": "mean cosine between the activations of two rows, which are samples and positions",
    "target_log10_mean_square": "log10 of the mean square of what the loss subtracts from the value",
    "output_log10_mean_square": "log10 of the mean square of the output in that difference, if that is not the value",
    "logits_log10_var": "log10 of the variance of what a softmax of the loss takes, if that is not the value itself",
    "prediction_error": "squared distance of the softmax of the logits and the labels, summed over classes: 0 to 2",
    "saturated_fraction": "share of what logistic functions and tanh give where their slope is below 0.01, the largest",
    "attention_entropy": "mean entropy of probabilities over the log of how many are not masked, 0 to 1",
    "dead_unit_fraction": "share of a linear site's units whose activation is zero everywhere",
    "overflow_fraction": "share of values that are not finite",
    "underflow_fraction": "share of values below the smallest normal number of their dtype, but not zero",
    "gradient_overflow_fraction": "the same of gradients: not finite",
    "gradient_underflow_fraction": "the same of gradients: below the smallest normal number, but not zero",
}
OF_ENDS = {"target": "log10_mean_square", "output": "log10_mean_square", "logits": "log10_var"}
"""What is kept of a value that the loss makes of a site's, or compares it with."""
OF_ROWS = ("activation_correlation", "attention_entropy")
UPDATES = {
    "update_log10_mean_square": "log10 of the mean square of what a step of training adds to a parameter",
    "update_log10_ratio": "log10 of the RMS of what a step adds over that of the parameter",
}
NOT_COMPUTED = Seen(*(np.float64(0) for _ in Seen._fields))
NOTES = {
    "unreached": "not reached by the loss",
    "unused": "not computed",
    "forward": "gradient not computed",
    "last": "last iteration, gradient not computed",
}
"""What the coordinate `note` says of a site that has no gradient, or no value: since nothing asks for it, or since it
is in a function with a gradient rule of its own that is no derivative of that, or in a while loop.
"""
FORWARD = ("", NOTES["forward"], NOTES["last"])
"""Notes of sites whose values are those of the model."""
INPUT = Row("input", "input", 0, -1, (), (-1, ()), 0, "")


def dataset_of(
    steps: Sequence[Sequence[Stats]], further: Mapping[str, Sequence[Any]] = MappingProxyType({})
) -> xr.Dataset:
    """A dataset with dims (config, seed, layer), and (config, seed, parameter) for what parameters are.

    Args:
        steps: the statistics of each configuration and seed, all of one layout.
        further: coordinates on `config`, beside those that every model has.
    """
    layout = steps[0][0].layout
    rows = (INPUT, *layout.rows)
    cells = [[columns_of(jax.tree.map(np.asarray, stats)) for stats in seeds] for seeds in steps]
    data = {
        name: (
            ("config", "seed", *dimension_of(name)),
            np.array([[one[name] for one in seeds] for seeds in cells]),
            {"long_name": text},
        )
        for name, text in described().items()
        if any(name in one for seeds in cells for one in seeds)
    }
    coords: dict[str, Any] = {
        "seed": np.arange(len(steps[0])),
        "layer": np.arange(len(rows)),
        "site": ("layer", np.array([row.site for row in rows])),
        "kind": ("layer", np.array([row.kind for row in rows])),
        "iteration": ("layer", np.array([row.iteration for row in rows])),
        "fan_in": ("layer", np.array([row.fan_in for row in rows])),
        "fan_out": ("layer", np.array([row.fan_out for row in rows])),
        "terms": ("layer", np.array([row.terms for row in rows]), {"long_name": "products that an output sums"}),
        "rows": ("layer", np.array([row.rows for row in rows]), {"long_name": "samples times positions of a product"}),
        "source": ("layer", np.array([row.source for row in rows])),
        "note": ("layer", np.array(["", *notes_of(layout, cells)])),
        "parameter": np.array(layout.leaves),
    }
    about = dict(layout.about) | {"depth": len(layout.rows)}
    coords |= {name: ("config", np.array([value] * len(steps))) for name, value in about.items()}
    coords |= {name: ("config", np.array(values)) for name, values in further.items()}
    return xr.Dataset(data, coords, attributes(layout, len(steps[0])))


def dimension_of(name: str) -> tuple[str, ...]:
    """The last dimension of a variable, besides configurations and seeds."""
    return () if name == "loss_value" else ("parameter",) if name.startswith("parameter_") else ("layer",)


def notes_of(layout: Layout, cells: Sequence[Sequence[Mapping[str, np.ndarray]]]) -> list[str]:
    """Of each row one of `NOTES`, or nothing."""

    def never(name: str) -> list[bool]:
        found = [one[name][1:] for seeds in cells for one in seeds if name in one]
        return np.all(np.isnan(found), axis=0).tolist() if found else [False] * len(layout.rows)

    def note(row: Row, unused: bool, forward: bool) -> str:
        kinds = {"unused": unused, "last": row.last, "unreached": not row.reached, "forward": forward}
        return next((NOTES[kind] for kind, holds in kinds.items() if holds), "")

    return list(map(note, layout.rows, never("overflow_fraction"), never("gradient_overflow_fraction")))


def attributes(layout: Layout, seeds: int) -> dict[str, Any]:
    """What is told of a model beside its numbers, as text and numbers."""
    about = dict(layout.about)
    return {
        "kind": "probe",
        "spec": json.dumps({"model": about["arch"]}),
        "seeds": seeds,
        "loss": about["loss"],
        "range": "dtype",
        "varprobe_version": version("varprobe"),
        "jax_version": version("jax"),
        "coverage": layout.coverage,
        "tied": json.dumps(layout.tied),
        "follows": json.dumps(dict(layout.follows)),
        "factors": json.dumps(layout.factors),
        "functions": json.dumps(layout.functions),
        "gates": json.dumps(layout.gates),
        "mixed": json.dumps(layout.mixed),
        "frozen": json.dumps(layout.frozen),
        "flat": json.dumps(layout.flat),
        "mismatched": json.dumps(layout.mismatched),
        "squashed": json.dumps(layout.squashed),
        "logits": json.dumps(layout.logits),
    }


def described() -> dict[str, str]:
    """Every variable that a model's dataset may have, with what it is."""
    found = {f"{q}_{s}": f"{text}: {what}" for q, text in QUANTITIES.items() for s, what in STATISTICS.items()}
    found |= SHARES
    for q, text in {"parameter": "a parameter", "parameter_gradient": "its gradient"}.items():
        found |= {f"{q}_{s}": f"{text}: {what}" for s, what in STATISTICS.items()}
    found["parameter_gradient_log10_ratio"] = "log10 of the RMS of a parameter's gradient over that of the parameter"
    found |= {f"{of}{name}": text for of in ("", "parameter_") for name, text in UPDATES.items()}
    found["loss_value"] = "the loss, or the scalar that is differentiated"
    found["parameter_stuck"] = "1 if the gradient of a parameter is zero, and stays so after steps that the others make"
    found["parameter_equal_units"] = "1 if the units of a matrix have equal weights and equal gradients"
    found["parameter_lost_update_fraction"] = "share of its entries that a step of gradient descent leaves as they are"
    return found


def columns_of(stats: Stats) -> dict[str, np.ndarray]:
    """Variable -> its values in the rows of the layout behind the input, or by parameter."""
    rows = stats.layout.rows
    columns: dict[str, np.ndarray] = {}

    def put(quantity: str, row: int, found: Seen) -> None:
        for name, value in moments(found).items():
            column(columns, f"{quantity}_{name}", len(rows))[row] = value

    for number, row in enumerate(rows, 1):
        roles = {role: (slot, index) for role, slot, index in row.slots if role != "bounded"}
        for name, value in of_ends(stats, row, roles).items():
            column(columns, name, len(rows))[number] = value
        roles = {role: where for role, where in roles.items() if role not in ENDS}
        flat = [at(stats.forward[slot], index) for _, slot, index in row.slots]
        if known := [float(one.flat) for one in flat if one.computed and not np.isnan(one.flat)]:
            column(columns, "saturated_fraction", len(rows))[number] = max(known)
        split = "activation" in roles or row.kind in ("linear", "conv")
        for role, (slot, index) in roles.items():
            quantity = {"product": "product", "value": "preactivation" if split else "activation"}.get(role, role)
            there = at(stats.forward[slot], index)
            put(quantity, number, there)
            shares(columns, number, len(rows), role, row.kind, quantity, there)
            if role != "product":
                back = at(stats.backward[slot], index) if row.reached else NOT_COMPUTED
                put("gradient" if role == "value" else "activation_gradient", number, back)
                if role == "value":
                    shares(columns, number, len(rows), "gradient", row.kind, "gradient", back)
        leaf, index = row.kernel
        if leaf >= 0:
            put("weight", number, at(stats.parameters[leaf], index))
            put("weight_gradient", number, at(stats.gradients[leaf], index))
            if stats.updates is not None:
                told = update_of(at(stats.updates[leaf], index), at(stats.parameters[leaf], index))
                for name, value in told.items():
                    column(columns, name, len(rows))[number] = value
    if stats.data is not None:
        put("activation", 0, stats.data)
        if "activation_correlation" in columns:
            columns["activation_correlation"][0] = stats.data.rows
    return columns | of_parameters(stats) | {"loss_value": np.array(stats.loss, np.float64)}


def of_ends(stats: Stats, row: Row, roles: Mapping[str, tuple[int, tuple[int, ...]]]) -> dict[str, float]:
    """What is known of what the loss makes of a site."""
    found = {}
    for role, statistic in OF_ENDS.items():
        if role in roles:
            slot, index = roles[role]
            found[f"{role}_{statistic}"] = moments(at(stats.forward[slot], index))[statistic]
    classes = dict(stats.layout.logits).get(row.site, 0)
    if "normalizer" in roles and classes and row.reached:
        logits, normalizer = (
            moments(at(stats.backward[slot], index))["log10_mean_square"]
            for slot, index in (roles.get("logits", roles["value"]), roles["normalizer"])
        )
        with np.errstate(invalid="ignore", over="ignore"):
            found["prediction_error"] = float(classes * np.power(10.0, np.subtract(logits, normalizer)))
    return found


def column(columns: dict[str, np.ndarray], name: str, rows: int) -> np.ndarray:
    """A variable, on the input and so many rows; NaN where nothing was written yet."""
    return columns.setdefault(name, np.full(rows + 1, np.nan))


def shares(
    columns: dict[str, np.ndarray], number: int, rows: int, role: str, kind: str, quantity: str, found: Seen
) -> None:
    """The shares of one value, into the columns."""
    told: dict[str, float] = {}
    if role == "gradient":
        told = {"gradient_overflow_fraction": found.overflow, "gradient_underflow_fraction": found.underflow}
    elif role == "value":
        told = {"overflow_fraction": found.overflow, "underflow_fraction": found.underflow}
    if kind == "probabilities" and role == "value":
        told["attention_entropy"] = found.rows
    elif role == "activation" or (role == "value" and kind in ("residual", "norm", "embedding")):
        told["activation_correlation"] = found.rows
    if quantity == "activation":
        told["activation_zero_fraction"] = found.zero
        if kind == "linear":
            told["dead_unit_fraction"] = found.dead
    told = {name: value for name, value in told.items() if name not in OF_ROWS or not np.isnan(value)}
    for name, value in told.items():
        column(columns, name, rows)[number] = value if found.computed else np.nan


def of_parameters(stats: Stats) -> dict[str, np.ndarray]:
    """The variables of parameters, each whole."""
    found: dict[str, list[float]] = {}
    for i, (parameter, gradient) in enumerate(zip(stats.parameters, stats.gradients, strict=True)):
        one, slope = moments(whole(parameter)), moments(whole(gradient))
        for name in STATISTICS:
            found.setdefault(f"parameter_{name}", []).append(one[name])
            found.setdefault(f"parameter_gradient_{name}", []).append(slope[name])
        with np.errstate(invalid="ignore"):
            ratio = (slope["log10_mean_square"] - one["log10_mean_square"]) / 2
        found.setdefault("parameter_gradient_log10_ratio", []).append(ratio)
        if stats.lost is not None:
            found.setdefault("parameter_lost_update_fraction", []).append(float(np.mean(stats.lost[i])))
        if stats.updates is not None:
            for name, value in update_of(whole(stats.updates[i]), whole(parameter)).items():
                found.setdefault(f"parameter_{name}", []).append(value)
    for name, told in (("parameter_stuck", stats.stuck), ("parameter_equal_units", stats.equal)):
        if told is not None:
            found[name] = [float(yes) for yes in told]
    return {name: np.array(values) for name, values in found.items()}


def update_of(update: Seen, parameter: Seen) -> dict[str, float]:
    """`UPDATES` of one parameter; a ratio of zero to zero is NaN."""
    told, level = moments(update)["log10_mean_square"], moments(parameter)["log10_mean_square"]
    with np.errstate(invalid="ignore"):
        return dict(zip(UPDATES, (told, float(np.subtract(told, level)) / 2), strict=True))


def at(found: Seen, index: tuple[int, ...]) -> Seen:
    """One entry."""
    return Seen(*(np.float64(value[index]) for value in found))


def whole(found: Seen) -> Seen:
    """Of all entries together, from those of each, which are equally many."""
    flat = Seen(*(np.asarray(value, np.float64).reshape(-1) for value in found))
    known = flat.absmax != 0
    e = flat.e[known].max() if known.any() else 0.0
    shift = np.where(known, np.exp2(flat.e - e), 1.0)
    with np.errstate(invalid="ignore"):
        mean = flat.mean * shift
        inner, outer = np.mean(flat.var * shift**2), np.mean((mean - mean.mean()) ** 2)
    return Seen(
        mean.mean(), np.mean(flat.ms * shift**2), inner + outer, (flat.absmax * shift).max(), e,
        flat.zero.mean(), flat.dead.mean(), flat.overflow.mean(), flat.underflow.mean(), flat.computed.max(),
        np.nan, np.nan,
    )  # fmt: skip


def moments(found: Seen) -> dict[str, float]:
    """The four statistics of one value; NaN for what was never computed."""
    if not found.computed:
        return dict.fromkeys(STATISTICS, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        places = float(found.e) * np.log10(2.0)
        return {
            "log10_mean_square": float(np.log10(found.ms) + 2 * places),
            "log10_var": float(np.log10(found.var) + 2 * places),
            "mean_over_rms": float(found.mean / np.sqrt(found.ms)),
            "log10_absmax": float(np.log10(found.absmax) + places),
        }
