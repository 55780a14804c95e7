"""Reports, in a real browser: what is drawn and said, what controls do, and that nothing is fetched or executed."""

import errno
import json
import re
import shlex
import time
import webbrowser
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from browser import Browser, Page
from made_up import signals
from stand_in import compute_with

import varprobe as vp
from varprobe.__main__ import main
from varprobe.cli.options import given
from varprobe.cli.sweep import PRESENTATION
from varprobe.cli.sweep import command as sweep_command
from varprobe.errors import InvalidArgumentError, MachineError, printable
from varprobe.exports.reporting.arrays import moments
from varprobe.exports.reporting.how import command_of
from varprobe.exports.reporting.sources import runs_of
from varprobe.plots.style import contrast
from varprobe.sweeps.assemble import variable_names
from varprobe.sweeps.request import read_request

HOSTILE = [
    "<script>window.pwned=1</script>",
    "</script><img src=x onerror=window.pwned=1>",
    '"><b>bold</b>&lt;i&gt;',
    '<a href="https://example.org">link</a>%{y}',
    "right\u202eleft\u2066",
    "two\nlines\x07",
    "long" * 500,
    "$\\alpha$ {{x}} ${x} \u05d0\u05d1",
]


def made(configs, seeds=3, slopes=None):
    """A dataset as sweep returns it: straight lines in log10, seeds 0.1 decades apart, theory without the seeds."""
    base = {"arch": "plain", "act": "relu", "init": "he_normal", "bias": "zeros", "norm": "none", "depth": 6,
            "width": 16, "batch": 8, "loss": "cotangent", "dtype": "float32"}  # fmt: skip
    configs = [base | config for config in configs]
    slopes = np.zeros(len(configs)) if slopes is None else np.asarray(slopes, dtype=float)
    layers = max(config["depth"] for config in configs) + 1
    layer, offset = np.arange(layers), 0.1 * (np.arange(seeds) - (seeds - 1) / 2)
    depth = np.array([config["depth"] for config in configs])[:, None, None]
    forward = slopes[:, None, None] * layer + offset[:, None]
    backward = slopes[:, None, None] * (depth - layer) + offset[:, None]
    there = {"gradient": layer >= 1, "weight": layer >= 1, "preactivation": layer >= 1}
    data = {}
    for name, about in variable_names().items():
        values = np.full(forward.shape, 0.25)
        if "_log10_" in name:
            values = backward if "gradient" in name else forward - 0.5 * name.endswith("var")
        here = (layer <= depth) & next((mask for key, mask in there.items() if key in name), True)
        data[name] = (("config", "seed", "layer"), np.where(here, values, np.nan), {"long_name": about})
    for name in ("activation", "gradient"):
        values = np.broadcast_to(
            (backward if name == "gradient" else forward).mean(axis=1, keepdims=True), forward.shape
        )
        data[f"theory_{name}_log10_mean_square"] = (("config", "seed", "layer"), values.copy())
    coords = {name: ("config", [config[name] for config in configs]) for name in base}
    attrs = {"data_description": "N(0,1)", "loss": "cotangent", "root_seed": 0, "seeds": seeds, "range": "unbounded"}
    return xr.Dataset(data, coords | {"seed": np.arange(seeds), "layer": layer}, attrs)


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def show(browser, tmp_path):
    """Write a report, open it, and in the end demand that it logged, threw and requested nothing."""
    pages = []

    def show(runs, **settings):
        path = vp.report(runs, tmp_path / f"report{len(pages)}.html")
        pages.append(Page(browser, path, **settings))
        return pages[-1]

    yield show
    for page in pages:
        assert page.complaints() == []


GRID = [{"act": act, "init": init} for act in ("relu", "tanh") for init in ("he_normal", "glorot_normal", "zeros")]


@pytest.fixture(scope="module")
def grid():
    """Six configurations, the last of which is exactly zero from layer 3 on and the first runs past every float."""
    ds = made(GRID, slopes=[60, -0.3, 0.1, -1, 0, 0])
    for name in ("activation_log10_mean_square", "activation_log10_var"):
        ds[name].values[5, :, 3:] = -np.inf
    return ds


def traces(page, plot, kind):
    """[x, y] of the traces of a kind (mean, band, theory) in a plot."""
    found = page.run(f"document.getElementById('{plot}').data.filter(t => t.name === '{kind}').map(t => [t.x, t.y])")
    return [(np.array(x), np.array(y, dtype=float)) for x, y in found]


