"""Parts of a pytree and how their places are written."""

from collections.abc import Iterator
from typing import Any

import jax

__all__ = ["children_of", "parts_of", "slashed"]


def slashed(path: Any) -> str:
    """`blocks/0/kernel`, of a path of jax.tree_util's; empty for a pytree that is a leaf."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def parts_of(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, part) of every part of a pytree, the whole first; a dict's in its own order, which jax does not keep."""
    yield path, tree
    for name, child in children_of(tree):
        yield from parts_of(child, "/".join(filter(None, (path, name))))


def children_of(tree: Any) -> list[tuple[str, Any]]:
    """(name, child) of the parts that a pytree holds directly; none in a leaf."""
    if isinstance(tree, dict):
        return [(str(name), child) for name, child in tree.items()]
    found = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda part: part is not tree)[0]
    return [(slashed(path), child) for path, child in found if path]
