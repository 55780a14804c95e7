"""The activation functions that can be named, and what can be measured about any activation, named or not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from varprobe.errors import InvalidArgumentError, did_you_mean, lookup
from varprobe.spec.calls import Call
from varprobe.spec.expressions import Expression
from varprobe.spec.user_code import REQUIRED, UserCode, is_reference, keyword_parameters, load
from varprobe.spec.user_errors import calling

__all__ = ["ACTIVATIONS", "Activation", "Asymptotics", "Registered", "behavior", "resolve_activation"]


@dataclass(frozen=True)
class Registered:
    """An activation of the registry: the function, its parameters' defaults, and a line for `varprobe list acts`."""

    function: Callable[..., jax.Array]
    formula: str
    parameters: Mapping[str, float | bool] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


def relu_squared(x: jax.Array) -> jax.Array:
    """max(x, 0)^2 (So et al. 2021, Primer)."""
    return jnp.square(jax.nn.relu(x))


def sin(x: jax.Array, omega: float = 1.0) -> jax.Array:
    """sin(omega x); SIREN (Sitzmann et al. 2020) uses omega = 30."""
    return jnp.sin(omega * x)


ACTIVATIONS: dict[str, Registered] = {
    "relu": Registered(jax.nn.relu, "max(x, 0)"),
    "relu6": Registered(jax.nn.relu6, "min(max(x, 0), 6)"),
    "relu_squared": Registered(relu_squared, "max(x, 0)^2"),
    "leaky_relu": Registered(jax.nn.leaky_relu, "x if x > 0 else negative_slope x", {"negative_slope": 0.01}),
    "elu": Registered(jax.nn.elu, "x if x > 0 else alpha (e^x - 1)", {"alpha": 1.0}),
    "celu": Registered(jax.nn.celu, "max(x, 0) + min(0, alpha (e^(x/alpha) - 1))", {"alpha": 1.0}),
    "selu": Registered(jax.nn.selu, "1.0507 (x if x > 0 else 1.6733 (e^x - 1))"),
    "gelu": Registered(jax.nn.gelu, "x Phi(x); approximate=true (jax's default): its tanh form", {"approximate": True}),
    "silu": Registered(jax.nn.silu, "x sigmoid(x)", aliases=("swish",)),
    "mish": Registered(jax.nn.mish, "x tanh(softplus(x))"),
    "softplus": Registered(jax.nn.softplus, "log(1 + e^x)"),
    "squareplus": Registered(jax.nn.squareplus, "(x + sqrt(x^2 + b)) / 2", {"b": 4.0}),
    "sigmoid": Registered(jax.nn.sigmoid, "1 / (1 + e^-x)"),
    "hard_sigmoid": Registered(jax.nn.hard_sigmoid, "relu6(x + 3) / 6"),
    "hard_silu": Registered(jax.nn.hard_silu, "x hard_sigmoid(x)", aliases=("hard_swish",)),
    "hard_tanh": Registered(jax.nn.hard_tanh, "min(max(x, -1), 1)"),
    "soft_sign": Registered(jax.nn.soft_sign, "x / (1 + |x|)"),
    "tanh": Registered(jnp.tanh, "tanh(x)"),
    "log_sigmoid": Registered(jax.nn.log_sigmoid, "-log(1 + e^-x)"),
    "sparse_plus": Registered(jax.nn.sparse_plus, "0 below -1, (x + 1)^2 / 4 to 1, x above"),
    "sparse_sigmoid": Registered(jax.nn.sparse_sigmoid, "min(max((x + 1) / 2, 0), 1)"),
    "identity": Registered(jax.nn.identity, "x", aliases=("linear",)),
    "erf": Registered(jax.scipy.special.erf, "2/sqrt(pi) times the integral of e^(-t^2) from 0 to x"),
    "sin": Registered(sin, "sin(omega x)", {"omega": 1.0}),
}
ALIASES = {alias: name for name, registered in ACTIVATIONS.items() for alias in registered.aliases}


