"""Singular values of long products of matrices, the smallest as accurate as the largest, whatever their range.

A product P_l = J_l ... J_1 is carried as B 2^e W^T: B well-conditioned, an exponent for each of its columns, W
orthogonal and never formed. The next, (J B) 2^e, is a matrix of graded columns, of which Householder's QR is accurate
column by column. Its R is a diagonal of powers of two times a well-conditioned triangle, as is the L of R's own LQ,
which is the next B. QR and LQ in turn (Stewart 1999) part singular values that lie far from each other, so that those
of a few decades are those of a block of L. So a layer adds a relative error of about the precision times the condition
of its own matrix, never of the product; rows that are only small, as those of saturated units, do not count.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import qr

__all__ = ["Product", "Reduced", "extended", "identity", "log10_values", "reduced"]

Matrix = Float[np.ndarray, "rows columns"]
LOG10_2 = float(np.log10(2))
MARGIN, CENTER = 7.0, 7.0
"""Bits: a block is what lies within MARGIN of the singular values that are read off it, which span CENTER."""
COUPLED = 1e-6
"""Coupling beyond the margin that is left; it changes singular values by half its square."""
SUSPECT = 1e-8
"""A smaller share of a column that is not in the span of those before it: is the rank what it seems to be?"""
WELL = 1e-6
"""Singular values within such a range are found as they are."""
TURNS = 500


class Product(NamedTuple):
    """basis 2^e of a product of which `inputs` is the number of columns, with its values' log10 in falling order.

    log10: as many as the shorter side of the product; -inf where zero.
    """

    basis: Matrix
    e: Int[np.ndarray, " rank"]
    inputs: int
    log10: Float[np.ndarray, " values"]


class Reduced(NamedTuple):
    """A matrix as left @ core: `left` has orthonormal columns, `core` full row rank."""

    left: Matrix
    core: Matrix


def identity(size: int) -> Product:
    """The product of no matrices."""
    return Product(np.eye(size), np.zeros(size, int), size, np.zeros(size))


def reduced(j: Matrix) -> Reduced:
    """A matrix without what is zero but for rounding.

    That is its rows of zeros, and what is below the precision where all rows and columns are scaled to length one: the
    tiny row of a saturated unit is sound.
    """
    if not suspicious(j):
        return Reduced(np.eye(len(j)), j)
    rows, columns = np.flatnonzero(j.any(axis=1)), np.flatnonzero(j.any(axis=0))
    left, dense = np.eye(len(j))[:, rows], j[np.ix_(rows, columns)]
    if not dense.size:
        return Reduced(left[:, :0], np.zeros((0, j.shape[1])))
    by_row, by_column = np.ones((len(rows), 1)), np.ones((1, len(columns)))
    for _ in range(3):
        by_row = by_row / lengths(dense * by_row * by_column, 1)
        by_column = by_column / lengths(dense * by_row * by_column, 0)
    q, r, order = qr(dense * by_row * by_column, mode="economic", pivoting=True)
    sizes = np.abs(np.diagonal(r))
    rank = int((sizes > max(dense.shape) * np.finfo(float).eps * sizes[0]).sum())
    if rank < len(rows):
        span, mixing = qr(q[:, :rank] / by_row, mode="economic")
        left = left @ span
        dense = np.empty((rank, len(columns)))
        dense[:, order] = mixing @ r[:rank]
        dense /= by_column
    core = np.zeros((len(dense), j.shape[1]))
    core[:, columns] = dense
    return Reduced(left, core)


def lengths(a: Matrix, axis: int) -> Matrix:
    """The Euclidean norms along an axis, whose squares are in range."""
    largest = np.abs(a).max(axis=axis, keepdims=True)
    return largest * np.linalg.norm(a / largest, axis=axis, keepdims=True)


def log10_values(factor: Reduced, e: int, few: int) -> Float[np.ndarray, " values"]:
    """log10 of the singular values of a reduced matrix times 2^e, of `few` in all."""
    if factor.core.size:
        values = np.linalg.svd(factor.core, compute_uv=False)
        if values[-1] > WELL * values[0]:
            return padded(np.log10(values) + e * LOG10_2, few)
    return padded(graded(factor.core, np.full(factor.core.shape[1], e))[2], few)


def extended(product: Product, factor: Reduced, e: int) -> Product:
    """The reduced matrix times 2^e, times the product.

    Raises:
        np.linalg.LinAlgError: singular values far apart did not part.
    """
    few = min(len(factor.left), product.inputs)
    left, a = factor.left, factor.core @ product.basis
    if suspicious(a):
        left, a = (left @ (more := reduced(a)).left), more.core
    basis, exponents, values = graded(a, product.e + e)
    return Product(left @ basis, exponents, product.inputs, padded(values, few))


def suspicious(a: Matrix) -> bool:
    """Whether the rank may be below the shorter side."""
    if not a.size or not a.any(axis=1).all() or not a.any(axis=0).all():
        return True
    tall = a if len(a) >= a.shape[1] else a.T
    scaled = tall / lengths(tall, 0)
    scaled = scaled / lengths(scaled, 1)
    return bool(np.abs(np.diagonal(qr(scaled / lengths(scaled, 0), mode="r")[0])).min() < SUSPECT)


def padded(values: np.ndarray, few: int) -> np.ndarray:
    """The values, followed by zeros."""
    return np.concatenate([values, np.full(few - len(values), -np.inf)])


def graded(a: Matrix, e: Int[np.ndarray, " columns"]) -> tuple[Matrix, Int[np.ndarray, " rank"], np.ndarray]:
    """(basis, its exponents, log10 of the singular values) of a 2^e, an exponent for each column; a of full rank."""
    if not a.size:
        return np.zeros((len(a), 0)), np.zeros(0, int), np.zeros(0)
    filled = a.any(axis=0)
    a, e = a[:, filled], e[filled]
    columns = np.argsort(-(np.log2(np.abs(a).max(axis=0)) + e), kind="stable")
    a, e = a[:, columns], e[columns]
    rows = np.argsort(-np.abs(a).max(axis=1), kind="stable")  # else small rows are lost (Cox & Higham 1998)
    q, s = qr(a[rows], mode="economic")
    left = np.empty_like(q)
    left[rows] = q
    u, e = by_rows(s, e)
    for _ in range(TURNS):
        lower = np.tril(qr(u.T, mode="r")[0][: len(u)].T)
        basis = np.tril(shifted(lower, e[:, None] - e[None, :]))
        size = e + np.log2(np.abs(np.diagonal(lower)))
        if coupling(basis, size) < COUPLED:
            return left @ basis, e, values_of(lower, e, size)
        turned, s = qr(basis)
        left = left @ turned
        u, e = by_rows(s, e)
    raise np.linalg.LinAlgError("the singular values of a product did not part")


def shifted(a: Matrix, e: np.ndarray) -> Matrix:
    """a 2^e, which may fall to zero."""
    return np.ldexp(a, np.clip(e, -3000, 3000))


def by_rows(s: Matrix, e: np.ndarray) -> tuple[Matrix, np.ndarray]:
    """(u, new exponents) with 2^new u = s 2^e: a triangle's grading of columns as one of its rows."""
    size = np.frexp(np.diagonal(s))[1] + e[: len(s)]
    return np.triu(shifted(s, e[None, :] - size[:, None])), size


def coupling(basis: Matrix, size: np.ndarray) -> float:
    """The largest entry of a lower triangle between values farther apart than the margin, over the diagonal."""
    far = size[None, :] - size[:, None] > MARGIN
    return float(np.where(far, np.abs(basis / np.diagonal(basis)), 0.0).max(initial=0.0))


def values_of(lower: Matrix, e: np.ndarray, size: np.ndarray) -> np.ndarray:
    """log10 of the singular values of 2^e lower, from blocks along the diagonal."""
    found, first = np.empty(len(e)), 0
    while first < len(e):
        last = max(first + 1, int(np.flatnonzero(size >= size[first] - CENTER)[-1]) + 1)
        center = size[first:last]
        a = int(np.flatnonzero(size <= center.max() + MARGIN)[0])
        b = int(np.flatnonzero(size >= center.min() - MARGIN)[-1]) + 1
        unit = int(size[a:b].max())
        block = np.linalg.svd(shifted(lower[a:b, a:b], e[a:b, None] - unit), compute_uv=False)
        found[first:last] = np.log10(block[first - a : last - a]) + unit * LOG10_2
        first = last
    return found
