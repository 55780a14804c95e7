"""Run folders: what is computed is kept, found again, and never half there."""

import csv
import errno
import importlib
import inspect
import os
import resource
import shutil
import string
import subprocess
import sys
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_in import compute_with

from varprobe.errors import InvalidArgumentError, MachineError
from varprobe.runs.open import open_run
from varprobe.storage.checksums import sealed_archive, sealed_json, unsealed_json
from varprobe.storage.files import put
from varprobe.sweeps.assemble import variable_names
from varprobe.sweeps.folders import default_folder
from varprobe.sweeps.local_executor import LocalCellExecutor
from varprobe.sweeps.record import plan, versions
from varprobe.sweeps.request import read_request

module = importlib.import_module("varprobe.sweeps.sweep")  # the package's attribute of this name is the function
sweep = module.sweep

TINY = dict(depth=5, width=16, batch=8, seeds=4, act="relu", init="he_normal,glorot_normal")
"""One group and four seeds: four cells, one compilation for all tests."""

identical = xr.testing.assert_identical


def measured(ds: xr.Dataset) -> xr.Dataset:
    """Without theory, which cells do not hold."""
    return ds[list(variable_names())]


class StatisticsHook:
    """A progress that remembers, and can interrupt after so many cells."""

    def __init__(self, interrupt_after=None):
        self.total = self.cached = None
        self.done, self.notes, self.limit = 0, [], interrupt_after

    def start(self, total, cached):
        self.total, self.cached = total, cached

    def advance(self, cells=1):
        self.done += cells
        if self.done == self.limit:
            raise KeyboardInterrupt

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="module")
def whole():
    """The dataset of TINY, computed without a folder."""
    return sweep(**TINY)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A finished run of TINY, for `folder` to copy."""
    path = tmp_path_factory.mktemp("template") / "run"
    sweep(**TINY, out=path)
    return path


@pytest.fixture
def folder(template, tmp_path):
    """A finished run of TINY."""
    return Path(shutil.copytree(template, tmp_path / "run"))


@pytest.fixture
def computed(monkeypatch):
    """The (configs, seed) of every cell that is computed, by a stand-in for the engine."""
    seen = []

    def table_of(group, setting, seed):
        seen.append((len(group.members), seed))
        shape = (len(group.members), group.program.depth + 1)
        values = [-np.inf, np.nan, *np.random.default_rng(len(seen)).normal(size=100)]
        table = {name: np.resize(np.roll(values, i), shape) for i, name in enumerate(variable_names())}
        return {k: v for k, v in table.items() if not (setting.forward_only and "gradient" in k)}

    compute_with(monkeypatch, table_of)
    return seen


def cells_of(folder):
    return sorted((folder / "cells").iterdir())


def files_of(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def strays(folder):
    return [p for p in folder.rglob("*") if "tmp" in p.name]


def test_sweep_takes_exactly_what_a_request_does_and_how_to_do_it():
    request, here = (inspect.signature(f).parameters for f in (read_request, sweep))
    assert list(here) == [*request, "out", "fresh", "memory", "devices", "shard", "executor", "progress"]
    assert all(here[name].default == request[name].default for name in request)
    assert all(name in sweep.__doc__ for name in here)


def test_without_out_nothing_is_written(tmp_path, monkeypatch, whole):
    monkeypatch.chdir(tmp_path)
    identical(sweep(**TINY), whole)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_written_and_reads_back_identical(tmp_path, whole):
    out = tmp_path / "new" / "deeper" / "run"
    watch = StatisticsHook()
    identical(sweep(**TINY, out=out, progress=watch), whole)
    assert (watch.total, watch.cached, watch.done, watch.notes) == (4, 0, 4, [])
    assert {"spec.json", "results.nc", "results.csv"} < files_of(out) and len(cells_of(out)) == 4
    back = open_run(out)
    identical(back, whole)
    assert {k: v.dtype for k, v in back.coords.items()} == {k: v.dtype for k, v in whole.coords.items()}
    assert {k: type(v) for k, v in back.attrs.items()} == {k: type(v) for k, v in whole.attrs.items()}
    identical(xr.load_dataset(out / "results.nc", engine="h5netcdf"), whole)
    assert not strays(out)


def test_the_same_request_again_computes_nothing(folder, whole, monkeypatch):
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    monkeypatch.setattr(LocalCellExecutor, "run", lambda *_: pytest.fail("computed again"))
    monkeypatch.setattr(module, "groups_of", lambda *_: pytest.fail("planned again"))
    watch = StatisticsHook()
    identical(sweep(**TINY, out=folder, progress=watch), whole)
    assert (watch.total, watch.cached, watch.notes) == (0, 4, [])
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    (folder / "results.csv").unlink()
    sweep(**TINY, out=folder)
    assert (folder / "results.csv").exists()


def test_fresh_computes_everything_again(folder, whole, computed):
    watch = StatisticsHook()
    ds = sweep(**TINY, out=folder, fresh=True, progress=watch)
    assert len(computed) == 4 and (watch.total, watch.cached) == (4, 0)
    assert not ds.equals(whole)
    identical(open_run(folder), ds)


def test_an_interrupted_run_resumes_to_the_same_bits(tmp_path, whole, monkeypatch):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        sweep(**TINY, out=out, progress=StatisticsHook(interrupt_after=3))
    assert len(cells_of(out)) == 3 and not strays(out) and not (out / "results.nc").exists()
    with pytest.raises(InvalidArgumentError, match=r"unfinished: 3 of 4 cells; resume with the same command"):
        open_run(out)
    kept = {p: p.read_bytes() for p in cells_of(out)}
    watch = StatisticsHook()
    identical(sweep(**TINY, out=out, progress=watch), whole)
    assert (watch.total, watch.cached, watch.done) == (1, 3, 1)
    assert kept.items() <= {p: p.read_bytes() for p in cells_of(out)}.items()


KILLED = """
import os, signal, sys
from varprobe.storage.checksums import sealed_archive, sealed_json, unsealed_json
from varprobe.storage.files import put
def fill(file):
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
from pathlib import Path
put(Path(sys.argv[1]), fill)
"""


def test_what_a_killed_run_left_half_written_is_removed(folder, whole):
    victim = cells_of(folder)[0]
    for path in (victim, folder / "results.nc"):
        path.unlink()
        assert subprocess.run([sys.executable, "-c", KILLED, path], timeout=60).returncode == -9
        assert not path.exists()
    assert len(strays(folder)) == 2
    mine = [folder / ".mine.tmp", folder / "cells" / "notes.tmp"]
    for path in mine:
        path.write_text("the user's")
    watch = StatisticsHook()
    identical(sweep(**TINY, out=folder, progress=watch), whole)
    assert watch.total == 1 and sorted(strays(folder)) == sorted(mine)


def test_a_folder_in_which_nothing_but_a_half_written_file_was_left_is_empty(tmp_path, computed):
    (tmp_path / ".spec.json.0123abcd.varprobe.tmp").write_text("{")
    sweep(**TINY, out=tmp_path)
    assert not strays(tmp_path)


def truncated(path):
    path.write_bytes(path.read_bytes()[:-700])


def flipped(path):
    content = bytearray(path.read_bytes())
    with np.load(path) as archive:
        at = bytes(content).index(archive["gradient_log10_mean_square"].tobytes())
    content[at + 13] ^= 4
    path.write_bytes(content)


def emptied(path):
    path.write_bytes(b"")


class Bomb:
    """What a pickle may do to whoever opens it."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def pickled(path):
    np.savez(path, gradient_log10_mean_square=np.array([Bomb()], dtype=object))


