"""The compiled cell of recurrent nets: one draw of the weights, a scan over time forward, and one back.

The way back takes each step again, from its state and its products with the recurrent matrices, which the way forward
kept. Gradients of the shared matrices are summed over all steps in one product at the end: rows of a step count by
their exponent.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from varprobe.engine.moments import Factor, Moments, factor, gram_is_cheaper, measure, product_moments
from varprobe.engine.products import product
from varprobe.engine.random_bits import layer_keys
from varprobe.engine.wired.cell import Keys, WiredStatistics, base_moments, draw, draw_bias, loss_gradient
from varprobe.engine.wired.layer import Layer
from varprobe.engine.wired.program import NetNumbers, Wired
from varprobe.engine.wired.step import NEVER, Node, Rows, Step, near_one
from varprobe.engine.wired.taps import Sink, Slotted
from varprobe.nets.architectures.recurrent import Recurrent
from varprobe.nets.scaled_float import Signal, scale, wide

__all__ = ["run_recurrent"]


class Weights(NamedTuple):
    """What all steps share: matrices and biases by slot, and the architecture's numbers."""

    matrices: tuple[Slotted, ...]
    biases: tuple[Any, ...]
    arch: dict[str, Array]


class Times(NamedTuple):
    """What a step has of its own: its number, its key of dropout and its input."""

    number: Array
    dropout: Array
    rows: Rows | None


def run_recurrent(
    program: Wired,
    running: Bool[Array, ""],
    keys: Keys,
    x: Float[Array, "batch ..."],
    target: Array,
    numbers: NetNumbers,
) -> WiredStatistics:
    """Statistics of every net of the program for one seed; arguments and results are those of `run_wired`.

    x: (batch, steps, units), or (batch, units) where it is the first state.
    """
    arch = recurrent(program)
    held = draw(program, 0, layer_keys(keys.weights, 1, 1)[0], jnp.asarray(1), running)
    weights = weights_of(program, running, keys, held, numbers)
    first = x if arch.inputs == "first" else x[:, 0]
    start, moments = measure(Signal(first[None], jnp.zeros((1,), jnp.int32)))
    cosine = factor(start.m, by_gram=False)[1]
    inputs = entering(program, x) if arch.inputs == "every" else None
    times = Times(
        jnp.arange(1, program.depth + 1),
        layer_keys(keys.dropout, 1, program.depth),
        rows_of(program, held, inputs) if inputs else None,
    )
    states, (before, products, recorded, scalars) = lax.scan(
        partial(forward, program, weights, numbers), first_states(program, arch, start, first), times
    )
    bases = [jax.tree.map(lambda a: a[None], base_moments(program, 0, held))]
    if program.forward_only:
        return WiredStatistics(moments, cosine, [recorded], [scalars], None, [], bases)
    g = loss_gradient(program, running, keys, states[0], target, numbers)
    g = Signal(g.m.astype(program.dtype), g.e)
    nothing = Signal(jnp.zeros_like(g.m), jnp.full_like(g.e, NEVER))
    gradients = (g, *(nothing for _ in states[1:]))
    _, (sinks, deltas) = lax.scan(
        partial(backward, program, weights, numbers), gradients, (before, products, times, inputs), reverse=True
    )
    for kind, side in (("w", before[0]), ("u", inputs)):
        if side and deltas:
            sinks |= summed(program, kind, side, deltas)
    still = jnp.zeros((program.depth, program.nets))
    return WiredStatistics(moments, cosine, [recorded], [scalars], [sinks], [still], bases)


def recurrent(program: Wired) -> Recurrent:
    """Its architecture."""
    assert isinstance(program.arch, Recurrent)
    return program.arch


def weights_of(program: Wired, running: Array, keys: Keys, held: Any, numbers: NetNumbers) -> Weights:
    """The draws of layer 1 with each net's numbers."""
    n = jax.tree.map(lambda a: a[0], numbers.segments[0])
    key = layer_keys(keys.biases, 1, 1)[0]
    biases = tuple(
        None if b is None else (draw_bias(program, 0, i, b, key, jnp.asarray(1), running), n.biases[i])
        for i, b in enumerate(program.biases)
    )
    matrices = tuple(Slotted(h, w.scale, w.mean, w.e) for h, w in zip(held, n.weights, strict=True))
    return Weights(matrices, biases, n.arch)


