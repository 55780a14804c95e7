"""The arguments of a sweep: their names, types, defaults and descriptions, for Python and for the command line.

This module imports neither jax nor NumPy, so that the command line prints its help at once.
"""

import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import wraps
from typing import Annotated, Any, Literal, NamedTuple, ParamSpec, Protocol, TypedDict, TypeVar, cast, get_type_hints

__all__ = ["ARGUMENTS", "DEFAULTS", "TYPES", "SweepArguments", "takes_sweep_arguments", "with_descriptions"]

P = ParamSpec("P")
R = TypeVar("R")


class Array(Protocol):
    """An array of NumPy, jax or a library that NumPy can read."""

    def __array__(self) -> Any:
        """The values as a NumPy array."""


class Block(Protocol):
    """A user's own block: init(key, width) -> params, and apply(params, x) -> x."""

    @property
    def init(self) -> Callable[..., Any]:
        """Draw the parameters."""

    @property
    def apply(self) -> Callable[..., Any]:
        """Compute the output."""


Function = Callable[..., Any]
Names = str | Function | Mapping[str, Function] | Sequence[str | Function | Mapping[str, Function]]
"""Names in the call form, functions, or {label: function}."""
Blocks = str | Block | Mapping[str, Block] | Sequence[str | Block | Mapping[str, Block]]
"""Names in the call form, blocks, or {label: block}."""
Integers = int | str | Sequence[int | str] | Array
"""Integers, or ranges of them."""
Numbers = float | str | Sequence[float | str] | Array
"""Numbers, or ranges of them."""
Data = str | os.PathLike[str] | Array | list[Any]
"""A name, a file, or an array."""


class Argument(NamedTuple):
    """What an argument has in addition to its type.

    Attributes:
        default: if it is None, the summary says what is used.
        summary: for the help of the command line.
        metavar: the name of the value in that help; empty for a flag.
    """

    default: Any
    summary: str
    metavar: str = ""


