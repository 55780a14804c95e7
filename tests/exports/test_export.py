"""Exports are read back by what they are for, and hold the dataset's numbers."""

import csv
import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from made_up import save_model_run
from pyarrow import parquet
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

import varprobe as vp
from varprobe.__main__ import main
from varprobe.errors import InvalidArgumentError, MachineError
from varprobe.exports.naming import config_names
from varprobe.exports.sheets import in_markdown, in_math

HOSTILE = [
    "../x",
    "a\"b'c",
    "new\nline",
    "50% & $x_1$ {b} #2 ~ ^ \\end{tabular}",
    "[start",
    "<b>|pipe|`code`",
    "",
    "..",
]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep's run folder: two depths, two initializers, histograms, signals that are exactly zero."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    vp.sweep(depth=[2, 4], width=16, seeds=3, batch=4, init=["he_normal", "zeros"], histogram=True, out=folder)
    return folder


@pytest.fixture(scope="module")
def ds(run_folder: Path) -> xr.Dataset:
    return vp.open_run(run_folder)


@pytest.fixture(scope="module")
def recorder() -> vp.Recorder:
    """Two steps of a model of four layers."""

    def loss(params: Any, x: Any) -> Any:
        for w in params["blocks"]:
            x = jnp.tanh(x @ w)
        return (x**2).mean()

    params = {"blocks": [jnp.eye(8) * (i + 1) / 3 for i in range(4)]}
    found, probed = vp.Recorder(), jax.jit(vp.instrument(loss))
    for step in (10, 20):
        found(step, probed(params, jax.random.normal(jax.random.key(step), (4, 8)))[2])
    return found


@pytest.fixture(scope="module")
def steps(recorder: vp.Recorder) -> xr.Dataset:
    return recorder.dataset()


@pytest.fixture(scope="module")
def hostile(ds: xr.Dataset) -> xr.Dataset:
    """Configurations of one net with names that users may give their own functions."""
    return ds.isel(config=[2] * len(HOSTILE)).assign_coords(init=("config", np.array(HOSTILE)))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def events(folder: Path | str) -> Any:
    found = EventAccumulator(str(folder), size_guidance=dict.fromkeys(("scalars", "histograms", "tensors"), 0))
    found.Reload()
    return found


def cell(ds: xr.Dataset, row: dict[str, Any], name: str) -> float:
    at = {dim: int(row[dim]) for dim in ("config", "seed", "layer")}
    return float(ds[name].isel(at).values)


