"""Verdicts on models: what signal and gradient do in families of similar sites, and single places that are off."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from varprobe.model.attention import one_hot_attention, uniform_attention
from varprobe.model.causes import needed, weights_of
from varprobe.model.endings import large_logits, squashed_logits, target_scale, target_shape
from varprobe.model.evidence import Evidence
from varprobe.model.families import Family, families_of, labels_of
from varprobe.model.findings import Finding
from varprobe.model.flags import alike, dead, leaves_float16, lost_gradients, no_gradient, non_finite, saturated
from varprobe.model.judging import Judged, judge
from varprobe.model.learning import large_updates, lost_updates, unmoved
from varprobe.model.levels import branches, other_terms
from varprobe.model.outliers import odd_weights
from varprobe.model.recording import Recorder, sentence
from varprobe.model.sentences import advice_of, forgotten, is_explained, reason_of
from varprobe.model.symmetry import symmetric
from varprobe.model.tables import NOTES
from varprobe.model.zeros import sentence as sentence_of_zeros
from varprobe.model.zeros import without_zeros
from varprobe.storage.dataset import COORDINATES, with_configs
from varprobe.verdict.rates import factor_fields

__all__ = ["diagnosed", "diagnosed_run"]

FOLLOWING = ("large_logits", "target_scale")
"""Flags that a signal which grows brings about."""
TIED = 0.9
"""Families whose RMS changes by this part of the worst's decades do the same."""
MOST = 3
"""Sites that are unlike others and are named."""
ADVICE = "Lower the learning rate, warm it up, or clip the gradient; look at this site in the steps before."
CHECKS: tuple[Callable[[Evidence], list[Finding]], ...] = (
    non_finite,
    dead,
    no_gradient,
    symmetric,
    lost_gradients,
    saturated,
    squashed_logits,
    large_logits,
    one_hot_attention,
    target_shape,
    target_scale,
    lost_updates,
    large_updates,
    alike,
    uniform_attention,
    branches,
    leaves_float16,
    other_terms,
    unmoved,
)
"""In the order in which they are told, the gravest first."""


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
        row["reason"] += f" No site left its trend in {len(recorder.steps)} records."
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
    seen = Evidence(without_zeros(ds), labels)
    judged = [found for family in families if (found := judge(seen, family))]
    worst = worst_of(seen, judged)
    findings = findings_of(seen, judged)
    wrong = [found for found in findings if not found.weak]
    row: dict[str, Any] = {name: ds[name].values.item() for name in COORDINATES[:8]}
    row |= {"seeds": ds.sizes["seed"]} | {name: ds[name].values.item() for name in COORDINATES[8:]}
    row |= {"step": ds["step"].values.item()} if "step" in ds.coords else {}
    row |= fields(worst)
    row["flags"] = list(dict.fromkeys(found.flag for found in wrong))
    row["notes"] = list(dict.fromkeys(found.flag for found in findings if found.weak))
    row["formats"] = {}
    row["healthy"] = not wrong and not any(j.bad for j in judged)
    told, advice = told_of(wrong, worst, seen)
    row["reason"] = " ".join(filter(None, [*told, zeros, unreached(seen)]))
    row["advice"] = advice if not row["healthy"] or (worst and is_explained(worst, seen)) else None
    row["site"] = wrong[0].site if wrong else worst.family.name if worst else ""
    row["findings"] = [found.fields() for found in findings]
    row["families"] = [
        {"family": j.family.name, "kind": j.family.kind, "sites": len(j.family.layers), "fitted": j.family.fitted}
        | fields(j)
        | {"healthy": not j.bad, "forgets": j.forgets}
        | {"weights": weights_of(seen, j.family), "needed": needed(seen, j.family)}
        for j in judged
    ]
    return row


def worst_of(seen: Evidence, judged: list[Judged]) -> Judged | None:
    """The family that is farthest from level: of several that are, a residual stream, or that whose weights are off."""
    worst = max(judged, key=lambda j: (j.bad, j.severity), default=None)
    if worst is None or not worst.bad:
        return worst
    words = worst.forward.word, worst.backward.word
    tied = [j for j in judged if (j.forward.word, j.backward.word) == words and j.severity > TIED * worst.severity]
    return max(tied, key=lambda j: (j.family.kind == "residual", misfit(seen, j.family)), default=worst)


def misfit(seen: Evidence, family: Family) -> float:
    """How far the weights of a family are from what its activation needs, in decades."""
    weights, wanted = weights_of(seen, family), needed(seen, family)
    return abs(math.log10(weights / wanted)) if weights and wanted else 0.0


def findings_of(seen: Evidence, judged: list[Judged]) -> list[Finding]:
    """All of them: sites that are unlike others of their family behind what is graver."""
    odd = odd_weights(seen, [j.family for j in judged])
    if not odd:  # a signal that jumps may follow from weights that are off
        jumps = sorted((j.jump for j in judged if j.jump), key=lambda found: seen.labels.index(found.site))
        odd = jumps[:1]
    found = [finding for check in CHECKS for finding in check(seen)]
    found += [forgotten(j) for j in judged if j.forgets][:1]
    return [f for f in found if f.grave] + odd[:MOST] + [f for f in found if not f.grave]


def told_of(wrong: list[Finding], worst: Judged | None, seen: Evidence) -> tuple[list[str], str | None]:
    """(sentences, advice): the gravest finding alone, else the worst family and all findings."""
    if wrong and wrong[0].grave:
        return [wrong[0].sentence], wrong[0].advice
    grown = worst is not None and (worst.forward.word == "exploding" or (wrong and wrong[0].flag == "outlier"))
    advice = [found.advice for found in wrong if not (grown and found.flag in FOLLOWING)]
    sentences = [found.sentence for found in wrong]
    explained = bool(wrong) and wrong[0].flag == "outlier" and not (worst and worst.throughout)
    told = sentences
    if not wrong or (worst and worst.bad and not explained):
        told = [reason_of(worst, seen), *sentences]
    if worst and (worst.bad or not wrong) and not explained:
        advice = [advice_of(worst, seen), *advice]
    return told, " ".join(dict.fromkeys(filter(None, advice))) or None


def unreached(seen: Evidence) -> str:
    """How many sites have no gradient; nothing where all have one."""
    known = {site for site, _ in seen.listed("flat")}
    slopes = seen.mean("parameter_gradient_log10_mean_square")
    moved = {name for name, slope in zip(seen.parameters, slopes, strict=True) if np.isfinite(slope)}
    known |= {product for name, _, product in seen.listed("factors") if name in moved}  # by another use
    pairs = zip(seen.sites, seen.notes, strict=True)
    found = (site for site, note in pairs if note == NOTES["unreached"] and site not in known)
    names = list(dict.fromkeys(found))
    if not names:
        return ""
    who = f"{names[0]} is" if len(names) == 1 else f"{len(names)} sites, such as {names[0]}, are"
    return f"{who} not reached by the loss."


def fields(found: Judged | None) -> dict[str, Any]:
    """The factors and words of a family; `*_power` is the exponent where a power of depth fits better than a factor."""
    fitted = found if found and found.family.fitted else None
    row: dict[str, Any] = {}
    for name, side in (("activation", found and found.forward), ("gradient", found and found.backward)):
        row[f"{name}_factor"], row[f"{name}_factor_ci95"] = factor_fields(side.rate if fitted and side else None)
        row[f"{name}_power"] = side.growth.exponent if side and side.growth else None
        row["forward" if name == "activation" else "backward"] = side.word if side else "stable"
    return row | {"certain": not found or (found.forward.certain and found.backward.certain)}
