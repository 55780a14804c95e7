"""`probe`: the statistics of a function's sites, and of its parameters, for one batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from varprobe.model import compat
from varprobe.model.reading import Reading, read
from varprobe.model.running import Statistics, Taps, run, taps_of

__all__ = ["Plan", "plan_of", "measured"]


class Plan(NamedTuple):
    """A function of (parameters, *batch) that was read."""

    program: compat.Program
    reading: Reading
    taps: Taps
    shape: Any
    names: tuple[str, ...]


def plan_of(function: Callable[..., Any], parameters: Any, *batch: Any) -> Plan:
    """Read a function that returns a scalar, or (scalar, anything)."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(parameters)
    names = tuple(jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves)
    program, shape = compat.trace(function, parameters, *batch)
    reading = read(program, len(leaves), len(jax.tree.leaves(batch)))
    return Plan(program, reading, taps_of(reading), shape, names)


def measured(plan: Plan, parameters: Any, *batch: Any) -> tuple[Any, Any, Statistics, Statistics]:
    """(outputs, gradients of the parameters, forward statistics, statistics of gradients)."""
    data = jax.tree.leaves(batch)

    def loss(parameters: Any, sinks: Statistics) -> tuple[Any, tuple[Any, Statistics]]:
        outputs, found = run(plan.taps, plan.program, (), [*jax.tree.leaves(parameters), *data], sinks)
        return outputs[0], (outputs, found)

    (_, (outputs, forward)), (gradients, backward) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(
        parameters, plan.taps.sinks()
    )
    return jax.tree.unflatten(jax.tree.structure(plan.shape), outputs), gradients, forward, backward
