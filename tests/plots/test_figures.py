"""Every kind of figure in every style: its numbers, its texts' places, its colors, and what its file says of itself."""

import itertools
import json
import re

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from made_up import learned, signals
from matplotlib import pyplot as plt
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from stand_in import compute_with
from test_plots import dataset, inits
from test_plots_training import training

import varprobe as vp
from varprobe.__main__ import outcome
from varprobe.errors import InvalidArgumentError
from varprobe.model.curves import as_curves
from varprobe.plots import save_figure
from varprobe.plots.change import both
from varprobe.plots.coordinates import coordinates_figure
from varprobe.plots.curves import read_curves
from varprobe.plots.heatmap import heatmap_figure
from varprobe.plots.kinds import KINDS
from varprobe.plots.match import match_figure, ticks_of
from varprobe.plots.panels import panels_figure
from varprobe.plots.plane import run_phase_figure
from varprobe.plots.sites import model_figure
from varprobe.plots.style import STYLES, contrast, ground, looks, paper, sized
from varprobe.plots.widths import widths_figure
from varprobe.storage.figure_origin import origin, origin_of
from varprobe.storage.files import load_dataset, save_dataset
from varprobe.theory.spectra import jacobian_spectrum


def loss(params, x):
    import jax.numpy as jnp

    for i in range(4):
        x = x + jnp.tanh(x @ params[f"block{i}"]["up"]) @ params[f"block{i}"]["down"]
    return (x**2).sum()


def make(key):
    import jax

    keys = jax.random.split(key, 8)
    one = lambda k: jax.random.normal(k, (16, 16)) / 4  # noqa: E731
    return {f"block{i}": {"up": one(keys[i]), "down": one(keys[i + 4])} for i in range(4)}


SMALL = {"depth": 6, "width": 16, "seeds": 3, "batch": 8}


def swept(**request):
    """A sweep whose signals are made up; probes and theory are real."""
    with pytest.MonkeyPatch.context() as patch:
        compute_with(patch, signals)
        return vp.sweep(**request)


