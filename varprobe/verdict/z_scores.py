"""How far a measurement lies from theory: predicted factors, and z-scores of the measured ones."""

import math

import numpy as np

from varprobe.verdict.measured import Measured
from varprobe.verdict.rates import power, slopes

__all__ = ["against_theory"]

QUANTITIES = {"activation": 1.0, "gradient": -1.0}
"""With the sign that a slope has in the direction of the signal."""


def against_theory(net: Measured) -> dict[str, float | None]:
    """`theory_{activation,gradient}_{factor,z}` of a configuration; None where theory has none.

    A factor is 10^slope of the infinitely wide net, fitted as the measured one is. A z-score is (mean over seeds of the
    measured slope - predicted mean) / standard error, with the drift of the finite width in the prediction. Where that
    is exact (one input, relu or linear, normal weights, no biases) it follows Student's t with seeds - 1 degrees of
    freedom.
    """
    found: dict[str, float | None] = {}
    for quantity, sign in QUANTITIES.items():
        predicted = net.theory.get(f"theory_{quantity}_log10_mean_square")
        drift = net.theory.get(f"theory_{quantity}_drift")
        slope = math.nan if predicted is None else sign * float(slopes(predicted[None, 1:])[0])
        found[f"theory_{quantity}_factor"] = finite(power(slope))
        bent = math.nan if drift is None else sign * float(slopes(drift[None, 1:])[0])
        found[f"theory_{quantity}_z"] = z_score(
            sign * slopes(net.values[f"{quantity}_log10_mean_square"][:, 1:]), slope + bent
        )
    return found


def z_score(measured: np.ndarray, predicted: float) -> float | None:
    """(mean - predicted) / standard error; None for one seed, or where seeds do not differ beyond rounding."""
    if measured.size < 2 or not np.isfinite(measured).all():
        return None
    error = float(np.std(measured, ddof=1) / np.sqrt(measured.size))
    return finite((float(np.mean(measured)) - predicted) / error) if error > 1e-7 else None


def finite(value: float) -> float | None:
    """The value, or None where it is not finite or a factor that is zero."""
    return value if math.isfinite(value) and value != 0 else None
