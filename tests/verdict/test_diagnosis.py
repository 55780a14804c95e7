"""Verdicts: factors and intervals of known slopes, words at their thresholds, every flag, note and advice."""

import json
import math
import re
from functools import cache

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import varprobe as vp
from varprobe.sweeps.assemble import variable_names
from varprobe.sweeps.sweep import sweep
from varprobe.verdict.flags import note_sentence
from varprobe.verdict.rates import interval, rate, slopes
from varprobe.verdict.table import sheet_of
from varprobe.verdict.target_variance import target
from varprobe.verdict.thresholds import VERDICTS, threshold

pytestmark = pytest.mark.filterwarnings("error")

DEPTH, SEEDS, WIDTH = 20, 5, 16
FIELDS = [
    *("arch", "act", "init", "bias", "norm", "depth", "width", "batch", "seeds", "loss", "dtype"),
    *("activation_factor", "activation_factor_ci95", "gradient_factor", "gradient_factor_ci95"),
    *("theory_activation_factor", "theory_activation_z", "theory_gradient_factor", "theory_gradient_z"),
    *("forward", "backward", "certain", "flags", "notes", "formats", "healthy", "reason", "advice"),
]
"""The contract's, in its order."""

ORDINARY = {
    "mean_over_rms": 0.1,
    "zero_fraction": 0.3,
    "dead_unit_fraction": 0.1,
    "saturated_fraction": 0.2,
    "saturated_nonzero_fraction": 0.2,
    "equal_unit_fraction": 0.05,
    "correlation": 0.5,
    "log10_absmax": 0.6,
}
"""Values of a net that nothing is wrong with; log10 of mean squares are 0."""


def made(forward=0.0, backward=0.0, *, depth=DEPTH, seeds=SEEDS, width=WIDTH, spec=None, **others):
    """A dataset of one config: `forward` and `backward` are log10 mean squares, (layers 1..L) or (seeds, layers 1..L).

    Other variables are given by name, as (layers 0..L,) or a number.
    """
    shape = (1, seeds, depth + 1)
    variables = {}
    for name in variable_names():
        ordinary = next((v for end, v in ORDINARY.items() if name.endswith(end)), 0.0)
        variables[name] = np.full(shape, float(ordinary))
        if name.startswith(("preactivation", "gradient", "weight")):
            variables[name][..., 0] = np.nan
    variables["activation_log10_mean_square"][0, :, 1:] = forward
    variables["preactivation_log10_mean_square"][0, :, 1:] = forward
    variables["gradient_log10_mean_square"][0, :, 1:] = backward
    attrs = {"spec": json.dumps(spec or {}), "range": "unbounded", "data_description": "N(0,1)"}
    coordinates = {
        "arch": "plain",
        "act": "tanh",
        "init": "he_normal",
        "bias": "zeros",
        "norm": "none",
        "depth": depth,
        "width": width,
        "batch": 8,
        "loss": "cotangent",
        "dtype": "float32",
    }
    for name, value in others.items():
        if name in attrs:
            attrs[name] = value
        elif name in coordinates:
            coordinates[name] = value
        else:
            variables[name][0] = value
    return xr.Dataset(
        {name: (("config", "seed", "layer"), v) for name, v in variables.items()},
        {"seed": np.arange(seeds), "layer": np.arange(depth + 1)}
        | {name: ("config", [value]) for name, value in coordinates.items()},
        attrs,
    )


OWN = {"act": "my_act", "weight_log10_mean_square": -math.log10(WIDTH)}
"""An activation that only its writer knows, under weights with sigma_w2 = 1."""


def row_of(*args, **others):
    (row,) = vp.diagnose(made(*args, **others)).rows
    json.dumps(row, allow_nan=False)
    return row


def line(slope, depth=DEPTH):
    """log10 mean squares of layers 1..L that change by `slope` a layer."""
    return slope * np.arange(depth)


def at(layer, value, ordinary=0.1, depth=DEPTH):
    """(layers 0..L) with one value that differs."""
    return np.where(np.arange(depth + 1) == layer, value, ordinary)


def test_fields_are_those_of_the_contract():
    assert list(row_of()) == FIELDS
    edges = made().assign_coords(init_first=("config", ["zeros"]), init_last=("config", [""]))
    assert set(vp.diagnose(edges).rows[0]) == {*FIELDS, "init_first", "init_last"}


def test_factors_and_intervals_are_those_of_students_t():
    rng = np.random.default_rng(1)
    forward = np.array([line(s) for s in rng.normal(-0.1, 0.02, SEEDS)]) + rng.normal(0, 0.1, (SEEDS, DEPTH))
    backward = np.array([line(s) for s in rng.normal(0.05, 0.02, SEEDS)]) + rng.normal(0, 0.1, (SEEDS, DEPTH))
    row = row_of(forward, backward)
    layers = np.arange(1, DEPTH + 1)
    for values, sign, name in ((forward, 1, "activation_factor"), (backward, -1, "gradient_factor")):
        fitted = np.array([np.polyfit(layers, seed, 1)[0] for seed in values]) * sign
        ends = stats.t.interval(0.95, SEEDS - 1, fitted.mean(), stats.sem(fitted))
        np.testing.assert_allclose(row[name], 10 ** fitted.mean(), rtol=1e-12)
        np.testing.assert_allclose(row[f"{name}_ci95"], 10 ** np.array(ends), rtol=1e-12)
        wrong = stats.norm.interval(0.95, fitted.mean(), stats.sem(fitted))
        assert abs(row[f"{name}_ci95"][0] / 10 ** wrong[0] - 1) > 1e-3


