"""Files of figures that are the same bytes for the same data, whole or not there at all."""

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from shutil import which
from typing import Any, BinaryIO

from matplotlib import rc_context
from matplotlib.figure import Figure

from varprobe.errors import InvalidArgumentError, lookup
from varprobe.plots.style import settings, usetex
from varprobe.storage.files import put, writing

__all__ = ["save_figure"]

CREATOR = "varprobe"
FORMATS = {".pdf": "pdf", ".svg": "svg", ".png": "png", ".pgf": "pgf"}
"""Ending -> format. PGF is for LaTeX's \\input, and LaTeX must be installed to measure its texts."""
SAME_BYTES: dict[Any, Any] = {
    "pdf.fonttype": 42,
    "pdf.compression": 6,
    "pdf.use14corefonts": False,
    "svg.fonttype": "path",
    "svg.hashsalt": CREATOR,
    "savefig.bbox": None,
    "savefig.transparent": False,
    "savefig.facecolor": "auto",
    "savefig.edgecolor": "auto",
}
"""Settings that decide the file and that the caller's matplotlibrc may hold otherwise."""
PGF: dict[Any, Any] = {
    "pgf.texsystem": "pdflatex",
    "pgf.rcfonts": False,
    "pgf.preamble": r"\usepackage{amsmath,amssymb}",
}
"""Texts of a PGF have the letters of the document that takes it in."""


def save_figure(fig: Figure, path: str | os.PathLike[str], *, spec: str | Mapping[str, Any] | None = None) -> None:
    """Write the figure to a .pdf, .svg, .png (300 dpi) or .pgf file, with fonts embedded and no date in it.

    Args:
        fig: the figure.
        path: where; the file appears only when it is complete, and replaces one that is there.
        spec: how the figure can be made again, kept in the file as JSON:
            keywords of a PDF, description of an SVG, text `spec` of a PNG, first line of a PGF. `origin_of` reads it.

    Raises:
        InvalidArgumentError: another ending, a folder that does not exist, or a .pgf without usetex or LaTeX.
        MachineError: the disk refused the file.
    """
    path = Path(path)
    kind = lookup(FORMATS, path.suffix.lower(), "figure format")
    if not path.parent.is_dir():
        raise InvalidArgumentError(f"there is no folder {str(path.parent)!r} to write {path.name!r} to", "path")
    with rc_context(SAME_BYTES | (settings() if usetex() else {})), writing(path):
        put(path, lambda file: write(fig, file, kind, spec))


def write(fig: Figure, file: BinaryIO, kind: str, spec: str | Mapping[str, Any] | None) -> None:
    """Write the figure in one of the formats."""
    if kind != "pgf":
        fig.savefig(file, format=kind, dpi=300, metadata=metadata(kind, spec))
        return
    if which("pdflatex") is None:
        raise InvalidArgumentError("a .pgf needs pdflatex, which is not installed here; .pdf does not", "save")
    if not usetex():
        raise InvalidArgumentError(
            "draw and save a .pgf within varprobe.style(..., usetex=True): LaTeX reads its texts", "save"
        )
    content = io.StringIO()
    with rc_context(PGF):
        fig.savefig(content, format="pgf")
    first = f"% spec: {as_text(spec)}\n" if spec is not None else ""
    file.write((first + content.getvalue()).encode())


def as_text(spec: str | Mapping[str, Any] | None) -> str | None:
    """The specification in one line."""
    return spec if spec is None or isinstance(spec, str) else json.dumps(spec, sort_keys=True)


def metadata(kind: str, spec: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """What the file says of itself, in the keys of its format."""
    text = as_text(spec)
    if kind == "pdf":
        return {"Creator": CREATOR, "CreationDate": None, "ModDate": None, "Keywords": text}
    if kind == "svg":
        return {"Creator": CREATOR, "Date": None, "Description": text}
    return {"Software": CREATOR} | ({} if text is None else {"spec": text})
