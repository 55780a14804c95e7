"""Where the rows of a batch come from: a random law, handwritten digits, or the user's file or array.

Rows are samples; whatever follows the first axis is flattened, and everything is float64 until it is drawn. Files are
not trusted: nothing in them is executed, and no size that they claim is allocated before it is checked.
"""

import contextlib
import hashlib
import io
import itertools
import math
import os
import re
import warnings
import zipfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any

import numpy as np

from varprobe.errors import InvalidArgumentError, did_you_mean
from varprobe.spec.calls import parse_calls
from varprobe.spec.parameters import Parameter, read_parameters
from varprobe.storage.memory import free_bytes
from varprobe.storage.safe_open import UntrustedError, opened

__all__ = ["LAWS", "Source", "load_source"]

LAWS: dict[str, str] = {
    "normal": "N(0,1)",
    "uniform": "U(-1,1)",
    "sphere": "uniform on the sphere of radius sqrt(d)",
}
"""The random laws by name, as captions write them. The mean square is 1, of the uniform law 1/3."""

TOKENS = {"vocab": Parameter(1000, "whole", low=1, high=2**31 - 1)}
"""What `tokens` takes: N(0,1) embeddings of so many tokens, all of them as likely."""

FILE = re.compile(r"(?P<path>.+(?P<ending>\.npy|\.npz|\.csv))(?::(?P<array>.+))?", re.IGNORECASE | re.DOTALL)
MAX_BYTES = 8 * 2**30
"""Of rows in memory."""

MOST_EXPANDED, EXPANDED_BYTES = 100, 2**28
"""An array of more bytes in an archive may be so many times as large as it is there."""

MAX_LINE = 2**24
"""Characters of a line of a csv file."""

MAX_HEADER = 2**16
"""Bytes of the header of an npy file."""


@dataclass(frozen=True, eq=False)
class Source:
    """What the samples of a batch are drawn from.

    Attributes:
        name: as given; "array" for an array.
        description: a phrase for captions, such as `N(0,1)` or `images.npy (1000 x 784), standardized`.
        rows: float64 of shape (samples, features), finite and read-only; None for a random law.
        labels: int64 of shape (samples,) where there is one whole number a sample, else float64 of shape (samples,)
            or (samples, outputs); None where there are none.
        digest: the name of a random law (with its parameters); else the sha256 of rows and labels as they are here.
        width: the number of features; None for a random law, which has as many as it is asked for.
        vocab: how many tokens there are; None where samples are not made of tokens.
        kept: the numbers, ascending, of the rows that are here of all `count` of them; None where all are.
    """

    name: str
    description: str
    rows: np.ndarray | None
    labels: np.ndarray | None
    digest: str
    width: int | None
    vocab: int | None = None
    kept: np.ndarray | None = None
    total: int = 0

    @property
    def count(self) -> int:
        """How many rows there are, here or not."""
        return self.total or (0 if self.rows is None else len(self.rows))

    def places(self, numbers: np.ndarray) -> np.ndarray:
        """Where the rows with these numbers stand in `rows`."""
        return numbers if self.kept is None else np.searchsorted(self.kept, numbers)

    def excerpt(self, numbers: np.ndarray) -> "Source":
        """The source with no other rows than these: what another process needs of a large file."""
        if self.rows is None:
            return self
        kept = np.unique(numbers)
        places = self.places(kept)
        labels = None if self.labels is None else self.labels[places]
        return replace(self, rows=self.rows[places], labels=labels, kept=kept, total=self.count)


