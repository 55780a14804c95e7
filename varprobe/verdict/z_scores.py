"""How far a measurement lies from theory: predicted factors, and z-scores of the measured ones."""

import math
from collections.abc import Mapping

import numpy as np

from varprobe.verdict.measured import Measured
from varprobe.verdict.rates import power, slopes

__all__ = ["against_theory"]

QUANTITIES = {"activation": 1.0, "gradient": -1.0}
"""With the sign that a slope has in the direction of the signal."""


def against_theory(net: Measured) -> dict[str, float | None]:
    """`theory_{activation,gradient}_{factor,z}` of a configuration; None where theory has none.

    A factor is 10^slope of the infinitely wide net, fitted as the measured one is. A z-score is (mean over seeds of the
    measured slope - predicted mean) / standard error, with the drift of the finite width in the prediction; it follows
    Student's t with seeds - 1 degrees of freedom. There is none where that drift is not known.
    """
    found: dict[str, float | None] = {}
    for quantity, sign in QUANTITIES.items():
        found[f"theory_{quantity}_factor"] = finite(power(predicted_slope(net.theory, quantity)))
        measured = sign * slopes(net.values[f"{quantity}_log10_mean_square"][:, 1:])
        draws = net.theory.get("theory_draws", np.zeros(1))[-1]
        found[f"theory_{quantity}_z"] = z_score(measured, predicted_slope(net.theory, quantity, drift=True), draws)
    return found


def predicted_slope(theory: Mapping[str, np.ndarray], quantity: str, drift: bool = False) -> float:
    """Predicted log10 per layer in the direction of the signal; NaN if there is none.

    Args:
        theory: the variables `theory_*` of a configuration, each (layers,).
        quantity: "activation" or "gradient".
        drift: add what the finite width adds to the mean.
    """
    names = [f"theory_{quantity}_log10_mean_square", *[f"theory_{quantity}_drift"] * drift]
    if not all(name in theory for name in names):
        return math.nan
    whole = np.sum([theory[name] for name in names], axis=0)
    return QUANTITIES[quantity] * float(slopes(whole[None, 1:])[0])


def z_score(measured: np.ndarray, predicted: float, draws: float = 0) -> float | None:
    """(mean - predicted) / standard error; None for one seed, or where seeds do not differ beyond rounding.

    `draws` are the simulated networks of which `predicted` is the mean, whose error counts too; 0 for a formula.
    """
    if measured.size < 2 or not np.isfinite(measured).all():
        return None
    error = float(np.std(measured, ddof=1) * np.sqrt(1 / measured.size + (1 / draws if draws > 0 else 0)))
    return finite((float(np.mean(measured)) - predicted) / error) if error > 1e-7 else None


def finite(value: float) -> float | None:
    """The value, or None where it is not finite or a factor that is zero."""
    return value if math.isfinite(value) and value != 0 else None
