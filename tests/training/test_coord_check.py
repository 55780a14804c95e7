"""What grows with width: powers that are known, numbers computed by hand, the command and its figure."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr
from flax import nnx
from matplotlib.figure import Figure

import varprobe as vp
from varprobe.__main__ import main
from varprobe.plots.coordinates import coordinates_figure
from varprobe.spec.calls import parse_numbers
from varprobe.training.coord_verdict import layer_of
from varprobe.training.mup import factors, values_of
from varprobe.training.optimizers import read_optimizers
from varprobe.training.scaling import power_of, word_of
from varprobe.verdict.thresholds import threshold

LR = 0.01


def powers(ds: Any, name: str, step: int) -> dict[str, float]:
    """Site -> power of width of the first configuration."""
    one = ds.isel(config=0).sel(step=step)[name]
    return {
        str(site): power_of(one.isel(layer=i).values, ds.width.values.tolist()).mean
        for i, site in enumerate(ds.site.values)
    }


@pytest.fixture(
    scope="module", params=[[32, 128], pytest.param([32, 64, 128, 256], marks=pytest.mark.exhaustive)], ids=str
)
def widths(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def stacks(widths: list[int]) -> Any:
    return vp.coord_check(widths=widths, depth=2, optimizer="adam", steps=2, seeds=3, init="mup,standard")


def test_adam_moves_wide_standard_nets_more_and_those_in_mup_as_much(stacks: Any, widths: list[int]) -> None:
    assert stacks.init.values.tolist() == ["mup", "standard"] and stacks.width.values.tolist() == widths
    assert stacks.value_log10_mean_square.dims == ("config", "seed", "width", "step", "layer")
    mup, standard = (powers(stacks.isel(config=[c]), "change_log10_mean_square", 2) for c in (0, 1))
    assert all(abs(power) < 0.2 for power in mup.values())
    assert abs(standard["layer_1"]) < 0.25 and standard["layer_2"] > 0.4
    assert standard["readout"] > standard["layer_2"] + 0.3  # n lr E|h|, but for what is not aligned
    start = powers(stacks.isel(config=[0]), "value_log10_mean_square", 0)
    assert start["readout"] == pytest.approx(-0.5, abs=0.2) and abs(start["layer_2"]) < 0.2  # 1 / fan_in^2 there


def test_the_verdict(stacks: Any) -> None:
    diagnosis = vp.diagnose(stacks)
    mup, standard = diagnosis.rows
    assert mup["mup"] and "in 2 steps no layer grows or shrinks with width" in mup["reason"]
    assert standard["mup"] is False and "is the first: its change grows like width^" in standard["reason"]
    layers = {layer["site"]: layer for layer in standard["layers"]}
    assert layers["layer_1"]["verdict"] == "stable" and layers["readout"]["verdict"] == "grows"
    low, high = layers["readout"]["change_exponent_ci95"]
    assert low < layers["readout"]["change_exponent"] < high and layers["readout"]["certain"]
    text = str(diagnosis)
    assert "not muP" in text and max(map(len, text.splitlines())) <= 80 and "relu, depth 2, widths 32 to " in text
    json.dumps(diagnosis.rows, allow_nan=False)


def test_sizes_are_those_of_a_plain_loop(stacks: Any, widths: list[int]) -> None:
    """The very net of `varprobe.build`, trained with optax, at the width before the largest."""
    setting = {"width": widths[-2], "depth": 2, "act": "relu", "init": "lecun_normal", "data": "digits"}
    net = vp.build(setting | {"batch": 16, "loss": "cross_entropy"}, seed=1)
    _, target = labels(seed=1)

    def loss(params: Any) -> Any:
        logits = net.apply(params, net.x)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), target[:, None], 1)), logits

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        found, gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = transform.update(gradient, state, params)
        return *found, updates, optax.apply_updates(params, updates), state

    params, transform = net.params, optax.adam(1e-3)
    state, first = jax.jit(transform.init)(params), None
    one = stacks.isel(config=1, seed=1).sel(width=widths[-2])
    for t in range(3):
        value, logits, updates, params, state = step(params, state)
        first = logits if first is None else first
        assert float(one.batch_loss.sel(step=t)) == pytest.approx(float(value), rel=1e-5)
        told = one.sel(step=t, layer=3)
        assert float(told.value_log10_mean_square) == pytest.approx(log10_mean_square(logits), abs=1e-4)
        if t:
            assert float(told.change_log10_mean_square) == pytest.approx(log10_mean_square(logits - first), abs=1e-3)
        else:
            assert np.isneginf(told.change_log10_mean_square)
        assert float(told.update_log10_mean_square) == pytest.approx(log10_mean_square(updates[-1]["w"]), abs=1e-3)


def labels(seed: int) -> Any:
    """(images, labels) of the batch of a seed."""
    from varprobe.engine.inputs import rows_of
    from varprobe.engine.random_bits import keys_of
    from varprobe.nets.data import load_source

    source = load_source("digits")
    assert source.rows is not None and source.labels is not None
    rows = rows_of(source, keys_of(0, seed)["data"], 16)
    return source.rows[rows], source.labels[rows]


def log10_mean_square(x: Any) -> float:
    return float(np.log10(np.mean(np.square(np.asarray(x, np.float64)))))


def linear(power: float, optimizer: bool = False) -> Any:
    """f = v . w x with w = 1 and v = n^-power, and the loss f: one step of gradient descent is known in closed form."""

    def factory(width: int) -> Any:
        params = {"w": jnp.ones((1, width)), "v": jnp.full((width, 1), float(width) ** -power)}
        rates = {"w": optax.sgd(LR * width), "v": optax.sgd(LR / width)}  # muP's, of SGD
        own = {"optimizer": optax.multi_transform(rates, {"w": "w", "v": "v"})} if optimizer else {}
        return (lambda p, x: jnp.mean((x @ p["w"]) @ p["v"]), params, jnp.ones((2, 1)), *([own] if own else []))

    return factory


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_one_step_of_a_linear_net_in_closed_form(power: float) -> None:
    """dw = -lr v and dv = -lr w, so dz = -lr n^-a, and df = n (-lr (1 + n^-2a) + lr^2 n^-a)."""
    ds = vp.coord_check(linear(power), widths=[8, 64], optimizer=f"sgd(lr={LR})", steps=1)
    assert ds.sizes["seed"] == 1 and ds.site.values.tolist() == ["w", "v"]
    one = ds.isel(config=0, seed=0).sel(step=1)
    n = np.array([8, 64], float)
    np.testing.assert_allclose(one.change_log10_mean_square[:, 0] / 2, np.log10(LR * n**-power), atol=1e-3)
    df = n * (-LR * (1 + n ** (-2 * power)) + LR**2 * n**-power)
    np.testing.assert_allclose(one.change_log10_mean_square[:, 1] / 2, np.log10(np.abs(df)), atol=1e-3)
    assert powers(ds, "change_log10_mean_square", 1)["w"] == pytest.approx(-power, abs=2e-3)
    assert powers(ds, "value_log10_mean_square", 0)["v"] == pytest.approx(1 - power, abs=2e-3)
    (row,) = vp.diagnose(ds).rows
    assert not row["mup"] and row["layers"][0]["change_exponent_ci95"] == [None, None] and not row["certain"]


def test_a_factory_gives_its_optimizer() -> None:
    """v = 1/n, muP's learning rates: dz = -lr, df = -2 lr + lr^2, at every width."""
    ds = vp.coord_check(linear(1.0, optimizer=True), widths=[8, 64], steps=1)
    one = ds.isel(config=0, seed=0).sel(step=1)
    np.testing.assert_allclose(10 ** (one.change_log10_mean_square[:, 0] / 2), LR, rtol=1e-4)
    np.testing.assert_allclose(10 ** (one.change_log10_mean_square[:, 1] / 2), 2 * LR - LR**2, rtol=1e-4)
    (row,) = vp.diagnose(ds).rows
    assert row["mup"] and [layer["verdict"] for layer in row["layers"]] == ["stable", "stable"]
    assert row["optimizer"] == "its own"


