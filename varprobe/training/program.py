"""The compiled job: nets of one shape and one seed, trained one after the other or side by side, with the same batches.

A net is measured at chosen steps by the sweep's own cell; between them it is only trained. The number of steps between
two measurements is a run-time number, so that one program serves every schedule of as many measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from varprobe.engine.moments import measure
from varprobe.engine.program import HostOrDevice
from varprobe.engine.wired.cell import Keys
from varprobe.nets.scaled_float import Signal, wide
from varprobe.training.measuring import StepProbe
from varprobe.training.optimizers import Optimizer
from varprobe.training.trainee import Numbers, Params, StackModel

__all__ = ["TrainConfig", "Given", "Shared", "train"]

BLOCK = 256
"""Rows that a net is judged on at once."""


@dataclass(frozen=True)
class TrainConfig:
    """What compiled code depends on.

    gauge: None where nothing is measured. optimizer: one of those that the program serves. steps: how many updates,
    over which learning rates are scheduled. records: how many measurements. kept: whether the parameters at the end
    are wanted.
    """

    trainee: StackModel
    gauge: StepProbe | None
    optimizer: Optimizer
    steps: int
    records: int
    kept: bool = False


class Given(NamedTuple):
    """One net's own: parameters at the start, numbers of its stack and of its optimizer."""

    params: Params
    numbers: Numbers
    rates: dict[str, Any]


class Shared(NamedTuple):
    """What all nets of a job have: a `batches.Batches`, the seed's keys, the steps at which to measure and to stop."""

    x: Float[HostOrDevice, "samples ..."]
    target: HostOrDevice
    rows: Int[HostOrDevice, "steps batch"]
    judged: Int[HostOrDevice, " judged"]
    keys: Keys
    at: Int[HostOrDevice, " records"]
    stop: Int[HostOrDevice, ""]


class TrainResult(NamedTuple):
    """What is known of a net in the end.

    losses: of the batch of each step before its update, the last after all of them. measured: the cell's statistics by
    record. updates: (mean square, exponent) by record and layer of what the step then did to each parameter. loss,
    accuracy: over the rows on which it is judged. params: at the end, if wanted.
    """

    losses: Float[Array, " steps"]
    measured: Any
    updates: Any
    loss: Float[Array, ""]
    accuracy: Float[Array, ""]
    params: Any


class State(NamedTuple):
    """A net on its way."""

    params: Params
    memory: Any
    losses: Array


@partial(jax.jit, static_argnums=(0, 1))
def train(course: TrainConfig, alone: bool, nets: Given, shared: Shared) -> TrainResult:
    """Every net of a job, stacked along the first axes of `nets`; `alone`: one after the other."""
    one = lambda net: train_one(course, net, shared)  # noqa: E731
    return lax.map(one, nets) if alone else jax.vmap(one)(nets)


def train_one(course: TrainConfig, net: Given, shared: Shared) -> TrainResult:
    """A net from start to end."""
    import optax

    trainee = course.trainee
    transform = course.optimizer.transform(course.steps, net.rates)

    def batch(t: Array) -> tuple[Array, Array, Array]:
        rows = jnp.take(shared.rows, t, axis=0)
        return key_at(shared.keys.dropout, t), jnp.take(shared.x, rows, axis=0), jnp.take(shared.target, rows, axis=0)

    def change(state: State, t: Array) -> tuple[State, Any]:
        loss, slopes = jax.value_and_grad(trainee.error)(state.params, net.numbers, *batch(t))
        updates, memory = transform.update(slopes, state.memory, state.params)
        losses = state.losses.at[t].set(loss.astype(state.losses.dtype))
        return State(state.params, memory, losses), updates

    def step(t: Array, state: State) -> State:
        new, updates = change(state, t)
        return new._replace(params=optax.apply_updates(new.params, updates))

    def record(state: State, ends: tuple[Array, Array]) -> tuple[State, Any]:
        at, until = ends
        key, x, target = batch(at)
        assert course.gauge
        found = course.gauge(state.params, net.numbers, shared.keys._replace(dropout=key), x, target)
        new, updates = change(state, at)
        moved = tuple(changes(trainee, segment) for segment in updates[0])
        new = new._replace(params=optax.apply_updates(new.params, updates))
        state = jax.tree.map(partial(jnp.where, at < shared.stop), new, state._replace(losses=new.losses))
        return lax.fori_loop(at + 1, until, step, state), (found, moved)

    losses = jnp.full(course.steps + 1, jnp.nan, jnp.promote_types(trainee.dtype, jnp.float32))
    state = State(net.params, transform.init(net.params), losses)
    measured = updates = None
    if course.gauge:
        state = lax.fori_loop(0, shared.at[0], step, state)
        until = jnp.append(shared.at[1:], shared.stop)
        state, (measured, updates) = lax.scan(record, state, (shared.at, until))
    else:
        state = lax.fori_loop(0, shared.stop, step, state)
    last = trainee.error(state.params, net.numbers, *batch(shared.stop))
    loss, accuracy = judged(trainee, state.params, net.numbers, shared)
    return TrainResult(
        state.losses.at[shared.stop].set(last.astype(losses.dtype)),
        measured,
        updates,
        loss,
        accuracy,
        state.params if course.kept else None,
    )


def key_at(key: Array, t: Array) -> Array:
    """The key of dropout at a step; at step 0 the seed's own, with which a sweep measures."""
    own, folded = (jax.random.key_data(k) for k in (key, jax.random.fold_in(key, t)))
    return jax.random.wrap_key_data(jnp.where(t == 0, own, folded), impl=jax.random.key_impl(key))


def changes(trainee: StackModel, updates: Any) -> dict[str, tuple[Array, Array]]:
    """`moments_by_layer` of each parameter of a segment; of a user's block those of all entries, as `w`."""
    if trainee.config.arch.own:
        leaves = [wide(leaf).reshape(len(leaf), -1) for leaf in jax.tree.leaves(updates)]
        return {"w": moments_by_layer(jnp.concatenate(leaves, axis=1))}
    return {name: moments_by_layer(a) for name, a in updates.items()}


def moments_by_layer(a: Float[Array, "layers ..."]) -> tuple[Array, Array]:
    """(mean square, exponent) of each layer's entries: ms * 4^e."""
    rows = wide(a).reshape(len(a), 1, -1)
    _, moments = measure(Signal(rows, jnp.zeros(len(a), jnp.int32)))
    return moments.ms, moments.e


def judged(trainee: StackModel, params: Params, numbers: Numbers, shared: Shared) -> tuple[Array, Array]:
    """(loss, share of rows told right) over the rows of `shared.judged`; NaN where there are no classes.

    Norms over a batch see the batches that they are cut into.
    """
    count = len(shared.judged)
    size = min(BLOCK, count)
    blocks = -(-count // size)
    places = jnp.arange(blocks * size) % count
    rows = jnp.take(shared.judged, places).reshape(blocks, size)

    def one(rows: Array) -> Array:
        return trainee.output(params, numbers, shared.keys.dropout, jnp.take(shared.x, rows, axis=0))

    output = lax.map(one, rows).reshape(blocks * size, -1)[:count]
    target = jnp.take(shared.target, shared.judged, axis=0)
    loss = trainee.error_of(output, target)
    if trainee.loss == "mse":
        return loss, jnp.full((), jnp.nan, loss.dtype)
    right = (jnp.argmax(output, axis=1) == target) & jnp.isfinite(output).all(axis=1)
    return loss, right.mean(dtype=loss.dtype)
