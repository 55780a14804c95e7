"""Training of built-in stacks: the same nets, batches and statistics as anywhere else, and the parameters of a plain loop."""

import contextlib
import io
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

import varprobe as vp
from varprobe.__main__ import main
from varprobe.errors import InvalidArgumentError
from varprobe.storage.progress import Unwatched
from varprobe.training.batches import lesson, rows_by_step
from varprobe.training.jobs import jobs_of
from varprobe.training.optimizers import OPTIMIZERS, read_optimizers, unit_schedule
from varprobe.training.request import powers_of_two, read_training
from varprobe.training.run import run_training
from varprobe.training.verdicts import row_of

STEPS = 7
SMALL = {"depth": 3, "width": 12, "batch": 6, "loss": "cross_entropy", "init": "he_normal", "dtype": "float64"}
SMALL |= {"data": "digits"}
BIASES = {"bias": "normal(std=0.1)", "width": "8-12", "depth": None}
X = np.random.default_rng(0).normal(size=(40, 10))
LINE = {"data": X[:, :8], "labels": X[:, 8:], "loss": "mse"}

NETS = {
    "plain": {"act": "tanh"},
    "biases": BIASES | {"init": "orthogonal"},
    "profile": BIASES | {"width": "12-24-24-12-8"},
    "factors": BIASES | LINE | {"init": "ntk(scale=2)"},
    "initializers": BIASES | {"act": "tanh", "init": "he_normal,orthogonal,lsuv,ntk(scale=2)"},
    "residual": {"arch": "residual", "norm": "layer"},
    "skipinit": {"arch": "residual", "init": "skipinit", "init_last": "he_normal"},
    "conv": BIASES | {"arch": "conv(kernel=3,dims=2,size=8)", "width": "2-4", "norm": "batch", "init": "ntk(scale=2)"},
    "images": {"arch": "conv(kernel=3,dims=2,size=8)", "width": 4, "depth": 2, "norm": "batch"},
    "transformer": {"arch": "transformer(heads=2,tokens=4)", "width": 8, "depth": 1, "act": "gelu"},
    "lstm": {"arch": "lstm", "act": "tanh", "width": 8},
}


def also_exhaustive(some, more):
    """Cases by default, and more of them."""
    held_back = [pytest.param(kind, marks=pytest.mark.exhaustive) for kind in more]
    return pytest.mark.parametrize("kind", [*some, *held_back])


def plain_loop(net, given, transform, steps):
    """(parameters after so many steps of an optax loop with the net's own apply, the loss before each and after all)."""

    def loss(params, x, y):
        return -jnp.mean(jax.nn.log_softmax(net.apply(params, x))[jnp.arange(len(y)), y])

    @jax.jit
    def step(params, state, x, y):
        value, slopes = jax.value_and_grad(loss)(params, x, y)
        updates, state = transform.update(slopes, state, params)
        return optax.apply_updates(params, updates), state, value

    every, state, losses = [net.params], jax.jit(transform.init)(net.params), []
    for rows in given.rows[: steps + 1]:
        params, state, value = step(every[-1], state, given.x[rows], given.target[rows])
        every.append(params)
        losses.append(float(value))
    return every[steps], losses


