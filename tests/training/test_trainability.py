"""`varprobe.trainability`: trained nets beside the verdict before training, as data, as a figure and as a command."""

import json
import warnings

import numpy as np
import optax
import pytest
import xarray as xr

import varprobe as vp
from varprobe.__main__ import outcome
from varprobe.cli.trainability import depths_of, sentences
from varprobe.errors import InvalidArgumentError
from varprobe.plots.trainability import edges, trainability_figure
from varprobe.training import jobs
from varprobe.training.grids import grid_of, reach_of
from varprobe.training.nets import accuracy_by_optimizer
from varprobe.training.request import read_training
from varprobe.training.run import run_training
from varprobe.training.trainability import with_defaults

GRID = {"depth": [3, 8], "width": 64, "sigma_w2": [1e-4, 1.5, 3.0], "steps": 60, "seeds": 2}
OPTIMIZERS = "sgd(lr=0.1),sgd(lr=0.001)"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tmp_path_factory.mktemp("trainability") / "run"


@pytest.fixture(scope="module")
def ds(run):
    return vp.trainability(**GRID, optimizer=OPTIMIZERS, out=run)


@pytest.fixture(scope="module")
def slow(ds):
    return vp.select(ds, optimizer="sgd(lr=0.1)")


def grid_dataset(names, values, accuracy, **more):
    """A dataset as trainability has it, of nets of every combination of two settings, the first varying fastest."""
    x, y = (a.ravel() for a in np.meshgrid(*values))
    columns = dict(zip(names, (x, y), strict=True))
    text = {
        "init": [f"variance_scaling(scale={w:g},mode=fan_in,distribution=normal)" for w in columns.get("w", x * 0 + 2)],
        "bias": [f"normal(var={b:g})" for b in columns.get("b", x * 0 + 0.05)],
        "depth": columns.get("depth", x * 0 + 20).astype(int),
    }
    base = {"arch": "plain", "act": "tanh", "norm": "none", "width": 64, "batch": 16, "loss": "cross_entropy",
            "dtype": "float32", "optimizer": "sgd", "forward": "stable", "backward": "stable"}  # fmt: skip
    coords = {k: ("config", [v] * x.size) for k, v in (base | more).items()} | {
        k: ("config", v) for k, v in text.items()
    }
    accuracy = np.asarray(accuracy, float).reshape(-1, 1)
    healthy = np.arange(x.size) % 2 == 0
    return xr.Dataset(
        {
            "final_accuracy": (("config", "seed"), accuracy),
            "skill": (("config", "seed"), (accuracy - 0.1) / 0.9),
            "score": (("config", "seed"), np.arange(x.size, dtype=float).reshape(-1, 1)),
            "trained": (("config", "seed"), accuracy > 0.55),
        },
        coords | {"healthy": ("config", healthy), "seed": [0]},
        {"baseline": 0.1, "loss": "cross_entropy", "steps": 10},
    )


# Depths of one program


DEEP = {
    "learned scales, dropout": {"arch": "residual", "init": "skipinit", "act": "relu", "dropout": 0.2, "norm": "layer"},
    "first layer like the rest, multipliers": {"optimizer": "adam(clip=0.1)", "init": "mup", "width": 64},
    "transformer": {"arch": "transformer(tokens=4,heads=2)", "act": "gelu", "optimizer": "adamw"},
}


@pytest.mark.parametrize(
    "more", [pytest.param(m, marks=() if "mup" in DEEP[m].values() else pytest.mark.exhaustive) for m in DEEP]
)
def test_nets_of_other_depths_are_trained_as_by_themselves(more):
    """In float64 every loss of every step, to rounding, although layers that a net does not have stand behind it."""
    given = {"init": "he_normal", "width": 8, "steps": 6, "seeds": 2, "batch": 4, "dtype": "float64", "at": ()} | DEEP[
        more
    ]
    together = read_training("trainability", depth=[5, 3], **given)
    (trainee,) = {job.course.trainee for job in jobs.jobs_of(together)}
    assert trainee.mixed
    found = run_training(together)
    for i, depth in enumerate(found.depth.values.tolist()):
        alone = run_training(read_training("trainability", depth=depth, **given))
        for name in ("batch_loss", "final_loss", "final_accuracy"):
            np.testing.assert_allclose(found[name][i], alone[name][0], rtol=1e-9, atol=1e-12)


