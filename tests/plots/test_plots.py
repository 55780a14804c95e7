"""The figures, by their artists: what stands where, in which color, with which words."""

import json
import re
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm, to_hex, to_rgb

from varprobe.errors import InvalidArgumentError, MachineError
from varprobe.plots import caption, plot_variance, save_figure, variance_figure
from varprobe.plots.curves import read_curves
from varprobe.plots.facets import varying
from varprobe.plots.groups import wrapped
from varprobe.plots.labels import spread
from varprobe.plots.ladder import find_ladder
from varprobe.plots.limits import visible_range
from varprobe.plots.logaxis import ExponentLocator, MinorExponentLocator, as_power
from varprobe.plots.style import PALETTE, Look, looks, luminance

HALF, SIXTH = np.log10(1 / 2), np.log10(1 / 6)
SLOPES = {  # decades of variance a layer, in ReLU nets of width 512
    "he_normal": 0.0,
    "he_uniform": 0.0,
    "glorot_normal": HALF,
    "glorot_uniform": HALF,
    "lecun_normal": HALF,
    "orthogonal": HALF,
    "normal(std=0.01)": np.log10(0.0256),
    "uniform(limit=1)": np.log10(512 / 6),
    "uniform(limit=0.01)": np.log10(512e-4 / 6),
    "normal(mean=0.02,std=0.05)": 2.02,
    "torch_default": SIXTH,
}
ALIKE = ({"he_normal", "he_uniform"}, {"glorot_normal", "glorot_uniform", "lecun_normal", "orthogonal"})
OUTSIDE = {"normal(std=0.01)", "uniform(limit=1)", "uniform(limit=0.01)", "normal(mean=0.02,std=0.05)"}


def dataset(configs, seeds=8, width=512):
    """A dataset of straight lines in log10, as a sweep of ReLU nets has, with noise that grows as sqrt(layer)."""
    layers = max(c.get("depth", 50) for c in configs) + 1
    shape = (len(configs), seeds, layers)
    quantities = ("activation", "preactivation", "gradient", "weight_gradient")
    every = {f"{q}_log10_{s}": np.full(shape, np.nan) for q in quantities for s in ("var", "mean_square", "absmax")}
    rng = np.random.default_rng(0)
    for i, config in enumerate(configs):
        depth = config.get("depth", 50)
        layer, walk = np.arange(depth + 1), rng.normal(size=(seeds, depth + 1)).cumsum(axis=1) * 0.04
        for name, values in every.items():
            backward = "gradient" in name
            values[i, :, : depth + 1] = config["slope"] * (depth - layer if backward else layer)
            values[i, :, : depth + 1] += walk[:, ::-1] / 2 if backward else walk
            values[i, :, :1] = values[i, :, :1] if name.startswith("activation") else np.nan
    base = {"arch": "plain", "act": "relu", "init": "he_normal", "bias": "zeros", "norm": "none", "depth": 50,
            "width": width, "batch": 32, "loss": "cotangent", "dtype": "float32"}  # fmt: skip
    coords = {name: ("config", [config.get(name, value) for config in configs]) for name, value in base.items()}
    return xr.Dataset(
        {name: (("config", "seed", "layer"), values) for name, values in every.items()},
        coords | {"seed": np.arange(seeds), "layer": np.arange(layers)},
        {"data_description": "N(0,1)", "loss": "cotangent"},
    )


def inits(*names, **more):
    return [{"init": name, "slope": SLOPES[name], **more} for name in names]


def scales(values):
    return [
        {"init": f"variance_scaling(scale={v:.6g},mode=fan_in,distribution=normal)", "slope": np.log10(v / 2)}
        for v in values
    ]


@pytest.fixture(scope="module")
def default():
    return dataset(inits(*SLOPES))


@pytest.fixture(scope="module")
def figure(default):
    return variance_figure(default)


@pytest.fixture(autouse=True)
def settings_unchanged():
    """No test may leave matplotlib's settings other than it found them."""
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before


def of(ax, gid):
    return [artist for artist in ax.get_children() if artist.get_gid() == gid]


