"""The two ways in which a run can fail, by its request or by the machine, and the lookup that names near misses."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

__all__ = [
    "MachineError",
    "InvalidArgumentError",
    "short_repr",
    "did_you_mean",
    "first_line",
    "lookup",
    "printable",
    "require_name",
]

T = TypeVar("T")

LONGEST, BRIEF = 800, 80
"""Characters of a message, and of a value in it."""


class InvalidArgumentError(ValueError):
    """The request cannot be carried out as it stands (exit code 2).

    The message is one line: the value, what is allowed, and the nearest right spelling. `option` is the
    name of the argument that holds the value, as in Python (`init_first`); the command prints it as `--init-first`.
    """

    def __init__(self, message: str, option: str | None = None) -> None:
        self.option = option
        self.message = shortened(" ".join(message.split()))
        super().__init__(f"{option}: {self.message}" if option else self.message)

    def __reduce__(self) -> tuple[type, tuple[str, str | None]]:
        return InvalidArgumentError, (self.message, self.option)

    def at(self, option: str) -> "InvalidArgumentError":
        """This error, naming `option` unless a more precise one was named where it was raised."""
        return self if self.option else InvalidArgumentError(self.message, option)


class MachineError(RuntimeError):
    """The request was right and the machine could not do it: disk, memory or device (exit code 3)."""


def shortened(text: str) -> str:
    """A line of at most `LONGEST` characters, its middle left out: what is allowed is at the end."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


def short_repr(value: object) -> str:
    """A value for messages: its repr, or its type if that is long or fails."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = ""
    return text if 0 < len(text) <= BRIEF else f"a {type(value).__name__}"


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


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
    """`registry[name]`, or an InvalidArgumentError that says what was meant and where all names are listed."""
    if isinstance(name, str) and name in registry:
        return registry[name]
    raise InvalidArgumentError(f"unknown {what} {name!r}{did_you_mean(name, registry, see)}")


def require_name(name: str, names: Iterable[str]) -> None:
    """Refuse a label for what is nowhere in a run; numbers are not offered as what was meant."""
    names = list(names)
    if name not in names:
        words = [n for n in names if not n.isdecimal()]
        raise InvalidArgumentError(f"nothing in this run is called {name!r}{did_you_mean(name, words)}", "label")


def printable(text: str) -> str:
    """The text with everything escaped that could move a terminal's cursor, change its colors or deceive the eye."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
