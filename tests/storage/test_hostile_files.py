"""Files that somebody made to do harm: each is a clear error in one line, nothing runs, waits, or is written elsewhere."""

import hashlib
import io
import os
import shutil
import signal
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from made_up import save_model_run, signals
from stand_in import compute_with

import varprobe as vp
import varprobe.nets.data
from varprobe.errors import InvalidArgumentError
from varprobe.nets.data import load_source
from varprobe.plots import save_figure
from varprobe.spec.user_code import load
from varprobe.storage import safe_open
from varprobe.storage.checksums import sealed_json, unsealed_json
from varprobe.storage.figure_origin import origin_of
from varprobe.storage.files import put

TINY: dict[str, Any] = {"depth": 2, "width": 8, "batch": 4, "seeds": 2, "init": "he_normal", "correlation": 0.5}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The test's own folder; whoever waits is woken."""

    def late(*_):
        raise TimeoutError("it waits")

    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def refused(what, *arguments, **options) -> str:
    """The line with which it is refused, on the way to which no more than 64 MiB are allocated."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgumentError) as caught:
            what(*arguments, **options)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- data files


def npy(header: bytes | str, content: bytes = bytes(48), version: int = 1, length: int | None = None) -> bytes:
    """An npy file with any header, which may lie about its length."""
    header = header.encode() if isinstance(header, str) else header
    size = struct.pack("<H" if version == 1 else "<I", len(header) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + header + content


def of_shape(shape: str, dtype: str = "'<f8'", order: str = "False") -> str:
    return f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


HEADERS = {
    "a shape of 10^15": (npy(of_shape("(1000000000000000, 3)")), "would take 2.24e+07 GiB in memory (at most 8 GiB)"),
    "a shape beyond 64 bits": (npy(of_shape(f"({10**40},)")), "would take 7.45e+31 GiB"),
    "a shape of 10^40 nothings": (npy(of_shape(f"(0, {10**40})")), "damaged"),
    "a negative shape": (npy(of_shape("(-2, -3)")), "is cut off: its header announces float64 of shape (-2, -3)"),
    "more than there is": (npy(of_shape("(2, 99)")), "is cut off: its header announces float64 of shape (2, 99)"),
    "an element of terabytes": (npy(of_shape("(2,)", "'|V2147483647'")), "is cut off"),
    "a subarray of terabytes": (npy(of_shape("(2,)", "[('a', '<f8', (10000, 10000))]")), "is cut off"),
    "Python objects": (npy(of_shape("(2, 3)", "'|O'")), "holds Python objects, not numbers"),
    "objects in a record": (npy(of_shape("(2,)", "[('a', '|O')]")), "holds Python objects"),
    "an order that is none": (npy(of_shape("(2, 3)", order="3")), "damaged"),
    "code": (npy("__import__('os').mkdir('pwned')\n"), "damaged"),
    "code in the shape": (npy(of_shape("__import__('os').mkdir('pwned')")), "damaged"),
    "code in the dtype": (npy(of_shape("(2, 3)", "__import__('os').mkdir('pwned')")), "damaged"),
    "no dict": (npy("[1, 2, 3]\n"), "damaged"),
    "other keys": (npy("{'shape': (2, 3)}\n"), "damaged"),
    "nested without end": (npy("(" * 9000 + "\n"), "damaged"),
    "a header of 4 GiB": (npy(of_shape("(2, 3)"), version=2, length=2**32 - 1), "claims a header of 4294967295 bytes"),
    "a header that is too long": (npy(of_shape("(2, 3)") + " " * 70_000, version=2), "claims a header of 70060 bytes"),
    "a header behind the end": (npy("{", b"", length=60_000), "damaged"),
    "an unknown version": (
        npy(of_shape("(2, 3)"))[:6] + b"\x09\x09" + bytes(80),
        "has version (9, 9) of the npy format",
    ),
    "no array": (b"#!/bin/sh\nmkdir pwned\n", "damaged"),
}


@pytest.mark.parametrize("what", HEADERS)
@pytest.mark.parametrize("packed", [False, True])
def test_headers(what, packed, here):
    """The header of a file, and of a member of an archive."""
    content, message = HEADERS[what]
    if packed:
        with zipfile.ZipFile("a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", content)
    else:
        Path("a.npy").write_bytes(content)
    line = refused(load_source, "a.npz" if packed else "a.npy")
    assert line.startswith("data: a.np") and message in line
    assert not Path("pwned").exists()


def test_an_order_that_lies_only_turns_the_table():
    numbers = np.arange(6.0)
    Path("a.npy").write_bytes(npy(of_shape("(2, 3)", order="True"), numbers.tobytes()))
    assert load_source("a.npy").rows.tolist() == numbers.reshape(3, 2).T.tolist()


def test_headers_of_python_2_are_read_without_a_warning(recwarn):
    Path("a.npy").write_bytes(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2L, 3L), }\n"))
    assert load_source("a.npy").rows.shape == (2, 3) and not recwarn.list


def saved(array: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


class Bomb:
    """What runs when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("pwned",)


