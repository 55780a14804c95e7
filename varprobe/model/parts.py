"""Parts of a program between its taps: those that are alike are traced, differentiated and lowered once for all."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from varprobe.model import compat

__all__ = ["Part", "Shared", "parts_of", "run_part"]

LEAST = 3
"""Equations of a part that is shared; fewer are cheaper one by one."""

Shared = dict[Any, Callable[..., Any]]
"""Functions of parts, by what they compute."""


class Part(NamedTuple):
    """Equations in a row; which variables that they read were computed before, and which are used behind them.

    number: of the first. entered: whether it is one equation with taps inside.
    """

    equations: Sequence[Any]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    number: int
    entered: bool


def parts_of(jaxpr: Any, entered: Callable[[int], bool], tapped: Callable[[Any], bool]) -> Iterator[Part]:
    """The parts of a program; a part ends with an equation whose output is tapped.

    Args:
        jaxpr: its equations.
        entered: whether there are taps inside an equation, by its number.
        tapped: whether a variable is tapped.
    """
    equations = jaxpr.eqns
    last = {atom: number for number, equation in enumerate(equations) for atom in variables(equation.invars)}
    last |= dict.fromkeys(variables(jaxpr.outvars), len(equations))
    start = 0
    for number, equation in enumerate(equations):
        ends = any(tapped(variable) for variable in equation.outvars) or entered(number)
        if not ends and number + 1 < len(equations) and not entered(number + 1):
            continue
        some = equations[start : number + 1]
        computed = dict.fromkeys(variable for one in some for variable in one.outvars)
        inputs = dict.fromkeys(atom for one in some for atom in variables(one.invars) if atom not in computed)
        outputs = tuple(v for v in computed if last.get(v, -1) > number or tapped(v))
        yield Part(some, tuple(inputs), outputs, start, entered(number))
        start = number + 1


def run_part(shared: Shared, jaxpr: Any, part: Part, env: dict[Any, Any]) -> None:
    """Run the equations of a part; env has the values of variables."""
    function = function_of(shared, jaxpr, part) if len(part.equations) >= LEAST else None
    if function is not None:
        env.update(zip(part.outputs, function(*(env[variable] for variable in part.inputs)), strict=True))
        return
    for equation in part.equations:
        values = [atom.val if compat.is_literal(atom) else env[atom] for atom in equation.invars]
        env.update(zip(equation.outvars, compat.run_equation(jaxpr, equation, values), strict=True))


def function_of(shared: Shared, jaxpr: Any, part: Part) -> Callable[..., Any] | None:
    """The function of a part, or None if parts like it cannot be told."""
    try:
        key = key_of(part)
        found = shared.get(key)
    except TypeError:  # something in an equation has no hash
        return None
    if found is None:
        alone = jaxpr.replace(
            invars=list(part.inputs), outvars=list(part.outputs), eqns=list(part.equations), constvars=[]
        )
        found = shared[key] = jax.jit(lambda *values: jax.core.eval_jaxpr(alone, [], *values))
    return found


def key_of(part: Part) -> Any:
    """Equal for parts that compute the same; functions and programs in parameters are compared by identity.

    Raises:
        TypeError: if used as a key, something in it has no hash.
    """
    numbers: dict[Any, int] = {}

    def atom(found: Any) -> Any:
        if not compat.is_literal(found):
            return numbers.setdefault(found, len(numbers))
        if np.ndim(found.val):
            raise TypeError
        return found.aval, type(found.val), repr(found.val)

    inputs = [(atom(variable), variable.aval) for variable in part.inputs]
    equations = [
        (
            equation.primitive,
            tuple(equation.params.items()),
            tuple(map(atom, equation.invars)),
            tuple((atom(variable), variable.aval) for variable in equation.outvars),
            equation.ctx,
        )
        for equation in part.equations
    ]
    return tuple(inputs), tuple(equations), tuple(map(atom, part.outputs))


def variables(atoms: Sequence[Any]) -> Iterator[Any]:
    """The atoms that are variables, not literals."""
    return (atom for atom in atoms if not compat.is_literal(atom))
