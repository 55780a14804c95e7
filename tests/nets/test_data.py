"""Data: exact rows, labels and descriptions, and one line for every file that is not a finite table of numbers."""

import hashlib
import io
import os
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import varprobe.nets.data
from varprobe.errors import InvalidArgumentError
from varprobe.nets.data import LAWS, Source, load_source

TABLE = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(data: Any, **options: Any) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        load_source(data, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows_of(source: Source) -> np.ndarray:
    assert source.rows is not None
    assert source.rows.dtype == np.float64
    assert source.rows.ndim == 2
    assert source.width == source.rows.shape[1]
    assert source.rows.flags.c_contiguous and not source.rows.flags.writeable
    return source.rows


@pytest.mark.parametrize("name, phrase", LAWS.items())
def test_laws(name: str, phrase: str) -> None:
    source = load_source(name)
    assert (source.name, source.description, source.digest) == (name, phrase, name)
    assert (source.rows, source.labels, source.width) == (None, None, None)
    assert refused(name, standardize=True).startswith("standardize: only rows can be standardized")
    assert refused(name, labels="y.npy").startswith("labels: labels need data with rows")


def test_digits() -> None:
    source = load_source("digits")
    rows = rows_of(source)
    assert source.description == "digits / 16 (1797 x 64)"
    assert (rows.shape, rows.min(), rows.max()) == ((1797, 64), 0.0, 1.0)
    assert source.labels is not None and source.labels.dtype == np.int64
    assert source.labels[:10].tolist() == list(range(10))  # as in scikit-learn's manual
    standard = load_source("digits", standardize=True)
    assert standard.description == "digits / 16 (1797 x 64), standardized"
    assert standard.digest != source.digest
    varies = rows.std(axis=0) > 0
    assert varies.sum() == 61  # three pixels are blank in all images
    np.testing.assert_allclose(rows_of(standard).mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(rows_of(standard).std(axis=0), varies.astype(float), atol=1e-13)


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert refused("digits") == 'data: digits need scikit-learn: pip install "varprobe[data]"'


def test_npy(folder: Path) -> None:
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.save("images.npy", images)
    for data in ("images.npy", Path("images.npy"), str(folder / "images.npy")):
        source = load_source(data)
        assert rows_of(source).tolist() == images.reshape(2, 12).tolist()
        assert source.description == "images.npy (2 x 12)"
        assert source.name == str(data)


@pytest.mark.parametrize("dtype", ["?", "<i2", ">i4", "u8", "e", ">f4", "f8", "g"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_types(dtype: str, order: Any) -> None:
    table = np.asarray(TABLE.astype(dtype), order=order)
    np.save("a.npy", table)
    assert rows_of(load_source("a.npy")).tolist() == table.astype(float).tolist()


def test_a_vector_is_one_feature() -> None:
    np.save("a.npy", np.arange(3))
    assert rows_of(load_source("a.npy")).tolist() == [[0.0], [1.0], [2.0]]


def test_npz() -> None:
    np.savez_compressed("two.npz", x=TABLE, y=np.array([0, 1]))
    np.savez("one.npz", TABLE)
    source = load_source("two.npz:x", labels="two.npz:y")
    assert rows_of(source).tolist() == TABLE.tolist()
    assert source.description == "two.npz:x (2 x 3)"
    assert source.labels is not None and source.labels.tolist() == [0, 1]
    assert rows_of(load_source("one.npz")).tolist() == TABLE.tolist()
    assert refused("two.npz") == "data: two.npz holds several arrays; name one as two.npz:NAME (it has x, y)"
    assert refused("two.npz:z") == "data: two.npz holds no array 'z' (it has x, y)"
    assert refused("a.npy:x") == "data: 'a.npy:x' names an array, but only an .npz file holds arrays with names"
    with zipfile.ZipFile("none.npz", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    assert refused("none.npz") == "data: none.npz holds no arrays"


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3\n4,5,6\n",
        "a,b,c\n1,2,3\n4,5,6",
        "\ufeffa,b,c\r\n1,2,3\r\n\r\n4,5,6\r\n",
        '"a","b","c"\n"1", 2 ,3e0\n4.0,+5,6\n',
    ],
)
def test_csv(text: str) -> None:
    Path("a.csv").write_bytes(text.encode())
    source = load_source("a.csv")
    assert rows_of(source).tolist() == TABLE.tolist()
    assert source.description == "a.csv (2 x 3)"


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "a.csv has no rows"),
        ("a,b\n\n", "a.csv has no rows"),
        ("a,b\n1,2\n\n3\n", "a.csv, line 4 has 1 columns, not 2"),
        ("1,2\n3,4,5\n", "a.csv, line 2 has 3 columns, not 2"),
        ("a,b\n1,2\n3,four\n", "a.csv, line 3, column 2: 'four' is not a number"),
        ("1,?\n3,4\n", "a.csv, line 1, column 2: '?' is not a number"),  # a header has no number in it
        ("1,\n", "a.csv, line 1, column 2: '' is not a number"),
        ("1;2\n3;4\n", "a.csv, line 2, column 1: '3;4' is not a number"),
        ("1,1_000\n", "a.csv, line 1, column 2: '1_000' is not a number"),
        ("1,nan\n", "a.csv holds nan at row 0, column 1 (counted from 0)"),
        ("1,2\n-inf,4\n", "a.csv holds -inf at row 1, column 0 (counted from 0)"),
        ("1,2e400\n", "a.csv holds inf at row 0, column 1 (counted from 0)"),
    ],
)
def test_bad_csv(text: str, message: str) -> None:
    Path("a.csv").write_text(text)
    assert refused("a.csv") == f"data: {message}"