def texts(fig, gid):
    return [text for ax in fig.axes for text in of(ax, gid)]


def curves(ax):
    return [line for line in ax.lines if line.get_gid() is None]


def require_clean(fig):
    """Texts lie in the figure, are readable, and labels and notes do not overlap, nor do axes' own texts hit them."""
    fig.draw_without_rendering()
    for ax in fig.axes:
        box = ax.get_tightbbox()
        assert box.x0 >= -0.5 and box.y0 >= -0.5 and box.x1 <= fig.bbox.x1 + 0.5 and box.y1 <= fig.bbox.y1 + 0.5
    written = texts(fig, "label") + texts(fig, "note")
    ticks = [t for ax in fig.axes for t in (*ax.get_xticklabels(), *ax.get_yticklabels()) if t.get_text()]
    for text in written + ticks:
        assert text.get_fontsize() >= 6
    boxes = [(t.get_text(), t.get_window_extent().padded(-0.5)) for t in written]
    names = [(ax.get_ylabel(), ax.yaxis.label.get_window_extent()) for ax in fig.axes]
    others = [(t.get_text(), t.get_window_extent().padded(-0.5)) for t in ticks] + names
    for (a, box), (b, other) in [*combinations(boxes, 2), *((p, q) for p in boxes for q in others)]:
        assert not box.overlaps(other), (a, b)


# the default sweep


def test_every_config_is_a_line_of_seed_means_in_a_band_of_one_deviation(default, figure):
    for ax, quantity in zip(figure.axes, ("activation", "gradient"), strict=True):
        values = default[f"{quantity}_log10_var"]
        assert [line.get_label() for line in curves(ax)] == list(SLOPES)
        for i, line in enumerate(curves(ax)):
            np.testing.assert_allclose(line.get_ydata(), values[i].mean("seed"), rtol=1e-12)
            np.testing.assert_array_equal(line.get_xdata(), values.layer)
        bands = [c for c in ax.collections if isinstance(c, PolyCollection)]
        assert len(bands) == 11
        top = (values[0].mean("seed") + values[0].std("seed", ddof=1)).values
        vertices = bands[0].get_paths()[0].vertices
        for layer in (5, 30, 50):
            assert vertices[vertices[:, 0] == layer, 1].max() == pytest.approx(top[layer])


def test_gradients_start_at_layer_one_and_activations_at_the_input(figure):
    activation, gradient = figure.axes
    assert activation.get_xlim() == (0, 50) and gradient.get_xlim() == (1, 50)
    assert gradient.get_xticks()[0] == 1
    assert activation.yaxis.get_label_position() == "left" and gradient.yaxis.get_label_position() == "right"
    assert "activation variance" in activation.get_ylabel() and r"\mathrm{Var}[h_\ell]" in activation.get_ylabel()
    assert "gradient variance" in gradient.get_ylabel() and r"\mathcal{L}" in gradient.get_ylabel()


def test_the_range_follows_the_curves_that_are_not_extreme(figure):
    for ax in figure.axes:
        low, high = ax.get_ylim()
        assert low < -39.5 and high > 1  # torch_default ends at 10^-39
        assert low > -60 and high < 20  # the others at 10^-80 and 10^97
        arrows, notes = of(ax, "exit"), of(ax, "note")
        assert len(arrows) == len(notes) == len(OUTSIDE)
        layer = 50 if ax is figure.axes[0] else 1
        said = {note.get_text().replace("\n", " ") for note in notes}
        for exponent in (-80, 97, -103):
            assert any(f"$10^{{{e}}}$ at layer {layer}" in said for e in near(exponent))


def near(exponent):
    return range(exponent - 3, exponent + 4)  # noise and, for gradients, one layer less


def test_arrows_stand_where_the_curves_leave(default, figure):
    ax = figure.axes[0]
    curve = read_curves(default, "activation", "var", list(SLOPES))[list(SLOPES).index("normal(std=0.01)")]
    low, _ = ax.get_ylim()
    crossing = np.interp(-low, -curve.mean, curve.layer)
    tips = [arrow.xy[0] * 50 for arrow in of(ax, "exit") if arrow.xy[1] < 0.5]
    assert min(abs(tip - crossing) for tip in tips) < 0.5


