"""Results larger than memory: frames on disk, files written and read block by block, and lazily opened runs."""

import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pyarrow import parquet
from xarray.testing import assert_identical

import varprobe as vp
from varprobe.__main__ import main
from varprobe.cli.plot import selected
from varprobe.errors import InvalidArgumentError, MachineError
from varprobe.runs.open import read_run
from varprobe.storage import chunks, memory
from varprobe.storage.chunks import block_size, blocks
from varprobe.storage.files import load_dataset, open_dataset, save_dataset
from varprobe.storage.memmap import missing_numbers
from varprobe.storage.records import read_values
from varprobe.sweeps.assemble import dataset
from varprobe.sweeps.record import SweepRecord, fill
from varprobe.sweeps.request import read_request

ASKED: dict[str, Any] = {
    "depth": [2, 4],
    "width": 16,
    "seeds": 2,
    "batch": 4,
    "init": ["he_normal", "zeros", "lecun_normal"],
    "histogram": True,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six configurations of two depths, with histograms."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    vp.sweep(**ASKED, out=folder)
    return folder


@pytest.fixture(scope="module")
def ds(folder: Path) -> xr.Dataset:
    return vp.open_run(folder)


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 100 bytes of free memory."""
    monkeypatch.setattr(memory, "free_bytes", lambda: 100)


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one configuration."""
    monkeypatch.setattr(chunks, "BLOCK_BYTES", 1)


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file can become longer than 20 kB, as on a disk with no more room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# frames


def test_a_frame_on_disk_is_filled_like_one_in_memory(tmp_path: Path, little: None) -> None:
    request = read_request(**ASKED)
    frame = dataset(request, tmp_path / "run")
    numbers = frame["activation_log10_mean_square"].values
    assert not numbers.flags.owndata and not list(tmp_path.iterdir())  # its file has no name
    assert all(np.isnan(v.values).all() for v in frame.data_vars.values())
    fill(frame, (3, 1), 1, {"activation_log10_mean_square": np.arange(6.0).reshape(2, 3)})
    np.testing.assert_array_equal(
        frame["activation_log10_mean_square"].values[[1, 3], 1], [[3, 4, 5, *[np.nan] * 2], [0, 1, 2, *[np.nan] * 2]]
    )
    assert np.isfinite(numbers).sum() == 6 and np.isnan(frame["gradient_log10_mean_square"].values).all()


@pytest.mark.exhaustive
def test_the_frame_of_a_record_may_lie_on_disk(folder: Path, tmp_path: Path, little: None, ds: xr.Dataset) -> None:
    frame = SweepRecord.read(read_values(folder)).frame(tmp_path)
    assert not frame["gradient_log10_mean_square"].values.flags.owndata
    assert_identical(frame.coords.to_dataset(), ds[list(frame.data_vars)].coords.to_dataset())


def test_only_memory_that_does_not_suffice_is_refused(little: None) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"^out: the results take 1.6e-07 GB, and 1e-07 GB .*name a run folder"
    ):
        missing_numbers(1, (5, 2, 2), None)


def test_a_full_disk_is_told_before_the_frame_is_used(tmp_path: Path, little: None, full_disk: None) -> None:
    with pytest.raises(MachineError, match="cannot write .*File too large"):
        missing_numbers(2, (100, 5, 20), tmp_path)


# files


def test_files_of_many_blocks_hold_the_same(tmp_path: Path, single: None, ds: xr.Dataset) -> None:
    path = tmp_path / "a.nc"
    first = save_dataset(path, ds)
    assert_identical(load_dataset(path, first), ds)
    content = path.read_bytes()
    assert save_dataset(path, ds) == first and path.read_bytes() == content
    with xr.open_dataset(path, engine="h5netcdf") as there:
        assert there["gradient_log10_mean_square"].encoding["chunksizes"] == (1, 2, 5)
        assert there["activation_density"].encoding["chunksizes"] == (1, *ds["activation_density"].shape[1:])


def test_what_was_opened_lazily_is_saved_as_it_was(tmp_path: Path, single: None, ds: xr.Dataset) -> None:
    first = save_dataset(tmp_path / "a.nc", ds)
    assert save_dataset(tmp_path / "b.nc", open_dataset(tmp_path / "a.nc", first)) == first
    assert save_dataset(tmp_path / "c.nc", open_dataset(tmp_path / "a.nc", first, chunks={"config": 4})) == first


