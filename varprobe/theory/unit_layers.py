"""An activation with or without a norm beside it, as a map of what describes a signal: mean square, cosine and mean.

Layer, group and rms norm of an infinitely wide layer divide by a number: what they take from a gradient (its mean and
its part along the signal) is 1/n of it. Over a group of few units, which are independent, they do to the mean square
what batch norm of as many samples does. Batch norm couples the samples, so that a gradient is described by the two
eigenvalues of its covariance over the batch, alpha G + beta 11'/B with G = I - 11'/B.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from varprobe.errors import InvalidArgumentError
from varprobe.spec.arguments import word
from varprobe.theory.batch_norms import normalized_batches
from varprobe.theory.batch_samples import sampled_batches
from varprobe.theory.checks import number, whole
from varprobe.theory.sources import Source

__all__ = ["NORMS", "Gradient", "Norm", "Signal", "UnitLayer", "checked_norm", "unit_layer"]

NORMS = ("batch", "layer", "group", "rms")
POSITIONS = ("pre", "post")
SIZED = ("layer", "group")

Nets = Float[np.ndarray, " nets"]


class Norm(NamedTuple):
    """kind: one of NORMS. position: "pre", between z and phi, or "post", after phi. eps: added to the variance.

    size: units that a layer or group norm takes together, None for infinitely many.
    """

    kind: str
    position: str = "pre"
    eps: float = 1e-5
    size: int | None = None


class Signal(NamedTuple):
    """ln of a mean square, the cosine between two samples, and mean over RMS; arrays of shape (nets,)."""

    log_ms: Nets
    cosine: Nets
    mean_over_rms: Nets


class Gradient(NamedTuple):
    """ln alpha and ln beta of a gradient's covariance over the batch, alpha G + beta 11'/B; equal where diagonal."""

    log_alpha: Nets
    log_beta: Nets

    def log_ms(self, batch: int) -> Nets:
        """ln of the mean square over the batch."""
        if batch == 1:
            return self.log_beta
        return np.logaddexp(self.log_alpha + np.log1p(-1 / batch), self.log_beta - np.log(batch))


class UnitLayer(NamedTuple):
    """Signal after it, and how a gradient passes it back: alpha' = to_alpha (alpha, beta), natural logs, and so on."""

    signal: Signal
    alpha_from_alpha: Nets
    alpha_from_beta: Nets
    beta_from_alpha: Nets
    beta_from_beta: Nets

    def back(self, gradient: Gradient) -> Gradient:
        """The gradient before it from the gradient after it."""
        alpha, beta = gradient
        return Gradient(
            np.logaddexp(self.alpha_from_alpha + alpha, self.alpha_from_beta + beta),
            np.logaddexp(self.beta_from_alpha + alpha, self.beta_from_beta + beta),
        )


def checked_norm(kind: str | None, position: str, eps: float, batch: int, size: int | None = None) -> Norm | None:
    """A norm from what a caller gives; None and "none" are none.

    Raises:
        InvalidArgumentError: unknown, or a norm of fewer than 4 samples or units.
    """
    if kind is None or word("norm", kind, (*NORMS, "none"), "norm") == "none":
        return None
    word("norm_position", position, tuple(POSITIONS), "position")
    if kind == "batch":
        whole("batch", batch, 4)
    if size is not None and kind not in SIZED:
        raise InvalidArgumentError(f"{kind} norm has no groups", "group_size")
    return Norm(kind, position, number("eps", eps, 0.0), None if size is None else whole("group_size", size, 4))


def unit_layer(source: Source, norm: Norm | None, batch: int, signal: Signal) -> UnitLayer:
    """phi, with a norm before or after it, of a Gaussian signal.

    Raises:
        InvalidArgumentError: phi has no finite averages there, or a batch norm is asked of samples that are alike.
    """
    if norm and norm.kind == "batch":
        return (batch_before if norm.position == "pre" else batch_after)(source, norm, batch, signal)
    if norm and norm.size:
        return (group_before if norm.position == "pre" else group_after)(source, norm, norm.size, signal)
    if norm and norm.position == "pre":
        signal, log_divided = divided(signal, norm)
        return scaled(activated(source, signal), log_divided)
    found = activated(source, signal)
    if norm is None:
        return found
    after, log_divided = divided(found.signal, norm)
    return scaled(found._replace(signal=after), log_divided)


