"""How a figure was made: kept in its file by `save_figure`, read back from a PDF, SVG, PNG or PGF."""

import io
import json
import os
import re
import shlex
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.storage.paths import place_of
from varprobe.storage.safe_open import UntrustedError, content_of

__all__ = ["origin", "origin_of", "shows"]

MAX_BYTES = 2**28
"""Of a figure; a page of ten thousand curves has a tenth."""

KEYWORDS = re.compile(rb"/Keywords\s*(\((?:[^()\\]|\\.)*\)|<[0-9A-Fa-f\s]*>)", re.DOTALL)
ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"


def origin(arguments: Sequence[str], *runs: xr.Dataset) -> dict[str, Any]:
    """What a figure's file says of how it was made: the command line, and what each run was asked for."""
    specs = [json.loads(ds.attrs["spec"]) for ds in runs if "spec" in ds.attrs]
    return {"varprobe": version("varprobe"), "command": shlex.join(["varprobe", *arguments]), "runs": specs}


def origin_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the file of a figure says of how it was made: `varprobe`, `command` and `runs`, or what `spec` held.

    Raises:
        InvalidArgumentError: there is no such file, or varprobe did not make it.
    """
    path = place_of(path, "from")
    readers = {".pdf": of_pdf, ".svg": of_svg, ".png": of_png, ".pgf": of_pgf}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidArgumentError(f"{str(path)!r} must end in one of {', '.join(readers)}", "from")
    if not path.exists():
        raise InvalidArgumentError(f"there is no file {str(path)!r}", "from")
    try:
        content = content_of(path, MAX_BYTES)
    except UntrustedError as error:
        raise InvalidArgumentError(f"{str(path)!r} {error}", "from") from None
    except OSError as error:
        raise InvalidArgumentError(f"{str(path)!r} cannot be read: {error.strerror or error}", "from") from error
    try:
        found = json.loads(reader(content))
    except Exception:  # a foreign or damaged file fails in many ways
        found = None
    if not isinstance(found, dict):
        raise InvalidArgumentError(
            f"{str(path)!r} does not say how it was made; varprobe writes that into its figures", "from"
        )
    return found


def shows(path: Path, spec: dict[str, Any]) -> bool:
    """Whether a file is a figure that this version made of the run, and no other, that was asked for with this spec."""
    try:
        found = origin_of(path)
    except InvalidArgumentError:
        return False
    return found.get("varprobe") == version("varprobe") and found.get("runs") == [json.loads(json.dumps(spec))]


def of_pdf(file: bytes) -> str:
    """The keywords of a PDF."""
    matched = KEYWORDS.findall(file)[-1]
    if matched.startswith(b"<"):
        content = bytes.fromhex(re.sub(rb"\s", b"", matched[1:-1]).decode("ascii"))
    else:
        content = re.sub(rb"\\(\d{1,3}|.)", unescaped, matched[1:-1], flags=re.DOTALL)
    return content[2:].decode("utf-16-be") if content.startswith(b"\xfe\xff") else content.decode("latin-1")


def unescaped(match: re.Match[bytes]) -> bytes:
    """A character after a backslash in a PDF's string."""
    letter = match[1]
    return bytes([int(letter, 8)]) if letter.isdigit() else ESCAPES.get(letter, letter)


def of_svg(file: bytes) -> str:
    """The description of an SVG."""
    text = file.decode("utf-8")
    if "<!ENTITY" in text:
        raise ValueError("entities")
    return next(element.text or "" for element in ElementTree.fromstring(text).iter(DESCRIPTION))


def of_png(file: bytes) -> str:
    """The text `spec` of a PNG."""
    from PIL import Image

    with Image.open(io.BytesIO(file)) as image:
        return image.info["spec"]


def of_pgf(file: bytes) -> str:
    """The comment in the first line of a PGF."""
    return file.decode("utf-8").partition("\n")[0].removeprefix("% spec: ")