def trained(**request):
    """A trainability grid without training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("varprobe.training.jobs.run_job", learned)
        compute_with(patch, signals)
        return vp.trainability(**request)


class Runs(dict):
    """The datasets that each kind of figure is drawn from, made at the first use: measured, or with made-up signals."""

    def __init__(self, measured):
        self.sweep, self.train = (vp.sweep, vp.trainability) if measured else (swept, trained)

    def __missing__(self, kind):
        make = getattr(self, kind.replace("-", "_"), lambda: self["grid"])
        self[kind] = make()
        return self[kind]

    def grid(self):
        inits = ["he_normal", "lecun_normal"]
        return (self.sweep(act=["relu", "tanh"], init=inits, correlation=[0.1, 0.9], **SMALL),)

    def spectrum(self):
        return (self.sweep(init=["he_normal", "lecun_normal"], jacobian=True, histogram=True, **SMALL),)

    def histogram(self):
        return self["spectrum"]

    def before_after(self):
        return tuple(vp.select(self["spectrum"][0], init=init) for init in ("lecun_normal", "he_normal"))

    def phase(self):
        plane = {"sigma_w2": [1.0, 2.0, 3.0], "sigma_b2": [0.0, 0.1, 0.2]}
        return (self.sweep(act="tanh", **plane, **SMALL | {"seeds": 1}),)

    def width(self):
        return (self.sweep(width=[16, 32, 64], depth=6, seeds=4, init="he_normal"),)

    def model(self):
        import jax

        x = jax.random.normal(jax.random.key(1), (8, 16))
        return (vp.probe(loss, make(jax.random.key(0)), x, init=make, seeds=3),)

    def trainability(self):
        return (self.train(depth=[2, 4], width=16, sigma_w2=[1.0, 2.0, 3.0], steps=10, seeds=2),)

    def coord_check(self):
        return (vp.coord_check(widths=[16, 32], depth=2, init="mup", steps=1, seeds=2),)

    def variance(self):
        return (dataset(inits("he_normal", "glorot_normal", "torch_default", "normal(std=0.01)", "uniform(limit=1)")),)

    def training(self):
        return (training(["he_normal", "normal(std=0.01)"]),)


@pytest.fixture(scope="module")
def runs():
    return Runs(measured=False)


@pytest.fixture(scope="module")
def measured_runs():
    return Runs(measured=True)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def draw(runs, kind, name="paper", columns=1, **options):
    with vp.style(name, columns=columns):
        return KINDS[kind].draw(*runs[kind], **options)


def texts_of(figure, monkeypatch):
    """(text, box in pixels) of everything that is written when the figure is drawn."""
    found, original = [], Text.draw

    def record(self, renderer, *rest):
        if self.get_visible() and self.get_text().strip():
            found.append((self.get_text(), Text.get_window_extent(self, renderer)))
        return original(self, renderer, *rest)

    monkeypatch.setattr(Text, "draw", record)
    figure.canvas.draw()
    monkeypatch.undo()
    return found


SIZES = {(style.widths, style.size): name for name, style in reversed(STYLES.items())}.values()
"""A style for each size of page and letters."""
EXTREME = "icml", "slides"
"""The narrowest, and the one with the largest letters."""


@pytest.mark.parametrize("name", EXTREME)
@pytest.mark.parametrize("kind", KINDS)
def test_no_text_overlaps_another_or_is_cut(runs, kind, name, monkeypatch):
    check_texts(draw(runs, kind, name), monkeypatch)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_no_text_overlaps_another_or_is_cut_in_any_size(measured_runs, kind, name, monkeypatch):
    check_texts(draw(measured_runs, kind, name), monkeypatch)


def check_texts(figure, monkeypatch):
    written = texts_of(figure, monkeypatch)
    assert len(written) >= 5
    for text, box in written:
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1
        assert inside, f"{text!r} is cut at {box.extents.round()} of {figure.bbox.size}"
    for (a, one), (b, other) in itertools.combinations(written, 2):
        wide = min(one.x1, other.x1) - max(one.x0, other.x0)
        tall = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert wide <= 1.5 or tall <= 1.5, f"{a!r} and {b!r} overlap by {wide:.1f} x {tall:.1f} pixels"


@pytest.mark.parametrize("name", STYLES)
def test_letters_are_as_large_as_the_style_says(runs, name, monkeypatch):
    figure = draw(runs, "variance", name)
    axes = figure.axes[0]
    assert axes.xaxis.label.get_fontsize() == STYLES[name].size
    assert min(t.get_fontsize() for t in figure.findobj(Text) if t.get_text()) >= 6.0 * STYLES[name].size / 8.0 - 1e-9


@pytest.mark.parametrize(
    ("name", "columns", "inches"),
    [("neurips", 1, 5.5), ("iclr", 1, 5.5), ("icml", 1, 3.25), ("icml", 2, 6.75), ("aps", 1, 3.375), ("aps", 2, 7.0),
     ("ieee", 1, 3.5), ("ieee", 2, 7.16)],
)  # fmt: skip
def test_figures_are_as_wide_as_the_columns(runs, name, columns, inches, tmp_path):
    figure = draw(runs, "variance", name, columns)
    save_figure(figure, tmp_path / "a.pdf")
    points = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", (tmp_path / "a.pdf").read_bytes())
    assert float(points[1]) / 72 == pytest.approx(inches)
    assert figure.get_size_inches()[0] == pytest.approx(inches)


def test_widths_are_those_of_tueplots():
    from tueplots import figsizes

    one = lambda size: size["figure.figsize"][0]  # noqa: E731
    assert one(figsizes.neurips2024()) == STYLES["neurips"].widths[0]
    assert one(figsizes.iclr2024()) == STYLES["iclr"].widths[0]
    assert one(figsizes.icml2024_half()) == STYLES["icml"].widths[0]
    assert one(figsizes.icml2024_full()) == STYLES["icml"].widths[1]


# Machado, Oliveira & Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency",
# severity 1.0, upon linear RGB
DEFICIENCIES = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "grey": [[0.2126, 0.7152, 0.0722]] * 3,
    "none": np.eye(3).tolist(),
}
JUST_NOTICEABLE = 2.3
"""CIE 1976 color difference (Mahy et al. 1994)."""


def lab(color, matrix):
    """CIE L*a*b* (D65) of an sRGB color as it is seen."""
    rgb = np.array([c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)])
    rgb = np.clip(np.array(matrix) @ rgb, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    f = np.array([c ** (1 / 3) if c > 216 / 24389 else (24389 / 27 * c + 16) / 116 for c in xyz / [0.9505, 1, 1.089]])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("name", ["paper", "dark"])
@pytest.mark.parametrize("seen", DEFICIENCIES)
def test_curves_differ_to_every_eye_and_in_greyscale(seen, name):
    with vp.style(name):
        some, behind = looks(7), ground()
    for a, b in itertools.combinations(some, 2):
        far = np.linalg.norm(lab(a.color, DEFICIENCIES[seen]) - lab(b.color, DEFICIENCIES[seen]))
        assert a.dashes != b.dashes or far > 4 * JUST_NOTICEABLE, (a, b, far)
    for look in some:
        assert contrast(to_rgb(look.color), to_rgb(behind)) > 1.8, look
        with vp.style(name):
            assert contrast(to_rgb(look.ink), to_rgb(behind)) >= 4.5


@pytest.mark.parametrize("name", ["paper", "dark"])
@pytest.mark.parametrize("seen", DEFICIENCIES)
def test_scales_keep_their_order_to_every_eye_and_in_greyscale(seen, name):
    from varprobe.plots.phase_scales import diverging
    from varprobe.plots.style import ladder_map

    with vp.style(name):
        ladder, both_sides = ladder_map(), diverging()
    light = [lab(ladder(x)[:3], DEFICIENCIES[seen])[0] for x in np.linspace(0, 1, 12)]
    assert (np.diff(light) > 2).all()
    sign = -1 if name == "paper" else 1
    away = [lab(both_sides(0.5 + x)[:3], DEFICIENCIES[seen])[0] for x in np.linspace(0, 0.5, 6)]
    down = [lab(both_sides(0.5 - x)[:3], DEFICIENCIES[seen])[0] for x in np.linspace(0, 0.5, 6)]
    assert (sign * np.diff(away) > 0).all()
    assert (sign * np.diff(down) > 0).all()


def test_a_heatmap_shows_variance_relative_to_where_the_signal_starts(runs):
    ds = runs["heatmap"][0]
    figure = heatmap_figure(ds)
    for ax, quantity, start in ((figure.axes[0], "activation", 0), (figure.axes[1], "gradient", 6)):
        mesh = next(c for c in ax.collections if isinstance(c, QuadMesh))
        mean = ds[f"{quantity}_log10_var"].mean("seed").values
        wanted = np.clip(mean - mean[:, [start]], -6, 6)
        np.testing.assert_allclose(np.ma.filled(mesh.get_array(), np.nan).reshape(wanted.shape), wanted, atol=1e-12)


def test_a_heatmap_is_grey_where_a_signal_is_lost():
    """Neither beyond the last layer of a net, nor before the first that has the quantity."""
    ds = dataset([{"init": "he_normal", "slope": 0.0, "depth": depth} for depth in (8, 6)])
    ds["activation_log10_var"].values[1, 0, 4:] = -np.inf
    ds["gradient_log10_var"].values[1, 0, :4] = np.nan
    wanted = {"activation": (np.arange(4, 7), (-0.5, 8.5)), "gradient": (np.arange(1, 4), (0.5, 8.5))}
    for quantity, (layers, limits) in wanted.items():
        ax = vp.plot_heatmap(ds, quantity)
        (lost,) = [mesh for mesh in ax.collections if mesh.get_gid() == "lost"]
        rows, columns = np.nonzero(np.ma.filled(lost.get_array(), False).reshape(2, 9))
        assert set(rows) == {1} and columns.tolist() == layers.tolist()
        assert ax.get_xlim() == limits and ax.get_ylim() == (1.5, -0.5)


def test_panels_hold_the_right_configuration(runs):
    ds = runs["panels"][0]
    figure = panels_figure(ds)
    rows, columns = ["relu", "tanh"], ["he_normal", "lecun_normal"]
    for ax, (act, init) in zip(figure.axes, itertools.product(rows, columns), strict=False):
        one = vp.select(ds, act=act, init=init)
        for line, quantity in zip(
            [ln for ln in ax.lines if ln.get_gid() != "theory"], ("activation", "gradient"), strict=False
        ):
            wanted = one[f"{quantity}_log10_var"].mean("seed").values[0]
            np.testing.assert_allclose(line.get_ydata(), wanted, atol=1e-12)
    assert [ax.get_title() for ax in figure.axes[:2]] == columns


def test_cosines_are_those_of_the_dataset(runs):
    ds = runs["correlation"][0]
    ax = vp.plot_correlation(ds)
    lines = [line for line in ax.lines if line.get_gid() == "pair"]
    wanted = ds["pair_correlation"].mean("seed").transpose("config", "c0", "layer").values.reshape(8, -1)
    np.testing.assert_allclose([line.get_ydata() for line in lines], wanted, atol=1e-12)
    assert wanted[:, 0] == pytest.approx([0.1, 0.9] * 4, abs=1e-6)
    theory = [line for line in ax.lines if line.get_gid() == "theory"]
    predicted = ds["theory_pair_correlation"].isel(seed=0).transpose("config", "c0", "layer").values.reshape(8, -1)
    np.testing.assert_allclose([line.get_ydata() for line in theory], predicted, atol=1e-12)
    spread = ds["pair_correlation"].std("seed", ddof=1).transpose("config", "c0", "layer").values.reshape(8, -1)
    for band, mean, half in zip(ax.collections, wanted, spread, strict=True):
        np.testing.assert_allclose(ends_of(band, ds["layer"].values), [mean - half, mean + half], atol=1e-9)


def ends_of(band, places):
    """(low, high) of a band at some places along the x axis."""
    (path,) = band.get_paths()
    there = [path.vertices[np.isclose(path.vertices[:, 0], x), 1] for x in places]
    return np.array([[y.min() for y in there], [y.max() for y in there]])


def test_sizes_against_width_are_rms_with_a_deviation_to_each_side():
    random, dims = np.random.default_rng(0), ("config", "seed", "width", "step", "layer")
    ds = xr.Dataset(
        {f"{name}_log10_mean_square": (dims, random.normal(size=(1, 3, 4, 2, 2))) for name in ("value", "change")},
        {"width": [4, 8, 32, 64], "step": [0, 1], "site": ("layer", ["a", "b"]), "iteration": ("layer", [0, 0])}
        | {"init": ("config", ["mup"]), "optimizer": ("config", ["adam"])},
    )
    judged = {"value": 0, "change": 1}
    panels = [(vp.plot_coord_check(ds, q, ax=plt.figure().gca()), q, [(t, 0), (t, 1)]) for q, t in judged.items()]
    figure = coordinates_figure(ds)
    for ax, (quantity, layer) in zip(figure.axes[:4], itertools.product(judged, (0, 1)), strict=True):
        panels.append((ax, quantity, [(step, layer) for step in ((0, 1) if quantity == "value" else (1,))]))
    for ax, quantity, drawn in panels:
        lines = [line for line in ax.lines if line.get_gid() == "size"]
        for line, band, (step, layer) in zip(lines, ax.collections, drawn, strict=True):
            rms = ds[f"{quantity}_log10_mean_square"].values[0, :, :, step, layer] / 2
            mean, half = rms.mean(axis=0), rms.std(axis=0, ddof=1)
            np.testing.assert_allclose(line.get_xydata(), np.column_stack([[2, 3, 5, 6], mean]), atol=1e-12)
            np.testing.assert_allclose(ends_of(band, [2, 3, 5, 6]), [mean - half, mean + half], atol=1e-9)


def test_powers_between_widths_have_95_percent_intervals_over_seeds():
    """Student's t with 2 degrees of freedom: 4.3027 standard errors to each side."""
    random, dims = np.random.default_rng(1), ("config", "seed", "width", "step", "layer")
    ds = xr.Dataset(
        {f"{name}_log10_mean_square": (dims, random.normal(size=(1, 3, 4, 2, 2))) for name in ("value", "change")},
        {"width": [4, 8, 32, 64], "step": [0, 1], "site": ("layer", ["a", "b"]), "iteration": ("layer", [0, 0])}
        | {"init": ("config", ["mup"]), "optimizer": ("config", ["adam"])},
    )
    (panel,) = vp.plot_coord_check(ds, "power", ax=plt.figure().gca()).figure.axes
    drawn = [box for ax in (*coordinates_figure(ds).axes[4:], panel) for box in ax.containers]
    for box, layer in zip(drawn, (0, 1, 0, 1), strict=True):
        local = np.diff(ds.change_log10_mean_square.values[0, :, :, 1, layer] / 2) / np.diff(np.log10([4, 8, 32, 64]))
        half = 4.3027 * local.std(axis=0, ddof=1) / np.sqrt(3)
        np.testing.assert_allclose(box.lines[0].get_xydata(), np.column_stack([[2.5, 4, 5.5], local.mean(axis=0)]))
        ends = [segment[:, 1] for segment in box.lines[2][0].get_segments()]
        np.testing.assert_allclose(ends, np.column_stack([local.mean(0) - half, local.mean(0) + half]), rtol=1e-4)


