"""The initializers that can be named: a base, and the mean and scale that W = mean + scale * base has in a layer.

Names, defaults and laws are those of jax.nn.initializers where it has them. A bare `sigma` is not a parameter of any:
texts disagree whether N(0, s) means a standard deviation or a variance, so it is std= (or stddev=) or var= here.
`gain=` (a factor) and `shift=` (a constant added to every entry) can be given to all of them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from varprobe.callform import Call
from varprobe.errors import RequestError
from varprobe.expressions import Expression
from varprobe.names import did_you_mean, lookup

__all__ = ["INITIALIZERS", "STANDARD", "Initializer", "Place", "Registered", "Values", "resolve_initializer"]

TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of N(0, 1) truncated to (-2, 2); the constant of jax.nn.initializers.variance_scaling."""


class Place(NamedTuple):
    """Where a matrix stands: what an expression may refer to. `layer`: 1 to depth (depth + 1: the read-out)."""

    fan_in: int
    fan_out: int
    width: int
    depth: int
    layer: int


Values = dict[str, Any]
Numbers = Callable[[Values, Place], tuple[float, float]]


@dataclass(frozen=True)
class Registered:
    """An initializer of the registry.

    parameters: name -> default (None: no default). one_of: groups of which exactly one must be given, unless the group
    has a default. words: the values that a word parameter takes. law: (kind of base, its parameters); numbers: (mean,
    scale) at a place.
    """

    meaning: str
    law: str
    numbers: Numbers
    parameters: Mapping[str, Any] = field(default_factory=dict)
    one_of: tuple[str, ...] = ()
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    positional: bool = True
    for_bias: bool = False


def std_of(values: Values) -> float:
    """The standard deviation that std=, stddev= or var= states."""
    if "var" in values:
        return math.sqrt(values["var"])
    return values["std"] if "std" in values else values["stddev"]


def truncated_scale(values: Values) -> float:
    """stddev= is the one before truncation, as in jax; std= the realized one."""
    return values["std"] / TRUNCATED_STD if "std" in values else values["stddev"]


def fan(mode: str, place: Place) -> float:
    """The denominator of variance scaling."""
    fans = {
        "fan_in": place.fan_in,
        "fan_out": place.fan_out,
        "fan_avg": (place.fan_in + place.fan_out) / 2,
        "fan_geo_avg": math.sqrt(place.fan_in * place.fan_out),
    }
    return max(1.0, fans[mode])


def scaled(variance: float, distribution: str) -> float:
    """The scale of a base with that law, for a variance of W."""
    if variance < 0:
        raise RequestError("scale must not be negative")
    per_std = {"normal": 1.0, "truncated_normal": 1 / TRUNCATED_STD, "uniform": math.sqrt(3)}
    return math.sqrt(variance) * per_std[distribution]


def variance_scaling(scale: float, mode: str, distribution: str) -> Numbers:
    """(mean, scale) of Var W = scale / fan."""
    return lambda values, place: (0.0, scaled(scale / fan(mode, place), distribution))


def uniform_numbers(values: Values, place: Place) -> tuple[float, float]:
    """limit=a: U(-a, a). scale=s: U[0, s), jax's own."""
    if "limit" in values:
        return 0.0, values["limit"]
    return values["scale"] / 2, values["scale"] / 2


def unsettled(values: Values, place: Place) -> tuple[float, float]:
    """Where an initializer stands that needs an activation, and has none (see `theory.sigmas.settled`)."""
    raise RequestError("its variance is that of an activation, and none is given here")


DISTRIBUTIONS = ("truncated_normal", "normal", "uniform")
MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")


def fan_family(name: str, alias: str | None, formula: str, scale: float, mode: str) -> dict[str, Registered]:
    """The truncated normal and uniform members of a variance-scaling family."""
    return {
        f"{name}_{law}": Registered(
            f"{'truncated N' if law == 'normal' else 'U'}, Var W = {formula}",
            base,
            variance_scaling(scale, mode, base),
            aliases=(f"{alias}_{law}",) if alias else (),
        )
        for law, base in (("normal", "truncated_normal"), ("uniform", "uniform"))
    }