# tables for programs


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV, JSON or Parquet file, empty cells as None."""
    if path.suffix == ".json":
        return json.loads(path.read_text("utf-8"), parse_constant=pytest.fail)
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    with path.open(newline="", encoding="utf-8") as file:
        return [{k: v or None for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("name", ["layers.csv", "layers.json", "layers.parquet"])
def test_layers_are_the_dataset(ds: xr.Dataset, name: str) -> None:
    rows = rows_of(vp.export(ds, name))
    assert len(rows) == 3 * (2 * 3 + 2 * 5)  # the layers that pad the shallower nets have no rows
    variables = [str(k) for k, v in ds.data_vars.items() if v.dims == ("config", "seed", "layer")]
    assert len(variables) > 20 and list(rows[0])[-len(variables) :] == variables
    for row in rows:
        values = [np.nan if row[k] is None else float(row[k]) for k in variables]
        np.testing.assert_array_equal(values, [cell(ds, row, k) for k in variables])
        assert (row["init"], int(row["depth"])) == (ds.init.values[int(row["config"])], ds.depth[int(row["config"])])
    assert any(row["activation_log10_mean_square"] in ("-inf", "-Infinity", -np.inf) for row in rows)


def test_csv_is_that_of_the_run(run_folder: Path, ds: xr.Dataset) -> None:
    assert vp.export(ds, "layers.csv").read_bytes() == (run_folder / "results.csv").read_bytes()


def test_json_has_a_row_a_line_and_pandas_reads_its_numbers(ds: xr.Dataset) -> None:
    path = vp.export(ds, "layers.json")
    lines = path.read_text("utf-8").splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("[", "]", 2 + 3 * (2 * 3 + 2 * 5))
    assert json.loads(lines[1].rstrip(","))["init"] == "he_normal"
    there, table = pd.read_json(path), pd.read_csv(vp.export(ds, "layers.csv"))
    assert (
        np.isneginf(there["activation_log10_mean_square"]).sum()
        == np.isneginf(table["activation_log10_mean_square"]).sum()
        > 0
    )
    np.testing.assert_allclose(there["gradient_log10_mean_square"], table["gradient_log10_mean_square"], rtol=1e-12)


def test_netcdf_is_the_selection(ds: xr.Dataset) -> None:
    some = vp.select(ds, init="he_normal")
    with xr.open_dataset(vp.export(some, "some.nc"), engine="h5netcdf") as there:
        xr.testing.assert_identical(there.load().drop_encoding(), some)


def test_spreadsheets_compute_nothing(ds: xr.Dataset) -> None:
    names = ["=1+1", "+x", "-x", "@x", "\tx", "x=1", 'a,"b', "-"]
    some = ds.isel(config=[2] * len(names)).assign_coords(init=("config", np.array(names)))
    expected = ["'=1+1", "'+x", "'-x", "'@x", "\\tx", "x=1", 'a,"b', "'-"]
    for table, step in (("layers", 3 * 5), ("verdicts", 1)):
        rows = rows_of(vp.export(some, "x.csv", table=table))
        assert [row["init"] for row in rows[::step]] == expected
        assert not any(str(value).startswith("'") for row in rows for name, value in row.items() if name != "init")
    assert [row["init"] for row in rows_of(vp.export(some, "x.json"))[:: 3 * 5]] == names


def test_parquet_has_types_and_what_the_run_was(ds: xr.Dataset) -> None:
    table = parquet.read_table(vp.export(ds, "layers.parquet"))
    types = dict(zip(table.schema.names, map(str, table.schema.types), strict=True))
    expected = {
        "config": "int64",
        "init": "string",
        "depth": "int64",
        "seed": "int64",
        "gradient_log10_mean_square": "double",
    }
    assert {k: types[k] for k in expected} == expected
    about = json.loads(table.schema.metadata[b"varprobe"])
    assert about == json.loads(json.dumps(ds.attrs)) and json.loads(about["spec"])["depth"] == [2, 4]


@pytest.mark.parametrize("name", ["verdicts.csv", "verdicts.json", "verdicts.parquet"])
def test_verdicts_are_the_rows(ds: xr.Dataset, name: str) -> None:
    rows, found = vp.diagnose(ds).rows, rows_of(vp.export(ds, name, table="verdicts"))
    assert len(found) == len(rows) == 4
    for row, there in zip(rows, found, strict=True):
        low, high = row["gradient_factor_ci95"]
        pairs = {"gradient_factor": row["gradient_factor"], "gradient_factor_ci95_low": low}
        pairs |= {"gradient_factor_ci95_high": high, "theory_gradient_z": row["theory_gradient_z"]}
        pairs |= {"histogram_activation_kurtosis": row["histogram"]["activation_kurtosis"]}
        pairs |= {"formats_float16_activation_rms": row["formats"]["float16"]["activation_rms"]}
        for key, value in pairs.items():
            assert (there[key] if there[key] is None else float(there[key])) == value, key
        assert str(there["healthy"]) == str(row["healthy"]) and there["reason"] == row["reason"]
        assert (there["flags"] or "").split("; ") == (row["flags"] or [""])
    assert {there["flags"] or "" for there in found} != {""}


def test_models_have_their_sites(steps: xr.Dataset) -> None:
    rows = rows_of(vp.export(steps, "sites.csv"))
    assert [(row["step"], row["site"]) for row in rows] == [
        (str(step), site) for step in (10, 20) for site in ("input", *(f"blocks/{i}" for i in range(4)))
    ]
    assert [
        float(row["activation_log10_mean_square"]) for row in rows
    ] == steps.activation_log10_mean_square.values.ravel().tolist()
    (row,) = rows_of(vp.export(steps.isel(config=[1]), "verdict.csv", table="verdicts"))
    assert row["step"] == "20" and json.loads(row["families"])[0]["family"] == "blocks/*"


def test_a_selection_keeps_its_seeds_and_layers(ds: xr.Dataset) -> None:
    rows = rows_of(vp.export(ds.isel(config=3, seed=[2]), "some.csv"))  # one configuration, taken out
    assert {row["seed"] for row in rows} == {"2"} and [row["layer"] for row in rows] == list("01234")
    rows = rows_of(vp.export(ds.isel(layer=slice(1, None)), "some.csv"))
    assert {row["layer"] for row in rows} == set("1234")


# tables for people


def test_markdown_has_the_printed_cells(ds: xr.Dataset) -> None:
    lines = vp.export(ds, "table.md").read_text("utf-8").splitlines()
    table = [[c.strip() for c in line.strip("|").split(" | ")] for line in lines]
    assert table[0] == ["mean square per layer", "forward", "backward", "theory", "verdict"]
    assert [row[0] for row in table[2:]] == [
        f"{init}, depth {depth}" for depth in (2, 4) for init in ("he_normal", "zeros")
    ]
    for row, there in zip(vp.diagnose(ds).rows, table[2:], strict=True):
        if row["gradient_factor"] is None:
            assert there[1:3] == ["zero", "zero"] and "vanishes" in there[4]
        else:
            assert float(there[2].split()[0]) == pytest.approx(row["gradient_factor"], rel=0.01)
            assert there[4] == "stable"


def test_latex_is_a_tabular_of_booktabs(ds: xr.Dataset) -> None:
    lines = vp.export(ds, "table.tex").read_text("utf-8").splitlines()
    assert lines[:3] == [r"% \usepackage{booktabs}", r"\begin{tabular}{lrrrl}", r"\toprule"]
    assert lines[4] == r"\midrule" and lines[-2:] == [r"\bottomrule", r"\end{tabular}"]
    assert all(line.endswith(r"\\") and line.count("&") == 4 for line in [lines[3], *lines[5:-2]])
    first = [c.strip() for c in lines[5].removesuffix(r"\\").split("&")]
    assert first[0] == r"he\_normal, depth 2"
    row = vp.diagnose(ds).rows[0]
    value = re.match(r"\$([\d.]+)", first[1])
    assert value and float(value[1]) == pytest.approx(row["activation_factor"], rel=0.01)


@pytest.mark.parametrize(
    "cell, expected",
    [
        ("0.498 ± .007", r"$0.498 \pm 0.007$"),
        ("7.4e-4 ± 8e-5", r"$7.4 \times 10^{-4} \pm 8 \times 10^{-5}$"),
        ("0.915 [0.071, 12]", r"$0.915\; [0.071, 12]$"),
        ("3.2e12", r"$3.2 \times 10^{12}$"),
        ("0.91, 0.97", r"$0.91, 0.97$"),
    ],
)
def test_numbers_in_math(cell: str, expected: str) -> None:
    assert in_math(cell) == expected


def test_hostile_names_are_text_in_every_table(hostile: xr.Dataset) -> None:
    lines = vp.export(hostile, "table.tex").read_text("utf-8").splitlines()[5:-2]
    first = [re.split(r"(?<!\\)&", line)[0].strip() for line in lines]
    assert first == [
        "../x",
        "a''b'c",
        r"new\textbackslash{}nline",
        r"50\% \& \$x\_1\$ \{b\} \#2 \textasciitilde{} \textasciicircum{} \textbackslash{}end\{tabular\}",
        "{[}start",
        r"\textless{}b\textgreater{}\textbar{}pipe\textbar{}`code`",
        "",
        "..",
    ]
    assert all(len(re.findall(r"(?<!\\)&", line)) == 4 for line in lines)
    table = vp.export(hostile, "table.md").read_text("utf-8").splitlines()
    assert len(table) == 2 + len(HOSTILE)
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 6 for line in table)
    assert [row["init"] or "" for row in rows_of(vp.export(hostile, "table.parquet"))][:: 3 * 5] == HOSTILE
    assert in_markdown("__init__ *x* he_normal") == r"\_\_init\_\_ \*x\* he_normal"


def test_a_model_has_a_row_a_family(steps: xr.Dataset) -> None:
    lines = vp.export(steps, "table.md").read_text("utf-8").splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["step", "site", "sites", "weights / needed", "forward", "backward", "verdict"]
    assert [row[:3] for row in cells[2:]] == [["10", r"blocks/\*", "4"], ["20", r"blocks/\*", "4"]]
    factor = vp.diagnose(steps).rows[1]["gradient_factor"]
    assert float(cells[3][5]) == pytest.approx(factor, rel=0.01)
    one = vp.export(steps.isel(config=[0]), "one.tex").read_text("utf-8")
    assert r"\begin{tabular}{lrlrrl}" in one and r"blocks/{*} " in one


# dashboards


def test_scalars_are_means_and_deviations_over_seeds(ds: xr.Dataset) -> None:
    folder = vp.export(ds, "tb:logs")
    assert [path.name for path in folder.iterdir()] == ["events.out.tfevents.varprobe"]
    found = events(folder)
    names = config_names(ds)
    assert names == [f"{init}, depth {depth}" for depth in (2, 4) for init in ("he_normal", "zeros")]
    for i, name in enumerate(names):
        values = ds.gradient_log10_mean_square.isel(config=i)[:, 1 : int(ds.depth[i]) + 1]
        scalars = found.Scalars(f"gradient/log10_mean_square/{name}")
        assert [s.step for s in scalars] == values.layer.values.tolist()
        np.testing.assert_array_equal([s.value for s in scalars], values.values.mean(axis=0).astype(np.float32))
    values = ds.activation_log10_var.isel(config=0)[:, :3].values.std(axis=0, ddof=1)
    scalars = found.Scalars("activation/log10_var_std/he_normal, depth 2")
    np.testing.assert_array_equal([s.value for s in scalars], values.astype(np.float32))
    scalars = found.Scalars("theory_gradient/log10_mean_square/he_normal, depth 4")
    np.testing.assert_array_equal(
        [s.value for s in scalars], ds.theory_gradient_log10_mean_square[2, 0, 1:].values.astype("f4")
    )
    assert "gradient/log10_mean_square_std/zeros, depth 4" not in found.Tags()["scalars"]  # -inf has no deviation


def test_histograms_are_the_run_s(ds: xr.Dataset) -> None:
    found = events(vp.export(ds, "tb:logs"))
    histograms = found.Histograms("activation/density/he_normal, depth 4")
    assert [h.step for h in histograms] == [0, 1, 2, 3, 4]
    edges = np.linspace(-6, 6, 62)
    for h in histograms:
        shares = ds.activation_density[2, :, h.step].mean("seed").values * (12 / 61)
        np.testing.assert_allclose(h.histogram_value.bucket, shares, rtol=1e-12)
        np.testing.assert_allclose(h.histogram_value.bucket_limit, edges[1:], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(h.histogram_value.num, 1, atol=0.01)  # what is beyond 6 RMS is not in it
        assert (h.histogram_value.min, h.histogram_value.max) == pytest.approx((-6, 6))
        middle = (edges[1:] + edges[:-1]) / 2
        np.testing.assert_allclose(h.histogram_value.sum, shares @ middle, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(h.histogram_value.sum_squares, shares @ middle**2, rtol=1e-9)
    assert "activation/density/zeros, depth 4" in found.Tags()["histograms"]  # of the input, at layer 0


def test_the_charts_hold_every_configuration(ds: xr.Dataset) -> None:
    found = events(vp.export(ds, "tb:logs"))
    layout = Layout.FromString(found.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    charts = {chart.title: chart.multiline.tag[0] for category in layout.category for chart in category.chart}
    matches = [tag for tag in found.Tags()["scalars"] if re.match(charts["gradient/log10_mean_square"], tag)]
    assert matches == [f"gradient/log10_mean_square/{name}" for name in config_names(ds)]
    text = found.Tensors("verdicts")[0].tensor_proto.string_val[0].decode()
    assert text == vp.export(ds, "table.md").read_text("utf-8")


def test_steps_and_sites_of_a_model_are_told_apart(steps: xr.Dataset) -> None:
    found = events(vp.export(steps, "tb:logs"))
    for i, step in enumerate((10, 20)):
        values = [s.value for s in found.Scalars(f"gradient/log10_mean_square/step {step}")]
        np.testing.assert_array_equal(values, steps.gradient_log10_mean_square[i, 0, 1:].values.astype(np.float32))
    text = found.Tensors("sites")[0].tensor_proto.string_val[0].decode().splitlines()
    assert [[c.strip() for c in line.strip("|").split("|")][:2] for line in text[2:]] == [
        [str(i), site] for i, site in enumerate(steps.site.values)
    ]


def test_hostile_names_are_safe_and_distinct_tags(hostile: xr.Dataset) -> None:
    names = config_names(hostile)
    assert names[:3] == ["x", "a_b_c", "new_nline"] and names[6:] == ["plain", "unnamed"]
    assert len(set(names)) == len(names) and not any(set(name) & set("/\\\"'\n$*[]{}") for name in names)
    vp.export(hostile, "tb:logs")
    tags = [tag for tag in events("logs").Tags()["scalars"] if tag.startswith("gradient/log10_mean_square/")]
    assert tags == [f"gradient/log10_mean_square/{name}" for name in names]
    assert config_names(hostile.isel(config=[0, 0, 0])) == ["x", "x (2)", "x (3)"]


class FakeRun:
    """As much of a W&B run as is used, and what it was told."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments, self.logged, self.summary, self.finished = arguments, {}, {}, False
        (Path(arguments["dir"]) / "wandb").mkdir()

    def define_metric(self, name: str, step_metric: str) -> None:
        self.metric = (name, step_metric)

    def log(self, values: dict[str, Any], step: int) -> None:
        self.logged[step] = values

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def wandb_runs(monkeypatch: pytest.MonkeyPatch) -> list[FakeRun]:
    """The runs that a stand-in for wandb was asked for."""
    runs: list[FakeRun] = []
    fake: Any = types.ModuleType("wandb")
    fake.init = lambda **arguments: runs.append(FakeRun(arguments)) or runs[-1]
    fake.Settings = lambda **settings: settings
    fake.Histogram = lambda np_histogram: np_histogram
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return runs


