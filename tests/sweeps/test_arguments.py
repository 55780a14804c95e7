"""The arguments of a sweep: one list of names, types, defaults and descriptions, which everything else takes."""

import inspect
import re
from typing import Literal, get_args, get_origin

import pytest

import varprobe as vp
from varprobe.sweeps.arguments import DEFAULTS, TYPES, Integers, SweepArguments, takes_sweep_arguments
from varprobe.sweeps.request import read_request


def test_every_argument_has_one_description_in_the_order_of_the_signature() -> None:
    section = (inspect.getdoc(vp.sweep) or "").partition("Args:\n")[2].partition("\nReturns:")[0]
    found = re.findall(r"^    (\w+): ", section, re.MULTILINE)
    assert found == list(inspect.signature(vp.sweep).parameters)
    assert found[: len(TYPES)] == list(SweepArguments.__annotations__)


def test_types_and_defaults_are_in_the_signature() -> None:
    found = inspect.signature(vp.sweep).parameters
    assert found["width"].annotation == Integers and found["width"].default == 512
    assert found["out"].default is None and found["fresh"].annotation is bool
    assert inspect.signature(read_request).parameters["depth"].annotation == Integers | None


def test_defaults_have_the_types_that_they_are_given() -> None:
    for name, kind in TYPES.items():
        if get_origin(kind) is Literal:
            assert DEFAULTS[name] in get_args(kind), name
        else:
            plain = [part for part in get_args(kind) or [kind] if get_origin(part) is None and isinstance(part, type)]
            assert any(type(DEFAULTS[name]) is part for part in plain), name


def test_a_function_has_the_defaults_and_its_own_arguments() -> None:
    @takes_sweep_arguments
    def function(*, out=None, **grid):
        """Do nothing."""
        return out, grid

    assert function(out="x", seeds=3) == ("x", DEFAULTS | {"seeds": 3})
    assert list(function(depth=2)[1]) == list(DEFAULTS)


@pytest.mark.parametrize(
    "function, name, message",
    [
        (vp.sweep, "dept", "sweep() got an unexpected keyword argument 'dept'. Did you mean 'depth'?"),
        (vp.sweep, "memry", "sweep() got an unexpected keyword argument 'memry'. Did you mean 'memory'?"),
        (vp.sweep, "zzz", "sweep() got an unexpected keyword argument 'zzz'"),
        (read_request, "depht", "read_request() got an unexpected keyword argument 'depht'. Did you mean 'depth'?"),
    ],
)
def test_an_unknown_name(function, name, message) -> None:
    with pytest.raises(TypeError) as caught:
        function(**{name: 3})
    assert str(caught.value) == message


def test_positional_arguments() -> None:
    with pytest.raises(TypeError, match=r"^sweep\(\) takes 0 positional arguments but 1 was given$"):
        vp.sweep(3)  # type: ignore[misc]
