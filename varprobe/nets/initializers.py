"""The initializers that can be named: a base, and the mean and scale that W = mean + scale * base has in a layer.

Names, defaults and laws are those of jax.nn.initializers where it has them. A bare `sigma` is not a parameter of any:
texts disagree whether N(0, s) means a standard deviation or a variance, so it is std= (or stddev=) or var= here.
`gain=` (a factor) and `shift=` (a constant added to every entry) can be given to all of them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from varprobe.errors import InvalidArgumentError, did_you_mean, lookup
from varprobe.spec.calls import Call
from varprobe.spec.expressions import Expression

__all__ = ["INITIALIZERS", "STANDARD", "Initializer", "LayerContext", "Registered", "Values", "resolve_initializer"]

TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of N(0, 1) truncated to (-2, 2); the constant of jax.nn.initializers.variance_scaling."""


class LayerContext(NamedTuple):
    """Where a matrix stands: what an expression may refer to. `layer`: 1 to depth (depth + 1: the read-out).

    Initializers may also look at `slot`, the matrix's name in its block, `last`, whether it ends a branch, `kind`, the
    kind of layer that it belongs to, `branch`, how many matrices a signal passes in its residual branch (0: in none),
    `branches`, how many residual branches the net has, and `bias`, whether the vector beside it is meant.
    """

    fan_in: int
    fan_out: int
    width: int
    depth: int
    layer: int
    slot: str = "w"
    last: bool = False
    kind: str = "dense"
    branch: int = 0
    branches: int = 0
    bias: bool = False


Values = dict[str, Any]
Numbers = Callable[[Values, LayerContext], tuple[float, float]]
Factor = Callable[[Values, LayerContext], float]


@dataclass(frozen=True)
class Registered:
    """An initializer of the registry.

    parameters: name -> default (None: no default). one_of: groups of which exactly one must be given, unless the group
    has a default. words: the values that a word parameter takes. law: (kind of base, its parameters); numbers: (mean,
    scale) at a place. multiplier: what stands between the parameter and the matrix that it means. branch_scale: what
    residual branches are multiplied by. residual: for nets with residual branches only. scalable: gain= and shift= have
    a meaning.
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
    multiplier: Factor | None = None
    branch_scale: Factor | None = None
    residual: bool = False
    scalable: bool = True


def std_of(values: Values) -> float:
    """The standard deviation that std=, stddev= or var= states."""
    if "var" in values:
        return math.sqrt(values["var"])
    return values["std"] if "std" in values else values["stddev"]


def truncated_scale(values: Values) -> float:
    """stddev= is the one before truncation, as in jax; std= the realized one."""
    return values["std"] / TRUNCATED_STD if "std" in values else values["stddev"]


def fan(mode: str, place: LayerContext) -> float:
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
        raise InvalidArgumentError("scale must not be negative")
    per_std = {"normal": 1.0, "truncated_normal": 1 / TRUNCATED_STD, "uniform": math.sqrt(3)}
    return math.sqrt(variance) * per_std[distribution]


def variance_scaling(scale: float, mode: str, distribution: str) -> Numbers:
    """(mean, scale) of Var W = scale / fan."""
    return lambda values, place: (0.0, scaled(scale / fan(mode, place), distribution))


def uniform_numbers(values: Values, place: LayerContext) -> tuple[float, float]:
    """limit=a: U(-a, a). scale=s: U[0, s), jax's own."""
    if "limit" in values:
        return 0.0, values["limit"]
    return values["scale"] / 2, values["scale"] / 2


def torch_numbers(values: Values, place: LayerContext) -> tuple[float, float]:
    """The limit of the uniform law that the layers of torch.nn start from, by the kind of layer."""
    if place.kind == "recurrent":  # RNN, LSTM, GRU: all matrices and biases by the size of the state
        return 0.0, 1 / math.sqrt(place.width)
    if place.kind.startswith("attention") and place.bias:  # MultiheadAttention
        return 0.0, 0.0
    if place.kind == "attention":  # xavier_uniform of the joint (3 E, E) matrix
        return 0.0, math.sqrt(6 / (4 * place.fan_in))
    return 0.0, 1 / math.sqrt(place.fan_in)


def he_numbers(values: Values, place: LayerContext) -> tuple[float, float]:
    """N(0, 2 / fan_in)."""
    return 0.0, math.sqrt(2 / place.fan_in)


def fixup_numbers(values: Values, place: LayerContext) -> tuple[float, float]:
    """Zhang et al. 2019, rules 1 and 2: of L branches of m matrices the last is 0, the rest He L^(-1/(2m-2))."""
    if not place.branch:
        return he_numbers(values, place)
    if place.last:
        return 0.0, 0.0
    return 0.0, place.branches ** (-1 / (2 * place.branch - 2)) * math.sqrt(2 / place.fan_in)


def mup_numbers(values: Values, place: LayerContext) -> tuple[float, float]:
    """Yang et al. 2021, table 3: variance 1 / fan_in of input and hidden weights, 1 / fan_in^2 of the read-out's."""
    return 0.0, 1 / place.fan_in if place.layer > place.depth else 1 / math.sqrt(place.fan_in)