def test_the_match_has_every_predicted_factor(runs):
    ds = runs.sweep(act=["relu", "tanh"], sigma_w2=[1.5, 2.0], **SMALL)
    rows = vp.diagnose(ds).rows
    figure = match_figure(ds)
    drawn = sorted(float(line.get_ydata()[0]) for line in figure.axes[0].lines if line.get_gid() == "factor")
    factors = [row[f"{q}_factor"] for row in rows for q in ("activation", "gradient")]
    np.testing.assert_allclose(drawn, np.sort(np.log10(factors)), atol=1e-12)
    bars = [bar.get_segments()[0] for container in figure.axes[0].containers for bar in container[2]]
    wanted = [
        [[np.log10(row[f"theory_{q}_factor"]), np.log10(end)] for end in row[f"{q}_factor_ci95"]]
        for q in ("activation", "gradient")
        for row in rows
    ]
    np.testing.assert_allclose(bars, wanted, atol=1e-9)
    z = np.sort([row["theory_gradient_z"] for row in rows if row["theory_gradient_z"] is not None])
    assert z.size
    distances = [line for line in figure.axes[1].lines if line.get_gid() == "distance"]
    np.testing.assert_allclose(distances[1].get_ydata(), z)


def test_a_spectrum_has_the_singular_values_of_all_seeds_beside_theory(runs):
    """Those that are zero count as others do, and are told: the outline holds what is left."""
    ds = runs["spectrum"][0].isel(config=[0]).copy(deep=True)
    values = ds["jacobian_log10_singular_values"].values[0]
    values[:, -4:], values[:, :-4] = -np.inf, np.linspace(1, -2, 36).reshape(3, 12)
    ax = vp.plot_spectrum(ds)
    outline, _ = [patch.get_data() for patch in ax.patches]
    counts = np.histogram(np.linspace(-2, 1, 36), outline.edges)[0]
    np.testing.assert_allclose(outline.values * np.diff(outline.edges), counts / 48, atol=1e-12)
    assert len(outline.values) == 40 and ax.get_legend().get_texts()[0].get_text() == "he_normal (25% zero)"
    (line,) = [line for line in ax.lines if line.get_gid() == "theory"]
    sigma_w2 = 16 * 10 ** ds["weight_log10_mean_square"].values[..., 1:].mean()
    wanted = jacobian_spectrum(6, sigma_w2, 0.5)
    np.testing.assert_allclose(line.get_xydata(), np.column_stack([wanted.log10_s, wanted.density]), rtol=1e-9)


