"""Files that tell whether they are whole: they end in the version of their form and the sha256 of all before it.

JSON has both as its last keys, an archive of arrays (.npz) as its comment, so that any program still reads them. What
is read is not trusted: nothing is unpickled or decompressed, and no size is allocated because a file claims it.
"""

import hashlib
import io
import json
import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from varprobe.storage.safe_open import UntrustedError, content_of

__all__ = [
    "FORMAT",
    "DamagedError",
    "current_name",
    "sealed_archive",
    "sealed_json",
    "unsealed_archive",
    "unsealed_json",
]

FORMAT = 2
"""Raised with every change of what a file of a run holds. Files of format 1 had no seal."""

DIGEST = 64
JSON_END = re.compile(rb',\n"format": (\d{1,9}),\n"sha256": "[0-9a-f]{64}"\n}\n')
ARCHIVE_END = re.compile(rb"varprobe (\d{1,9}) [0-9a-f]{64}")
JSON_TAIL, ARCHIVE_TAIL = len('"\n}\n'), 0
"""Bytes behind the digest."""

LARGEST_JSON = 1 << 30
MEMBER_BYTES = 1024
"""What an array may take in an archive beside its numbers."""


class DamagedError(Exception):
    """A file is missing or does not hold what it must; the message says which of the two."""


def sealed_json(content: Mapping[str, Any]) -> bytes:
    """A JSON object, one key a line, with its seal."""
    lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
    body = "{\n" + ",\n".join(lines) + f',\n"format": {FORMAT},\n"sha256": "'
    return sealed(body.encode()) + b'"\n}\n'


def unsealed_json(path: Path, most: int = LARGEST_JSON) -> dict[str, Any]:
    """What `sealed_json` was given; a file of at most so many bytes.

    Raises:
        DamagedError: it is too large, its checksum does not fit, another version wrote it, or it cannot be read.
    """
    content = read(path, most)
    found = JSON_END.search(content, max(0, content.rfind(b',\n"format": ')))
    check(content, found, JSON_TAIL)
    try:
        values = json.loads(content)
        del values["format"], values["sha256"]
    except Exception as error:  # with the right checksum it is still anybody's
        raise DamagedError(f"is damaged ({type(error).__name__})") from error
    return values


def sealed_archive(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An npz archive of arrays, not compressed, with its seal; the same arrays give the same bytes at any time."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)
        archive.comment = f"varprobe {FORMAT} {'0' * DIGEST}".encode()
    return sealed(file.getvalue()[:-DIGEST])


def unsealed_archive(path: Path, arrays: int, numbers: int) -> dict[str, np.ndarray]:
    """What `sealed_archive` was given: at most so many `arrays`, with at most so many `numbers` of 8 bytes in all.

    Raises:
        DamagedError: it is larger than that, its checksum does not fit, another version wrote it, or it cannot be read.
    """
    content = read(path, arrays * MEMBER_BYTES + numbers * 8)
    check(content, ARCHIVE_END.fullmatch(content, max(0, content.rfind(b"varprobe "))), ARCHIVE_TAIL)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) > arrays or sum(m.file_size for m in members) > len(content):
                raise ValueError("it claims more than it holds")
            if any(m.compress_type != zipfile.ZIP_STORED for m in members):
                raise ValueError("it is compressed")
            return {current_name(m.filename.removesuffix(".npy")): array_of(archive.read(m)) for m in members}
    except Exception as error:  # a damaged archive fails in a dozen ways
        raise DamagedError(f"is damaged ({type(error).__name__})") from error


def current_name(name: str) -> str:
    """The name of a variable that an older version may have written: `gradient_log10_ms` for its log10_mean_square."""
    return name.replace("log10_ms", "log10_mean_square")


def array_of(member: bytes) -> np.ndarray:
    """The array in an npy file; raises ValueError where its header does not fit its size."""
    file = io.BytesIO(member)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("another version of the npy format")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    start = file.tell()
    if dtype.hasobject or fortran_order or min(shape, default=0) < 0:
        raise ValueError("not an array of numbers, row by row")
    if math.prod(shape) * dtype.itemsize != len(member) - start:
        raise ValueError("the header does not fit the size")
    return np.frombuffer(member, dtype, offset=start).reshape(shape).copy()


def sealed(body: bytes) -> bytes:
    """The bytes, and their sha256 in hexadecimal digits."""
    return body + hashlib.sha256(body).hexdigest().encode()


def check(content: bytes, end: re.Match[bytes] | None, tail: int) -> None:
    """Compare the seal, `tail` bytes before the end, with what is before it."""
    if end is None or end.end() != len(content):
        raise DamagedError("is damaged, or of an older version of varprobe (it has no checksum)")
    at = len(content) - tail
    if hashlib.sha256(content[: at - DIGEST]).hexdigest().encode() != content[at - DIGEST : at]:
        raise DamagedError("is damaged (its checksum does not fit)")
    if int(end[1]) != FORMAT:
        raise DamagedError(f"is of another version of varprobe (format {int(end[1])}; this one reads {FORMAT})")


def read(path: Path, most: int) -> bytes:
    """The content of a file of at most so many bytes."""
    try:
        return content_of(path, most)
    except UntrustedError as error:
        raise DamagedError(str(error)) from error
    except OSError as error:
        raise DamagedError(f"cannot be read ({error.strerror or error})") from error
