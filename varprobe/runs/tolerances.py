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

from varprobe.storage.kinds import kind_of

__all__ = ["SAFETY", "tolerances"]

UNIT = 2.0**-24
HALVES = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
SAFETY = 16.0
"""Times the error that is expected of one number: the largest of millions is compared with it."""
LOST = 0.25
"""Relative error, with SAFETY, from which on no bound is given: errors no longer add up, they saturate."""
COUNTS = 4
"""Units that may cross a threshold, where a share is counted."""
USUAL = 1024
EXACT_ZEROS = ("zero_fraction", "dead_unit_fraction")


def tolerances(ds: xr.Dataset) -> dict[str, np.ndarray]:
    """Variable -> the largest difference that rounding explains, of its shape; inf where none can be given.

    Args:
        ds: dims (config, seed, layer), some configurations of a run; or a training, with steps or without layers.
    """
    if kind_of(ds) not in ("sweep", "probe"):  # training amplifies rounding by what is not recorded
        return {str(name): np.full(variable.shape, np.inf) for name, variable in ds.data_vars.items()}
    forward, backward = errors(ds)
    found = {}
    for name, variable in ((str(name), variable) for name, variable in ds.data_vars.items()):
        relative = backward if "gradient" in name else forward
        own = of_spectrum(ds, name, forward) if is_spectrum(ds, name) else of_statistic(ds, name, relative)
        worst = own.max([dim for dim in own.dims if dim not in variable.dims])
        found[name] = worst.broadcast_like(variable).transpose(*variable.dims).values
    return found


def errors(ds: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """(forward, backward): relative errors of the signals at each layer, (config, seed, layer), with SAFETY."""
    dtypes, widths = ds["dtype"].values.astype(str), widths_of(ds)
    own = np.array([max(UNIT * w**0.5, HALVES.get(d, 0.0)) for d, w in zip(dtypes, widths, strict=True)])[:, None, None]
    gain = (ds["gradient_log10_mean_square"] + ds["preactivation_log10_mean_square"]).transpose(
        "config", "seed", "layer"
    )
    known = np.isfinite(gain.values)
    never = ~known.any(axis=-1, keepdims=True)  # without gradients errors are taken to stay as they are
    logs = np.where(known, gain.values, np.where(never, 0.0, -np.inf)) * np.log(10)
    known = known | never
    reached = np.logaddexp.accumulate(logs, axis=-1)
    with np.errstate(over="ignore"):
        forward = own * np.exp(np.subtract(reached, logs, out=np.zeros(logs.shape), where=known) / 2)
    steps = own**2 + np.minimum(forward, 1.0) ** 2
    backward = np.sqrt(np.cumsum(steps[..., ::-1], axis=-1)[..., ::-1])
    return gain.copy(data=SAFETY * forward), gain.copy(data=SAFETY * backward)


def of_statistic(ds: xr.Dataset, name: str, relative: xr.DataArray) -> xr.DataArray:
    """The tolerance of a statistic of signals with a relative error."""
    bound = relative.where(relative < LOST, np.inf)
    if name.endswith(EXACT_ZEROS):
        return xr.full_like(relative, np.inf)
    if "log10" in name:
        square = name.replace("_var", "_mean_square")
        if square == name or square not in ds:
            return bound * (2 / np.log(10))
        return bound * (2 / np.log(10)) * lost_digits(ds[square] - ds[name])  # what is left of a large mean
    if any(word in name for word in ("fraction", "share", "density")):
        return bound + xr.DataArray(COUNTS / np.array(widths_of(ds)), dims="config")
    return 4 * bound


def is_spectrum(ds: xr.Dataset, name: str) -> bool:
    """Whether a variable tells singular values of Jacobians."""
    return "jacobian" in name and "theory" not in name and "jacobian_log10_max" in ds


def of_spectrum(ds: xr.Dataset, name: str, relative: xr.DataArray) -> xr.DataArray:
    """The tolerance of singular values: an error is relative to the largest one."""
    kind = "partial_jacobian" if name.startswith("partial") else "jacobian"
    largest, value = ds[f"{kind}_log10_max"], ds[name]
    if "layer" not in value.dims:
        largest, relative = largest.max("layer"), relative.max("layer")
    if name.endswith("condition"):
        value = ds[f"{kind}_log10_min"]
    error = relative * lost_digits(largest - value / (2 if name.endswith("_mean_square") else 1))
    return (error * (2 / np.log(10))).where(error < LOST, np.inf)


def lost_digits(decades: xr.DataArray) -> xr.DataArray:
    """What a relative error is multiplied by, where so many decades cancel."""
    return 10.0 ** decades.fillna(0.0).clip(0, 300)


def widths_of(ds: xr.Dataset) -> list[int]:
    """The largest width of each stack, also of a profile such as 784-512-256; of models, without any, a usual one."""
    return [max(int(part) for part in str(width).split("-")) or USUAL for width in ds["width"].values]
