"""Files that tell whether they are whole: no bit of them changes unseen, and nothing that they claim is believed."""

import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from varprobe.storage.checksums import (
    FORMAT,
    DamagedError,
    sealed,
    sealed_archive,
    sealed_json,
    unsealed_archive,
    unsealed_json,
)
from varprobe.storage.files import load_dataset, save_dataset
from varprobe.storage.tasks import TaskFile, load_task, save_task

CONTENT = {"spec": {"act": ["relu"], "odd": 'ü",\n"format": 2,\n"sha256": "'}, "results": None, "n": [1, 2.5]}
ARRAYS = {"x": np.array([[1.5, -np.inf], [np.nan, 0.1]]), "config": np.array([3, 1]), "seed": np.array(7)}
NUMBERS = 7


def archive(path: Path) -> dict[str, np.ndarray]:
    return unsealed_archive(path, len(ARRAYS), NUMBERS)


FORMS = {"json": (sealed_json(CONTENT), unsealed_json), "archive": (sealed_archive(ARRAYS), archive)}


def test_what_was_sealed_is_read_back_and_by_any_program(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(FORMS["json"][0])
    assert unsealed_json(path) == CONTENT
    assert json.loads(path.read_text()).keys() == {*CONTENT, "format", "sha256"}
    path.write_bytes(FORMS["archive"][0])
    with np.load(path) as plain:
        for found in (archive(path), plain):
            assert set(found) == set(ARRAYS)
            for name, array in ARRAYS.items():
                np.testing.assert_array_equal(found[name], array, strict=True)
    assert zipfile.ZipFile(path).testzip() is None


def test_the_same_content_gives_the_same_bytes_whatever_the_clock_says(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setattr("time.localtime", lambda *_: (1970, 1, 1, 0, 0, 0, 3, 1, 0))
    assert sealed_archive(ARRAYS) == FORMS["archive"][0]


@pytest.mark.parametrize("form", FORMS)
def test_every_flipped_bit_and_every_truncation_is_noticed(form, tmp_path):
    content, read = FORMS[form]
    path = tmp_path / "file"
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(DamagedError, match="damaged"):
            read(path)
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(DamagedError, match="damaged"):
            read(path)
    for more in (b"\0", b"\n", content):
        path.write_bytes(content + more)
        with pytest.raises(DamagedError, match="damaged"):
            read(path)


def test_another_version_is_named(tmp_path):
    path = tmp_path / "file"
    old, new = str(FORMAT).encode(), str(FORMAT + 1).encode()
    body = FORMS["json"][0].removesuffix(b'"\n}\n')[:-64]
    path.write_bytes(sealed(body.replace(b'\n"format": ' + old + b",\n", b'\n"format": ' + new + b",\n")) + b'"\n}\n')
    with pytest.raises(DamagedError, match=f"is of another version of varprobe .format {FORMAT + 1}; this one reads"):
        unsealed_json(path)
    path.write_bytes(sealed(FORMS["archive"][0][:-64].replace(b"varprobe " + old, b"varprobe " + new)))
    with pytest.raises(DamagedError, match="is of another version of varprobe"):
        archive(path)
    np.savez(path.with_suffix(".npz"), **ARRAYS)
    with pytest.raises(DamagedError, match="of an older version"):
        archive(path.with_suffix(".npz"))


def forged(shape: tuple[int, ...], compression: int = zipfile.ZIP_STORED, name: str = "x") -> bytes:
    """A well sealed archive whose array claims a shape."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as packed, packed.open(f"{name}.npy", "w") as member:
        header = {"descr": "<f8", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, header)
        member.write(bytes(16))
    with zipfile.ZipFile(file, "a") as packed:
        packed.comment = f"varprobe {FORMAT} {'0' * 64}".encode()
    return sealed(file.getvalue()[:-64])


@pytest.mark.parametrize(
    "content",
    [
        forged((1 << 40,)),
        forged((1 << 31, 1 << 31)),
        forged((-2,)),
        forged((2,), zipfile.ZIP_DEFLATED),
        forged((3,)),
        FORMS["archive"][0] + bytes(1 << 16),
    ],
)
def test_claims_of_size_are_not_believed(content, tmp_path):
    path = tmp_path / "file.npz"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(DamagedError):
        archive(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_file_that_is_larger_than_it_can_be_is_not_read(tmp_path):
    path = tmp_path / "file.npz"
    for read in (archive, unsealed_json):
        with path.open("wb") as file:
            file.truncate(1 << 40)  # a hole; it takes no room
        tracemalloc.start()
        with pytest.raises(DamagedError, match="too much to be read"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


def test_a_cell_that_holds_pickles_or_other_kinds_is_refused(tmp_path):
    (tmp_path / "cells").mkdir()
    cell = TaskFile("a" * 64, 2, (0, 1), "cells", "cell")
    shapes = {"x": (2, 4), "y": (2, 4)}
    table = {"x": np.zeros((2, 4)), "y": np.ones((2, 4))}
    save_task(tmp_path, cell, table)
    assert load_task(tmp_path, cell, shapes)["y"].sum() == 8
    members = {"config": np.array([0, 1]), "seed": np.array(2), **table}
    for wrong, why in [
        ({"seed": np.array(3)}, "another task's"),
        ({"config": np.array([1, 0])}, "another task's"),
        ({"y": np.ones((2, 3))}, "does not hold the variables"),
        ({"y": np.ones((2, 4), np.float32)}, "does not hold the numbers"),
    ]:
        cell.path(tmp_path).write_bytes(sealed_archive(members | wrong))
        with pytest.raises(DamagedError, match=why):
            load_task(tmp_path, cell, shapes)
    cell.path(tmp_path).write_bytes(sealed_archive(table))
    with pytest.raises(DamagedError, match="is not the file of a cell"):
        load_task(tmp_path, cell, shapes)
    with pytest.raises(ValueError, match="allow_pickle"):
        sealed_archive({"x": np.array([print], dtype=object)})


def test_names_of_older_versions_are_today_s(tmp_path: Path) -> None:
    """`*_log10_ms`, as versions before 0.2 wrote it, in datasets and archives of arrays."""
    levels = np.array([[0.5, -1.0]])
    sha256 = save_dataset(tmp_path / "results.nc", xr.Dataset({"gradient_log10_ms": (("config", "layer"), levels)}))
    ds = load_dataset(tmp_path / "results.nc", sha256)
    np.testing.assert_array_equal(ds.gradient_log10_mean_square, levels)
    (tmp_path / "cell.npz").write_bytes(sealed_archive({"partial_jacobian_log10_ms": levels}))
    found = unsealed_archive(tmp_path / "cell.npz", 1, 2)
    np.testing.assert_array_equal(found["partial_jacobian_log10_mean_square"], levels)
