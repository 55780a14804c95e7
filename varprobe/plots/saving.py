"""Files of figures that are the same bytes for the same data, whole or not there at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from varprobe.errors import MachineError, RequestError
from varprobe.names import lookup

__all__ = ["save_figure"]

CREATOR = "varprobe"
FORMATS = {".pdf": "pdf", ".svg": "svg", ".png": "png"}
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


def save_figure(fig: Figure, path: str | os.PathLike[str], *, spec: str | Mapping[str, Any] | None = None) -> None:
    """Write the figure to a .pdf, .svg or .png file (300 dpi), with fonts embedded and no date in it.

    Args:
        fig: the figure.
        path: where; the file appears only when it is complete, and replaces one that is there.
        spec: how the figure can be made again, kept in the file as JSON:
            keywords of a PDF, description of an SVG, text `spec` of a PNG.

    Raises:
        RequestError: another ending, or a folder that does not exist.
        MachineError: the disk refused the file.
    """
    path = Path(path)
    kind = lookup(FORMATS, path.suffix.lower(), "figure format")
    if not path.parent.is_dir():
        raise RequestError(f"there is no folder {str(path.parent)!r} to write {path.name!r} to", "path")
    half = path.with_name(f".{path.name}.{os.getpid()}.half")
    try:
        with rc_context(SAME_BYTES):
            fig.savefig(half, format=kind, dpi=300, metadata=metadata(kind, spec))
        os.replace(half, path)
    except OSError as error:
        raise MachineError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        half.unlink(missing_ok=True)


def metadata(kind: str, spec: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """What the file says of itself, in the keys of its format."""
    text = spec if spec is None or isinstance(spec, str) else json.dumps(spec, sort_keys=True)
    if kind == "pdf":
        return {"Creator": CREATOR, "CreationDate": None, "ModDate": None, "Keywords": text}
    if kind == "svg":
        return {"Creator": CREATOR, "Date": None, "Description": text}
    return {"Software": CREATOR} | ({} if text is None else {"spec": text})