def test_a_distance_from_theory_is_in_standard_errors_of_a_slope_with_the_drift_of_the_width():
    """Predicted are 0.1 a layer of an infinitely wide net and -0.02 of the width, measured 0.09 +- 0.03 / sqrt(3)."""
    layers = np.arange(1, DEPTH + 1)
    each = np.array([[0.06], [0.09], [0.12]]) * layers
    ds = made(each, -each, seeds=3)
    for quantity, sign in (("activation", 1), ("gradient", -1)):
        for name, slope in (("log10_mean_square", 0.1), ("drift", -0.02)):
            values = np.full((1, 3, DEPTH + 1), np.nan)
            values[..., 1:] = sign * slope * layers
            ds[f"theory_{quantity}_{name}"] = (("config", "seed", "layer"), values)
    (row,) = vp.diagnose(ds).rows
    for quantity in ("activation", "gradient"):
        assert row[f"theory_{quantity}_factor"] == pytest.approx(10**0.1)
        assert row[f"theory_{quantity}_z"] == pytest.approx((0.09 - 0.08) / (0.03 / 3**0.5))


def test_ends_are_those_of_the_signal_and_of_the_gradient_on_its_way():
    """RMS, so half the log of a mean square; the largest of layers 1 to L; cosines where each of the two arrives."""
    layers = np.arange(DEPTH + 1.0)
    names = ("preactivation_log10_absmax", "activation_log10_absmax", "gradient_log10_absmax")
    values = (0.5 - layers / 8, layers / 4, 2 - layers / 4)
    cosines = {"activation_correlation": layers / 100, "gradient_correlation": 0.9 - layers / 100}
    ds = made(0.0, 3 - layers[1:] / 5, **dict(zip(names, values, strict=True)), **cosines)
    (ends,) = vp.diagnose(ds).ends
    assert ends == pytest.approx(
        {
            "gradient_rms_first": (3 - 1 / 5) / 2,
            "gradient_rms_last": (3 - DEPTH / 5) / 2,
            "largest_signal": DEPTH / 4,
            "largest_gradient": 2 - 1 / 4,
            "activation_correlation": DEPTH / 100,
            "gradient_correlation": 0.9 - 1 / 100,
        }
    )


def test_logs_are_averaged_and_not_values():
    forward = np.array([line(-0.1), line(0.1)])
    assert row_of(forward, seeds=2)["activation_factor"] == pytest.approx(1, rel=1e-12)


def test_layer_zero_is_no_part_of_the_slope():
    ds = made(line(-0.2))
    ds["activation_log10_mean_square"][..., 0] = 1e6
    assert vp.diagnose(ds).rows[0]["activation_factor"] == pytest.approx(10**-0.2, rel=1e-12)


def test_rates():
    assert slopes(np.array([[3.0, 5.0, 7.0]])).tolist() == [2.0]
    assert np.isnan(slopes(np.zeros((2, 1)))).all()
    mean, low, high = interval(np.array([1.0]))
    assert mean == 1 and math.isnan(low) and math.isnan(high)
    found = rate(np.array([[0.0, 800.0], [0.0, 800.0]]))
    assert found.factor == math.inf and found.ratio == 400


@pytest.mark.parametrize(
    "ratio, word",
    [
        (0.0, "stable"),
        (1.0, "stable"),
        (-1.0, "stable"),
        (1.001, "growing"),
        (-1.001, "shrinking"),
        (3.0, "growing"),
        (-3.0, "shrinking"),
        (3.001, "exploding"),
        (-3.001, "vanishing"),
        (math.inf, "exploding"),
        (-math.inf, "vanishing"),
    ],
)
def test_words_at_their_thresholds(ratio, word):
    """`ratio` is log10 of the RMS at the far end over the near end: half of that of mean squares."""
    depth = 3  # two steps, which sum exactly
    forward = np.array([0.0, ratio, 2 * ratio]) if math.isfinite(ratio) else np.array([0.0, 0.0, ratio])
    row = row_of(forward, forward[::-1], depth=depth)
    assert (row["forward"], row["backward"]) == (word, word)
    assert row["certain"]
    healthy = word in ("stable", "shrinking", "growing")
    assert row["healthy"] is healthy
    quiet = row_of(forward, depth=depth)
    assert (quiet["forward"], quiet["backward"]) == (word, "stable")