def ntk_multiplier(values: Values, place: LayerContext) -> float:
    """sqrt(scale / fan_in)."""
    if not values["scale"] > 0:
        raise InvalidArgumentError(f"scale must be above 0, got {values['scale']:g}")
    return math.sqrt(values["scale"] / place.fan_in)


def unsettled(values: Values, place: LayerContext) -> tuple[float, float]:
    """Where an initializer stands that needs an activation, and has none (see `theory.sigmas.resolved_initializer`)."""
    raise InvalidArgumentError("its variance is that of an activation, and none is given here")


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
    "delta_orthogonal": Registered(
        "conv: orthogonal at the kernel's center, 0 elsewhere; channels may not fall",
        "delta_orthogonal",
        lambda v, p: (0.0, v["scale"]),
        {"scale": 1.0},
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
    "identity": Registered(
        "ones on the diagonal, 0 elsewhere; conv: at the kernel's center", "eye", lambda v, p: (0.0, 1.0)
    ),
    "sparse": Registered(
        "N(0, std^2) in a share `density` of each column, 0 elsewhere (std: torch's)",
        "sparse",
        lambda v, p: (0.0, v["std"]),
        {"density": None, "std": 0.01},
        one_of=("density",),
    ),
    "torch_default": Registered(
        "what torch.nn starts from: U(+-1/sqrt(fan_in)), also biases; recurrent 1/sqrt(width); q, k, v of attention "
        "xavier_uniform of the joint matrix, its biases 0",
        "uniform",
        torch_numbers,
        for_bias=True,
    ),
    "gpt2": Registered(
        "N(0, std^2), std=0.02; matrices that end a branch divided by sqrt(2 depth), as GPT-2 (Radford et al. 2019)",
        "normal",
        lambda v, p: (0.0, v["std"] / (math.sqrt(2 * p.depth) if p.last else 1.0)),
        {"std": 0.02},
        positional=False,
    ),
    "bert": Registered(
        "truncated N, stddev=0.02 before the cut, as BERT (Devlin et al. 2019)",
        "truncated_normal",
        lambda v, p: (0.0, v["stddev"]),
        {"stddev": 0.02},
        positional=False,
    ),
    "critical": Registered(
        "N, Var W = sigma_w2 / fan_in with chi_1 = 1 for this activation and bias",
        "normal",
        unsettled,
    ),
    "lsuv": Registered(
        "orthogonal, each matrix scaled so that its product has variance 1 on the very batch; Mishkin & Matas 2016",
        "lsuv",
        lambda v, p: (0.0, 1.0),
        scalable=False,
    ),
    "fixup": Registered(
        "branches of m matrices: the last 0, the others he_normal x branches^(-1/(2m-2)); a read-out he_normal (at 0, "
        "as in the paper, no gradient would pass); Zhang et al. 2019",
        "normal",
        fixup_numbers,
        residual=True,
    ),
    "skipinit": Registered(
        "he_normal, and residual branches x alpha, which is learned and starts at 0; De & Smith 2020",
        "normal",
        he_numbers,
        {"alpha": 0.0},
        branch_scale=lambda v, p: v["alpha"],
        residual=True,
    ),
    "mup": Registered(
        "N, Var W = 1 / fan_in, and 1 / fan_in^2 in a loss's read-out; Yang et al. 2021, table 3",
        "normal",
        mup_numbers,
    ),
    "ntk": Registered(
        "W = sqrt(scale / fan_in) w, w ~ N(0, 1): weights and weight gradients are those of w; Jacot et al. 2018",
        "normal",
        lambda v, p: (0.0, ntk_multiplier(v, p)),
        {"scale": 1.0},
        multiplier=ntk_multiplier,
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

    `name` is the canonical call form, `law` the kind of base with what it depends on (see `weight_bases.base_of`),
    `digest` identifies the user's source (None where it cannot be told; "" for registered ones).
    """

    name: str
    law: tuple[Any, ...]
    arguments: tuple[tuple[str, Any], ...]
    numbers: Numbers
    for_bias: bool
    digest: str | None = ""
    multiplier: Factor | None = None
    branch_scale: Factor | None = None
    residual: bool = False

    def at(self, place: LayerContext) -> tuple[float, float]:
        """(mean, scale) of W = mean + scale * base.

        Raises:
            InvalidArgumentError: a value is out of range there, or not finite.
        """
        values = self.values(place)
        gain, shift = values.pop("gain", 1.0), values.pop("shift", 0.0)
        try:
            mean, scale = self.numbers(values, place)
        except InvalidArgumentError as error:
            raise error if error.option else InvalidArgumentError(f"{self.name}: {error.message}") from None
        mean, scale = gain * mean + shift, gain * scale
        if not (math.isfinite(mean) and math.isfinite(scale)):
            raise InvalidArgumentError(f"{self.name} is not finite at layer {place.layer}")
        return mean, scale

    def values(self, place: LayerContext) -> Values:
        """The parameters at a place."""
        values: Values = {}
        for name, value in self.arguments:
            values[name] = value.evaluate(**place._asdict()) if isinstance(value, Expression) else value
            if name in POSITIVE and values[name] < 0:
                raise InvalidArgumentError(f"{self.name}: {name} must not be negative, got {values[name]:g}")
        return values

    def multiplier_at(self, place: LayerContext) -> float:
        """W over the parameter that a net has in its place: 1, but for parametrizations such as `ntk`."""
        return self.multiplier(self.values(place), place) if self.multiplier else 1.0

    def branch_scale_at(self, place: LayerContext) -> float:
        """What the residual branches of a layer are multiplied by: 1, but for `skipinit`."""
        return self.branch_scale(self.values(place), place) if self.branch_scale else 1.0

    @property
    def data_driven(self) -> bool:
        """Whether its scale is that of the batch which goes through the net."""
        return self.law[0] == "lsuv"

    @property
    def resolved(self) -> bool:
        """Whether it has numbers without an activation."""
        return self.numbers is not unsettled

    @property
    def layerwise(self) -> bool:
        """Whether its numbers depend on more than the shape of the matrix."""
        return any(isinstance(v, Expression) and v.names & {"layer"} for _, v in self.arguments)


def resolve_initializer(spec: Call | Callable[..., Any], label: str | None = None) -> Initializer:
    """The initializer that a call form or a Python callable means.

    Raises:
        InvalidArgumentError: unknown name or parameter, or a value that it does not take.
    """
    from varprobe.spec.user_code import digest_of, is_reference, load

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
        str(Call(name, tuple(arguments))),
        law,
        (*arguments, *defaults),
        registered.numbers,
        registered.for_bias,
        multiplier=registered.multiplier,
        branch_scale=registered.branch_scale,
        residual=registered.residual,
    )


def check_arguments(spec: Call, name: str, registered: Registered) -> list[tuple[str, Any]]:
    """The arguments with their names, each known and of the right kind, and none missing."""
    own = list(registered.parameters)
    known = [*own, *COMMON] if registered.scalable else own
    arguments = []
    for key, value in spec.args:
        if not key:
            if not known:
                raise InvalidArgumentError(f"{spec}: {name} takes no parameters")
            if len(own) != 1 or not registered.positional:
                raise InvalidArgumentError(
                    f"{spec}: a value needs its name here: {name}({' or '.join(f'{k}=' for k in known)})"
                )
            key = own[0]
        if key in ("sigma", "sd", "s", "sigma_w"):
            raise InvalidArgumentError(
                f"{spec}: {key!r} is ambiguous, texts disagree whether it is a standard deviation or a "
                f"variance; say std= or var="
            )
        if key not in known:
            allowed = did_you_mean(key, known) if known else f" ({name} takes no parameters)"
            raise InvalidArgumentError(f"{spec}: unknown parameter {key!r}{allowed}")
        if key in registered.words:
            value = value.text if isinstance(value, Expression) else value
            if value not in registered.words[key]:
                raise InvalidArgumentError(
                    f"{spec}: unknown {key} {str(value)!r}{did_you_mean(str(value), registered.words[key])}"
                )
        elif not isinstance(value, Expression):
            raise InvalidArgumentError(f"{spec}: {key} must be a number or an expression, got {str(value)!r}")
        arguments.append((key, value))
    given = [k for k, _ in arguments if k in registered.one_of]
    if len(given) > 1:
        raise InvalidArgumentError(f"{spec}: give one of {', '.join(given)}, not several")
    if registered.one_of and not given and all(registered.parameters[k] is None for k in registered.one_of):
        raise InvalidArgumentError(
            f"{spec} needs {' or '.join(f'{k}=' for k in registered.one_of)}: {registered.meaning}"
        )
    return arguments


def constant(spec: Call, name: str, value: Any, low: float, high: float) -> float:
    """A number in (low, high] that does not depend on the layer."""
    if not value.constant or not low < value.evaluate() <= high:
        raise InvalidArgumentError(
            f"{spec}: {name} must be a number above {low:g} and at most {high:g}, got {str(value)!r}"
        )
    return value.evaluate()


def custom(
    name: str, function: Callable[..., Any], arguments: tuple[tuple[str, Any], ...], digest: str | None
) -> Initializer:
    """The user's own function (key, shape, dtype), with keyword-only `layer`, `depth` handed in where it has them."""
    from varprobe.spec.user_code import REQUIRED, keyword_parameters

    known = keyword_parameters(function, positional=3)
    positions = tuple(k for k in ("layer", "depth") if k in known)
    keywords, common = [], []
    for key, value in arguments:
        if key in COMMON:
            common.append((key, value))
            continue
        if key not in known or key in positions:
            raise InvalidArgumentError(f"{name}: unknown parameter {key!r}{did_you_mean(key, [*known, *COMMON])}")
        keywords.append((key, value.evaluate() if isinstance(value, Expression) else value))
    missing = [k for k, d in known.items() if d is REQUIRED and k not in positions and k not in dict(keywords)]
    if missing:
        raise InvalidArgumentError(f"{name} needs a value for {', '.join(missing)}")
    law = ("custom", function, tuple(keywords), positions)
    return Initializer(name, law, tuple(common), lambda v, p: (0.0, 1.0), True, digest)
