"""All that the probe takes from JAX beyond its documented interface: what a traced program looks like.

`Jaxpr` and `ClosedJaxpr` became one type, and the parameters of a scan another, between the oldest and the newest
supported jax; both are read here, and nowhere else.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from varprobe.model.operations import PRODUCTS

__all__ = [
    "OPAQUE",
    "Program",
    "count_products",
    "is_literal",
    "is_program",
    "located",
    "name_stack",
    "opened",
    "others_in",
    "resharded",
    "rounding_of",
    "run_equation",
    "run_program",
    "source_of",
    "spread",
    "trace",
]

LIBRARIES = ("site-packages", "dist-packages", str(Path(__file__).parent))
"""What is in the paths of files that are not the user's."""
OPAQUE = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "custom_lin")


class Program(NamedTuple):
    """A traced program: its equations, its constants, and what it is called with and gives."""

    jaxpr: Any
    consts: Sequence[Any]


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


def run_program(program: Program, values: Sequence[Any]) -> list[Any]:
    """What a program gives for these inputs."""
    return list(jax.core.eval_jaxpr(program.jaxpr, program.consts, *values))


def spread(x: Any, like: Any) -> Any:
    """An array, varying along the axes of a mesh along which what has this aval does."""
    missing = tuple(like.mat.varying - jax.typeof(x).mat.varying)
    return jax.lax.pcast(x, missing, to="varying") if missing else x


def resharded(tree: Any, mesh: Any, spec: Any) -> Any:
    """Arrays, sharded as shard_map demands it of a mesh with explicit axes."""
    explicit = any(kind == jax.sharding.AxisType.Explicit for kind in mesh.axis_types)
    return jax.reshard(tree, jax.sharding.NamedSharding(mesh, spec)) if explicit else tree


def name_stack(equation: Any) -> str:
    """The scopes around an equation, such as those of jax.named_scope."""
    return str(equation.source_info.name_stack)


def source_of(equation: Any) -> str:
    """Where the equation was written, FILE:LINE; empty if that is not known."""
    from jax._src import source_info_util

    frame = source_info_util.user_frame(equation.source_info.traceback)
    return f"{frame.file_name.rsplit('/', 1)[-1]}:{frame.start_line}" if frame else ""


def located(name: str, equations: Sequence[Any]) -> str:
    """`name at FILE:LINE in FUNCTION`; only the name if that is not known.

    equations: an equation, and those around it, from the outermost. The line is the innermost one of the user's code.
    """
    from jax._src import source_info_util

    frames = [f for e in reversed(equations) for f in source_info_util.user_frames(e.source_info.traceback)]
    own = (frame for frame in frames if not any(part in frame.file_name for part in LIBRARIES))
    frame = next(own, frames[0] if frames else None)
    if frame is None:
        return name
    function = "" if frame.function_name.startswith("<") else f" in {frame.function_name.rpartition('.')[2]}"
    return f"{name} at {frame.file_name.rsplit('/', 1)[-1]}:{frame.start_line}{function}"