def choose(page, select, text):
    """Choose what reads like this in a menu."""
    script = (
        f"(() => {{ const s = document.getElementById({json.dumps(select)});"
        f" s.value = [...s.options].find(o => o.text === {json.dumps(text)}).value;"
        " s.dispatchEvent(new Event('input', {bubbles: true})); s.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )
    page.run(script)


def click(page, selector):
    page.run(f"document.querySelector({json.dumps(selector)}).click()")


def text(page, selector):
    return page.run(f"document.querySelector({json.dumps(selector)}).innerText")


def column(page, table, number):
    """The texts of a column of a table."""
    return page.run(f"[...document.querySelectorAll('#{table} tbody tr')].map(r => r.cells[{number}].innerText)")


def test_curves_are_those_of_the_dataset(show, grid):
    page = show(grid)
    for plot, variable, first in (
        ("forward-plot", "activation_log10_mean_square", 0),
        ("backward-plot", "gradient_log10_mean_square", 1),
    ):
        found = traces(page, plot, "mean")
        assert len(found) == len(GRID) == len(traces(page, plot, "band"))
        for (x, y), values in zip(found, grid[variable].values, strict=True):
            mean = values.mean(axis=0)
            assert x.tolist() == list(range(7))
            assert np.allclose(y[first:], np.where(np.isfinite(mean), mean, np.nan)[first:], rtol=1e-6, equal_nan=True)
    x, y = traces(page, "forward-plot", "band")[1]
    there, back = x.tolist().index(6), len(x) - 1
    assert back == 14 and np.isclose(y[there] - y[there + 1], 0.2)  # one std of 0.1 on either side, then back
    labels = page.run(
        "[...document.querySelectorAll('#forward-plot .ytick text')].map(t => t.textContent.replace(/\\u200b/g, ''))"
    )
    assert "10300" in labels  # a power beyond every float, as a tick's 10 and its exponent
    assert "zeros, tanh is exactly zero at layers 3 to 6." in text(page, "#remark")


def test_verdicts_come_first(show, grid):
    page = show(grid)
    assert page.run("[...document.querySelectorAll('main > section')].map(s => s.id)") == [
        "verdicts", "curves", "layers", "advice", "how",
    ]  # fmt: skip
    rows = vp.diagnose(grid).rows
    good = sum(row["healthy"] for row in rows)
    assert text(page, "#sentences") == f"{good} of 6 configurations are healthy, {6 - good} not." and 0 < good < 6
    assert column(page, "verdict-table", 0)[:2] == ["he_normal, relu", "glorot_normal, relu"]
    for row, verdict, forward, reason in zip(rows, *(column(page, "verdict-table", i) for i in (1, 2, 5)), strict=True):
        assert ("unhealthy" in verdict) is not row["healthy"] and row["forward"] in forward
        assert reason == row["reason"]
    assert column(page, "verdict-table", 2)[1].split("\n") == ["0.501 ± 1e-16", "stable", "0.501 to 0.501"]
    assert column(page, "verdict-table", 6)[1] == rows[1]["advice"] or "–"


def test_filters_change_curves_tables_and_what_is_said(show, grid):
    page = show(grid)
    choose(page, "filter-act", "tanh")
    assert len(traces(page, "forward-plot", "mean")) == 3 and len(column(page, "verdict-table", 0)) == 3
    assert text(page, "#status") == "3 of 6 configurations drawn; 3 match the filters."
    assert page.run("document.getElementById('status').getAttribute('aria-live')") == "polite"
    choose(page, "filter-init", "glorot_normal")
    (found,) = traces(page, "forward-plot", "mean")
    assert np.allclose(found[1], grid.activation_log10_mean_square.values[4].mean(axis=0), atol=1e-6)
    assert text(page, "#chosen") == "glorot_normal, tanh"
    click(page, "#reset")
    page.run("new Promise(done => setTimeout(done, 20))")
    assert len(traces(page, "forward-plot", "mean")) == 6
    click(page, "#legend input")
    assert len(traces(page, "forward-plot", "mean")) == 5 and text(page, "#status").startswith("5 of 6")


def test_statistics_axes_theory_and_bands(show, grid):
    page = show(grid)
    choose(page, "statistic", "variance")
    x, y = traces(page, "forward-plot", "mean")[1]
    assert np.allclose(y, -0.3 * x - 0.5, atol=1e-6)
    choose(page, "statistic", "mean square")
    choose(page, "forward", "preactivation")
    assert traces(page, "forward-plot", "theory") == [] and len(traces(page, "backward-plot", "theory")) == 6
    choose(page, "forward", "activation")
    choose(page, "scale", "linear")
    drawn = traces(page, "forward-plot", "mean")
    assert np.allclose(drawn[1][1], 10 ** (-0.3 * x), rtol=1e-5) and drawn[5][1].tolist()[3:] == [0, 0, 0, 0]
    assert np.isnan(drawn[0][1]).tolist() == [False] * 6 + [True]  # 10^360
    assert "A linear axis cannot show values beyond 10^±308: 1 of 6 curves are cut there." in text(page, "#remark")
    choose(page, "scale", "logarithmic")
    assert not np.isnan(traces(page, "forward-plot", "mean")[0][1]).any()
    assert len(traces(page, "forward-plot", "theory")) == 6
    widths = page.run(
        "['mean', 'theory'].map(n => document.getElementById('forward-plot').data.find(t => t.name === n).line.width)"
    )
    assert widths[1] < widths[0] / 2
    click(page, "#theory")
    click(page, "#bands")
    assert traces(page, "forward-plot", "theory") == traces(page, "forward-plot", "band") == []
    page.run("document.getElementById('last').value = 3")
    click(page, "#theory")
    low, high = page.run("document.getElementById('forward-plot').layout.xaxis.range")
    assert low < 0 and 3 < high < 4


@pytest.mark.exhaustive
def test_ticks_follow_the_zoom(show, grid):
    page = show(grid)
    page.run("Plotly.relayout('forward-plot', {'yaxis.range': [299.95, 300.35]}).then(() => 0)")
    labels = page.run("document.getElementById('forward-plot').layout.yaxis.ticktext")
    assert labels == [f"{mantissa}×10<sup>300</sup>" for mantissa in ("1", "1.2", "1.4", "1.6", "1.8", "2", "2.2")]


def test_layers_sort_by_click_and_by_keyboard(show, grid):
    page = show(grid)
    choose(page, "chosen", "glorot_normal, relu")
    head = "#layer-table thead th"
    heads = page.run(f"[...document.querySelectorAll('{head}')].map(h => h.innerText)")
    place = heads.index("activation mean square")
    want = list(range(7))
    assert column(page, "layer-table", 0) == [str(layer) for layer in want]
    click(page, f"{head}:nth-child({place + 1}) button")
    assert page.run(f"document.querySelectorAll('{head}')[{place}].ariaSort") == "ascending"
    assert column(page, "layer-table", 0) == [str(layer) for layer in reversed(want)]  # it falls by 0.3 decades a layer
    page.key("Enter", 13, "\r")  # the heading has kept the focus
    assert page.run(f"document.querySelectorAll('{head}')[{place}].ariaSort") == "descending"
    assert column(page, "layer-table", 0) == [str(layer) for layer in want]
    values = [cell.split("\n") for cell in column(page, "layer-table", place)]
    assert np.allclose([float(value) for value, _ in values], 10 ** (-0.3 * np.arange(7)), rtol=5e-3)
    assert {spread for _, spread in values} == {"± 0.1"}
    gradient = heads.index("gradient mean square")
    click(page, f"{head}:nth-child({gradient + 1}) button")
    assert column(page, "layer-table", 0)[-1] == "0"  # what does not apply comes last
    choose(page, "chosen", "zeros, tanh")
    assert [c.split("\n")[0] for c in column(page, "layer-table", place)].count("0") == 4
    choose(page, "chosen", "he_normal, relu")
    assert "1.00e360" in "".join(column(page, "layer-table", place)).replace("± 0.1", "")


def test_everything_can_be_reached_and_used_by_keyboard(show, grid):
    page = show(grid)
    reached = []
    for _ in range(80):
        page.key("Tab", 9)
        reached.append(
            page.run(
                "document.activeElement.id || document.activeElement.className || document.activeElement.innerText"
            )
        )
        if reached[-1] == "chosen":
            break
    wanted = [
        "filter-init",
        "filter-act",
        "forward",
        "backward",
        "statistic",
        "scale",
        "first",
        "last",
        "theory",
        "bands",
        "reset",
    ]
    assert reached[0] == "skip" and [name for name in reached if name in wanted] == wanted and reached[-1] == "chosen"
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.run("document.getElementById('theory').focus()")
    page.key(" ", 32, " ")
    assert traces(page, "forward-plot", "theory") == []
    page.run("document.getElementById('filter-act').focus()")
    page.key("ArrowDown", 40)
    assert len(traces(page, "forward-plot", "mean")) == 3


def test_landmarks_labels_and_contrast(show, grid):
    for scheme in ("light", "dark"):
        page = show(grid, media={"prefers-color-scheme": scheme})
        assert [page.run(f"document.querySelectorAll('{tag}').length") for tag in ("header", "nav", "main", "h1")] == [
            1
        ] * 4
        assert page.run("[...document.querySelectorAll('section')].every(s => s.querySelector('h2'))")
        assert page.run(
            "[...document.querySelectorAll('table')].every(t => t.caption && [...t.querySelectorAll('th')].every(h => h.scope))"
        )
        assert page.run(
            "[...document.querySelectorAll('select, input')].every(c => c.labels.length && c.labels[0].innerText.trim())"
        )
        names = ("ground", "panel", "ink", "soft", "link", "stable", "mild", "severe")
        colors = page.run(
            f"{list(names)}.map(n => getComputedStyle(document.documentElement).getPropertyValue('--' + n).trim())"
        )
        rgb = dict(zip(names, ([int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colors), strict=True))
        assert min(contrast(rgb[name], rgb[under]) for name in names[2:] for under in names[:2]) >= 4.5
        drawn = (
            page.run("document.getElementById('forward-plot').layout.paper_bgcolor"),
            page.run(
                "document.getElementById('forward-plot').data.filter(t => t.name === 'mean').map(t => t.line.color)"
            ),
        )
        assert drawn[0] == colors[0]
        assert all(contrast([int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)], rgb["ground"]) >= 3 for c in drawn[1])


@pytest.mark.parametrize("width", [320, 400, 1200])
def test_no_width_needs_sideways_scrolling(show, width):
    page = show(made([{"init": name} for name in HOSTILE]), width=width)
    assert page.run("document.documentElement.scrollWidth") <= width


def test_hostile_names_are_text(show):
    page = show(made([{"init": name} for name in HOSTILE]))
    names = [printable(name) for name in HOSTILE]
    assert column(page, "verdict-table", 0) == names
    assert page.run("[...document.querySelectorAll('#legend li')].map(l => l.innerText)") == names
    assert page.run("typeof window.pwned") == "undefined"
    assert page.run("document.querySelectorAll('img, main b, main a, main script, iframe').length") == 0
    assert page.run("document.scripts.length") == 4
    for number, name in enumerate(names):
        shown = hover(page, len(names) + number, 2)
        assert shown.startswith(name if len(name) <= 80 else f"{name[:60]}…")
    assert page.run("document.querySelectorAll('.hoverlayer a, .hoverlayer b').length") == 0


def hover(page, curve, point):
    """What is told of a point of the forward plot."""
    page.run(f"Plotly.Fx.hover('forward-plot', [{{curveNumber: {curve}, pointNumber: {point}}}])")
    page.run("new Promise(done => setTimeout(done, 150))")  # plotly waits a little between two
    return page.run("[...document.querySelectorAll('#forward-plot .hoverlayer text')].map(t => t.textContent).join('')")


def test_hovering_tells_configuration_layer_value_and_spread(show, grid):
    page = show(grid)
    place = page.run("document.getElementById('forward-plot').data.findIndex(t => t.name === 'mean') + 1")
    assert hover(page, place, 2) == "glorot_normal, relulayer 2activation mean square 0.251std over seeds 0.1 decades"


@pytest.mark.exhaustive
def test_two_hundred_deep_configurations(show, tmp_path, capsys):
    configs = [
        {"init": f"normal(std={0.01 * (i + 1):.2f})", "act": act, "depth": 100}
        for i in range(100)
        for act in ("relu", "tanh")
    ]
    ds = made(configs, slopes=np.linspace(-0.1, 0.1, 200))
    ds = ds.map(lambda v: v + np.random.default_rng(0).normal(size=v.shape) * 1e-3)
    page = show(ds)
    assert len(traces(page, "forward-plot", "mean")) == 24
    assert text(page, "#status") == "24 of 200 configurations drawn; the first 24 of 200 are drawn."
    assert text(page, "#everything") == "Draw all 200" and len(column(page, "verdict-table", 0)) == 24
    loaded = page.run("performance.getEntriesByName('varprobe-ready')[0].startTime")
    first = page.run("performance.getEntriesByName('varprobe-verdicts')[0].startTime")
    size = (tmp_path / "report0.html").stat().st_size / 1e6
    began = time.monotonic()
    click(page, "#everything")
    with capsys.disabled():
        print(
            f" 200 x 100: {size:.1f} MB, verdicts {first / 1e3:.2f} s, loaded {loaded / 1e3:.2f} s, all {time.monotonic() - began:.2f} s"
        )
    drawn = traces(page, "forward-plot", "mean")
    assert len(drawn) == 200 and traces(page, "forward-plot", "band") == []
    assert np.allclose(drawn[-1][1], ds.activation_log10_mean_square.values[-1].mean(axis=0), atol=1e-5)
    click(page, "#verdict-table .more")
    assert len(column(page, "verdict-table", 0)) == 200


def test_before_and_after(show):
    before = made([{"act": act, "init": "torch_default"} for act in ("relu", "tanh")], slopes=[-2, -3])
    after = made([{"act": act, "init": "critical"} for act in ("tanh", "relu")], slopes=[0, 0])
    page = show({"before": before, "after": after})
    assert text(page, "#sentences").split("\n\n") == [
        "before: all 2 configurations are unhealthy.",
        "after: all 2 configurations are healthy.",
    ]
    assert column(page, "changes", 0) == ["before: torch_default, relu", "before: torch_default, tanh"]
    assert column(page, "changes", 1) == ["after: critical, relu", "after: critical, tanh"]
    assert column(page, "changes", 2) == ["✗ unhealthy → ✓ healthy"] * 2
    assert "vanishing → stable" in column(page, "changes", 3)[0]
    choose(page, "pair-chosen", "before: torch_default, tanh → after: critical, tanh")
    (_, old), (_, new) = traces(page, "pair-forward", "mean")
    assert np.allclose(old, -3 * np.arange(7), atol=1e-6) and np.allclose(new, 0, atol=1e-6)
    choose(page, "filter-run", "before")
    assert len(traces(page, "forward-plot", "mean")) == 2
    assert page.run("document.querySelectorAll('#advice li strong').length") == 2


@pytest.mark.exhaustive
def test_three_runs_are_told_apart_by_a_filter(show):
    page = show([made([{}], slopes=[slope]) for slope in (0, -1, -2)])
    assert column(page, "verdict-table", 0) == [f"run {i}: he_normal" for i in (1, 2, 3)]
    choose(page, "filter-run", "run 3")
    ((x, y),) = traces(page, "forward-plot", "mean")
    assert np.allclose(y, -2 * x, atol=1e-6) and page.run("document.getElementById('pair').hidden")


def test_a_model_shows_its_sites_in_order(show):
    def loss(params, x):
        for w in params["layers"]:
            x = jnp.tanh(x @ w)
        return ((x @ params["head"]) ** 2).mean()

    keys = jax.random.split(jax.random.key(0), 5)
    weights = [jax.random.normal(k, (8, 8)) * 0.01 for k in keys[:4]]
    ds = vp.probe(loss, {"layers": weights, "head": jax.random.normal(keys[4], (8, 2))}, jnp.ones((4, 8)))
    page = show(ds)
    sites = ds.site.values.tolist()
    assert column(page, "layer-table", 1) == sites and sites[:3] == ["input", "layers/0", "layers/1"]
    assert column(page, "verdict-table", 0) == ["layers/*"] and column(page, "verdict-table", 1) == ["4"]
    assert "unhealthy" in column(page, "verdict-table", 2)[0] and text(page, "#sentences") == "The model is unhealthy."
    assert vp.diagnose(ds).rows[0]["reason"] in text(page, "#models")
    (x, y), (_, other) = traces(page, "forward-plot", "mean")
    layers = [i for i, site in enumerate(sites) if site.startswith("layers/")]
    assert x.tolist() == layers and len(other) == len(sites) - 1 - len(layers)
    assert np.allclose(y, ds.activation_log10_mean_square.values[0, 0, layers], rtol=1e-6)
    assert hover(page, 0, 1).startswith("layers/*layers/1 (linear)signal mean square ")


@pytest.mark.exhaustive
def test_it_prints(show, grid):
    page = show(grid, media={"prefers-color-scheme": "dark"})
    pdf = page.pdf()
    assert pdf.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 2
    assert page.run("document.documentElement.className") == ""  # dark again
    page.call("Emulation.setEmulatedMedia", media="print")
    hidden = page.run("['nav', 'form', '.skip'].map(s => getComputedStyle(document.querySelector(s)).display)")
    assert hidden == ["none"] * 3


def test_the_same_runs_give_the_same_bytes(tmp_path, grid):
    one, other = (vp.report(grid, tmp_path / f"{i}.html").read_bytes() for i in (1, 2))
    assert one == other and b"https://" not in one.split(b"<script>")[0]
    assert vp.report(grid.isel(config=[0]), tmp_path / "3.html").read_bytes() != one


def test_a_report_is_whole_or_not_there(tmp_path, grid, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MachineError, match=r"cannot write .*report\.html.*No space left"):
        vp.report(grid, path)
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_seeds_that_were_never_run_do_not_count():
    values = np.array([[[1.0, 2.0], [3.0, -np.inf], [np.nan, np.nan]], [[5.0, np.nan], [7.0, 8.0], [np.nan, np.nan]]])
    mean, std = moments(values)
    assert np.array_equal(mean, [[2, -np.inf], [6, np.nan]], equal_nan=True)
    assert np.allclose(std, [[2**0.5, np.nan], [2**0.5, np.nan]], equal_nan=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with two runs."""
    folder = tmp_path_factory.mktemp("runs")
    for name, init, slope in (("before", "torch_default", -0.8), ("after", "he_normal", 0.0)):
        with pytest.MonkeyPatch.context() as patch:
            compute_with(patch, partial(signals, slope=slope))
            vp.sweep(depth=4, width=16, batch=8, seeds=2, init=init, out=folder / name)
    return folder


@pytest.fixture
def run(folder, capsys, monkeypatch):
    """Run `varprobe ...`: (exit code, stdout, stderr), however long it takes here."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("varprobe.cli.report.PATIENCE", 1e6)

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run


@pytest.mark.exhaustive
def test_a_note_tells_that_it_takes_long(run, monkeypatch):
    monkeypatch.setattr("varprobe.cli.report.PATIENCE", 0)
    assert run("report", "before")[2] == "writing the report...\n"
    assert run("report", "before", "--quiet") == (0, "before/report.html\n", "")


def test_the_command_writes_and_opens(run, folder, browser, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    code, out, err = run("report", "before", "--open")
    assert (code, out, err) == (0, "before/report.html\n", "")
    assert opened == [(folder / "before" / "report.html").resolve().as_uri()]
    assert run("report", "before", "after", "--save", "both.html")[:2] == (0, "both.html\n")
    page = Page(browser, folder / "both.html")
    assert column(page, "changes", 0) == ["before: torch_default"] and page.complaints() == []
    assert text(page, "#made code").startswith("varprobe sweep --act relu --init torch_default --depth 4 --width 16")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "RUN: missing RUN, the folder of a run"),
        (["befor"], "RUN: there is no run 'befor'; did you mean 'before'?"),
        (["before", "after"], "--save: 2 runs need --save FILE.html"),
        (["before", "--save", "x.pdf"], "--save: 'x.pdf' must end in .html; varprobe plot draws figures"),
        (["before", "--save", "none/x.html"], "--save: there is no folder 'none' for 'x.html'"),
        (["before", "before", "--save", "x.html"], "RUN: 'before' is given twice"),
        (["before", "--sav", "x.html"], "--sav: unknown option; did you mean '--save'? (allowed: --help, --save, --open, --quiet)"),
    ],
)  # fmt: skip
def test_wrong_requests_are_answered_in_one_line(run, folder, arguments, line):
    before = sorted(folder.iterdir())
    assert run("report", *arguments) == (2, "", f"varprobe: {line}\n")
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("what", [3, [], {}, xr.Dataset(), [made([{}]), 3]])
def test_what_is_no_run_is_refused(tmp_path, what):
    with pytest.raises(InvalidArgumentError):
        vp.report(what, tmp_path / "x.html")
    assert not list(tmp_path.iterdir())


def test_without_plotly_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "plotly.offline", None)
    with pytest.raises(InvalidArgumentError, match=re.escape('pip install "varprobe[report]"')):
        vp.report(made([{}]), tmp_path / "x.html")


def test_the_command_line_repeats_the_run(monkeypatch):
    compute_with(monkeypatch, signals)
    asked = dict(depth=4, width="16-12-16", act=["relu", "tanh"], init="normal(std=0.1)", bias="normal(var=0.05)", seeds=2, batch=4, root_seed=3, norm="layer")  # fmt: skip
    del asked["depth"]
    ds = vp.sweep(**asked)
    words = shlex.split(command_of(runs_of(ds, print)[0]))
    assert words[:2] == ["varprobe", "sweep"]
    options = sweep_command.make_context("sweep", words[2:]).params
    spec = read_request(**given({k: v for k, v in options.items() if k not in PRESENTATION})).spec
    assert spec == json.loads(ds.attrs["spec"])