def apart(found, expected):
    """The largest difference of any parameter, relative to the largest entry of all of its name."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    each = [(np.asarray(a), np.asarray(b)) for a, b in pairs]
    return max(np.abs(a - b).max() / max(np.abs(b).max(), 1e-3) for a, b in each)


def with_scales(net, config):
    """The net whose learned scales of branches are among its parameters, as in training."""
    blocks = [
        p | {"branch_scale": np.asarray(config.numbers(i)["branch_scale"])} for i, p in enumerate(net.params[:-1], 1)
    ]
    return net._replace(params=(*blocks, net.params[-1]))


@also_exhaustive(["biases", "skipinit"], ["plain", "lstm", "conv", "images", "transformer", "profile"])
def test_parameters_after_some_steps_are_those_of_a_plain_loop_of_optax(kind):
    config = SMALL | NETS[kind]
    text = "adam(lr=0.01,clip=0.5,warmup=2)" if kind == "biases" else "sgd(lr=0.05,momentum=0.9)"
    with jax.enable_x64(True):
        net = vp.build(config, seed=1)
        trained = vp.build(config | {"optimizer": text, "steps": STEPS}, seed=1)
        training = read_training("track", optimizer=text, steps=STEPS, **config)
        (chosen,) = training.request.configs
        net = with_scales(net, chosen) if kind == "skipinit" else net
        if kind == "biases":
            rates = jnp.asarray(np.array([0, 0.005, *[0.01] * STEPS]))  # optax's own schedules round to float32
            transform = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(lambda count: rates[count]))
        else:
            transform = optax.sgd(0.05, momentum=0.9)
        expected, _ = plain_loop(net, lesson(chosen, training.request.setting, 1, STEPS), transform, STEPS)
        assert apart(trained.params, expected) < 1e-12
        assert apart(net.params, expected) > 1e-3, "it has moved"


OTHERS = [name for name in OPTIMIZERS if name not in ("sgd", "adam")]


def test_every_optimizer_is_that_of_optax():
    """The updates of three gradients; its numbers are arguments of the program, as in training."""
    ours = {name: read_optimizers(f"{name}(lr=0.003)")[0] for name in OTHERS}

    @jax.jit
    def updates(rates, slopes, params):
        found = {}
        for name in OTHERS:
            pair = ours[name].transform(3, rates[name]), getattr(optax, name)(0.003)
            states, found[name] = [transform.init(params) for transform in pair], []
            for slope in slopes:
                both = [t.update(slope, state, params) for t, state in zip(pair, states, strict=True)]
                states = [state for _, state in both]
                found[name].append([update for update, _ in both])
        return found

    with jax.enable_x64(True):
        rates = {name: dict(one.numeric) for name, one in ours.items()}
        for name, steps in updates(rates, list(X[:3]), X[3]).items():
            for one, other in steps:
                assert np.abs(one).min() > 0
                np.testing.assert_allclose(one, other, rtol=1e-9, err_msg=name)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", OTHERS)
def test_a_net_is_trained_by_every_optimizer(name):
    with jax.enable_x64(True):
        config = SMALL | {"depth": 1}
        trained = vp.build(config | {"optimizer": f"{name}(lr=0.003)", "steps": 3}, seed=0)
        training = read_training("track", optimizer=name, steps=3, **config)
        given = lesson(training.request.configs[0], training.request.setting, 0, 3)
        assert apart(trained.params, plain_loop(vp.build(config), given, getattr(optax, name)(0.003), 3)[0]) < 1e-9


@also_exhaustive([], ["conv", "images", "factors", "initializers", "residual", "lstm", "profile"])
def test_step_0_is_what_a_sweep_measures(kind):
    config = SMALL | NETS[kind] | {"seeds": 1}
    swept = vp.sweep(**config)
    tracked = vp.track(**config, steps=1, optimizer="sgd").isel(step=0)
    names = [name for name in swept.data_vars if not name.startswith("theory_")]
    assert len(names) >= 24
    for name in names:
        a, b = swept[name].values, tracked[name].values
        assert np.array_equal(np.isnan(a), np.isnan(b)), name
        infinite = np.isinf(a)
        assert np.array_equal(a[infinite], b[infinite]), name
        known = np.isfinite(a)
        if name == "preactivation_gradient_log10_mean_square" or "mean_over_rms" in name:
            continue  # rounding noise where the exact value is 0
        assert np.allclose(a[known], b[known], rtol=0, atol=1e-6), name


ASKED = {"depth": 3, "width": 64, "batch": 6, "init": "uniform(limit=1),he_normal", "dtype": "float64", "seeds": 2}
ASKED |= {"steps": STEPS, "at": "1,2,7"}
RATES = [f"sgd(lr={lr},momentum=0.9)" for lr in ("0.1", "0", "1e+30", "0.5", "0.01")]
CHOSEN, LEFT_ALONE, FAST = RATES[:3]


def command(*more):
    """(exit code, stdout) of the command line of `ASKED`."""
    asked = [text for name, value in ASKED.items() for text in (f"--{name}", str(value))]
    with contextlib.redirect_stdout(io.StringIO()) as text, pytest.raises(SystemExit) as end:
        main(["track", *asked, "--optimizer", ",".join(RATES), *more])
    return end.value.code, text.getvalue()


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """(folder, what the command told as JSON): ten nets of one program, a job of five for each initializer and seed."""
    folder = tmp_path_factory.mktemp("track") / "run"
    code, text = command("--out", str(folder), "--json")
    assert code == 0
    return folder, json.loads(text)


@pytest.fixture
def ds(kept):
    return vp.open_run(kept[0]).load()


def one_of(ds, optimizer):
    """The configuration that begins with he_normal."""
    (i,) = np.flatnonzero((ds.init.values == "he_normal") & (ds.optimizer.values == optimizer))
    return ds.isel(config=i)


def test_the_command_tells_and_keeps(kept):
    folder, answer = kept
    assert [row["optimizer"] for row in answer["rows"]] == RATES * 2
    for row in answer["rows"]:
        assert row["at"] == [1, 2, 7] and len(row["healthy_at"]) == len(row["update_ratio_at"]) == 3
        assert row["steps"] == STEPS and len(row["losses"]) == 2
    names = {"spec.json", "training.pdf", "training.png", "results.nc", "results.csv", "training"}
    assert {p.name for p in folder.iterdir()} >= names
    _, text = command("--out", str(folder))
    assert max(map(len, text.replace(str(folder), "run").splitlines())) <= 80 and "accuracy" in text


def test_statistics_on_the_way_are_those_of_the_very_net(ds):
    @jax.jit
    def told(params, x, y):
        def loss(offsets):
            h, found = x, []
            for p, offset in zip(params[:-1], offsets, strict=True):
                h = jax.nn.relu(h @ p["w"] + p["b"] + offset)
                found.append(h)
            output = h @ params[-1]["w"] + params[-1]["b"]
            return -jnp.mean(jax.nn.log_softmax(output)[jnp.arange(len(y)), y]), found

        (value, found), deltas = jax.value_and_grad(loss, has_aux=True)([jnp.zeros((6, 64))] * 3)
        return value, [(jnp.mean(h**2), jnp.mean(d**2)) for h, d in zip(found, deltas, strict=True)]

    chosen = one_of(ds, CHOSEN)
    with jax.enable_x64(True):
        training = read_training("track", **ASKED)
        given = lesson(training.request.configs[0], training.request.setting, 1, STEPS)
        for i, t in enumerate((1, 2, 7)):
            rows, net, one = given.rows[t], vp.build(chosen.isel(step=i), seed=1), chosen.isel(seed=1, step=i)
            value, squares = told(net.params, given.x[rows], given.target[rows])
            assert float(value) == pytest.approx(float(one.batch_loss[t]), rel=1e-12)
            for layer, (activation, gradient) in enumerate(squares, 1):
                assert one.activation_log10_mean_square.values[layer] == pytest.approx(np.log10(activation), abs=1e-9)
                assert one.gradient_log10_mean_square.values[layer] == pytest.approx(np.log10(gradient), abs=1e-9)


def test_the_update_is_the_difference_of_the_weights(ds):
    chosen = one_of(ds, CHOSEN)
    with jax.enable_x64(True):
        before, after = (vp.build(chosen.isel(step=i), seed=0) for i in range(2))
    one = chosen.isel(seed=0, step=0)
    for layer in range(1, 4):
        w, v = (np.asarray(net.params[layer - 1]["w"]) for net in (before, after))
        assert one.update_log10_mean_square.values[layer] == pytest.approx(np.log10(np.mean((v - w) ** 2)), abs=1e-9)
        ratio = np.log10(np.sqrt(np.mean((v - w) ** 2) / np.mean(w**2)))
        assert one.update_log10_ratio.values[layer] == pytest.approx(ratio, abs=1e-9)


@pytest.mark.parametrize(
    ("schedule", "falls"),
    [("constant", np.ones_like), ("linear", lambda x: 1 - x), ("cosine", lambda x: (1 + np.cos(np.pi * x)) / 2)],
)
def test_learning_rates_rise_over_the_warmup_and_fall_over_the_steps_after_it(schedule, falls):
    steps = np.arange(21)
    told = unit_schedule(4, schedule, 20)(steps)
    np.testing.assert_allclose(told, np.where(steps < 4, steps / 4, falls((steps - 4) / 16)), atol=1e-6)
    if schedule != "constant":
        np.testing.assert_allclose(unit_schedule(0, schedule, 20)(steps), falls(steps / 20), atol=1e-6)


def test_weights_that_are_left_alone_have_no_update(ds):
    assert np.isneginf(one_of(ds, LEFT_ALONE).update_log10_mean_square.values[..., 1:]).all()
    assert np.isnan(ds.update_log10_mean_square.values[..., 0]).all()


def test_a_net_that_diverges_is_data(ds):
    steps = ds.diverged_step.values
    assert np.isnan(steps[ds.optimizer.values == LEFT_ALONE]).all()
    fast = ds.optimizer.values == FAST
    losses = ds.batch_loss.values[fast]
    first = np.where(~np.isfinite(losses), np.arange(STEPS + 1), 99).min(axis=2)
    assert np.array_equal(steps[fast], first) and (first > 0).all() and (first <= STEPS).all()
    row = next(r for r in vp.diagnose(ds).rows if r["diverged_step"] is not None)
    assert not row["healthy"] and "diverged" in row["flags"] and row["diverged_seeds"] == 2


def test_a_row_tells_the_first_seed_that_diverges_and_the_median_layer():
    """Of losses means over seeds; of updates the mean over seeds of logs in each layer, and then the median."""
    losses = np.array([[4.0, 1.0, 1.0], [2.0, 3.0, np.nan], [3.0, np.nan, np.nan]])
    ratios = np.array([[-3.0, -2.0, 0.0], [-4.0, -2.0, 1.0], [-5.0, -2.0, 2.0]])  # (seeds, layers)
    net = xr.Dataset(
        {
            "batch_loss": (("seed", "training_step"), losses),
            "update_log10_ratio": (("seed", "step", "layer"), np.stack([ratios - 1, ratios], axis=1)),
            "diverged_step": ("seed", [np.nan, 2.0, 1.0]),
        },
        {"optimizer": "adam"},
        {"steps": 2},
    )
    each = {"activation_factor": 1.0, "gradient_factor": 1.0, "forward": "stable", "backward": "stable"}
    records = [{**each, "healthy": True, "flags": [], "reason": "", "advice": None} for _ in range(2)]
    row = row_of(net, records, [0, 2])
    assert (row["diverged_step"], row["diverged_seeds"], row["healthy"], row["step"]) == (1, 2, False, 2)
    assert row["losses"] == [3.0, None] and row["update_ratio_at"] == pytest.approx([1e-3, 1e-2])
    assert row["reason"] == "Healthy at step 0; the loss is not finite from step 1 in 2 of 3 seeds."


MEASURED = ["activation_log10_mean_square", "gradient_log10_var", "update_log10_ratio"]


def test_nets_do_not_depend_on_their_company(ds):
    """Beside other learning rates, in another place."""
    others = [CHOSEN, RATES[-1], *(f"sgd(lr={lr},momentum=0.9)" for lr in (2, 3, 4))]
    other = vp.track(**ASKED | {"init": "he_normal", "seeds": 1}, optimizer=others)
    for name in (*MEASURED, "batch_loss", "final_loss"):
        a, b = (one_of(found, RATES[-1])[name].values[0] for found in (other, ds))
        assert np.array_equal(a, b, equal_nan=True) and np.isfinite(a).any(), name


@pytest.mark.parametrize("at", [(), pytest.param((0, 2), marks=pytest.mark.exhaustive)], ids=str)
def test_nets_do_not_depend_on_those_of_another_optimizer(at):
    """They are those that are trained alone; measured or not."""
    given = ASKED | {"dtype": "float32", "at": at, "init": "he_normal"}
    alone = run_training(read_training("track", **given | {"seeds": 1}, optimizer="adam(lr=0.01)"))
    many = given | {"init": ["normal(std=0.02)", "he_normal", "glorot_normal"]}
    many = run_training(read_training("track", **many, optimizer="sgd(lr=1),adam(lr=0.1),adam(lr=0.01)"))
    for name in ("batch_loss", "final_loss", "final_accuracy", *(MEASURED if at else ())):
        a, b = alone[name].values[0, 0], one_of(many, "adam(lr=0.01)")[name].values[0]
        assert np.array_equal(a, b, equal_nan=name in MEASURED) and np.isfinite(a).any(), name


def test_a_run_folder_resumes_with_the_same_bits(kept, ds):
    folder, _ = kept
    files = sorted((folder / "training").glob("*.npz"))
    training = read_training("track", **ASKED, optimizer=RATES, data="digits")
    assert len(files) == len(jobs_of(training)) == 4
    files[1].unlink()
    files[2].write_bytes(files[2].read_bytes()[:-100])
    notes = []

    class Told(Unwatched):
        def start(self, total, cached):
            notes.append((total, cached))

        def note(self, text):
            notes.append(text)

    again = run_training(training, folder, progress=Told())
    assert notes[1] == (10, 10) and "damaged" in notes[0]
    assert again.identical(ds.assign_attrs(again.attrs))
    assert vp.open_run(folder).identical(again)
    assert vp.verify(folder).intact
    assert vp.rerun(folder).reproduced
    with pytest.raises(InvalidArgumentError, match="holds another run"):
        vp.track(**ASKED | {"steps": 8}, optimizer=RATES, out=folder)


def test_epochs_give_every_row_once_and_in_new_orders():
    source = read_training("track").request.setting.source
    rows = rows_by_step(source, jax.random.key(3), 16, 2 * 112)
    first, second = rows[:112].ravel(), rows[112:].ravel()
    assert len(set(first.tolist())) == len(set(second.tolist())) == 112 * 16
    assert (first != second).mean() > 0.99


def test_training_learns_the_digits_and_a_line():
    given = {"init": "he_normal", "seeds": 1, "at": ()}
    learned = run_training(read_training("track", **given, depth=2, width=64, optimizer="adam(lr=3e-3)", steps=300))
    assert learned.final_accuracy.values[0, 0] > 0.9
    x = np.linspace(-1, 1, 256)[:, None]
    line = {"data": x, "labels": 2 * x[:, 0], "depth": 1, "width": 10, "optimizer": "adam(lr=0.01)", "steps": 600}
    found = run_training(read_training("track", **given, **line))
    assert found.attrs["loss"] == "mse" and np.isnan(found.final_accuracy.values).all()
    assert (found.final_loss.values < 0.01).all()


def test_records_are_at_powers_of_two():
    assert powers_of_two(100) == (0, 1, 2, 4, 8, 16, 32, 64, 100)
    assert powers_of_two(1) == (0, 1)
    assert powers_of_two(8) == (0, 1, 2, 4, 8)


def test_optimizers_are_read():
    found = read_optimizers("sgd(lr=0.1),adam(lr=1e-3:1e-1:3log),sgd(lr=0.1)")
    assert [o.name for o in found] == ["sgd(lr=0.1)", "adam(lr=0.001)", "adam(lr=0.01)", "adam(lr=0.1)"]
    assert len({o.structure for o in found}) == 2
    own = read_optimizers({"Ours": optax.adabelief(1e-3)})
    assert own[0].name == "Ours" and own[0].digest is None


WRONG = {
    "an unknown optimizer": ("--optimizer sdg", "--optimizer: unknown optimizer 'sdg'; did you mean 'sgd'?"),
    "an unknown parameter": ("--optimizer sgd(momentun=1)", "unknown parameter 'momentun'; did you mean 'momentum'?"),
    "a rate below zero": ("--optimizer sgd(lr=-1)", "lr=-1 is not allowed (allowed: numbers from 0"),
    "no steps": ("--steps 0", "--steps: 0 is out of range (allowed: whole numbers from 1"),
    "a record after the end": ("--steps 5 --at 0,9", "--at: 9 is out of range (allowed: whole numbers from 0 to 5)"),
    "nothing to learn": ("--data normal", "--data: of 'normal', a random law, nothing can be learned"),
    "fewer samples than a batch": ("--batch 4000", "--batch: 4000 samples are more than the 1797 rows"),
    "no loss of training": ("--loss cotangent", "--loss: 'cotangent' is nothing to train with"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_is_one_line(case, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, message = WRONG[case]
    with pytest.raises(SystemExit) as end:
        main(["track", "--depth", "3", "--width", "8", *arguments.split()])
    captured = capsys.readouterr()
    assert end.value.code == 2 and captured.out == "" and captured.err.count("\n") == 1
    assert message in captured.err
    assert not list(tmp_path.iterdir())


def test_labels_out_of_range_are_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).normal(size=(40, 8)))
    np.save("y.npy", np.arange(40) - 1)
    for labels, loss, message in (
        ("y.npy", "cross_entropy", "--labels: cross_entropy needs one whole number from 0 per sample"),
        (None, None, "--labels: data of your own need labels"),
    ):
        more = ["--labels", labels] if labels else []
        more += ["--loss", loss] if loss else []
        with pytest.raises(SystemExit) as end:
            main(["track", "--depth", "2", "--width", "8", "--data", "x.npy", *more])
        assert end.value.code == 2
        assert message in capsys.readouterr().err


OWN = """
import optax