@dataclass(frozen=True)
class Activation:
    """An activation with its parameters.

    `static` holds what must be known when the function is compiled; `numeric` the parameters that may differ between
    the nets of one compiled program. `name` is the canonical call form; `digest` identifies the user's source (None
    where it cannot be told) and is "" for registered activations.
    """

    name: str
    function: Callable[..., jax.Array]
    static: tuple[tuple[str, Any], ...] = ()
    numeric: tuple[tuple[str, float], ...] = ()
    digest: str | None = ""

    def __call__(self, x: jax.Array) -> jax.Array:
        """phi(x), elementwise."""
        return self.function(x, **dict(self.static), **dict(self.numeric))


def resolve_activation(spec: Call | Callable[[jax.Array], jax.Array], label: str | None = None) -> Activation:
    """The activation that a call form or a Python callable means.

    Raises:
        InvalidArgumentError: unknown name or parameter, a value of the wrong kind, or user code that is not an
            elementwise function traceable by jax.
    """
    if not isinstance(spec, Call):
        from varprobe.spec.user_code import digest_of

        name = label or str(getattr(spec, "__name__", type(spec).__name__))
        return check_elementwise(Activation(name, spec, digest=digest_of(spec)))
    if is_reference(spec.name):
        code = load(spec.name)
        return check_elementwise(user_activation(spec, code))
    name = ALIASES.get(spec.name, spec.name)
    registered = lookup(
        ACTIVATIONS | {a: ACTIVATIONS[n] for a, n in ALIASES.items()}, name, "activation", "varprobe list acts"
    )
    values = {}
    for given, value in named_arguments(spec, list(registered.parameters)):
        default = registered.parameters[given]
        values[given] = flag(spec, given, value) if isinstance(default, bool) else number(spec, given, value)
    canonical = str(Call(name, tuple(named_arguments(spec, list(registered.parameters)))))
    everything = dict(registered.parameters) | values
    return Activation(
        canonical,
        registered.function,
        static=tuple((k, v) for k, v in everything.items() if isinstance(v, bool)),
        numeric=tuple((k, v) for k, v in everything.items() if not isinstance(v, bool)),
    )


def user_activation(spec: Call, code: UserCode) -> Activation:
    """A function of the user's with the parameters of the call form, which stay plain Python numbers."""
    known = keyword_parameters(code.function)
    arguments = named_arguments(spec, list(known))
    missing = [k for k, default in known.items() if default is REQUIRED and k not in dict(arguments)]
    if missing:
        raise InvalidArgumentError(f"{spec.name} needs a value for {', '.join(missing)}")
    values = tuple((k, v if isinstance(v, bool | str) else number(spec, k, v)) for k, v in arguments)
    return Activation(str(Call(spec.name, tuple(arguments))), code.function, static=values, digest=code.digest)


def named_arguments(spec: Call, known: list[str]) -> list[tuple[str, Any]]:
    """The arguments with their names; a positional one is allowed where there is one parameter."""
    arguments: list[tuple[str, Any]] = []
    for name, value in spec.args:
        if not name:
            if len(known) != 1:
                takes = f"takes {', '.join(f'{k}=' for k in known)}" if known else "takes no parameters"
                raise InvalidArgumentError(f"{spec}: a value without a name; {spec.name} {takes}")
            name = known[0]
        if name not in known:
            allowed = did_you_mean(name, known) if known else f" ({spec.name} takes no parameters)"
            raise InvalidArgumentError(f"{spec}: unknown parameter {name!r}{allowed}")
        if any(name == other for other, _ in arguments):
            raise InvalidArgumentError(f"{spec}: {name!r} is given twice")
        arguments.append((name, value))
    return arguments


def number(spec: Call, name: str, value: Any) -> float:
    """A constant number."""
    if not isinstance(value, Expression) or not value.constant:
        raise InvalidArgumentError(
            f"{spec}: {name} must be a number, got {value if isinstance(value, str) else str(value)!r}"
        )
    return value.evaluate()