@pytest.mark.parametrize(("low", "high"), [(-0.02, 0.02), (-1, 0.3), (-4, 0), (-40, 2), (0.1, 0.4)])
def test_factors_have_a_few_ticks(low, high):
    ticks = ticks_of(low, high)
    assert 2 <= len(ticks) <= 9
    assert all(low <= t <= high for t in ticks)


def test_the_spread_falls_with_the_width_as_theory_says(runs):
    ds = runs["width"][0]
    figure = widths_figure(ds)
    for ax, quantity, layer in zip(figure.axes, ("activation", "gradient"), (6, 1), strict=True):
        (points,) = [line for line in ax.lines if line.get_gid() == "spread"]
        np.testing.assert_allclose(
            10 ** points.get_ydata(), ds[f"{quantity}_log10_mean_square"].values[:, :, layer].std(1, ddof=1)
        )
        (line,) = [line for line in ax.lines if line.get_gid() == "theory"]
        told = 10 ** np.asarray(line.get_ydata())
        # width * Var is the same for all widths to first order
        np.testing.assert_allclose(told * np.sqrt([16, 32, 64]), told[0] * 4, rtol=0.35)
    bars = figure.axes[0].collections[0].get_segments()
    ratio = 10 ** (bars[0][1][1] - bars[0][0][1])
    # chi-squared with 3 degrees of freedom at 0.16 and 0.84 (scipy.stats.chi2.ppf): 0.83949 and 5.16655
    assert ratio == pytest.approx((5.16655 / 0.83949) ** 0.5, rel=1e-3)


