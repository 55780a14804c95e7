"""Weight matrices up to scale and mean: W = mean + scale * base.

Initializers of one family differ by scale and mean only, so nets that differ in nothing else share one base, and their
layer is one matrix product. A base is a frozen dataclass (a static argument of the compiled cell) that can `draw` what
it needs for one layer, multiply rows by it (`forward`) or by its transpose (`backward`), and say its two moments.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from varprobe.engine import random_bits

__all__ = [
    "WeightBasis",
    "Custom",
    "Dense",
    "Draw",
    "Identity",
    "Zeros",
    "Orthogonal",
    "Sparse",
    "base_of",
    "rows_times",
    "Kernel",
    "center",
]

MIN_ROWS = 64
MIN_SIDE = 8
REFLECTOR_BLOCK = 64


class Draw:
    """The randomness of one layer: one set of bits, shared by every base that asks for it."""

    def __init__(
        self,
        key: Array,
        shape: tuple[int, ...],
        layer: Array | int,
        depth: int,
        dtype: jnp.dtype,
        running: Array | bool = True,
    ) -> None:
        """`running` is true but not known to the compiler, see `random_bits.materialized`."""
        self.key, self.shape, self.layer, self.depth, self.dtype, self.running = (
            key,
            shape,
            layer,
            depth,
            dtype,
            running,
        )

    def once(self, make: Callable[[Any], Any], x: Any) -> Any:
        """make(x), computed once however many bases use it."""
        return random_bits.materialized(make, x, jnp.asarray(self.running))

    @cached_property
    def bits(self) -> Array:
        """uint32, the layer's shape."""
        return self.once(lambda key: random_bits.random_bits(key, self.shape), self.key)

    @cached_property
    def normal(self) -> Float[Array, "..."]:
        """N(0, 1) in float32."""
        return self.once(random_bits.normal, self.bits)


def rows_times(rows: Float[Array, "rows k"], matrix: Float[Array, "k n"]) -> Float[Array, "rows n"]:
    """rows @ matrix, with the same bits for a row whatever other rows are there.

    The CPU's product takes other paths for few rows, few columns and short sums, which round differently; zeros are
    appended up to where they end.
    """
    count, n = rows.shape[0], matrix.shape[1]
    rows = padded(rows, (MIN_ROWS, MIN_SIDE))
    matrix = padded(matrix, (MIN_SIDE, MIN_SIDE))
    return jnp.matmul(rows, matrix, precision=lax.Precision.HIGHEST)[:count, :n]


def padded(x: Float[Array, "a b"], least: tuple[int, int]) -> Float[Array, "c d"]:
    """x with zeros appended until no side is shorter than its least."""
    missing = [max(0, to - side) for side, to in zip(x.shape, least, strict=True)]
    return jnp.pad(x, [(0, n) for n in missing]) if any(missing) else x


class WeightBasis:
    """A family of matrices with shape (fan_in, fan_out). Subclasses are frozen dataclasses."""

    def draw(self, draw: Draw) -> Any:
        """What one layer's products need: here, the matrix itself."""
        raise NotImplementedError

    def forward(self, drawn: Any, rows: Float[Array, "rows fan_in"]) -> Float[Array, "rows fan_out"]:
        """rows @ base."""
        return rows_times(rows, drawn)

    def backward(self, drawn: Any, rows: Float[Array, "rows fan_out"]) -> Float[Array, "rows fan_in"]:
        """rows @ base.T."""
        return rows_times(rows, drawn.T)

    def moments(self, drawn: Any, shape: tuple[int, int], mean: bool) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Mean (if wanted, else 0) and mean square of the base's entries."""
        wide = drawn.astype(jnp.promote_types(drawn.dtype, jnp.float32))
        first = wide.sum(0).sum() / wide.size if mean else jnp.zeros((), wide.dtype)
        return first, (wide * wide).sum(0).sum() / wide.size

    def matrix(self, drawn: Any, shape: tuple[int, ...]) -> Float[Array, "fan_in fan_out"]:
        """The base as a matrix."""
        return drawn

    def bytes(self, fan_in: int, fan_out: int, itemsize: int) -> int:
        """Memory of what `draw` returns."""
        return fan_in * fan_out * itemsize