@pytest.mark.exhaustive
def test_layers_in_a_scan_have_a_row_each_and_draws_are_of_the_key() -> None:
    def loss(p: Any, x: Any) -> Any:
        h, _ = jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x @ p["first"], p["rest"])
        return jnp.mean(jnp.square(h))

    def values(p: Any, x: Any) -> list[Any]:
        found = [x @ p["first"]]
        for i, w in enumerate(p["rest"]):
            found.append((jnp.tanh(found[-1]) if i else found[0]) @ w)
        return found

    def factory(width: int, key: Any) -> Any:
        keys = jax.random.split(key, 3)
        params = {
            "first": jax.random.normal(keys[0], (5, width)),
            "rest": jax.random.normal(keys[1], (3, width, width)) / np.sqrt(width),
        }
        return loss, params, jax.random.normal(keys[2], (4, 5))

    ds = vp.coord_check(factory, widths=[8, 16], optimizer="sgd(lr=0.5)", steps=1, seeds=2)
    assert list(zip(ds.site.values.tolist(), ds.iteration.values.tolist(), strict=True)) == [
        ("first", 0), ("rest", 0), ("rest", 1), ("rest", 2),
    ]  # fmt: skip
    _, params, x = factory(16, jax.random.key(1))

    @jax.jit
    def by_hand(params: Any) -> Any:
        moved = jax.tree.map(lambda p, g: p - 0.5 * g, params, jax.grad(loss)(params, x))
        return moved, values(params, x), values(moved, x)

    moved, *both = by_hand(params)
    told = ds.isel(config=0, seed=1).sel(width=16, step=1)
    for i, (then, now) in enumerate(zip(*both, strict=True)):
        assert float(told.value_log10_mean_square[i]) == pytest.approx(log10_mean_square(now), abs=1e-4)
        assert float(told.change_log10_mean_square[i]) == pytest.approx(log10_mean_square(now - then), abs=1e-3)
    step = log10_mean_square(moved["rest"][2] - params["rest"][2])
    assert float(ds.update_log10_mean_square[0, 1, 1, 0, 3]) == pytest.approx(step, abs=1e-3)