class SweepArguments(TypedDict, total=False):
    """What `varprobe.sweep` measures: `name: Annotated[TYPE, Argument(DEFAULT, SUMMARY, METAVAR)]`.

    An argument with `Sequence` in its type takes several values, which are an axis of the grid. The values of `Literal`
    and `bool` are checked by `request.check_choices`.

    Attributes:
        depth: how many weight layers; several. 50.
        width: units of each layer; several. Also a profile such as "784-512-256", the widths of layers 1, 2
            and 3, which is a depth of its own. The input's width is `input_width`, or that of the data.
        act: activations; several. Names (`varprobe list acts`) with parameters in the call form, such as
            "leaky_relu(0.1)"; your own as "FILE.py:NAME", "PKG.MOD:NAME", a function from array to array, or
            {"Label": function}.
        init: initializers of the weights; several. Names as "normal(std=0.01)" or "uniform(limit=1/sqrt(fan_in))"
            (`varprobe list inits`); your own as above, with jax's signature (key, shape, dtype) and, where it wants
            them, keyword-only layer and depth. Without it the standard ones.
        init_first: the initializer of layer 1, where it differs; several.
        init_last: the initializer of layer L and of the loss's read-out, where it differs; several.
        init_qk: the initializer of a transformer's queries and keys in all layers, where it differs; several.
        init_v: of its values; several.
        init_o: of the attention's outputs; several.
        init_mlp: of its perceptrons; several.
        bias: the initializer of the biases; several.
        sigma_w2: numbers: Var W = sigma_w2 / fan_in, normal, in place of init; several.
        sigma_b2: numbers: Var b = sigma_b2, normal, in place of bias; several.
        arch: architectures; several. Names (`varprobe list archs`: what a layer, z and delta of each are) with
            parameters in the call form, such as "residual(branch_scale=1/sqrt(depth))"; or a block of your own as
            "FILE.py:NAME" or "PKG.MOD:NAME", an object or {"Label": object} with init(key, width) -> params, any
            pytree, and apply(params, x) -> x. Its init may take parameters of the call form and keyword-only layer and
            depth; it has its own activation and initializer, and its signal the range of the dtype.
        norm: normalizations; several. Names (`varprobe list norms`), such as "batch" or "layer(position=post)". z is
            what a norm before the activation is given.
        dropout: numbers from 0 to below 1: the share of activations that is dropped, the others scaled up; several.
        input_width: features of a random input, where they are not as many as layer 1's units.
        batch: samples; several.
        seeds: how many independent draws of weights, input and cotangent; they are the unit of uncertainty.
        root_seed: 0 to 2^32 - 1; which draws.
        data: "normal", "uniform", "sphere", "tokens(vocab=1000)", "digits", a .npy, .npz or .csv file, or an array
            (samples, ...).
        labels: a file or an array, one row a sample, for the losses that take one.
        standardize: give each feature of a file or an array mean 0 and variance 1.
        loss: whose gradient is measured: a random cotangent on h_L, or one of two losses on a linear read-out of h_L.
        dtype: of weights and signals.
        range: "unbounded" gives signals an exponent of their own, so that nothing overflows; "dtype" the dtype's.
        forward_only: leave the gradients out (NaN).
        correlation: cosines, from -1 to 1, of pairs of inputs that are followed: `pair_correlation` and, of gradients
            under one cotangent (that of the loss `cotangent`), `gradient_pair_correlation`, with a further dim `c0`,
            `theory_pair_correlation`, and `effective_rank` of the batch; several.
        jacobian: singular values of one sample's Jacobians dh_l/dh_{l-1} (`partial_jacobian_log10_max`, `_min`,
            `_median`, `_mean_square`, `_condition`), of their product dh_l/dh_0 (`jacobian_log10_*`), and all of the
            last layer (`jacobian_log10_singular_values`, dim `index`), in float64 whatever the dtype. In batch norm the
            other samples are held fixed at every layer. Costs width^3 a layer: seconds a net at width 128, minutes at
            512.
        histogram: `activation_kurtosis`, `gradient_kurtosis` (excess), and histograms `activation_density` and
            `gradient_density` of values over their RMS (dim `bin`, -6 to 6), with the shares beyond.
    """

    depth: Annotated[Integers | None, Argument(None, "Weight layers; a list 10,50 or a range 10:100:10.  [50]", "N")]
    width: Annotated[Integers, Argument(512, "Units per layer, or of layers 1, 2, ...: 784-512-256.", "N")]
    act: Annotated[Names, Argument("relu", "Activations, e.g. relu,elu(alpha=0.5),mine.py:f.", "NAMES")]
    init: Annotated[
        Names | None,
        Argument(None, "Initializers, e.g. he_normal,critical,normal(std=0.02).  [the standard set]", "NAMES"),
    ]
    init_first: Annotated[Names | None, Argument(None, "Initializer of layer 1.", "NAMES")]
    init_last: Annotated[Names | None, Argument(None, "Initializer of layer L and of the read-out.", "NAMES")]
    init_qk: Annotated[Names | None, Argument(None, "Initializer of a transformer's queries and keys.", "NAMES")]
    init_v: Annotated[Names | None, Argument(None, "Initializer of a transformer's values.", "NAMES")]
    init_o: Annotated[Names | None, Argument(None, "Initializer of the attention's outputs.", "NAMES")]
    init_mlp: Annotated[Names | None, Argument(None, "Initializer of a transformer's perceptrons.", "NAMES")]
    bias: Annotated[Names, Argument("zeros", "Bias initializers, e.g. normal(var=0.05).", "NAMES")]
    sigma_w2: Annotated[
        Numbers | None, Argument(None, "fan_in Var W of normal weights, e.g. 1:4:32 (instead of --init).", "R")
    ]
    sigma_b2: Annotated[Numbers | None, Argument(None, "Var b of normal biases (instead of --bias).", "R")]
    arch: Annotated[Blocks, Argument("plain", "Architectures, e.g. residual,conv(kernel=5).", "NAMES")]
    norm: Annotated[
        str | Sequence[str], Argument("none", "batch, layer, rms or group, e.g. batch(position=post).", "NAMES")
    ]
    dropout: Annotated[Numbers, Argument(0.0, "Share of the activations that is dropped.", "P")]
    input_width: Annotated[int | str | None, Argument(None, "Width of random data.  [that of layer 1]", "N")]
    batch: Annotated[Integers, Argument(16, "Samples per batch.", "N")]
    seeds: Annotated[int | str, Argument(8, "Independent draws of every network.", "N")]
    root_seed: Annotated[int | str, Argument(0, "Everything random follows from it.", "N")]
    data: Annotated[Data, Argument("normal", "normal, uniform, sphere, tokens, digits, or FILE.npy/.npz/.csv.", "DATA")]
    labels: Annotated[Data | None, Argument(None, "Labels for the losses, one row per sample of --data.", "FILE")]
    standardize: Annotated[bool, Argument(False, "Scale each feature of the data to mean 0, variance 1.")]
    loss: Annotated[
        Literal["cotangent", "mse", "cross_entropy"], Argument("cotangent", "cotangent, mse or cross_entropy.", "NAME")
    ]
    dtype: Annotated[
        Literal["float32", "float64", "bfloat16", "float16"],
        Argument("float32", "float32, float64, bfloat16 or float16.", "NAME"),
    ]
    range: Annotated[
        Literal["unbounded", "dtype"],
        Argument("unbounded", "unbounded: exponents of any size; dtype: its own range.", "NAME"),
    ]
    forward_only: Annotated[bool, Argument(False, "No backward pass.")]
    correlation: Annotated[
        Numbers | None, Argument(None, "Follow pairs of inputs at these cosines, e.g. 0.1,0.5,0.9.", "C0")
    ]
    jacobian: Annotated[bool, Argument(False, "Singular values of a sample's Jacobians; width^3 a layer.")]
    histogram: Annotated[bool, Argument(False, "Histograms and kurtosis of activations and gradients.")]