def test_notes_stand_near_the_border_that_the_curves_cross(figure):
    for ax in figure.axes:
        for note in of(ax, "note"):
            upward = "-" not in note.get_text()
            height = note.get_position()[1]
            assert (1 - height if upward else height) < 0.2


def test_curves_that_coincide_share_label_and_look_and_others_do_not(figure):
    labels = [set(re.split(r",(?![^(]*\))", text.get_text().replace("\n", ""))) for text in texts(figure, "label")]
    assert len(labels) == 7
    for group in ALIKE:
        assert group in labels
    styles = {line.get_label(): (line.get_color(), line._dash_pattern[1]) for line in curves(figure.axes[0])}
    for one, other in combinations(SLOPES, 2):
        together = any({one, other} <= group for group in ALIKE)
        assert (styles[one] == styles[other]) == together
    assert styles == {line.get_label(): (line.get_color(), line._dash_pattern[1]) for line in curves(figure.axes[1])}


def test_labels_are_colored_as_their_curves_in_the_order_of_the_ends(figure):
    labels = sorted(texts(figure, "label"), key=lambda text: -text.get_position()[1])
    first = [re.split(r",(?![^(]*\))", text.get_text().replace("\n", ""))[0] for text in labels]
    assert first == sorted(first, key=lambda name: -SLOPES[name])
    colors = {line.get_label(): line.get_color() for line in curves(figure.axes[0])}
    for name, text in zip(first, labels, strict=True):
        assert text.get_color() == Look(colors[name]).ink


def test_nothing_overlaps_or_is_cut_off(figure):
    require_clean(figure)


def test_full_range_shows_all_and_needs_no_arrows(default):
    fig = variance_figure(default, full_range=True)
    for ax in fig.axes:
        assert ax.get_ylim()[0] < -103 and ax.get_ylim()[1] > 98
        assert not of(ax, "exit") and not of(ax, "note")
    require_clean(fig)


def test_labels_can_be_renamed(default):
    ax = plot_variance(default, labels={"he_normal": "He (ours)", "torch_default": r"$\sigma$"})
    said = "".join(text.get_text() for text in of(ax, "label"))
    assert "He (ours)" in said and r"$\sigma$" in said and "he_normal" not in said


# one panel


def test_plot_variance_returns_its_axes_and_takes_those_given(default):
    assert plot_variance(default).get_title() == ""
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
    edges = left.get_position().x1, right.get_position().x1
    assert plot_variance(default, "activation", left) is left
    assert plot_variance(default, "gradient", right) is right
    assert left.get_position().x1 < edges[0]
    assert len(curves(left)) == len(curves(right)) == 11
    require_clean(fig)


def test_axes_with_a_layout_engine_make_room_themselves():
    fig, ax = plt.subplots(figsize=(3.25, 2.4), layout="constrained")
    plot_variance(dataset(inits("he_normal", "glorot_normal", "normal(std=0.01)")), "activation", ax)
    require_clean(fig)


@pytest.mark.parametrize(("statistic", "words"), [("mean_square", "mean square"), ("absmax", "largest magnitude")])
def test_other_statistics(statistic, words):
    ds = dataset(inits("he_normal", "glorot_normal"))
    ax = plot_variance(ds, "preactivation", statistic=statistic)
    assert f"preactivation {words}" in ax.get_ylabel()
    np.testing.assert_allclose(
        curves(ax)[1].get_ydata()[1:], ds[f"preactivation_log10_{statistic}"][1, :, 1:].mean("seed")
    )


def test_what_was_not_measured_is_refused_or_by_default_left_out(default):
    forward = default.copy()
    forward["gradient_log10_var"] = default.gradient_log10_var * np.nan
    assert len(variance_figure(forward.isel(config=[0])).axes) == 1
    with pytest.raises(InvalidArgumentError, match="gradient_log10_var was not measured.*forward-only"):
        plot_variance(forward)
    with pytest.raises(InvalidArgumentError, match="unknown quantity 'gradients'; did you mean 'gradient'"):
        plot_variance(default, "gradients")
    with pytest.raises(InvalidArgumentError, match="unknown statistic 'std'"):
        plot_variance(default, statistic="std")