def test_nothing_is_unpickled():
    pickled = saved(np.array([Bomb(), Bomb()], object), allow_pickle=True)
    Path("a.npy").write_bytes(pickled)
    assert refused(load_source, "a.npy") == "data: a.npy holds Python objects, not numbers"
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("x.npy", pickled)
    assert refused(load_source, "a.npz") == "data: a.npz:x holds Python objects, not numbers"
    Path("b.npy").write_bytes(pickled[128:])  # a bare pickle, which numpy.load takes
    assert "damaged" in refused(load_source, "b.npy")
    assert not Path("pwned").exists()


def test_bombs(monkeypatch):
    with zipfile.ZipFile("a.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        member.write(npy(of_shape("(2, 3)")))
        for _ in range(128):
            member.write(bytes(2**20))  # behind the numbers, and never unpacked
    assert Path("a.npz").stat().st_size < 2**18
    tracemalloc.start()
    assert load_source("a.npz").rows.shape == (2, 3)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    with zipfile.ZipFile("b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy(of_shape("(9999999999, 99)")))
    content = bytearray(Path("b.npz").read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + 20 : at + 28] = b"\xfe\xff\xff\xff" * 2  # it claims 4 GiB, packed and unpacked
    Path("b.npz").write_bytes(content)
    line = refused(load_source, "b.npz")  # newer Pythons see by themselves that the claim is beyond the file
    assert "b.npz:x would take 7.38e+03 GiB in memory (at most 8 GiB)" in line or "b.npz is damaged" in line
    with zipfile.ZipFile("c.npz", "w") as archive:
        archive.writestr("x.npy", Path("a.npz").read_bytes())  # an archive in an archive
    assert "c.npz is damaged" in refused(load_source, "c.npz")


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "C:\\x", "x\x1b[31m", "\N{RIGHT-TO-LEFT OVERRIDE}x"])
def test_names_in_archives_are_names_only(here, name):
    for kept in ("in", "in/deep"):
        Path(kept).mkdir()
    os.chdir("in/deep")
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr(f"{name}.npy", saved(np.ones((2, 3))))
        archive.writestr("y.npy", saved(np.ones((2, 3))))
    before = sorted(here.rglob("*"))
    assert load_source(f"a.npz:{name}").rows.shape == (2, 3)
    assert "holds several arrays" in refused(load_source, "a.npz")
    assert sorted(here.rglob("*")) == before and not Path("/x").exists()


