"""What a sweep was given, as JSON from which it can be made again."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from varprobe.spec.calls import Call

__all__ = ["UnrepeatableError", "repeatable", "text_or_number"]

MOST_NESTED = 8
"""Lists within each other that are written down."""

ARRAYS = ("data", "labels")
"""Arguments whose arrays are not written out."""


class UnrepeatableError(Exception):
    """A value cannot be written down; the message says which and why."""


def repeatable(arguments: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """(the arguments as JSON, empty), or (None, why they cannot be written down).

    Nothing is consumed, called or imported.
    """
    try:
        return {name: text_or_number(name, value) for name, value in arguments.items()}, ""
    except UnrepeatableError as error:
        return None, str(error)


def text_or_number(name: str, value: Any, depth: int = 0) -> Any:
    """A value that JSON can hold and that means the same; raises UnrepeatableError."""
    if depth > MOST_NESTED:
        raise UnrepeatableError(f"{name} has lists within lists")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.bool_ | np.number):
        return value.item()
    if isinstance(value, Call):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple | range):
        if name in ARRAYS:
            raise UnrepeatableError(f"{name} is a list, not a file")
        return [text_or_number(name, item, depth + 1) for item in value]
    if hasattr(value, "tolist") and hasattr(value, "shape") and not isinstance(value, type):
        if name in ARRAYS:
            raise UnrepeatableError(f"{name} is an array, not a file")
        return text_or_number(name, value.tolist(), depth + 1)
    if callable(value) or isinstance(value, Mapping):
        raise UnrepeatableError(f"{name} is a function or a block that was given in Python, not as FILE.py:NAME")
    raise UnrepeatableError(f"{name} is of type {type(value).__name__}")