HINTS = get_type_hints(SweepArguments, include_extras=True)
TYPES: dict[str, Any] = {name: hint.__origin__ for name, hint in HINTS.items()}
ARGUMENTS: dict[str, Argument] = {name: hint.__metadata__[0] for name, hint in HINTS.items()}
DEFAULTS: dict[str, Any] = {name: argument.default for name, argument in ARGUMENTS.items()}


def takes_sweep_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Give a function of `**grid: Unpack[SweepArguments]` the defaults, and a signature and docstring with every name.

    A line `grid: ...` of its docstring is replaced by the descriptions of the arguments.

    Raises:
        TypeError: when the function is called with an unknown name; the message has the nearest one.
    """
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    keyword = inspect.Parameter.KEYWORD_ONLY
    grid = [inspect.Parameter(n, keyword, default=DEFAULTS[n], annotation=TYPES[n]) for n in TYPES]
    names = [p.name for p in (*grid, *own)]

    @wraps(function)
    def complete(**given: Any) -> R:
        for name in given:
            if name not in names:
                near = "".join(f". Did you mean {n!r}?" for n in get_close_matches(name, names, n=1))
                raise TypeError(f"{function.__name__}() got an unexpected keyword argument {name!r}{near}")
        return cast("Callable[..., R]", function)(**DEFAULTS | given)

    complete.__doc__ = with_descriptions(inspect.getdoc(function) or "")
    complete.__signature__ = signature.replace(parameters=[*grid, *own])  # type: ignore[attr-defined]
    return cast("Callable[P, R]", complete)


def with_descriptions(text: str) -> str:
    """A docstring whose line `grid: ...` is replaced by the descriptions of `SweepArguments`."""
    _, _, descriptions = (inspect.getdoc(SweepArguments) or "").partition("Attributes:\n")
    return re.sub(r"^    grid: .*$", lambda _: descriptions.rstrip(), text, count=1, flags=re.MULTILINE)