INITIALIZERS: dict[str, Registered] = {
    "normal": Registered(
        "N(mean, std^2); default stddev=0.01, as jax",
        "normal",
        lambda v, p: (v["mean"], std_of(v)),
        {"std": None, "stddev": 0.01, "var": None, "mean": 0.0},
        one_of=("std", "stddev", "var"),
        positional=False,
        for_bias=True,
    ),
    "truncated_normal": Registered(
        "N cut at 2 sd; stddev= before the cut (jax's, default 0.01), std= the realized one",
        "truncated_normal",
        lambda v, p: (0.0, truncated_scale(v)),
        {"stddev": 0.01, "std": None},
        one_of=("stddev", "std"),
        positional=False,
        for_bias=True,
    ),
    "uniform": Registered(
        "limit=a: U(-a, a); scale=s: U[0, s), jax's, whose mean is not 0",
        "uniform",
        uniform_numbers,
        {"limit": None, "scale": None},
        one_of=("limit", "scale"),
        positional=False,
        for_bias=True,
    ),
    **fan_family("glorot", "xavier", "2 / (fan_in + fan_out)", 1.0, "fan_avg"),
    **fan_family("he", "kaiming", "2 / fan_in", 2.0, "fan_in"),
    **fan_family("lecun", None, "1 / fan_in", 1.0, "fan_in"),
    "orthogonal": Registered(
        "scale x a uniformly random orthogonal matrix", "orthogonal", lambda v, p: (0.0, v["scale"]), {"scale": 1.0}
    ),
    "variance_scaling": Registered(
        "Var W = scale / fan; mode fan_in|fan_out|fan_avg|fan_geo_avg",
        "distribution",
        lambda v, p: (0.0, scaled(v["scale"] / fan(v["mode"], p), v["distribution"])),
        {"scale": 1.0, "mode": "fan_in", "distribution": "truncated_normal"},
        words={"mode": MODES, "distribution": DISTRIBUTIONS},
    ),
    "constant": Registered(
        "every entry is value",
        "nothing",
        lambda v, p: (v["value"], 0.0),
        {"value": None},
        one_of=("value",),
        for_bias=True,
    ),
    "zeros": Registered("every entry is 0", "nothing", lambda v, p: (0.0, 0.0), for_bias=True),
    "ones": Registered("every entry is 1", "nothing", lambda v, p: (1.0, 0.0), for_bias=True),
    "identity": Registered("ones on the diagonal, 0 elsewhere", "eye", lambda v, p: (0.0, 1.0)),
    "sparse": Registered(
        "N(0, std^2) in a share `density` of each column, 0 elsewhere (std: torch's)",
        "sparse",
        lambda v, p: (0.0, v["std"]),
        {"density": None, "std": 0.01},
        one_of=("density",),
    ),
    "torch_default": Registered(
        "U(+-1/sqrt(fan_in)), what torch.nn.Linear starts from (also its bias)",
        "uniform",
        lambda v, p: (0.0, 1 / math.sqrt(p.fan_in)),
        for_bias=True,
    ),
    "critical": Registered(
        "N, Var W = sigma_w2 / fan_in with chi_1 = 1 for this activation and bias",
        "normal",
        unsettled,
    ),
    "keras_random_uniform": Registered("U(-0.05, 0.05)", "uniform", lambda v, p: (0.0, 0.05), for_bias=True),
    "keras_random_normal": Registered("N(0, 0.05^2)", "normal", lambda v, p: (0.0, 0.05), for_bias=True),
}
ALIASES = {alias: name for name, registered in INITIALIZERS.items() for alias in registered.aliases}

STANDARD = (
    "normal(std=0.01)",
    "uniform(limit=0.01)",
    "uniform(limit=1)",
    "normal(mean=0.02,std=0.05)",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "orthogonal",
    "torch_default",
)
"""What is swept where no initializer is named."""

POSITIVE = frozenset({"std", "stddev", "var", "limit", "density"})
COMMON = {"gain": 1.0, "shift": 0.0}


@dataclass(frozen=True)
class Initializer:
    """An initializer with its parameters.

    `name` is the canonical call form, `law` the kind of base with what it depends on (see `bases.base_of`),
    `digest` identifies the user's source (None where it cannot be told; "" for registered ones).
    """

    name: str
    law: tuple[Any, ...]
    arguments: tuple[tuple[str, Any], ...]
    numbers: Numbers
    for_bias: bool
    digest: str | None = ""

    def at(self, place: Place) -> tuple[float, float]:
        """(mean, scale) of W = mean + scale * base.

        Raises:
            RequestError: a value is out of range there, or not finite.
        """
        values: Values = {}
        for name, value in self.arguments:
            values[name] = value.evaluate(**place._asdict()) if isinstance(value, Expression) else value
            if name in POSITIVE and values[name] < 0:
                raise RequestError(f"{self.name}: {name} must not be negative, got {values[name]:g}")
        gain, shift = values.pop("gain", 1.0), values.pop("shift", 0.0)
        try:
            mean, scale = self.numbers(values, place)
        except RequestError as error:
            raise error if error.option else RequestError(f"{self.name}: {error.message}") from None
        mean, scale = gain * mean + shift, gain * scale
        if not (math.isfinite(mean) and math.isfinite(scale)):
            raise RequestError(f"{self.name} is not finite at layer {place.layer}")
        return mean, scale

    @property
    def settled(self) -> bool:
        """Whether it has numbers without an activation."""
        return self.numbers is not unsettled

    @property
    def layerwise(self) -> bool:
        """Whether its numbers depend on more than the shape of the matrix."""
        return any(isinstance(v, Expression) and v.names & {"layer"} for _, v in self.arguments)


