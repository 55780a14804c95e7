"""What is wrong with a model at one site or parameter, whatever the rates are."""

import json
import math
from collections.abc import Callable

import numpy as np
import xarray as xr

from varprobe.numerals import rounded
from varprobe.verdicts import threshold

__all__ = ["alike", "flags_of"]

QUANTITIES = ("preactivation", "activation", "gradient")


def flags_of(ds: xr.Dataset, labels: list[str]) -> dict[str, str]:
    """Flag -> a sentence that names a site or parameter, the gravest first.

    Args:
        ds: of one configuration, without the zeros that `zeros.without_zeros` takes away.
        labels: what messages call each row.
    """
    checks: dict[str, Callable[[xr.Dataset, list[str]], str]] = {
        "non_finite": non_finite,
        "dead": dead,
        "no_gradient": no_gradient,
        "large_logits": large_logits,
        "one_hot_attention": one_hot_attention,
    }
    return {flag: sentence for flag, check in checks.items() if (sentence := check(ds, labels))}


def non_finite(ds: xr.Dataset, labels: list[str]) -> str:
    """The first site that is not finite; a gradient comes from the last."""
    for quantity in QUANTITIES:
        name = f"{quantity}_log10_absmax"
        if name not in ds:
            continue
        largest, ms = ds[name].values, ds[f"{quantity}_log10_ms"].values
        wrong = (np.isposinf(largest) | (np.isnan(ms) & ~np.isnan(largest))).any(axis=0)
        over = f"{'gradient_' if quantity == 'gradient' else ''}overflow_fraction"
        if over in ds and quantity != "activation":
            wrong |= (ds[over].values > 0).any(axis=0)
        if wrong.any():
            at = np.flatnonzero(wrong)[-1 if quantity == "gradient" else 0]
            return f"{labels[at]}: the {quantity} is not finite."
    return ""


def dead(ds: xr.Dataset, labels: list[str]) -> str:
    """Units that are zero on the whole batch."""
    share = np.zeros(ds.sizes["layer"])
    for name, least in (("dead_unit_fraction", 0.0), ("activation_zero_fraction", 1.0)):
        if name in ds:
            found = np.nan_to_num(ds[name].values.mean(axis=0))
            convolved = ds["kind"].values == "conv" if least else True
            share = np.where(convolved & (found >= least), np.maximum(share, found), share)
    at = np.flatnonzero(share > threshold("dead"))
    return f"{labels[at[0]]}: {share[at[0]]:.0%} of the units are zero on the whole batch." if at.size else ""


def no_gradient(ds: xr.Dataset, labels: list[str]) -> str:
    """No parameter has a gradient, or the weights of a site have none though a signal enters there.

    Weights behind stop_gradient have none on purpose.
    """
    name = "parameter_gradient_log10_ms"
    if name in ds and np.isneginf(ds[name].values).all():
        return "The gradient of every parameter is exactly zero: a step of training changes nothing."
    factors = [parameter for parameter, *_ in json.loads(ds.attrs.get("factors", "[]"))]
    if name in ds and factors and np.isneginf(ds[name].sel(parameter=list(dict.fromkeys(factors))).values).all():
        return "The gradient of all weights is exactly zero: a step of training changes biases at most."
    if "weight_gradient_log10_ms" not in ds or "note" not in ds.coords:
        return ""
    zero = np.isneginf(ds["weight_gradient_log10_ms"].values).all(axis=0) & (ds["note"].values == "")
    zero &= ~np.isin(ds["site"].values, json.loads(ds.attrs.get("frozen", "[]")))
    for name in ("preactivation_log10_ms", "product_log10_ms"):
        zero &= ~np.isneginf(ds[name].values).any(axis=0) if name in ds else True
    at = np.flatnonzero(zero)
    return f"{labels[at[0]]}: the gradient of its weights is exactly zero." if at.size else ""


def large_logits(ds: xr.Dataset, labels: list[str]) -> str:
    """Logits of a cross entropy that vary so much that it starts far above chance, which is ln of their number.

    For Gaussian logits of a standard deviation s the cross entropy with labels that do not depend on them is on average
    ln V + s^2 / 2, as long as s^2 < 2 ln V (Derrida 1981).
    """
    if "preactivation_log10_var" not in ds:
        return ""
    for site, classes in json.loads(ds.attrs.get("logits", "[]")):
        (rows,) = np.nonzero(ds["site"].values == site)
        spread = 10 ** (ds["preactivation_log10_var"].values[:, rows].mean() / 2)
        if classes > 1 and spread > threshold("large_logits"):
            start = (
                f"the loss is {rounded(ds['loss_value'].values.mean())}" if "loss_value" in ds else "the loss is more"
            )
            chance = f"chance, ln {classes} = {math.log(classes):.1f}"
            return f"{site}: logits of {rounded(spread)} standard deviation; {start}, and with 1 it is near {chance}."
    return ""


def one_hot_attention(ds: xr.Dataset, labels: list[str]) -> str:
    """Attention with nearly all probability on one key. Queries and keys get almost no gradient then."""
    if "attention_entropy" not in ds:
        return ""
    entropy = ds["attention_entropy"].values.mean(axis=0)
    at = np.flatnonzero(np.nan_to_num(entropy, nan=1.0) < threshold("one_hot_attention"))
    if not at.size:
        return ""
    share = rounded(float(entropy[at[0]]))
    return f"{labels[at[0]]}: the entropy of the attention is {share} of what equal probabilities have."


def alike(ds: xr.Dataset, labels: list[str]) -> str:
    """From where on all rows have one direction though the input's do not: worth knowing, and no failure of its own."""
    if "activation_correlation" not in ds:
        return ""
    cosine = ds["activation_correlation"].values.mean(axis=0)
    limit = threshold("correlation_collapse")
    at = np.flatnonzero(np.nan_to_num(cosine) > limit)
    if not at.size or at[0] == 0:
        return ""
    return f"{labels[at[0]]}: the mean cosine between samples or positions is above {limit}."
