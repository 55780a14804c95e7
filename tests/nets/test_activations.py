"""Activations: values against closed forms, what is measured of them, the user's own, and what is refused."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from behaviors import BEHAVIORS
from scipy import special

import varprobe as vp
from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import ACTIVATIONS, ALIASES, Activation, Asymptotics, behavior, resolve_activation
from varprobe.spec.calls import parse_calls


def named(text: str) -> Activation:
    return resolve_activation(parse_calls(text)[0])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def clip(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.minimum(np.maximum(x, low), high)


FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.where(x > 0, x, 0),
    "relu6": lambda x: clip(x, 0, 6),
    "relu_squared": lambda x: np.where(x > 0, x**2, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "celu": lambda x: np.maximum(x, 0) + np.minimum(0, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x * sigmoid(x),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "softplus": softplus,
    "squareplus": lambda x: (x + np.sqrt(x**2 + 4)) / 2,
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda x: clip(x / 6 + 0.5, 0, 1),
    "hard_silu": lambda x: x * clip(x / 6 + 0.5, 0, 1),
    "hard_tanh": lambda x: clip(x, -1, 1),
    "soft_sign": lambda x: x / (1 + np.abs(x)),
    "tanh": np.tanh,
    "log_sigmoid": lambda x: -softplus(-x),
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x >= 1, x, (x + 1) ** 2 / 4)),
    "sparse_sigmoid": lambda x: clip((x + 1) / 2, 0, 1),
    "identity": lambda x: x,
    "erf": special.erf,
    "sin": np.sin,
    # parameters, the default where they are numbers standing above
    "leaky_relu(0.3)": lambda x: np.where(x > 0, x, 0.3 * x),
    "leaky_relu(negative_slope=-1)": np.abs,
    "elu(0.5)": lambda x: np.where(x > 0, x, 0.5 * np.expm1(np.minimum(x, 0))),
    "celu(alpha=2)": lambda x: np.maximum(x, 0) + np.minimum(0, 2 * np.expm1(np.minimum(x, 0) / 2)),
    "gelu(approximate=true)": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "gelu(approximate=false)": lambda x: x * special.ndtr(x),
    "squareplus(b=1)": lambda x: (x + np.sqrt(x**2 + 1)) / 2,
    "sin(omega=30)": lambda x: np.sin(30 * x),
}
POINTS = np.concatenate([np.linspace(-8, 8, 101), [-1, 1, -3, 3, 6, 0, 1e-3, -1e-3]])


def test_a_parameter_is_given_once() -> None:
    for text in ("elu(1,2,3)", "elu(1,alpha=2)"):
        with pytest.raises(InvalidArgumentError, match="'alpha' is given twice"):
            named(text)


def test_formulas_cover_the_registry() -> None:
    assert ACTIVATIONS.keys() <= FORMULAS.keys()
    with_parameters = {name.partition("(")[0] for name in FORMULAS if "(" in name}
    assert with_parameters == {name for name, registered in ACTIVATIONS.items() if registered.parameters}


@pytest.mark.parametrize("name", FORMULAS)
def test_values(name: str, x64: None) -> None:
    """Against the formula in float64, to its rounding (and that of exp and tanh near the tails)."""
    act, expected = named(name), FORMULAS[name](POINTS)
    np.testing.assert_allclose(act(jnp.asarray(POINTS)), expected, rtol=1e-12, atol=1e-14)
    assert np.abs(act(jnp.asarray(POINTS)) - FORMULAS["relu"](POINTS + 0.1)).max() > 1e-3  # the wrong one is not


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if hasattr(jax.nn, name)])
def test_is_the_function_of_jax_nn(name: str) -> None:
    """Value and derivative, at the kinks too, to the bit; defaults are jax's."""
    x, theirs = jnp.asarray(POINTS, jnp.float32), getattr(jax.nn, name)
    np.testing.assert_array_equal(named(name)(x), theirs(x))
    slope = jax.vmap(jax.grad(lambda x: named(name)(x)))(x)
    np.testing.assert_array_equal(slope, jax.vmap(jax.grad(lambda x: theirs(x)))(x))
    for parameter, default in ACTIVATIONS[name].parameters.items():
        assert inspect.signature(theirs).parameters[parameter].default == default


