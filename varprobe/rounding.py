"""How far the numbers of a run may be from those of another machine, by rounding alone.

A product over n inputs is rounded by about u sqrt(n) of its size, where u is half the relative spacing of float32, in
which weights are drawn and products summed up; a half-precision dtype rounds every value by its own u on top. What is
rounded at layer k reaches layer l as any small change does: its mean square grows with that of the Jacobian, which is
that of the gradients, so relative to the signal by

    A(k, l)^2 = (gradient_ms_k preactivation_ms_k) / (gradient_ms_l preactivation_ms_l)

and forward(l)^2 = sum over k <= l of (u sqrt(n) A(k, l))^2. Where signals settle, A falls and forward(l) stays; at
criticality it grows as sqrt(l); in chaotic networks exponentially, until no digit is left and no bound can be given.
Backward every layer adds its own rounding and the forward error at which its derivative is taken. Shares of values that
are exactly zero have no bound: where a smooth function underflows is up to the machine.
"""

import numpy as np
import xarray as xr

__all__ = ["SAFETY", "tolerances"]

UNIT = 2.0**-24
HALVES = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
SAFETY = 16.0
"""Times the error that is expected of one number: the largest of millions is compared with it."""
LOST = 0.25
"""Relative error, with SAFETY, from which on no bound is given: errors no longer add up, they saturate."""
COUNTS = 4
"""Units that may cross a threshold, where a share is counted."""
EXACT_ZEROS = ("zero_fraction", "dead_unit_fraction")


def tolerances(ds: xr.Dataset) -> dict[str, np.ndarray]:
    """Variable -> the largest difference that rounding explains, of its shape; inf where none can be given.

    Args:
        ds: dims (config, seed, layer), some configurations of a run.
    """
    forward, backward = errors(ds)
    widths = np.array([widest(w) for w in ds["width"].values])[:, None, None] if "width" in ds.coords else 1
    found = {}
    for name, variable in ds.data_vars.items():
        if variable.dims[:2] != ("config", "seed"):
            continue
        relative = backward if "gradient" in str(name) else forward
        if "jacobian" in str(name):
            tolerance = of_spectrum(ds, str(name), forward)
        else:
            tolerance = of_statistic(ds, str(name), relative, COUNTS / widths)
        tolerance = tolerance.reshape(*tolerance.shape, *(1,) * (variable.ndim - tolerance.ndim))
        found[str(name)] = np.broadcast_to(tolerance, variable.shape)
    return found


def errors(ds: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """(forward, backward): relative errors of the signals at each layer, (config, seed, layer), with SAFETY."""
    dtypes = ds["dtype"].values.astype(str) if "dtype" in ds.coords else ["float32"] * ds.sizes["config"]
    widths = [widest(w) for w in ds["width"].values] if "width" in ds.coords else [1024] * ds.sizes["config"]
    own = np.array([max(UNIT * w**0.5, HALVES.get(d, 0.0)) for d, w in zip(dtypes, widths, strict=True)])[:, None, None]
    gain = (ds["gradient_log10_ms"] + ds["preactivation_log10_ms"]).transpose("config", "seed", "layer").values
    known = np.isfinite(gain)
    logs = np.where(known, gain, -np.inf) * np.log(10)
    reached = np.logaddexp.accumulate(logs, axis=-1)
    with np.errstate(over="ignore"):
        forward = own * np.exp(np.subtract(reached, logs, out=np.zeros(logs.shape), where=known) / 2)
    steps = own**2 + np.minimum(forward, 1.0) ** 2
    backward = np.sqrt(np.cumsum(steps[..., ::-1], axis=-1)[..., ::-1])
    return SAFETY * forward, SAFETY * backward


def of_statistic(ds: xr.Dataset, name: str, relative: np.ndarray, counts: np.ndarray | float) -> np.ndarray:
    """The tolerance of a statistic of signals with a relative error."""
    bound = np.where(relative < LOST, relative, np.inf)
    if name.endswith(EXACT_ZEROS):
        return np.full(relative.shape, np.inf)
    if "log10" in name:
        tolerance = bound * 2 / np.log(10)
        if name.endswith("log10_var"):  # a variance that is left of a large mean
            mean_square = ds[name.replace("_var", "_ms")].values
            excess = np.nan_to_num(mean_square - ds[name].values, nan=0.0, posinf=300.0, neginf=0.0)
            tolerance = tolerance * 10.0 ** np.clip(excess, 0, 300)
        return tolerance
    if any(word in name for word in ("fraction", "share", "density")):
        return bound + counts
    return 4 * bound


def of_spectrum(ds: xr.Dataset, name: str, relative: np.ndarray) -> np.ndarray:
    """The tolerance of singular values: an error is relative to the largest one."""
    kind = "partial_jacobian" if name.startswith("partial") else "jacobian"
    largest = ds[f"{kind}_log10_max"].values
    if name.endswith("singular_values"):
        largest = np.nanmax(largest, axis=-1, keepdims=True)
        relative = relative.max(axis=-1, keepdims=True)
        least = ds[name].values
    elif name.endswith("condition"):
        least = ds[f"{kind}_log10_min"].values
    else:
        least = ds[name].values / (2 if name.endswith("_ms") else 1)
    with np.errstate(invalid="ignore", over="ignore"):
        error = relative * 10.0 ** np.clip(np.nan_to_num(largest - least, nan=0.0, posinf=300.0, neginf=0.0), 0, 300)
    return np.where(error < LOST, error * 2 / np.log(10), np.inf)


def widest(width: object) -> int:
    """The largest width of a stack, also of a profile such as 784-512-256."""
    return max(int(part) for part in str(width).split("-"))
