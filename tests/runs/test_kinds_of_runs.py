"""Every kind of run through every command that takes one: each works, or says in one line what the run has instead."""

import csv
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from made_up import learned, signals
from stand_in import compute_with

import varprobe as vp
from varprobe.__main__ import outcome
from varprobe.plots.kinds import KINDS
from varprobe.runs.kinds import KINDS as DATASETS
from varprobe.runs.kinds import resolve
from varprobe.storage.checksums import sealed_json, unsealed_json
from varprobe.storage.files import save_dataset
from varprobe.storage.kinds import DESCRIPTIONS, guessed, kind_of
from varprobe.storage.steps import by_step

SMALL = {"act": "tanh", "init": "he_normal", "depth": 3, "width": 64, "batch": 6, "seeds": 2}
LAYERED = "(allowed: a sweep, a probe of a model, a training run of stacks, a training run of a model)\n"
NO_LAYERS = f"this is a grid of trained networks {LAYERED}"
OF_WIDTHS = f"this is a coordinate check {LAYERED}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each kind; only the coordinate check is measured."""
    place = tmp_path_factory.mktemp("kinds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("varprobe.training.jobs.run_job", learned)
        compute_with(patch, signals)
        vp.sweep(**SMALL, out=place / "sweep")
        vp.track(**SMALL, steps=2, out=place / "track")
        grid = {**SMALL, "depth": [2, 3], "seeds": 1} | {"init": "he_normal,normal(std=1e-4)"}
        vp.trainability(**grid, steps=2, out=place / "trainability")
    here = os.getcwd()
    os.chdir(place)
    try:
        line = "coord-check --widths 32,128 --depth 2 --steps 2 --seeds 3 --out coord-check --quiet"
        assert outcome(line.split()) == 0
    finally:
        os.chdir(here)
    return place


@pytest.fixture
def call(runs, monkeypatch, capsys):
    """Run a command line among the runs: (exit code, stdout, stderr)."""
    monkeypatch.chdir(runs)

    def run(line: str) -> tuple[int, str, str]:
        return outcome(line.split()), *capsys.readouterr()

    return run


RUNS = ("sweep", "track", "trainability", "coord-check")
OWN = {"trainability": {"trainability"}, "coord-check": {"coord-check"}, "track": {"training"}}


@pytest.mark.parametrize("run", [*(pytest.param(r, marks=pytest.mark.exhaustive) for r in RUNS[:2]), *RUNS[2:]])
def test_every_figure_is_drawn_or_refused(call, run):
    """Drawn of all kinds of runs are their own figures; what else does not fit is one line, and nothing is written."""
    drawn = set()
    for kind in KINDS:
        code, out, err = call(f"plot {run} --kind {kind} --save {kind}.png")
        assert code in (0, 2), (kind, err)
        if code:
            assert out == "" and err.count("\n") == 1 and not Path(f"{kind}.png").exists(), kind
        else:
            drawn.add(kind)
            Path(f"{kind}.png").unlink()
    if run in ("trainability", "coord-check"):
        assert drawn == OWN[run]
    else:
        assert {"variance", "heatmap", "panels"} | OWN.get(run, set()) <= drawn


@pytest.mark.parametrize("run, message", [("trainability", NO_LAYERS), ("coord-check", OF_WIDTHS)])
def test_what_has_no_layers_says_what_it_has(call, run, message):
    assert call(f"report {run}") == (2, "", f"varprobe: RUN: {message}")
    for kind in ("variance", "heatmap"):
        told = f"'{kind}' is not a figure of {message[8 : -len(LAYERED)]}(allowed: {run})\n"
        assert call(f"plot {run} --kind {kind}") == (2, "", f"varprobe: --kind: {told}")
    told = "a grid of trained networks has no verdict of its own; see varprobe.verdict_accuracy\n"
    assert call("check trainability") == (2, "", f"varprobe: RUN: {told}")
    code, out, err = call(f"export {run} --save tb:logs")
    assert (code, out) == (2, "") and err.count("\n") == 1 and not Path("logs").exists()


@pytest.mark.parametrize("run", RUNS)
def test_no_run_is_written_over_another(call, runs, run):
    before = {path: path.read_bytes() for path in (runs / run).rglob("*") if path.is_file()}
    for command in ("track --depth 2 --width 4", "trainability --depth 2 --width 4", "coord-check --widths 4,8"):
        if command.partition(" ")[0] != run:
            code, out, err = call(f"{command} --seeds 1 --steps 1 --out {run}")
            assert (code, out) == (2, "") and err.startswith(f"varprobe: --out: {run} holds another run: it is "), (
                command
            )
    if run != "sweep":
        code, out, err = call(f"sweep --depth 2 --width 4 --seeds 1 --out {run}")
        assert (code, out) == (2, "") and err.startswith("varprobe: --out: ")
    assert {path: path.read_bytes() for path in (runs / run).rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("file", ["table.csv", "table.json", "table.parquet", "table.nc", "table.md", "table.tex"])
def test_every_run_is_exported(call, run, file):
    assert call(f"export {run} --save {file}") == (0, f"{file}\n", "")
    assert Path(file).stat().st_size > 0
    Path(file).unlink()


def test_the_table_of_a_trained_grid_has_a_row_a_net(call):
    """The same as its results.csv, and one line an optimizer for people."""
    ds = vp.open_run("trainability")
    assert call("export trainability --save nets.csv")[0] == 0
    assert Path("nets.csv").read_text() == Path("trainability/results.csv").read_text()
    with Path("nets.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == ds.sizes["config"] * ds.sizes["seed"] == 4
    for i, row in enumerate(rows):
        assert int(row["depth"]) == ds.depth.values[i] and row["init"] == ds.init.values[i]
        assert float(row["final_loss"]) == ds.final_loss.values[i, 0] and row["healthy"] == str(ds.healthy.values[i])
    assert call("export trainability --save nets.md")[0] == 0
    cells = [cell.strip() for cell in Path("nets.md").read_text().splitlines()[2].strip("|").split("|")]
    assert cells[:2] == ["sgd", "4"]
    code, _, err = call("export trainability --save nets.csv --table layers")
    assert (code, err) == (
        2,
        "varprobe: --table: 'layers' does not go with a grid of trained networks, which has one table\n",
    )


def test_a_parametrization_can_be_guarded(call):
    """`check` exits with 1 where one is not muP, as its verdict says, and so fails `assert_healthy`."""
    ds = vp.open_run("coord-check")
    rows = vp.diagnose(ds).rows
    assert [row["init"] for row in rows if not row["mup"]] == ["standard"]
    code, out, _ = call("check coord-check")
    assert code == 1 and [row["healthy"] for row in rows] == [row["mup"] for row in rows]
    code, out, _ = call("check coord-check --json")
    assert [row["mup"] for row in json.loads(out)["rows"]] == [row["mup"] for row in rows]
    vp.assert_healthy(vp.select(ds, init="mup"))
    with pytest.raises(AssertionError, match=r"1 of 2 configurations are unhealthy[\s\S]*standard: not muP"):
        vp.assert_healthy(ds)


KIND = {"sweep": "sweep", "track": "track", "trainability": "trainability", "coord-check": "coord_check"}


@pytest.mark.parametrize("run", RUNS)
def test_a_dataset_says_what_it_is(runs, tmp_path, run):
    """Its attribute `kind` is kept by selections and files; a run of an older version gets it when it is opened."""
    ds = vp.open_run(runs / run)
    assert ds.attrs["kind"] == kind_of(ds) == guessed(ds) == KIND[run]
    assert kind_of(ds.isel(config=[0])) == kind_of(ds.drop_vars(list(ds.data_vars))) == KIND[run]
    shutil.copytree(runs / run, tmp_path / "old")
    (record,) = (path for path in (tmp_path / "old").glob("*.json"))
    held, bare = unsealed_json(record), ds.copy()
    del bare.attrs["kind"]
    held |= {"results": save_dataset(tmp_path / "old" / "results.nc", bare)}
    held |= {"attributes": bare.attrs} if run == "sweep" else {}
    record.write_bytes(sealed_json(held))
    assert vp.open_run(tmp_path / "old").identical(ds) and vp.verify(tmp_path / "old").intact


def test_one_step_of_a_training_run_is_judged_as_what_is_trained(runs):
    ds = vp.open_run(runs / "track")
    assert kind_of(ds.isel(step=0)) == kind_of(by_step(ds)) == "sweep"
    assert vp.diagnose(ds.isel(step=0)).rows[0]["forward"] == vp.diagnose(ds).rows[0]["forward_at"][0]


def test_a_kind_that_does_not_fit_is_damage(runs, tmp_path):
    """Results that claim another kind than their variables have are made again from the cells; a training has none."""
    for run in ("sweep", "track"):
        shutil.copytree(runs / run, tmp_path / run)
        (record,) = (path for path in (tmp_path / run).glob("*.json"))
        other = vp.open_run(runs / run).assign_attrs(kind="coord_check")
        held = unsealed_json(record) | {"results": save_dataset(tmp_path / run / "results.nc", other)}
        record.write_bytes(sealed_json(held))
        assert not vp.verify(tmp_path / run).intact
    with pytest.warns(UserWarning, match="says that its kind is 'coord_check', and holds a sweep; its cells are read"):
        assert vp.open_run(tmp_path / "sweep").attrs["kind"] == "sweep"
    with pytest.raises(vp.InvalidArgumentError, match="says that its kind is 'coord_check', and holds a training run"):
        vp.open_run(tmp_path / "track")


@pytest.mark.parametrize(
    "run, variable",
    [
        ("track", "batch_loss"),
        ("track", "diverged_step"),
        ("coord-check", "batch_loss"),
        ("trainability", "final_loss"),
    ],
)
def test_results_without_a_variable_of_their_kind_are_damaged(runs, tmp_path, run, variable):
    shutil.copytree(runs / run, tmp_path / run)
    held = unsealed_json(tmp_path / run / "spec.json")
    held |= {"results": save_dataset(tmp_path / run / "results.nc", vp.open_run(runs / run).drop_vars(variable))}
    (tmp_path / run / "spec.json").write_bytes(sealed_json(held))
    with pytest.raises(vp.InvalidArgumentError, match=rf"results.nc (has no {variable}|holds|says)"):
        vp.open_run(tmp_path / run)


def test_every_kind_has_a_row_in_the_table():
    """The kinds of datasets, of run folders and of figures are the same ones everywhere, and every function exists."""
    assert DATASETS.keys() == DESCRIPTIONS.keys()
    assert {name for figure in KINDS.values() for name in figure.of} == set(DATASETS)
    assert all(name in KINDS[kind.plot].of for name, kind in DATASETS.items())
    for kind in DATASETS.values():
        for name in (kind.diagnose, kind.sheet, kind.tabulate, *(kind.folder or ())):
            assert name is None or callable(resolve(name))


def test_another_kind_is_refused_in_one_line(runs):
    sweep, check = vp.open_run(runs / "sweep"), vp.open_run(runs / "coord-check")
    calls = {
        "a coordinate check (allowed: a training run of stacks, a training run of a model)": lambda: vp.plot_training(
            check
        ),
        "a sweep (allowed: a coordinate check)": lambda: vp.plot_coord_check(sweep),
        "a sweep (allowed: a grid of trained networks)": lambda: vp.plot_trainability(sweep),
        "a sweep (allowed: a probe of a model)": lambda: vp.plot_model(sweep),
        "a coordinate check (allowed: a sweep)": lambda: vp.plot_panels(check),
    }
    for told, call in calls.items():
        with pytest.raises(vp.InvalidArgumentError, match=re.escape(f"this is {told}")):
            call()
    with pytest.raises(vp.InvalidArgumentError, match="unknown kind of dataset 'sweeep'; did you mean 'sweep'?"):
        vp.diagnose(sweep.assign_attrs(kind="sweeep"))