def test_words_take_the_two_ends_and_not_the_slope():
    forward = np.zeros(DEPTH)
    forward[5:] = -4.0
    assert row_of(forward)["forward"] == "shrinking"


def test_certain_means_that_the_interval_crosses_no_threshold():
    spread = np.array([-0.1, 0.0, 0.1, 0.0, 0.0])[:, None] * np.linspace(0, 2, DEPTH)
    half = stats.t.ppf(0.975, SEEDS - 1) * np.std([-0.1, 0, 0.1, 0, 0], ddof=1) / math.sqrt(SEEDS)
    for edge in (1, 3, -1, -3):
        near, far = (np.linspace(0, 2 * (edge + d), DEPTH) + spread for d in (0.9 * half, 1.1 * half))
        assert not row_of(near)["certain"] and not row_of(0.0, near)["certain"]
        assert row_of(far)["certain"] and row_of(0.0, far)["certain"]


def test_one_seed_has_no_intervals():
    row = row_of(line(-0.1), line(0.1), seeds=1)
    assert row["activation_factor"] == pytest.approx(10**-0.1, rel=1e-12)
    assert row["activation_factor_ci95"] == row["gradient_factor_ci95"] == [None, None]
    assert row["certain"] is False


def test_one_layer_has_no_rate():
    row = row_of(depth=1)
    assert row["activation_factor"] is row["gradient_factor"] is None
    assert (row["forward"], row["backward"], row["healthy"]) == ("stable", "stable", True)
    assert row["reason"] == "One layer has no rate."


@pytest.mark.parametrize("first", [1, 2, 11, DEPTH])
def test_a_signal_that_is_exactly_zero(first):
    forward = np.where(np.arange(1, DEPTH + 1) >= first, -np.inf, 0.0)
    row = row_of(forward)
    assert (row["activation_factor"], row["activation_factor_ci95"]) == (None, [None, None])
    assert (row["forward"], row["certain"], row["healthy"]) == ("vanishing", True, False)
    assert row["reason"] == f"The signal is exactly zero from layer {first} on."
    back = row_of(0.0, forward[::-1])
    assert (back["gradient_factor"], back["backward"], back["forward"]) == (None, "vanishing", "stable")
    assert back["reason"] == f"The gradient is exactly zero at layer {DEPTH + 1 - first}."


def test_seeds_that_are_zero_are_counted_and_the_others_judged():
    lost, slopes = np.array([True, False, False, True, False]), np.array([0, -0.1, -0.11, 0, -0.12])
    forward = np.where(lost[:, None] & (np.arange(DEPTH) >= 4), -np.inf, slopes[:, None] * np.arange(DEPTH))
    row = row_of(forward, np.where(lost[:, None], -np.inf, forward))
    others = row_of(forward[~lost], forward[~lost], seeds=3)
    same = ("forward", "certain", "activation_factor", "activation_factor_ci95", "gradient_factor", "formats")
    assert [row[name] for name in same] == [others[name] for name in same] and row["forward"] == "shrinking"
    assert (row["seeds"], row["healthy"], row["flags"]) == (SEEDS, False, ["zero_in_some_seeds"])
    assert row["reason"] == (
        "In 2 of 5 seeds the signal is exactly zero, first at layer 5. In the others: " + others["reason"][0].lower()
        + others["reason"][1:]
    )  # fmt: skip
    assert row["advice"].startswith("Widen the layers, or use an activation")
    back = row_of(0.0, np.where(lost[:, None] & (np.arange(DEPTH) < 4), -np.inf, 0.0))
    assert back["reason"].startswith("In 2 of 5 seeds the gradient is exactly zero, first at layer 4. In the others: ")
    all_lost = row_of(-np.inf)
    assert (all_lost["flags"], all_lost["forward"]) == ([], "vanishing")


def test_the_mean_dominates_whatever_its_sign_is_in_a_seed():
    signs = np.array([1, -1, 1, -1, 1])[:, None]
    layers = np.arange(DEPTH + 1) >= 3
    assert row_of(preactivation_mean_over_rms=0.95 * signs * layers)["notes"] == ["mean_dominated(layer=3)"]
    assert row_of(preactivation_mean_over_rms=0.85 * signs * layers)["notes"] == []
    one_number = made(width=1, preactivation_mean_over_rms=signs * layers, batch=1)
    assert vp.diagnose(one_number).rows[0]["notes"] == []


@pytest.mark.parametrize("seeds", [1, 8])
def test_means_of_weights_are_noted_in_sweeps(seeds):
    (row,) = vp.diagnose(
        sweep(act="identity", init="normal(mean=0.05,std=0.01)", depth=6, width=128, batch=1, seeds=seeds)
    )
    assert row["notes"][0] == "mean_dominated(layer=2)"


def test_narrow_relu_dies_in_some_seeds():
    found = vp.diagnose(sweep(act="relu", init="he_normal", depth=10, width="3,64", batch=4, seeds=8))
    narrow, wide = found.rows
    assert narrow["flags"] == ["zero_in_some_seeds"] and narrow["activation_factor"] and wide["flags"] == []
    assert narrow["reason"].startswith("In 4 of 8 seeds") and "zero in some seeds" in str(found)


