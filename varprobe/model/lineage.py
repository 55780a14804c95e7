"""Which sites of a model's dataset follow from which."""

import json
from collections.abc import Mapping, Sequence

import xarray as xr

__all__ = ["Lineage"]


class Lineage:
    """Sites and those behind them, from attrs["follows"]: of each site the sites that it follows from directly.

    Without that, as in datasets of varprobe 0.1, every row is taken to follow from those before it.
    """

    def __init__(self, sites: Sequence[str], direct: Mapping[str, Sequence[str]] | None) -> None:
        self.sites = sites
        self.direct = direct
        self.number = {name: i for i, name in enumerate(direct or ())}
        self.row = {site: row for row, site in reversed(list(enumerate(sites)))}
        self.all_behind = closed([[self.number[s] for s in behind] for behind in (direct or {}).values()])

    @classmethod
    def of(cls, ds: xr.Dataset) -> "Lineage":
        """That of a dataset."""
        text = ds.attrs.get("follows")
        return cls(ds["site"].values.tolist(), None if text is None else json.loads(text))

    def follows(self, later: int, earlier: int) -> bool:
        """Whether a row, of two in the order of execution, follows from the other."""
        if self.direct is None:
            return True
        after, before = (self.number[self.sites[row]] for row in (later, earlier))
        return bool(self.all_behind[after] >> before & 1)

    def is_behind(self, earlier: str, later: str) -> bool:
        """Whether a site is another, or behind it."""
        before, after = self.number[earlier], self.number[later]
        return before == after or bool(self.all_behind[after] >> before & 1)

    def takes(self, site: str, kind: str, kinds: Sequence[str]) -> bool:
        """Whether a site follows directly from one of a kind, kinds being of the rows."""
        behind = (self.direct or {}).get(site, ())
        return any(other in self.row and kinds[self.row[other]] == kind for other in behind)

    def asides(self, kinds: Sequence[str]) -> set[str]:
        """Products that go into attention, queries, keys and values, and what is between, such as a norm."""
        if self.direct is None:
            return set()
        kind = dict.fromkeys(self.direct, "")  # a site in a scan of no steps has no row
        kind |= dict(zip(self.sites, kinds, strict=True))
        heads = {s for s in self.direct if kind[s] == "logits" or kind[s] == "mixing"}
        found, left = set(), [b for s in heads if self.is_attention(s, kind) for b in self.direct[s]]
        while left:
            site = left.pop()
            if site not in found and kind[site] not in ("residual", "sum"):
                found.add(site)
                left += [] if kind[site] in ("linear", "conv", "embedding") else self.direct[site]
        return found

    def is_attention(self, site: str, kind: Mapping[str, str]) -> bool:
        """Whether a site is of logits, or mixes values by probabilities."""
        return kind[site] == "logits" or any(kind[b] == "probabilities" for b in (self.direct or {})[site])


def closed(direct: Sequence[Sequence[int]]) -> list[int]:
    """Of each number a set, as bits, of those behind it, step by step, from those directly behind it."""
    found = [sum({1 << b for b in behind}) for behind in direct]
    changed = True
    while changed:
        changed = False
        for i, behind in enumerate(direct):
            every = found[i]
            for b in behind:
                every |= found[b]
            changed |= every != found[i]
            found[i] = every
    return found