class Net(nnx.Module):
    def __init__(self, width: int, rngs: nnx.Rngs) -> None:
        self.up, self.norm = nnx.Linear(4, width, rngs=rngs), nnx.BatchNorm(width, rngs=rngs)
        self.frozen, self.down = nnx.Linear(width, width, rngs=rngs), nnx.Linear(width, 3, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.down(nnx.relu(jax.lax.stop_gradient(self.frozen(nnx.relu(self.norm(self.up(x)))))))


@pytest.mark.exhaustive
def test_a_module_whose_gradient_is_stopped_never_moves_there() -> None:
    x, y = jax.random.normal(jax.random.key(0), (6, 4)), jnp.arange(6) % 3
    ds = vp.coord_check(
        lambda width, key: (Net(width, nnx.Rngs(key)), x, y, {"loss": "cross_entropy"}),
        widths=[4, 8], optimizer="sgd(lr=0.1)", steps=1, seeds=1,
    )  # fmt: skip
    moves = np.isfinite(ds.change_log10_mean_square.isel(config=0, seed=0, step=1)).all("width")
    assert ds.site.values[moves.values].tolist() == ["down"]
    (row,) = vp.diagnose(ds).rows
    assert [layer["change_exponent"] is None for layer in row["layers"]] == (~moves).values.tolist()
    assert "never moves" in {layer["text"] for layer in row["layers"]}


def test_widths_that_diverge_are_told() -> None:
    ds = vp.coord_check(linear(0.0), widths=[8, 16], optimizer="sgd(lr=1e30)", steps=3)
    (row,) = vp.diagnose(ds).rows
    assert not row["mup"] and row["diverged"][0]["width"] == 8 and "not finite" in row["reason"]
    assert row["layers"][0]["change_exponent"] is None and "not finite" in row["layers"][0]["text"]
    json.dumps(row, allow_nan=False)


def test_learning_rates_are_those_of_table_3() -> None:
    """At four times the base width: SGD fan_out, 1, 1/fan_in; Adam 1, 1/fan_in, 1/fan_in."""
    found = {one.kind: factors(one, 256, 64) for one in read_optimizers("sgd,adam,adamw,nadam,lion,rmsprop,adagrad")}
    assert found.pop("sgd") == {"input": 4, "hidden": 1, "readout": 0.25, "readout_bias": 1}
    rest = {"input": 1, "hidden": 0.25, "readout": 0.25, "readout_bias": 1}
    assert all(times == rest for times in found.values()) and len(found) == 6


def test_one_step_of_sgd_moves_the_output_as_much_at_every_width() -> None:
    """The bias of the readout has the same learning rate at all widths; times width / base it would move 8 times as far."""
    ds = vp.coord_check(widths=[32, 256], depth=1, init="mup", optimizer="sgd(lr=0.1)", steps=1, seeds=3)
    assert abs(powers(ds, "change_log10_mean_square", 1)["readout"]) < 0.15


def test_what_a_step_decays_by_is_the_same_in_all_roles() -> None:
    """lr times weight_decay; what else an optimizer has is the same for all."""
    (adamw,) = read_optimizers("adamw(lr=0.01,weight_decay=0.1,clip=2)")
    found = values_of(adamw, {"input": 1, "hidden": 0.25, "readout": 0.125})
    assert found.pop("clip") == {"norm": 2}
    assert {role: one["lr"] for role, one in found.items()} == {"input": 0.01, "hidden": 0.0025, "readout": 0.00125}
    for one in found.values():
        assert one["lr"] * one["weight_decay"] == pytest.approx(0.001)
        assert (one["b1"], one["b2"], one["eps"]) == (0.9, 0.999, 1e-8) and "clip" not in one


@pytest.mark.exhaustive
def test_weight_decay_of_a_step_does_not_depend_on_width() -> None:
    """As in the authors' package, where the decay of hidden matrices grows as their learning rate falls."""
    given = {"depth": 2, "steps": 1, "seeds": 1, "init": "mup", "widths": [16, 64], "batch": 4}
    ds = vp.coord_check(optimizer="lion(lr=1e-9,weight_decay=1e6)", **given)  # nothing but decay: lr * wd * w
    ratio = (ds.update_log10_mean_square - ds.weight_log10_mean_square).values[0, 0, :, 0] / 2
    np.testing.assert_allclose(ratio, np.log10(1e-9 * 1e6), atol=1e-3)


def test_words_turn_at_a_quarter() -> None:
    widths = [2, 4, 8]
    logs = np.array([[2 * 0.5 * np.log10(w) for w in widths], [2 * 0.7 * np.log10(w) for w in widths]])
    found = power_of(logs, widths)
    assert found.mean == pytest.approx(0.6) and found.high - found.mean == pytest.approx(12.7062 * 0.1, rel=1e-4)
    assert [word_of(p) for p in (0.26, 0.25, 0, -0.25, -0.26)] == ["grows", "stable", "stable", "stable", "shrinks"]
    assert threshold("grows") == threshold("shrinks") == 0.25


def test_a_layer_is_judged_by_its_value_at_the_start_and_by_its_changes() -> None:
    """log10 of mean squares that are powers of width, (seeds, widths, steps): values behind the start do not count."""
    widths = [4, 16, 64]

    def verdict(values: list[float], changes: list[float]) -> dict[str, Any]:
        logs = [np.multiply.outer(np.log10([widths] * 2) * 2, powers) for powers in (values, changes)]
        dims = ("seed", "width", "step")
        ds = xr.Dataset(
            {f"{name}_log10_mean_square": (dims, x) for name, x in zip(("value", "change"), logs, strict=True)}
        )
        return layer_of(ds, "w", widths)

    level = verdict([0, 0.5, 0.5], [np.nan, -0.5, 0])
    assert (level["verdict"], level["of"], level["text"], level["certain"]) == ("stable", "change", "stable", True)
    assert level["value_exponent"] == pytest.approx(0) and level["change_exponent"] == pytest.approx(0)
    starts = verdict([0.5, 0, 0], [np.nan, 0, 0])
    assert (starts["verdict"], starts["of"], starts["text"]) == ("grows", "value", "starts at width^0.5: not muP")
    grows = verdict([0, 0, 0], [np.nan, 0, 1.25])
    assert (grows["verdict"], grows["of"], grows["text"]) == ("grows", "change", "grows like width^1.25: not muP")
    at_first = verdict([0, 0, 0], [np.nan, 0.75, 0])
    assert (at_first["verdict"], at_first["text"]) == ("grows", "grows like width^0.75 at step 1: not muP")
    shrinks = verdict([-0.5, 0, 0], [np.nan, 0, -0.5])
    assert (shrinks["verdict"], shrinks["of"]) == ("shrinks", "change") and "width^-0.5" in shrinks["text"]


ELLIPSES = {
    "64,128,...,1024": [64, 128, 256, 512, 1024],
    "10,20,...,50": [10, 20, 30, 40, 50],
    "8,4,...,1": [8, 4, 2, 1],
    "5,4,...,2": [5, 4, 3, 2],
    "0.1,0.2,...,0.8": [0.1, 0.2, 0.4, 0.8],
    "1e-4,1e-3,...,0.1": [1e-4, 1e-3, 1e-2, 0.1],
    "1,8,16,...,64,100": [1, 8, 16, 32, 64, 100],
    "1/8,1/4,\u2026,1": [0.125, 0.25, 0.5, 1],
    "1,2,...,2.5,": None,
    "1,2,...,7.5": None,
    "...,4": None,
    "1,...,4": None,
    "1,2,...": None,
    "1,2,...,...,8": None,
    "3,3,...,9": None,
    "1,2,...,-3": None,
    "1,2,...,1e300": None,
}  # fmt: skip


@pytest.mark.parametrize("text", ELLIPSES)
def test_an_ellipsis_goes_on_by_a_ratio_or_a_step(text: str) -> None:
    expected = ELLIPSES[text]
    if expected is None:
        with pytest.raises(vp.InvalidArgumentError, match="widths: "):
            parse_numbers(text, "widths", integer=False)
        return
    assert parse_numbers(text, "widths", integer=False) == expected
    if all(value == int(value) for value in expected):
        assert (
            parse_numbers([item if item == "..." else float(item) for item in text.split(",")], "w", integer=True)
            == expected
        )


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "one width": ({"widths": 64}, "widths: a power of width needs two widths at least, got 64"),
    "no step": ({"steps": 0}, "steps: 0 is out of range"),
    "optimizer": ({"optimizer": "adamm"}, "optimizer: unknown optimizer 'adamm'; did you mean 'adam'"),
    "own optimizer in muP": ({"optimizer": optax.adam(1e-3)}, "optimizer: muP's learning rates with own are not known"),
    "init": ({"init": "mupp"}, "init: unknown initializer 'mupp'; did you mean 'mup'"),
    "few rows": ({"batch": 5000}, "5000"),
    "depth": ({"depth": 0}, "depth: 0 is out of range"),
    "two activations": ({"act": "relu,tanh"}, "act: takes one, got relu, tanh"),
    "no function": ({"factory": 3}, "factory: 3 is no function of a width"),
    "no width": ({"factory": lambda: None}, "factory: .* takes no width"),
    "a key alone": ({"factory": lambda key: None}, "factory: .* takes no width"),
    "not a tuple": ({"factory": lambda width: 3}, "returns int"),
    "no parameters": ({"factory": lambda width: (print,)}, r"must return \(loss_fn, params, \*batch\)"),
    "fails": ({"factory": lambda width: 1 / 0}, "fails: ZeroDivisionError"),
    "a keyword": ({"factory": lambda width: (print, {}, {"lose": 1})}, "'lose'; did you mean 'loss'"),
    "seeds": ({"factory": linear(1.0), "seeds": 3}, "seeds: every seed is the same: the factory takes no key"),
    "of stacks": ({"factory": linear(1.0), "depth": 3}, "depth: 3 goes with stacks"),
    "other sites": ({"factory": lambda width: (lambda p, x: jnp.sum(x @ p[str(width)]), {str(width): jnp.ones((2, width))}, jnp.ones((1, 2)))}, "the sites are not the same at width 16"),
    "more sites": ({"factory": lambda width: (lambda p, x: sum(jnp.sum(x @ w) for w in p), [jnp.ones((2, width))] * (width // 8), jnp.ones((1, 2)))}, "the sites are not the same at width 16"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    given, message = REFUSED[case]
    with pytest.raises(vp.InvalidArgumentError, match=message):
        vp.coord_check(**{"widths": [8, 16], "steps": 1, "seeds": None} | given)


FACTORY = """
import jax, jax.numpy as jnp

def make(width, key):
    a, b = jax.random.split(key)
    params = {"w": jax.random.normal(a, (3, width)), "v": jax.random.normal(b, (width, 2)) / width}
    return lambda p, x, y: jnp.mean((jnp.tanh(x @ p["w"]) @ p["v"] - y) ** 2), params, jnp.ones((4, 3)), jnp.ones((4, 2))

def none():
    return 1
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(FACTORY)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line: (exit code, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        out, error = capsys.readouterr()
        return int(str(stop.value.code)), out, error

    return run


def test_the_command_keeps_draws_and_answers(here: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    line = "coord-check net.py:make --widths 8,16,...,32 --seeds 2 --steps 2 --optimizer sgd(lr=0.1) --no-compile-cache"
    code, out, error = run(*line.split(), "--out", "kept", "--save", "fig.png", "--json")
    assert (code, error) == (0, "") and Path("fig.png").stat().st_size > 10_000
    answer = json.loads(out)
    (row,) = answer["rows"]
    assert set(answer) == {"version", "run", "rows"} and answer["run"] == "kept" and row["widths"] == [8, 16, 32]
    assert row["optimizer"] == "sgd(lr=0.1)" and [layer["site"] for layer in row["layers"]] == ["w", "v"]
    ds = vp.open_run("kept")
    assert dict(ds.sizes) | {"config": 1} == dict(config=1, seed=2, width=3, step=3, layer=2)
    assert vp.verify("kept").intact and vp.diagnose(ds).rows == [row]
    lines = Path("kept/results.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 3 * 3 * 2 and {"width", "step", "change_log10_mean_square"} <= set(lines[0].split(","))
    code, out, error = run("plot", "kept", "--kind", "coord-check")
    assert (code, out.strip()) == (0, "kept/coord-check.pdf")
    code, out, error = run("rerun", "kept", "--allow-code", "--no-compile-cache")
    assert code == 0 and "all" in out and "same bits" in out
    assert run("rerun", "kept")[0] == 2


def test_the_command_refuses_in_one_line(here: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    for arguments, message in {
        "--widths 64": "varprobe: --widths: a power of width needs two widths at least, got 64",
        "--widths 64,128,...,1000": "varprobe: --widths: 64,128,...,1000 goes on neither by a ratio nor by a step",
        "--optimizer adem": "varprobe: --optimizer: unknown optimizer 'adem'",
        "net.py:none": "varprobe: FACTORY: none takes no width: it is called as none(width), or none(width, key)",
        "net.py:makes": "varprobe: FACTORY: net.py:makes: there is no 'makes' in it; did you mean 'make'?",
        "net.py:make --depth 3": "varprobe: --depth: 3 goes with stacks",
        "--seeds 0": "varprobe: --seeds: 0 is out of range",
        "--batch 4000": "varprobe: --batch: ",
        "--base-width 0": "varprobe: --base-width: 0 is out of range",
        "--save x.doc": "varprobe: --save: ",
    }.items():
        code, out, error = run("coord-check", *arguments.split(), "--no-compile-cache")
        assert (code, out, error.count("\n")) == (2, "", 1), (arguments, error)
        assert error.startswith(message), error


def test_the_figure_has_a_line_a_step_and_the_powers(stacks: Any, widths: list[int]) -> None:
    figure = coordinates_figure(stacks)
    assert isinstance(figure, Figure) and len(figure.axes) == 6 * 3
    value, change = figure.axes[0], figure.axes[4 * 3 + 2]
    assert [len(ax.get_lines()) for ax in (value, change)] == [3, 2]  # a change at step 0 is zero
    found = stacks.isel(config=1, layer=2).change_log10_mean_square
    drawn = change.get_lines()[-1]
    np.testing.assert_allclose(drawn.get_xdata(), np.log2(widths))
    np.testing.assert_allclose(drawn.get_ydata(), found.sel(step=2).mean("seed") / 2)
    (text,) = [t for t in change.texts if t.get_gid() == "power"]
    assert float(text.get_text()) == pytest.approx(power_of(found.values[:, -2:, -1], widths[-2:]).mean, abs=0.006)
    assert text.get_fontweight() == "bold"
    ax = vp.plot_coord_check(stacks.isel(config=0), "value")
    assert len(ax.get_lines()) == 3 and ax.get_xlabel() == "width"
    with pytest.raises(vp.InvalidArgumentError, match="one configuration"):
        vp.plot_coord_check(stacks)
    with pytest.raises(vp.InvalidArgumentError, match="no variable 'change_log10_mean_square'"):
        vp.plot_coord_check(stacks.drop_vars("change_log10_mean_square"))