TABLES = {
    "formulas": (b"1,2\n=1+1,4\n", "a.csv, line 2, column 1: '=1+1' is not a number"),
    "commands": (b"1,2\n=cmd|' /C calc'!A0,4\n", "line 2, column 1: \"=cmd|' /C calc'!A0\" is not a number"),
    "a NUL": (b"1,2\n3\x00,4\n", r"line 2, column 1: '3\x00' is not a number"),
    "only NUL": (bytes(4096), "has no rows"),
    "UTF-16": ("1,2\n3,4\n".encode("utf-16"), "a.csv is damaged, or not what its ending says: 'utf-8' codec"),
    "UTF-32": ("1,2\n3,4\n".encode("utf-32"), "'utf-8' codec"),
    "Latin-1": (b"1,2\n\xe9,4\n", "'utf-8' codec"),
    "Latin-1 in the header": (b"caf\xe9,b\n1,2\n", "'utf-8' codec"),
    "a mark in the middle": ("1,2\n\ufeff3,4\n".encode(), r"'\ufeff3' is not a number"),
    "escapes": (b"1,2\n\x1b[31m3,4\n", r"'\x1b[31m3' is not a number"),
    "an open quote": (b'1,2\n"3,4\n5,6\n', "not"),
    "other separators": ("1,2\n3,4\u20285\n".encode(), r"'4\u20285' is not a number"),
    "digits of others": ("1,2\n3,\N{ARABIC-INDIC DIGIT FOUR}\n".encode(), "not"),
    "hexadecimal": (b"1,2\n0x3,4\n", "'0x3' is not a number"),
}


@pytest.mark.parametrize("what", TABLES)
def test_tables(what):
    content, message = TABLES[what]
    Path("a.csv").write_bytes(content)
    line = refused(load_source, "a.csv")
    assert line.startswith("data: a.csv") and message in line


def test_a_byte_order_mark_at_the_start_is_none_of_the_numbers():
    Path("a.csv").write_bytes("\ufeff1,2\n3,4\n".encode())
    assert load_source("a.csv").rows.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("content", [b"1,2\n", b"", b"3," * 3])
def test_a_line_without_end_is_not_read(monkeypatch, content):
    """As of a gigabyte: the line's end is looked for no further than it may be."""
    monkeypatch.setattr(varprobe.nets.data, "MAX_LINE", 2**20)
    Path("a.csv").write_bytes(content + b"1," * 2**20 + b"1\n")
    count = 1 + content.count(b"\n")
    assert refused(load_source, "a.csv") == f"data: a.csv, line {count} is longer than 1 MiB"


def test_a_table_of_gigabytes_is_not_read():
    with Path("a.csv").open("wb") as file:
        file.truncate(3 * 2**30)
    assert refused(load_source, "a.csv") == "data: a.csv would take 12 GiB in memory (at most 8 GiB)"


# ---------------------------------------------------------------- what is no file


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.csv"])
def test_pipes_are_not_waited_for_and_devices_have_no_end(name):
    os.mkfifo(name)
    assert refused(load_source, name) == f"data: {name!r} is a pipe, not a file"
    Path(name).unlink()
    Path(name).symlink_to("/dev/zero")
    assert refused(load_source, name) == f"data: {name!r} is a device, not a file"
    Path(name).unlink()
    Path(name).symlink_to(name)
    assert "Too many levels of symbolic links" in refused(load_source, name)


def test_code_and_figures_that_are_no_files():
    os.mkfifo("mine.py")
    assert refused(load, "mine.py:f") == "mine.py:f: 'mine.py' is a pipe, not a file"
    os.mkfifo("fig.pdf")
    assert refused(origin_of, "fig.pdf") == "from: 'fig.pdf' is a pipe, not a file"
    with Path("large.py").open("wb") as file:
        file.truncate(2**25)
    assert (
        refused(load, "large.py:f") == "large.py:f: 'large.py' has 0.0312 GiB, too much to be read (at most 0.0156 GiB)"
    )
    with Path("large.svg").open("wb") as file:
        file.truncate(2**29)
    assert refused(origin_of, "large.svg") == "from: 'large.svg' has 0.5 GiB, too much to be read (at most 0.25 GiB)"