def reshaped(path):
    with np.load(path) as archive:
        table = {k: archive[k][..., :-1] if archive[k].ndim == 2 else archive[k] for k in archive.files}
    path.write_bytes(sealed_archive(table))


def renamed(path):
    with np.load(path) as archive:
        table = {k.replace("gradient", "gradients"): archive[k] for k in archive.files}
    path.write_bytes(sealed_archive(table))


def exchanged(path):
    path.write_bytes(next(p for p in cells_of(path.parents[1]) if p != path).read_bytes())


@pytest.mark.parametrize("damage", [truncated, flipped, emptied, pickled, reshaped, renamed, exchanged])
@pytest.mark.parametrize("results_too", [False, True])
def test_a_damaged_cell_is_named_and_computed_again(folder, whole, damage, results_too):
    victim = cells_of(folder)[2]
    right = victim.read_bytes()
    damage(victim)
    if results_too:
        (folder / "results.nc").unlink()
        with pytest.raises(InvalidArgumentError, match="3 of 4 cells"), pytest.warns(UserWarning) as warned:
            open_run(folder)
        assert len(warned) == 2 and victim.name in str(warned[1].message)
    watch = StatisticsHook()
    identical(sweep(**TINY, out=folder, progress=watch), whole)
    assert (watch.total, watch.cached) == (1, 3)
    assert len(watch.notes) == 1 and str(victim) in watch.notes[0] and "computed again" in watch.notes[0]
    assert victim.read_bytes() == right


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", None])
def test_damaged_results_are_named_and_made_from_the_cells(folder, whole, content, monkeypatch):
    results = folder / "results.nc"
    right = results.read_bytes()
    middle = len(right) // 2
    flip = right[:middle] + bytes([right[middle] ^ 1]) + right[middle + 1 :]
    results.write_bytes(flip if content is None else content)
    with pytest.warns(UserWarning, match=r"results\.nc is damaged"):
        identical(open_run(folder), measured(whole))
    monkeypatch.setattr(LocalCellExecutor, "run", lambda *_: pytest.fail("computed again"))
    watch = StatisticsHook()
    identical(sweep(**TINY, out=folder, progress=watch), whole)
    assert len(watch.notes) == 1 and str(results) in watch.notes[0]
    identical(open_run(folder), whole)


