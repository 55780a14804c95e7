"""How the place of a leaf in a pytree is written."""

from typing import Any

import jax

__all__ = ["slashed"]


def slashed(path: Any) -> str:
    """`blocks/0/kernel`, of a path of jax.tree_util's; empty for a pytree that is a leaf."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
