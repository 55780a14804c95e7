"""The figure of a dataset, written by a command."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from varprobe.errors import InvalidArgumentError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["draw_usual", "drawn_kind"]


def draw_usual(ds: "xr.Dataset", files: Sequence[Path], arguments: Sequence[str], **keywords: Any) -> str:
    """Write the default figure of a dataset into each of the files; return the first, or why there is no figure.

    `arguments` are those of the command line, which `varprobe plot --from` prints.
    """
    from varprobe.plots import save_figure
    from varprobe.plots.kinds import figure_kind
    from varprobe.storage.figure_origin import origin

    try:
        figure = figure_kind(drawn_kind(None, ds)).draw(ds, **keywords)
    except InvalidArgumentError as error:
        return f"none: {error.message}"
    for file in files:
        save_figure(figure, file, spec=origin(arguments, ds))
    return str(files[0])


def drawn_kind(name: str | None, ds: "xr.Dataset") -> str:
    """The kind of figure that is drawn of a dataset: the one named, or the default.

    Raises:
        InvalidArgumentError: the dataset is not of a kind that has this figure.
    """
    from varprobe.plots.kinds import KINDS as FIGURES
    from varprobe.runs.kinds import KINDS
    from varprobe.storage.kinds import DESCRIPTIONS, kind_of

    kind = kind_of(ds)
    plots = [figure for figure, about in FIGURES.items() if kind in about.of]
    if name not in (None, *plots):
        raise InvalidArgumentError(
            f"{name!r} is not a figure of {DESCRIPTIONS[kind]} (allowed: {', '.join(plots)})", "kind"
        )
    return name or KINDS[kind].plot
