"""What a run was measured on, as far as rounding depends on it, and for those who repeat it."""

import os
import platform
from importlib.metadata import version
from typing import Any

__all__ = ["ROUNDING", "cores", "machine"]

ROUNDING = ("numpy", "system", "processor", "platform", "device", "devices")
"""What of a machine must be the same for the same bits, beside the versions of what computes."""


def machine() -> dict[str, Any]:
    """Python, numpy, operating system, processor, and the devices of jax: platform, kind and number.

    Raises:
        RuntimeError: jax finds no device.
    """
    import jax

    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "platform": devices[0].platform,
        "device": devices[0].device_kind,
        "devices": len(devices),
    }


def processor() -> str:
    """The model of the processor: XLA compiles for its instruction set, which decides how products are rounded."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            name = next((line.partition(":")[2] for line in file if line.startswith("model name")), "")
    except OSError:
        name = ""
    return name.strip() or platform.processor()


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
