"""What a recurrent block is written with: operations on the signals of one step, each with its way back.

A way back maps dLoss/d(result) to dLoss/d(operand), and both are signals with exponents of their own, so gradients of
any size add up exactly: a state may outweigh its input by more than a float's range, and the input matrix's gradient
is still right. (jax would differentiate the mantissas, whose cotangents share one exponent.)

Sums are left as they come; whatever is multiplied, passed to phi or recorded is first brought near 1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array

from varprobe.engine.fractions import LayerValues, fractions_of
from varprobe.engine.nonlinearity import activate, value_and_slope
from varprobe.engine.products import runs
from varprobe.engine.wired.layer import Layer
from varprobe.engine.wired.taps import by_base
from varprobe.nets.norms import normalized
from varprobe.nets.scaled_float import Signal, exponent, scale, wide

__all__ = ["NEVER", "Node", "Rows", "Step", "near_one"]

LARGEST_EXPONENT = 126
NEVER = -(2**26)
"""The exponent of what is exactly zero, below all others; some of them can be added up."""

Back = Callable[[Signal], Signal]


@dataclass(eq=False)
class Node:
    """A signal, what it was made of, and dLoss/d(it), first in parts.

    near: the value is stored, near 1. parts: with whether they are. gradient: the whole, stored, once it was asked for.
    """

    value: Signal
    operands: tuple[tuple[Node, Back], ...] = ()
    near: bool = False
    parts: list[tuple[Signal, bool]] = field(default_factory=list)
    gradient: Signal | None = None


@dataclass(frozen=True)
class Rows:
    """The input of one step: what it gives with the distinct bases of each slot u, its rows' sums, its exponent."""

    products: dict[str, tuple[Array, ...]]
    sums: Array
    e: Array


jax.tree_util.register_dataclass(Rows, ["products", "sums", "e"], [])