def entering(program: Wired, x: Float[Array, "batch steps units"]) -> Signal:
    """The inputs of all steps, (steps, batch, units), with an exponent a step unless ranges are real."""
    x = x.swapaxes(0, 1)
    still = jnp.zeros(x.shape[:1], jnp.int32)
    if program.real_range:
        return Signal(x.astype(program.dtype), still)
    return near_one(Signal(x, still), program.dtype)


def rows_of(program: Wired, held: Any, inputs: Signal) -> Rows:
    """What the inputs of all steps give with every distinct base."""
    products = {
        slot.name: tuple(
            product(base, drawn, inputs.m, slot.fan_out)
            for base, drawn in zip(dict.fromkeys(program.weights[0][i]), held[i], strict=True)
        )
        for i, slot in enumerate(program.slots(0))
        if slot.role == "first"
    }
    return Rows(products, wide(inputs.m).sum(2), inputs.e)


def first_states(program: Wired, arch: Recurrent, start: Signal, first: Array) -> tuple[Signal, ...]:
    """h_0 and the other states: zero, but that the input is h_0 where no other enters."""
    shape = (program.nets, program.batch, program.segments[0].fan_out)
    still = jnp.zeros((program.nets,), jnp.int32)
    zero = Signal(jnp.zeros(shape, program.dtype), jnp.full_like(still, 0 if program.real_range else NEVER))
    if arch.inputs == "every":
        return (zero,) * arch.states
    m, e = (first[None], still) if program.real_range else (start.m, jnp.broadcast_to(start.e, still.shape))
    h = Signal(jnp.broadcast_to(m, shape).astype(program.dtype), e)
    return (h, *(zero for _ in range(arch.states - 1)))


def taken(
    program: Wired, weights: Weights, numbers: NetNumbers, time: Times, states: tuple[Signal, ...], held: Any = None
) -> tuple[Step, list[Node], tuple[Node, ...]]:
    """(the step, its states before, those after) of one step; h is seen as the activation."""
    dropout = time.dropout, numbers.dropout
    layer = Layer(program, 0, time.number, weights.matrices, weights.biases, weights.arch, numbers.phi, dropout, {})
    step = Step(layer, time.rows, held)
    old = [step.node(state) for state in states]
    h, *others = recurrent(program).block(step, tuple(old))
    return step, old, (step.see("activation", h), *others)


def forward(
    program: Wired, weights: Weights, numbers: NetNumbers, states: tuple[Signal, ...], time: Times
) -> tuple[tuple[Signal, ...], Any]:
    """One step, and what the way back needs of it."""
    step, _, new = taken(program, weights, numbers, time, states)
    keep: Any = (None, None) if program.forward_only else (states, step.held)
    return tuple(step.near(node) for node in new), (*keep, step.layer.recorded, step.layer.scalars)


def backward(
    program: Wired, weights: Weights, numbers: NetNumbers, gradients: tuple[Signal, ...], xs: Any
) -> tuple[tuple[Signal, ...], Any]:
    """dLoss/d(states) of the step before; the step's statistics, and dLoss/d(product) where they are to be summed."""
    states, products, time, entered = xs
    arch = recurrent(program)
    step, old, new = taken(program, weights, numbers, time, states, products)
    step.pull(list(zip(new, gradients, strict=True)))
    sinks = {site: seen(step.gradient(step.sites[site])) for site in arch.gradients}
    if not arch.per_step:
        return tuple(step.gradient(node) for node in old), (sinks, step_deltas(step))
    for name, node in step.products.items():
        side = Signal(entered.m[None], entered.e) if name[0] == "u" else states[0]
        sinks[f"{name}_weight"] = sink(step_moments(side, step.gradient(node)))
    return tuple(step.gradient(node) for node in old), (sinks, {})