@pytest.mark.parametrize("slope", [-400, 400])
def test_factors_beyond_float64_are_null(slope):
    row = row_of(line(slope))
    assert row["activation_factor"] is None
    assert row["forward"] == ("vanishing" if slope < 0 else "exploding")
    assert f"by 10^{abs(slope) * (DEPTH - 1) // 2}" in row["reason"]


def test_forward_only():
    row = row_of(line(-0.05), np.nan, spec={"forward_only": True})
    assert row["backward"] is row["gradient_factor"] is None
    assert row["gradient_factor_ci95"] == [None, None]
    assert (row["healthy"], row["flags"], row["certain"]) == (True, [], True)
    assert row["reason"] == "The signal keeps its scale."


@pytest.mark.parametrize(
    "variable, value, layers, sentence",
    [
        ("preactivation_log10_absmax", np.inf, [7, 9], "The preactivation overflows at layer 7."),
        ("activation_log10_absmax", np.inf, [6, 9], "The activation overflows at layer 6."),
        ("activation_log10_mean_square", np.nan, [4], "The activation is not a number at layer 4."),
        ("gradient_log10_absmax", np.inf, [3, 8], "The gradient overflows at layer 8."),
        ("gradient_log10_mean_square", np.nan, [2], "The gradient is not a number at layer 2."),
    ],
)
def test_non_finite(variable, value, layers, sentence):
    """Forward the first layer is told, of gradients the first that they meet on their way back."""
    values = made()[variable].values[0].copy()
    values[0, layers] = value  # in one seed
    row = row_of(**{variable: values})
    assert (row["flags"], row["healthy"], row["reason"]) == (["non_finite"], False, sentence)
    values[0, layers] = 300.0  # log10: large, not infinite
    assert row_of(**{variable: values})["flags"] == []


def test_non_finite_names_what_comes_first():
    z, h = at(9, np.inf, 0.6), at(8, np.inf, 0.6)
    row = row_of(preactivation_log10_absmax=z, activation_log10_absmax=h, gradient_log10_absmax=at(20, np.inf, 0.6))
    assert row["reason"] == "The activation overflows at layer 8."
    row = row_of(preactivation_log10_absmax=at(8, np.inf, 0.6), activation_log10_absmax=h)
    assert row["reason"] == "The preactivation overflows at layer 8."


def test_symmetric():
    row = row_of(equal_unit_fraction=at(3, 1.0))
    assert (row["flags"], row["healthy"]) == (["symmetric"], False)
    assert row["reason"] == "Every unit of layer 3 computes the same value, and would keep doing so in training."
    assert row["advice"] == "Draw the weights at random, for example he_normal or orthogonal."
    assert row_of(equal_unit_fraction=at(3, 0.999))["flags"] == []
    assert row_of(equal_unit_fraction=at(3, 1.0), width=1)["flags"] == []


def test_symmetric_in_a_profile_needs_two_units():
    same = at(3, 1.0, depth=3)
    assert row_of(equal_unit_fraction=same, depth=3, width="16-8-1")["flags"] == []
    assert row_of(equal_unit_fraction=same, depth=3, width="16-8-2")["flags"] == ["symmetric"]


def test_symmetric_needs_a_signal_that_arrives():
    zero = np.where(np.arange(1, DEPTH + 1) >= 3, -np.inf, 0.0)
    equal = np.where(np.arange(DEPTH + 1) >= 4, 1.0, 0.1)  # all zero because what arrives is
    assert "symmetric" not in row_of(zero, equal_unit_fraction=equal)["flags"]
    equal[3] = 1.0  # of layer 3 it is the weights that are zero
    row = row_of(zero, equal_unit_fraction=equal, weight_log10_mean_square=at(3, -np.inf, -1.0))
    assert row["reason"] == "Every unit of layer 3 computes zero, and would keep doing so in training."
    assert (
        "symmetric" not in row_of(zero, equal_unit_fraction=equal, weight_log10_mean_square=-1.0)["flags"]
    )  # it underflowed


def test_dead():
    row = row_of(dead_unit_fraction=at(5, 0.95))
    assert (row["flags"], row["healthy"]) == (["dead"], False)
    assert row["reason"] == "95% of the units of layer 5 are zero on the whole batch."
    assert row_of(dead_unit_fraction=at(5, threshold("dead")))["flags"] == []