# few curves, short nets, zeros


def test_one_curve_alone_and_one_seed_alone():
    fig = variance_figure(dataset(inits("he_normal"), seeds=1))
    for ax in fig.axes:
        assert not ax.collections and len(curves(ax)) == 1
        assert ax.get_ylim()[1] - ax.get_ylim()[0] >= 2
    assert [text.get_text() for text in texts(fig, "label")] == ["he_normal"]
    require_clean(fig)


def test_a_config_without_its_dimension_draws():
    ds = dataset(inits("he_normal", "glorot_normal")).isel(config=1)
    assert curves(plot_variance(ds))[0].get_label() == "glorot_normal"


@pytest.mark.parametrize("depth", [1, 2])
def test_short_nets_have_markers(depth):
    fig = variance_figure(dataset(inits("he_normal", "glorot_normal", depth=depth)))
    for ax in fig.axes:
        assert all(line.get_marker() == "o" for line in curves(ax))
        assert set(ax.get_xticks()) <= {0, 1, 2}
    require_clean(fig)


def test_a_signal_that_becomes_zero_ends_in_a_cross_that_says_where():
    ds = dataset([*inits("he_normal", "glorot_normal"), {"init": "zeros", "slope": 0.0}])
    ds.activation_log10_var[2, :, 1:] = -np.inf
    ds.gradient_log10_var[2, :, 1:] = -np.inf
    ds.activation_log10_var[1, :3, 40:] = -np.inf
    fig = variance_figure(ds)
    forward, backward = ({note.get_text().replace("\n", " ") for note in of(ax, "note")} for ax in fig.axes)
    assert forward == {"0 at layer 1", "0 at layer 40 (3 of 8 seeds)"}
    assert backward == {"0 at layer 50"}
    for ax in fig.axes:
        assert np.isfinite(ax.get_ylim()).all() and ax.get_ylim()[0] > -20
        assert not any(np.isinf(line.get_ydata()).any() for line in curves(ax))
    crosses = [line.get_xdata()[0] for line in of(fig.axes[0], "loss") if line.get_marker() == "X"]
    assert sorted(crosses) == [1, 40]
    require_clean(fig)
    assert "cross marks" in caption(ds)


def test_infinities_and_seeds_that_never_ran_do_not_break_the_limits():
    ds = dataset(inits("he_normal", "glorot_normal"))
    ds.activation_log10_var[0, :, 30:] = np.inf
    ds.activation_log10_var[1, 5:] = np.nan
    fig = variance_figure(ds)
    assert [note.get_text() for note in of(fig.axes[0], "note")] == [r"$\infty$ at layer 30"]
    expected = ds.activation_log10_var[1, :5].mean("seed")
    np.testing.assert_allclose(curves(fig.axes[0])[1].get_ydata(), expected)
    ds.activation_log10_var[1] = np.nan  # a config of which nothing is there yet
    require_clean(variance_figure(ds))


# several coordinates


def test_a_second_coordinate_makes_rows_in_the_same_colors(default):
    configs = inits(*list(SLOPES)[:8]) + inits(*list(SLOPES)[:8], act="tanh")
    fig = variance_figure(dataset(configs))
    assert len(fig.axes) == 4
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["relu", "", "tanh", ""]
    assert fig.get_size_inches()[0] == 5.5
    assert len({ax.get_ylim() for ax in fig.axes}) == 1
    colors = [{line.get_label(): line.get_color() for line in curves(ax)} for ax in fig.axes]
    assert all(c == colors[0] for c in colors)
    assert [bool(ax.get_xlabel()) for ax in fig.axes] == [False, False, True, True]
    require_clean(fig)


def test_depths_make_rows_and_padding_is_not_drawn():
    fig = variance_figure(dataset([c for d in (10, 50, 100) for c in inits("he_normal", "glorot_normal", depth=d)]))
    assert [ax.get_title(loc="left") for ax in fig.axes[::2]] == ["depth 10", "depth 50", "depth 100"]
    assert [ax.get_xlim()[1] for ax in fig.axes[::2]] == [10, 50, 100]
    for ax, depth in zip(fig.axes[::2], (10, 50, 100), strict=True):
        assert all(np.isfinite(line.get_ydata()).sum() == depth + 1 for line in curves(ax))
    require_clean(fig)