def flag(spec: Call, name: str, value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise InvalidArgumentError(f"{spec}: {name} must be true or false, got {str(value)!r}")
    return value


def check_elementwise(act: Activation) -> Activation:
    """Refuse what is not an elementwise function of jax arrays, in one line that says what was found."""
    x = np.linspace(-2.5, 2.0, 12, dtype=np.float32).reshape(3, 4)
    tried = "failed on a (3, 4) array under jax.jit and jax.grad (is it written with jax.numpy?)"
    with calling(f"{act.name} {tried}"):
        found = jax.eval_shape(act, x)
        if not isinstance(found, jax.ShapeDtypeStruct):
            raise InvalidArgumentError(f"{act.name} returns {type(found).__name__}, not an array")
        if found.dtype != x.dtype and found.shape == x.shape:
            raise InvalidArgumentError(f"{act.name} returns {found.dtype} for float32, not the dtype it was given")
        y = np.asarray(jax.jit(act)(x))
        part = np.asarray(jax.jit(act)(x[1:, ::-2]))
        jax.jit(jax.grad(lambda x: act(x).sum()))(x)
    if y.shape != x.shape:
        raise InvalidArgumentError(f"{act.name} is not elementwise: it maps shape (3, 4) to {y.shape}")
    if not np.allclose(part, y[1:, ::-2], rtol=1e-4, atol=1e-6, equal_nan=True):
        raise InvalidArgumentError(
            f"{act.name} is not elementwise: a value depends on the others, or on where it stands"
        )
    if not np.isfinite(y).all():
        where = x[~np.isfinite(y)][0]
        raise InvalidArgumentError(f"{act.name} is not finite at x = {where:g}")
    return act


@dataclass(frozen=True)
class Asymptotics:
    """What an activation does far from and near to zero, measured, never taken from its name.

    near: slopes (left, right) at 0 where phi(0) = 0 and phi is linear on each side there, else None.
    far:  slopes (left, right) at -inf and +inf where phi grows linearly on a side, else None.
    bounded: |phi| stays below 1e6 on both sides. homogeneous: phi is `near` everywhere, so phi(a x) = a phi(x), a > 0.
    """

    near: tuple[float, float] | None
    far: tuple[float, float] | None
    bounded: bool
    homogeneous: bool


SCALES = np.array([2.0**-60, 2.0**-40, 2.0**40, 2.0**60])
MIDDLE = np.geomspace(1e-3, 1e3, 61)


def behavior(act: Activation) -> Asymptotics:
    """Measure `Asymptotics` in float64 at |x| = 2^-60, 2^-40, 2^40 and 2^60, two scales on each side."""
    points = np.concatenate([SCALES, MIDDLE])
    with jax.enable_x64(True):
        x = jnp.asarray(np.concatenate([[0.0], -points, points]))
        phi = np.asarray(jax.jit(act)(x), np.float64)
    at_zero, left, right = phi[0], phi[1 : 1 + points.size] / -points, phi[1 + points.size :] / points

    def slopes(i: int, j: int) -> tuple[float, float] | None:
        pair = np.array([[left[i], left[j]], [right[i], right[j]]])
        steady = np.isfinite(pair).all() and np.allclose(pair[:, 0], pair[:, 1], rtol=1e-9, atol=1e-9)
        found = np.where(np.abs(pair[:, 0]) < 1e-8, 0.0, pair[:, 0])
        return (float(found[0]), float(found[1])) if steady and found.any() else None

    near = slopes(0, 1) if at_zero == 0 else None
    ends = np.abs(np.concatenate([left[2:4] * SCALES[2:], right[2:4] * SCALES[2:]]))
    return Asymptotics(
        near=near,
        far=slopes(3, 2),
        bounded=bool(np.isfinite(ends).all() and ends.max() < 1e6),
        homogeneous=near is not None
        and bool(np.allclose(left, near[0], rtol=1e-12) and np.allclose(right, near[1], rtol=1e-12)),
    )
