"""The parameters of a call form whose name is an architecture, a norm or another part of a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from varprobe.errors import InvalidArgumentError, did_you_mean
from varprobe.spec.calls import Call, Value
from varprobe.spec.expressions import Expression, number_text

__all__ = ["Parameter", "read_parameters"]


@dataclass(frozen=True)
class Parameter:
    """What a parameter accepts.

    default: its value where it is not given; an Expression's as text. kind: of its values. words: those of a word, or
    the numbers that are allowed where only some are. low, high: bounds of a number, `low` itself excluded with `above`.
    """

    default: Any
    kind: Literal["whole", "number", "word", "flag", "expression"]
    words: tuple[Any, ...] = ()
    low: float = 0
    high: float = float("inf")
    above: bool = False

    @property
    def shown(self) -> str:
        """The values for help, the default first."""
        first = str(self.default).lower()
        if self.kind == "flag":
            return f"{first}|{'false' if self.default else 'true'}"
        return "|".join([first, *(str(w) for w in self.words if str(w) != first)])

    def read(self, spec: Call, name: str, value: Value) -> Any:
        """The value that was given, of the right kind and within bounds.

        Raises:
            InvalidArgumentError: it is not.
        """
        given = value.text if isinstance(value, Expression) else str(value).lower() if value in (True, False) else value
        wrong = InvalidArgumentError(f"{spec}: {name}={given} is not allowed (allowed: {self.allowed})")
        if self.kind == "flag":
            if not isinstance(value, bool):
                raise wrong
            return value
        if self.kind == "word":
            if given not in self.words:
                raise InvalidArgumentError(f"{spec}: unknown {name} {given!r}{did_you_mean(str(given), self.words)}")
            return given
        if not isinstance(value, Expression) or (self.kind != "expression" and not value.constant):
            raise wrong
        if self.kind == "expression":
            return value
        number = value.evaluate()
        if self.kind == "whole" and number != int(number):
            raise wrong
        if self.words and number not in self.words:
            raise wrong
        if not self.low <= number <= self.high or (self.above and number == self.low):
            raise wrong
        return int(number) if self.kind == "whole" else number

    @property
    def allowed(self) -> str:
        """What is accepted, in words."""
        if self.kind == "flag":
            return "true, false"
        if self.words:
            return ", ".join(map(str, self.words))
        if self.kind == "expression":
            return "a number or an expression such as 1/sqrt(depth)"
        what = "whole numbers" if self.kind == "whole" else "numbers"
        start = f"above {number_text(self.low)}" if self.above else f"from {number_text(self.low)}"
        return f"{what} {start}" + (f" to {number_text(self.high)}" if self.high < float("inf") else "")


def read_parameters(spec: Call, name: str, known: Mapping[str, Parameter]) -> tuple[str, dict[str, Any]]:
    """(canonical call form, value of every parameter) of a call; a positional value is taken where there is one.

    Raises:
        InvalidArgumentError: unknown parameter, or a value that it does not take.
    """
    given: dict[str, Any] = {}
    shown: list[tuple[str, Value]] = []
    for key, value in spec.args:
        if not key:
            if len(known) != 1:
                takes = f"takes {', '.join(f'{k}=' for k in known)}" if known else "takes no parameters"
                raise InvalidArgumentError(f"{spec}: a value without a name; {name} {takes}")
            key = next(iter(known))
        if key not in known:
            allowed = did_you_mean(key, known) if known else f" ({name} takes no parameters)"
            raise InvalidArgumentError(f"{spec}: unknown parameter {key!r}{allowed}")
        if key in given:
            raise InvalidArgumentError(f"{spec}: {key!r} is given twice")
        given[key] = known[key].read(spec, key, value)
        shown.append((key, value))
    values = {k: given.get(k, Expression(p.default) if p.kind == "expression" else p.default) for k, p in known.items()}
    return str(Call(name, tuple(shown))), values
