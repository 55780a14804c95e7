"""`varprobe verify`: whatever is not as the run says is found, and nothing else."""

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from stand_in import compute_with

import varprobe as vp
from varprobe.__main__ import main
from varprobe.storage.checksums import sealed_archive, sealed_json, unsealed_archive, unsealed_json
from varprobe.storage.files import save_dataset
from varprobe.sweeps.assemble import variable_names

sweeping = importlib.import_module("varprobe.sweeps.sweep")

OPTIONS: dict[str, Any] = dict(depth=[2, 4], width=4, batch=4, seeds=3, act="relu,tanh", init="he_normal")
"""Two groups of two configurations, six cells."""


def table_of(group: Any, setting: Any, seed: int) -> dict[str, np.ndarray]:
    """A stand-in for the engine."""
    shape = (len(group.members), group.program.depth + 1)
    values = [-np.inf, np.nan, *np.random.default_rng(seed).normal(size=50)]
    return {name: np.resize(np.roll(values, i), shape) for i, name in enumerate(variable_names())}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An intact run."""
    folder = tmp_path_factory.mktemp("verified") / "run"
    with pytest.MonkeyPatch.context() as patch:
        compute_with(patch, table_of)
        vp.sweep(**OPTIONS, out=folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def cells_of(folder: Path) -> list[Path]:
    return sorted((folder / "cells").iterdir())


def resealed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change spec.json as somebody would who knows of its checksum."""
    record = unsealed_json(folder / "spec.json")
    change(record)
    (folder / "spec.json").write_bytes(sealed_json(record))


def new_results(folder: Path, change: Callable[[xr.Dataset], xr.Dataset]) -> None:
    """Change results.nc, with the right checksum in spec.json."""
    digest = save_dataset(folder / "results.nc", change(xr.load_dataset(folder / "results.nc", engine="h5netcdf")))
    resealed(folder, lambda record: record.update(results=digest))


def test_an_intact_run_is_intact_and_stays_untouched(folder: Path) -> None:
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}
    found = vp.verify(folder)
    assert found.intact and found.findings == []
    assert found.checked["cells"] == "6 of 6" and found.checked["results.csv"] == "48 rows"
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()} == before


def test_every_flipped_bit_of_the_spec_and_of_a_cell_is_found(folder: Path) -> None:
    for path in (folder / "spec.json", cells_of(folder)[0]):
        content = path.read_bytes()
        for bit in range(3, 8 * len(content), 8 * len(content) // 5):
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            assert not vp.verify(folder).intact, (path.name, bit)
        path.write_bytes(content)
    assert vp.verify(folder).intact


def set_number(name: str, place: tuple[int, ...], value: float) -> Callable[[xr.Dataset], xr.Dataset]:
    def change(ds: xr.Dataset) -> xr.Dataset:
        ds[name].values[place] = value
        return ds

    return change


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda f: cells_of(f)[1].unlink(), "is missing"),
        (lambda f: cells_of(f)[1].write_bytes(b""), "it has no checksum"),
        (lambda f: cells_of(f)[1].write_bytes(cells_of(f)[2].read_bytes()), "too much to be read|is another task's"),
        (lambda f: (f / "results.nc").unlink(), "results.nc is missing"),
        (lambda f: (f / "results.nc").write_bytes(b"CDF"), "results.nc is damaged .its checksum"),
        (lambda f: (f / "results.csv").unlink(), "results.csv is missing"),
        (lambda f: (f / "spec.json").unlink(), "spec.json is missing"),
        (lambda f: (f / "spec.json").write_text("{}"), "spec.json is damaged"),
        (lambda f: resealed(f, lambda r: r.pop("groups")), "is not one that varprobe wrote"),
        (lambda f: resealed(f, lambda r: r.pop("identity")), "does not add up"),
        (lambda f: resealed(f, lambda r: r.update(results=None)), "is unfinished"),
        (lambda f: resealed(f, lambda r: r["spec"].update(root_seed=1)), "two values of root_seed"),
        (lambda f: resealed(f, lambda r: r["spec"].update(dtype="float64")), "two values of dtype"),
        (lambda f: resealed(f, lambda r: r["spec"].update(seeds=2)), "names cells that are not those"),
        (lambda f: resealed(f, lambda r: r["spec"].update(act=["relu"])), "act tanh either in what was asked"),
        (lambda f: resealed(f, lambda r: r["versions"].update(jax="0.1")), "two values of versions"),
        (lambda f: resealed(f, lambda r: r["coordinates"]["init"].pop()), "3 values of init for 4"),
        (lambda f: resealed(f, lambda r: r["groups"][0].update(depth=9)), "depth 9"),
        (lambda f: resealed(f, lambda r: r["groups"][0]["configs"].append(3)), "one place among the cells"),
        (lambda f: resealed(f, lambda r: r["deciding"]["each"].reverse()), "names cells that are not those"),
        (lambda f: resealed(f, lambda r: r.update(identity="0" * 64)), "identity that is not the hash"),
        (lambda f: resealed(f, lambda r: r["attributes"].update(seeds=7)), "another seeds than its own"),
        (
            lambda f: new_results(f, set_number("gradient_log10_mean_square", (3, 1, 2), 0.5)),
            "configuration 3, seed 1, layer 2",
        ),
        (
            lambda f: new_results(f, set_number("gradient_log10_mean_square", (0, 0, 4), 0.0)),
            "configuration 0, seed 0, layer 4",
        ),
        (
            lambda f: new_results(f, lambda ds: ds.drop_vars("weight_log10_mean_square")),
            "has no weight_log10_mean_square",
        ),
        (lambda f: new_results(f, lambda ds: ds.isel(seed=[0, 1])), "has 2 of seed, not 3"),
        (lambda f: new_results(f, lambda ds: ds.assign_attrs(seeds=4)), "has other attributes"),
        (lambda f: new_results(f, lambda ds: ds.assign_coords(batch=ds.batch + 1)), "another batch than the plan"),
    ],
)
def test_what_is_not_as_the_run_says_is_found(folder: Path, damage: Callable[[Path], object], words: str) -> None:
    damage(folder)
    found = vp.verify(folder)
    assert not found.intact
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(str(found))


