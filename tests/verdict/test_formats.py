"""Number formats: their limits, the layers at which a signal leaves them, and the lines that figures draw for them."""

import json
import math

import ml_dtypes
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import varprobe as vp
from varprobe.nets.float_formats import FORMATS, TRAINED_IN
from varprobe.plots import caption, plot_variance, variance_figure
from varprobe.plots.curves import read_curves
from varprobe.plots.formats import near_limits, strokes
from varprobe.sweeps.assemble import variable_names
from varprobe.verdict.format_range import left_layers, left_sentence
from varprobe.verdict.measured import measured_nets

DTYPES = {"float8_e4m3": ml_dtypes.float8_e4m3fn, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
DEPTH, SEEDS = 30, 3
LIMITS = {
    f"{name} {end}": 2 * math.log10(FORMATS[name][i]) for name in TRAINED_IN for i, end in ((0, "max"), (1, "min"))
}


@pytest.mark.parametrize("name", [*DTYPES, "float32", "float64"])
def test_limits_are_those_of_the_dtypes(name):
    info = ml_dtypes.finfo(DTYPES.get(name, name))
    expected = [float(x) for x in (info.max, info.smallest_normal, info.smallest_subnormal)]
    assert list(FORMATS[name]) == expected


def made(*slopes, others=(), backward=True):
    """A dataset of a config for each slope: log10 RMS changes by it per layer, forward and back."""
    values = {name: np.zeros((len(slopes), SEEDS, DEPTH + 1)) for name in variable_names()}
    layers = np.arange(DEPTH + 1)
    for i, slope in enumerate(slopes):
        for name in ("preactivation", "activation", "gradient"):
            log = slope * (DEPTH - layers if name == "gradient" else layers) + (0.01 * np.arange(SEEDS))[:, None]
            values[f"{name}_log10_mean_square"][i] = values[f"{name}_log10_var"][i] = 2 * log
            values[f"{name}_log10_absmax"][i] = log + 0.5
    for name in values:
        if name.startswith(("preactivation", "gradient")):
            values[name][..., 0] = np.nan
        if name.startswith("gradient") and not backward:
            values[name][:] = np.nan
    coords = {"depth": DEPTH, "width": 16, "batch": 8, "arch": "plain", "act": "relu", "bias": "zeros", "norm": "none"}
    coords |= {"loss": "cotangent", "dtype": "float32"}
    return xr.Dataset(
        {name: (("config", "seed", "layer"), v) for name, v in (values | dict(others)).items()},
        {"seed": np.arange(SEEDS), "layer": layers, "init": ("config", [f"slope{s:g}" for s in slopes])}
        | {name: ("config", [value] * len(slopes)) for name, value in coords.items()},
        {"spec": json.dumps({"forward_only": not backward}), "range": "unbounded"},
    )


def beyond(name, value):
    """Whether a number is not among the normal numbers of a format, by casting it."""
    with np.errstate(over="ignore"):
        cast = abs(float(np.asarray(value, np.float64).astype(DTYPES[name])))
    return not math.isfinite(cast) or cast < float(ml_dtypes.finfo(DTYPES[name]).smallest_normal)


@pytest.mark.parametrize("slope", [-0.37, -0.11, 0.0, 0.09, 0.31, 1.7, -1.9])
def test_layers_are_those_where_a_cast_fails(slope):
    ds = made(slope)
    (net,) = measured_nets(ds)
    found = left_layers(net)
    assert list(found) == list(TRAINED_IN)
    for name, layers in found.items():
        for side, order in (("activation", range(DEPTH + 1)), ("gradient", range(DEPTH, 0, -1))):
            rms = 10 ** (ds[f"{side}_log10_mean_square"].values[0].mean(axis=0) / 2)
            absmax = 10 ** ds[f"{side}_log10_absmax"].values[0].max(axis=0)
            for what, sizes in (("rms", rms), ("absmax", absmax)):
                expected = next((layer for layer in order if beyond(name, sizes[layer])), None)
                assert layers[f"{side}_{what}"] == expected, (name, side, what)
    assert vp.diagnose(ds).rows[0]["formats"] == found


def test_what_is_not_measured_leaves_nothing():
    row = vp.diagnose(made(-0.4, backward=False)).rows[0]
    assert [row["formats"][name]["gradient_rms"] for name in TRAINED_IN] == [None] * 3
    assert row["formats"]["float8_e4m3"]["activation_rms"] == 5  # 10^(-0.4 x 5 + 0.01) < 2^-6 = 10^-1.81
    assert json.loads(json.dumps(row, allow_nan=False))["formats"] == row["formats"]


def test_preactivations_count_too():
    values = made(0.0).preactivation_log10_absmax.values
    values[0, 1, 7] = 4.82  # in one seed, above 65504
    ds = made(0.0, others={"preactivation_log10_absmax": values})
    row = vp.diagnose(ds).rows[0]
    expected = {"activation_rms": None, "activation_absmax": 7, "gradient_rms": None, "gradient_absmax": None}
    assert row["formats"]["float16"] == row["formats"]["float8_e4m3"] == expected
    assert set(row["formats"]["bfloat16"].values()) == {None}
    assert row["notes"] == ["leaves_float16(layer=7)"]


def test_sentence():
    none = dict.fromkeys(("activation_rms", "activation_absmax", "gradient_rms", "gradient_absmax"))
    left = {"float16": none | {"activation_rms": 31, "activation_absmax": 28, "gradient_rms": 4, "gradient_absmax": 6}}
    assert left_sentence(left) == "The signal leaves float16 at layer 28; the gradient float16 at 6."
    left["float8_e4m3"] = none | {"activation_rms": 9}
    assert left_sentence(left) == "The signal leaves float16 at layer 28, float8_e4m3 at 9; the gradient float16 at 6."
    assert left_sentence({"float16": none | {"gradient_rms": 3}}) == "The gradient leaves float16 at layer 3."
    assert left_sentence({"float16": none}) == left_sentence({}) == ""


def drawn(ax):
    """Label -> heights of the lines of formats in axes."""
    names = [text.get_text() for text in ax.texts if text.get_gid() == "format"]
    heights = {float(line.get_ydata()[0]) for line in ax.lines if line.get_gid() == "format"}
    assert {round(LIMITS[name], 9) for name in names} == {round(h, 9) for h in heights}
    return names


def overlaps(ax):
    """Pairs of texts in axes that stand on each other."""
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
    return [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


@pytest.mark.parametrize("size", [(5.5, 2.6), (3.25, 2.4)])
def test_lines_are_drawn_where_curves_come_near(size):
    ds = made(-0.35, 0.0)  # RMS down to 10^-10.5
    figure = variance_figure(ds, size=size)
    for ax in figure.axes[:2]:
        assert sorted(drawn(ax)) == ["float16 min", "float8_e4m3 min"]
        assert not overlaps(ax)
    without = variance_figure(ds, size=size, formats=False)
    assert not any(drawn(ax) for ax in without.axes)
    for ax, plain in zip(figure.axes, without.axes, strict=True):
        assert ax.get_ylim() == plain.get_ylim() and ax.get_xlim() == plain.get_xlim()
    assert "smallest normal (min)" in caption(ds)


def test_no_line_where_nothing_comes_near():
    assert not any(drawn(ax) for ax in variance_figure(made(0.0, 0.005)).axes)  # RMS from 1 to 1.4
    assert "smallest normal (min)" not in caption(made(0.0, 0.005))


@pytest.mark.parametrize("end, near", [(-0.83, True), (-0.80, False)])
def test_a_decade_is_near_and_more_is_not(end, near):
    """float8_e4m3 has normal numbers down to 10^-1.806; the mean over seeds is 0.01 above `end`."""
    (curve,) = read_curves(made(end / DEPTH), "activation", "var", ["a"])
    assert ("float8_e4m3 min" in near_limits([curve], (-8, 8))) is near
    assert "float8_e4m3 min" not in near_limits([curve], (-3, 8))  # beyond the axis


def test_lines_of_other_statistics_and_axes():
    ds = made(-0.35)
    for statistic, power in (("mean_square", 2), ("absmax", 1)):
        ax = plot_variance(ds, "activation", ax=Figure(figsize=(6, 4)).subplots(), statistic=statistic)
        heights = {round(float(line.get_ydata()[0]), 6) for line in ax.lines if line.get_gid() == "format"}
        assert heights == {round(power * math.log10(2.0**-e), 6) for e in (6, 14)}
    ax = plot_variance(ds, "activation", ax=Figure().subplots(), formats=False)
    assert not drawn(ax)


def test_lines_pause_where_something_is_written():
    assert strokes(0, 10, []) == [(0, 10)]
    assert strokes(0, 10, [(6, 8), (2, 3), (2.5, 4)]) == [(0, 2), (4, 6), (8, 10)]
    assert strokes(0, 10, [(-1, 2), (9, 12)]) == [(2, 9)]
    assert strokes(0, 10, [(-1, 11)]) == []


def test_crowded_panels_drop_labels_and_never_overlap():
    slopes = [-5.0, -1.0, -0.8, -0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 3.0]
    for full_range in (False, True):
        for ax in variance_figure(made(*slopes), size=(5.5, 2.4), full_range=full_range).axes[:2]:
            labels = [text.get_window_extent() for text in ax.texts if text.get_gid() == "format"]
            others = [text.get_window_extent() for text in ax.texts if text.get_text() and text.get_gid() != "format"]
            assert drawn(ax)
            for i, box in enumerate(labels):
                assert not any(box.overlaps(other) for other in [*others, *labels[:i]])
                assert ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1 + 1
