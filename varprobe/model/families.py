"""Families of like sites: those whose names differ by one number, and iterations of one site; a factor needs three."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import xarray as xr

__all__ = ["Family", "families_of", "labels_of"]

SMALLEST = 3
"""Sites between which a factor is fitted; fewer are compared."""

CHAIN = ("linear", "conv")
"""Kinds that are compared with each other where there is no family."""


@dataclass(frozen=True)
class Family:
    """Like sites in the order of execution; layers: their places in the dataset; fitted: whether they have a rate."""

    name: str
    kind: str
    layers: tuple[int, ...]
    fitted: bool


def families_of(ds: xr.Dataset) -> list[Family]:
    """The families of a model's dataset, in the order of their first sites.

    Where none is of products, all products but queries, keys and values are one, to be compared. If both linear
    layers and convolutions are left, only the kind with more sites is kept: the gradient at one position of a
    convolution cannot be compared with the gradient of the mean over positions.
    A name with several numbers belongs to the first of them by which enough of its kind differ: blocks/3/mlp/0 to
    blocks/*/mlp/0. Iterations of a scan are a family. Haiku's `linear` is its `linear_0`.
    """
    sites, kinds = (ds[name].values.tolist() for name in ("site", "kind"))
    repeated = set(ds["site"].values[ds["iteration"].values > 0].tolist())
    names = numbered([site if site in repeated else site.partition("#")[0] for site in sites])
    patterns = [[n] if site in repeated else patterns_of(n) for n, site in zip(names, sites, strict=True)]
    count = Counter((pattern, kind) for found, kind in zip(patterns, kinds, strict=True) for pattern in found)
    chosen: dict[tuple[str, str], list[int]] = defaultdict(list)
    for layer, (found, kind) in enumerate(zip(patterns, kinds, strict=True)):
        if kind != "input":
            chosen[max(found, key=lambda pattern: min(count[pattern, kind], SMALLEST)), kind].append(layer)
    large = {key: tuple(layers) for key, layers in chosen.items() if len(layers) >= SMALLEST}
    families = [Family(name, kind, layers, True) for (name, kind), layers in large.items()]
    if any(family.kind in CHAIN for family in families):
        return families
    chain = [i for i, kind in enumerate(kinds) if kind in CHAIN and not before_logits(sites, kinds, i)]
    if {kinds[i] for i in chain} == set(CHAIN):
        most = max(reversed(CHAIN), key=lambda kind: sum(kinds[i] == kind for i in chain))
        chain = [i for i in chain if kinds[i] == most]
    return [Family(" and ".join(CHAIN), "linear", tuple(chain), False), *families] if len(chain) > 1 else families


def before_logits(sites: list[str], kinds: list[str], layer: int) -> bool:
    """Whether logits of the site's module follow: it is a query, a key or a value."""
    module = sites[layer].rpartition("/")[0]
    later = zip(sites[layer:], kinds[layer:], strict=True)
    return bool(module) and any(kind == "logits" and site.rpartition("/")[0] == module for site, kind in later)


def numbered(names: list[str]) -> list[str]:
    """The names, those that have no number where others have one numbered 0."""
    bases = {
        name[: match.start()] + name[match.end() :] for name in names for match in re.finditer(r"_\d+(?=/|$)", name)
    }
    found = []
    for name in names:
        ends = [m.end() for m in re.finditer(r"[^/]+(?=/|$)", name)]
        end = next((end for end in ends if name in bases and not name[:end][-1].isdigit()), None)
        found.append(f"{name[:end]}_0{name[end:]}" if end else name)
    return found


def patterns_of(name: str) -> list[str]:
    """The name itself, and with one of its numbers as `*`."""
    return [name, *(f"{name[: m.start()]}*{name[m.end() :]}" for m in re.finditer(r"\d+", name))]


def labels_of(ds: xr.Dataset) -> list[str]:
    """Each row as messages name it: blocks/attn/out[7] of a site that has several iterations."""
    sites, iterations = (ds[name].values for name in ("site", "iteration"))
    several = {site for site in np.unique(sites) if (iterations[sites == site] > 0).any()}
    return [f"{s}[{i}]" if s in several else str(s) for s, i in zip(sites.tolist(), iterations.tolist(), strict=True)]