def test_sites_stand_in_the_order_of_execution(runs):
    ds = runs["model"][0]
    figure = model_figure(ds)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ds["site"].values[1:].tolist()
    forward, backward = ({int(line.get_ydata()[0]): float(line.get_xdata()[0]) for line in ax.lines if line.get_gid() == "site"}
                         for ax in figure.axes[:2])  # fmt: skip
    after = ds["activation_log10_var"].fillna(ds["preactivation_log10_var"]).mean("seed").values[0, 1:]
    np.testing.assert_allclose([forward[i] for i in range(after.size)], after, atol=1e-12)
    gradient = ds["gradient_log10_var"].mean("seed").values[0, 1:]
    np.testing.assert_allclose([backward[i] for i in range(after.size)], gradient, atol=1e-12)
    assert figure.axes[0].get_ylim()[0] > figure.axes[0].get_ylim()[1]  # the input is at the top


def test_each_curve_of_a_model_has_the_numbers_of_its_sites_and_no_others(runs):
    ds = runs["model"][0]
    curves = as_curves(ds)
    names, site = curves["arch"].values.tolist(), ds["site"].values
    assert {"block*/up", "block*/down"} <= set(names)
    for number, kernel in ((names.index(f"block*/{kernel}"), kernel) for kernel in ("up", "down")):
        mine = np.array([name.endswith(f"/{kernel}") for name in site])
        assert mine.sum() == 4
        found = curves["gradient_log10_mean_square"].isel(config=number)
        np.testing.assert_array_equal(
            found, ds["gradient_log10_mean_square"][0].where(xr.DataArray(mine, dims="layer"))
        )


def test_a_plane_in_any_order_is_the_same_phase_diagram(runs):
    ds = runs["phase"][0]
    meshes = []
    for order in (range(9), [5, 3, 8, 0, 1, 7, 2, 6, 4]):
        figure = run_phase_figure(ds.isel(config=list(order)))
        meshes += [[c.get_array() for ax in figure.axes[:2] for c in ax.collections if isinstance(c, QuadMesh)]]
    np.testing.assert_array_equal(meshes[0][0], meshes[1][0])
    np.testing.assert_array_equal(meshes[0][1], meshes[1][1])
    half = ds["gradient_log10_mean_square"].values[0, 0, 3:7]
    slope = np.polyfit(np.arange(4), half, 1)[0]
    assert np.ravel(meshes[0][1])[0] == pytest.approx(10**-slope, rel=1e-6)