def test_depth_alone_gets_the_colors_and_three_coordinates_join_in_the_title():
    configs = inits("he_normal", depth=5) + inits("he_normal", depth=9)
    assert [line.get_label() for line in curves(plot_variance(dataset(configs)))] == ["depth 5", "depth 9"]
    ds = dataset([c | {"act": a, "width": w} for c in configs[:1] + inits("glorot_normal", depth=9)
                  for a in ("relu", "tanh") for w in (64, 128)])  # fmt: skip
    ds["batch"] = ("config", np.where(ds.width == 64, 64, 32))  # follows from the width: no setting of its own
    assert varying(ds) == ["init", "act", "depth", "width"]
    titles = [ax.get_title(loc="left") for ax in variance_figure(ds, quantities=["activation"]).axes]
    assert "tanh, depth 9, width 128" in titles and len(titles) == 8


def test_more_than_a_page_shows_is_refused_with_the_way_out():
    rows = dataset([c for w in range(11) for c in inits("he_normal", "glorot_normal", width=w, depth=3)])
    with pytest.raises(InvalidArgumentError, match="11 rows.*at most 10.*--select width=0"):
        variance_figure(rows)
    many = dataset([{"init": f"mine.py:f{'x' * i}", "slope": 0.0, "depth": 3} for i in range(25)])
    for draw in (variance_figure, plot_variance):
        with pytest.raises(InvalidArgumentError, match="25 curves.*at most 24.*--select init="):
            draw(many)


# ladders


def test_a_long_ladder_has_a_colorbar_in_place_of_labels():
    fig = variance_figure(dataset(scales(np.linspace(0.5, 4, 32))))
    *panels, bar = fig.axes
    assert len(panels) == 2 and bar.get_title() == r"$\sigma_w^2$" and bar.get_ylim() == (0.5, 4.0)
    assert not texts(fig, "label")
    shades = [luminance(to_rgb(line.get_color())) for line in curves(panels[0])]
    assert (np.diff(shades) > 0).all()
    require_clean(fig)


def test_a_short_ladder_is_labelled_with_its_numbers_and_a_wide_one_by_its_logarithm():
    fig = variance_figure(dataset(scales([1, 1.5, 2, 2.5, 3])))
    wanted = [rf"$\sigma_w^2$ = {v}" for v in ("1", "1.5", "2", "2.5", "3")]
    assert [line.get_label() for line in curves(fig.axes[0])] == wanted
    require_clean(fig)
    ladder = find_ladder("init", [c["init"] for c in scales(np.geomspace(0.1, 10, 9))])
    assert ladder.symbol == r"$\sigma_w^2$" and isinstance(ladder.norm, LogNorm)
    assert not isinstance(find_ladder("depth", [10, 20, 30]).norm, LogNorm)
    assert find_ladder("init", ["normal(std=0.1)", "normal(std=0.2)"]).symbol == "std"
    assert find_ladder("bias", ["normal(var=0.1)", "normal(var=0.2)"]).symbol == r"$\sigma_b^2$"
    for other in (["relu", "relu6"], ["normal(std=1)", "uniform(limit=1)"], ["elu(a=1,b=1)", "elu(a=2,b=2)"]):
        assert find_ladder("init", other) is None


# sizes


def test_a_narrow_figure_has_a_legend_above_and_one_too_small_is_refused(default):
    fig = variance_figure(dataset(inits("he_normal", "glorot_normal", "normal(std=0.01)")), size=(3.25, 2.4))
    assert tuple(fig.get_size_inches()) == (3.25, 2.4)
    (legend,) = fig.legends
    assert [text.get_text() for text in legend.get_texts()] == ["he_normal", "glorot_normal", "normal(std=0.01)"]
    assert not texts(fig, "label")
    fig.draw_without_rendering()
    assert legend.get_window_extent().y0 >= max(ax.bbox.y1 for ax in fig.axes)
    require_clean(fig)
    with pytest.raises(InvalidArgumentError, match=r"7 curves cannot be named in 2 x 1.2 inches"):
        variance_figure(default, size=(2, 1.2))


