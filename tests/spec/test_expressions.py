"""Expressions: exact values in float64, the canonical text, and one line for everything that is not one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varprobe.errors import InvalidArgumentError
from varprobe.spec.expressions import VARIABLES, Expression, number_text, parse_expression

SHAPE = dict(fan_in=64, fan_out=256, width=512, depth=50, layer=3)


@pytest.mark.parametrize(
    "text, value",
    [
        ("0.02", 0.02),
        ("-3", -3.0),
        ("+5", 5.0),
        ("2+3*4", 14.0),
        ("(2+3)*4", 20.0),
        ("2**3**2", 512.0),
        ("-2**2", -4.0),
        ("7/2", 3.5),
        ("10**-2", 0.01),
        ("0**0", 1.0),
        ("sqrt(2/fan_in)", math.sqrt(2 / 64)),
        ("1/sqrt(fan_in+fan_out)", 1 / math.sqrt(320)),
        ("sqrt(sqrt(16))", 2.0),
        ("1/layer", 1 / 3),
        ("width*depth-1", 25599.0),
        ("1e-3 * fan_in", 1e-3 * 64),
        ("9007199254740993", 9007199254740992.0),  # float64, not an integer of any size
    ],
)
def test_value(text: str, value: float) -> None:
    result = parse_expression(text).evaluate(**SHAPE)
    assert type(result) is float
    assert result == value


@pytest.mark.parametrize(
    "written, text",
    [
        ("1.0", "1"),
        ("0.010", "0.01"),
        ("1e-3", "0.001"),
        (" 1E2 ", "100"),
        ("-0.50", "-0.5"),
        ("-0.0", "0"),
        ("+2", "2"),
        ("(1.0)", "1"),
        ("1_000", "1000"),
        ("1e22", "1e+22"),
        ("sqrt( 2.0 / fan_in )", "sqrt(2.0/fan_in)"),
        ("1.0\t* width", "1.0*width"),
        ("--1", "--1"),
        ("fan_in", "fan_in"),
    ],
)
def test_text(written: str, text: str) -> None:
    expression = parse_expression(written)
    assert expression.text == str(expression) == text
    assert parse_expression(text) == expression == Expression(text)


def test_names_and_constant() -> None:
    formula = parse_expression("sqrt(6/(fan_in+fan_out))")
    assert formula.names == {"fan_in", "fan_out"}
    assert not formula.constant
    assert parse_expression("sqrt(2)/3").names == frozenset()
    assert parse_expression("sqrt(2)/3").constant


@pytest.mark.parametrize(
    "text, message",
    [
        ("fanin", "unknown name 'fanin' in 'fanin'; did you mean 'fan_in'?"),
        ("1/x", "unknown name 'x' in '1/x' (allowed: fan_in, fan_out, width, depth, layer)"),
        ("exp(1)", "unknown function 'exp' in 'exp(1)' (allowed: sqrt)"),
        ("sqr(2)", "unknown function 'sqr' in 'sqr(2)'; did you mean 'sqrt'?"),
        ("sqrt", "sqrt in 'sqrt' needs its argument in parentheses"),
        ("2^3", "'^' is not allowed in '2^3' (a power is written **)"),
        ("1,2", "',' is not allowed in '1,2'"),
        ("7//2", "'7//2' may hold only numbers"),
        ("sqrt()", "'sqrt()' may hold only numbers"),
        ("sqrt(*width)", "'sqrt(*width)' may hold only numbers"),
        ("(1)(2)", "'(1)(2)' may hold only numbers"),
        ("width.real", "'width.real' may hold only numbers"),
        ("1 if 2 else 3", "'1 if 2 else 3' may hold only numbers"),
        ("1or 2", "'1or 2' is not an expression"),
        ("True", "'True' may hold only numbers"),
        ("...", "'...' may hold only numbers"),
        ("1j", "'1j' may hold only numbers"),
        ("", "'' is not an expression (example: sqrt(2/fan_in))"),
        ("1 2", "'1 2' is not an expression"),
        ("(1", "'(1' is not an expression"),
        ("1e999", "'1e999' holds a number beyond the range of float64"),
        ("1 # x", "'#' is not allowed"),
        ("1\n", "'\\n' is not allowed"),
        ("__import__('os')", '"\'" is not allowed'),
        ("1" * 201, "is longer than 200 characters"),
        ("-" * 150 + "1", "is nested deeper than 50 levels"),
        ("(" * 190 + "1", "is not an expression"),
    ],
)
def test_not_an_expression(text: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_expression(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("1/0", "'1/0' divides by zero"),
        ("0**-1", "'0**-1' divides by zero"),
        ("1/(fan_in-64)", "'1/(fan_in-64)' divides by zero at fan_in=64"),
        ("sqrt(fan_in-fan_out)", "'sqrt(fan_in-fan_out)' takes a root of a negative number at fan_in=64, fan_out=256"),
        ("(-8)**(1/3)", "'(-8)**(1/3)' takes a root of a negative number"),
        ("9**9**9**9", "'9**9**9**9' is not finite"),  # hangs in whole numbers
        ("1e308*10", "'1e308*10' is not finite"),
        ("1/(1e308*10)", "'1/(1e308*10)' is not finite"),  # 0 if infinity passed on the way
    ],
)
def test_no_value(text: str, message: str) -> None:
    expression = parse_expression(text)
    with pytest.raises(InvalidArgumentError) as caught:
        expression.evaluate(**SHAPE)
    assert str(caught.value) == message


def test_missing_variable() -> None:
    with pytest.raises(InvalidArgumentError, match="^'1/layer' needs layer, which has no value here$"):
        parse_expression("1/layer").evaluate(fan_in=1)


@given(st.text(max_size=30) | st.text("0123456789.e+-*/() sqrtfan_inx", max_size=30))
def test_any_text(text: str) -> None:
    try:
        expression = parse_expression(text)
        assert parse_expression(expression.text) == expression
        assert math.isfinite(expression.evaluate(**SHAPE))
    except InvalidArgumentError as error:
        assert "\n" not in str(error)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_round_trip(number: float) -> None:
    expression = parse_expression(number_text(number))
    assert expression.text == number_text(number)
    assert expression.evaluate() == number


FORMULAS = st.recursive(
    st.sampled_from(VARIABLES) | st.integers(0, 99).map(str),
    lambda inner: st.builds("({}{}{})".format, inner, st.sampled_from("+-*"), inner) | inner.map("sqrt({}*1)".format),
    max_leaves=6,
)


@given(FORMULAS)
def test_same_value_as_python(text: str) -> None:
    try:
        expected = eval(text, {"sqrt": math.sqrt}, {name: float(value) for name, value in SHAPE.items()})
    except ValueError:
        expected = None
    try:
        assert parse_expression(text).evaluate(**SHAPE) == expected
    except InvalidArgumentError as error:
        assert expected is None and "negative" in str(error)
