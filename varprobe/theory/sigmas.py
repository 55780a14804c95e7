"""sigma_w2 = fan_in Var(W) and sigma_b2 = Var(b) of initializers by name."""

import numpy as np

from varprobe.callform import parse_calls
from varprobe.errors import RequestError
from varprobe.initializers import TRUNCATED_STD, Initializer, Place, resolve_initializer

__all__ = ["given", "sigma_b2_of", "variance_of"]

VARIANCES = {"normal": 1.0, "truncated_normal": TRUNCATED_STD**2, "uniform": 1 / 3, "orthogonal": np.nan}


def given(init: str | Initializer, option: str = "init") -> Initializer:
    """The initializer that a call form means."""
    if isinstance(init, Initializer):
        return init
    try:
        calls = parse_calls(init) if isinstance(init, str) else []
        if len(calls) != 1:
            raise RequestError(f"{init!r} is not the name of one initializer")
        return resolve_initializer(calls[0])
    except RequestError as error:
        raise error.at(option) from None


def variance_of(init: Initializer, widths: np.ndarray, layer: int) -> float:
    """fan_in Var(W) of an initializer at a layer of a stack of these widths, the input's first.

    Raises:
        RequestError: it has a mean, or entries of no known variance.
    """
    fan_in, fan_out = int(widths[layer - 1]), int(widths[layer])
    mean, scale = init.at(Place(fan_in, fan_out, int(widths[1]), widths.size - 1, layer))
    if mean != 0:
        raise RequestError(f"{init.name} has the mean {mean:g}; this theory is for mean 0 only", "init")
    if init.law[0] not in VARIANCES or scale == 0:
        raise RequestError(f"{init.name} has no law that theory knows (allowed: {', '.join(VARIANCES)})", "init")
    entry = 1 / max(fan_in, fan_out) if init.law[0] == "orthogonal" else VARIANCES[init.law[0]]
    return float(fan_in * scale**2 * entry)


def sigma_b2_of(bias: str | Initializer, width: int, depth: int) -> float:
    """Var(b) of biases of mean 0.

    Raises:
        RequestError: they have a mean, or entries of no known variance.
    """
    init = given(bias, "bias")
    mean, variance = bias_numbers(init, Place(width, width, width, depth, 1))
    if mean != 0:
        raise RequestError(f"{init.name} has the mean {mean:g}; fixed points are for mean 0 only", "bias")
    return variance


def bias_numbers(init: Initializer, place: Place) -> tuple[float, float]:
    """(mean, Var(b)) of the biases of a layer.

    Raises:
        RequestError: their entries have no known variance.
    """
    mean, scale = init.at(place)
    if scale == 0 or init.law[0] == "nothing":
        return mean, 0.0
    if init.law[0] not in VARIANCES or init.law[0] == "orthogonal":
        raise RequestError(f"{init.name} has no variance that theory knows", "bias")
    return mean, scale**2 * VARIANCES[init.law[0]]
