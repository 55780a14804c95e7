"""Training of built-in stacks: the same nets, batches and statistics as anywhere else, and the parameters of a plain loop."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import varprobe as vp
from varprobe.__main__ import main
from varprobe.errors import RequestError
from varprobe.training.asking import powers_of_two, read_training
from varprobe.training.batches import lesson, rows_by_step
from varprobe.training.jobs import jobs_of
from varprobe.training.optimizers import OPTIMIZERS, read_optimizers
from varprobe.training.running import run_training

STEPS = 7
SMALL = {"depth": 4, "width": 12, "data": "digits", "loss": "cross_entropy", "init": "he_normal", "dtype": "float64"}

NETS = {
    "plain": {"act": "tanh"},
    "biases": {"bias": "normal(std=0.1)", "init": "orthogonal", "width": "12-24-24-12-8", "depth": None},
    "residual": {"arch": "residual", "norm": "layer"},
    "skipinit": {"arch": "residual", "init": "skipinit", "init_last": "he_normal"},
    "ntk": {"init": "ntk(scale=2)"},
    "lsuv": {"init": "lsuv"},
    "conv": {"arch": "conv(kernel=3,dims=2,size=8)", "width": 4, "depth": 2, "norm": "batch"},
    "transformer": {"arch": "transformer(heads=2,tokens=4)", "width": 8, "depth": 1, "act": "gelu"},
    "lstm": {"arch": "lstm", "act": "tanh", "width": 8},
}


def plain_loop(net, given, transform, steps):
    """Parameters after so many steps of an ordinary optax loop, with the net's own apply."""

    def loss(params, x, y):
        return -jnp.mean(jax.nn.log_softmax(net.apply(params, x))[jnp.arange(len(y)), y])

    params, step = net.params, jax.jit(jax.grad(loss))
    state = transform.init(params)
    for t in range(steps):
        rows = given.rows[t]
        updates, state = transform.update(step(params, jnp.asarray(given.x[rows]), given.target[rows]), state, params)
        params = optax.apply_updates(params, updates)
    return params


