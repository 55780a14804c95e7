"""One lookup for everything that has a name, so that every near miss is answered in the same words."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

from varprobe.errors import RequestError

__all__ = ["did_you_mean", "lookup", "printable", "require_name"]

T = TypeVar("T")


def did_you_mean(name: str, known: Iterable[str], see: str = "") -> str:
    """A clause to append to an error: the nearest known name, or all of them where they are few, else where they are.

    Args:
        name: what was typed.
        known: what may be typed.
        see: the command that lists all.
    """
    known = list(map(str, known))
    near = get_close_matches(str(name).lower(), known, n=1, cutoff=0.6)
    clause = f"; did you mean {near[0]!r}?" if near else ""
    if len(known) <= 12:
        return f"{clause} (allowed: {', '.join(known)})"
    return f"{clause} (`{see}` shows all)" if see else clause


def lookup(registry: Mapping[str, T], name: str, what: str, see: str = "") -> T:
    """`registry[name]`, or a RequestError that says what was meant and where all names are listed."""
    if isinstance(name, str) and name in registry:
        return registry[name]
    raise RequestError(f"unknown {what} {name!r}{did_you_mean(name, registry, see)}")


def require_name(name: str, names: Iterable[str]) -> None:
    """Refuse a label for what is nowhere in a run; numbers are not offered as what was meant."""
    names = list(names)
    if name not in names:
        words = [n for n in names if not n.isdecimal()]
        raise RequestError(f"nothing in this run is called {name!r}{did_you_mean(name, words)}", "label")


def printable(text: str) -> str:
    """The text with everything escaped that could move a terminal's cursor, change its colors or deceive the eye."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