def resolve_initializer(spec: Call | Callable[..., Any], label: str | None = None) -> Initializer:
    """The initializer that a call form or a Python callable means.

    Raises:
        RequestError: unknown name or parameter, or a value that it does not take.
    """
    from varprobe.user_code import digest_of, is_reference, load

    if not isinstance(spec, Call):
        name = label or str(getattr(spec, "__name__", type(spec).__name__))
        return custom(name, spec, (), digest_of(spec))
    if is_reference(spec.name):
        code = load(spec.name)
        return custom(str(spec), code.function, spec.args, code.digest)
    name = ALIASES.get(spec.name, spec.name)
    registered = lookup(
        INITIALIZERS | {a: INITIALIZERS[n] for a, n in ALIASES.items()}, name, "initializer", "varprobe list inits"
    )
    arguments = check_arguments(spec, name, registered)
    law: tuple[Any, ...] = (registered.law,)
    values = dict(registered.parameters) | dict(arguments)
    if registered.law == "distribution":
        law = (values["distribution"],)
    if registered.law == "sparse":
        law = ("sparse", constant(spec, "density", values["density"], 0, 1))
    given = {k for k, _ in arguments}
    defaults = [
        (k, v)
        for k, v in registered.parameters.items()
        if v is not None and k not in given and not (k in registered.one_of and given & set(registered.one_of))
    ]
    return Initializer(
        str(Call(name, tuple(arguments))), law, (*arguments, *defaults), registered.numbers, registered.for_bias
    )


def check_arguments(spec: Call, name: str, registered: Registered) -> list[tuple[str, Any]]:
    """The arguments with their names, each known and of the right kind, and none missing."""
    own, known = list(registered.parameters), [*registered.parameters, *COMMON]
    arguments = []
    for key, value in spec.args:
        if not key:
            if len(own) != 1 or not registered.positional:
                raise RequestError(
                    f"{spec}: a value needs its name here: {name}({' or '.join(f'{k}=' for k in known)})"
                )
            key = own[0]
        if key in ("sigma", "sd", "s", "sigma_w"):
            raise RequestError(
                f"{spec}: {key!r} is ambiguous, texts disagree whether it is a standard deviation or a "
                f"variance; say std= or var="
            )
        if key not in known:
            raise RequestError(f"{spec}: unknown parameter {key!r}{did_you_mean(key, known)}")
        if key in registered.words:
            value = value.text if isinstance(value, Expression) else value
            if value not in registered.words[key]:
                raise RequestError(
                    f"{spec}: unknown {key} {str(value)!r}{did_you_mean(str(value), registered.words[key])}"
                )
        elif not isinstance(value, Expression):
            raise RequestError(f"{spec}: {key} must be a number or an expression, got {str(value)!r}")
        arguments.append((key, value))
    given = [k for k, _ in arguments if k in registered.one_of]
    if len(given) > 1:
        raise RequestError(f"{spec}: give one of {', '.join(given)}, not several")
    if registered.one_of and not given and all(registered.parameters[k] is None for k in registered.one_of):
        raise RequestError(f"{spec} needs {' or '.join(f'{k}=' for k in registered.one_of)}: {registered.meaning}")
    return arguments


def constant(spec: Call, name: str, value: Any, low: float, high: float) -> float:
    """A number in (low, high] that does not depend on the layer."""
    if not value.constant or not low < value.evaluate() <= high:
        raise RequestError(f"{spec}: {name} must be a number above {low:g} and at most {high:g}, got {str(value)!r}")
    return value.evaluate()


def custom(
    name: str, function: Callable[..., Any], arguments: tuple[tuple[str, Any], ...], digest: str | None
) -> Initializer:
    """The user's own function (key, shape, dtype), with keyword-only `layer`, `depth` handed in where it has them."""
    from varprobe.user_code import REQUIRED, keyword_parameters

    known = keyword_parameters(function, positional=3)
    positions = tuple(k for k in ("layer", "depth") if k in known)
    keywords, common = [], []
    for key, value in arguments:
        if key in COMMON:
            common.append((key, value))
            continue
        if key not in known or key in positions:
            raise RequestError(f"{name}: unknown parameter {key!r}{did_you_mean(key, [*known, *COMMON])}")
        keywords.append((key, value.evaluate() if isinstance(value, Expression) else value))
    missing = [k for k, d in known.items() if d is REQUIRED and k not in positions and k not in dict(keywords)]
    if missing:
        raise RequestError(f"{name} needs a value for {', '.join(missing)}")
    law = ("custom", function, tuple(keywords), positions)
    return Initializer(name, law, tuple(common), lambda v, p: (0.0, 1.0), True, digest)
