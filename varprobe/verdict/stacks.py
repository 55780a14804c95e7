"""The verdict on every configuration of a sweep, with the reason and a remedy."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from varprobe.storage.chunks import Advance, blocks, unwatched
from varprobe.storage.dataset import COORDINATES, FURTHER, require_whole, with_configs
from varprobe.sweeps.probes.summaries import probe_fields
from varprobe.verdict.causes import reason_of
from varprobe.verdict.flags import flags_of, lost_seeds, notes_of
from varprobe.verdict.format_range import left_layers
from varprobe.verdict.measured import Measured, measured_nets
from varprobe.verdict.rates import certain, factor_fields, rate, word
from varprobe.verdict.remedies import advice_of
from varprobe.verdict.table import title_of
from varprobe.verdict.z_scores import against_theory

__all__ = ["diagnosed_stacks"]


def diagnosed_stacks(
    ds: xr.Dataset, advance: Advance = unwatched
) -> tuple[list[dict[str, Any]], str, list[dict[str, float]]]:
    """(one row a configuration, title, what the wide table shows at the ends of each stack)."""
    require_whole(ds)
    rows, ends = [], []
    for part in blocks(with_configs(ds), advance):
        for net, further in zip(measured_nets(part), probe_fields(part), strict=True):
            rows.append(row_of(net) | further)
            ends.append(ends_of(net.judged()))
    return rows, title_of(rows, ds.attrs), ends


def row_of(measured: Measured) -> dict[str, Any]:
    """The verdict on one configuration: of seeds in which nothing is exactly zero, and how many others there are."""
    net, lost = measured.judged(), lost_seeds(measured)
    activation = net.values["activation_log10_mean_square"][:, 1:]
    gradient = net.values["gradient_log10_mean_square"][:, :0:-1]
    forward, backward = rate(activation), rate(gradient) if net.backward else None
    words = word(forward, activation), word(backward, gradient) if backward else None
    flags, left = flags_of(net), left_layers(net)
    notes = notes_of(net, left)
    healthy = not flags and not lost and not {"vanishing", "exploding"} & set(words)
    row = {name: net.coordinates[name] for name in COORDINATES[:8]}
    row |= {name: net.coordinates[name] for name in FURTHER if name in net.coordinates}
    row |= {"seeds": measured.seeds} | {name: net.coordinates[name] for name in COORDINATES[8:]}
    row["activation_factor"], row["activation_factor_ci95"] = factor_fields(forward)
    row["gradient_factor"], row["gradient_factor_ci95"] = factor_fields(backward)
    row |= against_theory(measured)
    row["forward"], row["backward"] = words
    row["certain"] = certain(forward, activation) and (backward is None or certain(backward, gradient))
    row["flags"], row["notes"], row["formats"] = [*flags, *(["zero_in_some_seeds"] if lost else [])], notes, left
    row["healthy"] = healthy
    reason = reason_of(flags, notes, forward, backward, words, net)
    row["reason"] = f"{lost} In the others: {reason[0].lower()}{reason[1:]}" if lost else reason
    row["advice"] = None if healthy else advice_of(row["flags"], notes, forward, backward, net)
    return row


def ends_of(net: Measured) -> dict[str, float]:
    """What `Diagnosis.ends` says of a configuration; NaN where it was not measured."""

    def largest(names: Sequence[str]) -> float:
        found = np.concatenate([net.mean(f"{name}_log10_absmax")[1:] for name in names])
        return float(found.max()) if not np.isnan(found).any() else math.nan

    gradient = net.mean("gradient_log10_mean_square") / 2
    return {
        "gradient_rms_first": float(gradient[1]),
        "gradient_rms_last": float(gradient[-1]),
        "largest_signal": largest(["preactivation", "activation"]),
        "largest_gradient": largest(["gradient"]),
        "activation_correlation": float(net.mean("activation_correlation")[-1]),
        "gradient_correlation": float(net.mean("gradient_correlation")[1]),
    }
