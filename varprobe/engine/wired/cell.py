"""The compiled cell of any architecture: all nets of a program for one seed, forward, and backward by jax's own vjp.

What a block keeps is left to jax.checkpoint: its input and its products; everything elementwise is computed again.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from varprobe.engine.losses import output_gradient
from varprobe.engine.moments import Moments, factor, measure
from varprobe.engine.random_bits import layer_keys
from varprobe.engine.scans import scan_layers
from varprobe.engine.weight_bases import Draw, WeightBasis
from varprobe.engine.wired.convolutions import CONVOLVED
from varprobe.engine.wired.layer import Layer
from varprobe.engine.wired.program import NetNumbers, Wired
from varprobe.engine.wired.taps import Sink, Slotted, at_unit_variance, boundary, by_base, flat, samples, sink_of
from varprobe.nets.scaled_float import Signal, add, exponent, normalize, scale, wide

__all__ = ["Keys", "WiredStatistics", "run_wired"]

KEPT = jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.dots_saveable, jax.checkpoint_policies.save_only_these_names(CONVOLVED)
)


class Keys(NamedTuple):
    """The streams of one seed that a cell draws from."""

    weights: Array
    biases: Array
    dropout: Array


class WiredStatistics(NamedTuple):
    """All that a cell returns. Lists run over segments; their arrays have shape (layers, nets)."""

    input: Moments
    input_correlation: Array
    recorded: list[dict[str, Moments]]
    scalars: list[dict[str, Array]]
    backward: list[dict[str, Sink]] | None
    exponents: list[Array]
    bases: list[tuple[tuple[tuple[Array, Array], ...], ...]]


def slot_key(key: Array, slot: int) -> Array:
    """The key of a slot's draw: the layer's own for the first, fold_in(key, slot) for the others."""
    return key if slot == 0 else jax.random.fold_in(key, slot)


def run_wired(
    program: Wired,
    running: Bool[Array, ""],
    keys: Keys,
    x: Float[Array, "batch ..."],
    target: Array,
    numbers: NetNumbers,
) -> WiredStatistics:
    """Statistics of every net of the program for one seed.

    Args:
        program: what the code is compiled for.
        running: true, as a run-time argument, see `random_bits.materialized`.
        keys: the seed's streams; layer l uses fold_in(key, l).
        x: the batch, samples in `program.input_shape`.
        target: the cotangent, in `program.output_shape`, or the labels of the loss.
        numbers: what tells the nets apart.
    """
    whole = jnp.broadcast_to(x[None], (program.nets, *x.shape))
    start, moments = measure(Signal(flat(x[None]), jnp.zeros((1,), jnp.int32)))
    cosine = factor(samples(start.m.reshape(1, *x.shape)), by_gram=False)[1]
    if program.real_range:
        first = Signal(whole.astype(program.dtype), jnp.zeros((program.nets,), jnp.int32))
    else:
        m = jnp.broadcast_to(start.m.reshape(1, *x.shape), whole.shape).astype(program.dtype)
        first = Signal(m, jnp.broadcast_to(start.e, (program.nets,)))
    forward = partial(run_forward, program, running, keys, first, numbers)
    empty = [sinks_of(program, i) for i in range(len(program.segments))]
    if program.forward_only:
        _, (last, recorded, scalars, bases) = forward(empty)
        return WiredStatistics(moments, cosine, recorded, scalars, None, [], bases)
    (m, _), pull, (last, recorded, scalars, bases) = jax.vjp(forward, empty, has_aux=True)
    g = loss_gradient(program, running, keys, Signal(m, last), target, numbers)
    (filled,) = pull((g.m.astype(m.dtype), (g.e + last).astype(empty[0]["block"].dtype)))
    backward = [{k: v for k, v in sinks.items() if k != "block"} for sinks in filled]
    return WiredStatistics(moments, cosine, recorded, scalars, backward, [s["block"] for s in filled], bases)


def sinks_of(program: Wired, segment: int) -> dict[str, Any]:
    """A sink for every gradient of every layer of a segment; `block` receives E."""
    kind = jnp.promote_types(program.dtype, jnp.float32)
    one: dict[str, Any] = {name: sink_of(program.nets, kind) for name in program.arch.gradients}
    one |= {f"{slot.name}_weight": sink_of(program.nets, kind) for slot in program.slots(segment)}
    if program.watcher:
        one["watched"] = program.watcher.sink(program.nets, kind)
    count = program.segments[segment].count
    every = jax.tree.map(lambda a: jnp.broadcast_to(a, (count, *a.shape)), one)
    return {**every, "block": jnp.zeros((count, program.nets), kind)}


def run_forward(
    program: Wired, running: Array, keys: Keys, first: Signal, numbers: NetNumbers, sinks: list[dict[str, Any]]
) -> tuple[tuple[Array, Array], Any]:
    """((mantissa of h_L, what `boundary` takes), (its exponent, moments, scalars and bases of every segment))."""
    carry = first, jnp.zeros((program.nets,), sinks[0]["block"].dtype)
    recorded, scalars, bases = [], [], []
    for i, segment in enumerate(program.segments):
        layers = jnp.arange(segment.first, segment.first + segment.count)
        streams = tuple(layer_keys(key, segment.first, segment.count) for key in keys)
        step = partial(run_layer, program, i, running, numbers)
        carry, (seen, more, moments) = scan_layers(
            step, carry, (layers, streams, numbers.segments[i], sinks[i]), segment.count
        )
        recorded.append(seen)
        scalars.append(more)
        bases.append(moments)
    x, taken = carry
    return (x.m, taken), (x.e, recorded, scalars, bases)


def run_layer(
    program: Wired, segment: int, running: Array, numbers: NetNumbers, carry: tuple[Signal, Array], xs: Any
) -> tuple[tuple[Signal, Array], Any]:
    """One block of all nets."""
    number, (key, bias_key, dropout_key), n, sinks = xs

    def drawn_block(held: Any, x: Signal, taken: Array, sinks: Any) -> Any:
        held = draw(program, segment, key, number, running) if held is None else held
        unit = n.unit or (None,) * len(held)
        matrices = tuple(Slotted(h, w.scale, w.mean, w.e, u) for h, w, u in zip(held, n.weights, unit, strict=True))
        biases = tuple(
            None if b is None else (draw_bias(program, segment, i, b, bias_key, number, running), n.biases[i])
            for i, b in enumerate(program.biases)
        )
        dropout = dropout_key, numbers.dropout
        layer = Layer(program, segment, number, matrices, biases, n.arch, numbers.phi, dropout, sinks)
        h = layer.see("activation", program.arch.block(layer, x))
        m, taken = boundary(h.m, taken, sinks["block"], jnp.asarray(not program.real_range))
        return (Signal(m, h.e), taken), (layer.recorded, layer.scalars)

    held = draw(program, segment, key, number, running)
    block = jax.checkpoint(drawn_block, policy=KEPT, prevent_cse=False)
    new, (recorded, scalars) = block(held if program.keep_weights else None, *carry, sinks)
    return new, (recorded, scalars, base_moments(program, segment, held))


def draw(program: Wired, segment: int, key: Array, number: Array, running: Array) -> tuple[tuple[Any, ...], ...]:
    """The distinct bases of every slot."""
    return tuple(
        tuple(
            base.draw(Draw(slot_key(key, i), slot[1:3], number, program.depth, jnp.dtype(program.dtype), running))
            for base in dict.fromkeys(program.weights[segment][i])
        )
        for i, slot in enumerate(program.slots(segment))
    )


def draw_bias(
    program: Wired, segment: int, slot: int, base: WeightBasis, key: Array, number: Array, running: Array
) -> Array:
    """The bias base of one slot, one entry a unit."""
    shape = (program.slots(segment)[slot].units,)
    drawn = base.draw(Draw(slot_key(key, slot), shape, number, program.depth, jnp.dtype(program.dtype), running))
    return base.matrix(drawn, shape)


def base_moments(program: Wired, segment: int, held: Any) -> tuple[tuple[tuple[Array, Array], ...], ...]:
    """Mean and mean square of the distinct bases of every slot."""
    return tuple(
        tuple(
            base.moments(d, slot[1:3], base in program.with_mean[segment][i])
            for base, d in zip(dict.fromkeys(program.weights[segment][i]), held[i], strict=True)
        )
        for i, slot in enumerate(program.slots(segment))
    )


def loss_gradient(program: Wired, running: Array, keys: Keys, h: Signal, target: Array, numbers: NetNumbers) -> Signal:
    """dLoss/dh_L of all nets, near 1 unless ranges are real. A read-out reads the mean over positions."""
    shape = h.m.shape
    still = jnp.zeros((program.nets,), jnp.int32)
    if not program.outputs:
        g = Signal(jnp.broadcast_to(target.astype(program.dtype), shape), still)
        return g if program.real_range else near_one(g)
    n = numbers.readout
    assert n is not None
    places = tuple(range(2, len(shape) - 1))
    pooled = Signal(wide(h.m).mean(axis=places) if places else wide(h.m), h.e)
    layer = program.depth + 1
    key = jax.random.fold_in(keys.weights, layer)
    fan_in = shape[-1]
    draw = Draw(key, (fan_in, program.outputs), layer, program.depth, jnp.dtype(program.dtype), running)
    drawn = {base: base.draw(draw) for base in dict.fromkeys(program.readout)}

    matrix = Slotted(tuple(drawn.values()), n.scale, n.mean, n.e, numbers.unit_readout)

    def read(s: Signal, width: int, transpose: bool) -> Signal:
        return Signal(by_base(program.readout, s.m, matrix, width, transpose), s.e + matrix.e)

    if matrix.unit is not None:
        matrix = at_unit_variance(read(pooled, program.outputs, False), matrix)[0]

    output = normalize(read(pooled, program.outputs, False))
    if numbers.readout_bias is not None:
        bias = normalize(Signal(wide(jnp.asarray(numbers.readout_bias))[:, None], still))
        output = add(output, Signal(jnp.broadcast_to(bias.m, output.m.shape), bias.e))
    g = normalize(read(normalize(output_gradient(program.loss, output, target)), fan_in, True))
    m = g.m.reshape(*g.m.shape[:2], *(1,) * len(places), fan_in)
    m = jnp.broadcast_to(m, shape) / math.prod(shape[2:-1])
    if program.real_range:
        return Signal(scale(m, g.e).astype(program.dtype), still)
    return near_one(Signal(m, g.e))


def near_one(x: Signal) -> Signal:
    """The same values with the largest magnitude of each net in [1, 2)."""
    k = exponent(jnp.max(jnp.abs(wide(x.m)), axis=tuple(range(1, x.m.ndim))))
    return Signal(scale(wide(x.m), -k), x.e + k)
