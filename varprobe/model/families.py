"""Families of like sites that follow one another: names that differ by one number, iterations; a factor needs three."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from varprobe.model.lineage import Lineage
from varprobe.model.tables import FORWARD

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

    Each site of a family follows from the one before: what comes out of that goes into it, be it by way of others.
    Actor and critic, or queries and keys, are families of their own however they are named; the second is `name#2`.

    Where none is of products, all linear layers but queries, keys and values, and all convolutions, are compared. The
    gradient at one position cannot be compared with the gradient of the mean over positions, so that linear layers
    whose products have other numbers of rows are apart. So are products with the transpose of a kernel that was used
    before, a product of two signals and one of that with a third, and a last layer of another width than the others. A
    name with several numbers belongs to the first of them by which enough of its kind differ: blocks/3/mlp/0 to
    blocks/*/mlp/0. Iterations of a scan that follow one another are a family; of those that do not, as samples of a
    map, the last is taken. Haiku's `linear` is its `linear_0`. Sites that the loss does not reach, or that were not
    computed, are in none. Those of which only the gradient was not computed are in one.
    """
    sites, kinds = (ds[name].values.tolist() for name in ("site", "kind"))
    notes = ds["note"].values.tolist() if "note" in ds.coords else [""] * len(sites)
    rows = ds["rows"].values.tolist() if "rows" in ds.coords else [0] * len(sites)
    widths = ds["fan_out"].values.tolist() if "fan_out" in ds.coords else [0] * len(sites)
    lineage = Lineage.of(ds)
    used = [layer for layer in range(1, len(sites)) if notes[layer] in FORWARD]
    several = {sites[i] for i in used if ds["iteration"].values[i] > 0}
    repeated = {site for site in several if lineage.follows(sites.index(site), sites.index(site))}
    apart = {site.partition("#")[0] for site in repeated}
    names = numbered([site if site.partition("#")[0] in apart else site.partition("#")[0] for site in sites])
    patterns = [[name] if site in repeated else patterns_of(name) for name, site in zip(names, sites, strict=True)]

    def likeness(layer: int, name: str) -> tuple[str, str, int]:
        own = {"linear": rows[layer], "mixing": lineage.takes(sites[layer], "mixing")}
        return name, kinds[layer], own.get(kinds[layer], 0)

    follow = set().union(*lineage.direct.values()) if lineage.direct else set(sites)

    def without_head(chain: tuple[int, ...]) -> tuple[int, ...]:
        """The chain without a last layer that nothing follows, if it has another width than the one before."""
        *others, last = chain
        apart = len(chain) >= SMALLEST and sites[last] not in follow and widths[last] != widths[others[-1]]
        return tuple(others) if apart else chain

    def grouped(named: Iterable[tuple[int, str]], least: int) -> list[tuple[str, str, tuple[int, ...]]]:
        alike: dict[tuple[str, str, int], list[int]] = defaultdict(list)
        for layer, name in named:
            alike[likeness(layer, name)].append(layer)
        return [
            (name, kind, chain)
            for (name, kind, _), layers in alike.items()
            for chain in kept(map(without_head, chains(layers, lineage.follows)), least, sites)
        ]

    length = {
        (name, layer): min(len(chain), SMALLEST)
        for name, _, chain in grouped(((layer, name) for layer in used for name in patterns[layer]), 1)
        for layer in chain
    }
    chosen = [(layer, max(patterns[layer], key=lambda name: length.get((name, layer), 0))) for layer in used]
    families = grouped(chosen, SMALLEST)
    if any(kind in CHAIN for _, kind, _ in families):
        return told_apart(families, 0)
    asides = lineage.asides()
    chained = [i for i in used if kinds[i] in CHAIN and sites[i] not in asides]
    compared = grouped([(i, kinds[i] + ".T" * is_turned(sites[i])) for i in chained], 2)
    return told_apart([*compared, *families], len(compared))


def is_turned(site: str) -> bool:
    """Whether a site multiplies by the transpose of a kernel that was used before, as derivatives do."""
    return site.partition("#")[0].endswith(".T")


def told_apart(found: Sequence[tuple[str, str, tuple[int, ...]]], compared: int) -> list[Family]:
    """Families of (name, kind, layers), the second of a name and kind as `name#2`; the first so many are not fitted."""
    count: Counter[tuple[str, str]] = Counter()
    families = []
    for place, (name, kind, layers) in enumerate(found):
        count[name, kind] += 1
        number = count[name, kind]
        families.append(Family(f"{name}#{number}" if number > 1 else name, kind, layers, place >= compared))
    return families


def chains(layers: Sequence[int], follows: Callable[[int, int], bool]) -> list[tuple[int, ...]]:
    """Layers, in the order of execution, in as many parts as it takes that each follows from the one before."""
    found: list[list[int]] = []
    for layer in layers:
        chain = next((chain for chain in found if follows(layer, chain[-1])), None)
        if chain is None:
            found.append([layer])
        else:
            chain.append(layer)
    return [tuple(chain) for chain in found]


def kept(found: Iterable[tuple[int, ...]], least: int, sites: Sequence[str]) -> list[tuple[int, ...]]:
    """Those of enough layers; of the same sites in iterations that do not follow one another only the last.

    In the first iteration of a recurrent network the state is zero, and so is the gradient of what multiplies it.
    """
    last = {tuple(sites[layer] for layer in chain): chain for chain in found}
    return sorted(chain for chain in last.values() if len(chain) >= least)


def numbered(names: list[str]) -> list[str]:
    """The names, those that have no number where others have one numbered 0."""
    places: dict[str, int] = {}
    for name in names:
        for match in re.finditer(r"_\d+(?=/|$)", name):
            places.setdefault(name[: match.start()] + name[match.end() :], match.start())
    return [f"{name[:at]}_0{name[at:]}" if (at := places.get(name)) is not None else name for name in names]


def patterns_of(name: str) -> list[str]:
    """The name itself, and with one of its numbers as `*`."""
    return [name, *(f"{name[: m.start()]}*{name[m.end() :]}" for m in re.finditer(r"\d+", name))]


def labels_of(ds: xr.Dataset) -> list[str]:
    """Each row as messages name it: blocks/attn/out[7] of a site that has several iterations."""
    sites, iterations = (ds[name].values for name in ("site", "iteration"))
    several = {site for site in np.unique(sites) if (iterations[sites == site] > 0).any()}
    return [f"{s}[{i}]" if s in several else str(s) for s, i in zip(sites.tolist(), iterations.tolist(), strict=True)]