def test_results_of_another_run_are_not_taken_for_this_one(folder, tmp_path, computed):
    sweep(**TINY | {"seeds": 2}, out=tmp_path / "other")
    (folder / "results.nc").write_bytes((tmp_path / "other" / "results.nc").read_bytes())
    with pytest.warns(UserWarning, match="damaged"):
        assert open_run(folder).sizes["seed"] == 4


def test_notes_are_python_warnings_where_nobody_watches(folder):
    truncated(cells_of(folder)[0])
    with pytest.warns(UserWarning, match="is damaged"):
        sweep(**TINY, out=folder)


def test_results_stay_readable_without_the_cells(folder, whole):
    for path in cells_of(folder):
        path.unlink()
    identical(open_run(folder), whole)
    (folder / "results.nc").unlink()
    with pytest.raises(InvalidArgumentError, match="has lost its results.nc: 0 of 4 cells"), pytest.warns(UserWarning):
        open_run(folder)


USER = dict(depth=2, width=4, batch=2, seeds=2, init="he_normal")


def test_an_edited_function_or_data_file_computes_anew_and_an_undone_edit_finds_the_old_cells(
    tmp_path, monkeypatch, computed
):
    monkeypatch.chdir(tmp_path)
    source, data, out = Path("mine.py"), Path("rows.npy"), tmp_path / "run"
    original = "import jax.numpy as jnp\ndef wave(x):\n    return jnp.sin(x)\n"
    rows = np.random.default_rng(0).normal(size=(6, 4))
    source.write_text(original)
    np.save(data, rows)

    def again():
        """How many cells are computed, and the notes."""
        watch, before = StatisticsHook(), len(computed)
        sweep(**USER, act="mine.py:wave", data="rows.npy", out=out, progress=watch)
        return len(computed) - before, watch.notes

    assert again() == (2, []) and again() == (0, [])
    source.write_text(original.replace("sin", "cos"))
    count, notes = again()
    assert count == 2 and "the source of a function changed" in notes[0]
    np.save(data, rows + 1)
    count, notes = again()
    assert count == 2 and "the data changed" in notes[0]
    source.write_text(original)
    np.save(data, rows)
    assert again()[0] == 0
    assert again() == (0, []) and len(cells_of(out)) == 6