def test_many_curves_with_ends_close_together_are_labelled_apart():
    rng = np.random.default_rng(1)
    configs = [
        {"init": f"mine.py:init{'abcdefghijklmno'[i]}", "slope": s} for i, s in enumerate(rng.normal(size=14) / 40)
    ]
    fig = variance_figure(dataset(configs))
    assert sum(len(text.get_text().split(",\n")) for text in texts(fig, "label")) == 14
    require_clean(fig)


# parts


def test_powers_are_written_as_on_a_log_axis():
    assert [as_power(v) for v in (97.0, -80.4, 0.0, 5.0, -0.30103)] == [
        "$10^{97}$", "$10^{-80}$", "$10^{0}$", "$10^{5}$", r"$5\times10^{-1}$",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "ticks", "minor"),
    [
        (-80, 120, [-50, 0, 50, 100], [-80, -70, -60, -40]),
        (-42, 9, [-40, -30, -20, -10, 0], [-35, -25, -15, -5, 5]),
        (-15.5, 0.6, [-15, -10, -5, 0], [-14, -13, -12, -11]),
        (-1.2, 0.9, [-1, 0], [np.log10(0.07), np.log10(0.08), np.log10(0.09), np.log10(0.2)]),
    ],
)
def test_ticks_stand_at_whole_exponents(low, high, ticks, minor):
    assert ExponentLocator().tick_values(low, high) == ticks
    np.testing.assert_allclose(MinorExponentLocator().tick_values(low, high)[: len(minor)], minor)


def test_spread_keeps_order_and_distance_and_moves_least():
    apart = spread(np.array([10.0, 50.0]), np.array([8.0, 8.0]), 0.0, 100.0)
    np.testing.assert_allclose(apart, [10, 50])
    np.testing.assert_allclose(spread(np.array([50.0, 50.0, 50.0]), np.full(3, 10.0), 0.0, 100.0), [40, 50, 60])
    np.testing.assert_allclose(spread(np.array([0.0, 0.0, 90.0]), np.full(3, 10.0), 0.0, 100.0), [5, 15, 90])
    rng = np.random.default_rng(0)
    for _ in range(20):
        heights = rng.uniform(2, 9, size=9)
        centers = spread(np.sort(rng.uniform(-5, 105, size=9)), heights, 0.0, 100.0)
        assert (np.diff(centers) >= (heights[1:] + heights[:-1]) / 2 - 1e-9).all()
        assert centers[0] >= heights[0] / 2 - 1e-9 and centers[-1] <= 100 - heights[-1] / 2 + 1e-9


def test_which_curves_are_extreme():
    def shown(*ends):
        ds = dataset([{"init": f"i({e})", "slope": e / 50} for e in ends], seeds=1)
        low, high = visible_range(read_curves(ds, "activation", "var", [""] * len(ends)))
        return [low <= e <= high for e in ends]

    assert shown(0, -10, 12) == [True] * 3  # few decades: all
    assert shown(0, -15, -39, 97) == [True, True, True, False]
    assert shown(0, -80, 97) == [True, False, False]
    assert shown(-80, 97) == [True, True]  # all are extreme: none is
    assert shown(97) == [True]


def test_names_break_where_call_forms_do():
    assert wrapped("normal(mean=0.02,std=0.05)", 20) == ["normal(mean=0.02,", "std=0.05)"]
    assert wrapped("he_normal", 4) == ["he_normal"]


def test_looks_differ_and_their_ink_is_readable():
    many = looks(24)
    assert len({(look.color, look.dashes) for look in many}) == 24
    for color in PALETTE:
        assert 1.05 / (luminance(to_rgb(Look(color).ink)) + 0.05) >= 4.49
    assert to_hex(Look("#000000").ink) == "#000000"


# files


