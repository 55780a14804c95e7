"""Layers whose units are all equal, and stay so."""

import numpy as np

from varprobe.model.evidence import Evidence
from varprobe.model.findings import Finding

__all__ = ["symmetric"]


def symmetric(seen: Evidence) -> list[Finding]:
    """The first matrix whose units have equal weights and equal gradients, so that they learn the same.

    Units of a last matrix are outputs, which may be equal.
    """
    equal = set(np.array(seen.parameters)[np.nan_to_num(seen.mean("parameter_equal_units")) > 0].tolist())
    products = [site for site, kind in zip(seen.sites, seen.kinds, strict=True) if kind in ("linear", "conv", "mixing")]
    for name in (
        name
        for name, _, site in seen.listed("factors")
        if name in equal and site and any(seen.lineage.leads_to(site, other) for other in products if other != site)
    ):
        text = f"{name}: all units have equal weights and equal gradients, so that they learn the same."
        return [Finding("symmetric", name, text, 0.0, None, "Draw the weights at random.")]
    return []
