"""The call form, in which options name things with parameters: `he_normal,normal(std=0.01),leaky_relu(0.1)`.

    items   item, item, ...                    a comma inside parentheses does not split
    item    name   or   name(value, ...)   or   name(keyword=value, ...)
    value   arithmetic | true | false | a word | a range LO:HI:N or LO:HI:Nlog

A name is a registered one or the user's own code (`mine.py:swishy`, `pkg.mod:name`). What a parameter accepts is
known to the registry that owns the name, not here: a positional value is kept under the empty keyword, and an
identifier that is also a variable of expressions (`mode=fan_in`) is kept as the Expression with that text.
"""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, overload

from varprobe.errors import InvalidArgumentError
from varprobe.spec.expressions import VARIABLES, Expression, number_text, parse_expression

__all__ = ["Call", "Value", "parse_calls", "parse_numbers", "split_items"]

Value = Expression | bool | str

MAX_VALUES = 100_000
MAX_TERMS = 1000
"""Of a geometric sequence."""

ELLIPSES = ("...", "\u2026")


@dataclass(frozen=True)
class Call:
    """One name with the parameters that were given; `str` of it is the canonical form.

    Attributes:
        name: the name as written, not looked up.
        args: (keyword, value) in the order written; the keyword of a positional value is "".
    """

    name: str
    args: tuple[tuple[str, Value], ...] = ()

    def __str__(self) -> str:
        if not self.args:
            return self.name
        return f"{self.name}({','.join(f'{key}={_text(v)}' if key else _text(v) for key, v in self.args)})"


def split_items(text: str) -> list[str]:
    """The items of a comma list, without the spaces around them.

    Raises:
        InvalidArgumentError: an item is empty or a parenthesis has no partner; the message says where.
    """
    items, start, opened = [], 0, []
    for at, character in enumerate(text):
        if character == "(":
            opened.append(at)
        elif character == ")":
            if not opened:
                raise InvalidArgumentError(f"')' at character {at + 1} of {text!r} closes nothing")
            opened.pop()
        elif character == "," and not opened:
            items.append(text[start:at].strip())
            start = at + 1
    if opened:
        raise InvalidArgumentError(f"'(' at character {opened[-1] + 1} of {text!r} is never closed")
    items.append(text[start:].strip())
    if "" in items:
        raise InvalidArgumentError(f"item {items.index('') + 1} of {text!r} is empty")
    return items


def parse_calls(text: str) -> list[Call]:
    """The call that one item spells, or one call for every combination of the values of its ranges.

    Of several ranges the first varies slowest.

    Raises:
        InvalidArgumentError: `text` is not one item of the grammar above, or its ranges combine to more than 100000
            calls.
    """
    items = split_items(text)
    if len(items) > 1:
        raise InvalidArgumentError(f"{text!r} is a list where one item is expected")
    name, parenthesis, rest = items[0].partition("(")
    name, rest = name.strip(), rest.strip()
    # A path may hold anything printable; a registered name may not, or a missing comma would pass for one.
    if not name.isprintable() or not re.fullmatch(r"[\w.-]+" if ":" not in name else r"[^()]+", name):
        raise InvalidArgumentError(
            f"{text!r} does not start with a name (examples: tanh, leaky_relu(0.1), mine.py:swishy)"
        )
    if not parenthesis:
        return [Call(name)]
    if not rest.endswith(")"):
        raise InvalidArgumentError(f"{text!r} goes on after its closing parenthesis")
    parameters = rest[:-1].strip()
    arguments = [_argument(item, text) for item in split_items(parameters)] if parameters else []
    keys = [key for key, _ in arguments]
    for at, key in enumerate(keys):
        if key and key in keys[:at]:
            raise InvalidArgumentError(f"{key!r} is given twice in {text!r}")
        if not key and any(keys[:at]):
            raise InvalidArgumentError(f"a value without its keyword follows one with a keyword in {text!r}")
    count = math.prod(len(values) for _, values in arguments)
    if count > MAX_VALUES:
        raise InvalidArgumentError(f"the ranges of {text!r} combine to {count} values (at most {MAX_VALUES})")
    combinations = itertools.product(*(values for _, values in arguments))
    return [Call(name, tuple(zip(keys, values, strict=True))) for values in combinations]