def test_every_elementwise_function_of_jax_nn_is_there() -> None:
    """And under its own name. Those missing map arrays to arrays of another shape or kind; log1mexp is NaN below 0."""
    others = {
        "dot_product_attention",
        "get_scaled_dot_general_config",
        "glu",
        "initializers",
        "log1mexp",
        "log_softmax",
    }
    others |= {"logmeanexp", "logsumexp", "one_hot", "scaled_dot_general", "scaled_matmul", "softmax", "standardize"}
    public = {name for name in dir(jax.nn) if not name.startswith("_")}
    assert public - others <= ACTIVATIONS.keys() | ALIASES.keys()
    assert ALIASES == {"swish": "silu", "hard_swish": "hard_silu", "linear": "identity"}


@pytest.mark.parametrize("alias, name", ALIASES.items())
def test_aliases(alias: str, name: str) -> None:
    assert named(alias) == named(name)
    assert named(alias).name == name


@pytest.mark.parametrize(
    "text, canonical",
    [
        ("leaky_relu(0.10)", "leaky_relu(negative_slope=0.1)"),
        ("elu(alpha = 1.0)", "elu(alpha=1)"),
        ("elu", "elu"),
        ("gelu(False)", "gelu(approximate=false)"),
        ("sin( 30 )", "sin(omega=30)"),
    ],
)
def test_canonical_names(text: str, canonical: str) -> None:
    assert named(text).name == canonical
    assert named(canonical) == named(text)


# What is measured of them


def test_behaviors_cover_the_registry() -> None:
    assert ACTIVATIONS.keys() <= BEHAVIORS.keys()
    homogeneous = {name.partition("(")[0] for name, expected in BEHAVIORS.items() if expected[3]}
    assert homogeneous == {"relu", "leaky_relu", "identity"}


@pytest.mark.parametrize("name", BEHAVIORS)
def test_behavior(name: str) -> None:
    """Slopes to 1e-9, the tolerance of the measurement; relu and identity are exact."""
    near, far, bounded, homogeneous = BEHAVIORS[name]
    found = behavior(named(name))
    assert (found.bounded, found.homogeneous) == (bounded, homogeneous)
    for measured, expected in ((found.near, near), (found.far, far)):
        assert (measured is None) == (expected is None)
        if expected:
            np.testing.assert_allclose(measured, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    "function, expected",
    [
        (lambda x: jnp.maximum(0.2 * x, x), Asymptotics((0.2, 1.0), (0.2, 1.0), False, True)),
        (lambda x: 3 * x, Asymptotics((3.0, 3.0), (3.0, 3.0), False, True)),
        (lambda x: 3 * x + 1e-6, Asymptotics(None, (3.0, 3.0), False, False)),  # affine is not homogeneous
        (lambda x: jnp.where(jnp.abs(x) > 100, x, 2 * x), Asymptotics((2.0, 2.0), (1.0, 1.0), False, False)),
        (lambda x: jnp.where(jnp.abs(jnp.abs(x) - 1) < 0.3, 0.0, x), Asymptotics((1.0, 1.0), (1.0, 1.0), False, False)),
        (lambda x: x**3, Asymptotics(None, None, False, False)),
        (lambda x: jnp.sqrt(jnp.abs(x) + 1) - 1, Asymptotics(None, None, False, False)),
        (lambda x: jnp.zeros_like(x), Asymptotics(None, None, True, False)),
    ],
)
def test_behavior_of_the_users_own(function: Callable[[jax.Array], jax.Array], expected: Asymptotics) -> None:
    assert behavior(resolve_activation(function)) == expected


# The user's own

