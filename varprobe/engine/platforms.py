"""Code that differs by platform: what suits a CPU need not suit an accelerator."""

from collections.abc import Callable
from typing import Any

from jax import lax
from jax.extend.backend import backends

__all__ = ["by_platform"]


def by_platform(x: Any, *, cpu: Callable[[Any], Any], default: Callable[[Any], Any]) -> Any:
    """cpu(x) or default(x), as the platform says that the program is compiled for.

    As `lax.platform_dependent`, which traces both; where jax knows no platform but the CPU, only `cpu` is traced.
    """
    return cpu(x) if set(backends()) == {"cpu"} else lax.platform_dependent(x, cpu=cpu, default=default)
