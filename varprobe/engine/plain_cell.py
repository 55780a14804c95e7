"""The compiled cell: many plain stacks of one shape, one seed, forward and backward, reduced layer by layer.

    z_l = h_{l-1} W_l + b_l,  h_l = phi(z_l),  delta_l = phi'(z_l) * dLoss/dh_l,  dLoss/dh_{l-1} = delta_l W_l^T

The forward scan keeps phi'(z_l) and what the weight gradient needs of h_{l-1}; the backward scan needs nothing else,
and only O(depth) numbers per net leave the function.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from varprobe.engine import losses
from varprobe.engine.moments import Moments, factor, gram_is_cheaper, measure
from varprobe.engine.per_network import net_by_net
from varprobe.engine.plain_layer import Backward, Carry, Forward, Kept, backward_net, forward_net, rounded, with_factor
from varprobe.engine.products import products, weighted
from varprobe.engine.program import Block, Numbers, Program, Segment
from varprobe.engine.random_bits import layer_keys
from varprobe.engine.scans import scan_layers, scan_leaving
from varprobe.engine.weight_bases import Draw
from varprobe.nets.scaled_float import Signal, wide

__all__ = ["CellStatistics", "run_cell", "workspace_of"]


class CellStatistics(NamedTuple):
    """All that a cell returns. Lists run over blocks; their arrays have shape (layers, nets)."""

    input: Moments
    input_correlation: Array
    forward: list[Forward]
    backward: list[Backward] | None
    bases: list[list[tuple[Array, Array]]]


def draw_layer(program: Program, segment: int, key: Array, layer: Array, running: Array) -> tuple[Any, ...]:
    """The distinct bases of one layer, from one set of bits."""
    s = program.segments[segment]
    draw = Draw(key, (s.fan_in, s.fan_out), layer, program.depth, jnp.dtype(program.dtype), running)
    return tuple(base.draw(draw) for base in program.bases(segment))


def run_cell(
    program: Program,
    workspace: Any,
    running: Bool[Array, ""],
    weight_key: Array,
    bias_key: Array,
    x: Float[Array, "batch input"],
    target: Array,
    numbers: list[Numbers],
) -> tuple[CellStatistics, Any]:
    """Statistics of every net of the program for one seed, and the workspace.

    Args:
        program: what the code is compiled for.
        workspace: memory for what the forward pass leaves to the backward pass, from an earlier call; or None.
        running: True, as a run-time argument: what the compiler must not know, see `per_network` and
            `random_bits.materialized`.
        weight_key: the seed's stream of weights; layer l uses fold_in(weight_key, l).
        bias_key: the same for biases.
        x: the batch.
        target: the cotangent (batch, width of layer L), or the labels of the loss.
        numbers: one entry a block.
    """
    inputs, carries, outputs, left = forward_pass(program, workspace, running, weight_key, bias_key, x, numbers)
    statistics, base_moments = zip(*outputs, strict=True)
    forward = [concatenate([s[b] for s in statistics]) for b in range(len(program.blocks))]
    backward = None
    if not program.forward_only:
        key = jax.random.fold_in(weight_key, program.depth + 1)
        gs = [
            start_back(program, block, carry.h, n, target, key, running)
            for block, carry, n in zip(program.blocks, carries, numbers, strict=True)
        ]
        parts: list[Any] = []
        for i in reversed(range(len(program.segments))):
            gs, part = backward_segment(program, i, gs, left[i], running, weight_key, numbers)
            parts.insert(0, part)
        backward = [concatenate([p[b] for p in parts]) for b in range(len(program.blocks))]
    return CellStatistics(*inputs, forward, backward, list(base_moments)), left


def workspace_of(
    program: Program,
    running: Bool[Array, ""],
    weight_key: Array,
    bias_key: Array,
    x: Float[Array, "batch input"],
    numbers: list[Numbers],
) -> Any:
    """Shapes of what `run_cell` takes as its workspace."""
    return jax.eval_shape(
        lambda *arguments: forward_pass(program, None, *arguments)[-1], running, weight_key, bias_key, x, numbers
    )


def forward_pass(
    program: Program,
    workspace: Any,
    running: Array,
    weight_key: Array,
    bias_key: Array,
    x: Float[Array, "batch input"],
    numbers: list[Numbers],
) -> tuple[tuple[Moments, Array], list[Carry], list[Any], list[Any]]:
    """(moments and correlation of the input, h_L of each block, outputs of each segment, what each leaves behind)."""
    start, *inputs = net_by_net(partial(start_net, program), x[None], running)
    carries = [
        jax.tree.map(lambda a, n=block.nets: jnp.broadcast_to(a, (n, *a.shape[1:])), start) for block in program.blocks
    ]
    outputs, left = [], []
    for i in range(len(program.segments)):
        space = None if workspace is None else workspace[i]
        carries, output, space = forward_segment(program, i, carries, running, weight_key, bias_key, numbers, space)
        outputs.append(output)
        left.append(space)
    return (inputs[0], inputs[1]), carries, outputs, left


def start_net(program: Program, x: Float[Array, "1 batch input"]) -> tuple[Carry, Moments, Array]:
    """(h_0 with its factor, its moments, the mean cosine between samples) of the batch."""
    segment = program.segments[0]
    by_gram = gram_is_cheaper(program.batch, segment.fan_in, segment.fan_out)
    inputs, moments = measure(Signal(x, jnp.zeros((1,), jnp.int32)))
    start = with_factor(program, by_gram, rounded(program, inputs, x))
    return start, moments, factor(inputs.m, by_gram)[1]


def start_back(
    program: Program, block: Block, h: Signal, numbers: Numbers, target: Array, key: Array, running: Array
) -> Signal:
    """dLoss/dh_L of the nets of a block."""
    drawn = None
    if block.readout is not None:
        shape = (program.segments[-1].fan_out, program.outputs)
        layer = program.depth + 1
        drawn = block.readout.draw(Draw(key, shape, layer, program.depth, jnp.dtype(program.dtype), running))
    net = lambda x: losses.gradient(program, block, x[0], target, x[1], drawn)  # noqa: E731
    return net_by_net(net, (h, numbers.readout), running)


def concatenate(parts: list[Any]) -> Any:
    """Join statistics of successive segments along the layers."""
    return jax.tree.map(lambda *a: jnp.concatenate(a), *parts)


def scanned(segment: Segment, weight_key: Array) -> tuple[Array, Array]:
    """(keys, layer numbers) of a segment."""
    return layer_keys(weight_key, segment.first, segment.count), jnp.arange(
        segment.first, segment.first + segment.count
    )


def forward_segment(
    program: Program,
    i: int,
    carries: list[Carry],
    running: Array,
    weight_key: Array,
    bias_key: Array,
    numbers: list[Numbers],
    space: Any,
) -> tuple[list[Carry], Any, Any]:
    """Run the layers of segment i; returns the carries, (statistics, moments of the bases) and what is left behind."""
    segment = program.segments[i]
    following = program.segments[min(i + 1, len(program.segments) - 1)]
    inner = gram_is_cheaper(program.batch, segment.fan_in, segment.fan_out)
    outer = gram_is_cheaper(program.batch, following.fan_in, following.fan_out)
    shape = (segment.fan_in, segment.fan_out)

    def step(carries: list[Carry], x: Any) -> tuple[list[Carry], Any, Any]:
        key, bias_key, layer, weights, biases = x
        held = draw_layer(program, i, key, layer, running)
        drawn = dict(zip(program.bases(i), held, strict=True))
        rows = products(program, i, drawn, [c.h.m for c in carries], weights)
        new, statistics, kept = [], [], []
        for b, block in enumerate(program.blocks):
            bias = draw_bias(program, i, block, bias_key, layer, running)
            net = partial(forward_net, program, block, bias, inner)
            x = (rows[b], carries[b].factor.sums, carries[b].h.e, weights[b], biases[b], numbers[b].phi)
            carry, s, slope = net_by_net(net, x, running)
            new.append(carry)
            statistics.append(s)
            kept.append(Kept(slope, carries[b].factor, carries[b].h.e))
        moments = [base.moments(d, shape, base in program.with_mean[i]) for base, d in drawn.items()]
        if program.forward_only:
            return new, (statistics, moments), None
        return new, (statistics, moments), (kept, held if program.keep_weights else None)

    keys, layers = scanned(segment, weight_key)
    bias_keys = layer_keys(bias_key, segment.first, segment.count)
    xs = (keys, bias_keys, layers, [n.weights[i] for n in numbers], [n.biases[i] for n in numbers])
    carries, outputs, space = scan_leaving(step, carries, xs, segment.count, space)
    if outer != inner:
        carries = [net_by_net(partial(with_factor, program, outer), c.h, running) for c in carries]
    return carries, outputs, space


def draw_bias(program: Program, i: int, block: Block, key: Array, layer: Array, running: Array) -> Array | None:
    """The bias base of one layer and block, shape (fan_out,)."""
    base = block.biases[i]
    if base is None:
        return None
    shape = (program.segments[i].fan_out,)
    return base.matrix(base.draw(Draw(key, shape, layer, program.depth, jnp.dtype(program.dtype), running)), shape)


def backward_segment(
    program: Program, i: int, gs: list[Signal], left: Any, running: Array, weight_key: Array, numbers: list[Numbers]
) -> tuple[list[Signal], Any]:
    """Run the layers of segment i from the last to the first."""
    segment = program.segments[i]
    by_gram = gram_is_cheaper(program.batch, segment.fan_in, segment.fan_out)

    def step(gs: list[Signal], x: Any) -> tuple[list[Signal], list[Backward]]:
        key, layer, weights, (kept, held) = x
        held = draw_layer(program, i, key, layer, running) if held is None else held
        drawn = dict(zip(program.bases(i), held, strict=True))
        net = partial(backward_net, program, segment, by_gram)
        done = [net_by_net(net, x, running) for x in zip(gs, kept, strict=True)]
        deltas, sums, statistics = ([d[k] for d in done] for k in range(3))
        rows = products(program, i, drawn, [d.m for d in deltas], weights, transpose=True)
        new = [weighted(program, r, s, d.e, w) for r, s, d, w in zip(rows, sums, deltas, weights, strict=True)]
        return new, statistics

    keys, layers = scanned(segment, weight_key)
    xs = (keys, layers, [n.weights[i] for n in numbers], left)
    gs = [Signal(wide(g.m), g.e) for g in gs] if not program.real_range else gs
    return scan_layers(step, gs, xs, segment.count, reverse=True)
