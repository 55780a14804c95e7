"""`varprobe.diagnose`: a verdict on every configuration of a dataset, with the reason and a remedy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.runs.kinds import KINDS, resolve
from varprobe.spec.argument_types import checks_types
from varprobe.storage.chunks import Advance, unwatched
from varprobe.storage.kinds import DESCRIPTIONS, kind_of
from varprobe.verdict.table import VerdictTable

__all__ = ["Diagnosis", "diagnose"]


@dataclass(repr=False, eq=False)
class Diagnosis:
    """Verdicts as a small table: `rows` are the rows of `varprobe sweep --json`; print it, or show it in a notebook.

    Attributes:
        rows: one dict a configuration.
        title: what all of them have in common.
        ends: what the wide table shows beside each row, all log10 or a cosine: RMS of the gradient at layers 1 and L,
            the largest magnitudes forward and backward, the mean cosine between samples at layer L forward and 1 back.
        kind: that of the dataset, which decides the columns of the table.
    """

    rows: list[dict[str, Any]]
    title: str = ""
    ends: Sequence[dict[str, float]] = ()
    kind: str = field(default="sweep", kw_only=True)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def sheet(self, wide: bool = False) -> Any:
        """The table that is printed, cell by cell."""
        if not self.rows:
            return VerdictTable(("",), [], [])
        make = KINDS[self.kind].sheet
        assert make, "what has rows has a table"
        return resolve(make)(self.rows, wide=wide, **({"ends": self.ends} if self.ends else {}))

    def __str__(self) -> str:
        from varprobe.verdict.terminal import text_of

        return text_of(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from varprobe.verdict.terminal import html_of

        return html_of(self)


@checks_types
def diagnose(ds: xr.Dataset, *, advance: Advance = unwatched) -> Diagnosis:
    """Judge every configuration; the thresholds are those of `varprobe list verdicts`.

    Args:
        ds: what `varprobe.sweep`, `probe` or `track` returns, or a selection of it; one opened with chunks is read some
            at a time.
        advance: is told of so many configurations more as they are judged.

    Returns:
        One row a configuration, never merged. A factor is the mean square's per layer: 10^(least-squares slope of
        activation_log10_mean_square on layers 1..L), and 10^(-slope) of gradient_log10_mean_square, fitted per seed and
        averaged; its interval is Student's 95% over seeds; theory_activation_factor and theory_gradient_factor are
        those of the infinitely wide net, and theory_activation_z and theory_gradient_z how many standard errors the
        measured slopes lie from prediction, the drift of the finite width included. Values that are not finite are
        None. `formats` has the first layer at which the signal leaves float16, bfloat16 and float8_e4m3
        (`format_range.left_layers`). `correlation`, `effective_rank`, `jacobian` and `histogram` where the sweep was
        asked for them. Of a training the row is that of the first step that is unhealthy, else of the last, and tells
        of every step what `varprobe.training.verdicts.diagnosed_training` says. For coordinate checks `mup` and
        `healthy` are None if the widths cannot decide, and `go_to_width` is a width that may.

    Example:
        for row in varprobe.diagnose(ds):
            print(row["init"], row["activation_factor"], row["healthy"], row["reason"])
    """
    if not isinstance(ds, xr.Dataset) and hasattr(ds, "departure"):
        from varprobe.model.verdict import diagnosed_run

        rows, title = diagnosed_run(ds)
        return Diagnosis(rows, title, kind="probe")
    kind = kind_of(ds)
    judge = KINDS[kind].diagnose
    if judge is None:
        raise InvalidArgumentError(
            f"{DESCRIPTIONS[kind]} has no verdict of its own; see varprobe.verdict_accuracy", "ds"
        )
    return Diagnosis(*resolve(judge)(ds, advance), kind=kind)


def diagnosed_model(ds: xr.Dataset, advance: Advance) -> tuple[list[dict[str, Any]], str]:
    """(rows, title) of a probe of a model."""
    from varprobe.model.verdict import diagnosed

    found = diagnosed(ds)
    advance(len(found[0]))
    return found