def test_csv_that_is_not_text() -> None:
    Path("a.csv").write_bytes(b"\xff\xfe1\x00")
    assert refused("a.csv").startswith("data: a.csv is damaged, or not what its ending says: 'utf-8' codec")


@pytest.mark.parametrize(
    "array, message",
    [
        (np.float64(3), "is a single number, not rows"),
        (np.zeros((0, 3)), "has no rows (its shape is (0, 3))"),
        (np.zeros((3, 0)), "has no columns (its shape is (3, 0))"),
        (np.zeros(2, complex), "holds complex numbers, not real numbers"),
        (np.array(["1", "2"]), "holds values of type <U1, not real numbers"),
        (np.array(["2020"], "M8[D]"), "holds values of type datetime64[D], not real numbers"),
        (np.zeros(2, [("a", float)]), "holds values of type [('a', '<f8')], not real numbers"),
        (np.array([[0, 1, np.nan], [np.inf, 0, 0]]), "holds nan at row 0, column 2 (counted from 0)"),
        (np.array([[[0, 1], [2, -np.inf]]]), "holds -inf at row 0, column 3 (counted from 0)"),
        (np.array([np.longdouble("1e400")]), "holds inf at row 0, column 0 (counted from 0)"),
    ],
)
def test_bad_arrays(array: np.ndarray, message: str) -> None:
    np.save("a.npy", array)
    assert refused("a.npy") == f"data: a.npy {message}"
    assert refused(array) == f"data: array {message}"


