"""Verdicts on models: what signal and gradient do within each family of like sites, and the worst of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from varprobe.model.causes import cause_of
from varprobe.model.families import Family, families_of, labels_of
from varprobe.model.flags import alike, flags_of
from varprobe.model.recording import Recorder, sentence
from varprobe.model.tables import NOTES
from varprobe.model.zeros import sentence as sentence_of_zeros
from varprobe.model.zeros import without_zeros
from varprobe.numerals import rounded
from varprobe.rates import Rate, power, rate
from varprobe.reasons import effect, finite, together
from varprobe.remedies import by_rate
from varprobe.results import COORDINATES, with_configs
from varprobe.words import certain, factor_fields, word

__all__ = ["Judged", "diagnosed", "diagnosed_run", "fields", "judge"]

AT_FIRST = "This is one step: record training (varprobe.instrument, varprobe.Recorder) to see a later divergence."
GRAVE = {"non_finite", "dead", "no_gradient"}
"""Flags that say more than any rate."""
SMALLER_HEAD = "Divide the weights of this site by that number, or set them to zero."
ADVICE = "Lower the learning rate, warm it up, or clip the gradient; look at this site in the steps before."


@dataclass(frozen=True)
class Judged:
    """A family, and what was found of it; a side is None where it is exactly zero everywhere, or was not measured.

    ends: of each side the layers that are compared, the one nearer to where it comes from first.
    """

    family: Family
    forward: Rate | None
    backward: Rate | None
    words: tuple[str, str | None]
    certain: bool
    ends: tuple[tuple[int, int], tuple[int, int]]

    @property
    def severity(self) -> float:
        """How far from level, in decades of RMS."""
        found = [math.inf if math.isnan(r.ratio) else abs(r.ratio) for r in (self.forward, self.backward) if r]
        return max(found, default=0.0)


def diagnosed(ds: xr.Dataset) -> tuple[list[dict[str, Any]], str]:
    """(one row a configuration, title); rows as those of stacks, with `site`, what the row is about, and `families`."""
    ds = with_configs(ds)
    families, labels = families_of(ds), labels_of(ds)
    rows = [row_of(ds.isel(config=i), families, labels) for i in range(ds.sizes["config"])]
    return rows, f"{title_of(rows[0], ds)}, {ds.attrs.get('coverage', '')}"


def diagnosed_run(recorder: Recorder) -> tuple[list[dict[str, Any]], str]:
    """The same of a training run: its last step, or the first at which a site left its trend."""
    kept, found = recorder.dataset(), recorder.departure
    before = np.flatnonzero(kept["step"].values <= (found.step if found else recorder.steps[-1]))
    (row,), title = diagnosed(kept.isel(config=[before[-1] if before.size else 0]))
    labels = labels_of(kept)
    if found is None:
        row["reason"] = row["reason"].replace(AT_FIRST, f"No site left its trend in {len(recorder.steps)} records.")
    else:
        label = labels[found.row + 1]
        row |= {"step": found.step, "site": label, "flags": ["departed", *row["flags"]], "healthy": False}
        row |= {"reason": f"{sentence(found, label)}.", "advice": ADVICE}
    return [row], f"{title}, steps {recorder.steps[0]} to {recorder.steps[-1]}"


def title_of(row: dict[str, Any], ds: xr.Dataset) -> str:
    """`Transformer, 38 sites, 8 seeds, batch 32, loss mse`."""
    sites, seeds = len(np.unique(ds["site"].values)) - 1, row["seeds"]
    several = f"{sites} site{'s' * (sites != 1)}, {seeds} seed{'s' * (seeds != 1)}"
    dtype = f", {row['dtype']}" if row["dtype"] != "float32" else ""
    step = f", step {row['step']}" if "diverged_step" in ds else ""
    return f"{row['arch']}, {several}, batch {row['batch']}, loss {row['loss']}{dtype}{step}"


def row_of(ds: xr.Dataset, families: list[Family], labels: list[str]) -> dict[str, Any]:
    """The verdict on one configuration."""
    zeros = sentence_of_zeros(ds)
    ds = without_zeros(ds)
    judged = [found for family in families if (found := judge(ds, family))]
    worst = max(judged, key=lambda j: (bad(j), j.severity), default=None)
    flags = flags_of(ds, labels)
    healthy = not flags and not any(map(bad, judged))
    row: dict[str, Any] = {name: ds[name].values.item() for name in COORDINATES[:8]}
    row |= {"seeds": ds.sizes["seed"]} | {name: ds[name].values.item() for name in COORDINATES[8:]}
    row |= {"step": ds["step"].values.item()} if "step" in ds.coords else {}
    row |= fields(worst)
    row["flags"], row["notes"], row["formats"] = list(flags), [], {}
    row["healthy"] = healthy
    told = told_of(flags, worst, ds, labels)
    row["reason"] = " ".join(filter(None, [*told, alike(ds, labels), zeros, unreached(ds)]))
    if "diverged_step" in ds:
        row["reason"] = " ".join(row["reason"].replace(AT_FIRST, "").split())
    severe = worst is not None and bad(worst)
    row["advice"] = None if GRAVE & flags.keys() else advice_of(worst) if severe else advice_on(flags)
    row["site"] = worst.family.name if worst else ""
    row["families"] = [
        {"family": j.family.name, "sites": len(j.family.layers), "fitted": j.family.fitted} | fields(j) for j in judged
    ]
    return row


def told_of(flags: dict[str, str], worst: Judged | None, ds: xr.Dataset, labels: list[str]) -> list[str]:
    """What is graver than any rate; else what an unhealthy family does, and what may come of that."""
    grave = [sentence for flag, sentence in flags.items() if flag in GRAVE]
    others = [sentence for flag, sentence in flags.items() if flag not in GRAVE]
    if grave:
        return grave[:1]
    return others if others and not (worst and bad(worst)) else [reason_of(worst, ds, labels), *others]


def advice_on(flags: dict[str, str]) -> str | None:
    """What to do about a flag."""
    return SMALLER_HEAD if "large_logits" in flags else None


def unreached(ds: xr.Dataset) -> str:
    """How many sites have no gradient; nothing where all have one."""
    notes = ds["note"].values if "note" in ds.coords else np.array([])
    names = list(dict.fromkeys(ds["site"].values[notes == NOTES["unreached"]].tolist() if notes.size else []))
    if not names:
        return ""
    who = f"{names[0]} is" if len(names) == 1 else f"{len(names)} sites, such as {names[0]}, are"
    return f"{who} not reached by the loss."


def fields(found: Judged | None) -> dict[str, Any]:
    """The factors and words of a family."""
    fitted = found if found and found.family.fitted else None
    row: dict[str, Any] = {}
    row["activation_factor"], row["activation_factor_ci95"] = factor_fields(fitted.forward if fitted else None)
    row["gradient_factor"], row["gradient_factor_ci95"] = factor_fields(fitted.backward if fitted else None)
    row["forward"], row["backward"] = found.words if found else ("stable", "stable")
    return row | {"certain": found.certain if found else True}


def bad(found: Judged) -> bool:
    """Whether a family makes a model unhealthy."""
    return bool({"vanishing", "exploding"} & set(found.words))


def signal_of(ds: xr.Dataset, layers: Sequence[int]) -> np.ndarray:
    """log10 of the mean square, (seeds, sites): of what activations give where all have one."""
    activation, before = (
        ds[f"{q}_log10_ms"].values[:, list(layers)]
        if f"{q}_log10_ms" in ds
        else np.full((ds.sizes["seed"], len(layers)), np.nan)
        for q in ("activation", "preactivation")
    )
    if not np.isnan(activation).any():
        return activation
    return np.where(np.isnan(before), activation, before) if np.isnan(before).any() else before


def judge(ds: xr.Dataset, family: Family) -> Judged | None:
    """What signal and gradient do along a family; None where neither was computed.

    Sites without values are left out, such as a branch that was not taken, and so are gradients of values that the loss
    does not use. `flags_of` reports values that are NaN.
    """
    family = replace(family, layers=computed(family.layers, signal_of(ds, family.layers)))
    ahead = np.array(family.layers, int)
    behind = np.array(computed(family.layers, ds["gradient_log10_ms"].values[:, ahead]), int)[::-1]
    repeated = bool(ds["iteration"].values[ahead].any())
    forth, back = signal_of(ds, family.layers), ds["gradient_log10_ms"].values[:, behind]
    found = [side_of(forth, ahead, False), side_of(back, behind, repeated)]
    if not any(r for r, _, _, _ in found):
        return None
    (forward, first, sure, one), (backward, second, certainly, other) = found
    return Judged(family, forward, backward, (first, second), sure and certainly, (one, other))


def computed(layers: Sequence[int], values: np.ndarray) -> tuple[int, ...]:
    """The layers of which there are values, (seeds, layers), in some seed."""
    return tuple(layer for layer, column in zip(layers, values.T, strict=True) if not np.isnan(column).all())


def side_of(values: np.ndarray, layers: np.ndarray, repeated: bool) -> tuple[Rate | None, str, bool, tuple[int, int]]:
    """(rate, word, whether it is sure, ends) of (seeds, sites), the near end first; rate None for nothing but zeros.

    Zeros at the near end are what a signal has not reached, as the first state of a recurrent net, or steps behind the
    end of a sequence. A single zero at the first of several iterations is a gate that multiplies that state.
    """
    if values.shape[1] < 2:
        return None, "stable", True, (0, 0)
    zero = np.asarray(np.isneginf(values).all(axis=0))
    start = int(np.argmin(zero))
    stop = len(zero) - (repeated and bool(zero[-1]) and not zero[-2])
    kept, ends = values[:, start:stop], (int(layers[start]), int(layers[stop - 1]))
    if zero.all() or np.isnan(kept).all() or kept.shape[1] < 2:
        return None, "stable", True, ends
    found = rate(kept)
    return found, word(found, kept), certain(found, kept), ends


def reason_of(found: Judged | None, ds: xr.Dataset, labels: list[str]) -> str:
    """What signal and gradient do in the worst family, naming sites."""
    if found is None:
        return f"There are no like sites to compare. {AT_FIRST}"
    rates = {"signal": found.forward, "gradient": found.backward}
    changed = {n: r for (n, r), w in zip(rates.items(), found.words, strict=True) if r and w != "stable"}
    if not changed:
        kept = [name for name, r in rates.items() if r]
        what = f"The {kept[0]} keeps its" if len(kept) == 1 else "Signal and gradient keep their"
        return f"{what} scale. {AT_FIRST}"
    if not found.family.fitted or not all(map(finite, changed.values())):
        ends = {n: [labels[layer] for layer in end] for n, end in zip(rates, found.ends, strict=True)}
        told = "; ".join(compared(n, r, *ends[n]) for n, r in changed.items())
        return f"{told}." if bad(found) else f"{told}. {AT_FIRST}"
    both = all(r is not None and finite(r) for r in rates.values()) and together([r for r in rates.values() if r])
    fitted = {n: r for n, r in rates.items() if r} if both else changed
    said = effect(fitted, both, len(found.family.layers))
    end = "" if bad(found) else f" {AT_FIRST}"
    return f"{found.family.name}: {said[0].lower()}{said[1:]}{cause_of(found.family, found.forward, ds)}.{end}"


def compared(name: str, found: Rate, near: str, far: str) -> str:
    """`blocks/7/out: gradient 1e-6 of blocks/11/out`."""
    if math.isnan(found.ratio):
        return f"{far}: {name} exactly zero or not finite"
    return f"{far}: {name} {rounded(power(found.ratio))} of {near}"


def advice_of(found: Judged | None) -> str | None:
    """What to multiply the weights by, where a rate says it."""
    if found is None or not found.family.fitted or found.family.kind not in ("linear", "conv"):
        return None
    rates = [r for r in (found.forward, found.backward) if r]
    return by_rate([], rates) if rates and all(map(finite, rates)) else None