# ---------------------------------------------------------------- run folders


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with `stack`, a sweep's run with probes, and `model`, a model's."""
    place = tmp_path_factory.mktemp("made")
    ds = vp.sweep(**TINY, out=place / "stack")
    vp.plot_variance(ds).figure.savefig(place / "stack" / "variance.pdf")
    model = vp.probe(lambda p, x: ((x @ p[0]) @ p[1]).sum(), [np.eye(4, dtype=np.float32)] * 2, np.ones((3, 4), "f"))
    save_model_run(place / "model", model, {"factory": "evil.py:make"})
    return place


@pytest.fixture
def run(made, here):
    """A copy of both, with a folder outside of them that nobody may write to."""
    shutil.copytree(made, here / "runs")
    (here / "outside").mkdir()
    return here / "runs"


def files_of(run: Path, kind: str) -> list[str]:
    """Every file and folder of a run but its figures."""
    names = [str(p.relative_to(run / kind)) for p in (run / kind).rglob("*")]
    return sorted(n for n in names if Path(n).suffix not in (".pdf", ".png", ".tex"))


def kinds_of(name: str) -> str:
    """What all files of a kind are called."""
    return str(Path(name).parent / "HASH.npz") if name.endswith(".npz") else name


def again(kind: str) -> xr.Dataset:
    """Make the run once more, into its folder."""
    if kind == "stack":
        return vp.sweep(**TINY, out="runs/stack")
    ds = vp.open_run("runs/model")
    save_model_run(Path("runs/model"), ds, {"factory": "evil.py:make"})
    return ds


def snapshot(place: Path) -> dict[Path, bytes | None]:
    return {p: None if p.is_dir() else p.read_bytes() for p in place.rglob("*")}


NAMED_IN_STACK = ("cells", "cells/HASH.npz", "probes", "probes/HASH.npz", "results.csv", "results.nc", "spec.json")


def test_the_files_of_a_run_are_those_tested_here(run):
    assert sorted({kinds_of(n) for n in files_of(run, "stack")}) == sorted(NAMED_IN_STACK)
    assert files_of(run, "model") == ["results.csv", "results.nc", "spec.json"]


@pytest.mark.parametrize("kind, name", [*(("stack", n) for n in NAMED_IN_STACK), ("model", "spec.json")])
def test_no_link_leads_out_of_a_run(run, here, kind, name, recwarn):
    """Whatever is replaced by a link to the very same content elsewhere is not read, nor written to."""
    path = run / kind / next(n for n in files_of(run, kind) if kinds_of(n) == name)
    target = here / "outside" / "theirs"
    path.rename(target)
    path.symlink_to(target)
    if not name.endswith(".npz"):
        line = refused(vp.open_run, run / kind)
        assert line == f"run: {path} is a link that leads out of the run folder"
        before = snapshot(here / "outside")
        with pytest.raises(InvalidArgumentError, match="is a link that leads out of the run folder"):
            again(kind)
        assert snapshot(here / "outside") == before
        return
    (run / kind / "results.nc").unlink()
    before = snapshot(here / "outside")
    again(kind)  # which computes the cell again, and replaces the link
    assert snapshot(here / "outside") == before and not path.is_symlink()
    assert any("is a link that leads out of the run folder" in str(w.message) for w in recwarn)


@pytest.mark.parametrize("name", ["results.nc", "results.csv"])
def test_a_model_is_not_written_to_a_folder_with_a_link_out_of_it(run, here, name):
    ds = vp.open_run(run / "model")
    path, target = run / "model" / name, here / "outside" / "theirs"
    path.rename(target)
    path.symlink_to(target)
    assert f"{name} is a link that leads out of the run folder" in refused(vp.open_run, run / "model")
    target.write_bytes(b"theirs")
    line = refused(save_model_run, run / "model", ds, {"factory": "evil.py:make"})
    assert line == f"out: {path} is a link that leads out of the run folder" and target.read_bytes() == b"theirs"


@pytest.mark.parametrize("name", ["fig.pdf", "fig.png", "fig.svg"])
def test_a_figure_replaces_a_link(here, name):
    (here / "theirs").write_text("theirs")
    (here / name).symlink_to(here / "theirs")
    from matplotlib.figure import Figure

    save_figure(Figure(), here / name)
    assert (here / "theirs").read_text() == "theirs" and not (here / name).is_symlink()
    assert sorted(p.name for p in here.iterdir()) == sorted(["theirs", name])


@pytest.mark.parametrize(
    "key, value",
    [("versions", [1]), ("identity", None), ("machines", 5), ("machines", [None]), ("arguments", [1]), ("results", 5),
     ("unrepeatable", []), ("deciding", []), ("attributes", []), ("coordinates", None), ("groups", {})],
)  # fmt: skip
def test_values_of_a_record_have_its_types(run, key, value):
    path = run / "stack" / "spec.json"
    path.write_bytes(sealed_json(unsealed_json(path) | {key: value}))
    calls = [lambda: vp.open_run(run / "stack"), lambda: again("stack")]
    if key not in ("deciding", "attributes", "coordinates", "groups"):  # which it does not need
        calls.append(lambda: vp.rerun(run / "stack"))
    for call in calls:
        with pytest.raises(
            InvalidArgumentError,
            match=f"holds '.*' as {key}|spec.json is damaged|another program's, or damaged|does not add up",
        ):
            call()
    assert not vp.verify(run / "stack").intact


@pytest.mark.parametrize("make", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_a_temporary_name_that_somebody_took_is_not_followed(here, make):
    (here / "theirs").write_bytes(b"theirs")
    make(here / "theirs", here / ".x.0.varprobe.tmp")
    put(here / "x", lambda file: file.write(b"ours"))
    assert (here / "theirs").read_bytes() == b"theirs" and (here / "x").read_bytes() == b"ours"


@pytest.mark.parametrize("kind, name", [("stack", "spec.json"), ("stack", "results.nc"), ("stack", "cells/HASH.npz"),
                                        ("stack", "probes/HASH.npz"), ("model", "spec.json"), ("model", "results.nc")])  # fmt: skip
def test_pipes_in_a_run_are_not_waited_for(run, kind, name, recwarn):
    path = run / kind / next(n for n in files_of(run, kind) if kinds_of(n) == name)
    whole = vp.open_run(run / kind)
    path.unlink()
    os.mkfifo(path)
    if name.endswith(".npz"):
        (run / kind / "results.nc").unlink()
    if name == "spec.json":
        for line in (refused(vp.open_run, run / kind), refused(again, kind)):
            assert line.endswith(f"runs/{kind} is not a run that varprobe wrote: its spec.json is not a file")
    elif kind == "model":
        line = refused(vp.open_run, run / kind)
        assert line.startswith("run: ") and any(
            words in line for words in ("is a pipe", "is not a file", "there is no spec.json")
        )
    else:
        found = again(kind)
        for variable in whole.data_vars:
            np.testing.assert_array_equal(found[variable], whole[variable])
        assert path.is_file() and any("is not a file" in str(w.message) for w in recwarn)


@pytest.mark.parametrize("kind, name", [("stack", "spec.json"), ("model", "spec.json")])
def test_records_of_gigabytes_and_of_any_depth(run, kind, name):
    with (run / kind / name).open("r+b") as file:
        file.truncate(2**30 + 2**20)
    line = refused(vp.open_run, run / kind)
    assert line.endswith(f"{name} has 1 GiB, too much to be read (at most 1 GiB)")
    for text in ("[" * 10**5, '{"a":' * 10**5, "[" * 10**5 + "]" * 10**5, "NaN", "1e999999", '{"results": [[[]]]}'):
        (run / kind / name).write_text(text)
        line = refused(vp.open_run, run / kind)
        assert "is damaged, or of an older version of varprobe (it has no checksum)" in line


def with_results(run: Path, kind: str) -> Path:
    """The run's results.nc, of which the record then has the right checksum."""
    path, record = run / kind / "results.nc", run / kind / "spec.json"
    content = unsealed_json(record) | {"results": hashlib.sha256(path.read_bytes()).hexdigest()}
    record.write_bytes(sealed_json(content))
    return path