@dataclass(frozen=True)
class Dense(WeightBasis):
    """Independent entries: N(0, 1), U(-1, 1), or N(0, 1) truncated to (-2, 2) (not rescaled)."""

    law: Literal["normal", "uniform", "truncated_normal"]

    def draw(self, draw: Draw) -> Array:
        """The matrix, drawn in float32 and cast."""
        if self.law == "normal":
            return draw.normal.astype(draw.dtype)
        of_bits = random_bits.uniform if self.law == "uniform" else random_bits.truncated_normal
        return draw.once(lambda bits: of_bits(bits).astype(draw.dtype), draw.bits)


@dataclass(frozen=True)
class Sparse(WeightBasis):
    """N(0, 1) entries, all but round(density * fan_in) in each column set to zero (Martens 2010, section 5)."""

    density: float

    def draw(self, draw: Draw) -> Array:
        """The matrix; which entries stay is drawn from fold_in(key, 1)."""
        keep = max(1, round(self.density * draw.shape[0]))
        order = random_bits.random_bits(jax.random.fold_in(draw.key, 1), draw.shape)
        threshold = jnp.sort(order, axis=0)[keep - 1]
        return jnp.where(order <= threshold, draw.normal, 0).astype(draw.dtype)


@dataclass(frozen=True)
class Custom(WeightBasis):
    """The user's own initializer, with jax's signature (key, shape, dtype) and perhaps keyword-only layer, depth."""

    function: Callable[..., Array]
    keywords: tuple[tuple[str, Any], ...] = ()
    positions: tuple[str, ...] = ()

    def draw(self, draw: Draw) -> Array:
        """The matrix that the user's function returns for this layer's key."""
        known = {"layer": draw.layer, "depth": draw.depth}
        keywords = dict(self.keywords) | {name: known[name] for name in self.positions}
        return jnp.asarray(self.function(draw.key, draw.shape, jnp.float32, **keywords)).astype(draw.dtype)


@dataclass(frozen=True)
class Zeros(WeightBasis):
    """The zero matrix: what is left of a constant initializer once its mean is taken out."""

    def draw(self, draw: Draw) -> Any:
        """Nothing to draw."""
        return ()

    def forward(self, drawn: Any, rows: Array) -> Float[Array, ""]:
        """Zero, to be broadcast."""
        return jnp.zeros((), rows.dtype)

    backward = forward

    def moments(self, drawn: Any, shape: tuple[int, int], mean: bool) -> tuple[Array, Array]:
        """Both zero."""
        return jnp.zeros(()), jnp.zeros(())

    def matrix(self, drawn: Any, shape: tuple[int, ...]) -> Array:
        """Zeros."""
        return jnp.zeros(shape)

    def bytes(self, fan_in: int, fan_out: int, itemsize: int) -> int:
        """None."""
        return 0


@dataclass(frozen=True)
class Identity(Zeros):
    """The identity, cut or padded with zeros to shape."""

    def draw(self, draw: Draw) -> Array:
        """Only the shape, carried by two empty arrays' sizes."""
        return jnp.zeros((*draw.shape, 0), draw.dtype)

    def forward(self, drawn: Array, rows: Array) -> Array:
        """The first fan_out columns, zeros where there are fewer."""
        return fit(rows, drawn.shape[1])

    def backward(self, drawn: Array, rows: Array) -> Array:
        """The first fan_in columns, zeros where there are fewer."""
        return fit(rows, drawn.shape[0])

    def moments(self, drawn: Any, shape: tuple[int, int], mean: bool) -> tuple[Array, Array]:
        """min(shape) ones among all entries."""
        share = jnp.asarray(1 / max(shape))
        return share, share

    def matrix(self, drawn: Array, shape: tuple[int, ...]) -> Array:
        """jnp.eye."""
        return jnp.eye(shape[0], shape[1])


def fit(rows: Float[Array, "rows k"], width: int) -> Float[Array, "rows width"]:
    """Cut, or pad with zeros, to `width` columns."""
    return jnp.pad(rows, ((0, 0), (0, max(0, width - rows.shape[1]))))[:, :width]