def test_two_functions_of_one_file_under_one_label_are_not_mixed_up(tmp_path, monkeypatch, computed):
    source = "import jax.numpy as jnp\ndef one(x):\n    return jnp.sin(x)\ndef two(x):\n    return jnp.cos(x)\n"
    (tmp_path / "pair_of_functions.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    pair = importlib.import_module("pair_of_functions")
    sweep(**USER, act={"Ours": pair.one}, out=tmp_path / "run")
    sweep(**USER, act={"Ours": pair.one}, out=tmp_path / "run")
    assert len(computed) == 2
    with pytest.warns(UserWarning, match="the source of a function changed"):
        sweep(**USER, act={"Ours": pair.two}, out=tmp_path / "run")
    assert len(computed) == 4


@pytest.mark.exhaustive
def test_code_that_cannot_be_hashed_is_never_reused_and_leaves_no_litter(tmp_path, computed):
    out = tmp_path / "run"
    for count in (2, 4, 6):
        watch = StatisticsHook()
        ds = sweep(**USER, act={"Ours": lambda x: x * 0.5}, out=out, progress=watch)
        assert len(computed) == count and watch.cached == 0 and len(cells_of(out)) == 2
        identical(open_run(out), ds)
    assert "in no file" in watch.notes[0]


@pytest.mark.parametrize("key", ["jax", "engine", "backend"])
def test_other_versions_compute_anew(folder, computed, key):
    record = unsealed_json(folder / "spec.json")
    record["versions"][key], record["identity"] = "0.0", "0" * 64
    record["groups"][0]["cells"] = [f"{i:064x}" for i in range(4)]
    (folder / "spec.json").write_bytes(sealed_json(record))
    watch = StatisticsHook()
    sweep(**TINY, out=folder, progress=watch)
    assert key in watch.notes[0] and "0.0 ->" in watch.notes[0]


def test_cells_are_named_by_what_decides_their_numbers():
    def names(**change):
        request = read_request(**{**USER, "act": "relu", **change})
        record = plan(request, [list(range(len(request.configs)))], versions())
        return {cell.name for cell in record.cells}

    base = names()
    assert base == names() and base < names(seeds=3)
    other = [
        {"root_seed": 1},
        {"loss": "mse"},
        {"dtype": "float64"},
        {"range": "dtype"},
        {"bias": "ones"},
        {"batch": 3},
        {"width": 5},
        {"depth": 3},
        {"input_width": 3},
        {"init_first": "zeros"},
        {"init_last": "zeros"},
        {"data": "uniform"},
        {"data": np.eye(4)},
        {"data": np.eye(4)[::-1]},
        {"forward_only": True},
        {"act": "leaky_relu(0.2)"},
        {"init": "he_uniform"},
        {"init": "he_normal,he_uniform"},
    ]
    every = [base, *(names(**change) for change in other)]
    assert len(set().union(*every)) == sum(map(len, every)) == 2 * len(every)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"depth": 6}, "depth is 5 there and 6 here"),
        ({"act": "tanh,relu"}, "act is relu there and tanh, relu here"),
        ({"root_seed": 1}, "root_seed is 0 there and 1 here"),
        ({"forward_only": True}, "forward_only is False there and True here"),
    ],
)
def test_a_folder_of_another_run_is_refused(folder, change, words):
    before = files_of(folder)
    with pytest.raises(InvalidArgumentError, match=words) as caught:
        sweep(**TINY | change, out=folder)
    assert caught.value.option == "out" and files_of(folder) == before


