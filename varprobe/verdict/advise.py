"""`varprobe.advise`: the initializer to use for an activation at a depth, what theory expects of it, and its code."""

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation, behavior
from varprobe.spec.argument_types import checks_types
from varprobe.spec.expressions import number_text
from varprobe.spec.number_format import rounded, scientific
from varprobe.theory.checks import whole
from varprobe.theory.choices import SATURATED, Choice, choose, saturated_share
from varprobe.theory.elementwise import ActivationLike, activation, evaluate
from varprobe.theory.expectations import moments
from varprobe.theory.walks import Walk, walk
from varprobe.verdict.snippets import framework, snippets

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ALTERNATIVES", "DEEPEST", "Advice", "advise"]

DEEPEST = 10_000
"""Depths are followed to here."""
ALTERNATIVES = ("relu", "elu", "gelu", "mish", "silu", "tanh", "erf", "hard_tanh", "soft_sign")
"""Activations that have a good point, of which the nearest are named where another has none."""
NODES = 2001


@dataclass(frozen=True)
class Advice:
    """What to draw the weights from, and what mean-field theory and finite width expect of it.

    Attributes:
        act: the activation's canonical form.
        depth, width: what was asked for.
        kind: "critical"; "critical, q fades" (its fixed point is 0; the rate follows, as in "as 1/l"); "gain", which
            preserves the mean square at q = 1; "saturated", critical where many units are flat; None where there is no
            critical point that holds a signal.
        sigma_w2: fan_in Var(W), of normal weights.
        sigma_b2: Var(b), of normal biases; 0: biases are zero.
        gain: sqrt(sigma_w2).
        std: the standard deviation of W, as a formula.
        q: the fixed point of the preactivations' mean square (kind None: where it is at this depth).
        chi_1, chi_q: per-layer factors of the gradient, and of a distance from q, at q.
        forward_rms, backward_rms: log10 of the RMS at layer L over layer 1, and of the gradient at 1 over that at L.
        worst: decades of RMS between any layer and the end that signal or gradient comes from.
        forward_sd, backward_sd: standard deviation of both over draws of one net of this width, one input, in decades.
        within_10x, within_1000x: the deepest stack whose signal and gradient keep that; None: beyond `DEEPEST`.
        spread_10x: the depth at which one draw's standard deviation is a factor of 10; None: beyond `DEEPEST`, or where
            theory itself is past 1000x.
        sentences: what this means.
        alternatives: names of activations with a better point, where this has none.
        snippets: framework -> lines of Python that set these variances.
    """

    act: str
    depth: int
    width: int
    kind: str | None
    sigma_w2: float
    sigma_b2: float
    gain: float
    std: str
    q: float
    chi_1: float
    chi_q: float
    forward_rms: float
    backward_rms: float
    worst: float
    forward_sd: float
    backward_sd: float
    within_10x: int | None
    within_1000x: int | None
    spread_10x: int | None
    sentences: tuple[str, ...]
    alternatives: tuple[str, ...]
    snippets: dict[str, str] = field(repr=False)
    phi: Activation = field(repr=False)

    @property
    def init(self) -> str:
        """The weights, in the call form of `varprobe.sweep`."""
        return f"variance_scaling(scale={number_text(self.sigma_w2)},mode=fan_in,distribution=normal)"

    @property
    def bias(self) -> str:
        """The biases, in the call form of `varprobe.sweep`."""
        return f"normal(var={number_text(self.sigma_b2)})" if self.sigma_b2 else "zeros"

    def probe(self, framework: str = "flax", **arguments: Any) -> "xr.Dataset":
        """Measure before (what a framework starts from) and after (this), the two configurations of a dataset.

        Args:
            framework: flax, jax, equinox, pytorch or keras.
            arguments: of `varprobe.sweep`, such as seeds, batch or data; depth and width default to the advice's.

        Raises:
            InvalidArgumentError: an argument is wrong, or is one that the advice decides.
        """
        from varprobe.sweeps.sweep import sweep

        wanted = self.comparison(framework)
        taken = next((name for name in (*wanted, "sigma_w2", "sigma_b2") if name in arguments), None)
        if taken is not None:
            raise InvalidArgumentError("the advice decides it; use varprobe.sweep for a comparison of your own", taken)
        act = {"act": self.phi.function if not named(self.phi) else self.act}
        return self.pair(sweep(**{**act, **wanted, "depth": self.depth, "width": self.width, **arguments}), framework)

    def comparison(self, name: str) -> dict[str, list[str]]:
        """The initializers and biases of a sweep in which before and after are two configurations."""
        before = framework(name)
        pairs = {"init": (before.init, self.init), "bias": (before.bias, self.bias)}
        return {option: list(dict.fromkeys(pair)) for option, pair in pairs.items()}

    def pair(self, ds: "xr.Dataset", name: str) -> "xr.Dataset":
        """Before and after of a sweep of `comparison`."""
        before = framework(name)
        found = list(zip(ds["init"].values.tolist(), ds["bias"].values.tolist(), strict=True))
        return ds.isel(config=[found.index((before.init, before.bias)), found.index((self.init, self.bias))])

    def as_dict(self) -> dict[str, Any]:
        """Everything as numbers and text that JSON can hold."""
        found = {k: v for k, v in asdict(self).items() if k != "phi"}
        return {k: (None if isinstance(v, float) and not math.isfinite(v) else v) for k, v in found.items()}

    def __str__(self) -> str:
        bias = f", sigma_b2 {self.sigma_b2:.5g}" if self.sigma_b2 else ", biases zero"
        head = f"{self.act}, depth {self.depth}, width {self.width}: sigma_w2 {self.sigma_w2:.5g}{bias}"
        return "\n".join([head, *self.sentences])