def load_source(data: Any, *, labels: Any = None, standardize: bool = False) -> Source:
    """Load what `--data` and `--labels` name.

    Args:
        data: "normal", "uniform", "sphere"; "tokens(vocab=1000)" (each position of a sample, or the sample where it has
            one only, is a row of a N(0,1) table drawn for the seed); "digits" (scikit-learn's, divided by 16, with
            their labels); a file that ends in .npy, .npz (FILE or FILE:NAME) or .csv (commas, with or without a
            header), of at most 8 GiB in memory; or an array.
        labels: a file of these kinds or an array, with one row for each row of the data; the digits bring their own.
        standardize: subtract each feature's mean and divide by its standard deviation; constant features become 0.

    Raises:
        InvalidArgumentError: unknown name, a file that cannot be read, or content that is not a finite table of
            numbers.
    """
    if isinstance(data, str) and (law := random_law(data)):
        if labels is not None:
            raise InvalidArgumentError(f"labels need data with rows; {data!r} is a random law", "labels")
        if standardize:
            raise InvalidArgumentError(f"only rows can be standardized; {data!r} is a random law", "standardize")
        return law
    try:
        if isinstance(data, str) and data == "digits":
            name, phrase, (array, targets) = data, "digits / 16", digits()
        else:
            (name, phrase, array), targets = table_of(data, [*LAWS, "tokens", "digits"]), None
        rows = as_rows(array, phrase)
        description = f"{phrase} ({rows.shape[0]} x {rows.shape[1]})"
        if standardize:
            rows, description = standardized(rows, phrase), f"{description}, standardized"
    except InvalidArgumentError as error:
        raise error.at("data") from error.__cause__
    try:
        if labels is not None:
            _, phrase, array = table_of(labels, [])
            targets = as_labels(array, phrase, len(rows))
    except InvalidArgumentError as error:
        raise error.at("labels") from error.__cause__
    for array in [rows] if targets is None else [rows, targets]:
        array.setflags(write=False)
    return Source(name, description, rows, targets, digest(rows, targets), rows.shape[1])


def random_law(text: str) -> Source | None:
    """The source of a random law; None where the text names none.

    Raises:
        InvalidArgumentError: a parameter of `tokens` is wrong.
    """
    if text in LAWS:
        return Source(text, LAWS[text], None, None, text, None)
    if not re.fullmatch(r"\s*tokens\s*(\(.*)?", text, re.DOTALL) or FILE.fullmatch(text):
        return None
    try:
        call, *more = parse_calls(text)
        if more:
            raise InvalidArgumentError(f"takes one number of tokens, got {text!r}")
        name, values = read_parameters(call, "tokens", TOKENS)
    except InvalidArgumentError as error:
        raise error.at("data") from error
    vocab = values["vocab"]
    return Source(name, f"embedded tokens (vocab {vocab})", None, None, f"tokens(vocab={vocab})", None, vocab)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The images, from 0 to 1, and the labels of scikit-learn's digits."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InvalidArgumentError('digits need scikit-learn: pip install "varprobe[data]"') from error
    images, labels = load_digits(return_X_y=True)
    return images / 16, labels.astype(np.int64)