def apart(found, expected):
    """The largest difference of any parameter, relative to the largest entry of all of its name."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return max(float(jnp.abs(a - b).max() / max(float(jnp.abs(b).max()), 1e-3)) for a, b in pairs)


def with_scales(net, config):
    """The net whose learned scales of branches are among its parameters, as in training."""
    blocks = [
        p | {"branch_scale": jnp.asarray(config.numbers(i)["branch_scale"])} for i, p in enumerate(net.params[:-1], 1)
    ]
    return net._replace(params=(*blocks, net.params[-1]))


LOOPED = ("plain", "biases", "skipinit", "conv", "transformer", "lstm")


@pytest.mark.parametrize("kind", LOOPED)
def test_parameters_after_some_steps_are_those_of_a_plain_loop_of_optax(kind):
    config = SMALL | NETS[kind]
    text = "adam(lr=0.01,clip=0.5,warmup=2)" if kind == "plain" else "sgd(lr=0.05,momentum=0.9)"
    with jax.enable_x64(True):
        net = vp.build(config, seed=1)
        trained = vp.build(config | {"optimizer": text, "steps": STEPS}, seed=1)
        training = read_training("track", optimizer=text, steps=STEPS, **config)
        (chosen,) = training.request.configs
        net = with_scales(net, chosen) if kind == "skipinit" else net
        if kind == "plain":
            rates = jnp.array([0, 0.005, *[0.01] * STEPS])  # optax's own schedules round to float32
            transform = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(lambda count: rates[count]))
        else:
            transform = optax.sgd(0.05, momentum=0.9)
        expected = plain_loop(net, lesson(chosen, training.request.setting, 1, STEPS), transform, STEPS)
        assert apart(trained.params, expected) < 1e-12
        assert apart(net.params, expected) > 1e-3, "it has moved"


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in ("sgd", "adam")])
def test_every_optimizer_is_that_of_optax(name):
    with jax.enable_x64(True):
        config = SMALL | {"depth": 1}
        trained = vp.build(config | {"optimizer": f"{name}(lr=0.003)", "steps": 3}, seed=0)
        training = read_training("track", optimizer=name, steps=3, **config)
        transform = getattr(optax, name)(0.003)
        given = lesson(training.request.configs[0], training.request.setting, 0, 3)
        assert apart(trained.params, plain_loop(vp.build(config), given, transform, 3)) < 1e-9


@pytest.mark.parametrize("kind", ["plain", "biases", "residual", "ntk", "lsuv", "conv", "lstm"])
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
        if name == "preactivation_gradient_log10_ms" or "mean_over_rms" in name:
            continue  # rounding noise where the exact value is 0
        assert np.allclose(a[known], b[known], rtol=0, atol=1e-6), name


def test_statistics_on_the_way_are_those_of_the_very_net():
    ds = vp.track(**SMALL | {"act": "tanh"}, optimizer="adam(lr=0.01)", steps=6, at=[0, 3, 6], seeds=2)
    assert ds.step.values.tolist() == [0, 3, 6]
    with jax.enable_x64(True):
        training = read_training("track", optimizer="adam(lr=0.01)", steps=6, **SMALL | {"act": "tanh"})
        given = lesson(training.request.configs[0], training.request.setting, 1, 6)
        for i, t in enumerate(ds.step.values):
            net = vp.build(ds.isel(config=0, step=i), seed=1)
            x, y = jnp.asarray(given.x[given.rows[t]]), given.target[given.rows[t]]

            def signals(offsets, x=x, net=net):
                h, found = x, []
                for p, offset in zip(net.params[:-1], offsets, strict=True):
                    h = jnp.tanh(h @ p["w"] + p["b"] + offset)
                    found.append(h)
                return h @ net.params[-1]["w"] + net.params[-1]["b"], found

            def loss(offsets, y=y, signals=signals):
                output, found = signals(offsets)
                return -jnp.mean(jax.nn.log_softmax(output)[jnp.arange(len(y)), y]), found

            zero = [jnp.zeros((16, 12))] * 4
            (value, found), deltas = jax.value_and_grad(loss, has_aux=True)(zero)
            one = ds.isel(config=0, seed=1, step=i)
            assert float(value) == pytest.approx(float(ds.batch_loss.values[0, 1, t]), rel=1e-12)
            for layer in range(1, 5):
                ms = float(jnp.mean(found[layer - 1] ** 2)), float(jnp.mean(deltas[layer - 1] ** 2))
                assert one.activation_log10_ms.values[layer] == pytest.approx(np.log10(ms[0]), abs=1e-9)
                assert one.gradient_log10_ms.values[layer] == pytest.approx(np.log10(ms[1]), abs=1e-9)


def test_the_update_is_the_difference_of_the_weights():
    ds = vp.track(**SMALL, optimizer="sgd(lr=0.1,momentum=0.9)", steps=4, at=[1, 2], seeds=1)
    with jax.enable_x64(True):
        before, after = (vp.build(ds.isel(config=0, step=i), seed=0) for i in range(2))
    for layer in range(1, 5):
        w, v = (np.asarray(net.params[layer - 1]["w"]) for net in (before, after))
        one = ds.isel(config=0, seed=0, step=0)
        assert one.update_log10_ms.values[layer] == pytest.approx(np.log10(np.mean((v - w) ** 2)), abs=1e-9)
        ratio = np.log10(np.sqrt(np.mean((v - w) ** 2) / np.mean(w**2)))
        assert one.update_log10_ratio.values[layer] == pytest.approx(ratio, abs=1e-9)


def test_epochs_give_every_row_once_and_in_new_orders():
    source = read_training("track").request.setting.source
    rows = rows_by_step(source, jax.random.key(3), 16, 2 * 112)
    first, second = rows[:112].ravel(), rows[112:].ravel()
    assert len(set(first.tolist())) == len(set(second.tolist())) == 112 * 16
    assert (first != second).mean() > 0.99


def test_nets_do_not_depend_on_their_company():
    alone = vp.track(**SMALL | {"dtype": "float32"}, optimizer="adam(lr=0.01)", steps=3, seeds=1)
    many = SMALL | {"dtype": "float32", "init": ["normal(std=0.02)", "he_normal", "glorot_normal"]}
    together = vp.track(**many, optimizer="sgd(lr=1),adam(lr=0.1),adam(lr=0.01)", steps=3, seeds=2)
    place = (together.init.values == "he_normal") & (together.optimizer.values == "adam(lr=0.01)")
    (i,) = np.flatnonzero(place)
    for name in ("activation_log10_ms", "gradient_log10_var", "update_log10_ratio", "batch_loss", "final_loss"):
        a, b = alone[name].values[0, 0], together[name].values[i, 0]
        assert np.array_equal(a, b, equal_nan=True), name


def test_a_net_that_diverges_is_data():
    ds = vp.track(
        depth=6, width=16, init="uniform(limit=1),he_normal", optimizer="sgd(lr=1e6),sgd(lr=0)", steps=8, seeds=2
    )
    steps = ds.diverged_step.values
    assert np.isnan(steps[ds.optimizer.values == "sgd(lr=0)"]).all()
    fast = ds.optimizer.values != "sgd(lr=0)"
    losses = ds.batch_loss.values[fast]
    first = np.where(~np.isfinite(losses), np.arange(9), 99).min(axis=2)
    assert np.array_equal(steps[fast], first) and (first > 0).all() and (first < 9).all()
    row = next(r for r in vp.diagnose(ds).rows if r["diverged_step"] is not None)
    assert not row["healthy"] and "diverged" in row["flags"] and row["diverged_seeds"] == 2


def test_weights_that_are_left_alone_have_no_update():
    ds = vp.track(**SMALL, optimizer="sgd(lr=0)", steps=2, seeds=1)
    assert np.isneginf(ds.update_log10_ms.values[..., 1:]).all()
    assert np.isnan(ds.update_log10_ms.values[..., 0]).all()


def test_training_learns_the_digits_and_a_line():
    ds = vp.track(depth=2, width=64, init="he_normal", optimizer="adam(lr=3e-3)", steps=300, at=[0], seeds=1)
    assert ds.final_accuracy.values[0, 0] > 0.9
    x = np.linspace(-1, 1, 256)[:, None]
    line = vp.track(
        depth=1, width=10, data=x, labels=2 * x[:, 0], optimizer="adam(lr=0.01)", init="he_normal", steps=600, at=[0]
    )
    assert line.attrs["loss"] == "mse" and np.isnan(line.final_accuracy.values).all()
    assert (line.final_loss.values < 0.01).all()


def test_a_run_folder_resumes_with_the_same_bits(tmp_path):
    asked = {"depth": 3, "width": 8, "init": "he_normal,glorot_normal", "optimizer": "sgd,adam", "steps": 3, "seeds": 2}
    first = vp.track(**asked, out=tmp_path / "run")
    files = sorted((tmp_path / "run" / "training").glob("*.npz"))
    training = read_training("track", **asked, data="digits")
    assert len(files) == len(jobs_of(training)) == 4
    files[1].unlink()
    files[2].write_bytes(files[2].read_bytes()[:-100])
    notes = []

    class Told:
        def start(self, total, cached):
            notes.append((total, cached))

        def advance(self, cells=1):
            pass

        def note(self, text):
            notes.append(text)

        def stop(self):
            pass

    again = run_training(training, tmp_path / "run", progress=Told())
    assert notes[1] == (4, 4) and "damaged" in notes[0]
    assert again.identical(first.assign_attrs(again.attrs))
    assert vp.open_run(tmp_path / "run").identical(again)
    assert vp.verify(tmp_path / "run").intact
    assert vp.rerun(tmp_path / "run").reproduced
    with pytest.raises(RequestError, match="holds another run"):
        vp.track(**asked | {"steps": 4}, out=tmp_path / "run")


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
    "an unknown optimizer": (["--optimizer", "sdg"], "--optimizer: unknown optimizer 'sdg'; did you mean 'sgd'?"),
    "an unknown parameter": (
        ["--optimizer", "sgd(momentun=1)"],
        "unknown parameter 'momentun'; did you mean 'momentum'?",
    ),
    "a rate below zero": (["--optimizer", "sgd(lr=-1)"], "lr=-1 is not allowed (allowed: numbers from 0"),
    "no steps": (["--steps", "0"], "--steps: 0 is out of range (allowed: whole numbers from 1"),
    "a record after the end": (
        ["--steps", "5", "--at", "0,9"],
        "--at: 9 is out of range (allowed: whole numbers from 0 to 5)",
    ),
    "nothing to learn": (["--data", "normal"], "--data: of 'normal', a random law, nothing can be learned"),
    "fewer samples than a batch": (["--batch", "4000"], "--batch: 4000 samples are more than the 1797 rows"),
    "no loss of training": (["--loss", "cotangent"], "--loss: 'cotangent' is nothing to train with"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_is_one_line(case, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, message = WRONG[case]
    with pytest.raises(SystemExit) as end:
        main(["track", "--depth", "3", "--width", "8", *arguments])
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


def test_the_command_tells_and_keeps(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--depth", "4", "--width", "8", "--init", "he_normal", "--steps", "4", "--seeds", "2"]
    with pytest.raises(SystemExit) as end:
        main(["track", *arguments, "--optimizer", "sgd(lr=0.1),adam", "--out", "run", "--json"])
    assert end.value.code == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["optimizer"] for row in answer["rows"]] == ["sgd(lr=0.1)", "adam"]
    for row in answer["rows"]:
        assert row["at"] == [0, 1, 2, 4] and len(row["healthy_at"]) == len(row["update_ratio_at"]) == 4
        assert row["steps"] == 4 and len(row["losses"]) == 2
    assert {p.name for p in (tmp_path / "run").iterdir()} >= {
        "training.json", "training.pdf", "training.png", "results.nc", "results.csv", "training",
    }  # fmt: skip
    with pytest.raises(SystemExit):
        main(["track", *arguments, "--optimizer", "sgd(lr=0.1),adam", "--out", "run"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80 and "accuracy" in text


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
    ds = vp.track(**SMALL | {"depth": 1}, optimizer="own.py:ours(lr=0.02)", steps=3, seeds=1, out="run")
    assert ds.optimizer.values.tolist() == ["own.py:ours(lr=0.02)"]
    with jax.enable_x64(True):
        net = vp.build(ds.isel(config=0, step=-1), seed=0)
        training = read_training("track", optimizer="sgd", steps=3, **SMALL | {"depth": 1})
        given = lesson(training.request.configs[0], training.request.setting, 0, 3)
        expected = plain_loop(vp.build(SMALL | {"depth": 1}), given, optax.adabelief(0.02), 3)
        assert apart(net.params, expected) < 1e-9
    with pytest.raises(RequestError, match="names code, own.py:ours"):
        vp.rerun("run")
    assert vp.rerun("run", allow_code=True).reproduced
    for text, message in (
        ("own.py:number", "returns int, not an optax.GradientTransformation"),
        ("own.py:broken", "fails: ValueError: no"),
        ("own.py:ours(rl=1)", "unexpected keyword argument"),
        ("own.py:our", "did you mean 'ours'?"),
    ):
        with pytest.raises(RequestError, match=message) as error:
            read_optimizers(text)
        assert error.value.option == "optimizer"