def replaced(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize(
    "change, words",
    [
        (replaced(",tanh,", ",tanhh,"), r"line 26 .*\(act\)"),
        (
            replaced("he_normal,zeros,none,2,4,4,cotangent,float32,1,", "x,zeros,none,2,4,4,cotangent,float32,1,"),
            "line",
        ),
        (lambda text: text + "0,plain\n", "more than the 49 lines"),
        (lambda text: "\n".join(text.split("\n")[:30]) + "\n", "ends after 30 lines"),
        (lambda text: text.replace("\n", "\r\n"), "another line 1"),
    ],
)
def test_the_table_is_compared_line_by_line(folder: Path, change: Callable[[str], str], words: str) -> None:
    path = folder / "results.csv"
    text = path.read_bytes().decode()
    path.write_bytes(change(text).encode())
    assert path.read_bytes().decode() != text
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(str(vp.verify(folder)))


def test_every_number_of_the_table_is_compared(folder: Path) -> None:
    path = folder / "results.csv"
    lines = path.read_text().split("\n")
    for line in (1, 25, 48):
        for column in (3, 14, -1):
            cells = lines[line].split(",")
            cells[column] = f"{cells[column]}1"
            path.write_text("\n".join([*lines[:line], ",".join(cells), *lines[line + 1 :]]))
            assert f"line {line + 1} " in str(vp.verify(folder))


def test_links_that_lead_out_are_found_and_others_are_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder / "figures").symlink_to(tmp_path / "elsewhere")
    (folder / "notes.txt").write_text("x")
    (folder / "cells" / ".a.npz.0123abcd.varprobe.tmp").write_text("half")
    (folder / "cells" / f"{'0' * 64}.npz").write_bytes(cells_of(folder)[1].read_bytes())
    found = vp.verify(folder)
    assert [str(f) for f in found.findings if f.serious] == ["figures is a link that leads out of the run folder"]
    notes = "\n".join(str(f) for f in found.findings if not f.serious)
    assert "half written: cells/.a" in notes and "holds 1 cells of other versions" in notes and "notes.txt" in notes
    (folder / "figures").unlink()
    assert vp.verify(folder).intact
    victim = cells_of(folder)[2]
    victim.rename(tmp_path / "elsewhere" / "cell.npz")
    victim.symlink_to(tmp_path / "elsewhere" / "cell.npz")
    assert "is a link that leads out" in str(vp.verify(folder))