@dataclass(frozen=True)
class Orthogonal(WeightBasis):
    """Haar-distributed orthonormal rows or columns, applied without ever forming the matrix.

    Q = H_1 H_2 ... H_m diag(+-1) with Householder reflections of Gaussian vectors of falling dimension (Stewart 1980)
    is exactly Haar. Reflections are applied 64 at a time as I - V T V^T (compact WY; Schreiber & Van Loan 1989): at
    width 512 a tenth of the cost of a QR decomposition, forward and transposed alike.
    """

    def draw(self, draw: Draw) -> tuple[Array, Array, Array]:
        """(V, T, signs) of the tall factor: V (blocks, n, 64), T (blocks, 64, 64), signs (m,)."""
        n, m = max(draw.shape), min(draw.shape)
        v = jnp.tril(draw.normal.astype(jnp.promote_types(draw.dtype, jnp.float32)).reshape(n, m))
        pivot = jnp.diagonal(v)
        sign = jnp.where(pivot >= 0, 1.0, -1.0).astype(v.dtype)
        length = jnp.sqrt(jnp.sum(v * v, 0))
        # |v + sign |v| e_k|^2 = 2 |v| (|v| + |v_k|)
        unit = 1 / jnp.sqrt(2 * length * (length + jnp.abs(pivot)))
        v = (v + jnp.eye(n, m, dtype=v.dtype) * (sign * length)) * unit
        block = min(REFLECTOR_BLOCK, m)
        v = jnp.pad(v, ((0, 0), (0, -m % block)))
        v = v.reshape(n, -1, block).swapaxes(0, 1)
        gram = jnp.einsum("knb,knc->kbc", v, v, precision=lax.Precision.HIGHEST)
        return v.astype(draw.dtype), inverse_of_t(gram).astype(draw.dtype), -sign.astype(draw.dtype)

    def forward(self, drawn: tuple[Array, Array, Array], rows: Array) -> Array:
        """rows @ Q (or @ Q.T where fan_in < fan_out)."""
        v, _, signs = drawn
        return self.tall(drawn, rows) if rows.shape[1] == v.shape[1] else self.wide(drawn, rows * signs)

    def backward(self, drawn: tuple[Array, Array, Array], rows: Array) -> Array:
        """The transpose of `forward`."""
        v, _, signs = drawn
        if rows.shape[1] == signs.shape[0]:
            return self.wide(drawn, rows * signs)
        return self.tall(drawn, rows)

    def tall(self, drawn: tuple[Array, Array, Array], rows: Float[Array, "rows n"]) -> Float[Array, "rows m"]:
        """rows @ Q, Q of shape (n, m)."""
        v, t, signs = drawn
        return reflect(rows, v, t, transpose=False)[:, : signs.shape[0]] * signs

    def wide(self, drawn: tuple[Array, Array, Array], rows: Float[Array, "rows m"]) -> Float[Array, "rows n"]:
        """rows @ diag(signs) @ Q.T up to the signs, which the caller has applied."""
        v, t, _ = drawn
        return reflect(fit(rows, v.shape[1]), v, t, transpose=True)

    def moments(self, drawn: tuple[Array, Array, Array], shape: tuple[int, int], mean: bool) -> tuple[Array, Array]:
        """The mean is that of ones @ Q; the mean square is 1 / max(shape) exactly."""
        wide = jnp.promote_types(drawn[0].dtype, jnp.float32)
        first = jnp.zeros((), wide)
        if mean:
            first = self.forward(drawn, jnp.ones((1, shape[0]), drawn[0].dtype)).astype(wide).sum() / (
                shape[0] * shape[1]
            )
        return first, jnp.asarray(1 / max(shape), wide)

    def matrix(self, drawn: tuple[Array, Array, Array], shape: tuple[int, ...]) -> Array:
        """Q, by applying it to the smaller identity."""
        if shape[0] > shape[1]:
            return self.backward(drawn, jnp.eye(shape[1], dtype=drawn[0].dtype)).T
        return self.forward(drawn, jnp.eye(shape[0], dtype=drawn[0].dtype))