def test_an_offline_run_logs_what_event_files_do(ds: xr.Dataset, wandb_runs: list[FakeRun]) -> None:
    folder = vp.export(ds, "wandb:tracked")
    (run,) = wandb_runs
    assert run.arguments["mode"] == "offline" and run.arguments["project"] == "varprobe" and run.finished
    assert [path.name for path in folder.iterdir()] == ["wandb"] and not Path(run.arguments["dir"]).exists()
    assert run.arguments["config"] == ds.attrs and run.metric == ("*", "layer")
    assert list(run.logged) == [0, 1, 2, 3, 4] and [values["layer"] for values in run.logged.values()] == [
        0,
        1,
        2,
        3,
        4,
    ]
    mean = ds.gradient_log10_mean_square.mean("seed").values
    for i, name in enumerate(config_names(ds)):
        logged = [values.get(f"gradient/log10_mean_square/{name}", np.nan) for values in run.logged.values()]
        np.testing.assert_allclose(logged, mean[i], rtol=1e-12)
    shares, edges = run.logged[4]["activation/density/he_normal, depth 4"]
    assert len(edges) == 62 and shares.sum() == pytest.approx(1, abs=0.01)
    rows = vp.diagnose(ds).rows
    assert [v["reason"] for v in run.summary["verdicts"].values()] == [row["reason"] for row in rows]
    with pytest.raises(InvalidArgumentError, match="'wandb' is in it"):
        vp.export(ds, "wandb:tracked")