def test_depths_within_a_factor_of_four_share_a_program():
    given = {"sigma_w2": "1:4:13", "seeds": 1, "at": ()}
    for depths, programs in (("10:300:30", [300, 70, 10]), ("20:60:5", [60]), (7, [7])):
        training = read_training("trainability", depth=depths, **given)
        found = jobs.jobs_of(training)
        served = [job.course.trainee.config.depth for job in found]  # the deepest, which take longest, first
        assert list(dict.fromkeys(served)) == programs
        assert sorted(place for job in found for place in job.nets) == list(range(len(training.nets)))
    own = jobs.jobs_of(read_training("trainability", depth=[4, 6], optimizer=optax.sgd(0.1), **given))
    assert not any(job.course.trainee.mixed for job in own)
    measured = jobs.jobs_of(read_training("track", depth=[4, 6], sigma_w2=2.0, seeds=1, at=[0]))
    assert [job.course.trainee.config.depth for job in measured] == [6, 4]


# The dataset


def test_who_learns_and_what_was_said(slow):
    """Weights of variance 1e-4 kill the signal in 8 layers, and such a net stays at chance; shallow tanh nets learn."""
    deep = slow.isel(config=slow.depth.values == 8)
    assert deep.healthy.values.tolist() == [False, True, True]
    assert deep.backward.values.tolist()[0] == "vanishing"
    assert (deep.score.values[0] > 3).all() and (slow.score.values[slow.healthy.values] < 3).all()
    assert (deep.final_accuracy.values[0] < 0.2).all() and not deep.trained.values[0].any()
    shallow = slow.isel(config=slow.depth.values == 3)
    assert (shallow.final_accuracy.values[1:] > 0.6).all() and shallow.trained.values[1:].all()


def test_skill_and_trained_follow_from_the_accuracy(ds):
    baseline = 183 / 1797  # the digits' commonest class
    assert ds.attrs["baseline"] == pytest.approx(baseline)
    assert ds.skill.values == pytest.approx((ds.final_accuracy.values - baseline) / (1 - baseline))
    assert np.array_equal(ds.trained.values, ds.skill.values >= 0.5)


def test_the_verdict_is_that_of_the_sweep(slow):
    """Healthy and words of `varprobe.diagnose` on the digits, and the score from the sweep's own levels."""
    same = {k: v for k, v in GRID.items() if k != "steps"} | {"act": "tanh", "sigma_b2": 0.05, "data": "digits"}
    swept = vp.sweep(**same)
    rows = vp.diagnose(swept).rows
    for name in ("healthy", "forward", "backward"):
        assert slow[name].values.tolist() == [row[name] for row in rows]
    for i, depth in enumerate(slow.depth.values):
        ends = [swept[f"{n}_log10_mean_square"].values[i][:, [1, depth]] for n in ("activation", "gradient")]
        expected = np.max([np.abs(e[:, 1] - e[:, 0]) / 2 for e in ends], axis=0)
        assert slow.score.values[i] == pytest.approx(expected, rel=1e-12)


def test_it_resumes_and_rests(ds, run, monkeypatch):
    assert ds.identical(vp.open_run(run))
    monkeypatch.setattr(jobs, "run_job", lambda job: pytest.fail("trained again"))
    assert ds.identical(vp.trainability(**GRID, optimizer=OPTIMIZERS, out=run))
    (run / "results.nc").unlink()
    again = vp.trainability(**GRID, optimizer=OPTIMIZERS, out=run)
    assert ds.identical(again)


def test_what_is_measured_on_the_way_is_for_track():
    with pytest.raises(
        InvalidArgumentError, match=r"at: trainability measures nothing on the way; varprobe\.track does"
    ):
        vp.trainability(**GRID, at=[0])