def ours(lr=0.1):
    return optax.adabelief(lr)

def number():
    return 3

def broken():
    raise ValueError("no")
"""


def test_an_optimizer_of_ones_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    asked = SMALL | {"depth": 1, "optimizer": "own.py:ours(lr=0.02)", "steps": 3}
    ds = run_training(read_training("track", **asked, seeds=1, at=()), Path("run"))
    assert ds.optimizer.values.tolist() == ["own.py:ours(lr=0.02)"]
    with jax.enable_x64(True):
        training = read_training("track", steps=3, **SMALL | {"depth": 1})
        given = lesson(training.request.configs[0], training.request.setting, 0, 3)
        expected, losses = plain_loop(vp.build(SMALL | {"depth": 1}), given, optax.adabelief(0.02), 3)
        assert apart(vp.build(ds.isel(config=0), seed=0).params, expected) < 1e-9
    np.testing.assert_allclose(ds.batch_loss.values[0, 0], losses, rtol=1e-9)
    with pytest.raises(InvalidArgumentError, match="names code, own.py:ours"):
        vp.rerun("run")
    assert vp.rerun("run", allow_code=True).reproduced
    for text, message in (
        ("own.py:number", "returns int, not an optax.GradientTransformation"),
        ("own.py:broken", "fails: ValueError: no"),
        ("own.py:ours(rl=1)", "unexpected keyword argument"),
        ("own.py:our", "did you mean 'ours'?"),
    ):
        with pytest.raises(InvalidArgumentError, match=message) as error:
            read_optimizers(text)
        assert error.value.option == "optimizer"
