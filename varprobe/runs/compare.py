"""Two results.nc of one request, number by number, a few configurations at a time."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from varprobe.runs.tolerances import tolerances
from varprobe.runs.verifying.numbers import BLOCK

__all__ = ["Comparison", "Difference", "compare"]


@dataclass(frozen=True)
class Difference:
    """The largest difference of a variable, relative to what rounding explains there.

    Attributes:
        variable: its name.
        largest: the difference, in the variable's own unit; inf where only one of the two is finite.
        tolerance: what rounding explains at that place; inf where no bound can be given.
        config: the configuration; seed: the seed.
        beyond: how many numbers of the variable differ by more than rounding explains.
    """

    variable: str
    largest: float
    tolerance: float
    config: int
    seed: int
    beyond: int


@dataclass
class Comparison:
    """What a comparison found.

    Attributes:
        numbers: how many were compared.
        different: how many are not the same bits.
        differences: of each variable that has some.
        chaotic: configurations for which rounding has no bound at some layer.
    """

    numbers: int = 0
    different: int = 0
    differences: dict[str, Difference] = field(default_factory=dict)
    chaotic: list[int] = field(default_factory=list)

    @property
    def beyond(self) -> int:
        """How many numbers differ by more than rounding explains."""
        return sum(d.beyond for d in self.differences.values())

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON can hold it; null where a number is not finite."""
        rows = [
            {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in vars(d).items()}
            for d in self.differences.values()
        ]
        return {
            "numbers": self.numbers,
            "different": self.different,
            "beyond": self.beyond,
            "chaotic": self.chaotic,
            "differences": rows,
        }


def compare(before: xr.Dataset, after: xr.Dataset) -> Comparison:
    """Compare all variables of two datasets of the same configurations, seeds and layers.

    Raises:
        ValueError: they are not of the same variables and shapes.
    """
    for name, variable in before.data_vars.items():
        if name not in after or after[name].shape != variable.shape:
            raise ValueError(f"there is no {name} of the same shape")
    found, count = Comparison(), before.sizes["config"]
    each = max(1, sum(v.size for v in before.data_vars.values()) // count)
    size = max(1, BLOCK // each)
    for start in range(0, count, size):
        part = slice(start, start + size)
        enter(found, before.isel(config=part).load(), after.isel(config=part).load(), start)
    return found


def enter(found: Comparison, before: xr.Dataset, after: xr.Dataset, start: int) -> None:
    """Add some configurations to a comparison; `start` is the number of the first."""
    allowed = tolerances(before)
    for name, tolerance in allowed.items():
        a, b = before[name].values, after[name].values
        found.numbers += a.size
        odd = ~((a == b) & (np.signbit(a) == np.signbit(b)) | (a != a) & (b != b))
        if not odd.any():
            continue
        found.different += int(odd.sum())
        with np.errstate(invalid="ignore"):
            gap = np.where(odd, np.nan_to_num(np.abs(a - b), nan=np.inf), 0.0)
            relative = np.where(gap > 0, gap / tolerance, 0.0)  # 0 where no bound can be given
            relative = np.nan_to_num(relative, nan=0.0, posinf=np.inf)
        at = np.unravel_index(int(np.argmax(relative if relative.any() else gap)), gap.shape)
        one = Difference(
            name, float(gap[at]), float(tolerance[at]), start + int(at[0]), int(at[1]), int((relative > 1).sum())
        )
        other = found.differences.get(name)
        worse = other is None or one.largest / one.tolerance >= other.largest / other.tolerance
        kept = one if worse else other
        assert kept is not None
        total = one.beyond + (other.beyond if other else 0)
        found.differences[name] = Difference(**vars(kept) | {"beyond": total})
    if {"preactivation_log10_mean_square", "activation_log10_mean_square"} <= allowed.keys():
        lost = np.isinf(allowed["preactivation_log10_mean_square"]) & ~np.isnan(
            before["activation_log10_mean_square"].values
        )
        found.chaotic += [start + int(i) for i in np.flatnonzero(lost.any(axis=tuple(range(1, lost.ndim))))]
