"""Names of configurations in tables and dashboards."""

import re
from collections import Counter
from collections.abc import Iterable

import xarray as xr

from varprobe.verdict.table import named, varying

__all__ = ["config_names", "tag_of"]

UNSAFE = re.compile(r"[^\w.,()=+ -]+")
"""What may not stand in a tag: a slash makes a group of it, and quotes and such have to be escaped in queries."""


def config_names(ds: xr.Dataset) -> list[str]:
    """A name for every configuration, of the coordinates in which they differ, in a dashboard's letters; all distinct.

    A model's steps are `step 10`, one model has the name of its function.
    """
    columns = {str(name): c.values.tolist() for name, c in ds.coords.items() if c.dims == ("config",)}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    names = varying(rows)
    return distinct(tag_of(named(row, names, rows) or str(row["arch"])) for row in rows)


def tag_of(text: str) -> str:
    """The text as part of a tag or a file's name: letters, digits, blanks and . , ( ) = + - _, not at the edges."""
    return UNSAFE.sub("_", text).strip(" .,_") or "unnamed"


def distinct(names: Iterable[str]) -> list[str]:
    """The names, those that came before with a number behind."""
    seen: Counter[str] = Counter()
    found: list[str] = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found