def test_saturated():
    """The median layer decides; NaN where the activation is not bounded. Units that are zero do not count."""
    none = {"activation_zero_fraction": 0.0}
    most, fewer = (np.where(np.arange(DEPTH + 1) > layers, 0.1, 0.8) for layers in (11, 9))
    row = row_of(saturated_nonzero_fraction=most, **none)
    assert (row["flags"], row["healthy"]) == (["saturated"], False)
    assert row["reason"] == "In the median layer 80% of the units are saturated (|phi'| < 0.01)."
    assert row_of(saturated_nonzero_fraction=fewer, **none)["flags"] == []
    assert row_of(saturated_nonzero_fraction=np.nan)["flags"] == []
    row = row_of(saturated_nonzero_fraction=0.42, activation_zero_fraction=0.5)
    assert row["reason"] == "In the median layer 84% of the units that are not zero are saturated (|phi'| < 0.01)."
    assert row_of(saturated_nonzero_fraction=0.42, activation_zero_fraction=0.1)["flags"] == []
    assert row_of(saturated_nonzero_fraction=0.0, activation_zero_fraction=1.0)["flags"] == []


def test_flags_stand_from_the_gravest_on():
    row = row_of(
        equal_unit_fraction=1.0,
        dead_unit_fraction=0.95,
        saturated_nonzero_fraction=0.9,
        activation_log10_absmax=at(2, np.inf, 0.6),
    )
    assert row["flags"] == ["non_finite", "symmetric", "dead", "saturated"]
    assert row["reason"] == "The activation overflows at layer 2."


@pytest.mark.parametrize(
    "name, variable, over, under",
    [
        ("correlation_collapse", "activation_correlation", 0.9991, 0.999),
        ("mean_dominated", "preactivation_mean_over_rms", -0.91, -0.89),
        ("leaves_float16", "activation_log10_absmax", 4.82, 4.81),
        ("leaves_float16", "preactivation_log10_absmax", 4.82, 4.81),
        ("leaves_float16", "preactivation_log10_mean_square", -8.44, -8.42),
    ],
)
def test_notes_are_no_failures(name, variable, over, under):
    row = row_of(**{variable: at(4, over, 0.0)})
    assert row["notes"] == [f"{name}(layer=4)"]
    assert (row["flags"], row["healthy"], row["advice"]) == ([], True, None)
    assert row_of(**{variable: at(4, under, 0.0)})["notes"] == []


def test_range_notes():
    real = {"range": "dtype", "dtype": "float16"}
    row = row_of(preactivation_log10_absmax=at(6, np.inf, 0.6), **real)
    assert row["notes"] == ["leaves_float16(layer=6)", "overflows(layer=6)"]
    assert row["advice"] == "Rescale the weights so that each layer keeps its scale, or use bfloat16."
    zero = np.where(np.arange(1, DEPTH + 1) >= 6, -np.inf, line(-0.5))
    row = row_of(zero, -np.inf, **real)
    assert "underflows(layer=6)" in row["notes"]
    assert row["reason"] == "The signal is rounded to zero at layer 6."
    assert not [n for n in row_of(zero, -np.inf)["notes"] if "flows" in n]  # unbounded
    dead_weights = row_of(zero, -np.inf, weight_log10_mean_square=at(6, -np.inf, -1.0), **real)
    assert not [n for n in dead_weights["notes"] if "underflows" in n]


def test_a_dead_layer_is_no_underflow():
    """ReLU of preactivations that are all negative is zero and was never small."""
    real = {"range": "dtype", "dtype": "float16"}
    ds = made(**real)
    ds["activation_log10_mean_square"][..., 6:] = -np.inf
    ds["preactivation_log10_mean_square"][..., 7:] = -np.inf
    assert not [n for n in vp.diagnose(ds).rows[0]["notes"] if "underflows" in n]
    ds["preactivation_log10_mean_square"][..., 6] = -10.0  # 10^-5, whose square is below 2^-24
    assert "underflows(layer=6)" in vp.diagnose(ds).rows[0]["notes"]


def test_gradients_leave_the_range_on_their_way_back():
    real = {"range": "dtype", "dtype": "float16"}
    lost = np.where(np.arange(1, DEPTH + 1) <= 6, -np.inf, 0.0)
    row = row_of(0.0, lost, **real)
    assert row["notes"] == ["gradient_underflows(layer=6)"]
    row = row_of(0.0, np.where(np.arange(1, DEPTH + 1) <= 6, np.inf, 0.0), **real)
    assert row["notes"] == ["gradient_overflows(layer=6)"]


def test_advice_keeps_the_scale():
    """He's factor of 2 on the variance is sqrt(2) on the std, when both ways lose half the mean square."""
    half = line(math.log10(0.5), 40)
    row = row_of(half, -half, depth=40, **OWN)
    assert row["advice"] == "Multiply the weight std by 1.41."
    assert row["reason"] == (
        "Each layer multiplies the mean square of signal and gradient by 0.5, so RMS falls 1000x in 20 layers."
    )
    ten = OWN | {"weight_log10_mean_square": math.log10(10 / WIDTH)}
    assert row_of(line(1.0), line(-1.0), **ten)["advice"] == "Multiply the weight std by 0.316."
    forward = row_of(line(1.0), np.nan, spec={"forward_only": True}, **ten)
    assert forward["advice"] == "Multiply the weight std by 0.316."
    assert row_of()["advice"] is None


