"""Arguments that mean the same in every public function, checked before the function begins."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from varprobe.errors import InvalidArgumentError, short_repr
from varprobe.spec.arguments import yes_or_no

__all__ = ["checks_types"]

P = ParamSpec("P")
R = TypeVar("R")


def require_progress(option: str, value: Any) -> None:
    """Refuse what cannot be shown progress."""
    if value is not None and not all(callable(getattr(value, name, None)) for name in ("start", "advance", "note")):
        raise InvalidArgumentError(f"{short_repr(value)} has no methods start, advance and note", option)


def require_labels(option: str, value: Any) -> None:
    """Refuse what does not map names to labels."""
    if value is None or (isinstance(value, Mapping) and all(isinstance(x, str) for x in (*value, *value.values()))):
        return
    raise InvalidArgumentError(f'{short_repr(value)} does not map names to labels, as {{"he_normal": "He"}}', option)


def require_callable(option: str, value: Any) -> None:
    """Refuse what is not a function."""
    if not callable(value):
        raise InvalidArgumentError(f"{short_repr(value)} is not a function", option)


def require_axes(option: str, value: Any) -> None:
    """Refuse what cannot be drawn in."""
    from matplotlib.axes import Axes

    if value is not None and (not isinstance(value, Axes) or value.name != "rectilinear"):
        text = f"{short_repr(value)} is not a pair of matplotlib axes, such as pyplot.subplots()[1]"
        raise InvalidArgumentError(text, option)


CHECKS: dict[str, Callable[[str, Any], None]] = {
    "ax": require_axes,
    "progress": require_progress,
    "labels": require_labels,
    "advance": require_callable,
    "note": require_callable,
}
"""Name of an argument -> what refuses a wrong value of it. One whose default is True or False takes only these."""


def checks_types(function: Callable[P, R]) -> Callable[P, R]:
    """Check the arguments in `CHECKS` and the flags of a function before it is called.

    Raises:
        InvalidArgumentError: one has a wrong type; the message names it. Or one has lists within each other, deeper
            than Python's functions may call each other.
    """
    signature = inspect.signature(function)
    checks = {name: CHECKS[name] for name in signature.parameters if name in CHECKS}
    checks |= {name: yes_or_no for name, p in signature.parameters.items() if isinstance(p.default, bool)}

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs).arguments if checks else {}
        for name, check in checks.items():
            if name in given:
                check(name, given[name])
        try:
            return function(*args, **kwargs)
        except RecursionError as error:
            raise InvalidArgumentError("an argument has too many lists within each other") from error

    return cast("Callable[P, R]", call)