def test_probes_are_checked_against_the_plan_and_the_dataset(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    vp.sweep(depth=2, width=4, batch=4, seeds=2, act="tanh", init="he_normal", histogram=True, out=whole)
    found = vp.verify(whole)
    assert found.intact and found.checked["probes"] == "2 of 2"
    first, second = sorted((whole / "probes").iterdir())
    content = first.read_bytes()
    first.unlink()
    assert "probes lack 1 of 2" in str(vp.verify(whole))
    first.write_bytes(content[:99])
    assert f"probes/{first.name} is damaged" in str(vp.verify(whole))
    first.write_bytes(second.read_bytes())
    assert "lack 1 of 2" in str(vp.verify(whole))
    first.write_bytes(content)
    table = unsealed_archive(first, 64, 1 << 20)
    table["activation_kurtosis"][0, 1] += 1e-9
    first.write_bytes(sealed_archive(table))
    assert "another activation_kurtosis than probes/" in str(vp.verify(whole))


@pytest.mark.exhaustive
def test_an_edited_function_leaves_the_old_cells_as_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute_with(monkeypatch, table_of)
    monkeypatch.chdir(tmp_path)
    source = Path("mine.py")
    for scale in (2, 3):
        source.write_text(f"def wave(x):\n    return x / {scale}\n")
        options = OPTIONS | {"act": "mine.py:wave"}
        if scale == 3:
            with pytest.warns(UserWarning, match="source of a function changed"):
                vp.sweep(**options, out="run")
        else:
            vp.sweep(**options, out="run")
    source.write_text("raise SystemExit('executed')\n")
    found = vp.verify("run")
    assert found.intact and "holds 6 cells of other versions" in str(found)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        return (int(stop.value.code or 0), *capsys.readouterr())

    return run


def test_the_command(folder: Path, whole: Path, run: Any, tmp_path: Path) -> None:
    code, out, err = run("verify", str(whole))
    assert (code, err) == (0, "") and out.startswith(f"{whole}: intact\n") and "6 of 6" in out
    assert run("verify", str(whole), "--quiet") == (0, "", "")
    cells_of(folder)[0].unlink()
    code, out, _ = run("verify", str(whole), str(folder), "--json")
    answer = json.loads(out)
    assert code == 1 and [one["intact"] for one in answer["runs"]] == [True, False]
    assert answer["runs"][1]["findings"] == [
        {"place": f"cells/{next(iter(set(names(whole)) - set(names(folder))))}", "text": "is missing", "serious": True}
    ]
    code, out, _ = run("verify", str(folder), "--quiet")
    assert code == 1 and out.count("\n") == 1 and out.endswith(".npz is missing\n")
    code, out, err = run("verify", str(tmp_path / "nowhere"))
    assert (code, out) == (2, "") and "there is no run" in err and err.count("\n") == 1


def names(folder: Path) -> list[str]:
    return [path.name for path in cells_of(folder)]


@pytest.mark.exhaustive
def test_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(
        "import jax, jax.numpy as jnp\n"
        "def make(key):\n"
        "    w = jax.random.normal(key, (3, 4, 4)) / 2\n"
        "    def net(w, x):\n"
        "        for i in range(3):\n"
        "            x = jnp.tanh(x @ w[i])\n"
        "        return x\n"
        "    return net, w, jnp.ones((2, 4)), {'loss': 'cotangent'}\n"
    )
    assert run("probe", "net.py:make", "--seeds", "2", "--out", "made", "--no-compile-cache")[0] == 0
    assert vp.verify("made").findings == []
    record = unsealed_json(Path("made/spec.json"))
    assert record["spec"] == {"factory": "net.py:make", "data": None, "seeds": 2, "step_size": None}
    code, out, err = run("rerun", "made", "--no-compile-cache")
    assert (code, out) == (2, "") and "names code, net.py:make, which would be imported; --allow-code" in err
    code, out, err = run("rerun", "made", "--allow-code", "--no-compile-cache")
    assert code == 0 and "are the same bits, on the same machine and versions" in out
    assert not Path("made-again").exists()
    Path("made/results.csv").write_text("x")
    assert "results.csv has another line 1" in str(vp.verify("made"))
    Path("made/results.nc").write_bytes(b"no")
    assert "results.nc is damaged" in str(vp.verify("made"))
    Path("made/spec.json").write_text("{}")
    assert "spec.json is damaged" in str(vp.verify("made"))
