"""Figures of training: which numbers are drawn where, what becomes of nets that diverge, and what the command makes."""

import json

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from test_plots import dataset, of, require_clean

import varprobe as vp
from varprobe.__main__ import outcome
from varprobe.errors import InvalidArgumentError
from varprobe.plots.ladder import Ladder
from varprobe.plots.steps import bar_ticks, chosen_steps, step_looks, ticks_to
from varprobe.plots.style import ladder_map
from varprobe.plots.training import plot_training, training_figure

STEPS = (0, 1, 2, 4, 8, 16)
DEPTH = 8
SLOPES = {"he_normal": 0.0, "normal(std=0.01)": -1.5, "glorot_normal": -0.3}


def training(inits, optimizers=("adam",), steps=STEPS, seeds=3, lost=()):
    """What `track` returns, of straight lines that tilt with the step; configurations number `lost` diverge at step 5.

    Seed 0 alone diverges.
    """
    configs = [{"init": init, "slope": SLOPES[init], "depth": DEPTH} for init in inits for _ in optimizers]
    each = [dataset(configs, seeds=seeds) + 0.05 * i for i in range(len(steps))]
    ds = xr.concat(each, "step").assign_coords(step=list(steps)).transpose("config", "seed", "step", "layer")
    rng = np.random.default_rng(1)
    shape = tuple(ds.sizes[dim] for dim in ("config", "seed", "step", "layer"))
    ratio = -3 + 0.2 * rng.normal(size=shape) - 0.1 * np.arange(len(steps))[:, None]
    ratio[..., 0] = np.nan
    losses = 2.3 * np.exp(-0.02 * np.arange(steps[-1] + 1) + 0.05 * rng.normal(size=(*shape[:2], steps[-1] + 1)))
    diverged = np.full(shape[:2], np.nan)
    for config in lost:
        diverged[config, 0], losses[config, 0, 5:] = 5, np.nan
        after = np.array(steps) > 5
        ds["activation_log10_var"].values[config, 0, after] = np.nan
        ds["gradient_log10_var"].values[config, 0, after] = -np.inf
    ds["update_log10_ratio"] = ("config", "seed", "step", "layer"), ratio
    ds["batch_loss"] = ("config", "seed", "training_step"), losses
    ds["diverged_step"] = ("config", "seed"), diverged
    optimizer = ("config", [name for _ in inits for name in optimizers])
    return ds.assign_coords(optimizer=optimizer, training_step=np.arange(steps[-1] + 1)).assign_attrs(
        spec=json.dumps({})
    )


def model(steps=(0, 1, 2)):
    """What `track` returns of a model: sites in order, some without an activation, one that is held."""
    kinds = ["input", "linear", "activation", "linear", "loss"]
    shape = (1, 1, len(steps), len(kinds))
    values = np.arange(np.prod(shape), dtype=float).reshape(shape) / 10
    of_kinds = lambda wanted: np.where(np.isin(kinds, wanted), values, np.nan)  # noqa: E731
    ratio = of_kinds(["linear"]) - 3
    ratio[..., 1] = -np.inf
    dims = ("config", "seed", "step", "layer")
    return xr.Dataset(
        {
            "activation_log10_var": (dims, of_kinds(["input", "activation"])),
            "preactivation_log10_var": (dims, of_kinds(["linear"]) + 1),
            "gradient_log10_var": (dims, of_kinds(["linear", "activation"])),
            "update_log10_ratio": (dims, ratio),
            "batch_loss": (("config", "seed", "training_step"), -np.ones((1, 1, steps[-1]))),
            "diverged_step": (("config", "seed"), [[np.nan]]),
        },
        {"site": ("layer", ["x", "a", "a.relu", "b", "loss"]), "kind": ("layer", kinds), "iteration": ("layer", [0] * 5),
         "arch": ("config", ["model"]), "depth": ("config", [4]), "optimizer": ("config", ["adam"]), "seed": [0],
         "layer": np.arange(5), "step": list(steps), "training_step": np.arange(steps[-1])},
    )  # fmt: skip


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def lines(ax):
    return [line for line in ax.lines if line.get_gid() is None]