@pytest.mark.parametrize("size", [1, 2**26])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(
    tmp_path: Path, ds: xr.Dataset, full_disk: None, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(chunks, "BLOCK_BYTES", size)
    (tmp_path / "a.nc").write_text("dear")
    with pytest.raises(MachineError, match="cannot write '.*a.nc': File too large"):
        save_dataset(tmp_path / "a.nc", ds)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nc"] and (tmp_path / "a.nc").read_text() == "dear"


# opening


@pytest.mark.parametrize(
    "chunks",
    [
        {},
        "auto",
        *(pytest.param(c, marks=pytest.mark.exhaustive) for c in (2, {"config": 1, "layer": 2})),
        {"config": 4},
    ],
)
def test_runs_open_lazily(folder: Path, ds: xr.Dataset, chunks: Any) -> None:
    lazy = vp.open_run(folder, chunks=chunks)
    assert all(v.chunks is not None for v in lazy.data_vars.values())
    assert all(isinstance(c.variable._data, np.ndarray) or c.name in lazy.indexes for c in lazy.coords.values())
    assert_identical(lazy.compute(), ds)
    assert vp.diagnose(lazy).rows == vp.diagnose(ds).rows


def test_the_file_s_blocks_are_the_chunks(folder: Path, tmp_path: Path, single: None, ds: xr.Dataset) -> None:
    path = tmp_path / "results.nc"
    lazy = open_dataset(path, save_dataset(path, ds), chunks={})
    assert lazy.chunks["config"] == (1,) * 6
    assert_identical(vp.select(lazy, init="lecun_normal").compute(), vp.select(ds, init="lecun_normal"))


def test_verdicts_are_made_block_by_block(folder: Path, single: None, ds: xr.Dataset, little: None) -> None:
    lazy = read_run(folder)
    assert not any(v.variable._in_memory for v in lazy.data_vars.values())
    told: list[int] = []
    assert [(b.sizes["config"], b.nbytes < lazy.nbytes / 3) for b in blocks(lazy, told.append)] == [(1, True)] * 6
    assert told == [1] * 6
    assert vp.diagnose(lazy).rows == vp.diagnose(ds).rows
    assert not any(v.variable._in_memory for v in lazy.data_vars.values())  # nothing was kept


def test_blocks_hold_as_many_as_fit(ds: xr.Dataset) -> None:
    each = sum(v.nbytes for v in ds.data_vars.values() if "config" in v.dims) // 6
    assert block_size(ds) == chunks.BLOCK_BYTES // each
    assert block_size(ds.isel(layer=slice(0))) >= 6


def test_what_memory_cannot_hold_is_to_be_opened_in_chunks(folder: Path, ds: xr.Dataset, little: None) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"^chunks: the numbers of .*results.nc take .*; open them lazily, with chunks={}"
    ):
        vp.open_run(folder)
    assert_identical(vp.open_run(folder, chunks={}).compute(), ds)


def test_cells_are_read_where_the_dataset_is_damaged(
    folder: Path, tmp_path: Path, little: None, ds: xr.Dataset
) -> None:
    shutil.copytree(folder, tmp_path / "run")
    content = bytearray((tmp_path / "run" / "results.nc").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "run" / "results.nc").write_bytes(content)
    with pytest.warns(UserWarning, match="results.nc is damaged; its cells are read instead"):
        lazy = vp.open_run(tmp_path / "run", chunks={"config": 4})
    assert lazy["gradient_log10_mean_square"].chunks[0] == (4, 2)
    assert_identical(lazy.compute(), ds[list(lazy.data_vars)])
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    "chunks, message",
    [
        ({"confg": 2}, "chunks: unknown dimension 'confg'; did you mean 'config'?"),
        ({"config": "many"}, "chunks: {'config': 'many'} is not what xarray takes"),
        ("all", "chunks: 'all' is not what xarray takes"),
    ],
)
def test_wrong_chunks(folder: Path, chunks: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        vp.open_run(folder, chunks=chunks)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_without_dask_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(InvalidArgumentError, match=r'results in chunks need dask: pip install "varprobe\[dask\]"'):
        vp.open_run(folder, chunks={})


# exports


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_exports_do_not_depend_on_blocks(
    tmp_path: Path, folder: Path, ds: xr.Dataset, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    whole = content_of(vp.export(ds, tmp_path / f"a.{ending}"))
    monkeypatch.setattr(chunks, "BLOCK_BYTES", 1)
    monkeypatch.setattr(memory, "free_bytes", lambda: 100)
    lazy, told = read_run(folder), []
    assert content_of(vp.export(lazy, tmp_path / f"b.{ending}", advance=told.append)) == whole and told == [1] * 6
    assert not any(v.variable._in_memory for v in lazy.data_vars.values())


def content_of(path: Path) -> Any:
    """What an export says: its text, or its rows."""
    if path.suffix == ".parquet":
        return repr(parquet.read_table(path).to_pylist())
    return path.read_text("utf-8")


def test_the_command_exports_what_memory_cannot_hold(
    tmp_path: Path, folder: Path, ds: xr.Dataset, little: None, single: None, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(folder), "--save", str(tmp_path / "x.nc"), "--select", "init=lecun_normal,zeros"]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0 and capsys.readouterr().err == ""
    with xr.open_dataset(tmp_path / "x.nc", engine="h5netcdf") as there:
        assert_identical(there.load().drop_encoding(), selected(ds, ["init=lecun_normal,zeros"]))