def _argument(item: str, text: str) -> tuple[str, Sequence[Value]]:
    """The keyword of one argument ("" where there is none) and its values, several for a range."""
    before, equals, after = item.partition("=")
    key, value = (before.strip(), after.strip()) if equals else ("", item)
    if equals and not key.isidentifier():
        raise InvalidArgumentError(f"{key!r} in {text!r} is not a parameter's name")
    if not value:
        raise InvalidArgumentError(f"{key!r} has no value in {text!r}")
    if ":" in value:
        return key, [Expression(number_text(v)) for v in _range(value)]
    if value.lower() in ("true", "false"):
        return key, [value.lower() == "true"]
    if value.isidentifier() and value not in VARIABLES:
        return key, [value]
    return key, [parse_expression(value)]


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@overload
def parse_numbers(
    value: object, option: str, *, integer: Literal[True], low: float | None = None, high: float | None = None
) -> list[int]: ...
@overload
def parse_numbers(
    value: object, option: str, *, integer: Literal[False], low: float | None = None, high: float | None = None
) -> list[float]: ...
def parse_numbers(
    value: object, option: str, *, integer: bool, low: float | None = None, high: float | None = None
) -> list[int] | list[float]:
    """The numbers that an option names, in the order given, each once.

    Args:
        value: a number; text such as `10,50`, `10:100:10`, `64:1024:5log` or `64,128,...,1024`; or a list, tuple, range
            or array of these.
        option: the option's name, for the error.
        integer: whether they must be whole; the values of a range are then rounded.
        low: the least value allowed.
        high: the greatest value allowed.

    Raises:
        InvalidArgumentError: a value is not a finite number, not whole or out of bounds, or there are none.
    """
    try:
        numbers = [_converted(number, integer) for number in _numbers(value, integer)]
        for number in numbers:
            if (low is not None and number < low) or (high is not None and number > high):
                raise InvalidArgumentError(f"{number} is out of range (allowed: {_bounds(low, high)})")
    except InvalidArgumentError as error:
        raise error.at(option) from None
    if not numbers:
        raise InvalidArgumentError("the list is empty", option)
    return list(dict.fromkeys(numbers))


def _bounds(low: float | None, high: float | None) -> str:
    if high is None or low is None:
        return f"at least {low:g}" if low is not None else f"at most {high:g}"
    return f"{low:g} to {high:g}"


def _numbers(value: object, integer: bool) -> list[int | float]:
    """The numbers of an option's value, still unchecked but for being numbers."""
    value = value.tolist() if hasattr(value, "tolist") else value  # arrays and their scalars, of any library
    if isinstance(value, bool):
        raise InvalidArgumentError(f"{value} is not a number")
    if isinstance(value, int | float):
        return [value]
    if isinstance(value, str):
        items = split_items(value)
        if len(items) > 1:
            return _joined(items, integer)
        return _range(value, integer) if ":" in value else [_number(value)]
    if isinstance(value, list | tuple | range) and not any(isinstance(item, list | tuple | range) for item in value):
        return _joined(value, integer)
    raise InvalidArgumentError(f"{value!r} is not a number or a list of numbers")


def _joined(items: Sequence[object], integer: bool) -> list[int | float]:
    """The numbers of a list, and those that `...` in it stands for."""
    found: list[int | float] = []
    dots = False
    for item in items:
        if item is ... or (isinstance(item, str) and item.strip() in ELLIPSES):
            if dots or len(found) < 2:
                raise InvalidArgumentError(
                    "'...' must have two numbers before it and one behind, as in 64,128,...,4096"
                )
            dots = True
            continue
        following = _numbers(item, integer)
        found += _between(found[-2], found[-1], following[0]) if dots else []
        found += following
        dots = False
    if dots:
        raise InvalidArgumentError("'...' must have two numbers before it and one behind, as in 64,128,...,4096")
    return found


