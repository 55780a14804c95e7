"""`varprobe.mark`: a site by hand."""

from typing import Any

import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from varprobe.errors import InvalidArgumentError, short_repr
from varprobe.model.reading import MARK

__all__ = ["mark"]


def mark(name: str, x: Any) -> Any:
    """x, which is a site of this name where the function around it is probed; nothing otherwise.

    Args:
        name: as it shall stand in the dataset.
        x: an array of floats.

    Example:
        h = varprobe.mark("after_mixing", h)
    """
    if not isinstance(name, str) or not name.strip():
        raise InvalidArgumentError(f"{name!r} is no name of a site", "name")
    if not hasattr(x, "dtype") or not jnp.issubdtype(x.dtype, jnp.floating):
        raise InvalidArgumentError(f"{short_repr(x)} is not an array of floats", "x")
    return checkpoint_name(x, MARK + name)