@pytest.fixture
def secret(here) -> Path:
    """Somebody's file, and somebody's HDF5."""
    path = here / "outside" / "secret"
    path.write_bytes(b"secret!!" * 64)
    with h5py.File(here / "outside" / "secret.nc", "w") as file:
        file["numbers"] = np.arange(8.0)
    return path


def linked(file: h5py.File, secret: Path) -> None:
    file["stolen"] = h5py.ExternalLink(str(secret.with_suffix(".nc")), "/numbers")


def softly(file: h5py.File, secret: Path) -> None:
    file["stolen"] = h5py.SoftLink("/activation_log10_mean_square")


def stored_elsewhere(file: h5py.File, secret: Path) -> None:
    file.create_dataset("stolen", (64,), "f8", external=[(str(secret), 0, 512)])


def virtual(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((8,), "f8")
    layout[:] = h5py.VirtualSource(str(secret.with_suffix(".nc")), "numbers", shape=(8,))
    file.create_virtual_dataset("stolen", layout)


def grouped(file: h5py.File, secret: Path) -> None:
    file.create_group("stolen")


def enormous(file: h5py.File, secret: Path) -> None:
    file.create_dataset("stolen", (10**12,), "f8", chunks=(1024,))


HARMFUL = {
    linked: "holds 'stolen', which is no array of its own",
    softly: "holds 'stolen', which is no array of its own",
    stored_elsewhere: "holds 'stolen', which is no array of its own",
    virtual: "holds 'stolen', which is no array of its own",
    grouped: "holds 'stolen', which is no array of its own",
    enormous: "claims 7.45e+03 GiB in a file of",
}


@pytest.mark.parametrize("kind", ["stack", "model"])
@pytest.mark.parametrize("harm", HARMFUL, ids=lambda f: f.__name__)
def test_results_read_no_other_file_and_claim_no_terabytes(run, kind, harm, secret):
    """The checksum is right, so that only what is in the file can tell."""
    with h5py.File(run / kind / "results.nc", "r+") as file:
        harm(file, secret)
    path = with_results(run, kind)
    if kind == "model":
        line = refused(vp.open_run, run / kind)
        assert line.startswith(f"run: {path} {HARMFUL[harm]}") and line.endswith("; the same command computes it again")
        return
    notes: list[str] = []
    ds = vp.open_run(run / kind, note=notes.append)
    assert "stolen" not in ds and ds.sizes["layer"] == 3
    assert notes[0].startswith(f"{path} {HARMFUL[harm]}") and notes[0].endswith("; its cells are read instead")


@pytest.mark.parametrize("kind", ["stack", "model"])
@pytest.mark.parametrize("content", ["netcdf", "netcdf 3", "text", "nothing", "pickle"])
def test_results_of_another_program(run, kind, content):
    path = run / kind / "results.nc"
    if content == "netcdf":
        xr.Dataset({"temperature": ("x", np.ones(3))}).to_netcdf(path, engine="h5netcdf")
    else:
        path.write_bytes({"netcdf 3": b"CDF\x01" + bytes(28), "text": b"hello", "nothing": b"",
                          "pickle": b"cos\nsystem\n(S'mkdir pwned'\ntR."}[content])  # fmt: skip
    with_results(run, kind)
    if kind == "model":
        line = refused(vp.open_run, run / kind)
        assert line.startswith(f"run: {path} ") and line.endswith("; the same command computes it again")
    else:
        notes: list[str] = []
        assert vp.open_run(run / kind, note=notes.append).sizes["layer"] == 3
        assert notes[0].startswith(f"{path} ") and notes[0].endswith("; its cells are read instead")
    assert not Path("pwned").exists()


def packed(path: Path, **arrays: np.ndarray) -> None:
    """A zip of arrays in the place of a cell."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", saved(array, allow_pickle=True))


@pytest.mark.parametrize("what", ["pickled", "a bomb", "a claim", "not an archive", "nothing"])
def test_cells(run, what, here):
    """With results.nc gone a cell is all that there is; a harmful one is named, and nothing of it runs or is kept."""
    path = next((run / "stack" / "cells").iterdir())
    (run / "stack" / "results.nc").unlink()
    match what:
        case "pickled":
            packed(path, config=np.array([Bomb()], object), seed=np.array(Bomb(), object))
        case "a bomb":
            packed(path, config=np.array([0]), seed=np.array(0), activation_log10_mean_square=np.zeros(2**21))
        case "a claim":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("config.npy", npy(of_shape("(100000000000000,)", "'<i8'")))
        case _:
            path.write_bytes(b"hello" if what == "not an archive" else b"")
    notes: list[str] = []
    with pytest.raises(InvalidArgumentError) as caught:
        vp.open_run(run / "stack", note=notes.append)
    line = str(caught.value)
    assert line.startswith(f"run: {run / 'stack'} has lost its results.nc: 1 of 2 cells; resume with")
    assert any(note.startswith(f"{path} ") for note in notes)
    assert not (here / "pwned").exists()


def test_every_file_that_is_read_can_be_one_of_somebody_else(run, here):
    """The limits are those that README and help state."""
    assert (varprobe.nets.data.MAX_BYTES, varprobe.nets.data.MAX_LINE) == (8 * 2**30, 16 * 2**20)
    with pytest.raises(safe_open.UntrustedError, match="has 0.00195 GiB, too much to be read"):
        safe_open.content_of(written(here / "x", bytes(2**21)), 2**20)
    assert safe_open.content_of(written(here / "y", b"abc"), 3) == b"abc"


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# ---------------------------------------------------------------- nothing that a run names is imported

HOOK = """
import sys
ours = sys.argv[1]

def hook(event, arguments):
    text = repr(arguments)
    if ours in text and event in ("import", "open", "exec", "compile", "os.listdir", "subprocess.Popen", "os.system"):
        if event != "open" or "evil" in text:
            sys.stderr.write(f"AUDIT {event} {text[:300]}\\n")
            sys.stderr.flush()

sys.addaudithook(hook)
import io
from varprobe.__main__ import outcome
for line in sys.argv[2:]:
    sys.stderr.write(f"{line} -> {outcome(line.split())}\\n")
"""

EVIL = """
import pathlib
import jax, jax.numpy as jnp
pathlib.Path("loaded").touch()
def act(x): return jnp.tanh(x)
def init(key, shape, dtype=jnp.float32): return jax.random.normal(key, shape, dtype)
class Block:
    @staticmethod
    def init(key, width): return jax.random.normal(key, (width, width))
    @staticmethod
    def apply(w, x): return jnp.tanh(x @ w)
def make():
    return lambda p, x: (x @ p).sum(), jnp.eye(4), jnp.ones((3, 4))
"""


@pytest.mark.exhaustive
def test_nothing_that_a_run_names_is_imported(here, monkeypatch):
    """An audit hook of a fresh process sees no import, execution or opening of the user's file in any reading command."""
    signal.alarm(0)
    compute_with(monkeypatch, signals)
    Path("evil.py").write_text(EVIL)
    np.save("evil.npy", np.ones((9, 4)))
    base = {"depth": 2, "batch": 4, "seeds": 1}
    vp.sweep(**base, width=8, act="evil.py:act", init="evil.py:init", out="code")
    vp.sweep(**base, width=8, arch="evil.py:Block", out="block")
    vp.sweep(**base, width=8, act="evil:act", init="he_normal", data="evil.npy", out="module")
    model = vp.probe(
        lambda ps, x: sum((x := x @ p).sum() for p in ps), [np.eye(4, dtype="f")] * 3, np.ones((3, 4), "f")
    )
    save_model_run(Path("model"), model, {"factory": "evil.py:make", "data": "evil.npy", "seeds": None})
    assert Path("loaded").exists()  # making them does load it
    Path("loaded").unlink()
    lines = []
    for run in ("code", "block", "module", "model"):
        lines += [f"plot {run} --save {run}.svg", f"check {run} --quiet"]
        lines += [f"report {run} --save {run}.html", f"export {run} --save {run}.tex"]
    lines += ["export code --save code.csv", "export code --save tb:logs", "theory --act relu --depth 3"]
    lines += [
        "plot code block --kind before-after --save two.pdf",
        "probe --compare model model",
        "plot --from two.pdf",
    ]
    done = subprocess.run(
        [sys.executable, "-c", HOOK, "evil", *lines], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    codes = [line.rpartition(" -> ")[2] for line in done.stderr.splitlines() if " -> " in line]
    assert len(codes) == len(lines) and {c for c in codes} <= {"0", "1"}, done.stderr  # 1: check found it unhealthy
    seen = [line for line in done.stderr.splitlines() if line.startswith("AUDIT")]
    assert not seen and not Path("loaded").exists()
