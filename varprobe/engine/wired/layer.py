"""What a block is written with: products, biases, norms, activations and sums of signals, each recorded where it asks.

Every method takes and returns the signals of all nets, (nets, batch, ..., units), and is differentiated by jax.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from varprobe.engine.fractions import LayerValues, fractions_of
from varprobe.engine.moments import Moments, factor, measure
from varprobe.engine.nonlinearity import activate, value_alone, value_and_slope
from varprobe.engine.program import LayerNumbers, PhiNumbers
from varprobe.engine.wired.attention import attended, token_similarity
from varprobe.engine.wired.branch_scaling import added, enter
from varprobe.engine.wired.convolutions import convolution
from varprobe.engine.wired.hooks import watched
from varprobe.engine.wired.taps import Sink, Slotted, at_unit_variance, flat, samples, tap, weighted_product
from varprobe.nets.architectures.layer import Lift
from varprobe.nets.norms import normalized
from varprobe.nets.scaled_float import Signal, exponent, scale, wide

if TYPE_CHECKING:
    from varprobe.engine.wired.program import Wired

__all__ = ["Layer", "unit_names"]


class Layer:
    """One layer of all nets of a program while it is traced; `recorded` and `scalars` fill as its block runs."""

    def __init__(
        self,
        program: Wired,
        segment: int,
        number: Array,
        matrices: tuple[Slotted, ...],
        biases: tuple[tuple[Array, LayerNumbers] | None, ...],
        numbers: dict[str, Array],
        phi: PhiNumbers,
        dropout: tuple[Array, Array],
        sinks: dict[str, Sink],
    ) -> None:
        """`number` is l; `dropout` the key and each net's rate; the others are arguments of what follows."""
        self.program, self.segment, self.number = program, segment, number
        self.slots = {slot.name: i for i, slot in enumerate(program.slots(segment))}
        self.matrices, self.biases, self.numbers, self.phi_numbers = matrices, biases, numbers, phi
        self.dropout, self.sinks = dropout, sinks
        self.recorded: dict[str, Moments] = {}
        self.scalars: dict[str, Array] = {}
        self.activations = 0

    def linear(self, name: str, h: Signal) -> Signal:
        """h W + b with the matrix of that name."""
        i = self.slots[name]
        slot, bases = self.program.slots(self.segment)[i], self.program.weights[self.segment][i]

        def times(h: Signal, matrix: Slotted, sink: Sink) -> Signal:
            return weighted_product(bases, h, matrix, sink, slot.fan_out)

        return self.shifted(i, self.applied(name, times, h))

    def convolved(self, name: str, h: Signal, circular: bool) -> Signal:
        """h convolved with the kernel of that name, + b; h is (nets, batch, positions..., channels)."""
        i = self.slots[name]
        slot, bases = self.program.slots(self.segment)[i], self.program.weights[self.segment][i]

        def times(h: Signal, matrix: Slotted, sink: Sink) -> Signal:
            return convolution(bases, slot, circular, h, matrix, sink)

        return self.shifted(i, self.applied(name, times, h))

    def applied(self, name: str, times: Callable[[Signal, Slotted, Sink], Signal], h: Signal) -> Signal:
        """h times the matrix of that name, which the batch scales first where its initializer says so."""
        matrix, sink = self.matrices[self.slots[name]], self.sink(f"{name}_weight")
        if matrix.unit is not None:
            matrix, *factor = at_unit_variance(times(*lax.stop_gradient((h, matrix, sink))), matrix)
            self.scalars |= dict(zip(unit_names(name), factor, strict=True))
        return times(h, matrix, sink)

    def shifted(self, i: int, z: Signal) -> Signal:
        """z + b of slot i."""
        if (bias := self.biases[i]) is None:
            return self.stored(z)
        drawn, n = bias
        b = wide(n.mean[:, None] + n.scale[:, None] * wide(drawn)[None])
        return self.plus(z, Signal(b.reshape(b.shape[0], *(1,) * (z.m.ndim - 2), b.shape[1]), n.e))

    def activated(self, z: Signal) -> Signal:
        """Norm and activation, in the order that --norm says, and dropout."""
        return self.dropped(self.norm(self.phi(self.norm(z, "pre")), "post"))

    def norm(self, x: Signal, position: str) -> Signal:
        """The norm, if that is its position."""
        norm = self.program.norm
        return self.stored(normalized(norm, Signal(wide(x.m), x.e))) if norm and norm.position == position else x

    def phi(self, z: Signal) -> Signal:
        """phi(z); the first of a block leaves its shares of zero, dead and saturated units."""
        program, n = self.program, self.phi_numbers
        shape = z.m.shape
        h, _ = activate(program, program.phi, n, Signal(flat(z.m), z.e), value_alone)
        if not self.activations:
            still = lax.stop_gradient(Signal(flat(z.m), z.e))
            y, slope = activate(program, program.phi, n, still, value_and_slope)
            self.scalars |= fractions_of(LayerValues(y=y.m, slope=slope), wide(y.m).dtype)
        self.activations += 1
        return self.stored(Signal(h.m.reshape(shape), h.e))

    def dropped(self, h: Signal, site: int | None = None) -> Signal:
        """Inverted dropout with each net's rate; the mask of a unit and sample is the same draw for all nets.

        `site` numbers the block's dropouts from 0; without it they follow the activations.
        """
        if not self.program.dropout:
            return h
        key, rate = self.dropout
        key = jax.random.fold_in(key, self.activations - 1 if site is None else site)
        u = jax.random.uniform(key, h.m.shape[1:], jnp.float32)
        keep = 1 - rate.reshape(-1, *(1,) * (h.m.ndim - 1))
        return Signal(jnp.where(u[None] < keep.astype(jnp.float32), h.m / keep.astype(h.m.dtype), 0), h.e)

    def plus(self, a: Signal, b: Signal) -> Signal:
        """a + b, at the larger exponent."""
        if self.program.real_range:
            return self.stored(Signal(scale(wide(a.m), a.e) + scale(wide(b.m), b.e), jnp.zeros_like(a.e)))
        e = jnp.where(is_zero(a), b.e, jnp.where(is_zero(b), a.e, jnp.maximum(a.e, b.e)))
        m = scale(wide(a.m), a.e - e) + scale(wide(b.m), b.e - e)  # above 0 for a zero alone, which has a gradient
        return self.stored(Signal(m, e))

    def scaled(self, x: Signal, factors: Float[Array, " nets"]) -> Signal:
        """Each net's signal times a number."""
        return Signal(wide(x.m) * factors.astype(wide(x.m).dtype).reshape(-1, *(1,) * (x.m.ndim - 1)), x.e)

    def enter(self, x: Signal, sinks: Iterable[str]) -> tuple[Signal, Lift]:
        """(x, the lift of a branch that starts here); from now on the branch's sinks, by name, are the layer's."""
        return enter(self, x, sinks)

    def added(self, x: Signal, branch: Signal, lift: Lift) -> Signal:
        """x + branch, the end of a branch that entered with this lift."""
        return added(self, x, branch, lift)

    def attended(self, q: Signal, k: Signal, v: Signal, heads: int, causal: bool, lifts: tuple[Lift, Lift]) -> Signal:
        """softmax(q k^T / sqrt(units of a head)) v, head by head; `attention_entropy` becomes a scalar."""
        return attended(self, q, k, v, heads, causal, lifts)

    def similarity(self, x: Signal) -> Float[Array, " nets"]:
        """The mean cosine between distinct tokens of a sample."""
        return token_similarity(wide(x.m))

    def shares_of(self, x: Signal, branch: Signal, total: Signal) -> None:
        """What the mean squares of a stream and of its scaled branch are of that of their sum."""
        whole, e_whole = self.mean_square(total)
        for name, part in (("stream_share", x), ("branch_share", branch)):
            m, e = self.mean_square(part)
            ratio = jnp.where(whole > 0, m / jnp.where(whole > 0, whole, 1), jnp.nan)
            self.scalars[name] = scale(ratio, 2 * (e - e_whole))

    def mean_square(self, x: Signal) -> tuple[Array, Array]:
        """(mean square of the mantissa, exponent), not differentiated."""
        return lax.stop_gradient((jnp.square(wide(x.m)).mean(axis=tuple(range(1, x.m.ndim))), x.e))

    def see(self, site: str, x: Signal) -> Signal:
        """x, its moments recorded, and those of its gradient on the way back."""
        m = tap(x.m, x.e, self.sinks[site]) if site in self.sinks else x.m
        still = lax.stop_gradient(Signal(flat(m), x.e))
        measured, self.recorded[site] = measure(still)
        if watcher := self.program.watcher:
            if self.program.arch.gradients.get(site) == "gradient":
                m = watched(watcher, m, self.sinks["watched"])
            if site == "activation":
                self.scalars |= watcher.seen(measured.m.reshape(m.shape))
        if site == "preactivation":
            self.scalars |= fractions_of(LayerValues(z=measured.m), measured.m.dtype)
        if site == "activation":
            self.scalars["activation_correlation"] = factor(samples(measured.m.reshape(m.shape)), by_gram=False)[1]
        return self.stored(Signal(m, x.e))

    def stored(self, x: Signal) -> Signal:
        """x as it would stand in memory: in the program's dtype, near 1 unless ranges are real."""
        if self.program.real_range:
            return Signal(scale(wide(x.m), x.e).astype(self.program.dtype), jnp.zeros_like(x.e))
        k = exponent(lax.stop_gradient(jnp.max(jnp.abs(wide(x.m)), axis=tuple(range(1, x.m.ndim)))))
        return Signal(scale(wide(x.m), -k).astype(self.program.dtype), x.e + k)

    def sink(self, name: str) -> Any:
        """The sink of that name; a scratch one where nothing goes backward."""
        return self.sinks[name]


def unit_names(slot: str) -> tuple[str, str]:
    """Where a layer leaves what `at_unit_variance` multiplies a matrix by: the factor, and its power of two."""
    return f"{slot}_unit_factor", f"{slot}_unit_exponent"


def is_zero(x: Signal) -> Array:
    """Which nets' signals are exactly zero."""
    return jnp.all(x.m == 0, axis=tuple(range(1, x.m.ndim)))