def test_before_and_after_share_axes_and_pad_what_is_shorter():
    before = dataset([{"init": "glorot_normal", "slope": -0.3, "depth": 10}], seeds=2)
    after = dataset([{"init": "glorot_normal", "slope": 0.0, "depth": 20}], seeds=3)
    together = both(before, after)
    assert dict(together.sizes) == {"config": 2, "seed": 3, "layer": 21}
    assert together["run"].values.tolist() == ["before: depth 10", "after: depth 20"]
    np.testing.assert_array_equal(
        together["activation_log10_var"].values[0, :2, :11], before["activation_log10_var"].values[0]
    )
    assert np.isnan(together["activation_log10_var"].values[0, 2]).all()
    for pair in ((before, after), (after, before)):  # layers that a net has not are not lost
        curves = read_curves(both(*pair), "activation", "var", ["a", "b"])
        assert [curve.lost for curve in curves] == [None, None]
    mended = dataset([{"init": "glorot_normal", "slope": 0.0, "depth": 10}])
    figure = KINDS["before-after"].draw(before, mended)
    assert {"before", "after"} <= {text.get_text() for text in figure.findobj(Text)}


@pytest.mark.parametrize("name", ["plot_variance", "plot_heatmap", "plot_match", "plot_correlation", "plot_spectrum"])
def test_axes_of_ones_own_are_returned(runs, name):
    ds = runs[name.removeprefix("plot_")][0]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4))
    function = getattr(vp, name)
    assert function(ds, ax=right) is right
    assert right.has_data()
    assert not left.has_data()
    alone = function(ds)
    assert alone.figure is not figure


def test_panels_are_shown_by_pyplot(runs):
    axes = vp.plot_panels(runs["panels"][0])
    assert axes.shape == (2, 2)
    assert plt.get_fignums() == [axes[0, 0].figure.number]


def test_the_other_axes_of_ones_own(runs):
    _, axes = plt.subplots(1, 4, figsize=(12, 3))
    before, after = runs["before-after"]
    assert vp.plot_before_after(before, after, ax=axes[3]) is axes[3]
    assert [line.get_label() for line in axes[3].lines if line.get_gid() != "theory"][:2] == [
        "before: lecun_normal",
        "after: he_normal",
    ]
    assert vp.plot_model(runs["model"][0], ax=axes[0]) is axes[0]
    assert vp.plot_widths(runs["width"][0], ax=axes[1]) is axes[1]
    assert vp.plot_histogram(vp.select(runs["histogram"][0], init="he_normal"), ax=axes[2]) is axes[2]
    assert all(ax.has_data() for ax in axes)


@pytest.mark.parametrize("ending", [".pdf", ".svg", ".png"])
@pytest.mark.parametrize(
    "command", ["plot RUN --label 'he_normal=(He) \\ 50%'", "plot \u03c3 --save a.pdf", "plot ]]> <b> &amp;"]
)
def test_a_file_says_how_it_was_made(tmp_path, ending, command):
    spec = {"varprobe": "0", "command": command, "runs": [{"depth": [50], "act": ["relu"]}]}
    path = tmp_path / f"a{ending}"
    with paper():
        figure = Figure(figsize=(1, 1))
    save_figure(figure, path, spec=spec)
    assert origin_of(path) == spec
    first = path.read_bytes()
    save_figure(figure, path, spec=spec)
    assert path.read_bytes() == first


@pytest.mark.parametrize("name", ["a.pdf", "a.svg", "a.png", "a.pgf"])
@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"%PDF-1.4 /Keywords (\\377\\400) ", b"<svg/>", b"\x89PNG\r\n\x1a\n0000"]
)
def test_a_foreign_file_says_nothing(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidArgumentError, match="does not say how it was made"):
        origin_of(tmp_path / name)


