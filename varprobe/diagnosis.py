"""`varprobe.diagnose`: a verdict on every configuration of a dataset, with the reason and a remedy."""

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from varprobe.rates import Rate, rate
from varprobe.results import COORDINATES
from varprobe.verdicts import threshold

__all__ = ["Diagnosis", "diagnose"]

FLOAT16_SMALLEST = 6.103515625e-05


class Diagnosis:
    """Verdicts as a small table: `rows` are the rows of `varprobe sweep --json`; print it, or show it in a notebook."""

    def __init__(self, rows: list[dict[str, Any]], title: str = "") -> None:
        self.rows = rows
        self.title = title

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        from varprobe.screen import text_of

        return text_of(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from varprobe.screen import html_of

        return html_of(self)


def diagnose(ds: xr.Dataset) -> Diagnosis:
    """Judge every configuration; the thresholds are those of `varprobe list verdicts`.

    Args:
        ds: what `varprobe.sweep` returns, or a selection of it with dims (config, seed, layer).

    Returns:
        One row a configuration, never merged. A factor is the mean square's per layer: 10^(least-squares slope of
        activation_log10_ms on layers 1..L), and 10^(-slope) of gradient_log10_ms, fitted per seed and averaged; its
        interval is Student's 95% over seeds. Values that are not finite are None.
    """
    from varprobe.screen import title_of

    return Diagnosis([row_of(ds.isel(config=i)) for i in range(ds.sizes["config"])], title_of(ds))


def row_of(net: xr.Dataset) -> dict[str, Any]:
    """The verdict on one configuration."""
    depth = int(net["depth"])
    net = net.isel(layer=slice(0, depth + 1)).load()
    activation = net["activation_log10_ms"].values[:, 1:]
    gradient = net["gradient_log10_ms"].values[:, 1:][:, ::-1]
    forward = rate(activation)
    measured_back = not json.loads(net.attrs.get("spec", "{}")).get("forward_only", False)
    backward = rate(gradient) if measured_back else None
    flags, flag_reasons = flags_of(net, measured_back)
    words = word(forward, activation), word(backward, gradient) if backward else None
    healthy = not flags and not {"vanishing", "exploding"} & set(words)
    row = {name: value_of(net[name]) for name in COORDINATES[:8]}
    row |= {name: value_of(net[name]) for name in ("init_first", "init_last") if name in net.coords}
    row["seeds"] = net.sizes["seed"]
    row |= {name: value_of(net[name]) for name in COORDINATES[8:]}
    row["activation_factor"], row["activation_factor_ci95"] = factor_fields(forward)
    row["gradient_factor"], row["gradient_factor_ci95"] = factor_fields(backward) if backward else (None, [None, None])
    row["forward"], row["backward"] = words
    row["certain"] = all(certain(r) for r in (forward, backward) if r is not None)
    row["flags"], row["notes"] = flags, notes_of(net)
    row["healthy"] = healthy
    row["reason"] = " ".join(flag_reasons) or reason_of(forward, backward, words, depth, net)
    row["advice"] = None if healthy else advice_of(flags, forward, backward, net)
    return row


def value_of(coordinate: xr.DataArray) -> Any:
    """A coordinate as a plain int or str."""
    value = coordinate.values[()]
    if isinstance(value, str | np.str_):
        text = str(value)
        return int(text) if coordinate.name == "width" and text.isdigit() else text
    return int(value)


def factor_fields(found: Rate) -> tuple[float | None, list[float | None]]:
    """A factor and its interval, None where not finite; a signal that is exactly zero has none."""
    finite = [x if math.isfinite(x) else None for x in (found.factor, found.low, found.high)]
    return finite[0], finite[1:]


def word(found: Rate, log10_ms: np.ndarray) -> str:
    """The word for the seed-mean RMS ratio between layers 1 and L of (seeds, layers) values."""
    mild, severe = math.log10(threshold("stable")), math.log10(threshold("vanishing"))
    ratio = found.ratio
    if math.isnan(ratio):  # zero from end to end, or out of range
        return "vanishing" if np.isneginf(log10_ms).any() and not np.isnan(log10_ms).any() else "exploding"
    if abs(ratio) <= mild:
        return "stable"
    if ratio < 0:
        return "shrinking" if ratio >= -severe else "vanishing"
    return "growing" if ratio <= severe else "exploding"


def certain(found: Rate) -> bool:
    """Whether the interval of the ratio lies on one side of every threshold."""
    if math.isinf(found.ratio):
        return True
    mild, severe = math.log10(threshold("stable")), math.log10(threshold("vanishing"))
    if not (math.isfinite(found.ratio_low) and math.isfinite(found.ratio_high)):
        return False
    return not any(found.ratio_low <= edge <= found.ratio_high for edge in (-severe, -mild, mild, severe))


def seed_mean(net: xr.Dataset, name: str) -> np.ndarray:
    """(layers,) mean over seeds."""
    return net[name].mean("seed").values


def first_layer(where: np.ndarray) -> int | None:
    """The first layer at which a condition over (layers,) holds."""
    found = np.flatnonzero(where)
    return int(found[0]) if found.size else None


def widths_of(net: xr.Dataset) -> list[int]:
    """Units of layers 0 (unknown: 2) and 1..L."""
    text = str(net["width"].values)
    depth = int(net["depth"])
    return [2, *(map(int, text.split("-")) if "-" in text else [int(text)] * depth)]


def flags_of(net: xr.Dataset, measured_back: bool) -> tuple[list[str], list[str]]:
    """(flags, a sentence for each)."""
    flags, reasons = [], []
    for name in ("preactivation", "activation", "gradient") if measured_back else ("preactivation", "activation"):
        bad = ~(net[f"{name}_log10_absmax"].values[:, 1:] < np.inf) | np.isnan(net[f"{name}_log10_ms"].values[:, 1:])
        layers = np.flatnonzero(bad.any(axis=0)) + 1
        if layers.size:
            layer = layers[-1] if name == "gradient" else layers[0]
            flags.append("non_finite")
            reasons.append(f"The {name} leaves the range of its float at layer {layer}.")
            break
    equal = seed_mean(net, "equal_unit_fraction") >= 1
    alive = np.concatenate([[False], np.isfinite(seed_mean(net, "activation_log10_ms")[:-1])])
    several = np.array(widths_of(net)) > 1
    if (layer := first_layer(equal & alive & several)) is not None:
        flags.append("symmetric")
        zero = "zero" if np.isneginf(seed_mean(net, "preactivation_log10_ms")[layer]) else "the same value"
        reasons.append(f"Every unit of layer {layer} computes {zero}, and would keep doing so in training.")
    dead = seed_mean(net, "dead_unit_fraction")
    if (layer := first_layer(dead > threshold("dead"))) is not None and "symmetric" not in flags:
        flags.append("dead")
        reasons.append(f"{dead[layer]:.0%} of the units of layer {layer} are zero on the whole batch.")
    saturated = seed_mean(net, "saturated_nonzero_fraction")[1:]
    if np.isfinite(saturated).any() and (share := float(np.nanmedian(saturated))) > threshold("saturated"):
        flags.append("saturated")
        reasons.append(f"Saturated: {share:.0%} of the units of the median layer have |phi'| < 0.01.")
    return flags, reasons


def notes_of(net: xr.Dataset) -> list[str]:
    """What is worth knowing but no failure, each with the first layer where it holds."""
    rms = seed_mean(net, "activation_log10_ms") / 2
    z_rms = seed_mean(net, "preactivation_log10_ms") / 2
    largest = np.fmax(
        net["activation_log10_absmax"].max("seed").values, net["preactivation_log10_absmax"].max("seed").values
    )
    with np.errstate(invalid="ignore"):
        found = {
            "correlation_collapse": seed_mean(net, "activation_correlation") > threshold("correlation_collapse"),
            "mean_dominated": np.abs(seed_mean(net, "preactivation_mean_over_rms")) > threshold("mean_dominated"),
            "leaves_float16": (largest > math.log10(threshold("leaves_float16")))
            | (np.fmin(rms, z_rms) < math.log10(FLOAT16_SMALLEST)),
        }
        if net.attrs.get("range") == "dtype":
            found["overflows"] = ~(largest < np.inf)
            found["underflows"] = np.isneginf(np.fmin(rms, z_rms))
    return [f"{name}(layer={layer})" for name, where in found.items() if (layer := first_layer(where)) is not None]


def size_of(found: Rate) -> str:
    """The size of a change from end to end."""
    size = abs(found.ratio)
    return f"{10**size:.3g}x" if size < 5 else f"10^{size:.0f}"


def reason_of(forward: Rate, backward: Rate | None, words: tuple[str, str | None], depth: int, net: xr.Dataset) -> str:
    """One sentence."""
    if depth == 1:
        return "One layer has no rate."
    changed = []
    for quantity, found, verdict in (("activation", forward, words[0]), ("gradient", backward, words[1])):
        if found is None or verdict == "stable":
            continue
        name = "signal" if quantity == "activation" else "gradient"
        zero = np.flatnonzero(np.isneginf(seed_mean(net, f"{quantity}_log10_ms")[1:])) + 1
        if zero.size:
            where = f"from layer {zero[0]} on" if quantity == "activation" else f"at layer {zero[-1]} and below"
            changed.append((name, f"is exactly zero {where}"))
        elif not math.isfinite(found.ratio):
            changed.append((name, "is not finite"))
        else:
            verb = "shrinks" if found.ratio < 0 else "grows"
            toward = "to the last layer" if quantity == "activation" else "on its way to layer 1"
            changed.append((name, f"{verb} by {size_of(found)} in RMS {toward}"))
    if not changed:
        return "Signal and gradient keep their scale." if backward else "The signal keeps its scale."
    return f"The {' and the '.join(' '.join(c) for c in changed)}."


def advice_of(flags: list[str], forward: Rate, backward: Rate | None, net: xr.Dataset) -> str | None:
    """One sentence that says what to change, or None where a measurement alone does not tell."""
    if "symmetric" in flags:
        return "Draw the weights at random, for example he_normal or orthogonal."
    if "non_finite" in flags:
        return None
    if any(note.startswith("mean_dominated") for note in notes_of(net)):
        return "Give the weights mean zero."
    factors = [r.factor for r in (forward, backward) if r is not None]
    if not all(math.isfinite(f) and f > 0 for f in factors):
        return None
    worst = max(factors, key=lambda f: abs(math.log(f)))
    together = all(abs(math.log(f / worst)) < 0.1 * abs(math.log(worst)) for f in factors)
    if together:
        return f"Multiply the weight std by {worst**-0.5:.3g}."
    if "saturated" in flags or worst > 1:
        return f"Reduce the weight std (by about {worst**0.5:.3g})." if worst > 1 else "Reduce the weight std."
    return None
