"""A user's own block: `FILE.py:NAME` in place of an architecture's name, or an object given in Python.

It has `init(key, width)`, which returns the parameters (any pytree), and `apply(params, x)` from (batch, width) to
(batch, width). What is inside cannot be seen: the output of a block is its activation and its preactivation in one, the
gradient is that of the output, and weights are all entries of all parameters together.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from varprobe.errors import InvalidArgumentError, did_you_mean
from varprobe.nets.architectures.architecture import Architecture, Plain, WeightSpec
from varprobe.nets.architectures.layer import Layer
from varprobe.nets.scaled_float import Signal
from varprobe.spec.calls import Call
from varprobe.spec.expressions import Expression
from varprobe.spec.user_code import REQUIRED, digest_of_several, functions_of, is_block, keyword_parameters, load
from varprobe.spec.user_errors import calling

__all__ = ["Own", "own_block"]

POSITIONS = ("layer", "depth")


@dataclass(frozen=True)
class Own(Architecture):
    """A block of the user's.

    Attributes:
        initialize: (key, width), and keywords.
        function: (params, x).
        keywords: parameters of the call form, for `initialize`.
        positions: which of layer and depth it takes; layer is traced.
        digest: of the source; None where it cannot be told.
    """

    initialize: Callable[..., Any]
    function: Callable[..., Any]
    keywords: tuple[tuple[str, Any], ...] = ()
    positions: tuple[str, ...] = ()
    digest: str | None = None

    meaning: ClassVar[str] = "your block: init(key, width) -> params, apply(params, x) -> x; also PKG.MOD:NAME"
    layer: ClassVar[str] = "one block"
    z: ClassVar[str] = "the block's output, as h_l"
    delta: ClassVar[str] = "dLoss/dh_l, of the block's output"
    stream: ClassVar[bool] = True
    own: ClassVar[bool] = True

    def slots(self, fan_in: int, fan_out: int) -> tuple[WeightSpec, ...]:
        """One, which stands for all parameters."""
        return (WeightSpec("w", fan_in, fan_out),)

    def block(self, layer: Layer, x: Signal) -> Signal:
        """Not for this engine: `wired.own` runs what cannot be seen."""
        raise NotImplementedError

    def reference(self, plain: Plain, p: Mapping[str, Array], x: Array) -> Array:
        """The user's function."""
        return self.function(p, x)

    def params(self, key: Array, width: int, layer: Array | int, depth: int, dtype: Any) -> Any:
        """The parameters of one block; floating-point ones in `dtype`."""
        known = {"layer": layer, "depth": depth}
        keywords = dict(self.keywords) | {name: known[name] for name in self.positions}
        return jax.tree.map(lambda leaf: cast(leaf, dtype), self.initialize(key, width, **keywords))

    def applied(self, params: Any, x: Float[Array, "batch width"]) -> Float[Array, "batch width"]:
        """The block's output."""
        return jnp.asarray(self.function(params, x))

    def refusal(self, config: Any) -> str | None:
        """A block of the user's has all of its own."""
        if config.norm or config.dropout:
            return f"{'--norm' if config.norm else '--dropout'} does not apply; it belongs into the block"
        if config.data_driven:
            return f"{config.init_last.name} does not apply to its read-out"
        return None


def cast(leaf: Any, dtype: Any) -> Array:
    """A leaf as an array; where it is of floating point, of this dtype."""
    array = leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf)
    return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array


def own_block(spec: Any, label: str | None = None) -> tuple[str, Own]:
    """(canonical call form or label, block) of a reference such as `mine.py:Block(gain=2)`, or of an object.

    Raises:
        InvalidArgumentError: there is none, or it does not take these parameters.
    """
    if isinstance(spec, Call):
        code = load(spec.name, is_block, "block with init(key, width) and apply(params, x)")
        name, thing, digest, args = str(spec), code.function, code.digest, spec.args
    else:
        name, thing, digest, args = label or name_of(spec), spec, object_digest(spec), ()
    thing = instance_of(thing, name)
    known = parameters_of(thing.init, name, "init(key, width)")
    positions = tuple(k for k in POSITIONS if k in known)
    keywords = tuple(keyword(name, key, value, [k for k in known if k not in POSITIONS]) for key, value in args)
    names = [key for key, _ in keywords]
    if twice := [key for key in names if names.count(key) > 1]:
        raise InvalidArgumentError(f"{name}: {twice[0]!r} is given twice")
    missing = [k for k, d in known.items() if d is REQUIRED and k not in positions and k not in dict(keywords)]
    if missing:
        raise InvalidArgumentError(f"{name}: init needs a value for {', '.join(missing)}")
    parameters_of(thing.apply, name, "apply(params, x)")
    return name, Own(hashable(thing.init), hashable(thing.apply), keywords, positions, digest)


def parameters_of(function: Callable[..., Any], name: str, form: str) -> dict[str, Any]:
    """`keyword_parameters` of a block's function behind its two arguments.

    Raises:
        InvalidArgumentError: it does not take these two; names the block.
    """
    try:
        return keyword_parameters(function, positional=2)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{name}: {error.message} (a block has {form})") from error


def name_of(thing: Any) -> str:
    """What an object is called where it has no label."""
    return str(getattr(thing, "__name__", type(thing).__name__)).rpartition(".")[2]


def keyword(name: str, key: str, value: Any, known: list[str]) -> tuple[str, Any]:
    """One parameter of the call form; a positional one is allowed where there is one."""
    if not key and len(known) == 1:
        key = known[0]
    if key not in known:
        allowed = did_you_mean(key, known) if known else " (its init takes key and width alone)"
        raise InvalidArgumentError(f"{name}: unknown parameter {key!r}{allowed}")
    return key, value.evaluate() if isinstance(value, Expression) else value


def instance_of(thing: Any, name: str) -> Any:
    """An object whose `init` and `apply` can be called; a class is made one where they are methods."""
    if not inspect.isclass(thing):
        return thing
    found = [inspect.getattr_static(thing, method) for method in ("init", "apply")]
    if all(isinstance(f, staticmethod | classmethod) for f in found):
        return thing
    with calling(f"{name}() fails"):
        return thing()


def object_digest(thing: Any) -> str | None:
    """The digest of a module or of a class without instances, None where an object may hold more than its file says."""
    if not (inspect.isclass(thing) or inspect.ismodule(thing)):
        return None
    return digest_of_several(functions_of(thing))


def hashable(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, or one that does the same and can be told from others."""
    try:
        hash(function)
        return function
    except TypeError:
        return functools.partial(function)