def test_what_a_spec_holds_is_kept(runs):
    made = origin(["plot", "a b"], runs["match"][0])
    assert made["command"] == "varprobe plot 'a b'"
    assert made["runs"][0]["act"] == ["relu", "tanh"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "tiny"
    swept(depth=4, width=16, seeds=2, act=["relu", "tanh"], init=["he_normal", "lecun_normal"], batch=8, out=out)
    return out


def run(*arguments, capsys):
    code = outcome([str(a) for a in arguments])
    return code, *capsys.readouterr()


@pytest.mark.parametrize("kind", ["panels", "heatmap", "match"])
def test_the_command_draws_each_kind_and_tells_it(folder, tmp_path, kind, capsys):
    path = tmp_path / "a.pdf"
    code, out, _ = run("plot", folder, "--kind", kind, "--style", "icml", "--save", path, capsys=capsys)
    assert (code, out.strip()) == (0, str(path))
    code, out, _ = run("plot", "--from", path, capsys=capsys)
    assert code == 0
    assert f"varprobe plot {folder} --kind {kind} --style icml --save {path}" in out
    assert re.search(r"act +relu, tanh", out)


def test_a_selection_keeps_the_order_it_was_asked_for(folder, tmp_path, capsys):
    from varprobe.cli.plot import selected

    ds = selected(vp.open_run(folder), ["act=tanh,relu", "init=lecun_normal,he_normal"])
    assert list(zip(ds["act"].values.tolist(), ds["init"].values.tolist(), strict=True)) == [
        ("tanh", "lecun_normal"), ("tanh", "he_normal"), ("relu", "lecun_normal"), ("relu", "he_normal"),
    ]  # fmt: skip


WRONG = [
    (["--kind", "heatmp"], "--kind: unknown kind 'heatmp'; did you mean 'heatmap'?"),
    (["--style", "neurip"], "--style: unknown style 'neurip'; did you mean 'neurips'?"),
    (["--style", "neurips", "--columns", "2"], "--columns: neurips has one column"),
    (["--columns", "3"], "--columns: '3' is not 1 or 2"),
    (["--kind", "model"], "--kind: 'model' is not a figure of a sweep (allowed: variance, panels, heatmap,"),
    (["--kind", "correlation"], "--kind: no pairs were followed in this dataset"),
    (["--kind", "width"], "--kind: the width does not vary"),
    (["--kind", "phase"], "--kind: a phase diagram needs a run over a plane"),
    (["--kind", "match", "--quantity", "gradient"], "--quantity: does not go with --kind match"),
    (["--kind", "heatmap", "--no-theory"], "--no-theory: does not go with --kind heatmap"),
    (["--kind", "before-after"], "RUN: --kind before-after takes two, BEFORE and AFTER"),
    (["--from", "a.pdf"], "--from: draws nothing, so nothing else goes with it"),
    (["--save", "a.jpeg"], "--save: 'a.jpeg' must end in one of .pdf, .svg, .png, .pgf"),
]


@pytest.mark.parametrize(("options", "line"), WRONG)
def test_what_cannot_be_drawn_is_one_line(folder, options, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("plot", folder, *options, capsys=capsys)
    assert code == 2
    assert out == ""
    assert line in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("arguments", "line"), [
    ([], "RUN: missing (see --help)"),
    (["--from", "none.pdf"], "--from: there is no file 'none.pdf'"),
    (["--from", "none.doc"], "--from: 'none.doc' must end in one of .pdf, .svg, .png, .pgf"),
])  # fmt: skip
def test_a_run_or_a_file_is_needed(arguments, line, capsys):
    code, _, err = run("plot", *arguments, capsys=capsys)
    assert code == 2
    assert line in err


def test_help_lists_every_kind():
    from varprobe.cli.plot import command

    text = CliRunner().invoke(command, ["--help"]).output
    assert all(re.search(rf"^  {re.escape(kind)} +\w", text, re.MULTILINE) for kind in KINDS)
    assert max(map(len, text.splitlines())) <= 80


def test_latex_is_asked_for_where_it_is_not(monkeypatch):
    from varprobe.plots import style as module

    monkeypatch.setattr(module, "which", lambda name: None)
    with pytest.raises(InvalidArgumentError, match="latex and dvipng are not installed"), vp.style("icml", usetex=True):
        pass


def test_names_are_escaped_for_latex(monkeypatch):
    from varprobe.plots import style as module
    from varprobe.plots.texts import shown

    assert shown("he_normal 50% $x_1$") == "he_normal 50% $x_1$"
    monkeypatch.setattr(module, "which", lambda name: name)
    with vp.style("icml", usetex=True):
        assert shown("he_normal 50% $x_1$") == r"he\_normal 50\% $x_1$"
        assert sized(8.0) == 8.0


def test_a_dataset_from_disk_draws_the_same(runs, tmp_path):
    ds = runs["heatmap"][0]
    sha = save_dataset(tmp_path / "a.nc", ds)
    again = load_dataset(tmp_path / "a.nc", sha)
    xr.testing.assert_identical(ds, again)
    for name, one in (("a", ds), ("b", again)):
        save_figure(heatmap_figure(one), tmp_path / f"{name}.png", spec=json.loads(ds.attrs["spec"]))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def lost(configs, seeds=3):
    """A dataset in which the second net's signal is exactly zero from layer 1 on, and the third's no number from 4 on."""
    ds = dataset(configs, seeds=seeds)
    ds["activation_log10_var"][1, :, 1:] = -np.inf
    ds["gradient_log10_var"][1, :, :] = -np.inf
    ds["activation_log10_var"][2, :, 4:] = np.nan
    return ds


def test_a_lost_signal_is_seen_to_be_lost():
    ds = lost([{"init": name, "slope": 0.0, "depth": 8} for name in ("he_normal", "zeros", "own")])
    curves = read_curves(ds, "activation", "var", ["a", "b", "c"])
    assert [str(curve.lost) for curve in curves] == ["None", "0 at layer 1", "not finite at layer 4"]
    figure = heatmap_figure(ds)
    forward = figure.axes[0]
    (grey,) = [c for c in forward.collections if c.get_gid() == "lost"]
    cells = np.ma.filled(grey.get_array(), False).reshape(3, -1).astype(bool)
    assert cells.sum(axis=1).tolist() == [0, 8, 5]
    assert forward.get_xlim() == (-0.5, 8.5)
    shorter = heatmap_figure(dataset([{"init": "he_normal", "slope": 0.0, "depth": d} for d in (4, 8)]))
    assert not [c for c in shorter.axes[0].collections if c.get_gid() == "lost"]  # layers that a net has not
    panels = panels_figure(ds)
    assert [ax.get_xlim() for ax in panels.axes[:3]] == [(0.0, 8.0)] * 3


@pytest.mark.parametrize(
    "kind", ["heatmap", "panels", "correlation", "match", "spectrum", "histogram", "width", "model"]
)
def test_a_page_that_is_too_small_is_refused(runs, kind):
    with pytest.raises(InvalidArgumentError, match="inches are too small") as caught:
        draw(runs, kind, size=(1.0, 1.0))
    assert caught.value.option == "size"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"he_normal": "lecun_normal"}, "'lecun_normal' is already the name of another"),
        ({"he_normal": "x", "lecun_normal": "x"}, "'x' is already the name of another"),
        ({"he_normal": "\u65e5"}, "the fonts of figures have no"),
        ({"he_normal": "a\x1b"}, "the fonts of figures have no"),
        ({"he_normal": 3}, "3 is no text"),
        ("he_normal", "is no mapping"),
    ],
)
def test_labels_that_would_mislead_are_refused(runs, labels, message):
    with pytest.raises(InvalidArgumentError, match=message):
        heatmap_figure(runs["heatmap"][0], labels=labels)


