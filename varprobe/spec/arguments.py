"""One argument of a sweep at a time: what the user gave, as the values that it stands for."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from varprobe.errors import InvalidArgumentError, did_you_mean, short_repr
from varprobe.spec.calls import Call, parse_calls, parse_numbers, split_items
from varprobe.spec.expressions import number_text
from varprobe.spec.serialize import MOST_NESTED
from varprobe.spec.user_code import is_block, looks_like_code

__all__ = ["listed", "named", "numbers", "parts_of", "resolved", "single", "word", "yes_or_no"]


MOST_ITEMS = 100_000
"""Values of a list that an argument may have."""


def word(option: str, value: Any, allowed: Sequence[str], what: str = "value") -> str:
    """The value, which must be one of a few words; `what` it is, for the message.

    Raises:
        InvalidArgumentError: it is something else; the message has the nearest word.
    """
    if isinstance(value, str) and value in allowed:
        return value
    near, text = (value, repr(value)) if isinstance(value, str) else (short_repr(value),) * 2
    raise InvalidArgumentError(f"unknown {what} {text}{did_you_mean(near, allowed)}", option)


def yes_or_no(option: str, value: Any) -> None:
    """Refuse what is neither true nor false."""
    if not isinstance(value, bool | np.bool_):
        raise InvalidArgumentError(f"{short_repr(value)} is neither True nor False", option)


def numbers(option: str, value: Any, low: float, high: float | None = None, integer: bool = True) -> list[Any]:
    """The numbers that an option names, each at least `low`; whatever is wrong with them, the message says what is."""
    bounds = f"from {low}" + (f" to {high}" if high is not None else "")
    allowed = f" (allowed: {'whole ' if integer else ''}numbers {bounds})"
    try:
        found: list[Any] = parse_numbers(value, option, integer=True) if integer else floats(value, option)
    except InvalidArgumentError as error:
        more = allowed if "is not a" in error.message and not error.message.endswith(")") else ""
        raise InvalidArgumentError(error.message + more, option) from error
    wrong = next((n for n in found if n < low or (high is not None and n > high)), None)
    if wrong is not None:
        raise InvalidArgumentError(f"{wrong if integer else number_text(wrong)} is out of range{allowed}", option)
    return found


def floats(value: Any, option: str) -> list[float]:
    """Numbers that need not be whole."""
    return parse_numbers(value, option, integer=False)


def single(option: str, value: Any, low: int, high: int | None = None, integer: bool = True) -> Any:
    """One number within bounds."""
    found = numbers(option, value, low, high, integer)
    if len(found) != 1:
        raise InvalidArgumentError(f"takes one number, got {short_repr(value)}", option)
    return found[0]


def named(option: str, read: Callable[[], Any]) -> Any:
    """The result of `read`, its errors naming the option."""
    try:
        return read()
    except InvalidArgumentError as error:
        raise error.at(option) from error


def listed(option: str, value: Any) -> list[Any]:
    """The calls, callables and (label, callable) pairs of a comma list, a {label: callable}, or a list of these."""
    found = named(option, lambda: list(items(value)))
    if not found:
        raise InvalidArgumentError("the list is empty", option)
    return found


def parts_of(value: Any) -> list[Any]:
    """The items of something that can be iterated.

    Raises:
        InvalidArgumentError: it cannot, or has more than `MOST_ITEMS` items.
    """
    try:
        found = list(islice(value, MOST_ITEMS + 1))
    except Exception as error:
        raise InvalidArgumentError(f"takes names or functions, got {short_repr(value)}") from error
    if len(found) > MOST_ITEMS:
        raise InvalidArgumentError(f"takes at most {MOST_ITEMS} values")
    return found


def items(value: Any, depth: int = 0) -> Iterator[Any]:
    """The items of `listed`, one by one."""
    if isinstance(value, str):
        for text in split_items(value):
            yield from parse_calls(text)
    elif isinstance(value, Mapping):
        for label, item in value.items():
            if not (callable(item) or is_block(item)):
                raise InvalidArgumentError(f"{label!r} must map to a function, got {type(item).__name__}")
            yield str(label), item
    elif isinstance(value, Call) or callable(value) or is_block(value):
        yield value
    elif depth > MOST_NESTED:
        raise InvalidArgumentError(f"takes lists that are nested {MOST_NESTED} deep at most")
    elif isinstance(value, Iterable):
        for item in parts_of(value):
            yield from items(item, depth + 1)
    else:
        raise InvalidArgumentError(f"takes names or functions, got {short_repr(value)}")


def resolved(option: str, wanted: list[Any], resolve: Callable[..., Any]) -> list[Any]:
    """The activations or initializers that the items of a list mean, each once.

    Raises:
        InvalidArgumentError: one is wrong, or two different functions have one name.
    """
    found: dict[str, Any] = {}
    for item in wanted:
        if isinstance(item, Call) and looks_like_code(item.name):
            raise InvalidArgumentError(f"{item.name!r} is not of the form FILE.py:NAME or PKG.MOD:NAME", option)
        label, item = item if isinstance(item, tuple) else (None, item)
        one = named(option, partial(resolve, item, label=label))
        other = found.setdefault(one.name, one)
        if other != one and (one.digest is None or one.digest != other.digest):
            raise InvalidArgumentError(
                f'two different functions are called {one.name!r}; label them, as {{"Ours": f}}', option
            )
    return list(found.values())