def activated(source: Source, signal: Signal) -> UnitLayer:
    """phi alone; gradients of different samples are independent and stay so."""
    log_q, cosine, ratio = signal
    law = source.law(log_q, ratio)
    own = (1 - ratio) * (1 + ratio)
    with np.errstate(divide="ignore", invalid="ignore"):
        about = np.where(own > 0, np.clip((cosine - ratio**2) / own, -1, 1), 1.0)
    found = np.full_like(log_q, np.nan)
    alive = law.log_ms > -np.inf
    found[alive] = source.similarity(log_q[alive], about[alive], ratio[alive]).phi
    none = np.full_like(log_q, -np.inf)
    return UnitLayer(
        Signal(law.log_ms, found, law.mean_over_rms), law.log_derivative_ms, none, none, law.log_derivative_ms
    )


def divided(signal: Signal, norm: Norm) -> tuple[Signal, Nets]:
    """(signal after a layer, group or rms norm, ln of what the gradient's mean square is divided by)."""
    log_ms, cosine, ratio = signal
    with np.errstate(divide="ignore", invalid="ignore"):
        log_eps = np.log(norm.eps)
        if norm.kind != "rms":
            own = (1 - ratio) * (1 + ratio)
            log_ms, cosine = log_ms + np.log(own), np.where(own > 0, np.clip((cosine - ratio**2) / own, -1, 1), 1.0)
            ratio = np.zeros_like(ratio)
        log_divided = np.logaddexp(log_ms, log_eps)
        return Signal(np.where(log_ms > -np.inf, log_ms - log_divided, -np.inf), cosine, ratio), log_divided


def group_before(source: Source, norm: Norm, size: int, signal: Signal) -> UnitLayer:
    """phi of normalized groups of `size` units; the cosine between samples is that of large groups."""
    large, _ = divided(signal, norm)
    with np.errstate(divide="ignore"):
        own = signal.log_ms + np.log1p(-(signal.mean_over_rms**2))
    found = normalized_batches(source.act, size, own, norm.eps)
    back = np.logaddexp(found.log_back, found.log_back_common) + np.log1p(-1 / size)
    after = Signal(found.log_ms, activated(source, large).signal.cosine, found.mean_over_rms)
    none = np.full_like(back, -np.inf)
    return UnitLayer(after, back, none, none, back)


def group_after(source: Source, norm: Norm, size: int, signal: Signal) -> UnitLayer:
    """Normalized groups of `size` units of phi; the cosine between samples is that of large groups."""
    share, a, b = sampled_batches(source.act, size, signal.log_ms, np.zeros_like(signal.log_ms), norm.eps).T
    back = np.logaddexp(a + np.log1p(-1 / size), b - np.log(size))
    large, _ = divided(activated(source, signal).signal, norm)
    none = np.full_like(back, -np.inf)
    return UnitLayer(Signal(np.log(share), large.cosine, np.zeros_like(share)), back, none, none, back)


def scaled(found: UnitLayer, log_divided: Nets) -> UnitLayer:
    """With a gradient that is divided by this mean square."""
    return found._replace(
        alpha_from_alpha=found.alpha_from_alpha - log_divided, beta_from_beta=found.beta_from_beta - log_divided
    )


def batch_before(source: Source, norm: Norm, batch: int, signal: Signal) -> UnitLayer:
    """phi of a normalized batch."""
    with np.errstate(divide="ignore"):
        log_spread = signal.log_ms + np.log1p(-signal.cosine)
    found = normalized_batches(source.act, batch, log_spread, norm.eps)
    none = np.full_like(log_spread, -np.inf)
    after = Signal(found.log_ms, found.cosine, found.mean_over_rms)
    return UnitLayer(after, found.log_back, found.log_back_common, none, none)


def batch_after(source: Source, norm: Norm, batch: int, signal: Signal) -> UnitLayer:
    """phi, normalized over the batch; a Gaussian with a mean is taken as one without."""
    share, a, b = sampled_batches(source.act, batch, signal.log_ms, signal.cosine, norm.eps).T
    none = np.full_like(a, -np.inf)
    with np.errstate(divide="ignore"):
        after = Signal(np.log(share), np.full_like(share, -1 / (batch - 1)), np.zeros_like(share))
    return UnitLayer(after, a, none, b, none)
