"""The programs within an equation: calls, loops, branches, functions with a gradient rule of their own, and shards."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.interpreters import ad

from varprobe.engine.scans import scan_counts
from varprobe.model.compat import OPAQUE, Program, opened, others_in

__all__ = [
    "Branches",
    "Inner",
    "Loop",
    "Ruled",
    "Shards",
    "While",
    "branches_of",
    "inner_of",
    "loop_of",
    "ruled_of",
    "shards_of",
    "while_of",
]

TRANSPARENT = ("jit", "pjit", "closed_call", "core_call", "eval_jaxpr", "remat2", "checkpoint", "remat")
WITHOUT_GRADIENT = ("while", "pallas_call", "ffi_call", "custom_partitioning")
"""Primitives that JAX cannot differentiate backward, besides callbacks."""


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


class While(NamedTuple):
    """A loop until a condition fails: its equations, and how many inputs are constants of each; the others carry."""

    condition: Program
    body: Program
    of_condition: int
    of_body: int


class Branches(NamedTuple):
    """A cond or switch: the equations of each branch."""

    programs: tuple[Program, ...]


class Ruled(NamedTuple):
    """A function with a gradient rule of its own.

    program: what it computes. inputs: which inputs of the equation that takes, in its order. differentiable: whether
    JAX can differentiate it without the rule.
    """

    program: Program
    inputs: tuple[int, ...]
    differentiable: bool


class Shards(NamedTuple):
    """A shard_map: what each device computes, over which axes of the mesh, and how values are split and joined.

    checked: whether JAX knows along which axes values may differ. differing: along which they do (`replicas`).
    """

    program: Program
    mesh: Any
    axes: tuple[str, ...]
    in_specs: tuple[Any, ...]
    out_specs: tuple[Any, ...]
    checked: bool
    differing: Mapping[Any, frozenset[str]]

    def varying(self, variable: Any) -> tuple[str, ...]:
        """The axes along which a value of the program may differ between devices, as JAX has it where it checks."""
        axes = variable.aval.mat.varying if self.checked else self.differing.get(variable, frozenset(self.axes))
        return tuple(axis for axis in self.axes if axis in axes)

    def devices(self, axes: Sequence[str]) -> int:
        """The number of devices along some axes."""
        found = 1
        for axis in axes:
            found *= self.mesh.shape[axis]
        return found


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


def while_of(equation: Any) -> While | None:
    """The while loop that an equation is."""
    if equation.primitive.name != "while":
        return None
    params = equation.params
    condition, body = opened(params["cond_jaxpr"]), opened(params["body_jaxpr"])
    found = While(condition, body, params["cond_nconsts"], params["body_nconsts"])
    return None if found.body.jaxpr.effects or found.condition.jaxpr.effects else found


def branches_of(equation: Any) -> Branches | None:
    """The cond or switch that an equation is."""
    if equation.primitive.name != "cond":
        return None
    return Branches(tuple(opened(branch) for branch in equation.params["branches"]))


def ruled_of(equation: Any) -> Ruled | None:
    """The function with a gradient rule of its own that an equation calls, if it has no side effects."""
    name, params, given = equation.primitive.name, equation.params, len(equation.invars)
    inputs, implicit = tuple(range(given)), True
    if name in OPAQUE:
        found, implicit = next(others_in(equation), None), False
    elif name == "custom_linear_solve":
        lengths = params["const_lengths"]
        before = lengths.matvec + lengths.vecmat
        found = opened(params["jaxprs"].solve)
        inputs = (*range(before, before + lengths.solve), *range(sum(lengths), given))
    elif program := getattr(params.get("_prim"), "params", {}).get("solve_jaxpr"):  # of jax.lax.custom_root
        found = opened(program)
        inputs = inputs[: len(found.jaxpr.invars)]
    else:
        return None
    if found is None or found.jaxpr.effects or len(found.jaxpr.invars) != len(inputs):
        return None
    if len(found.jaxpr.outvars) != len(equation.outvars):
        return None
    return Ruled(found, inputs, not implicit and has_gradient(found))


def has_gradient(program: Program) -> bool:
    """Whether JAX can differentiate a program backward, as far as its primitives say."""
    for equation in program.jaxpr.eqns:
        name = equation.primitive.name
        if name in WITHOUT_GRADIENT or "callback" in name:
            return False
        inside = () if name in OPAQUE or name == "custom_linear_solve" else tuple(others_in(equation))
        if not all(map(has_gradient, inside)):
            return False
        moving = any(jnp.issubdtype(atom.aval.dtype, jnp.inexact) for atom in equation.invars)
        if moving and not inside and name not in OPAQUE and equation.primitive not in ad.primitive_jvps:
            return False
    return True


def shards_of(equation: Any) -> Shards | None:
    """The shard_map that an equation is."""
    if equation.primitive.name != "shard_map":
        return None
    params = equation.params
    axes = tuple(axis for axis in params["mesh"].axis_names if axis in params["newly_manual_axes"])
    program = opened(params["jaxpr"])
    return Shards(program, params["mesh"], axes, params["in_specs"], params["out_specs"], params["check_vma"], {})
