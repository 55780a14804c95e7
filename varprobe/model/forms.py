"""The form of a traced program: two programs of equal form are the same computation.

A form holds the contents of the arrays in the program, so that an array that is overwritten later does not change it.
Functions that define gradients are compared by what they do when they are traced. What cannot be compared, such as a
callback, has no form.
"""

from enum import Enum
from hashlib import sha256
from operator import itemgetter
from types import FunctionType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from varprobe.model import compat
from varprobe.model.compat import Program

__all__ = ["form_of"]

COMPARED = tuple(
    f"jax._src.{name}"
    for name in ("ad_checkpoint", "core", "flattree", "mesh", "named_sharding", "partition_spec", "prng")
)
"""Modules of jax whose objects compare by value."""


class FormlessError(Exception):
    """Something in a program cannot be compared."""


def form_of(program: Program) -> tuple[Any, ...] | None:
    """The form of a program; None if it has none. Compare it with `==`."""
    try:
        return whole(program)
    except (FormlessError, RecursionError):
        return None


def whole(program: Program, rules: bool = True) -> tuple[Any, ...]:
    """The form of a program; with that of its custom gradients, unless it is not differentiated again.

    Raises:
        FormlessError: it has none.
    """
    jaxpr, numbers = program.jaxpr, dict[Any, int]()

    def atom(found: Any) -> Any:
        if compat.is_literal(found):
            return found.aval, part(found.val)
        return numbers.setdefault(found, len(numbers))

    inputs = [(variable.aval, atom(variable)) for variable in (*jaxpr.constvars, *jaxpr.invars)]
    equations = [
        (
            equation.primitive,
            called(jaxpr, equation, rules),
            list(map(atom, equation.invars)),
            [(variable.aval, atom(variable)) for variable in equation.outvars],
            equation.ctx,
        )
        for equation in jaxpr.eqns
    ]
    return inputs, list(map(part, program.consts)), equations, list(map(atom, jaxpr.outvars))


def called(jaxpr: Any, equation: Any, rules: bool) -> Any:
    """The form of what an equation calls, and of its other parameters.

    Raises:
        FormlessError: it has none.
    """
    if equation.primitive.name not in compat.OPAQUE:
        return [(name, part(value, rules)) for name, value in equation.params.items()]
    programs = [whole(inner, rules=False) for inner in compat.others_in(equation)]
    return programs, gradient(jaxpr, equation) if rules else None


def gradient(jaxpr: Any, equation: Any) -> Any:
    """The form of the gradient of an equation that a function defines; the function is traced.

    Raises:
        FormlessError: it has none, or it may depend on which inputs are differentiated.
    """
    if equation.params.get("symbolic_zeros"):
        raise FormlessError
    literals = {i: atom.val for i, atom in enumerate(equation.invars) if compat.is_literal(atom)}
    given = {
        i: jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype)
        for i, atom in enumerate(equation.invars)
        if i not in literals
    }

    def differentiated(given: dict[int, Any]) -> Any:
        def run(some: dict[int, Any]) -> list[Any]:
            inputs = [value for _, value in sorted((literals | given | some).items(), key=itemgetter(0))]
            return [output for output in compat.run_equation(jaxpr, equation, inputs) if is_inexact(output)]

        outputs, back = jax.vjp(run, {i: value for i, value in given.items() if is_inexact(value)})
        return outputs, back(outputs)

    try:
        program, _ = compat.trace(differentiated, given)
    except Exception as error:  # the rule is the user's, and may not be there
        raise FormlessError from error
    return whole(program, rules=False)


def is_inexact(value: Any) -> bool:
    """Whether an array is one of floats or complex numbers."""
    return bool(jnp.issubdtype(value.dtype, jnp.inexact))


def part(value: Any, rules: bool = True) -> Any:
    """The form of any value in a program.

    Raises:
        FormlessError: it has none.
    """
    kind = type(value)
    if value is None or isinstance(value, int | str | bytes | set | frozenset):
        return kind, frozenset(value) if isinstance(value, set) else value
    if isinstance(value, float | complex):
        return kind, repr(value)  # 0.0 equals -0.0, and nan is not equal to nan
    if isinstance(value, tuple | list):
        return kind, [part(one, rules) for one in value]
    if isinstance(value, dict):
        return [(part(name), part(one)) for name, one in value.items()]
    if compat.is_program(value):
        return whole(compat.opened(value), rules)
    if isinstance(value, Enum | np.dtype | type | jax.tree_util.PyTreeDef):
        return value
    if isinstance(value, FunctionType):
        return own_function(value)
    if kind.__module__ in COMPARED:
        return value
    if hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, jax.core.Tracer):
        return array(value)
    raise FormlessError


def own_function(value: FunctionType) -> Any:
    """The form of a function of jax itself, such as a policy of jax.checkpoint, whose globals do not change.

    Raises:
        FormlessError: it is of another module, or holds something that has no form.
    """
    if not value.__module__.startswith("jax."):
        raise FormlessError
    held = [cell.cell_contents for cell in value.__closure__ or ()]
    return value.__code__, part(value.__defaults__), part(value.__kwdefaults__), part(held)


def array(value: Any) -> Any:
    """The form of an array: its dtype, its shape and a checksum of its contents."""
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return str(value.dtype), array(jax.random.key_data(value))
    if isinstance(value, jax.Array) and not value.is_fully_addressable:
        raise FormlessError
    found = np.asarray(value)
    if found.dtype.hasobject:
        raise FormlessError
    return value.dtype, value.shape, getattr(value, "weak_type", False), sha256(found.tobytes()).digest()