def named(act: Activation) -> bool:
    """Whether an activation's canonical form finds it again."""
    return act.digest == "" or ":" in act.name


@checks_types
def advise(act: ActivationLike, depth: int = 50, width: int = 512) -> Advice:
    """The initializer to use for an activation in a plain stack of a depth and width.

    Of the critical points, the gain that preserves the mean square and the critical line with biases, the one is taken
    that changes signal and gradient least on their way (`varprobe.theory.choices`), followed by mean-field theory from
    an input of mean square 1, with the spread of one draw at this width.

    Args:
        act: a name, a call form or a callable.
        depth: weight layers, 1 to 10000.
        width: units of each layer.

    Raises:
        InvalidArgumentError: a value is out of range, or the activation is constant, not finite, or grows too fast.

    Example:
        advice = varprobe.advise("gelu", depth=100)
        print(advice)
        print(advice.snippets["flax"])
    """
    phi = activation(act)
    depth, width = whole("depth", depth, 1), whole("width", width, 1)
    if depth > DEEPEST:
        raise InvalidArgumentError(f"{depth} is beyond what is followed (at most {DEEPEST})", "depth")
    if width > 2**31:
        raise InvalidArgumentError(f"{width} is out of range (at most 2147483648)", "width")
    try:
        best, plain = choose(phi, depth, width)
    except InvalidArgumentError as error:
        raise error.at("act") from None
    path = walk(phi, best.sigma_w2, best.sigma_b2, depth, width)
    far = walk(phi, best.sigma_w2, best.sigma_b2, DEEPEST, width, limit=3.0)
    share = saturated_share(phi, best.q) if best.q > 0 else 0.0
    kind = kind_of(phi, best, share)
    alternatives = nearest(phi) if kind in (None, "saturated") else ()
    reach = Reach(first_beyond(far, 1.0), first_beyond(far, 3.0), spread_beyond(far))
    return Advice(
        act=phi.name,
        depth=depth,
        width=width,
        kind=kind,
        sigma_w2=best.sigma_w2,
        sigma_b2=best.sigma_b2,
        gain=math.sqrt(best.sigma_w2),
        std=f"sqrt({best.sigma_w2:.8g} / fan_in)",
        q=best.q,
        chi_1=best.chi_1,
        chi_q=best.chi_q,
        forward_rms=float(path.forward[-1]),
        backward_rms=float(path.backward[-1]),
        worst=best.worst,
        forward_sd=float(path.forward_sd[-1]),
        backward_sd=float(path.backward_sd[-1]),
        within_10x=reach.ten,
        within_1000x=reach.thousand,
        spread_10x=reach.spread,
        sentences=tuple(sentences(phi, best, plain, kind, share, alternatives, path, reach, far)),
        alternatives=alternatives,
        snippets=snippets(best.sigma_w2, best.sigma_b2),
        phi=phi,
    )


@dataclass(frozen=True)
class Reach:
    """The deepest stacks within 10x and 1000x, and the depth at which the spread is 10x; None: beyond `DEEPEST`."""

    ten: int | None
    thousand: int | None
    spread: int | None


def first_beyond(path: Walk, decades: float) -> int | None:
    """The deepest stack before signal or gradient is more than `decades` off."""
    off = np.flatnonzero(~((np.abs(path.forward) <= decades) & (np.abs(path.backward) <= decades)))
    return int(off[0]) if off.size else None


def spread_beyond(path: Walk) -> int | None:
    """The depth from which one draw's standard deviation is a factor of 10 or more."""
    off = np.flatnonzero(np.maximum(path.forward_sd, path.backward_sd) >= 1.0)
    return int(off[0]) + 1 if off.size else None


def kind_of(act: Activation, choice: Choice, share: float) -> str | None:
    """The word for a point; see `Advice.kind`."""
    if choice.kind == "least" or (choice.worst > 1 and choice.chi_q > 1 + 1e-9):
        return None
    if share >= SATURATED:
        return "saturated"
    if choice.kind == "gain":
        return "gain"
    return f"critical, q fades{fading(act, choice.sigma_w2)}" if choice.q == 0 else "critical"