def test_dollars_in_names_are_dollars(monkeypatch):
    ds = dataset([{"init": "my$x^$.py:f", "slope": 0.0}, {"init": "he_normal", "slope": -0.5}])
    written = [text for text, _ in texts_of(KINDS["variance"].draw(ds), monkeypatch)]
    assert any(r"my\$x^\$.py:f" in text for text in written)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda ds: ds.isel(config=[]), "no configuration left"),
        (lambda ds: ds.isel(layer=slice(1, 3)), "all are needed"),
        (lambda ds: ds.isel(layer=2), "no dimension 'layer'"),
    ],
)
@pytest.mark.parametrize("name", ["plot_spectrum", "plot_histogram", "plot_widths"])
def test_a_dataset_without_what_is_drawn_is_refused(runs, name, cut, message):
    with pytest.raises(InvalidArgumentError, match=message):
        getattr(vp, name)(cut(runs["spectrum"][0]))


def test_dims_in_any_order_draw_the_same(runs):
    ds = runs["spectrum"][0]
    one, other = (vp.plot_spectrum(d) for d in (ds, ds.transpose("layer", "seed", "config", ...)))
    for a, b in zip(one.lines, other.lines, strict=True):
        np.testing.assert_array_equal(a.get_xydata(), b.get_xydata())


@pytest.mark.parametrize("wrong", [None, 3, ["paper"], "papre"])
def test_names_of_any_type_are_looked_up(runs, wrong):
    with pytest.raises(InvalidArgumentError, match="unknown style"), vp.style(wrong):
        pass
    with pytest.raises(InvalidArgumentError, match="unknown quantity"):
        vp.plot_heatmap(runs["heatmap"][0], quantity=wrong)


@pytest.mark.parametrize("wrong", ["x", np.zeros(2)])
def test_axes_must_be_axes(runs, wrong):
    with pytest.raises(InvalidArgumentError, match="is not a pair of matplotlib axes"):
        vp.plot_heatmap(runs["heatmap"][0], ax=wrong)


@pytest.mark.parametrize("place", ["~nobody-here/x.png", "x" * 300 + ".png"])
def test_a_place_that_cannot_be_is_one_line(folder, place, capsys):
    code, _, err = run("plot", folder, "--save", place, capsys=capsys)
    assert code == 2
    assert err.startswith("varprobe: --save: ")
    assert err.count("\n") == 1
