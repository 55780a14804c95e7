"""All that the probe takes from JAX beyond its documented interface: what a traced program looks like.

`Jaxpr` and `ClosedJaxpr` became one type, and the parameters of a scan another, between the oldest and the newest
supported jax; both are read here, and nowhere else.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from varprobe.model.operations import PRODUCTS

__all__ = [
    "OPAQUE",
    "Branches",
    "Inner",
    "Loop",
    "Program",
    "branches_of",
    "count_products",
    "inner_of",
    "is_literal",
    "is_program",
    "located",
    "loop_of",
    "name_stack",
    "opened",
    "others_in",
    "rounding_of",
    "run_equation",
    "scan_counts",
    "source_of",
    "trace",
]

TRANSPARENT = ("jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint", "remat")
OPAQUE = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "custom_lin")


class Program(NamedTuple):
    """A traced program: its equations, its constants, and what it is called with and gives."""

    jaxpr: Any
    consts: Sequence[Any]


class Inner(NamedTuple):
    """A call whose equations can be run in its place; `checkpoint` has what jax.checkpoint is given, or is None."""

    program: Program
    checkpoint: dict[str, Any] | None


class Loop(NamedTuple):
    """A scan: the equations of a step, how many of its inputs are constants and carry, and how it runs."""

    body: Program
    constants: int
    carried: int
    length: int
    reverse: bool
    unroll: Any


class Branches(NamedTuple):
    """A cond or switch: the equations of each branch."""

    programs: tuple[Program, ...]


def is_program(found: Any) -> bool:
    """Whether an object is a program, of either type."""
    return hasattr(getattr(found, "jaxpr", found), "eqns")


def opened(found: Any) -> Program:
    """A program from either type."""
    inner = getattr(found, "jaxpr", None)
    if inner is not None and hasattr(inner, "eqns"):
        return Program(inner, tuple(found.consts))
    return Program(found, tuple(getattr(found, "consts", ()) or ()))


def trace(function: Callable[..., Any], *arguments: Any) -> tuple[Program, Any]:
    """(the program of a function of pytrees, over their leaves, what its outputs look like)."""
    found, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
    return opened(found), shape


def is_literal(atom: Any) -> bool:
    """Whether an input of an equation is a number that stands in the program."""
    return isinstance(atom, Literal)


def inner_of(equation: Any) -> Inner | None:
    """The call that an equation is, if its equations can be run in its place."""
    name, params = equation.primitive.name, equation.params
    if name not in TRANSPARENT:
        return None
    found = params.get("jaxpr", params.get("call_jaxpr"))
    if found is None:
        return None
    kept = None
    if name in ("remat2", "checkpoint", "remat"):
        kept = {"policy": params.get("policy"), "prevent_cse": params.get("prevent_cse", True)}
    return Inner(opened(found), kept)


def scan_counts(params: Any) -> tuple[int, int]:
    """How many of a scan's operands are constants, and how many are carried."""
    if "ft_in" in params:
        constants, carried = (len(part) for part in list(params["ft_in"].unpack())[:2])
        return constants, carried
    return params["num_consts"], params["num_carry"]


def loop_of(equation: Any) -> Loop | None:
    """The scan that an equation is."""
    if equation.primitive.name != "scan":
        return None
    params = equation.params
    constants, carried = scan_counts(params)
    body = opened(params["jaxpr"])
    if len(body.jaxpr.outvars) != len(equation.outvars) or len(body.jaxpr.invars) != len(equation.invars):
        return None
    return Loop(body, constants, carried, params["length"], params["reverse"], params["unroll"])


def branches_of(equation: Any) -> Branches | None:
    """The cond or switch that an equation is."""
    if equation.primitive.name != "cond":
        return None
    return Branches(tuple(opened(branch) for branch in equation.params["branches"]))


def others_in(equation: Any) -> Iterator[Program]:
    """Every program among an equation's parameters, and those of a primitive that is an object among them."""
    nested = [value.params for value in equation.params.values() if isinstance(getattr(value, "params", None), dict)]
    for value in (value for params in (equation.params, *nested) for value in params.values()):
        for one in value if isinstance(value, tuple | list) else (value,):
            if is_program(one):
                yield opened(one)


def count_products(program: Program) -> int:
    """Matrix products in a program and in all programs within it."""
    found = 0
    for equation in program.jaxpr.eqns:
        found += equation.primitive.name in PRODUCTS
        inside = list(others_in(equation))
        found += sum(map(count_products, inside[:1] if equation.primitive.name in OPAQUE else inside))
    return found


def rounding_of(program: Program) -> float:
    """Relative rounding of the coarsest format that a program computes in, of those of 16 bits and more; 0 for none."""
    found = [rounding_of(inner) for equation in program.jaxpr.eqns for inner in others_in(equation)]
    dtypes = {v.aval.dtype for equation in program.jaxpr.eqns for v in equation.outvars if hasattr(v.aval, "dtype")}
    found += [float(jnp.finfo(d).eps) for d in dtypes if jnp.issubdtype(d, jnp.inexact) and d.itemsize > 1]
    return max(found, default=0.0)


def run_equation(jaxpr: Any, equation: Any, values: Sequence[Any]) -> list[Any]:
    """What an equation of a program gives for these inputs: a program of this one equation, run."""
    pairs = zip(equation.invars, values, strict=True)
    inputs = {atom: value for atom, value in pairs if not is_literal(atom)}
    alone = jaxpr.replace(invars=list(inputs), outvars=list(equation.outvars), eqns=[equation], constvars=[])
    return list(jax.core.eval_jaxpr(alone, [], *inputs.values()))


def name_stack(equation: Any) -> str:
    """The scopes around an equation, such as those of jax.named_scope."""
    return str(equation.source_info.name_stack)


def source_of(equation: Any) -> str:
    """Where the equation was written, FILE:LINE; empty if that is not known."""
    from jax._src import source_info_util

    frame = source_info_util.user_frame(equation.source_info.traceback)
    return f"{frame.file_name.rsplit('/', 1)[-1]}:{frame.start_line}" if frame else ""


def located(name: str, equation: Any) -> str:
    """`name at FILE:LINE`, or only the name if the line is not known."""
    return " at ".join(filter(None, (name, source_of(equation))))
