"""Measure what `varprobe.advise` advises: it is never worse than the framework's default, and ends where predicted.

    python scripts/check_advice.py [--framework NAME] [ACT ...]

For every registered activation at depth 50 and width 256: the worst change of the RMS of signal or gradient between any
layer and the end that it comes from, before and after, in decades, and the ends after, measured and predicted. The
ends must be within 4 standard errors of one draw's spread, or lower by as much as logs of random products drift. One
line an activation; exit code 1 if any is worse or elsewhere.
"""

import argparse
import math
import sys
import time
from typing import NamedTuple

import numpy as np
import xarray as xr

import varprobe as vp
from varprobe.nets.activations import ACTIVATIONS

ERRORS = 4.0
LOST = 3.0
"""Decades from which the advice itself says that no signal is held."""


class Checked(NamedTuple):
    """Decades of RMS; ends: (measured, lowest and highest allowed) of signal and gradient; lost: none is promised."""

    act: str
    kind: str | None
    before: float
    after: float
    ends: tuple[tuple[float, float, float], ...]
    slack: float
    lost: bool

    @property
    def never_worse(self) -> bool:
        """Whether the advice changes signal and gradient no more than the default, to within noise; lost is lost."""
        return self.after <= self.before + self.slack or (self.lost and self.before > LOST)

    @property
    def as_predicted(self) -> bool:
        """Whether both ends are where they may be; what is said to be lost must be, wherever it goes."""
        return self.after > LOST if self.lost else all(low <= found <= high for found, low, high in self.ends)


def rms(ds: xr.Dataset, config: int, quantity: str) -> np.ndarray:
    """log10 RMS at layers 1 to L over that at the end where it starts, mean over seeds."""
    values = ds[f"{quantity}_log10_mean_square"].values[config, :, 1:].mean(0) / 2
    with np.errstate(invalid="ignore"):
        return values - (values[0] if quantity == "activation" else values[-1])


def worst(ds: xr.Dataset, config: int) -> float:
    """The largest change, of signal or gradient; a signal that is lost altogether is infinitely worse."""
    changes = np.abs([rms(ds, config, quantity) for quantity in ("activation", "gradient")])
    return float(np.nan_to_num(changes, nan=np.inf).max())


def check(act: str, depth: int = 50, width: int = 256, seeds: int = 4, framework: str = "flax") -> Checked:
    """Advise and measure."""
    advice = vp.advise(act, depth, width)
    ds = advice.probe(framework, seeds=seeds)
    found = (rms(ds, 1, "activation")[-1], rms(ds, 1, "gradient")[0])
    ends = []
    for measured, expected, sd in zip(
        found, (advice.forward_rms, advice.backward_rms), (advice.forward_sd, advice.backward_sd), strict=True
    ):
        error = ERRORS * sd / math.sqrt(seeds)
        drift = math.log(10) * sd**2  # E ln of a product of mean 1 is minus half its variance, here in decades of RMS
        ends.append((float(measured), expected - drift - error, expected + error))
    slack = ERRORS * max(advice.forward_sd, advice.backward_sd) / math.sqrt(seeds)
    return Checked(act, advice.kind, worst(ds, 0), worst(ds, 1), tuple(ends), slack, advice.worst > LOST)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("acts", nargs="*", metavar="ACT")
    parser.add_argument("--framework", default="flax")
    options = parser.parse_args()
    start, failed, count = time.monotonic(), 0, 0
    print(f"{'decades of RMS':15s} {'before':>7s} {'after':>6s}  {'signal, allowed':22s} {'gradient, allowed':22s}")
    for act in options.acts or ACTIVATIONS:
        found = check(act, framework=options.framework)
        count, good = count + 1, found.never_worse and found.as_predicted
        failed += not good
        ends = " ".join(f"{at:6.2f} [{low:6.2f},{high:6.2f}]" for at, low, high in found.ends)
        words = [*([] if found.never_worse else ["worse"]), *([] if found.as_predicted else ["elsewhere"])]
        verdict = "ok" if good else " and ".join(words)
        print(f"{act:15s} {found.before:7.2g} {found.after:6.2f}  {ends} {verdict:9s} {found.kind}", flush=True)
    print(f"{count} activations, {failed} of them not as advised; {time.monotonic() - start:.0f} s")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