# whole or not at all


def test_an_earlier_export_is_replaced_and_other_folders_are_not(ds: xr.Dataset, steps: xr.Dataset) -> None:
    vp.export(ds, "tb:logs")
    vp.export(steps, "tb:logs")
    assert any("step 10" in tag for tag in events("logs").Tags()["scalars"]) and len(list(Path("logs").iterdir())) == 1
    Path("logs", "mine.txt").write_text("dear")
    with pytest.raises(InvalidArgumentError, match=r"is not empty \('mine.txt' is in it\)"):
        vp.export(ds, "tb:logs")
    assert Path("logs", "mine.txt").read_text() == "dear"
    Path("empty").mkdir()
    vp.export(steps, "tb:empty")
    with pytest.raises(InvalidArgumentError, match="the current folder"):
        vp.export(ds, "tb:.")
    assert sorted(path.name for path in Path().iterdir()) == ["empty", "logs"]


def test_a_failure_leaves_what_was_there(ds: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = vp.export(ds, "tb:logs")
    before = next(folder.iterdir()).read_bytes()
    vp.export(ds, "table.csv")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        for target in ("tb:logs", "tb:new", "table.parquet", "table.csv", "table.md"):
            with pytest.raises(MachineError, match="No space left"):
                vp.export(ds, target)
    assert sorted(path.name for path in Path().iterdir()) == ["logs", "table.csv"]
    assert next(folder.iterdir()).read_bytes() == before and len(Path("table.csv").read_text().splitlines()) == 49


# what is refused


@pytest.mark.parametrize(
    "path, message",
    [
        (
            "x.cvs",
            "path: unknown ending '.cvs'; did you mean '.csv'? (allowed: .csv, .parquet, .json, .nc, .md, .tex, tb:, wandb:)",
        ),
        ("x.parkuet", "path: unknown ending '.parkuet'; did you mean '.parquet'?"),
        ("wand:x", "path: unknown prefix 'wand:'; did you mean 'wandb:'?"),
        ("x", "path: 'x' has no ending"),
        ("tb:", "path: 'tb:' names no folder, such as tb:logs"),
        ("", "path: '' names no file"),
        ("a\0.csv", "path: 'a\\x00.csv' names no file"),
        (7, "path: 7 names no file"),
        ("no/x.csv", "path: there is no folder 'no' for 'x.csv'"),
        ("tb:no/x", "path: there is no folder 'no' for 'x'"),
        ("folder.csv", "path: 'folder.csv' is a folder, not a file"),
        ("tb:file", "path: 'file' is a file, not a folder"),
        ("tb:folder.csv", "path: "),
    ],
)
def test_paths_that_are_none(ds: xr.Dataset, path: Any, message: str) -> None:
    Path("folder.csv").mkdir()
    Path("folder.csv", "other").touch()
    Path("file").touch()
    with pytest.raises(InvalidArgumentError) as caught:
        vp.export(ds, path)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda ds: vp.export("RUN", "x.csv"), "ds: 'RUN' is not a dataset of varprobe.sweep; varprobe.open_run"),
        (lambda ds: vp.export(ds.isel(config=[]), "x.csv"), "ds: the dataset has no configuration left"),
        (lambda ds: vp.export(ds.isel(seed=0), "x.csv"), "ds: the dataset has no dimension 'seed'"),
        (lambda ds: vp.export(ds.isel(layer=slice(0, 2)), "x.md"), "ds: the dataset has 2 of the layers"),
        (
            lambda ds: vp.export(ds, "x.csv", table="verdict"),
            "table: unknown table 'verdict'; did you mean 'verdicts'?",
        ),
        (lambda ds: vp.export(ds, "x.tex", table="layers"), "table: 'layers' is too long for .tex; use .csv or"),
        (lambda ds: vp.export(ds, "x.nc", table="layers"), "table: does not go with .nc, which has the dataset itself"),
        (lambda ds: vp.export(ds, "tb:x", table="layers"), "table: does not go with tb:FOLDER, which has curves"),
    ],
)
def test_what_cannot_be_exported(ds: xr.Dataset, call: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        call(ds)
    assert str(caught.value).startswith(message) and not list(Path().iterdir())


@pytest.mark.parametrize(
    "module, target, command",
    [
        ("tabulate", "x.md", 'tables need tabulate: pip install "varprobe[export]"'),
        ("pyarrow", "x.parquet", 'Parquet files need pyarrow: pip install "varprobe[export]"'),
        ("tensorboard.compat.proto", "tb:x", 'event files need tensorboard: pip install "varprobe[export]"'),
        ("wandb", "wandb:x", 'offline runs need wandb: pip install "varprobe[wandb]"'),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    ds: xr.Dataset, monkeypatch: pytest.MonkeyPatch, module: str, target: str, command: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for name in [name for name in sys.modules if name.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InvalidArgumentError, match=re.escape(command)):
        vp.export(ds, target)
    assert not list(Path().iterdir())


# the command


def varprobe(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[Any, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return stop.value.code, *capsys.readouterr()


def test_the_command_writes_a_selection(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = varprobe(capsys, "export", run_folder, "--save", "x.csv", "--select", "init=kaiming_normal")
    assert done == (0, "x.csv\n", "") and {row["init"] for row in rows_of(Path("x.csv"))} == {"he_normal"}
    chosen = ("--select", "init=he_normal", "--select", "depth=4", "--table", "verdicts")
    assert varprobe(capsys, "export", run_folder, "--save", "y.csv", *chosen)[0] == 0
    (row,) = rows_of(Path("y.csv"))
    assert (row["init"], row["depth"], row["forward"]) == ("he_normal", "4", "stable")


def test_the_command_takes_a_model_s_run(steps: xr.Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    save_model_run(Path("made"), steps, {})
    assert varprobe(capsys, "export", "made", "--save", "x.csv", "--select", "step=20") == (0, "x.csv\n", "")
    assert [row["site"] for row in rows_of(Path("x.csv"))] == steps.site.values.tolist()


@pytest.mark.parametrize(
    "line, message",
    [
        ("RUN --save x.cvs", "--save: unknown ending '.cvs'; did you mean '.csv'?"),
        ("RUN --save tb:RUN", "--save: 'RUN' is not empty ("),
        ("RUN", "--save: missing; what is to be written, such as table.tex or tb:logs"),
        ("RUN --save x.csv --table rows", "--table: unknown table 'rows' (allowed: verdicts, layers)"),
        ("RUN --save x.csv --select init=he_norml", "--select: no configuration has init=he_norml; did you mean"),
        ("nope --save x.csv", "RUN: there is no run 'nope'"),
        ("--save x.csv", "RUN: missing (see --help)"),
    ],
)
def test_wrong_commands(run_folder: Path, capsys: pytest.CaptureFixture[str], line: str, message: str) -> None:
    Path("RUN").symlink_to(run_folder)
    code, out, err = varprobe(capsys, "export", *line.split())
    assert (code, out) == (2, "") and err.startswith(f"varprobe: {message}"[:60].rstrip("(")) and err.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["RUN"]