def test_advice_where_signal_and_gradient_differ():
    assert row_of(0.0, line(-0.5), **OWN)["advice"] == "Divide the weight std by about 1.78."
    assert row_of(0.0, line(0.5), **OWN)["advice"] is None
    dominated = {"preactivation_mean_over_rms": 0.95}
    assert row_of(line(0.5), line(-0.5), **dominated, **OWN)["advice"] == "Give the weights mean zero."
    assert row_of(line(0.5), line(-0.5), **dominated)["advice"] == (
        "Give the weights mean zero and std 0.25 (sigma_w2 = 1)."  # 1 / sqrt(16)
    )
    assert row_of(saturated_nonzero_fraction=0.9, **OWN)["advice"] == "Reduce the weight std."
    assert row_of(activation_log10_mean_square=at(3, np.nan, 0.0))["advice"] is None


def test_reasons_are_one_sentence_with_the_numbers():
    assert row_of()["reason"] == "Signal and gradient keep their scale."
    assert row_of(line(-0.2))["reason"] == (
        "Each layer multiplies the signal's mean square by 0.631, so RMS falls 1000x in 30 layers."
    )
    assert row_of(0.0, line(0.5), **OWN)["reason"] == (
        "Each layer multiplies the gradient's mean square by 0.316, so RMS falls 1000x in 12 layers: "
        "chi_1 = sigma_w2 E phi'^2 < 1 (ordered)."
    )
    assert row_of(line(-0.2), line(-0.5))["reason"] == (
        "Each layer multiplies the signal's mean square by 0.631 and the gradient's by 3.16, "
        "so the signal's RMS falls 1000x in 30 layers and the gradient's grows 1000x in 12 layers."
    )
    assert row_of(line(-0.2), line(0.5))["reason"] == (
        "Each layer multiplies the signal's mean square by 0.631 and the gradient's by 0.316, "
        "so RMS falls 1000x in 30 and 12 layers."
    )
    early = np.where(np.arange(DEPTH) < 2, 0.0, -4.0)  # it falls at once, and no rate tells how far it gets
    assert row_of(early)["reason"].endswith("so RMS falls 100x over 20 layers.")


def test_thresholds_are_those_of_the_list():
    assert {v.kind for v in VERDICTS.values()} == {"word", "flag", "note", "outcome", "width"}
    assert [threshold(n) for n in ("stable", "vanishing", "dead", "saturated")] == [10, 1000, 0.9, 0.5]


def test_selections_can_be_judged():
    ds = xr.concat([made(line(-0.2)), made(line(0.2), act="relu")], "config")
    whole = vp.diagnose(ds)
    assert [r["act"] for r in whole] == ["tanh", "relu"] and len(whole) == 2
    assert vp.diagnose(ds.isel(config=1)).rows == [whole.rows[1]]
    assert vp.diagnose(ds.isel(config=[1])).rows == [whole.rows[1]]
    assert vp.diagnose(ds.transpose("layer", "seed", "config")).rows == whole.rows
    assert vp.diagnose(ds.isel(seed=[0, 1])).rows[0]["seeds"] == 2
    assert len(vp.diagnose(ds.isel(config=[]))) == 0


def test_depths_that_are_padded():
    short = made(line(-0.2, 5), depth=5).reindex(layer=np.arange(DEPTH + 1))
    ds = xr.concat([made(line(-0.2)), short], "config")
    rows = vp.diagnose(ds).rows
    assert [r["depth"] for r in rows] == [DEPTH, 5]
    assert rows[1]["flags"] == [] and rows[1]["activation_factor"] == pytest.approx(rows[0]["activation_factor"])


TINY = dict(depth=6, width=16, batch=8, seeds=2)


@pytest.fixture(scope="module")
def equal_weights():
    return vp.diagnose(sweep(**TINY, act="relu", init="zeros,ones,constant(0.1),he_normal"))


def test_equal_weights_are_symmetric_and_not_merely_vanishing(equal_weights):
    rows = {r["init"]: r for r in equal_weights}
    for name in ("zeros", "ones", "constant(value=0.1)"):
        assert rows[name]["flags"][0] == "symmetric"
        assert rows[name]["reason"].startswith("Every unit of layer 1 computes ")
        assert rows[name]["advice"].startswith("Draw the weights at random")
    assert "computes zero" in rows["zeros"]["reason"] and "the same value" in rows["ones"]["reason"]
    assert (rows["zeros"]["forward"], rows["zeros"]["activation_factor"]) == ("vanishing", None)
    assert rows["zeros"]["certain"] and "symmetric" in str(equal_weights)
    assert rows["he_normal"]["flags"] == []


def test_large_weights_saturate():
    acts, inits = "sigmoid,tanh,hard_sigmoid,relu6", "normal(std=30),he_normal"
    rows = vp.diagnose(sweep(**TINY, act=acts, init=inits, forward_only=True))
    found = {(r["act"], r["init"]): r["flags"] for r in rows}
    assert found == {(a, i): ["saturated"] if "30" in i else [] for a in acts.split(",") for i in inits.split(",")}


