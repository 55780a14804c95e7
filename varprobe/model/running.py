"""Run a program that was read, with its sites tapped."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from varprobe.model import compat, nested
from varprobe.model.compat import Program
from varprobe.model.copies import fork, join
from varprobe.model.parts import parts_of, run_part
from varprobe.model.slots import BACKWARD, Slot, Statistics, Taps, expanded
from varprobe.model.tags import Place, Point
from varprobe.model.tapping import Report, tap

__all__ = ["run"]


def run(
    taps: Taps, program: Program, place: Place, arguments: Sequence[Any], sinks: Statistics
) -> tuple[list[Any], Statistics]:
    """(outputs, forward statistics by slot) of a program; the gradients' arrive in `sinks`."""
    jaxpr = program.jaxpr
    env: dict[Any, Any] = dict(zip(jaxpr.invars, arguments, strict=True))
    env |= dict(zip(jaxpr.constvars, program.consts, strict=True))
    found: Statistics = {}

    def value(atom: Any) -> Any:
        return atom.val if compat.is_literal(atom) else env[atom]

    def entered(number: int) -> bool:
        return (*place, number) in taps.inside

    def tapped(variable: Any) -> bool:
        return Point(place, variable) in taps.at

    def at_taps(variable: Any) -> None:
        for number in taps.at.get(Point(place, variable), ()):
            slot = taps.slots[number]
            env[variable], found[number] = at_slot(taps, slot, env[variable], sinks[number])

    for variable in (*jaxpr.invars, *jaxpr.constvars):
        at_taps(variable)
    for part in parts_of(jaxpr, entered, tapped):
        if part.entered:
            (equation,) = part.equations
            values = [value(atom) for atom in equation.invars]
            outputs, inner = step(taps, jaxpr, equation, (*place, part.number), values, sinks)
            found |= inner
            env.update(zip(equation.outvars, outputs, strict=True))
        else:
            run_part(taps.shared, jaxpr, part, env)
        for variable in part.outputs:
            at_taps(variable)
    return [value(atom) for atom in jaxpr.outvars], found


def at_slot(taps: Taps, slot: Slot, value: Any, drain: Any) -> tuple[Any, Any]:
    """(the value, which reports its gradient to the drain; what is made of it)."""
    axes, way = len(slot.splits), taps.way
    wide = value.reshape(*[1] * axes, *value.shape) if axes else value
    found = way.tell(wide, slot.told, axes)
    if axes:
        found = jax.tree.map(lambda x, like: compat.spread(x, jax.typeof(like)), found, drain)
    if way.report is None or slot.role not in BACKWARD:
        return value, found
    report = way.report(slot.slopes, axes)
    if partial_over := tuple(axis for split in slot.splits for axis in split.partial):
        report = partial(of_sum, report, partial_over)
    tapped = tap(wide, drain, report)
    return tapped.reshape(value.shape) if axes else tapped, found


def of_sum(report: Report, axes: tuple[str, ...], gradient: Any) -> Any:
    """What is reported of the sum of the parts of a gradient that devices have."""
    return report(lax.psum(gradient, axes))


def step(
    taps: Taps, jaxpr: Any, equation: Any, inside: Place, values: list[Any], sinks: Statistics
) -> tuple[list[Any], Statistics]:
    """(outputs, statistics) of an equation with taps inside."""
    mine = {i: sinks[i] for i in taps.inside[inside] if i in sinks}
    if call := nested.inner_of(equation):
        if call.checkpoint is None:
            return run(taps, call.program, inside, values, mine)
        block = jax.checkpoint(lambda values, mine: run(taps, call.program, inside, values, mine), **call.checkpoint)
        return block(values, mine)
    if loop := nested.loop_of(equation):
        return run_loop(taps, loop, inside, values, mine)
    if branches := nested.branches_of(equation):
        return run_branches(taps, branches, inside, values, mine)
    if repeated := nested.while_of(equation):
        return run_while(taps, repeated, inside, values, mine)
    if shards := nested.shards_of(equation):
        return run_shards(taps, shards, inside, values, mine)
    ruled = nested.ruled_of(equation)
    assert ruled, equation.primitive.name
    return run_ruled(taps, ruled, jaxpr, equation, inside, values, mine)