def test_what_is_not_a_run_folder_is_refused_and_left_alone(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy" / "thesis.tex").write_text("x")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "spec.json").write_text('{"openapi": "3.1"}')
    before = files_of(tmp_path)
    for out, words in [
        (file, "is a file"),
        (file / "run", "is a file"),
        (tmp_path / "busy", "holds files and no run"),
        (tmp_path / "foreign", "not a run that varprobe wrote"),
        ("", "cannot be used"),
        ("a\0b", "cannot be used"),
        (3, "cannot be used"),
        (tmp_path / ("x" * 300), "cannot be used"),
    ]:
        with pytest.raises(InvalidArgumentError, match=words) as caught:
            sweep(**TINY, out=out)
        assert caught.value.option == "out" and "\n" not in str(caught.value)
    assert files_of(tmp_path) == before and len(list(tmp_path.iterdir())) == 3


def test_nothing_is_made_for_a_wrong_request(tmp_path):
    with pytest.raises(InvalidArgumentError):
        sweep(**TINY | {"act": "rleu"}, out=tmp_path / "a" / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_request_that_proves_wrong_while_it_runs_leaves_nothing(tmp_path, monkeypatch):
    def run(*_):
        raise InvalidArgumentError("no")
        yield

    monkeypatch.setattr(LocalCellExecutor, "run", run)
    with pytest.raises(InvalidArgumentError, match="no"):
        sweep(**TINY, out=tmp_path / "a" / "run")
    assert list(tmp_path.iterdir()) == []


def failing(monkeypatch, number, when=lambda path: True):
    """Let every write to a path that `when` accepts fail with an errno."""

    def fail(path, fill):
        if when(path):
            raise OSError(number, os.strerror(number), str(path))
        put(path, fill)

    for name in ("storage.files", "storage.records", "storage.tasks"):
        monkeypatch.setattr(importlib.import_module(f"varprobe.{name}"), "put", fail)


@pytest.mark.parametrize(
    "number, error",
    [(errno.EROFS, InvalidArgumentError), (errno.EACCES, InvalidArgumentError), (errno.ENOSPC, MachineError)],
)
def test_an_unwritable_folder_is_met_before_anything_is_computed(tmp_path, monkeypatch, computed, number, error):
    failing(monkeypatch, number)
    with pytest.raises(error, match=f"cannot write to .*: {os.strerror(number)}"):
        sweep(**TINY, out=tmp_path / "a" / "run")
    assert list(tmp_path.iterdir()) == [] and computed == []


@pytest.mark.parametrize("name", ["results.nc", "results.csv", ".npz"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fails_later_is_named_in_one_line_and_finished_cells_are_kept(
    tmp_path, monkeypatch, computed, name, number
):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        failing(patch, number, lambda path: path.name.endswith(name) and (name != ".npz" or len(computed) == 3))
        with pytest.raises(MachineError, match=os.strerror(number)) as caught:
            sweep(**TINY, out=out)
    assert name in str(caught.value) and "\n" not in str(caught.value)
    watch = StatisticsHook()
    sweep(**TINY, out=out, progress=watch)
    assert watch.cached == (2 if name == ".npz" else 4)


def test_a_limit_on_file_sizes_is_a_machine_error_and_leaves_no_half_file(tmp_path, computed):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3500, hard))
    try:
        with pytest.raises(MachineError, match=r"cannot write '.*\.npz': File too large"):
            sweep(**TINY, out=tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert cells_of(tmp_path / "run") == [] and not strays(tmp_path)


def test_a_file_is_written_again_where_another_process_cleaned_it_away(tmp_path):
    tries = []

    def fill(file):
        tries.append(file.write(b"whole"))
        if len(tries) == 1:
            next(tmp_path.iterdir()).unlink()

    put(tmp_path / "file", fill)
    assert (tmp_path / "file").read_bytes() == b"whole" and len(tries) == 2


def test_the_table_holds_the_dataset(tmp_path, computed):
    mixed = TINY | {"depth": [2, 5], "seeds": 2, "forward_only": True}
    ds = sweep(**mixed, out=tmp_path / "run")
    with (tmp_path / "run" / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * (3 + 6)
    coordinates = [str(k) for k, v in ds.coords.items() if v.dims == ("config",)]
    assert list(rows[0]) == ["config", *coordinates, "seed", "layer", *ds.data_vars]
    for row in rows:
        at = {k: int(row[k]) for k in ("config", "seed", "layer")}
        assert {k: row[k] for k in coordinates} == {k: str(ds[k].values[at["config"]]) for k in coordinates}
        values = np.array([float(row[k] or "nan") for k in ds.data_vars])
        np.testing.assert_array_equal(values, [ds[k].values[tuple(at.values())] for k in ds.data_vars])
    identical(open_run(tmp_path / "run"), ds)


def test_infinities_profiles_labels_and_empty_lists_survive(tmp_path, computed):
    request = USER | {"width": "4-3,4-2,5", "init_last": "zeros", "act": {'Größe, "x"': positive}}
    ds = sweep(**request, out=tmp_path / "run")
    assert ds.width.values.tolist() == ["4-3", "4-2", "5"]
    identical(open_run(tmp_path / "run"), ds)
    (tmp_path / "run" / "results.nc").unlink()
    with pytest.warns(UserWarning, match="missing"):
        rebuilt = open_run(tmp_path / "run")
    identical(rebuilt, measured(ds))
    assert {k: v.dtype for k, v in rebuilt.coords.items()} == {k: v.dtype for k, v in ds.coords.items()}


def positive(x):
    return x * (x > 0)


def test_opening_a_run_runs_nothing_of_it(tmp_path, monkeypatch, computed):
    monkeypatch.chdir(tmp_path)
    source = Path("mine.py")
    source.write_text("def half(x):\n    return x / 2\n")
    ds = sweep(**USER, act="mine.py:half", out="run")
    source.write_text("raise SystemExit('executed')\n")
    identical(open_run("run"), ds)
    Path("run", "results.nc").unlink()
    with pytest.warns(UserWarning):
        identical(open_run("run"), measured(ds))


def test_open_run_says_what_it_was_given_instead_of_a_run(tmp_path, monkeypatch, computed):
    monkeypatch.chdir(tmp_path)
    sweep(**TINY, out="runs/relu-first")
    Path("runs/empty").mkdir()
    for path, words in [
        ("runs/relu-frist", "there is no run 'runs/relu-frist'; did you mean 'runs/relu-first'"),
        ("runs/empty", "no spec.json in 'runs/empty'"),
        ("nowhere/at/all", "there is no run"),
        ("runs/relu-first/results.nc", "did you mean its folder 'runs/relu-first'"),
        ("", "cannot be"),
    ]:
        with pytest.raises(InvalidArgumentError, match=words) as caught:
            open_run(path)
        assert caught.value.option == "run"


@pytest.mark.parametrize("name", ["results.nc", "spec.json", "cells"])
def test_links_out_of_a_run_are_refused(folder, tmp_path, name):
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    for call in (lambda: open_run(folder), lambda: sweep(**TINY, out=folder)):
        with pytest.raises(InvalidArgumentError, match=f"{name} is a link"):
            call()


def test_a_whole_folder_may_be_a_link_or_moved(folder, tmp_path, whole):
    (tmp_path / "link").symlink_to(folder)
    identical(open_run(tmp_path / "link"), whole)
    folder.rename(tmp_path / "moved")
    identical(open_run(tmp_path / "moved"), whole)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\x00", '{"spec": {}}'])
def test_a_damaged_spec_is_refused_in_one_line(folder, text):
    (folder / "spec.json").write_text(text)
    for call in (lambda: open_run(folder), lambda: sweep(**TINY, out=folder)):
        with pytest.raises(InvalidArgumentError, match="not a run that varprobe wrote") as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "a" * 63, ""])
def test_a_spec_that_names_files_elsewhere_is_refused(folder, name):
    record = unsealed_json(folder / "spec.json")
    record["groups"][0]["cells"][1] = name
    (folder / "spec.json").write_bytes(sealed_json(record))
    with pytest.raises(InvalidArgumentError, match="not a run that varprobe wrote: its spec.json is damaged"):
        open_run(folder)


class ProbeOptions:
    """As much of a request as a folder's name is made of."""

    def __init__(self, **spec):
        self.spec = {"act": ["relu"], "depth": [50], "width": [512], "init": ["he_normal"]} | spec


def test_default_folders_read_like_the_request():
    def name(**spec):
        path = default_folder(ProbeOptions(**spec))
        assert path.parent == Path("runs")
        return path.name.rpartition("-")[0]

    assert name() == "relu-d50-w512"
    assert name(act=["relu", "tanh", "gelu"], depth=[10, 100], width=[64, 1024]) == "3acts-d10-100-w64-1024"
    assert name(act=["leaky_relu(0.1)"]) == "leaky_relu-0.1-d50-w512"
    assert name(act=["../deep/mine.py:swishy(beta=2)"]) == "swishy-beta-2-d50-w512"
    assert name(width=["784-512-256"], depth=[3]) == "relu-d3-w784-512-256"
    assert name(act=[r"C:\mine.py:f"]) == "f-d50-w512"


def test_default_folders_follow_the_request_and_not_the_files(tmp_path):
    base, edited = default_folder(ProbeOptions(code=["1"])), default_folder(ProbeOptions(code=["2"], data_digest="x"))
    assert base == edited != default_folder(ProbeOptions(init=["orthogonal"]))
    assert default_folder(read_request(**TINY)) == default_folder(read_request(**TINY))


SAFE = set(string.ascii_letters + string.digits + "-_.")


@settings(max_examples=100, deadline=None)
@given(
    st.text(),
    st.lists(st.integers(1, 10**9), min_size=1, max_size=3),
    st.lists(st.integers(1, 10**7), min_size=1),
    st.text("0123456789-", min_size=1),
)
def test_any_label_gives_a_safe_folder(label, widths, depths, profile):
    for values in (widths, [profile], [*widths, profile]):
        path = default_folder(ProbeOptions(act=[label], width=values, depth=depths))
        runs, name = path.parts
        assert runs == "runs" and set(name) <= SAFE and name[0] not in "-." and len(str(path)) <= 70
        assert PureWindowsPath(path).name == name