def test_relu_squared_leaves_every_range():
    (row,) = vp.diagnose(sweep(**TINY | {"depth": 12}, act="relu_squared", init="normal(std=10)"))
    assert row["flags"] == ["non_finite"]
    assert row["reason"].split(" at layer ")[0] == "The activation overflows"
    assert not row["healthy"] and row["activation_factor"] is None


def test_float16_with_its_own_range():
    inits = "normal(std=20),normal(std=0.001),zeros,he_normal"
    rows = vp.diagnose(sweep(**TINY, init=inits, dtype="float16", range="dtype"))
    up, down, zeros, he = rows
    assert up["flags"] == ["non_finite"] and [n.split("(")[0] for n in up["notes"]][-1] == "overflows"
    assert [n.split("(")[0] for n in down["notes"]][-1] == "underflows" and down["forward"] == "vanishing"
    assert "symmetric" in zeros["flags"] and not [n for n in zeros["notes"] if "flows" in n]
    assert he["healthy"] and he["notes"] == []
    verdicts = [line.cells[-1] for line in sheet_of(rows.rows).lines]
    assert any(v.startswith("overflows at layer ") for v in verdicts)
    assert any(v.startswith("underflows at layer ") for v in verdicts)


UNHEALTHY = ("torch_default", "uniform(limit=1)", "normal(std=0.01)")
DEEP = dict(depth=30, width=128, batch=8, seeds=3)


@pytest.fixture(scope="module")
def unhealthy():
    """Act -> {init: row}, of networks whose weights are too small or too large, or have a mean."""
    inits = [*UNHEALTHY, "lecun_normal", "normal(mean=0.05,std=0.05)"]
    return cache(
        lambda act: {r["init"]: r for r in vp.diagnose(sweep(**DEEP, act=act, init=inits)) if not r["healthy"]}
    )


@pytest.mark.parametrize(
    "act", ["relu", "tanh", *(pytest.param(a, marks=pytest.mark.exhaustive) for a in ("gelu", "elu"))]
)
def test_advice_works(unhealthy, act):
    """Weights multiplied by what is advised give a healthy network, whatever they were."""
    advised = []
    for init, row in unhealthy(act).items():
        if found := re.search(r"^Multiply the weight std by (\S+), to sigma_w2 = ", row["advice"]):
            advised.append(init.removesuffix(")") + ("," if "(" in init else "(") + f"gain={found[1]})")
    assert len(advised) == {"relu": 4, "tanh": 3, "gelu": 4, "elu": 3}[act]
    rows = vp.diagnose(sweep(**DEEP, act=act, init=advised))
    assert all(row["healthy"] for row in rows), rows


def test_causes_that_are_measured(unhealthy):
    unhealthy = {(act, init): row for act in ("relu", "tanh", "elu") for init, row in unhealthy(act).items()}
    reasons = {key: row["reason"].partition(": ")[2] for key, row in unhealthy.items()}
    assert reasons["relu", "normal(std=0.01)"] == "sigma_w2 = 0.0128 is too small for relu."  # 128 / 10^4
    assert reasons["elu", "uniform(limit=1)"] == "sigma_w2 = 42.7 is too large for elu."  # 128 / 3
    assert re.fullmatch(r"sigma_w2 = 42\.\d saturates 6\d% of the units \(\|phi'\| < 0\.01\)\.", reasons["tanh", "uniform(limit=1)"])  # fmt: skip
    assert re.fullmatch(r"relu drops half of it, not restored by sigma_w2 = (1|1\.00|0\.99\d|1\.0\d)\.", reasons["relu", "lecun_normal"])  # fmt: skip
    assert re.search(r"so RMS falls 1000x in (18|19|20|21) layers:", unhealthy["relu", "lecun_normal"]["reason"])
    mean = unhealthy["relu", "normal(mean=0.05,std=0.05)"]
    assert mean["reason"].endswith(": the non-zero mean of the weights dominates.")
    assert mean["advice"] == "Give the weights mean zero and std 0.125 (sigma_w2 = 2)."  # sqrt(2 / 128)
    assert all(len(row["reason"]) <= 185 and row["reason"].endswith(".") for row in unhealthy.values())


def test_relu_that_the_mean_of_the_weights_kills():
    """Its second layer has only negative preactivations; without the mean the network is healthy."""
    shape = dict(depth=8, width=128, batch=8, seeds=3, act="relu")
    (row,) = vp.diagnose(sweep(**shape, init="normal(mean=-0.1,std=0.05)"))
    assert row["reason"] == (
        "100% of the units of layer 2 are zero on the whole batch: the non-zero mean of the weights dominates."
    )
    assert row["advice"] == "Give the weights mean zero and std 0.125 (sigma_w2 = 2)."
    assert vp.diagnose(sweep(**shape, init="normal(std=0.125)")).rows[0]["healthy"]
    (biased,) = vp.diagnose(sweep(**shape, init="he_normal", bias="constant(-9)"))
    assert biased["flags"] == ["dead"] and biased["advice"].endswith("set the biases to zero.")


