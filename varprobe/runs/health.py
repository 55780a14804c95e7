"""`varprobe.assert_healthy`: a test that fails where a signal cannot get through."""

from dataclasses import replace
from typing import Any

import xarray as xr

from varprobe.errors import printable
from varprobe.runs.diagnose import Diagnosis, diagnose
from varprobe.spec.argument_types import checks_types
from varprobe.verdict.flags import note_sentence

__all__ = ["assert_healthy", "healthy", "notes_of", "require_healthy", "stricter", "undecided", "unhealthy"]


def unhealthy(diagnosis: Diagnosis, strict: bool = False) -> Diagnosis:
    """The rows that vanish, explode or have a flag; those with a note or undecided too if `strict`."""
    bad = [i for i, row in enumerate(diagnosis.rows) if fails(row, strict)]
    ends = [diagnosis.ends[i] for i in bad] if diagnosis.ends else ()
    return replace(diagnosis, rows=[diagnosis.rows[i] for i in bad], ends=ends)


def stricter(diagnosis: Diagnosis) -> Diagnosis:
    """The same, rows with a note being unhealthy."""
    rows = [row | {"healthy": row["healthy"] and not row["notes"]} for row in diagnosis.rows]
    return replace(diagnosis, rows=rows)


def fails(row: dict[str, Any], strict: bool) -> bool:
    """Whether a row is unhealthy; None, which is undecided, and notes count if `strict`."""
    healthy = row["healthy"]
    return bool(row["notes"]) or not healthy if strict else healthy is not None and not healthy


def undecided(diagnosis: Diagnosis) -> list[str]:
    """A line for every row whose coordinate check cannot be decided at its widths."""
    return [printable(row["reason"]) for row in diagnosis if row["healthy"] is None]


def notes_of(diagnosis: Diagnosis) -> list[str]:
    """A line for every row that has notes, which the table does not show."""
    rows = [row for row in diagnosis if row["notes"] and "findings" not in row]  # a model's table has them
    return [f"Notes {row['act']}, {row['init']}: {' '.join(map(note_sentence, row['notes']))}" for row in rows]


@checks_types
def healthy(ds: xr.Dataset, strict: bool = False) -> bool:
    """Whether every configuration is healthy, by what `assert_healthy` says.

    Args:
        ds: as `assert_healthy` takes it.
        strict: count notes, and coordinate checks that are undecided, too.

    Example:
        assert vp.healthy(vp.probe(model, x, y, loss="cross_entropy"))
    """
    return not len(unhealthy(diagnose(ds), strict))


@checks_types
def assert_healthy(ds: xr.Dataset, strict: bool = False) -> None:
    """Raise AssertionError, with the table of what is wrong and what to change, unless every configuration is healthy.

    Healthy is what neither vanishes nor explodes forward or backward (RMS within 1000x between layers 1 and L) and has
    no flag; `varprobe list verdicts` has the thresholds.

    Args:
        ds: what `varprobe.sweep`, `probe`, `track` or `coord_check` returns, or a selection of it. A coordinate check
            passes if it is muP, or if its widths cannot decide.
        strict: count notes too, such as `correlation_collapse`, and coordinate checks that are undecided.

    Example:
        def test_signal_gets_through():
            vp.assert_healthy(vp.sweep(depth=30, act="gelu", init="he_normal", seeds=4))
    """
    __tracebackhide__ = True
    require_healthy(diagnose(ds), strict)


def require_healthy(diagnosis: Diagnosis, strict: bool = False) -> None:
    """The same of verdicts that are there already."""
    __tracebackhide__ = True
    bad = unhealthy(diagnosis, strict)
    if len(bad):
        lines = [f"{len(bad)} of {len(diagnosis)} configurations are unhealthy", str(bad)]
        raise AssertionError("\n".join(lines + (notes_of(bad) if strict else [])))
