"""The call form: items, calls with their canonical text, ranges, and option values that are numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varprobe.errors import InvalidArgumentError
from varprobe.spec.calls import Call, Value, parse_calls, parse_numbers, split_items
from varprobe.spec.expressions import VARIABLES, Expression, parse_expression


def test_split_items() -> None:
    assert split_items("relu") == ["relu"]
    assert split_items(" he_normal , normal(std=0.01, mean=0),uniform(limit=1/sqrt(fan_in+fan_out))") == [
        "he_normal",
        "normal(std=0.01, mean=0)",
        "uniform(limit=1/sqrt(fan_in+fan_out))",
    ]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "item 1 of '' is empty"),
        ("relu,", "item 2 of 'relu,' is empty"),
        ("relu,,tanh", "item 2 of 'relu,,tanh' is empty"),
        (" ,relu", "item 1 of ' ,relu' is empty"),
        ("elu(1", "'(' at character 4 of 'elu(1' is never closed"),
        ("a(b(c)", "'(' at character 2 of 'a(b(c)' is never closed"),
        ("elu)1(", "')' at character 4 of 'elu)1(' closes nothing"),
    ],
)
def test_split_items_refuses(text: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        split_items(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text, name, args, canonical",
    [
        ("relu", "relu", (), "relu"),
        ("relu()", "relu", (), "relu"),
        (" relu ( ) ", "relu", (), "relu"),
        ("leaky_relu(0.10)", "leaky_relu", (("", Expression("0.1")),), "leaky_relu(0.1)"),
        ("normal(std = 1.0)", "normal", (("std", Expression("1")),), "normal(std=1)"),
        ("gelu(approximate=False)", "gelu", (("approximate", False),), "gelu(approximate=false)"),
        ("gelu(true)", "gelu", (("", True),), "gelu(true)"),
        (
            "variance_scaling(scale=2, mode=fan_in, distribution=truncated_normal)",
            "variance_scaling",
            (("scale", Expression("2")), ("mode", Expression("fan_in")), ("distribution", "truncated_normal")),
            "variance_scaling(scale=2,mode=fan_in,distribution=truncated_normal)",
        ),
        ("u(b=2, a=1)", "u", (("b", Expression("2")), ("a", Expression("1"))), "u(b=2,a=1)"),
        ("f(sqrt(2 / fan_in))", "f", (("", Expression("sqrt(2/fan_in)")),), "f(sqrt(2/fan_in))"),
        ("f(1, k=2)", "f", (("", Expression("1")), ("k", Expression("2"))), "f(1,k=2)"),
        ("mine.py:swishy(beta=2)", "mine.py:swishy", (("beta", Expression("2")),), "mine.py:swishy(beta=2)"),
        ("pkg.mod:name", "pkg.mod:name", (), "pkg.mod:name"),
        (r"C:\x y\mine.py:f", r"C:\x y\mine.py:f", (), r"C:\x y\mine.py:f"),
    ],
)
def test_one_call(text: str, name: str, args: tuple, canonical: str) -> None:
    assert parse_calls(text) == [Call(name, args)]
    assert str(Call(name, args)) == canonical
    assert parse_calls(canonical) == [Call(name, args)]


@pytest.mark.parametrize(
    "text, canonical",
    [
        ("elu(0.5:1.5:3)", ["elu(0.5)", "elu(1)", "elu(1.5)"]),
        ("normal(std=0.001:10:5log)", [f"normal(std={v})" for v in ("0.001", "0.01", "0.1", "1", "10")]),
        ("f(a=0:1:2,b=1:100:3log)", [f"f(a={a},b={b})" for a in (0, 1) for b in (1, 10, 100)]),
        ("f(a=0:1:2,mode=fast)", ["f(a=0,mode=fast)", "f(a=1,mode=fast)"]),
        ("f(a=-0.1:0.3:5)", [f"f(a={v})" for v in ("-0.1", "0", "0.1", "0.2", "0.3")]),  # floats give 1.4e-17 for 0
        ("f(a=1/64:1/16:2)", ["f(a=0.015625)", "f(a=0.0625)"]),
        ("f(a=3:3:1)", ["f(a=3)"]),
        ("f(a=3:3:7)", ["f(a=3)"]),
        ("f(a=0:1:4)", ["f(a=0)", "f(a=0.333333333333)", "f(a=0.666666666667)", "f(a=1)"]),
        ("f(a=-1e308:1e308:3)", ["f(a=-1e+308)", "f(a=0)", "f(a=1e+308)"]),
    ],
)
def test_ranges(text: str, canonical: list[str]) -> None:
    calls = parse_calls(text)
    assert [str(call) for call in calls] == canonical
    assert [parse_calls(str(call)) for call in calls] == [[call] for call in calls]


@pytest.mark.parametrize(
    "text, message",
    [
        ("a,b", "'a,b' is a list where one item is expected"),
        ("(1)", "'(1)' does not start with a name (examples: tanh, leaky_relu(0.1), mine.py:swishy)"),
        ("re lu", "'re lu' does not start with a name"),
        ("std=0.1", "'std=0.1' does not start with a name"),
        ("a\x00:b", "does not start with a name"),
        ("f(1)x", "'f(1)x' goes on after its closing parenthesis"),
        ("f(1)(2)", "')' at character 2 of '1)(2' closes nothing"),
        ("f(a=1,a=2)", "'a' is given twice in 'f(a=1,a=2)'"),
        ("f(a=1,2)", "a value without its keyword follows one with a keyword in 'f(a=1,2)'"),
        ("f(a=)", "'a' has no value in 'f(a=)'"),
        ("f(=1)", "'' in 'f(=1)' is not a parameter's name"),
        ("f(1a=1)", "'1a' in 'f(1a=1)' is not a parameter's name"),
        ("f(1,)", "item 2 of '1,' is empty"),
        ("f(a==1)", "'=' is not allowed in '=1'"),
        ("f(a=relu(1))", "unknown function 'relu' in 'relu(1)'"),
        ("f(a=fanin/2)", "did you mean 'fan_in'?"),
        ("f(a=1:2)", "'1:2' is not a range (LO:HI:N, or LO:HI:Nlog for even steps of the logarithm)"),
        ("f(a=2:1:3)", "the range '2:1:3' runs backwards; the lower end comes first"),
        ("f(a=1:2:1)", "the range '1:2:1' must end in a whole number from 2 to 100000, or in one and log"),
        ("f(a=1:2:0)", "must end in a whole number from 2 to 100000"),
        ("f(a=1:1:0)", "must end in a whole number from 2 to 100000"),
        ("f(a=1:2:-3)", "must end in a whole number from 2 to 100000"),
        ("f(a=1:2:2.5)", "must end in a whole number from 2 to 100000"),
        ("f(a=1:2:100001)", "must end in a whole number from 2 to 100000"),
        ("f(a=1:2:3lin)", "must end in a whole number from 2 to 100000"),
        ("f(a=0:1:3log)", "the range '0:1:3log' is logarithmic; its lower end must be above 0"),
        ("f(a=1:inf:3)", "inf is not a finite number"),
        ("f(a=nan:1:3)", "nan is not a finite number"),
        ("f(a=1:fan_in:3)", "'fan_in' is not a number"),
        ("f(a=0:1:400,b=0:1:400)", "the ranges of 'f(a=0:1:400,b=0:1:400)' combine to 160000 values (at most 100000)"),
    ],
)
def test_not_a_call(text: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_calls(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(deadline=None)  # a range may have 100000 values
@given(st.text(max_size=30) | st.text("fab01.:,=()log -/", max_size=30))
def test_any_text(text: str) -> None:
    try:
        calls = parse_calls(text)
    except InvalidArgumentError as error:
        assert "\n" not in str(error)
    else:
        assert calls
        assert [parse_calls(str(call)) for call in calls] == [[call] for call in calls]


KEYS = st.from_regex(r"[a-z][a-z_]{0,5}", fullmatch=True)
WORDS: st.SearchStrategy[Value] = KEYS.filter(lambda word: word not in (*VARIABLES, "true", "false"))
FORMULAS = st.sampled_from(["sqrt(2/fan_in)", "-width**2", "1/(depth+layer)"]) | st.floats(0, 1e9).map(str)
VALUES = WORDS | st.booleans() | FORMULAS.map(parse_expression)
NAMES = KEYS | st.sampled_from(["mine.py:swishy", "pkg.mod:name", r"C:\x\mine.py:f"])
CALLS = st.builds(
    lambda name, positional, named: Call(name, tuple(("", v) for v in positional) + tuple(named.items())),
    NAMES,
    st.lists(VALUES, max_size=2),
    st.dictionaries(KEYS, VALUES, max_size=3),
)


@given(st.lists(CALLS, min_size=1, max_size=4))
def test_canonical_text_round_trips(calls: list[Call]) -> None:
    items = split_items(",".join(map(str, calls)))
    assert [parse_calls(item) for item in items] == [[call] for call in calls]


@pytest.mark.parametrize(
    "value, numbers",
    [
        (10, [10]),
        (10.0, [10]),
        ("10,50", [10, 50]),
        ("10:100:10", [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        ("64:1024:5log", [64, 128, 256, 512, 1024]),
        ("1:2:3", [1, 2]),  # 1.5 rounds to 2
        (" 8 , 4,8", [8, 4]),
        (["10,20", 5, "1:3:3"], [10, 20, 5, 1, 2, 3]),
        ((3, 3, 2), [3, 2]),
        (range(10, 40, 10), [10, 20, 30]),
        (np.array([4, 2]), [4, 2]),
        (np.int64(7), [7]),
        ("1e3", [1000]),
        ("2**10", [1024]),
        ("9007199254740993", [9007199254740993]),
        ("010", [10]),
    ],
)
def test_whole_numbers(value: object, numbers: list[int]) -> None:
    found = parse_numbers(value, "depth", integer=True, low=1)
    assert found == numbers
    assert all(type(number) is int for number in found)


@pytest.mark.parametrize(
    "value, numbers",
    [
        (1, [1.0]),
        ("0.5,2", [0.5, 2.0]),
        ("0:1:3", [0.0, 0.5, 1.0]),
        (np.float32(0.5), [0.5]),
        ("1/64", [1 / 64]),
        ([-0.0, 0.0], [0.0]),
    ],
)
def test_real_numbers(value: object, numbers: list[float]) -> None:
    found = parse_numbers(value, "sigma_w2", integer=False)
    assert found == numbers
    assert all(type(number) is float for number in found)


@pytest.mark.parametrize(
    "value, message",
    [
        ("ten", "depth: 'ten' is not a number"),
        ("", "depth: item 1 of '' is empty"),
        ("1,,2", "depth: item 2 of '1,,2' is empty"),
        ("0", "depth: 0 is out of range (allowed: 1 to 100)"),
        (-3, "depth: -3 is out of range (allowed: 1 to 100)"),
        ("90:110:3", "depth: 110 is out of range (allowed: 1 to 100)"),
        (2.5, "depth: 2.5 is not a whole number"),
        ("1:2.5:2", "depth: 2.5 is not a whole number"),
        ("nan", "depth: nan is not a finite number"),
        (float("inf"), "depth: inf is not a finite number"),
        ("1e400", "depth: inf is not a finite number"),
        (10**400, "depth: a number is beyond the range of float64"),
        ("9" * 400, "depth: a number is beyond the range of float64"),
        ("1/0", "depth: '1/0' is not a number"),
        (True, "depth: True is not a number"),
        (np.True_, "depth: True is not a number"),
        ([1, False], "depth: False is not a number"),
        ([], "depth: the list is empty"),
        (np.array([]), "depth: the list is empty"),
        (None, "depth: None is not a number or a list of numbers"),
        ([[1]], "depth: [[1]] is not a number or a list of numbers"),
        ({1: 2}, "depth: {1: 2} is not a number or a list of numbers"),
        (1j, "depth: 1j is not a number or a list of numbers"),
        ("3:1:2", "depth: the range '3:1:2' runs backwards; the lower end comes first"),
    ],
)
def test_not_numbers(value: object, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_numbers(value, "depth", integer=True, low=1, high=100)
    assert str(caught.value) == message
    assert caught.value.option == "depth"


def test_one_bound() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^batch: 1 is out of range \(allowed: at least 2\)$"):
        parse_numbers(1, "batch", integer=True, low=2)
    with pytest.raises(InvalidArgumentError, match=r"^p: 1.5 is out of range \(allowed: at most 1\)$"):
        parse_numbers(1.5, "p", integer=False, high=1)


@settings(deadline=None)  # a range may have 100000 values
@given(st.text(max_size=20) | st.text("0123456789.:,e-log", max_size=20), st.booleans())
def test_any_text_for_numbers(text: str, integer: bool) -> None:
    try:
        numbers: list = parse_numbers(text, "depth", integer=integer)  # type: ignore[call-overload]
    except InvalidArgumentError as error:
        assert "\n" not in str(error)
    else:
        assert numbers and len(set(numbers)) == len(numbers) and np.isfinite(np.array(numbers, dtype=float)).all()
