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

from varprobe.blocks.recurrent import Recurrent
from varprobe.dense import product
from varprobe.draws import layer_keys
from varprobe.extended import Signal, exponent, scale
from varprobe.moments import Factor, Moments, factor, gram_is_cheaper, measure, product_moments, wide
from varprobe.wired.cell import Keys, WiredStatistics, base_moments, draw, draw_bias, loss_gradient
from varprobe.wired.layer import Layer
from varprobe.wired.program import NetNumbers, Wired
from varprobe.wired.step import Node, Rows, Step
from varprobe.wired.taps import Sink, Slotted

__all__ = ["run_recurrent"]

NEVER = -(2**30)
"""The exponent of what is exactly zero."""


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
    arch = program.arch
    assert isinstance(arch, Recurrent)
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
    nothing = Signal(jnp.zeros_like(g.m), jnp.zeros_like(g.e))
    gradients = (g, *(nothing for _ in states[1:]))
    _, (sinks, deltas) = lax.scan(
        partial(backward, program, weights, numbers), gradients, (before, products, times, inputs), reverse=True
    )
    for names, delta in deltas.items():
        for name in names:
            side = Signal(inputs.m[:, None], inputs.e[:, None]) if inputs and name[0] == "u" else before[0]
            summed = sink(measure(sum_of_products(side, delta))[1])
            every = lambda a: jnp.broadcast_to(a, (program.depth, *a.shape))  # noqa: E731
            sinks[f"{name}_weight"] = jax.tree.map(every, summed)
    still = jnp.zeros((program.depth, program.nets))
    return WiredStatistics(moments, cosine, [recorded], [scalars], [sinks], [still], bases)


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
    k = exponent(jnp.max(jnp.abs(x), axis=(1, 2)))
    return Signal(scale(x, -k).astype(program.dtype), k)


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
    zero = Signal(jnp.zeros(shape, program.dtype), still)
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
    h, *others = program.arch.block(step, tuple(old))  # type: ignore[arg-type]
    return step, old, (step.see("activation", h), *others)


def forward(
    program: Wired, weights: Weights, numbers: NetNumbers, states: tuple[Signal, ...], time: Times
) -> tuple[tuple[Signal, ...], Any]:
    """One step, and what the way back needs of it."""
    step, _, new = taken(program, weights, numbers, time, states)
    kept = {name: node.value.m for name, node in step.products.items() if name[0] == "w"}
    keep: Any = (None, None) if program.forward_only else (states, kept)
    return tuple(node.value for node in new), (*keep, step.layer.recorded, step.layer.scalars)


def backward(
    program: Wired, weights: Weights, numbers: NetNumbers, gradients: tuple[Signal, ...], xs: Any
) -> tuple[tuple[Signal, ...], Any]:
    """dLoss/d(states) of the step before; the step's statistics, and dLoss/d(product) where they are to be summed."""
    states, products, time, entered = xs
    arch = program.arch
    step, old, new = taken(program, weights, numbers, time, states, products)
    step.pull(list(zip(new, gradients, strict=True)))
    sinks = {site: seen(gradient(step.sites[site])) for site in arch.gradients}
    deltas: dict[tuple[str, ...], Signal] = {}
    for name, node in step.products.items():
        delta = gradient(node)
        if arch.per_step:  # type: ignore[attr-defined]
            side = Signal(entered.m[None], entered.e) if name[0] == "u" else states[0]
            sinks[f"{name}_weight"] = sink(step_moments(side, delta))
            continue
        shared = next((names for names, d in deltas.items() if d is delta), ())
        deltas.pop(shared, None)
        deltas[*shared, name] = delta
    return tuple(gradient(node) for node in old), (sinks, deltas)


def gradient(node: Node) -> Signal:
    """A node's gradient, zero where nothing depends on it."""
    if node.gradient is None:
        return Signal(jnp.zeros_like(node.value.m), jnp.zeros_like(node.value.e))
    return node.gradient


def seen(g: Signal) -> Sink:
    """The statistics of a gradient."""
    measured, moments = measure(g)
    return sink(moments, factor(measured.m, by_gram=False)[1])


def sink(moments: Moments, cosine: Array | None = None) -> Sink:
    """Moments as `run_wired` returns them."""
    *values, e = moments
    nothing = jnp.full_like(moments.mean, jnp.nan)
    return Sink(*values, e.astype(moments.mean.dtype), nothing if cosine is None else cosine.astype(moments.mean.dtype))


def step_moments(h: Signal, delta: Signal) -> Moments:
    """Moments of h^T delta of one step, h perhaps the same for all nets."""
    (h, _), (delta, _) = measure(h), measure(delta)
    sizes = h.m.shape[2], delta.m.shape[2]
    by_gram = gram_is_cheaper(h.m.shape[1], *sizes)
    sides = [factor(side.m, by_gram)[0] for side in (h, delta)]
    every = [Factor(*(jnp.broadcast_to(a, (delta.m.shape[0], *a.shape[1:])) for a in side)) for side in sides]
    return product_moments(every[0], every[1], by_gram, sizes[0] * sizes[1], h.e + delta.e)


def sum_of_products(h: Signal, delta: Signal) -> Signal:
    """The sum over steps of h^T delta: h (steps, nets or 1, batch, units) with exponents (steps, nets or 1)."""
    (h, h_zero), (delta, delta_zero) = near_one(h), near_one(delta)
    e = jnp.where(h_zero | delta_zero, NEVER, h.e + delta.e)
    top = jnp.max(e, axis=0)
    top = jnp.where(top == NEVER, 0, top)
    weighted = jax.vmap(scale)(delta.m, jnp.minimum(e - top, 0))
    if h.m.shape[1] == 1:
        m = jnp.einsum("tbi,tnbo->nio", h.m[:, 0], weighted, precision=lax.Precision.HIGHEST)
    else:
        m = jnp.einsum("tnbi,tnbo->nio", h.m, weighted, precision=lax.Precision.HIGHEST)
    return Signal(m, top)


def near_one(x: Signal) -> tuple[Signal, Array]:
    """(the same values with the largest magnitude of each step and net in [1, 2), which are exactly zero)."""
    largest = jnp.max(jnp.abs(wide(x.m)), axis=(2, 3))
    k = exponent(largest)
    return Signal(jax.vmap(scale)(wide(x.m), -k), x.e + k), largest == 0