def run_loop(
    taps: Taps, loop: nested.Loop, inside: Place, values: list[Any], sinks: Statistics
) -> tuple[list[Any], Statistics]:
    """A scan, whose sinks go in and whose statistics come out step by step."""
    constants, rest = values[: loop.constants], values[loop.constants :]

    def body(carry: list[Any], xs: tuple[list[Any], Statistics]) -> tuple[list[Any], tuple[list[Any], Statistics]]:
        outputs, found = run(taps, loop.body, inside, [*constants, *carry, *xs[0]], xs[1])
        return outputs[: loop.carried], (outputs[loop.carried :], found)

    carry, (stacked, found) = lax.scan(
        body,
        rest[: loop.carried],
        (rest[loop.carried :], sinks),
        length=loop.length,
        reverse=loop.reverse,
        unroll=loop.unroll,
    )
    return [*carry, *stacked], found


def run_branches(
    taps: Taps, branches: nested.Branches, inside: Place, values: list[Any], sinks: Statistics
) -> tuple[list[Any], Statistics]:
    """A cond; the statistics of branches that are not taken are zero, their counts too."""
    index, *operands = values

    def branch(number: int, program: Program) -> Any:
        def taken(operands: list[Any], sinks: Statistics) -> tuple[list[Any], Statistics]:
            outputs, found = run(taps, program, (*inside, number), operands, sinks)
            return outputs, nothing_of(taps, sinks) | found

        return taken

    taken = [branch(number, program) for number, program in enumerate(branches.programs)]
    return lax.switch(index, taken, operands, sinks)


def nothing_of(taps: Taps, sinks: Statistics) -> Statistics:
    """The statistics of what was not computed, which are the zeros that a sink is."""
    return {i: lax.stop_gradient(sink) for i, sink in sinks.items() if i < len(taps.slots)}


def run_while(
    taps: Taps, loop: nested.While, inside: Place, values: list[Any], sinks: Statistics
) -> tuple[list[Any], Statistics]:
    """A while loop, whose statistics are those of its last iteration; JAX has no gradient of it.

    Under jax.vmap the condition is one for each sample, and the state of samples that have ended stays.
    """
    values, nothing = lax.stop_gradient(values), nothing_of(taps, sinks)
    condition, body = values[: loop.of_condition], values[loop.of_condition :][: loop.of_body]
    forward = taps.forward()

    def going(carry: list[Any]) -> Any:
        return compat.run_program(loop.condition, [*condition, *carry])[0]

    def once(state: tuple[list[Any], Statistics]) -> tuple[list[Any], Statistics]:
        carry, _ = state
        outputs, found = run(forward, loop.body, inside, [*body, *carry], sinks)
        if loop.condition.jaxpr.outvars[0].aval.ndim:
            left = going(carry)
            pairs = zip(outputs, carry, strict=True)
            outputs = [jnp.where(expanded(left, new.ndim), new, old) for new, old in pairs]
        return outputs, nothing | found

    return lax.while_loop(
        lambda state: going(state[0]).any(), once, (values[loop.of_condition + loop.of_body :], nothing)
    )


def run_ruled(
    taps: Taps, call: nested.Ruled, jaxpr: Any, equation: Any, inside: Place, values: list[Any], sinks: Statistics
) -> tuple[list[Any], Statistics]:
    """A function with a gradient rule of its own as it is, and a copy with taps."""
    if inside not in taps.copies or taps.way.report is None:
        outputs = compat.run_equation(jaxpr, equation, values)
        given = lax.stop_gradient([values[i] for i in call.inputs])
        return outputs, run(taps.forward(), call.program, inside, given, sinks)[1]
    own, copies = fork(values, sinks[taps.copies[inside].sink], compat.rounding_of(call.program))
    outputs, found = run(taps, call.program, inside, [copies[i] for i in call.inputs], sinks)
    return join(compat.run_equation(jaxpr, equation, own), outputs), found


def run_shards(
    taps: Taps, shards: nested.Shards, inside: Place, values: list[Any], sinks: Statistics
) -> tuple[list[Any], Statistics]:
    """A shard_map; each device has the sinks of its shard, and what is made of it leaves on an axis of devices."""
    specs = {i: taps.spec_of(i, inside) for i in sinks}
    told = {number for numbers in taps.at.values() for number in numbers}
    leaving = {i: spec for i, spec in specs.items() if i in told}
    mapped = jax.shard_map(
        lambda values, sinks: run(taps, shards.program, inside, values, sinks),
        mesh=shards.mesh,
        in_specs=([*shards.in_specs], specs),
        out_specs=([*shards.out_specs], leaving),
        axis_names=set(shards.axes),
        check_vma=shards.checked,
    )
    return mapped(values, {i: compat.resharded(sink, shards.mesh, specs[i]) for i, sink in sinks.items()})
