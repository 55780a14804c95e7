"""What signal and gradient do within a family of like sites."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from varprobe.model.evidence import Evidence
from varprobe.model.families import Family
from varprobe.model.findings import Finding
from varprobe.model.growth import Growth, growth_of
from varprobe.model.outliers import jump_of, without_ends
from varprobe.verdict.rates import Rate, certain, rate, word
from varprobe.verdict.thresholds import threshold

__all__ = ["Judged", "Side", "judge", "steps_until_lost"]


@dataclass(frozen=True)
class Side:
    """What signal or gradient does along a family.

    rate: None where all values are exactly zero, or there are none. word: of `varprobe list verdicts`;
    certain: whether all seeds agree on it. near, far: the rows that are compared, the one nearer to where it comes from
    first. growth: the power of depth that fits better than a rate, if one does. jump: one site that is off.
    throughout: whether the median step alone, taken at every site, makes it vanish or explode.
    """

    rate: Rate | None = None
    word: str = "stable"
    certain: bool = True
    near: int = 0
    far: int = 0
    growth: Growth | None = None
    jump: Finding | None = None
    throughout: bool = False


@dataclass(frozen=True)
class Judged:
    """A family, and what signal and gradient do in it.

    recurrent: whether its sites are steps with the same weights; gated: whether the state is kept by a gate.
    """

    family: Family
    forward: Side
    backward: Side
    recurrent: bool
    gated: bool

    @property
    def sides(self) -> dict[str, Side]:
        """Both by name."""
        return {"signal": self.forward, "gradient": self.backward}

    @property
    def severity(self) -> float:
        """How far from level, in decades of RMS."""
        rates = [side.rate for side in self.sides.values() if side.rate]
        return max((math.inf if math.isnan(r.ratio) else abs(r.ratio) for r in rates), default=0.0)

    @property
    def bad(self) -> bool:
        """Whether it makes a model unhealthy."""
        words = {self.forward.word, self.backward.word}
        return "exploding" in words or ("vanishing" in words and not self.forgets)

    @property
    def forgets(self) -> bool:
        """Whether nothing is wrong but that a gated state keeps the gradient for a part of the sequence, as many do."""
        rate = self.backward.rate
        if not (self.recurrent and self.gated and rate) or "vanishing" in self.forward.word or not 0 < rate.factor < 1:
            return False
        return steps_until_lost(rate) >= threshold("forgets") and self.backward.word == "vanishing"

    @property
    def throughout(self) -> bool:
        """Whether a side is bad by what most of its sites do."""
        return self.forward.throughout or self.backward.throughout

    @property
    def jump(self) -> Finding | None:
        """One site that is off; of both sides, where the signal is."""
        return self.forward.jump or self.backward.jump


def steps_until_lost(found: Rate) -> float:
    """After how many steps the RMS has fallen by what counts as vanishing."""
    return 2 * math.log10(threshold("vanishing")) / -math.log10(found.factor)


def judge(seen: Evidence, family: Family) -> Judged | None:
    """What signal and gradient do along a family; None where neither was computed.

    Sites without values are left out, such as a branch that was not taken, and so are gradients of values that the loss
    does not use. `flags.non_finite` reports values that are NaN.
    """
    family = replace(family, layers=computed(family.layers, signal_of(seen, family.layers, family.fitted)))
    repeated = len({seen.sites[layer] for layer in family.layers}) < len(family.layers)
    if not repeated:
        family = without_ends(seen, family)
    ahead = np.array(family.layers, int)
    gradient = seen.seeds("gradient_log10_mean_square")
    behind = np.array(computed(family.layers, gradient[:, ahead]), int)[::-1]
    recurrent = repeated and seen.is_recurrent(seen.sites[family.layers[0]])
    forward = side_of(seen, family, "signal", signal_of(seen, family.layers, family.fitted), ahead, False, recurrent)
    backward = side_of(seen, family, "gradient", gradient[:, behind], behind, repeated, recurrent)
    if not forward.rate and not backward.rate:
        return None
    return Judged(family, forward, backward, recurrent, bool(seen.listed("gates")))


def signal_of(seen: Evidence, layers: Sequence[int], fitted: bool = True) -> np.ndarray:
    """log10 of the mean square, (seeds, sites): of what activations give where all have one.

    Where no factor is fitted a last layer counts without its bias.
    """
    activation, before = (
        seen.seeds(f"{q}_log10_mean_square")[:, list(layers)] for q in ("activation", "preactivation")
    )
    if not np.isnan(activation).any():
        return activation
    if np.isnan(before).any():
        return np.where(np.isnan(before), activation, before)
    product = seen.seeds("product_log10_mean_square")[:, list(layers)]  # a bias at the target's mean is no signal
    return np.where(np.isnan(product), before, product) if not fitted else before


def computed(layers: Sequence[int], values: np.ndarray) -> tuple[int, ...]:
    """The layers of which there are values, (seeds, layers), in some seed."""
    return tuple(layer for layer, column in zip(layers, values.T, strict=True) if not np.isnan(column).all())


def side_of(
    seen: Evidence,
    family: Family,
    quantity: str,
    values: np.ndarray,
    layers: np.ndarray,
    repeated: bool,
    recurrent: bool,
) -> Side:
    """What (seeds, sites) do, the near end first.

    Zeros at the near end are what a signal has not reached, as the first state of a recurrent net, or steps behind the
    end of a sequence. A single zero at the first of several iterations is a gate that multiplies that state.
    """
    if values.shape[1] < 2:
        return Side()
    zero = np.asarray(np.isneginf(values).all(axis=0))
    start = int(np.argmin(zero))
    stop = len(zero) - (repeated and bool(zero[-1]) and not zero[-2])
    kept, rows = values[:, start:stop], layers[start:stop]
    if zero.all():
        return Side(word="vanishing", near=int(layers[0]), far=int(layers[-1]))
    if np.isnan(kept).all() or kept.shape[1] < 2:
        return Side(near=int(layers[start]), far=int(layers[stop - 1]))
    found = rate(kept)
    in_order = kept if quantity == "signal" else kept[:, ::-1]
    return Side(
        found,
        word(found, kept),
        certain(found, kept),
        int(rows[0]),
        int(rows[-1]),
        growth_of(in_order) if family.fitted and not recurrent else None,
        jump_of(seen, family, kept, rows, quantity) if not recurrent else None,
        abs(np.median(np.diff(kept, axis=1))) * (kept.shape[1] - 1) / 2 > math.log10(threshold("vanishing")),
    )