def table_of(value: Any, known: list[str]) -> tuple[str, str, np.ndarray]:
    """The name, phrase and content of a file or an array; `known` are the names that are neither."""
    if not isinstance(value, str | os.PathLike):
        try:
            return "array", "array", np.asarray(value)
        except Exception as error:  # whatever the conversion of a foreign array raises
            raise InvalidArgumentError(f"not an array: {type(error).__name__}: {error}") from error
    text = str(value)
    form = FILE.fullmatch(text)
    if not form:
        hint = did_you_mean(text, known) if known else ""
        raise InvalidArgumentError(f"unknown name {text!r}{hint}; a file must end in .npy, .npz or .csv")
    path, ending, array = Path(form["path"]), form["ending"].lower(), form["array"]
    if array and ending != ".npz":
        raise InvalidArgumentError(f"{text!r} names an array, but only an .npz file holds arrays with names")
    phrase = f"{path.name}:{array}" if array else path.name
    with reading(path) as file:
        if ending == ".npz":
            return text, phrase, read_npz(file, path.name, array)
        size = os.fstat(file.fileno()).st_size
        return text, phrase, read_npy(file, size, phrase) if ending == ".npy" else read_csv(file, size, phrase)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[IO[bytes]]:
    """The file, open; whatever goes wrong in the body becomes one line that names it."""
    try:
        with opened(path) as file:
            yield file
    except InvalidArgumentError:
        raise
    except UntrustedError as error:
        raise InvalidArgumentError(f"{str(path)!r} {error}") from None
    except FileNotFoundError:
        beside = [p.name for p in path.parent.glob("*") if FILE.fullmatch(p.name)]
        near = get_close_matches(path.name, beside, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidArgumentError(f"there is no file {str(path)!r}{hint}") from None
    except OSError as error:
        raise InvalidArgumentError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    except MemoryError as error:
        raise InvalidArgumentError(f"{path.name} does not fit into memory") from error
    except Exception as error:  # a damaged archive fails in a dozen ways, from zlib's to the header parser's
        raise InvalidArgumentError(f"{path.name} is damaged, or not what its ending says: {error}") from error


def read_npy(file: IO[bytes], size: int, phrase: str) -> np.ndarray:
    """The array in an npy file of `size` bytes, which its header must not exceed."""
    start, shape, fortran_order, dtype = read_header(file, phrase)
    if dtype.hasobject:
        raise InvalidArgumentError(f"{phrase} holds Python objects, not numbers")
    count = math.prod(shape)
    check_size(count * max(dtype.itemsize, 8), phrase)
    promised = count * dtype.itemsize
    fits = min(shape, default=0) >= 0 and start + promised <= size
    content = file.read(promised) if fits else b""
    if not fits or len(content) < promised:
        raise InvalidArgumentError(
            f"{phrase} is cut off: its header announces {dtype} of shape {shape}, more than it holds"
        )
    return np.ndarray(shape, dtype, content, order="F" if fortran_order else "C")


def read_header(file: IO[bytes], phrase: str) -> tuple[int, tuple[int, ...], bool, np.dtype[Any]]:
    """(where the numbers start, shape, whether columns come first, dtype) of an npy file.

    NumPy reads a header as a literal, of which nothing is executed, but all of it; so its length is looked at first.
    """
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise InvalidArgumentError(
            f"{phrase} has version {version} of the npy format, which is for tables with named columns"
        )
    length = file.read(2 * version[0])
    count = int.from_bytes(length, "little")
    if count > MAX_HEADER:
        raise InvalidArgumentError(f"{phrase} claims a header of {count} bytes (at most {MAX_HEADER})")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that Python 2 wrote
        shape, fortran_order, dtype = readers[version](io.BytesIO(length + file.read(count)))
    return np.lib.format.MAGIC_LEN + len(length) + count, shape, fortran_order, dtype


def read_npz(file: IO[bytes], phrase: str, array: str | None) -> np.ndarray:
    """The array of this name in an archive, or its only one."""
    with zipfile.ZipFile(file) as archive:
        listed = [m for m in archive.infolist() if m.filename.endswith(".npy")]
        members = {m.filename.removesuffix(".npy"): m for m in listed}
        if not members:
            raise InvalidArgumentError(f"{phrase} holds no arrays")
        if len(members) < len(listed):
            raise InvalidArgumentError(f"{phrase} holds two arrays of one name")
        names = ", ".join([*list(members)[:12], *(["..."] if len(members) > 12 else [])])
        if array is None and len(members) > 1:
            raise InvalidArgumentError(f"{phrase} holds several arrays; name one as {phrase}:NAME (it has {names})")
        name = next(iter(members)) if array is None else array
        if name not in members:
            raise InvalidArgumentError(f"{phrase} holds no array {name!r} (it has {names})")
        size, packed = members[name].file_size, members[name].compress_size
        if size > MOST_EXPANDED * max(packed, 1) and size > EXPANDED_BYTES:
            raise InvalidArgumentError(
                f"{phrase}:{name} has {packed / 2**20:.2g} MiB and expands to {size / 2**30:.3g} GiB; "
                "an archive of numpy.savez, which is not compressed, may have that"
            )
        with archive.open(members[name]) as member:
            return read_npy(member, size, f"{phrase}:{name}")


def read_csv(file: IO[bytes], size: int, phrase: str) -> np.ndarray:
    """The numbers of a comma-separated file; a first line without any number in it is a header."""
    check_size(size * 4, phrase)  # two characters, such as `0,`, make a number
    lines = lines_of(file, phrase)
    _, first = next(lines, (0, ""))
    if not first:
        raise InvalidArgumentError(f"{phrase} has no rows")
    rest = (line for _, line in lines)
    try:
        return np.loadtxt(itertools.chain([first], rest), delimiter=",", comments=None, quotechar='"', ndmin=2)
    except ValueError as error:
        lines.close()
        file.seek(0)
        columns = first.count(",") + 1
        for at, line in lines_of(file, phrase):
            cells = line.split(",")
            for column, cell in enumerate(cells, 1):
                if not is_number(cell):
                    raise InvalidArgumentError(
                        f"{phrase}, line {at}, column {column}: {cell!r} is not a number"
                    ) from None
            if len(cells) != columns:
                raise InvalidArgumentError(f"{phrase}, line {at} has {len(cells)} columns, not {columns}") from None
        raise InvalidArgumentError(f"{phrase} is not a table of numbers: {error}") from None


def lines_of(file: IO[bytes], phrase: str) -> Generator[tuple[int, str]]:
    """(number, text) of the lines that hold something, behind the header if there is one."""
    text, first = io.TextIOWrapper(file, "utf-8-sig"), True
    try:
        for at in itertools.count(1):
            line = text.readline(MAX_LINE + 1)
            if not line:
                return
            if len(line) > MAX_LINE:
                raise InvalidArgumentError(f"{phrase}, line {at} is longer than {MAX_LINE >> 20} MiB")
            if not line.strip():
                continue
            if not first or any(is_number(cell) for cell in line.split(",")):
                yield at, line.rstrip("\r\n")
            first = False
    finally:
        text.detach()


def is_number(cell: str) -> bool:
    """Whether a cell of a csv file, quoted or not, is a number."""
    try:
        float(cell.strip().strip('"'))
    except ValueError:
        return False
    return "_" not in cell


def check_size(count: int, phrase: str) -> None:
    """Refuse what would take more memory than anybody means to spend on a batch, or more than half of what is free."""
    if count > MAX_BYTES:
        raise InvalidArgumentError(
            f"{phrase} would take {count / 2**30:.3g} GiB in memory (at most {MAX_BYTES >> 30} GiB)"
        )
    free = free_bytes()
    if 2 * count > free > 0:
        raise InvalidArgumentError(
            f"{phrase} would take {count / 2**30:.3g} GiB in memory, and {free / 2**30:.3g} GiB are free"
        )


def as_rows(array: np.ndarray, phrase: str) -> np.ndarray:
    """The array as finite float64 of shape (samples, features), a copy."""
    kind, foreign = array.dtype.kind, array.dtype.kind == "V" and array.dtype.type is not np.void  # bfloat16 and such
    if kind not in "biuf" and not foreign:
        holds = {"O": "Python objects", "c": "complex numbers"}.get(kind, f"values of type {array.dtype}")
        raise InvalidArgumentError(f"{phrase} holds {holds}, not real numbers")
    if array.ndim == 0:
        raise InvalidArgumentError(f"{phrase} is a single number, not rows")
    if array.size == 0:
        raise InvalidArgumentError(
            f"{phrase} has no {'columns' if len(array) else 'rows'} (its shape is {array.shape})"
        )
    check_size(array.size * 8, phrase)
    with np.errstate(over="ignore"):
        rows = array.reshape(len(array), -1).astype(np.float64, order="C")
    finite = np.isfinite(rows)
    if not finite.all():
        row, column = divmod(int(np.argmin(finite)), rows.shape[1])
        raise InvalidArgumentError(f"{phrase} holds {rows[row, column]} at row {row}, column {column} (counted from 0)")
    return rows


def as_labels(array: np.ndarray, phrase: str, samples: int) -> np.ndarray:
    """The array as labels for so many samples."""
    rows = as_rows(array, phrase)
    if array.ndim > 2:
        raise InvalidArgumentError(
            f"{phrase} has shape {array.shape}; labels are one number or one row of numbers a sample"
        )
    if len(rows) != samples:
        raise InvalidArgumentError(f"{phrase} has {len(rows)} rows and the data {samples}")
    if rows.shape[1] > 1:
        return rows
    whole = np.abs(rows).max() < 2**53 and (rows == np.rint(rows)).all()
    return rows[:, 0].astype(np.int64 if whole else np.float64)


def standardized(rows: np.ndarray, phrase: str) -> np.ndarray:
    """Each feature with mean 0 and standard deviation 1, or 0 where it is constant."""
    varies = rows.max(axis=0) > rows.min(axis=0)  # the deviation of a constant rounds to something above 0
    if not varies.any():
        raise InvalidArgumentError(f"every feature of {phrase} is constant; standardized they are all 0", "standardize")
    scaled = rows / np.where(varies, np.abs(rows).max(axis=0), 1)  # squares of it neither overflow nor underflow
    centered = np.where(varies, scaled - scaled.mean(axis=0), 0)
    return centered / np.where(varies, centered.std(axis=0), 1)


def digest(*arrays: np.ndarray | None) -> str:
    """The sha256 of type, shape and content of those that are there."""
    total = hashlib.sha256()
    for array in arrays:
        if array is not None:
            total.update(f"{array.dtype.str}{array.shape}".encode())
            total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()
