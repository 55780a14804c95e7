"""What a recurrent block is written with: operations on the signals of one step, each with its way back.

A way back maps dLoss/d(result) to dLoss/d(operand), and both are signals with exponents of their own, so gradients of
any size add up exactly: a state may outweigh its input by more than a float's range, and the input matrix's gradient
is still right. (jax would differentiate the mantissas, whose cotangents share one exponent.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array

from varprobe.dense import runs
from varprobe.extended import Signal, scale
from varprobe.moments import wide
from varprobe.nonlinearity import activate, value_and_slope
from varprobe.norms import normalized
from varprobe.wired.layer import Layer
from varprobe.wired.taps import by_base

__all__ = ["Node", "Rows", "Step"]

LARGEST_EXPONENT = 126
Back = Callable[[Signal], Signal]


@dataclass(eq=False)
class Node:
    """A signal, what it was made of, and dLoss/d(it) once `Step.pull` was there."""

    value: Signal
    operands: tuple[tuple[Node, Back], ...] = ()
    gradient: Signal | None = None


@dataclass(frozen=True)
class Rows:
    """The input of one step: what it gives with the distinct bases of each slot u, the sums of its rows, its exponent."""

    products: dict[str, tuple[Array, ...]]
    sums: Array
    e: Array


jax.tree_util.register_dataclass(Rows, ["products", "sums", "e"], [])


class Step:
    """One step of all nets while it is traced.

    layer: its numbers and matrices, and where forward statistics go. rows: of its input, None without. held: the
    products with recurrent matrices, where they were computed before.
    """

    def __init__(self, layer: Layer, rows: Rows | None, held: dict[str, Array] | None = None) -> None:
        self.layer, self.rows, self.held = layer, rows, held
        self.nodes: list[Node] = []
        self.sites: dict[str, Node] = {}
        self.products: dict[str, Node] = {}

    def node(self, value: Signal, *operands: tuple[Node, Back]) -> Node:
        """A result."""
        self.nodes.append(Node(value, operands))
        return self.nodes[-1]

    def stored(self, value: Signal, *operands: tuple[Node, Back]) -> Node:
        """A result as it would stand in memory."""
        return self.node(self.layer.stored(value), *operands)

    def linear(self, name: str, h: Node) -> Node:
        """h W + b with the matrix of that name."""
        layer, i = self.layer, self.layer.slots[name]
        bases, matrix = layer.program.weights[0][i], layer.matrices[i]
        slot = layer.program.slots(0)[i]
        if self.held is None:
            rows = by_base(bases, h.value.m, matrix, slot.fan_out, transpose=False)
        else:
            rows = self.held[name]

        def back(g: Signal) -> Signal:
            return Signal(by_base(bases, g.m, matrix, slot.fan_in, transpose=True), g.e + matrix.e)

        self.products[name] = self.node(Signal(rows, h.value.e + matrix.e), (h, back))
        return self.shifted(i, self.products[name])

    def fed(self, name: str, z: Node) -> Node:
        """z + x_t U + b with the input matrix of that name; z where there is no input."""
        if self.rows is None:
            return z
        layer, i = self.layer, self.layer.slots[name]
        matrix, bases = layer.matrices[i], layer.program.weights[0][i]
        found = dict(zip(dict.fromkeys(bases), self.rows.products[name], strict=True))
        each = [(wide(found[base]), own.stop - own.start) for base, own in runs(bases)]
        rows = jnp.concatenate([jnp.broadcast_to(part, (nets, *part.shape)) for part, nets in each])
        spread, mean = (v.astype(rows.dtype)[:, None, None] for v in (matrix.scale, matrix.mean))
        m = spread * rows + mean * self.rows.sums[None, :, None]
        self.products[name] = self.node(Signal(m, self.rows.e + matrix.e))
        return self.plus(z, self.shifted(i, self.products[name]))

    def shifted(self, i: int, z: Node) -> Node:
        """z + b of slot i."""
        return self.node(self.layer.shifted(i, z.value), (z, same))

    def raised(self, z: Node, number: str) -> Node:
        """z plus a number of the architecture's."""
        b = wide(self.layer.numbers[number])[:, None, None]
        return self.node(self.layer.plus(z.value, Signal(b, jnp.zeros_like(z.value.e))), (z, same))

    def plus(self, a: Node, b: Node) -> Node:
        """a + b."""
        return self.node(self.layer.plus(a.value, b.value), (a, same), (b, same))

    def times(self, a: Node, b: Node) -> Node:
        """a b, unit by unit."""
        return self.stored(times(a.value, b.value), (a, lambda g: times(g, b.value)), (b, lambda g: times(g, a.value)))

    def activated(self, z: Node) -> Node:
        """Norm and activation, in the order that --norm says, and dropout."""
        return self.dropped(self.norm(self.phi(self.norm(z, "pre")), "post"))

    def phi(self, z: Node) -> Node:
        """phi(z); the first of a step leaves its shares of zero, dead and saturated units."""
        layer = self.layer
        y, slope = activate(layer.program, layer.program.phi, layer.phi_numbers, z.value, value_and_slope)
        if not layer.activations:
            layer.shares(z.value, y, slope, y.m.shape)
        layer.activations += 1
        return self.stored(y, (z, lambda g: Signal(wide(slope) * wide(g.m), g.e)))

    def gate(self, z: Node, name: str) -> Node:
        """sigmoid(z), whose mean over batch and units is NAME_gate_mean."""
        gate = self.sigmoid(z, 1)
        mean = wide(gate.value.m).mean(axis=(1, 2))
        self.layer.scalars[f"{name}_gate_mean"] = scale(mean, gate.value.e)
        return gate

    def complement(self, z: Node) -> Node:
        """1 - sigmoid(z)."""
        return self.sigmoid(z, -1)

    def sigmoid(self, z: Node, sign: int) -> Node:
        """sigmoid(+-z)."""
        x = sign * scale(wide(z.value.m), jnp.clip(z.value.e, -LARGEST_EXPONENT, LARGEST_EXPONENT))
        y = jax.nn.sigmoid(x)
        slope = sign * y * jax.nn.sigmoid(-x)
        return self.stored(Signal(y, jnp.zeros_like(z.value.e)), (z, lambda g: Signal(slope * wide(g.m), g.e)))

    def norm(self, x: Node, position: str) -> Node:
        """The norm, if that is its position."""
        norm = self.layer.program.norm
        if not norm or norm.position != position:
            return x
        out = normalized(norm, Signal(wide(x.value.m), x.value.e))
        _, pull = jax.vjp(lambda m: normalized(norm, Signal(m, x.value.e)).m, wide(x.value.m))
        return self.stored(out, (x, lambda g: Signal(pull(wide(g.m))[0], g.e + out.e - x.value.e)))

    def dropped(self, h: Node) -> Node:
        """Inverted dropout with each net's rate; the mask of a unit and sample is the same draw for all nets."""
        if not self.layer.program.dropout:
            return h
        key, rate = self.layer.dropout
        key = jax.random.fold_in(key, self.layer.activations - 1)
        u = jax.random.uniform(key, h.value.m.shape[1:], jnp.float32)
        keep = (1 - rate)[:, None, None]
        factor = jnp.where(u[None] < keep, 1 / keep, 0)
        masked = lambda x: Signal(wide(x.m) * factor, x.e)  # noqa: E731
        return self.stored(masked(h.value), (h, masked))

    def see(self, site: str, x: Node) -> Node:
        """x, its moments recorded, and its gradient kept in `sites`."""
        self.sites[site] = self.node(self.layer.see(site, x.value), (x, same))
        return self.sites[site]

    def pull(self, ends: list[tuple[Node, Signal]]) -> None:
        """Fill in the gradients of all that leads to `ends`, whose own are given (but for what they share)."""
        for node, given in ends:
            self.add(node, given)
        for node in reversed(self.nodes):
            if (g := node.gradient) is not None:
                for operand, back in node.operands:
                    self.add(operand, g if back is same else self.layer.stored(back(g)))

    def add(self, node: Node, g: Signal) -> None:
        """Another part of a node's gradient."""
        node.gradient = g if node.gradient is None else self.layer.plus(node.gradient, g)


def same(g: Signal) -> Signal:
    """The way back through a sum."""
    return g


def times(a: Signal, b: Signal) -> Signal:
    """Unit by unit."""
    return Signal(wide(a.m) * wide(b.m), a.e + b.e)