def test_causes_of_a_gradient_alone():
    """sigma_w2 E phi'^2 is its factor: 0.7, then 1.5 of the same weights."""
    own = OWN | {"act": "tanh"}
    ordered = row_of(0.0, line(-math.log10(0.7), 60), depth=60, activation_correlation=at(12, 0.9995, depth=60), **own)
    assert ordered["reason"] == (
        "Each layer multiplies the gradient's mean square by 0.7, so RMS falls 1000x in 39 layers: "
        "chi_1 = sigma_w2 E phi'^2 < 1 (ordered, inputs alike from layer 12 on)."
    )
    chaotic = row_of(0.0, line(-math.log10(1.5), 60), depth=60, **own)
    assert chaotic["reason"].endswith(
        "by 1.5, so RMS grows 1000x in 34 layers: chi_1 = sigma_w2 E phi'^2 > 1 (chaotic)."
    )
    widths = [2**n for n in range(12, 0, -1)]  # halved from layer to layer under weights of sigma_w2 = 1
    weights = np.concatenate([[np.nan, -12 * math.log10(2)], -np.log10(widths[:-1])])
    half = line(math.log10(2), 12)
    narrow = row_of(
        0.0, half, depth=12, width="-".join(map(str, widths)), act="my_act", weight_log10_mean_square=weights
    )
    assert narrow["reason"].endswith("by 0.5, so RMS falls 1000x in 20 layers: fan_out is 0.5 of fan_in a layer.")


def test_cause_of_a_flag_beside_a_rate():
    row = row_of(line(-0.5), line(0.5), dead_unit_fraction=at(5, 0.95))
    assert row["reason"] == (
        "Each layer multiplies the mean square of signal and gradient by 0.316, so RMS falls 1000x in 12 layers: "
        "95% of the units of layer 5 are zero on the whole batch."
    )
    assert row["advice"] == "Use an activation whose units cannot die, such as leaky_relu."
    biased = row_of(line(-0.5), line(0.5), dead_unit_fraction=at(5, 0.95), bias="constant(value=-1)")
    assert biased["advice"] == "Set the biases to zero."


def test_a_net_that_gets_through_may_have_aligned_inputs():
    row = row_of(activation_correlation=at(12, 0.9995))
    assert row["healthy"] and row["reason"] == (
        "Signal and gradient keep their scale, but from layer 12 on the mean cosine between inputs is above 0.999."
    )


def test_every_note_has_a_sentence():
    of_stacks = {
        name for name, verdict in VERDICTS.items() if verdict.kind == "note" and "models:" not in verdict.meaning
    }
    for name in of_stacks:
        sentence = note_sentence(f"{name}(layer=12)")
        assert sentence.endswith(".") and " layer 12" in sentence and sentence.count(".") <= 2


def test_advice_where_no_weights_do():
    """Squares square: any error in the scale of relu_squared doubles its logarithm from layer to layer."""
    row = row_of(
        line(-0.5, 60), line(0.5, 60), depth=60, act="relu_squared", weight_log10_mean_square=-0.5 - math.log10(WIDTH)
    )
    assert re.fullmatch(
        r"Multiply the weight std by \S+, to sigma_w2 = \S+: better, though nothing carries relu_squared through 60 layers\.",
        row["advice"],
    )
    best = math.log10(float(re.search(r"sigma_w2 = ([\d.]+)", row["advice"])[1]) / WIDTH)
    there = row_of(line(-0.5, 60), line(0.5, 60), depth=60, act="relu_squared", weight_log10_mean_square=best)
    assert there["advice"] == "No weight std carries relu_squared through 60 layers."


@pytest.mark.parametrize("act", ["swishy", "gone.py:f", "relu(", "leaky_relu(beta=1)", ""])
def test_advice_where_theory_does_not_know_the_activation(act):
    row = row_of(line(-1.0), line(1.0), act=act, weight_log10_mean_square=math.log10(0.1 / WIDTH))
    assert row["advice"].startswith("Multiply the weight std by ")


@pytest.mark.parametrize("act, sigma_b2", [("tanh", 0.0), ("tanh", 0.05), ("relu", 0.0), ("selu", 0.0), ("gelu", 0.0)])
def test_targets_are_those_of_theory(act, sigma_b2):
    """Interpolation is right to 1e-3, and a critical target is the critical point."""
    found = target(act, sigma_b2, 20, 0.0)
    path = vp.theory.trajectory(act, found.sigma_w2, sigma_b2, 20)
    ratios = [
        np.ptp(values[[0, -1]]) / 2 for values in (path.activation_log10_mean_square, path.gradient_log10_mean_square)
    ]
    assert found.change == pytest.approx(max(ratios), abs=1e-3) and found.change <= 1
    if found.critical:
        assert found.sigma_w2 == pytest.approx(vp.theory.critical(act, sigma_b2=sigma_b2).point.sigma_w2, rel=1e-3)
    assert found.critical is (act in ("tanh", "relu"))
