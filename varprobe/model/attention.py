"""Attention that looks at one key, or at all alike."""

import numpy as np

from varprobe.model.evidence import Evidence
from varprobe.model.findings import Finding
from varprobe.spec.number_format import rounded
from varprobe.verdict.rates import power
from varprobe.verdict.thresholds import threshold

__all__ = ["one_hot_attention", "uniform_attention"]


def entropies(seen: Evidence) -> np.ndarray:
    """`attention_entropy` of the rows whose probabilities mix values; of others, as of classes or experts, NaN."""
    direct = seen.lineage.direct
    mixing = [site for site, kind in zip(seen.sites, seen.kinds, strict=True) if kind == "mixing"]
    mixed = {behind for site in mixing for behind in (direct or {}).get(site, ())}
    here = np.array([direct is None or site in mixed for site in seen.sites])
    return np.where(here, seen.mean("attention_entropy"), np.nan)


def one_hot_attention(seen: Evidence) -> list[Finding]:
    """Nearly all probability on one key: queries and keys get almost no gradient then."""
    entropy = entropies(seen)
    at = np.flatnonzero(np.nan_to_num(entropy, nan=1.0) < threshold("one_hot_attention"))
    if not at.size:
        return []
    label, share = seen.labels[at[0]], float(entropy[at[0]])
    logits, rms = logits_of(seen, at[0])
    router = logits is not None and seen.kinds[logits] == "linear"
    what = "these probabilities" if router else "the attention"
    text = f"{label}: the entropy of {what} is {rounded(share)} of what equal probabilities have"
    advice = "Divide the logits, or draw queries smaller."
    if logits is not None and rms > 1:
        text += f"; their logits have RMS {rounded(rms)}"
        advice = f"Divide the attention's logits by {rounded(rms)}; usual is 1 / sqrt(size of a head)."
        if router:
            advice = f"Divide the weights of {seen.labels[logits]} by {rounded(rms)}."
    return [Finding("one_hot_attention", label, f"{text}.", share, 1.0, advice)]


def logits_of(seen: Evidence, row: int) -> tuple[int | None, float]:
    """The row of the logits that probabilities are made of, and their RMS; (None, NaN) where they are not known."""
    direct = set((seen.lineage.direct or {}).get(seen.sites[row], ()))
    before = [i for i in range(row) if seen.sites[i] in direct and seen.iterations[i] == seen.iterations[row]]
    rms = power(seen.value()[before[-1]] / 2) if before else np.nan
    return (before[-1], rms) if np.isfinite(rms) else (None, np.nan)


def uniform_attention(seen: Evidence) -> list[Finding]:
    """Equal probabilities in every layer: attention takes means, whatever the queries are."""
    entropy = entropies(seen)
    rows = np.flatnonzero(~np.isnan(entropy))
    if not rows.size or entropy[rows].min() <= threshold("uniform_attention"):
        return []
    label, least = seen.labels[rows[0]], float(entropy[rows].min())
    text = f"{label}: in every attention the entropy is above {threshold('uniform_attention')} of the largest possible."
    return [Finding("uniform_attention", label, text, least)]