def test_prediction_counts_nets(ds):
    found, each = vp.verdict_accuracy(ds), accuracy_by_optimizer(ds)
    assert list(each) == OPTIMIZERS.split(",") and found.nets == 24 == sum(f.nets for f in each.values())
    unhealthy = np.repeat(~ds.healthy.values[:, None], 2, axis=1)
    assert found.unhealthy == unhealthy.sum() and found.failed == (~ds.trained.values).sum()
    assert found.found == (unhealthy & ~ds.trained.values).sum() == sum(f.found for f in each.values())
    slow = each["sgd(lr=0.1)"]
    assert slow.rank_correlation < -0.3
    with pytest.raises(InvalidArgumentError, match="the dataset has no variable 'score'"):
        vp.verdict_accuracy(ds.drop_vars("score"))


@pytest.fixture(scope="module")
def squared():
    """Two outputs of sixteen inputs, and a learning rate at which the squared error grows until it is infinite."""
    x = np.random.default_rng(0).normal(size=(64, 16))
    y = np.stack([x[:, 0], x[:, 1] - x[:, 2]], axis=1)
    found = vp.trainability(
        data=x, labels=y, depth=2, width=16, sigma_w2=[1e-4, 1.0], steps=150, optimizer=FAST, batch=32
    )
    assert found.attrs["loss"] == "mse" and found.attrs["baseline"] == pytest.approx(y.var(axis=0).mean())
    return found


FAST = "sgd(lr=0.1),sgd(lr=10000)"


def test_a_squared_error_is_judged_by_what_it_explains(squared):
    slow = vp.select(squared, optimizer="sgd(lr=0.1)")
    assert slow.skill.values == pytest.approx(1 - slow.final_loss.values / slow.attrs["baseline"])
    assert slow.skill.values[1, 0] > 0.5 > slow.skill.values[0, 0] and np.isnan(slow.final_accuracy.values).all()
    assert vp.plot_trainability(slow).get_ylabel() == "$R^2$ after training"


def test_a_net_that_diverges_is_data(squared):
    fast = vp.select(squared, optimizer="sgd(lr=10000)")
    assert (fast.diverged_step.values > 1).all() and np.isnan(fast.skill.values).all()
    assert not fast.trained.values.any() and vp.verdict_accuracy(squared).failed == 3
    assert np.isnan(vp.select(squared, optimizer="sgd(lr=0.1)").diverged_step.values).all()
    assert "2 of 4 nets left the range of floats." in sentences(squared, vp.verdict_accuracy(squared))


def test_defaults_stand_for_what_is_not_given():
    assert with_defaults({}) == {
        "act": "tanh", "depth": "10:60:6", "width": 128, "seeds": 1, "sigma_w2": "1:4:7", "sigma_b2": 0.05
    }  # fmt: skip
    assert with_defaults({"init": "he_normal"}).keys() & {"sigma_w2", "sigma_b2"} == set()
    assert "sigma_b2" not in with_defaults({"sigma_w2": 2, "bias": "zeros"})
    assert "depth" not in with_defaults({"width": "64-32-16"})


# The figure


def artists(ax, gid):
    return [artist for artist in ax.get_children() if artist.get_gid() == gid]


def test_the_image_has_depth_upward_and_theory_on_it():
    weights, depths = np.linspace(1, 3, 5), np.array([10, 20, 40])
    accuracy = np.linspace(0, 1, 15)
    ds = grid_dataset(("w", "depth"), (weights, depths), accuracy)
    ax = vp.plot_trainability(ds)
    (plane,) = artists(ax, "plane")
    assert np.asarray(plane.get_array()).ravel() == pytest.approx(accuracy) and plane.get_clim() == (0, 1)
    assert ax.get_xlim() == pytest.approx((0.75, 3.25)) and ax.get_ylim() == (5, 50)
    (crosses,) = artists(ax, "unhealthy")
    places = np.array([(w, d) for d in depths for w in weights])
    assert crosses.get_xydata() == pytest.approx(places[1::2])
    for gid, times in (("xi", 1), ("reach", 6)):
        (line,) = artists(ax, gid)
        x, y = line.get_xydata()[30]
        assert y == pytest.approx(times * vp.theory.fixed_point("tanh", x, 0.05).xi_c, rel=1e-3)
    (critical,) = artists(ax, "critical")
    expected = vp.theory.critical("tanh", sigma_b2=0.05).point.sigma_w2
    assert critical.get_xdata()[0] == pytest.approx(expected, abs=1e-3)


