"""Arithmetic as a user writes it in an option: `sqrt(2/fan_in)`, `1/depth`, `0.02`.

The text is parsed by Python's own parser and every node is checked against a short whitelist, so nothing in it
is ever executed. All arithmetic is in float64, where no power takes long, and each step must stay finite.
"""

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from varprobe.errors import InvalidArgumentError, did_you_mean

__all__ = ["VARIABLES", "Expression", "number_text", "parse_expression"]

VARIABLES = ("fan_in", "fan_out", "width", "depth", "layer")
"""The names that an expression may use."""

MAX_CHARACTERS = 200
MAX_LEVELS = 50

BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
UNARY: dict[type[ast.unaryop], Callable[[float], float]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}


@dataclass(frozen=True)
class Expression:
    """A number, or a formula of the layer's shape.

    Attributes:
        text: the expression as written, without whitespace; a plain number in its shortest form, so that
            `1.0` reads `1` and `1e-3` reads `0.001`. Two expressions are equal when their texts are.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def names(self) -> frozenset[str]:
        """The variables that occur in it."""
        return _names(self.text)

    @property
    def constant(self) -> bool:
        """Whether it has the same value everywhere, in every layer of every network."""
        return not self.names

    def evaluate(self, **variables: float) -> float:
        """Its value in float64, with `variables` (more than it needs may be given) in place of the names.

        Raises:
            InvalidArgumentError: a variable that it needs is not given, or it divides by zero, takes a root of a
                negative number, or leaves the range of float64 on the way.
        """
        missing = sorted(self.names - variables.keys())
        if missing:
            raise InvalidArgumentError(f"{self.text!r} needs {', '.join(missing)}, which has no value here")
        given = ", ".join(f"{name}={variables[name]:g}" for name in VARIABLES if name in self.names)
        where = f" at {given}" if given else ""
        try:
            return _value(_tree(self.text), variables)
        except ZeroDivisionError:
            raise InvalidArgumentError(f"{self.text!r} divides by zero{where}") from None
        except OverflowError:
            raise InvalidArgumentError(f"{self.text!r} is not finite{where}") from None
        except ValueError:
            raise InvalidArgumentError(f"{self.text!r} takes a root of a negative number{where}") from None


def parse_expression(text: str) -> Expression:
    """The expression that `text` spells.

    Raises:
        InvalidArgumentError: `text` is empty, longer than 200 characters, nested deeper than 50 levels, or holds
            anything but finite decimal numbers, the names in VARIABLES, sqrt(), + - * / ** and parentheses.
    """
    tree = _tree(text)
    number = _literal(tree)
    return Expression("".join(text.split()) if number is None else number_text(number))


def number_text(value: float) -> str:
    """The shortest text that reads back as `value`: 1.0 is `1`, 0.010 is `0.01`, -0.0 is `0`."""
    return repr(float(value) + 0.0).removesuffix(".0")


@lru_cache(maxsize=4096)
def _names(text: str) -> frozenset[str]:
    """The variables in `text`."""
    return frozenset(n.id for n in ast.walk(_tree(text)) if isinstance(n, ast.Name) and n.id in VARIABLES)


@lru_cache(maxsize=4096)
def _tree(text: str) -> ast.expr:
    """The checked syntax tree of `text`."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidArgumentError(f"{text[:40] + '...'!r} is longer than {MAX_CHARACTERS} characters")
    strange = re.search(r"[^0-9A-Za-z_.+\-*/() \t]", text)
    if strange:
        hint = " (a power is written **)" if strange[0] == "^" else ""
        raise InvalidArgumentError(f"{strange[0]!r} is not allowed in {text!r}{hint}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # `1or 2` is legal Python, with a warning
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise InvalidArgumentError(f"{text!r} is not an expression (example: sqrt(2/fan_in))") from None
    _check(tree, text, 0)
    return tree


def _check(node: ast.expr, text: str, level: int) -> None:
    """Raise unless `node` and all below it are on the whitelist."""
    if level > MAX_LEVELS:
        raise InvalidArgumentError(f"{text!r} is nested deeper than {MAX_LEVELS} levels")
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            if not math.isfinite(value):
                raise InvalidArgumentError(f"{text!r} holds a number beyond the range of float64")
            if value == 0 and re.search(
                "[1-9]", (ast.get_source_segment(text.strip(), node) or "").lower().split("e")[0]
            ):
                raise InvalidArgumentError(f"{text!r} holds a number too small for float64")
        case ast.Name(id="sqrt"):
            raise InvalidArgumentError(f"sqrt in {text!r} needs its argument in parentheses")
        case ast.Name(id=name):
            if name not in VARIABLES:
                raise InvalidArgumentError(f"unknown name {name!r} in {text!r}{did_you_mean(name, VARIABLES)}")
        case ast.UnaryOp(op=op, operand=operand) if type(op) in UNARY:
            _check(operand, text, level + 1)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            _check(left, text, level + 1)
            _check(right, text, level + 1)
        case ast.Call(func=ast.Name(id="sqrt"), args=[argument], keywords=[]):
            _check(argument, text, level + 1)
        case ast.Call(func=ast.Name(id=name)) if name != "sqrt":
            raise InvalidArgumentError(f"unknown function {name!r} in {text!r}{did_you_mean(name, ['sqrt'])}")
        case _:
            raise InvalidArgumentError(
                f"{text!r} may hold only numbers, {', '.join(VARIABLES)}, sqrt(), + - * / ** and ()"
            )


def _value(node: ast.expr, variables: Mapping[str, float]) -> float:
    """The value of a checked tree; an ArithmeticError or ValueError says what went wrong."""
    match node:
        case ast.Constant(value=int() | float() as number):
            value = float(number)
        case ast.Name(id=name):
            value = float(variables[name])
        case ast.UnaryOp(op=op, operand=operand):
            value = UNARY[type(op)](_value(operand, variables))
        case ast.BinOp(left=left, op=op, right=right):
            value = BINARY[type(op)](_value(left, variables), _value(right, variables))
        case ast.Call(args=[argument]):
            value = math.sqrt(_value(argument, variables))
    if isinstance(value, complex):
        raise ValueError
    if not math.isfinite(value):
        raise OverflowError
    return value


def _literal(node: ast.expr) -> float | None:
    """The number that a tree is, if it is a plain one with at most a sign."""
    match node:
        case ast.UnaryOp(op=op, operand=ast.Constant(value=int() | float() as number)):
            return UNARY[type(op)](float(number))
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case _:
            return None