class Step:
    """One step of all nets while it is traced.

    layer: its numbers and matrices, and where forward statistics go. rows: of its input, None without. held: the
    mantissas of the products with recurrent matrices, where they were computed before; they fill it otherwise.
    """

    def __init__(self, layer: Layer, rows: Rows | None, held: dict[str, Array] | None = None) -> None:
        self.layer, self.rows, self.held = layer, rows, dict(held or {})
        self.nodes: list[Node] = []
        self.sites: dict[str, Node] = {}
        self.products: dict[str, Node] = {}

    def node(self, value: Signal, *operands: tuple[Node, Back]) -> Node:
        """A result, or a signal to start from."""
        self.nodes.append(Node(value, operands))
        return self.nodes[-1]

    def stored(self, x: Signal) -> Signal:
        """x in the program's dtype, near 1 unless ranges are real."""
        return self.layer.stored(x) if self.layer.program.real_range else near_one(x, self.layer.program.dtype)

    def near(self, x: Node) -> Signal:
        """The value, stored."""
        if not x.near:
            x.value, x.near = self.stored(x.value), True
        return x.value

    def linear(self, name: str, h: Node) -> Node:
        """h W + b with the matrix of that name."""
        layer, i = self.layer, self.layer.slots[name]
        bases, matrix = layer.program.weights[0][i], layer.matrices[i]
        slot, value = layer.program.slots(0)[i], self.near(h)
        if name not in self.held:
            self.held[name] = by_base(bases, value.m, matrix, slot.fan_out, transpose=False)

        def back(g: Signal) -> Signal:
            return Signal(by_base(bases, g.m, matrix, slot.fan_in, transpose=True), g.e + matrix.e)

        self.products[name] = self.node(Signal(self.held[name], value.e + matrix.e), (h, back))
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
        if (bias := self.layer.biases[i]) is None:
            return z
        drawn, n = bias
        b = wide(n.mean[:, None] + n.scale[:, None] * wide(drawn)[None])
        e = jnp.where((n.mean == 0) & (n.scale == 0), NEVER, n.e)
        return self.node(total([z.value, Signal(b[:, None], e)]), (z, same))

    def raised(self, z: Node, number: str) -> Node:
        """z plus a number of the architecture's."""
        b = wide(self.layer.numbers[number])[:, None, None]
        e = jnp.where(self.layer.numbers[number] == 0, NEVER, 0)
        return self.node(total([z.value, Signal(b, e)]), (z, same))

    def plus(self, a: Node, b: Node) -> Node:
        """a + b."""
        return self.node(total([a.value, b.value]), (a, same), (b, same))

    def times(self, a: Node, b: Node) -> Node:
        """a b, unit by unit."""
        x, y = self.near(a), self.near(b)
        return self.node(times(x, y), (a, lambda g: times(g, y)), (b, lambda g: times(g, x)))

    def activated(self, z: Node) -> Node:
        """Norm and activation, in the order that --norm says, and dropout."""
        return self.dropped(self.norm(self.phi(self.norm(z, "pre")), "post"))

    def phi(self, z: Node) -> Node:
        """phi(z); the first of a step leaves its shares of zero, dead and saturated units."""
        layer, value = self.layer, self.near(z)
        y, slope = activate(layer.program, layer.program.phi, layer.phi_numbers, value, value_and_slope)
        if not layer.activations:
            layer.scalars |= fractions_of(LayerValues(y=y.m, slope=slope), wide(y.m).dtype)
        layer.activations += 1
        return self.node(y, (z, lambda g: Signal(wide(slope) * wide(g.m), g.e)))

    def gate(self, z: Node, name: str) -> Node:
        """sigmoid(z), whose mean over batch and units is NAME_gate_mean."""
        gate = self.sigmoid(z, 1)
        self.layer.scalars[f"{name}_gate_mean"] = wide(gate.value.m).mean(axis=(1, 2))
        return gate

    def complement(self, z: Node) -> Node:
        """1 - sigmoid(z)."""
        return self.sigmoid(z, -1)

    def sigmoid(self, z: Node, sign: int) -> Node:
        """sigmoid(+-z), which stays as it is."""
        value = self.near(z)
        x = sign * scale(wide(value.m), jnp.clip(value.e, -LARGEST_EXPONENT, LARGEST_EXPONENT))
        y = jax.nn.sigmoid(x)
        slope = sign * y * jax.nn.sigmoid(-x)
        out = self.node(
            Signal(y.astype(self.layer.program.dtype), jnp.zeros_like(value.e)),
            (z, lambda g: Signal(slope * wide(g.m), g.e)),
        )
        out.near = True
        return out

    def norm(self, x: Node, position: str) -> Node:
        """The norm, if that is its position."""
        norm = self.layer.program.norm
        if not norm or norm.position != position:
            return x
        value = self.near(x)
        out = normalized(norm, Signal(wide(value.m), value.e))
        _, pull = jax.vjp(lambda m: normalized(norm, Signal(m, value.e)).m, wide(value.m))
        return self.node(out, (x, lambda g: Signal(pull(wide(g.m))[0], g.e + out.e - value.e)))

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
        return self.node(masked(h.value), (h, masked))

    def see(self, site: str, x: Node) -> Node:
        """x, its moments recorded, and its gradient to be found in `sites`."""
        self.layer.see(site, self.near(x))
        self.sites[site] = x
        return x

    def pull(self, ends: list[tuple[Node, Signal]]) -> None:
        """Fill in the gradients of all that leads to `ends`, whose own are given (but for what they share)."""
        for end, given in ends:
            end.parts.append((given, True))
        for node in reversed(self.nodes):
            if node.parts:
                g = self.gradient(node)
                for operand, back in node.operands:
                    operand.parts.append((back(g), back is same))

    def gradient(self, node: Node) -> Signal:
        """dLoss/d(node), stored; zero where nothing depends on it."""
        if node.gradient is None:
            several = total([part for part, _ in node.parts] or [Signal(jnp.zeros_like(node.value.m), node.value.e)])
            node.gradient = node.parts[0][0] if [near for _, near in node.parts] == [True] else self.stored(several)
        return node.gradient


def same(g: Signal) -> Signal:
    """The way back through a sum."""
    return g


def times(a: Signal, b: Signal) -> Signal:
    """Unit by unit."""
    return Signal(wide(a.m) * wide(b.m), a.e + b.e)


def total(parts: list[Signal]) -> Signal:
    """The sum, at the largest of the exponents."""
    e = functools.reduce(jnp.maximum, [part.e for part in parts])
    return Signal(functools.reduce(jnp.add, [scale(wide(part.m), part.e - e) for part in parts]), e)


def near_one(x: Signal, dtype: str | None = None) -> Signal:
    """The same values with the largest magnitude of each net in [1, 2), and zeros with the least exponent."""
    m = wide(x.m)
    largest = jnp.max(jnp.abs(m), axis=(1, 2))
    k = exponent(largest)
    return Signal(scale(m, -k).astype(dtype or m.dtype), jnp.where(largest == 0, NEVER, x.e + k))
