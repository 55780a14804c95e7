"""A sample of scripts/fuzz.py: whatever a parser is fed with, it answers, or says in one line what is wrong."""

import random
from pathlib import Path

import fuzz
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from varprobe.errors import InvalidArgumentError

EXAMPLES = {
    "calls": 300,
    "expressions": 400,
    "numbers": 400,
    "texts": 150,
    "labels": 150,
    "commands": 100,
    "specs": 150,
    "shares": 150,
    "memory": 100,
}
EXAMPLES |= {"data": 150, "runs": 25, "figures": 40}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("VARPROBE_TRACEBACK", raising=False)
        yield fuzz.Place(Path(folder))


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_result_or_one_line(place, name):
    make, read, _ = fuzz.targets(place)[name]

    @settings(max_examples=EXAMPLES[name], deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.integers(0, 2**40))
    def sample(number):
        assert not fuzz.fault_of(read, make(random.Random(number)))

    sample()


def test_every_target_has_its_share(place):
    assert set(fuzz.targets(place)) == set(EXAMPLES)
    counts, faults = fuzz.fuzz(place, 40, only="expressions")
    assert counts == {"expressions": 40} and not faults


def test_inputs_reach_what_is_behind_the_parsers(place):
    """Enough of them are right: a fuzzer that is always refused at the door finds nothing."""
    for name, least in (("expressions", 0.3), ("numbers", 0.3), ("data", 0.15), ("runs", 0.15), ("figures", 0.3)):
        make, read, _ = fuzz.targets(place)[name]
        count = {"runs": 30}.get(name, 100)
        right = sum(accepted(read, make(random.Random(number))) for number in range(count))
        assert least < right / count < 0.97, name


def accepted(read, made):
    try:
        read(made)
    except InvalidArgumentError:
        return False
    return True


def raises(error):
    def read(made):
        raise error

    return read


def test_a_fault_is_told():
    assert "KeyError: 'x'" in fuzz.fault_of(raises(KeyError("x")), "input")
    assert "AssertionError" in fuzz.fault_of(raises(AssertionError()), "input")
    assert fuzz.fault_of(raises(InvalidArgumentError("one line")), "input") == ""
    assert fuzz.fault_of(lambda made: made, "input") == ""


def test_the_same_number_makes_the_same_input(place):
    for name, (make, _, _) in fuzz.targets(place).items():
        assert repr(make(random.Random(7))) == repr(make(random.Random(7))), name
