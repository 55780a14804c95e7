"""Whether a function would be read as before: what it depends on beside its arguments."""

import functools
import inspect
from collections.abc import Sequence
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import jax
import numpy as np

__all__ = ["behind", "unchanged"]

CONSTANT = (FunctionType, BuiltinFunctionType, type, jax.Array, np.ufunc, np.dtype)
"""What stays what it is as long as it is the same object."""

PLAIN = (str, bytes, bool, int, float, complex, type(None), np.generic)
"""What is compared by its value."""


def behind(*things: Any) -> list[Any]:
    """Things, and of the functions among them what they read: their closures and defaults, the globals that they name,
    and what the functions of the same module among these read.
    """
    found: list[Any] = []
    seen: set[int] = set()

    def add(thing: Any) -> None:
        thing = inspect.unwrap(thing) if callable(thing) else thing
        if id(thing) in seen:
            return
        seen.add(id(thing))
        if isinstance(thing, MethodType):
            return add_all(thing.__func__, thing.__self__)
        if isinstance(thing, functools.partial):
            return add_all(thing.func, *thing.args, *thing.keywords.items())
        if isinstance(thing, tuple):
            found.append(type(thing))
            return add_all(*thing)
        found.append(thing)
        if isinstance(thing, FunctionType):
            cells = [cell.cell_contents for cell in thing.__closure__ or () if not is_empty(cell)]
            add_all(*cells, *(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values())
            for name in thing.__code__.co_names:
                if name in thing.__globals__:
                    other = thing.__globals__[name]
                    own = getattr(inspect.unwrap(other) if callable(other) else other, "__globals__", None)
                    if own is None or own is thing.__globals__:
                        add(other)
                    else:
                        found.append(other)

    def add_all(*others: Any) -> None:
        for other in others:
            add(other)

    add_all(*things)
    return found


def is_empty(cell: Any) -> bool:
    """A variable of a closure that has no value yet."""
    try:
        return cell.cell_contents is cell  # never, but reading it may fail
    except ValueError:
        return True


def unchanged(before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Whether two lists of `behind` are of the same; what may have changed in place is not."""
    return len(before) == len(after) and all(map(same, before, after))


def same(a: Any, b: Any) -> bool:
    """Whether one thing is the other, and cannot have changed since."""
    if isinstance(a, PLAIN):
        return type(a) is type(b) and bool(a == b)
    if isinstance(a, ModuleType):  # of one's own, numbers may be set anew
        return a is b and "site-packages" in (getattr(a, "__file__", None) or "site-packages")
    if isinstance(a, jax.tree_util.PyTreeDef):
        return isinstance(b, jax.tree_util.PyTreeDef) and a == b
    frozen = isinstance(a, CONSTANT) or any(t.__module__.startswith("flax.linen") for t in type(a).__mro__)
    return a is b and (frozen or type(a).__module__.startswith(("jax", "jaxlib")))