@pytest.mark.parametrize("quantity", ["activation", "preactivation", "gradient", "weight_gradient"])
def test_against_the_layer_a_curve_is_a_step(quantity):
    ds = training(["glorot_normal"])
    ax = plot_training(ds, quantity)
    assert [line.get_label() for line in lines(ax)] == list(map(str, STEPS))
    for line, step in zip(lines(ax), STEPS, strict=True):
        wanted = ds[f"{quantity}_log10_var"].sel(step=step).mean("seed").values[0]
        np.testing.assert_allclose(line.get_ydata(), wanted, atol=1e-12)
        np.testing.assert_array_equal(line.get_xdata(), np.arange(DEPTH + 1))
    assert len(ax.collections) == 2  # the bands of the first and the last


def test_steps_are_colored_from_dark_to_light():
    ax = plot_training(training(["he_normal"]), "activation")
    colors = ladder_map()
    # the way from 0 to 1 is 0.4 / 0.9 of a decade long (linscale / (1 - 1 / base))
    way = 0.4 / 0.9
    places = [0.0, *((way + np.log10(step)) / (way + np.log10(16)) for step in STEPS[1:])]
    assert [line.get_color() for line in lines(ax)] == [to_hex(colors(place)) for place in places]
    assert [look.color for look in step_looks([0, 10, 20, 30])] == [to_hex(colors(x)) for x in (0, 1 / 3, 2 / 3, 1.0)]


def test_against_the_step_a_curve_is_a_layer():
    ds = training(["glorot_normal"])
    ax = plot_training(ds, "gradient", "step")
    assert [line.get_label() for line in lines(ax)] == [f"layer {i}" for i in (1, 2, 4, 6, 8)]
    for line, layer in zip(lines(ax), (1, 2, 4, 6, 8), strict=True):
        np.testing.assert_allclose(line.get_ydata(), ds["gradient_log10_var"][0, :, :, layer].mean("seed"), atol=1e-12)
        np.testing.assert_array_equal(line.get_xdata(), STEPS)
    assert ax.get_xscale() == "symlog"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1", "2", "5", "10"]
    chosen = plot_training(ds, "gradient", "step", layers=[3])
    np.testing.assert_allclose(lines(chosen)[0].get_ydata(), ds["gradient_log10_var"][0, :, :, 3].mean("seed"))


@pytest.mark.parametrize(("quantity", "layer"), [("activation", DEPTH), ("gradient", 1), ("update", 1)])
def test_against_the_step_several_configurations_are_a_curve_each(quantity, layer):
    ds = training(["he_normal", "glorot_normal"], ["adam", "sgd(lr=0.1)"])
    ax = plot_training(ds, quantity, "step")
    name = "update_log10_ratio" if quantity == "update" else f"{quantity}_log10_var"
    assert len(lines(ax)) == 4
    for line, values, init, optimizer in zip(lines(ax), ds[name], ds.init.values, ds.optimizer.values, strict=True):
        assert line.get_label() == f"{init}, {optimizer}"
        np.testing.assert_allclose(line.get_ydata(), values[:, :, layer].mean("seed"), atol=1e-12)
    assert {"activation": "h_L", "gradient": "z_1", "update": "W_1"}[quantity] in ax.get_ylabel()


def test_updates_have_the_line_of_a_thousandth():
    for ax in (plot_training(training(["he_normal"]), "update", against) for against in ("layer", "step")):
        (rule,) = of(ax, "rule")
        assert set(rule.get_ydata()) == {-3.0}
        assert ax.get_ylim()[0] < -3 < ax.get_ylim()[1]


def test_a_loss_is_drawn_as_it_is_or_by_its_logarithm():
    ds = training(["he_normal"])
    ax = plot_training(ds, "loss")
    np.testing.assert_allclose(lines(ax)[0].get_ydata(), ds["batch_loss"].mean("seed").values[0])
    ds["batch_loss"] *= 10.0 ** (-ds["training_step"])
    np.testing.assert_allclose(
        lines(plot_training(ds, "loss"))[0].get_ydata(), np.log10(ds["batch_loss"]).mean("seed").values[0]
    )