SOURCE = """
import jax
import jax.numpy as jnp
import numpy

def twice(x, slope=0.5):
    return jnp.where(x > 0, x, slope * x)

def needs(x, *, beta):
    return x * jax.nn.sigmoid(beta * x)

def of_numpy(x):
    return numpy.maximum(x, 0)
def softmax(x):
    return jax.nn.softmax(x)
def centered(x):
    return x - x.mean()
def total(x):
    return x.sum()
def pairs(x):
    return x, x
def wide(x):
    return jnp.concatenate([x, -x], axis=-1)
def raises(x):
    raise ValueError("no such thing\\nsecond line")
def branches(x):
    return x if x.sum() > 0 else -x
def logarithm(x):
    return jnp.log(x)
def at_place(x):
    return x * jnp.arange(x.size).reshape(x.shape)
def two_arguments(x, y):
    return x
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_parameters_of_the_users_own(folder: Path) -> None:
    x = jnp.asarray(POINTS, jnp.float32)
    np.testing.assert_array_equal(named("mine.py:twice")(x), jnp.where(x > 0, x, 0.5 * x))
    np.testing.assert_array_equal(named("mine:twice(slope=0.25)")(x), jnp.where(x > 0, x, 0.25 * x))
    np.testing.assert_allclose(named("mine.py:needs(beta=2)")(x), x * jax.nn.sigmoid(2 * x), rtol=1e-6)
    assert named("mine.py:twice( slope = 0.50 )").name == "mine.py:twice(slope=0.5)"
    assert named("mine.py:twice").digest != ""
    assert resolve_activation(lambda x: jnp.tanh(x)).digest is None  # no file says what it is: never reused


def test_the_users_own_is_measured_like_the_registered(folder: Path) -> None:
    """The same function by reference, as a function and in a dict, to the bit; the numbers of another differ."""
    arguments: dict[str, Any] = {"depth": 3, "width": 8, "batch": 3, "init": "he_normal,glorot_uniform", "seeds": 1}
    mine: dict[str, Any] = {"ours": lambda x: jnp.where(x > 0, x, 0.5 * x)}
    ds = vp.sweep(act=["leaky_relu(0.5)", "mine.py:twice", mine, jax.nn.softplus], **arguments)
    names = ["leaky_relu(negative_slope=0.5)", "mine.py:twice", "ours", "softplus"]
    assert list(dict.fromkeys(ds.act.values.tolist())) == names
    for init in ("he_normal", "glorot_uniform"):
        rows = [vp.select(ds, act=name, init=init) for name in names]
        for row in rows[1:3]:
            for name in ds.data_vars:
                if not name.startswith("theory_"):  # which has a closed form for one of them
                    np.testing.assert_array_equal(row[name], rows[0][name])
            np.testing.assert_allclose(
                row.theory_gradient_log10_mean_square, rows[0].theory_gradient_log10_mean_square, rtol=1e-9
            )
        assert np.abs(rows[3].activation_log10_mean_square - rows[0].activation_log10_mean_square).max() > 0.01


@pytest.mark.parametrize(
    "name, message",
    [
        ("of_numpy", "failed on a (3, 4) array under jax.jit and jax.grad (is it written with jax.numpy?): Tracer"),
        ("softmax", "is not elementwise: a value depends on the others, or on where it stands"),
        ("centered", "is not elementwise: a value depends on the others, or on where it stands"),
        ("total", "is not elementwise: it maps shape (3, 4) to ()"),
        ("pairs", ""),
        ("wide", "is not elementwise: it maps shape (3, 4) to (3, 8)"),
        ("raises", "ValueError: no such thing"),
        ("branches", "TracerBoolConversionError"),
        ("logarithm", "is not finite at x = -2.5"),
        ("at_place", "is not elementwise: a value depends on the others, or on where it stands"),
        ("two_arguments", "needs a value for y"),
    ],
)
def test_refuses_of_the_users_own(folder: Path, name: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        named(f"mine.py:{name}")
    assert f"mine.py:{name}" in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert named("mine.py:twice")  # what is right is taken


@pytest.mark.parametrize(
    "text, message",
    [
        ("rleu", "unknown activation 'rleu'; did you mean 'relu'? (`varprobe list acts` shows all)"),
        ("swich", "unknown activation 'swich'; did you mean 'swish'? (`varprobe list acts` shows all)"),
        ("log1mexp", "unknown activation 'log1mexp'"),
        ("relu(0.1)", "relu(0.1): a value without a name; relu takes no parameters"),
        ("relu(slope=1)", "relu(slope=1): unknown parameter 'slope' (relu takes no parameters)"),
        ("leaky_relu(slope=0.1)", "leaky_relu(slope=0.1): unknown parameter 'slope' (allowed: negative_slope)"),
        ("leaky_relu(negativeslope=0.1)", "unknown parameter 'negativeslope'; did you mean 'negative_slope'?"),
        ("leaky_relu(true)", "negative_slope must be a number, got"),
        ("leaky_relu(1/fan_in)", "negative_slope must be a number, got '1/fan_in'"),
        ("gelu(1)", "approximate must be true or false, got '1'"),
        ("elu(alpha=big)", "alpha must be a number, got 'big'"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        named(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
