"""What a verdict on a model says of one place: the number there, what it should be near, and what to change."""

import math
from typing import Any, NamedTuple

from varprobe.verdict.thresholds import VERDICTS

__all__ = ["Finding"]


class Finding(NamedTuple):
    """Something that is wrong at one place.

    flag: its name in `varprobe.verdict.thresholds.VERDICTS`; if that is a note, only strict checks count it. site: the
    label of a site, or a parameter. sentence: what is wrong, with the site and the number. value, near: the number that
    was measured, and what it should be near. advice: what to change, where that is known.
    """

    flag: str
    site: str
    sentence: str
    value: float | None = None
    near: float | None = None
    advice: str | None = None

    @property
    def weak(self) -> bool:
        """Whether it leaves a model healthy."""
        return VERDICTS[self.flag].kind == "note"

    @property
    def grave(self) -> bool:
        """Whether it says more than any rate, so that it is told alone."""
        return self.flag in ("non_finite", "dead", "no_gradient")

    def fields(self) -> dict[str, Any]:
        """Of a row of a diagnosis; numbers that are not finite are None."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in self._asdict().items()
        }