def test_a_net_that_diverged_ends_there_and_says_so():
    ds = training(["he_normal", "glorot_normal"], lost=[0])
    forward, backward, update, loss = training_figure(ds).axes[:7:2]
    for ax, name in ((forward, "activation"), (backward, "gradient")):
        for line, step in zip(lines(ax), STEPS, strict=True):
            there = slice(None) if step <= 5 else slice(1, None)  # the other two seeds
            wanted = ds[f"{name}_log10_var"].sel(step=step).values[0, there].mean(axis=0)
            np.testing.assert_allclose(line.get_ydata(), wanted, atol=1e-12)
    assert len(lines(update)) == len(STEPS)
    assert np.isfinite(lines(loss)[0].get_ydata()).sum() == 5
    assert [note.get_text().replace("\n", " ") for note in of(loss, "note")] == ["not finite at step 5 (1 of 3 seeds)"]
    one = plot_training(ds.isel(config=[0]), "gradient", "step", layers=[2])
    assert [note.get_text().replace("\n", " ") for note in of(one, "note")] == ["not finite at step 8 (1 of 3 seeds)"]


def test_every_configuration_has_a_column_and_the_loss_dots_at_the_steps():
    ds = training(["he_normal", "glorot_normal"], ["adam", "sgd(lr=0.1)"])
    figure = training_figure(ds)
    grid = np.array(figure.axes[:16]).reshape(4, 4)
    assert [ax.get_title() for ax in grid[0]] == [
        f"{i}\n{o}" for i in ("he_normal", "glorot_normal") for o in ("adam", "sgd(lr=0.1)")
    ]
    for row, name in enumerate(("activation_log10_var", "gradient_log10_var", "update_log10_ratio")):
        for config in range(4):
            drawn = [line.get_ydata() for line in lines(grid[row, config])]
            np.testing.assert_allclose(drawn, ds[name][config].mean("seed").values, atol=1e-12)
    for config in range(4):
        dots = [(int(dot.get_xdata()[0]), float(dot.get_ydata()[0])) for dot in of(grid[3, config], "step")]
        mean = ds["batch_loss"][config].mean("seed").values
        assert dots == [(step, pytest.approx(mean[step])) for step in STEPS]
        assert [dot.get_color() for dot in of(grid[3, config], "step")] == [k.color for k in step_looks(STEPS)]


def test_more_than_four_configurations_are_drawn_against_the_step():
    ds = training(list(SLOPES), ["adam", "sgd(lr=0.1)"], lost=[4])
    figure = training_figure(ds)
    require_clean(figure)
    assert [len(lines(ax)) for ax in figure.axes] == [6] * 4
    values = ds["gradient_log10_var"][1, :, :, 1].mean("seed")
    np.testing.assert_allclose(lines(figure.axes[1])[1].get_ydata(), values, atol=1e-12)
    many = xr.concat(
        [ds.assign_coords(optimizer=("config", [f"sgd(lr={i}{j})" for j in range(6)])) for i in range(5)], "config"
    )
    with pytest.raises(InvalidArgumentError, match="30 curves in a panel cannot be told apart"):
        training_figure(many)


