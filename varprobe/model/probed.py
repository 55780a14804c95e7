"""A function that was read once for a shape of its arguments, and its statistics: what leaves the device."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from varprobe.errors import InvalidArgumentError
from varprobe.model import compat
from varprobe.model.adapters import ProbeTarget
from varprobe.model.layout import Layout, layout_of, leaf_slices
from varprobe.model.paths import slashed
from varprobe.model.roles import input_of, paths_of, read_as_used
from varprobe.model.running import run
from varprobe.model.slots import BACKWARD, Statistics, Taps, taps_of
from varprobe.model.stats import ALIKE, MOMENTS, Numbers, Seen, joined, numbers, seen
from varprobe.model.updates import Descent, stepped
from varprobe.model.whole import statistics
from varprobe.storage.provenance import cores

__all__ = ["Plan", "Stats", "differentiated", "fetched", "measured", "plan_of", "told", "updated"]


class Plan(NamedTuple):
    """A function of (parameters, *batch) -> (scalar, anything) that was read.

    slices: leading axes of parameters. data: which of the batch is the input, -1 for none.
    """

    program: compat.Program
    taps: Taps
    shape: Any
    layout: Layout
    slices: tuple[int, ...]
    data: int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Stats:
    """What one step says of every site and parameter, as arrays of a few numbers each; a pytree.

    Each is `stats.Numbers` on the device, and `stats.Seen` on the host (`fetched`).

    Attributes:
        loss: the scalar.
        forward: of each tapped value.
        backward: of its gradient.
        parameters: of each parameter, and of each entry of its leading axes where scans take them one by one.
        gradients: of their gradients.
        lost: share of their entries that a step of training does not change though it should; None where no optimizer
            and no step size was given.
        data: of the input, if it is of floats; None without.
        stuck: whether each parameter is zero and stays so; None where that was not looked at.
        equal: whether the units of each parameter are equal, and stay so.
        updates: of what a step of training adds to each parameter; None where it is not known.
        layout: which is which.
    """

    loss: Float[Array, ""]
    forward: Statistics
    backward: Statistics
    parameters: tuple[Any, ...]
    gradients: tuple[Any, ...]
    lost: tuple[Float[Array, "*axes"], ...] | None
    data: Any
    updates: tuple[Any, ...] | None
    layout: Layout = field(metadata={"static": True})
    stuck: tuple[bool, ...] | None = None
    equal: tuple[bool, ...] | None = None


def plan_of(subject: ProbeTarget) -> Plan:
    """Read a function."""
    paths, _ = jax.tree_util.tree_flatten_with_path(subject.parameters)
    names = [slashed(path) or "params" for path, _ in paths]
    program, shape = compat.trace(subject.function, subject.parameters, *subject.batch)
    reading, given = read_as_used(program, len(names), subject.given)
    data = input_of(reading, len(names), given, subject.batch)
    ranks = [jnp.ndim(leaf) for leaf in (*jax.tree.leaves(subject.parameters), *subject.batch)]
    taps, slices = taps_of(reading), tuple(leaf_slices(reading, len(names)))
    inputs = [*names, *paths_of(names, given)]
    size = jnp.shape(subject.batch[data]) if data >= 0 else ()
    if 0 in size:
        raise InvalidArgumentError(
            f"{inputs[len(names) + data]} is empty, {list(size)}; there is no sample to probe with"
        )
    samples = size[0] if len(size) > 1 else 1  # a vector is one sample
    layout = layout_of(reading, taps, len(names), inputs, ranks, subject.about(samples, shape[1][0]))
    layout = layout._replace(rounding=compat.rounding_of(program))
    return Plan(program, taps, shape, layout, slices, data)


def measured(plan: Plan, step_size: float | None, parameters: Any, *batch: Any) -> tuple[tuple[Any, Any], Any, Stats]:
    """((scalar, anything), gradients of the parameters, statistics) of a function that was read."""
    found = differentiated(plan, parameters, *batch)
    lost = stepped(Descent(step_size), plan.slices, parameters, found.gradients)[1] if step_size else None
    moments = partial(numbers, told=MOMENTS)
    leaves, slopes = jax.tree.leaves(parameters), jax.tree.leaves(found.gradients)
    entering = entering_of(plan, batch)
    stats = Stats(
        loss=found.loss,
        forward=over_devices(plan.taps, found.forward),
        backward=over_devices(plan.taps, found.backward),
        parameters=tuple(map(moments, leaves, plan.slices)),
        gradients=tuple(map(moments, slopes, plan.slices)),
        lost=lost,
        data=None if entering is None else moments(jnp.asarray(entering)),
        updates=None,
        layout=plan.layout,
    )
    return found.outputs, found.gradients, stats


def over_devices(taps: Taps, found: Statistics) -> Statistics:
    """The statistics of values that are split over devices, of all shards together."""
    return {i: joined(one, len(taps.slots[i].lengths)) for i, one in found.items()}


class Differentiated(NamedTuple):
    """Of a function that was read: the scalar, all that it returns, the gradients of the parameters, and what its taps
    told of values and of their gradients.
    """

    loss: Any
    outputs: Any
    gradients: Any
    forward: Any
    backward: Any


def differentiated(plan: Plan, parameters: Any, *batch: Any) -> Differentiated:
    """Run a function that was read, and its gradient."""
    sinks, data = plan.taps.sinks(), jax.tree.leaves(batch)
    tapped = {i for i, slot in enumerate(plan.taps.slots) if slot.role in BACKWARD}
    tapped |= {copy.sink for copy in plan.taps.copies.values()}

    def loss(parameters: Any, drains: Any) -> tuple[Any, tuple[Any, Any]]:
        outputs, found = run(plan.taps, plan.program, (), [*jax.tree.leaves(parameters), *data], sinks | drains)
        return outputs[0], (outputs, found)

    (value, (outputs, forward)), (gradients, backward) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(
        parameters, {i: sinks[i] for i in tapped}
    )
    shape = jax.tree.structure(plan.shape)
    backward = plan.taps.gradients(backward)
    return Differentiated(value, jax.tree.unflatten(shape, outputs), gradients, forward, backward)


def entering_of(plan: Plan, batch: Any) -> Any:
    """The input, if it is of floats."""
    entering = jax.tree.leaves(batch)[plan.data] if plan.data >= 0 else None
    return entering if entering is not None and jnp.issubdtype(entering.dtype, jnp.floating) else None


def told(plan: Plan, found: Differentiated, parameters: Any, batch: Any) -> Stats:
    """The statistics of arrays that left the program whole (`whole.WHOLE`), on the host, on all cores."""
    slots, entering = plan.taps.slots, entering_of(plan, batch)
    with ThreadPoolExecutor(cores()) as pool:

        def all_of(trees: Any, axes: Sequence[int]) -> Iterator[Seen]:
            return pool.map(statistics, jax.tree.leaves(trees), axes)

        def at_sites(values: Any, name: str) -> Statistics:
            axes = [len(slots[i].lengths) for i in values]
            told = [getattr(slots[i], name) for i in values]
            return dict(zip(values, pool.map(statistics, values.values(), axes, told), strict=True))

        return Stats(
            loss=found.loss,
            forward=at_sites(found.forward, "told"),
            backward=at_sites(found.backward, "slopes"),
            parameters=tuple(all_of(parameters, plan.slices)),
            gradients=tuple(all_of(found.gradients, plan.slices)),
            lost=None,
            data=None if entering is None else statistics(entering, told=ALIKE),
            updates=None,
            layout=plan.layout,
        )


def fetched(stats: Stats) -> Stats:
    """The statistics on the host."""

    def one(found: Any) -> Any:
        return jax.tree.map(
            lambda x: x if isinstance(x, Seen) else seen(x), found, is_leaf=lambda x: isinstance(x, Seen)
        )

    stats = jax.device_get(stats)
    names = ("forward", "backward", "parameters", "gradients", "data", "updates")
    return replace(stats, **{name: one(getattr(stats, name)) for name in names})


def updated(plan: Plan, stats: Stats, before: Any, after: Any) -> Stats:
    """The statistics with those of what a step adds to the parameters, which are such trees."""

    def one(old: Array, new: Array, axes: int) -> Numbers:
        kind = jnp.promote_types(old.dtype, jnp.float32) if old.dtype.itemsize > 1 else jnp.float32
        return numbers(new.astype(kind) - old.astype(kind), axes, MOMENTS)

    return replace(stats, updates=tuple(map(one, jax.tree.leaves(before), jax.tree.leaves(after), plan.slices)))