@pytest.fixture(scope="module")
def twins():
    """Two figures of the same data, and one of others."""
    ds = dataset(inits("he_normal", "normal(std=0.01)"), seeds=3)
    return variance_figure(ds), variance_figure(ds), variance_figure(ds.isel(seed=[0, 1]))


@pytest.mark.parametrize("ending", ["pdf", "svg", "png"])
def test_the_same_data_give_the_same_bytes(tmp_path, twins, ending):
    paths = [tmp_path / f"{name}.{ending}" for name in ("a", "b", "other")]
    for twin, path in zip(twins, paths, strict=True):
        save_figure(twin, path, spec={"depth": 50, "act": "relu"})
    first, second, other = (path.read_bytes() for path in paths)
    assert first == second != other
    assert sorted(tmp_path.iterdir()) == paths
    assert b"varprobe" in first and b"relu" in first and b"Date" not in first.replace(b"dc:date", b"")
    if ending == "pdf":
        assert b"FontFile2" in first and b"/Type3" not in first
    if ending == "svg":
        assert b"<text" not in first
    if ending == "png":
        assert plt.imread(tmp_path / "a.png").shape[:2] == (780, 1650)


def test_files_that_cannot_be_are_refused_and_none_is_left_half_written(tmp_path, monkeypatch):
    fig = variance_figure(dataset(inits("he_normal"), seeds=1))
    with pytest.raises(InvalidArgumentError, match=r"unknown figure format '.jpg'.*\.pdf, \.svg, \.png"):
        save_figure(fig, tmp_path / "a.jpg")
    with pytest.raises(InvalidArgumentError, match="no folder"):
        save_figure(fig, tmp_path / "nowhere" / "a.pdf")
    target = tmp_path / "a.pdf"
    target.write_bytes(b"old")

    def full(file, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fig, "savefig", full)
    with pytest.raises(MachineError, match="No space left"):
        save_figure(fig, target)
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


def test_the_callers_style_does_not_change_the_figure(tmp_path):
    ds = dataset(inits("he_normal", "glorot_normal"), seeds=2)
    save_figure(variance_figure(ds), tmp_path / "a.png")
    with plt.style.context(["dark_background", {"font.size": 20, "savefig.bbox": "tight", "axes.grid": True}]):
        save_figure(variance_figure(ds), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


# the caption


def test_the_caption_says_what_is_needed_and_is_latex(default):
    text = caption(default)
    facts = ["depth 50", "width 512", r"\texttt{relu}", r"\texttt{he\_normal}", "N(0,1)", "batches of 32", "8 seeds"]
    facts += [r"\texttt{float32}", "cotangent", "standard deviation", "(left)", "(right)", "arrow"]
    for fact in facts:
        assert fact in text, fact
    assert text[0].isupper() and text.endswith(".") and "\n\n" not in text
    outside_math = re.sub(r"\$[^$]*\$", "", text)
    assert not re.search(r"(?<!\\)[_%&#^]", outside_math)
    assert text.count("{") == text.count("}") and text.count("$") % 2 == 0
    odd = caption(dataset([{"init": r"my_{file}.py:f%\x", "slope": 0.0, "loss": "mse"}], seeds=1))
    assert r"my\_\{file\}.py:f\%\textbackslash{}x" in odd and "mean squared error" in odd and "single seed" in odd


def test_the_caption_of_a_sweep_of_more(default):
    configs = [c | {"act": a} for c in scales(np.linspace(1, 3, 20)) for a in ("relu", "gelu")]
    text = caption(dataset(configs))
    assert r"20 values of $\sigma_w^2$ from 1 to 3" in text and "Rows, from top to bottom: relu; gelu." in text
    assert "arrow" not in caption(dataset(inits("he_normal")))
    assert "depths 5 and 9" in caption(dataset(inits("he_normal", depth=5) + inits("he_normal", depth=9)))


def test_the_spec_in_a_png_is_json(tmp_path):
    from PIL import Image

    save_figure(variance_figure(dataset(inits("he_normal"), seeds=1)), tmp_path / "a.png", spec={"b": 1, "a": [2]})
    assert json.loads(Image.open(tmp_path / "a.png").text["spec"]) == {"a": [2], "b": 1}