def inverse_of_t(gram: Float[Array, "blocks b b"]) -> Float[Array, "blocks b b"]:
    """T = (I/2 + strict upper triangle of V^T V)^-1, by halves; LAPACK's solver hangs when two threads call it at once.

    The inverse of [[A, B], [0, C]] is [[A', -A' B C'], [0, C']].
    """
    size = gram.shape[-1]
    if size == 1:
        return jnp.full_like(gram, 2)
    half = size // 2
    if size % 2:
        upper, lower = inverse_of_t(gram[:, :half, :half]), inverse_of_t(gram[:, half:, half:])
    else:
        both = inverse_of_t(jnp.concatenate([gram[:, :half, :half], gram[:, half:, half:]]))
        upper, lower = jnp.split(both, 2)
    product = lambda a, b: jnp.einsum("kab,kbc->kac", a, b, precision=lax.Precision.HIGHEST)  # noqa: E731
    corner = -product(product(upper, gram[:, :half, half:]), lower)
    return jnp.block([[upper, corner], [jnp.zeros_like(corner).swapaxes(1, 2), lower]])


def reflect(
    rows: Float[Array, "rows n"], v: Float[Array, "blocks n b"], t: Float[Array, "blocks b b"], transpose: bool
) -> Float[Array, "rows n"]:
    """rows (I - V_1 T_1 V_1^T) (I - V_2 T_2 V_2^T) ..., or times the transpose.

    Block k is zero above row k b: blocks are taken in at most eight bands, each without the rows that it leaves alone.
    """
    blocks, _, size = v.shape
    bands = -(-blocks // -(-blocks // 8))
    starts = [round(i * blocks / bands) for i in range(bands + 1)]
    pairs = list(itertools.pairwise(starts))

    def step(rows: Array, block: tuple[Array, Array]) -> tuple[Array, None]:
        v, t = block
        return rows - rows_times(rows_times(rows_times(rows, v), t), v.T), None

    for first, last in reversed(pairs) if transpose else pairs:
        skip = first * size
        band_v, band_t = v[first:last, skip:], t[first:last]
        band_t = band_t.swapaxes(1, 2) if transpose else band_t
        tail, _ = lax.scan(step, rows[:, skip:], (band_v, band_t), reverse=transpose)
        rows = jnp.concatenate([rows[:, :skip], tail], axis=1)
    return rows


def center(sides: tuple[int, ...]) -> tuple[int, ...]:
    """Where in a kernel the entry of a position's own input stands; of even sides the first in the middle."""
    return tuple((side - 1) // 2 for side in sides)


@dataclass(frozen=True)
class Kernel(WeightBasis):
    """A kernel with these sides, as the matrix itself, whatever its inner base can multiply by without forming it.

    centered: the inner base fills the center, and zeros the rest.
    """

    inner: WeightBasis
    sides: tuple[int, ...]
    centered: bool = False

    def draw(self, draw: Draw) -> Float[Array, "rows channels"]:
        """The matrix. The user's own function is asked for a kernel, (sides..., channels in, channels out)."""
        rows, channels = draw.shape
        shape: tuple[int, ...] = (rows // math.prod(self.sides), channels)
        if not self.centered:
            shape = (*self.sides, *shape) if isinstance(self.inner, Custom) else draw.shape
        asked = draw if shape == draw.shape else Draw(draw.key, shape, draw.layer, draw.depth, draw.dtype, draw.running)
        matrix = self.inner.matrix(self.inner.draw(asked), shape).astype(draw.dtype)
        if self.centered:
            matrix = jnp.zeros((*self.sides, *shape), draw.dtype).at[center(self.sides)].set(matrix)
        return matrix.reshape(rows, channels)


def base_of(law: tuple[Any, ...]) -> WeightBasis:
    """The base that an initializer's law names."""
    kind, *details = law
    if kind == "kernel":
        inner, *rest = details
        return Kernel(base_of(inner), *rest)
    if kind in ("normal", "uniform", "truncated_normal"):
        return Dense(kind)
    others: dict[str, type[WeightBasis]] = {
        "orthogonal": Orthogonal,
        "lsuv": Orthogonal,
        "delta_orthogonal": Orthogonal,
        "nothing": Zeros,
        "eye": Identity,
        "sparse": Sparse,
        "custom": Custom,
    }
    return others[kind](*details)
