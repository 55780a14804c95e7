"""Whether this process can be believed: what the engine takes for granted of a device, and of its first results.

A signal is m * 2^e, so every number rests on exponents that are read off and set exactly, on infinities and NaN that
are seen, and on sums and products of full precision in the order in which they are written. A compiler flag can take
each of these away without an error. They are compared here with what NumPy has, once in a process and for each device.
"""

import os
import threading
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from varprobe.errors import InvalidArgumentError, MachineError
from varprobe.nets.scaled_float import exponent, scale

__all__ = ["check_device", "check_table", "require_settings"]

EXPONENTS = np.arange(-126, 128, dtype=np.int32)
"""Of all normal float32."""

STRANGE = np.array([0, 1, np.inf, -np.inf, np.nan], np.float32)
HUGE = np.array([2**24, 1, 2**30], np.int32)
"""Exponents; no float32 holds their sum."""

WHOLE = np.arange(-128, 128, dtype=np.float32)
FACTORS = np.array([[2047, -2045, 1], [4095, 3, -1], [1, 2049, 2045]], np.float32)
"""Whole numbers of up to 12 bits: sums of three of their products are exact in float32, and in nothing shorter."""

TOLERANCE = 1e-3
"""By which variance + mean^2 may differ from the mean square, in its units; float32 rounds to 1e-6."""

lock = threading.Lock()
sound: set[Any] = set()


SETTINGS = {
    "jax_disable_jit": (False, "only compiled programs can be measured"),
    "jax_numpy_dtype_promotion": ("standard", "its programs mix dtypes"),
    "jax_debug_nans": (False, "a signal that is not finite is a result"),
    "jax_debug_infs": (False, "a signal that is not finite is a result"),
}
"""Setting of jax -> (its value while networks are measured, why)."""


def require_settings() -> None:
    """Refuse settings of jax with which no program of ours can be compiled or run.

    Raises:
        InvalidArgumentError: names the environment variable.
    """
    for name, (value, why) in SETTINGS.items():
        now = getattr(jax.config, name)
        if str(getattr(now, "value", now)).lower() != str(value).lower():
            raise InvalidArgumentError(f"{name.upper()} is {now} and must be {value} for varprobe: {why}")


def check_device(device: Any) -> None:
    """Compare a device with NumPy, the first time that this process asks for it.

    Raises:
        MachineError: it computes something else; the line says what, and where to look.
    """
    with lock:
        if device in sound:
            return
        with jax.enable_x64(False):
            given = jax.device_put((EXPONENTS, STRANGE, HUGE, WHOLE, FACTORS), device)
            found = jax.device_get(jax.jit(computed)(*given))
        for (what, right), answer in zip(expected().items(), found, strict=True):
            if not np.array_equal(answer, right, equal_nan=right.dtype.kind == "f"):
                raise MachineError(f"{device} cannot be trusted: {what}; {where_to_look()}")
        sound.add(device)


def computed(e: Array, strange: Array, huge: Array, whole: Array, factors: Array) -> tuple[Array, ...]:
    """What a device makes of these, in the order of `expected`."""
    powers = scale(jnp.ones((e.size, 1), jnp.float32), e)[:, 0]
    steps = jnp.maximum(strange, 2**24)
    product = jnp.einsum("bu,cu->bc", factors, factors, precision=lax.Precision.HIGHEST)
    return (
        exponent(powers * 1.75),
        powers,
        jnp.isfinite(strange),
        strange - strange,
        (steps + strange) - steps,
        huge[0] + huge[1] + huge[2],
        jnp.square(whole).sum(),
        product,
    )


def expected() -> dict[str, np.ndarray]:
    """What is wrong where a device does not give these values -> the values."""
    return {
        "it misreads the exponent of a float": EXPONENTS,
        "its powers of two are not exact": np.ldexp(np.float32(1), EXPONENTS),
        "it does not see infinities and NaN": np.isfinite(STRANGE),
        "it takes an infinity for a number": np.where(np.isfinite(STRANGE), 0, np.nan),
        "it adds in another order than is written": np.array([0, 0, np.nan, -np.inf, np.nan]),
        "its whole numbers are rounded": HUGE.sum(),
        "its sums of squares are wrong": np.square(WHOLE).sum(),
        "its products of whole numbers are rounded": FACTORS @ FACTORS.T,
    }


def where_to_look() -> str:
    """The settings that make compiled code inexact, as this process has them."""
    flags = os.environ.get("XLA_FLAGS", "").strip()
    return (
        f"look at XLA_FLAGS, which is {flags!r}" if flags else "XLA_FLAGS is not set: its driver or jaxlib is at fault"
    )


def check_table(table: Mapping[str, np.ndarray], overflows: bool) -> None:
    """Refuse the first results of a process where no network can have them.

    The input (layer 0), and of signals with an unbounded exponent the preactivations of layer 1, are finite sums of
    finite numbers: their logs are neither NaN nor inf, -inf only of what is exactly zero, and the variance and the
    square of the mean make up the mean square. Of what comes behind, the user's activation decides.

    Args:
        table: a cell's variables, each (configurations, layers 0 to L).
        overflows: whether signals have only the range of their dtype.

    Raises:
        MachineError: the device has made something else of them.
    """
    for quantity, layer in [("activation", 0), *([] if overflows else [("preactivation", 1)])]:
        names = [f"{quantity}_{statistic}" for statistic in ("log10_mean_square", "log10_var", "log10_absmax")]
        ms, var, absmax = (np.asarray(table[name], np.float64)[:, layer] for name in names)
        odd = next(
            (name for name, logs in zip(names, (ms, var, absmax), strict=True) if not (logs < np.inf).all()), None
        )
        if odd is not None:
            raise MachineError(f"the device's first numbers are not finite: {odd} at layer {layer}; {where_to_look()}")
        there = ms > -np.inf
        share = np.square(table[f"{quantity}_mean_over_rms"][there, layer]) + 10 ** (var[there] - ms[there])
        if not ((absmax > -np.inf) == there).all() or not (np.abs(share - 1) < TOLERANCE).all():
            raise MachineError(
                f"the device's first numbers contradict each other: {quantity}, mean and variance at layer {layer}; "
                f"{where_to_look()}"
            )