def step_deltas(step: Step) -> dict[tuple[str, ...], Signal]:
    """dLoss/d(product) of every slot, each under the names of all slots whose products are added up."""
    groups: list[tuple[Signal, list[str]]] = []
    for name, node in step.products.items():
        delta = step.gradient(node)
        names = next((names for d, names in groups if d is delta), None)
        if names is None:
            groups.append((delta, [name]))
        else:
            names.append(name)
    return {tuple(names): delta for delta, names in groups}


def seen(g: Signal) -> Sink:
    """The statistics of a gradient."""
    measured, moments = measure(g)
    return sink(moments, factor(measured.m, by_gram=False)[1])


def sink(moments: Moments, cosine: Array | None = None) -> Sink:
    """Moments as `run_wired` returns them."""
    mean, ms, var, absmax, e = moments
    cosine = jnp.full_like(mean, jnp.nan) if cosine is None else cosine.astype(mean.dtype)
    return Sink(mean, ms, var, absmax, e.astype(mean.dtype), cosine)


def step_moments(h: Signal, delta: Signal) -> Moments:
    """Moments of h^T delta of one step, h perhaps the same for all nets."""
    (h, _), (delta, _) = measure(h), measure(delta)
    sizes = h.m.shape[2], delta.m.shape[2]
    by_gram = gram_is_cheaper(h.m.shape[1], *sizes)
    sides = [factor(side.m, by_gram)[0] for side in (h, delta)]
    every = [Factor(*(jnp.broadcast_to(a, (delta.m.shape[0], *a.shape[1:])) for a in side)) for side in sides]
    return product_moments(every[0], every[1], by_gram, sizes[0] * sizes[1], h.e + delta.e)


def summed(program: Wired, kind: str, side: Signal, deltas: dict[tuple[str, ...], Signal]) -> dict[str, Sink]:
    """Statistics of the gradients of the recurrent (w) or input (u) matrices, summed over steps; they stand at each."""
    owners = {name: delta for names, delta in deltas.items() for name in names if name[0] == kind}
    if side.m.ndim == 3:
        side = Signal(side.m[:, None], side.e[:, None])
    gradient = sum_of_products(side, jax.tree.map(lambda *a: jnp.stack(a, axis=1), *owners.values()))
    merged = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), gradient)
    rows = sink(measure(merged)[1])
    every = [jnp.broadcast_to(a.reshape(-1, 1, program.nets), (len(owners), program.depth, program.nets)) for a in rows]
    return {f"{name}_weight": Sink(*values) for name, *values in zip(owners, *every, strict=True)}


def sum_of_products(h: Signal, delta: Signal) -> Signal:
    """The sums over steps of h^T delta, (slots, nets, fan_in, units), each at its largest exponent.

    h: (steps, nets or 1, batch, fan_in), 1 where all nets have the same; delta: (steps, slots, nets, batch, units).
    """
    h, delta = jax.vmap(near_one)(h), jax.vmap(jax.vmap(near_one))(delta)
    e = h.e[:, None] + delta.e
    top = jnp.max(e, axis=0)
    weighted = jax.vmap(jax.vmap(scale))(delta.m, e - top)
    slots, nets = top.shape

    def of_net(net: Array) -> Array:
        """One product for all slots: (slots, fan_in, units). Its shape is the same in any company."""
        rows = h.m[:, 0] if h.m.shape[1] == 1 else lax.dynamic_index_in_dim(h.m, net, 1, keepdims=False)
        columns = jnp.moveaxis(lax.dynamic_index_in_dim(weighted, net, 2, keepdims=False), 1, 2)
        count = rows.shape[0] * rows.shape[1]
        m = jnp.matmul(rows.reshape(count, -1).T, columns.reshape(count, -1), precision=lax.Precision.HIGHEST)
        return jnp.moveaxis(m.reshape(len(m), slots, -1), 0, 1)

    return Signal(jnp.moveaxis(lax.map(of_net, jnp.arange(nets)), 0, 1), top)