def _between(first: float, second: float, last: float) -> list[int | float]:
    """What goes on between `second` and `last` as from `first` to `second`: a ratio if it ends there, else a step."""
    if not all(map(math.isfinite, (first, second, last))):
        raise InvalidArgumentError("'...' stands between finite numbers")
    a, b, end = (Fraction(repr(number)) for number in (first, second, last))
    if a and b / a > 0 and b != a and end / b > 0:
        count = round(math.log(end / b) / math.log(b / a))
        if 0 < count <= MAX_TERMS and b * (b / a) ** count == end:
            return [_plain(b * (b / a) ** i) for i in range(1, count)]
    steps = (end - b) / (b - a) if b != a else Fraction(0)
    if steps.denominator > 1 or not 0 < steps <= MAX_VALUES:
        raise InvalidArgumentError(
            f"{first:g},{second:g},...,{last:g} goes on neither by a ratio nor by a step that ends there"
        )
    return [_plain(b + (b - a) * i) for i in range(1, int(steps))]


def _plain(number: Fraction) -> int | float:
    """As an int where it is whole."""
    return int(number) if number.denominator == 1 else float(number)


def _number(text: str) -> int | float:
    """One number, perhaps written as arithmetic (`1/64`)."""
    text = text.strip()
    for read in (int, float, lambda text: parse_expression(text).evaluate()):  # an int holds more digits than a float
        try:
            return read(text)
        except ValueError:  # of which InvalidArgumentError is one
            continue
    raise InvalidArgumentError(f"{text!r} is not a number")


def _converted(number: int | float, integer: bool) -> int | float:
    """`number` as the kind that is asked for."""
    try:
        if not math.isfinite(number):
            raise InvalidArgumentError(f"{number} is not a finite number")
    except OverflowError:
        raise InvalidArgumentError("a number is beyond the range of float64") from None
    if integer and number != int(number):
        raise InvalidArgumentError(f"{number} is not a whole number")
    return int(number) if integer else float(number)


def _range(text: str, integer: bool = False) -> list[float]:
    """The values of LO:HI:N or LO:HI:Nlog, both ends included, to 12 digits or to whole numbers."""
    parts = text.split(":")
    if len(parts) != 3:
        raise InvalidArgumentError(f"{text!r} is not a range (LO:HI:N, or LO:HI:Nlog for even steps of the logarithm)")
    low, high = (float(_converted(_number(part), integer)) for part in parts[:2])
    count = re.fullmatch(r"([0-9]{1,9})(log)?", parts[2].strip())
    steps = int(count[1]) if count else 0
    if not count or steps > MAX_VALUES or steps < (1 if low == high else 2):
        raise InvalidArgumentError(
            f"the range {text!r} must end in a whole number from 2 to {MAX_VALUES}, or in one and log"
        )
    if low > high:
        raise InvalidArgumentError(f"the range {text!r} runs backwards; the lower end comes first")
    if count[2] and low <= 0:
        raise InvalidArgumentError(f"the range {text!r} is logarithmic; its lower end must be above 0")
    if low == high:
        values = [low]
    elif count[2]:
        at, width = math.log10(low), math.log10(high) - math.log10(low)
        values = [low, *(10 ** (at + width * i / (steps - 1)) for i in range(1, steps - 1)), high]
    else:  # in whole multiples of a fraction of the decimals as written: -0.1:0.3:5 has a zero, not 1e-17
        first, step = Fraction(repr(low)), (Fraction(repr(high)) - Fraction(repr(low))) / (steps - 1)
        unit = math.lcm(first.denominator, step.denominator)
        start, stride = int(first * unit), int(step * unit)
        values = [(start + i * stride) / unit for i in range(steps)]
    rounded = [float(round(value)) if integer else float(f"{value:.12g}") for value in values]
    return list(dict.fromkeys(rounded))