def fading(act: Activation, sigma_w2: float) -> str:
    """How q falls to 0 at the end of the line, from 1 - V(q)/q ~ q^p near 0: q ~ l^(-1/p)."""
    near, far = (1 - sigma_w2 * moments(act, q).mean_square / q for q in (1e-6, 1e-4))
    if not (near > 1e-12 and far > near):
        return ""
    power = 2 / math.log10(far / near)
    return f" as 1/l{'' if abs(power - 1) < 0.05 else f'^{power:.2g}'}"


def nearest(act: Activation) -> tuple[str, ...]:
    """The two of `ALTERNATIVES` that are most alike under N(0, 1), up to a scale and a shift, mirrored or not."""
    from scipy.special import ndtri

    x = ndtri((np.arange(NODES) + 0.5) / NODES)

    def shape(one: Activation) -> np.ndarray:
        values = evaluate(one, x)[0]
        values = values - values.mean()
        return values / np.linalg.norm(values)

    own = shape(act)
    likeness = {}
    for name in ALTERNATIVES:
        other = shape(activation(name))
        likeness[name] = max(abs(float(own @ other)), abs(float(own @ other[::-1])))
    return tuple(sorted(likeness, key=lambda name: -likeness[name])[:2])


def sentences(
    act: Activation,
    best: Choice,
    plain: Choice | None,
    kind: str | None,
    share: float,
    alternatives: tuple[str, ...],
    path: Walk,
    reach: Reach,
    far: Walk,
) -> list[str]:
    """What the numbers mean, the kind of point first."""
    said = [point_sentence(act, best, kind, share)]
    if alternatives:
        said.append(f"The activations nearest to it that have a good one: {' and '.join(alternatives)}.")
    said.append(
        f"Expected at depth {path.forward.size}: the signal's RMS {changes(path.forward[-1])}, the gradient's "
        f"{changes(path.backward[-1])}; one draw strays from that by {factor(path.forward_sd[-1])} and "
        f"{factor(path.backward_sd[-1])} (one sd, one input)."
    )
    said.append(reach_sentence(reach, far))
    if plain is not None and plain.worst < 10:
        said.append(
            f"Where biases must be zero, sigma_w2 {plain.sigma_w2:.5g} changes it least, by {factor(plain.worst)}"
            f"{', and is unstable' if plain.chi_q > 1 + 1e-6 else ''}."
        )
    return said


def point_sentence(act: Activation, best: Choice, kind: str | None, share: float) -> str:
    """What kind of point it is."""
    if kind is None and best.kind == "least":
        return (
            f"{act.name} has no critical point that holds a signal; this sigma_w2 changes signal and gradient least at "
            "this depth."
        )
    if kind is None:
        return f"{act.name} has no stable point: a signal leaves this one by {best.chi_q:.3g}x a layer (chi_q)."
    if kind == "saturated":
        return (
            f"Critical only where it is saturated, a poor point to train from: at q = {best.q:.3g}, {share:.0%} of the "
            "units are not 0 and have |phi'| < 0.01."
        )
    if kind == "gain":
        return f"The gain that preserves the mean square at q = 1; there chi_1 = {best.chi_1:.4g}."
    if best.q == 0:
        rate = kind.partition("fades")[2]
        return f"Critical, with its fixed point at 0: the mean square fades{rate or ' more slowly than any power'}."
    leaves = f", an unstable fixed point (chi_q {best.chi_q:.4g})" if best.chi_q > 1 + 1e-6 else ""
    return f"Critical: chi_1 = 1 at {'every q' if behavior(act).homogeneous else f'q = {best.q:.3g}{leaves}'}."


def reach_sentence(reach: Reach, far: Walk) -> str:
    """How deep it stays within 10x and 1000x."""
    half = far.forward.size // 2
    settled = all(abs(values[-1] - values[half]) < 1e-3 for values in (far.forward, far.backward))
    without_end = "at any depth" if settled else f"past depth {DEEPEST}"
    said = "In infinite width it stays within "
    if reach.ten is None:
        said += f"10x {without_end}"
    else:
        said += f"10x to depth {reach.ten} and 1000x "
        said += without_end if reach.thousand is None else f"to depth {reach.thousand}"
    return said + (f"; from depth {reach.spread} on one draw strays by 10x." if reach.spread else ".")


def changes(decades: float) -> str:
    """`falls by 4.2x`."""
    if abs(decades) < 0.004:
        return "stays"
    return f"{'falls' if decades < 0 else 'grows'} by {factor(abs(decades))}"


def factor(decades: float) -> str:
    """`4.2x`."""
    return f"{rounded(10**decades) if decades < 5 else scientific(decades)}x"