def test_objects_are_never_unpickled() -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return open, ("opened", "w")

    np.save("a.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    assert refused("a.npy") == "data: a.npy holds Python objects, not numbers"
    np.savez("a.npz", np.array([Bomb()], dtype=object), allow_pickle=True)
    assert refused("a.npz:arr_0") == "data: a.npz:arr_0 holds Python objects, not numbers"
    assert not Path("opened").exists()
    assert refused(np.array([1, None])) == "data: array holds Python objects, not real numbers"


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_sizes_are_checked_before_anything_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    content = npy(TABLE)
    Path("a.npy").write_bytes(content.replace(b"(2, 3)", b"(9999999999999, 3)".ljust(6)))
    assert refused("a.npy").startswith("data: a.npy would take 2.24e+05 GiB in memory (at most 8 GiB)")
    for shape in (b"(2, 9)", b"(-2,3)", b"(2, 99999999)"):
        Path("a.npy").write_bytes(content.replace(b"(2, 3)", shape))
        tracemalloc.start()
        assert refused("a.npy").startswith("data: a.npy is cut off: its header announces float64 of shape")
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    Path("a.npz").write_bytes(Path("a.npz").read_bytes().replace(TABLE.tobytes(), (TABLE + 1).tobytes()))
    assert refused("a.npz").startswith("data: a.npz is damaged, or not what its ending says: Bad CRC-32")
    Path("a.npy").write_bytes(content[:-1])
    assert refused("a.npy").startswith("data: a.npy is cut off")
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("x.npy", content.replace(b"(2, 3)", b"(2, 9)"))
    assert refused("a.npz").startswith("data: a.npz:x is cut off")
    monkeypatch.setattr(varprobe.nets.data, "MAX_BYTES", 2**30)
    np.savez("a.npz", np.zeros(2**28, np.int8))  # a quarter of a GiB that would become two
    assert refused("a.npz") == "data: a.npz:arr_0 would take 2 GiB in memory (at most 1 GiB)"
    monkeypatch.setattr(varprobe.nets.data, "free_bytes", lambda: 2**20)
    np.save("a.npy", np.zeros((2**16, 2), np.int8))
    assert refused("a.npy") == "data: a.npy would take 0.000977 GiB in memory, and 0.000977 GiB are free"


def test_an_archive_that_expands_without_end_is_refused_by_its_header() -> None:
    with zipfile.ZipFile("a.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        member.write(npy(TABLE))
        for _ in range(257):
            member.write(bytes(2**20))
    tracemalloc.start()
    assert refused("a.npz").startswith("data: a.npz:x has 0.25 MiB and expands to 0.251 GiB")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_two_arrays_of_one_name_are_refused() -> None:
    with zipfile.ZipFile("a.npz", "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("x.npy", npy(TABLE))
        archive.writestr("x.npy", npy(TABLE + 1))
    assert refused("a.npz") == "data: a.npz holds two arrays of one name"


@pytest.mark.parametrize(
    "data, message",
    [
        (
            "noraml",
            "unknown name 'noraml'; did you mean 'normal'? (allowed: normal, uniform, sphere, tokens, digits); a file",
        ),
        (
            "images.txt",
            "unknown name 'images.txt' (allowed: normal, uniform, sphere, tokens, digits); a file must end in .npy",
        ),
        ("", "unknown name ''"),
        (".npy", "unknown name '.npy'"),
        ("imags.npy", "there is no file 'imags.npy'; did you mean 'images.npy'?"),
        ("no/such.npy", "there is no file 'no/such.npy'"),
        ("folder.npz", "cannot read 'folder.npz': Is a directory"),
        ("text.npy", "text.npy is damaged, or not what its ending says: "),
        ("text.npz", "text.npz is damaged, or not what its ending says: File is not a zip file"),
        ("v3.npy", "v3.npy has version (3, 0) of the npy format"),
        (None, "array holds Python objects, not real numbers"),
        ([[1, 2], [3]], "not an array: ValueError: "),
    ],
)
def test_what_cannot_be_read(data: Any, message: str) -> None:
    np.save("images.npy", TABLE)
    Path("folder.npz").mkdir()
    for name in ("text.npy", "text.npz"):
        Path(name).write_text("1,2,3")
    with Path("v3.npy").open("wb") as file:
        np.lib.format.write_array(file, TABLE, version=(3, 0))
    assert refused(data).startswith(f"data: {message}")


def test_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    assert refused("a.npy") == "data: cannot read 'a.npy': Permission denied"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    st.sampled_from(["a.npy", "a.npz"]),
    st.sampled_from([np.savez, np.savez_compressed]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
)
@pytest.mark.filterwarnings("ignore")  # NumPy warns of odd headers that it reads nevertheless
def test_damaged_files(name: str, save: Any, damage: list[tuple[int, int]]) -> None:
    file = io.BytesIO(npy(TABLE))
    if name == "a.npz":
        save(file := io.BytesIO(), TABLE)
    content = bytearray(file.getvalue())
    for at, value in damage:
        content[at % len(content)] = value
    Path(name).write_bytes(content)
    try:
        rows = rows_of(load_source(name))
    except InvalidArgumentError as error:
        assert "\n" not in str(error)
        assert name in str(error)
    else:  # an archive has a checksum
        assert rows.tolist() == TABLE.tolist() if name == "a.npz" else np.isfinite(rows).all()


@given(st.text(max_size=20) | st.text('01.,\n"ae-', max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_csv(text: str) -> None:
    Path("a.csv").write_bytes(text.encode())
    try:
        assert np.isfinite(rows_of(load_source("a.csv"))).all()
    except InvalidArgumentError as error:
        assert "\n" not in str(error)


def test_arrays() -> None:
    given_rows = TABLE.copy()
    source = load_source(given_rows, labels=np.array([1.0, 0.0]))
    given_rows[:] = 0
    assert rows_of(source).tolist() == TABLE.tolist()  # a copy
    assert (source.name, source.description) == ("array", "array (2 x 3)")
    assert source.labels is not None and source.labels.dtype == np.int64
    expected = hashlib.sha256(b"<f8(2, 3)" + TABLE.tobytes() + b"<i8(2,)" + np.array([1, 0]).tobytes())
    assert source.digest == expected.hexdigest()
    assert rows_of(load_source([[1, 2]])).tolist() == [[1.0, 2.0]]
    import ml_dtypes  # comes with jax

    assert rows_of(load_source(TABLE.astype(ml_dtypes.bfloat16))).tolist() == TABLE.tolist()


def test_digest_is_that_of_the_numbers() -> None:
    np.save("a.npy", TABLE.astype(np.float32))
    Path("a.csv").write_text("1,2,3\n4,5,6\n")
    digests = {load_source(data).digest for data in ("a.npy", "a.csv", TABLE)}
    assert len(digests) == 1
    others = [
        load_source(TABLE + 1e-15),
        load_source(TABLE.reshape(3, 2)),
        load_source(TABLE, standardize=True),
        load_source(TABLE, labels=[0, 1]),
        load_source(TABLE, labels=[0.5, 1]),
    ]
    assert len(digests | {source.digest for source in others}) == 6


@pytest.mark.parametrize(
    "labels, expected, dtype",
    [
        ([0, 3], [0, 3], np.int64),
        ([[0.0], [3.0]], [0, 3], np.int64),
        ([True, False], [1, 0], np.int64),
        ([0.5, 3], [0.5, 3.0], np.float64),
        ([[1, 0], [0, 1]], [[1.0, 0.0], [0.0, 1.0]], np.float64),
    ],
)
def test_labels(labels: list, expected: list, dtype: type) -> None:
    found = load_source(TABLE, labels=np.array(labels)).labels
    assert found is not None
    assert (found.dtype, found.tolist()) == (dtype, expected)


def test_bad_labels() -> None:
    Path("y.csv").write_text("label\n1\n2\n3\n")
    assert refused(TABLE, labels="y.csv") == "labels: y.csv has 3 rows and the data 2"
    assert refused(TABLE, labels="normal") == "labels: unknown name 'normal'; a file must end in .npy, .npz or .csv"
    assert refused(TABLE, labels="z.csv") == "labels: there is no file 'z.csv'; did you mean 'y.csv'?"
    assert refused(TABLE, labels=[0, np.nan]) == "labels: array holds nan at row 1, column 0 (counted from 0)"
    assert refused(TABLE, labels=np.zeros((2, 1, 3))).startswith("labels: array has shape (2, 1, 3)")
    assert load_source("digits", labels=np.zeros(1797)).labels.sum() == 0  # type: ignore[union-attr]


def test_standardize() -> None:
    table = np.array([[1.0, 0.1, 1e300, 1e-300], [3.0, 0.1, 3e300, 3e-300], [2.0, 0.1, 2e300, 2e-300]])
    assert np.array([0.1, 0.1, 0.1]).std() > 0  # why the constant column is not found by its deviation
    source = load_source(table, standardize=True)
    root = np.sqrt(1.5)
    expected = np.array([[-root, 0, -root, -root], [root, 0, root, root], [0, 0, 0, 0]])
    np.testing.assert_allclose(rows_of(source), expected, atol=1e-15)
    assert source.description == "array (3 x 4), standardized"
    assert refused(np.ones((3, 2)), standardize=True).startswith("standardize: every feature of array is constant")
