"""Which sites of a model's dataset follow from which."""

import json
from collections.abc import Mapping, Sequence

import xarray as xr

__all__ = ["Lineage"]


class Lineage:
    """Sites and those behind them, from attrs["follows"]: of each site the sites that it follows from directly.

    Without that, as in datasets of varprobe 0.1, every row is taken to follow from those before it.
    """

    def __init__(self, sites: Sequence[str], kinds: Sequence[str], direct: Mapping[str, Sequence[str]] | None) -> None:
        self.sites = sites
        self.direct = direct
        self.kind = dict.fromkeys(direct or (), "")  # a site in a scan of no steps has no row
        self.kind |= dict(zip(sites, kinds, strict=True))
        self.number = {name: i for i, name in enumerate(direct or ())}
        self.all_behind = closed([[self.number[s] for s in behind] for behind in (direct or {}).values()])

    @classmethod
    def of(cls, ds: xr.Dataset) -> "Lineage":
        """That of a dataset."""
        text = ds.attrs.get("follows")
        return cls(ds["site"].values.tolist(), ds["kind"].values.tolist(), None if text is None else json.loads(text))

    def leads_to(self, earlier: str, later: str) -> bool:
        """Whether a site follows from another, step by step; from itself only through a loop."""
        return bool(self.all_behind[self.number[later]] >> self.number[earlier] & 1)

    def follows(self, later: int, earlier: int) -> bool:
        """Whether a row, of two in the order of execution, follows from the other."""
        return self.direct is None or self.leads_to(self.sites[earlier], self.sites[later])

    def is_behind(self, earlier: str, later: str) -> bool:
        """Whether a site is another, or behind it."""
        return earlier == later or self.leads_to(earlier, later)

    def takes(self, site: str, kind: str) -> bool:
        """Whether a site follows directly from one of a kind."""
        return any(self.kind[other] == kind for other in (self.direct or {}).get(site, ()))

    def asides(self) -> set[str]:
        """Products that go into attention, queries, keys and values, and what is between, such as a norm."""
        direct = self.direct or {}
        heads = [s for s in direct if self.kind[s] == "logits" or self.mixes(s)]
        found, left = set(), [b for s in heads for b in direct[s]]
        while left:
            site = left.pop()
            if site not in found and self.kind[site] not in ("residual", "sum"):
                found.add(site)
                left += [] if self.kind[site] in ("linear", "conv", "embedding") else direct[site]
        return found

    def mixes(self, site: str) -> bool:
        """Whether a site mixes values by probabilities."""
        return self.kind[site] == "mixing" and self.takes(site, "probabilities")


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