def test_sites_of_a_model_stand_in_the_order_of_execution():
    ds = model()
    ax = plot_training(ds, "activation")
    assert ax.get_xlabel() == "site, in the order of execution"
    passed = ds["activation_log10_var"].fillna(ds["preactivation_log10_var"]).values[0, 0, :, :4]
    np.testing.assert_allclose([line.get_ydata()[:4] for line in lines(ax)], passed)
    update = plot_training(ds, "update")  # a site that is held has no point, and cuts off none
    assert [np.isfinite(line.get_ydata()).tolist() for line in lines(update)] == [
        [False, False, False, True, False]
    ] * 3
    assert [line.get_label() for line in lines(plot_training(ds, "gradient", "step"))] == ["a", "a.relu", "b"]
    loss = plot_training(ds, "loss")  # a negative one has no logarithm
    assert lines(loss)[0].get_ydata().tolist() == [-1, -1]
    assert len(training_figure(ds).axes) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quantity": "gradiant"}, "unknown quantity 'gradiant'; did you mean 'gradient'"),
        ({"against": "steps"}, "unknown axis 'steps'; did you mean 'step'"),
        ({"quantity": "loss", "against": "layer"}, "the loss is of no layer"),
        ({"quantity": "branch"}, "branch_log10_var was not measured"),
        ({"against": "step", "layers": [9]}, "there is no gradient at layer 9"),
        ({"labels": {"he_norml": "He"}}, "nothing in this run is called 'he_norml'"),
        ({"ax": 3}, "is not a pair of matplotlib axes"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        plot_training(training(["he_normal"]), **arguments)


def test_other_datasets_are_refused():
    with pytest.raises(
        InvalidArgumentError, match=r"this is a sweep \(allowed: a training run of stacks, a training run of a model\)"
    ):
        plot_training(dataset([{"init": "he_normal", "slope": 0.0}]))
    with pytest.raises(InvalidArgumentError, match="one configuration at a time, this dataset has 2"):
        plot_training(training(["he_normal", "glorot_normal"]))
    with pytest.raises(InvalidArgumentError, match="one layer, since there are 2"):
        plot_training(training(["he_normal", "glorot_normal"]), "gradient", "step", layers=[1, 2])


def test_few_steps_are_drawn_of_many():
    assert chosen_steps(range(101))[::11] == [0, 100]
    assert len(chosen_steps(range(101))) == 12
    assert chosen_steps([0, 3]) == [0, 3]


@pytest.mark.parametrize(
    ("last", "ticks"),
    [
        (1, [0, 1]),
        (9, [0, 1, 2, 5]),
        (64, [0, 1, 10]),
        (1000, [0, 1, 10, 100, 1000]),
        (10**6, [0, 1, 100, 10**4, 10**6]),
    ],
)
def test_ticks_are_powers_of_ten(last, ticks):
    assert ticks_to(last) == ticks
    assert bar_ticks(64)[-1] == 64 and bar_ticks(12)[-1] == 10


def test_a_ladder_that_begins_at_zero_has_room_for_small_steps():
    shade = Ladder("step", (0, 1, 2, 4, 8, 16)).norm
    assert np.diff([float(shade(x)) for x in (0, 1, 2, 4, 8, 16)]).min() > 0.15
    even = Ladder("step", (0, 10, 20, 30)).norm
    assert float(even(10)) == pytest.approx(1 / 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "tiny"
    vp.track(depth=3, width=64, init="he_normal", optimizer="adam,adam(lr=0.1)", steps=4, seeds=2, batch=6, out=out)
    return out


def run(*arguments, capsys):
    code = outcome([str(a) for a in arguments])
    return code, *capsys.readouterr()


@pytest.mark.exhaustive
def test_the_command_draws_trainings_unless_told_otherwise(folder, tmp_path, capsys):
    from varprobe.storage.figure_origin import origin_of

    code, out, _ = run("plot", folder, capsys=capsys)
    assert (code, out.strip()) == (0, str(folder / "training.pdf"))
    for options in (
        ["--kind", "variance"],
        ["--kind", "heatmap", "--select", "step=0,4"],
        ["--quantity", "loss,update"],
    ):
        code, _, err = run("plot", folder, *options, "--save", tmp_path / "a.png", capsys=capsys)
        assert (code, err) == (0, "")
    assert "--quantity loss,update" in origin_of(tmp_path / "a.png")["command"]
    code, _, err = run("plot", folder, "--select", "step=3", capsys=capsys)
    assert code == 2
    assert "--select: no step has step=3" in err and "(allowed: 0, 1, 2, 4)" in err


def test_steps_are_selected():
    ds = training(["he_normal"])
    assert vp.select(ds, step=[0, 8]).step.values.tolist() == [0, 8]
    assert vp.select(ds, step=8, init="he_normal").sizes["step"] == 1


def test_exported_tables_have_a_row_for_each_step(folder, tmp_path, capsys):
    import pandas as pd

    ds = vp.open_run(folder)
    frames = {}
    for ending, read in ((".csv", pd.read_csv), (".parquet", pd.read_parquet), (".json", pd.read_json)):
        frames[ending] = read(vp.export(ds, tmp_path / f"a{ending}"))
    for frame in frames.values():
        assert len(frame) == 2 * 2 * 4 * 4  # configurations, seeds, steps, layers
        one = frame[(frame.optimizer == "adam") & (frame.step == 2) & (frame.seed == 1)]
        wanted = ds["update_log10_ratio"].values[0, 1, 2]
        np.testing.assert_allclose(one.update_log10_ratio.astype(float), wanted)
    xr.testing.assert_identical(xr.load_dataset(vp.export(ds, tmp_path / "a.nc")), ds)
    for name in ("a.md", "a.tex"):
        assert "adam" in vp.export(ds, tmp_path / name).read_text()
    code, _, err = run("export", folder, "--save", tmp_path / "b.csv", "--select", "step=4", capsys=capsys)
    assert (code, err) == (0, "")
    assert set(pd.read_csv(tmp_path / "b.csv").step) == {4}