def test_over_both_variances_lines_are_contours():
    weights, biases = np.linspace(1, 3, 4), np.linspace(0.02, 0.3, 3)
    ds = grid_dataset(("w", "b"), (weights, biases), np.linspace(0, 1, 12))
    grid = grid_of(ds)
    assert grid.names == ("sigma_w2", "sigma_b2") and grid.fixed == 20
    ax = vp.plot_trainability(ds)
    assert (ax.get_xlabel(), ax.get_ylabel()) == (r"$\sigma_w^2$", r"$\sigma_b^2$")
    (contour,) = artists(ax, "reach")
    (corners, *_) = (p for p in contour.get_paths()[0].to_polygons(closed_only=False) if len(p) > 3)
    for w, b in corners[:: len(corners) // 4]:
        assert 6 * vp.theory.fixed_point("tanh", w, b).xi_c == pytest.approx(20, rel=0.02)


def test_over_bias_and_depth():
    ds = grid_dataset(("b", "depth"), (np.linspace(0.02, 0.3, 4), np.array([5, 10])), np.linspace(0, 1, 8))
    grid = grid_of(ds)
    assert grid.names == ("sigma_b2", "depth") and grid.fixed == pytest.approx(2)
    reach = reach_of(ds, grid)
    expected = [vp.theory.fixed_point("tanh", 2, b).xi_c for b in grid.x]
    assert np.ravel(reach.xi_c) == pytest.approx(expected, rel=1e-3)
    assert [len(artists(vp.plot_trainability(ds), gid)) for gid in ("plane", "xi", "reach")] == [1, 1, 1]


@pytest.mark.parametrize("more", [{"norm": "batch"}, {"arch": "residual"}])
def test_other_stacks_have_no_lines(more):
    ds = grid_dataset(("w", "depth"), (np.linspace(1, 3, 3), np.array([5, 10])), np.linspace(0, 1, 6), **more)
    ax = vp.plot_trainability(ds)
    assert [len(artists(ax, gid)) for gid in ("plane", "xi", "reach", "critical")] == [1, 0, 0, 0]


def test_grids_with_gaps_and_others_are_strips(ds):
    whole = grid_dataset(("w", "depth"), (np.linspace(1, 3, 3), np.array([5, 10])), np.linspace(0, 1, 6))
    assert grid_of(whole) is not None and grid_of(whole.isel(config=slice(5))) is None
    one = whole.isel(config=slice(3))
    assert grid_of(one) is None
    ax = vp.plot_trainability(one)
    shown = np.concatenate([line.get_xydata() for gid in ("healthy", "unhealthy") for line in artists(ax, gid)])
    assert sorted(map(tuple, shown)) == sorted(
        zip(one.score.values[:, 0], one.final_accuracy.values[:, 0], strict=True)
    )
    assert artists(ax, "trained")[0].get_ydata()[0] == pytest.approx(0.55)
    assert not artists(vp.plot_trainability(ds), "plane")  # several optimizers


def test_a_panel_an_optimizer(ds):
    figure = trainability_figure(ds)
    panels = [ax for ax in figure.axes if artists(ax, "plane")]
    assert [ax.get_title(loc="left") for ax in panels] == OPTIMIZERS.split(",")
    with pytest.raises(InvalidArgumentError, match="the dataset has no variable 'skill'"):
        trainability_figure(ds.drop_vars("skill"))


def test_a_strip_without_healthy_nets_keeps_its_axes():
    ds = grid_dataset(("w", "depth"), (np.array([1.0, 2]), np.array([5])), [0.2, 0.9])
    ds = ds.assign_coords(healthy=("config", [False, False]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = trainability_figure(ds)
    assert min(figure.axes[0].bbox.size) > 100 and not artists(figure.axes[0], "healthy")


def test_edges_are_halfway():
    assert edges(np.array([1.0, 2, 4])).tolist() == [0.5, 1.5, 3, 5]
    assert edges(np.array([3.0])).tolist() == [2.5, 3.5]


# The command


def command(capsys, *arguments):
    code = outcome(["trainability", *arguments])
    return code, *capsys.readouterr()


SIZES = ("--depth", "3,8", "--width", "64", "--sigma-w2", "0.0001,1.5,3", "--steps", "60", "--seeds", "2")


def test_json_has_a_row_a_net(ds, run, capsys):
    code, out, err = command(capsys, *SIZES, "--optimizer", OPTIMIZERS, "--out", str(run), "--json")
    told = json.loads(out)
    assert (code, err, told["run"], len(told["rows"])) == (0, "", str(run), 24)
    expected = vp.verdict_accuracy(ds)
    assert told["rank_correlation"] == pytest.approx(expected.rank_correlation)
    assert (told["precision"], told["recall"]) == (expected.precision, expected.recall)
    assert list(told["by_optimizer"]) == OPTIMIZERS.split(",")
    for i, row in enumerate(told["rows"]):
        one = ds.isel(config=i // 2, seed=i % 2)
        assert (row["seed"], row["healthy"], row["trained"]) == (i % 2, bool(one.healthy), bool(one.trained))
        assert row["optimizer"] == str(one.optimizer.values) and row["depth"] == int(one.depth)
        accuracy, lost = float(one.final_accuracy), float(one.diverged_step)
        assert row["final_accuracy"] == accuracy and row["diverged_step"] == (None if np.isnan(lost) else lost)
    assert (run / "trainability.pdf").stat().st_size > 5000 and told["figure"] == str(run / "trainability.pdf")


def test_the_screen_is_80_columns_and_counts(ds, run, capsys, tmp_path):
    save = str(tmp_path / "x.png")
    code, out, err = command(capsys, *SIZES, "--optimizer", OPTIMIZERS, "--out", str(run), "--save", save)
    assert (code, err) == (0, "") and max(map(len, out.splitlines())) <= max(
        80, len(f"Data    {run}/results.nc, results.csv; found finished; --fresh trains again")
    )
    found = vp.verdict_accuracy(ds)
    assert f"{found.precision:.2f} ({found.found}/{found.unhealthy})" in out
    assert f"{found.unhealthy} of 24 nets were unhealthy before training; {found.failed} did not train." in out
    assert f"Figure  {save}" in out
    assert outcome(["plot", str(run), "--kind", "trainability", "--save", str(tmp_path / "y.png")]) == 0


def test_how_deep_nets_train_stands_beside_six_correlation_lengths(slow):
    heading, *rows = depths_of(slow)
    assert heading == ("sigma_w2", "deepest that trains", "xi_c", "6 xi_c") and len(rows) == 3
    trained = slow.trained.values.mean(axis=1) >= 0.5
    for row, w in zip(rows, (1e-4, 1.5, 3.0), strict=True):
        place = [f"scale={w:g}," in init for init in slow.init.values]
        depths = slow.depth.values[np.array(place) & trained]
        assert row[1] == (str(depths.max()) if depths.size else "none")
        assert row[2] == f"{vp.theory.fixed_point('tanh', w, 0.05).xi_c:.3g}"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--data", "normal"], "--data: of 'normal', a random law, nothing can be learned"),
        (["--batch", "4000"], "--batch: 4000 samples are more than the 1797 rows"),
        (["--optimizer", "sgdd"], "--optimizer: unknown optimizer 'sgdd'; did you mean 'sgd'?"),
        (["--optimizer", "sgd(lr=-1)"], "--optimizer: "),
        (["--steps", "0"], "--steps: 0 is out of range"),
        (["--loss", "cotangent"], "--loss: 'cotangent' is nothing to train with"),
        (["--sigma-w2", "1:4"], "--sigma-w2: "),
        (["--save", "x.gif"], "--save: 'x.gif' must end in one of"),
    ],
)
def test_bad_input_is_one_line(arguments, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = command(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith(f"varprobe: {line}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (np.array([0, 1, -1, 2] * 5), "labels"),
        (np.zeros(20, int), "--labels: are all the same"),
        (np.arange(19), "labels"),
    ],
)
def test_labels_that_cannot_be_learned(labels, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).normal(size=(20, 3)))
    np.save("y.npy", labels)
    given = ("--data", "x.npy", "--labels", "y.npy", "--loss", "cross_entropy", "--depth", "2", "--width", "8")
    code, out, err = command(capsys, *given)
    assert (code, out, err.count("\n")) == (2, "", 1) and line in err
    assert not (tmp_path / "runs").exists()
