"""The cost of tests is counted, printed and limited."""

from collections.abc import Callable

import jax
import pytest
from costs import COMPILED, LIMIT, Costs

pytest_plugins = ["pytester"]

TESTS = """
import pytest

@pytest.fixture(scope="module")
def program(event):
    event(COMPILED, LIMIT + 3)

def test_with_a_fixture(program, event):
    event(COMPILED, 2.0)

def test_after_it(program, event):
    event(COMPILED, 1.0)

def test_too_much(event):
    event(COMPILED, LIMIT)
    event(COMPILED, 0.5)

def test_on_a_busy_machine(event):
    event(COMPILED, LIMIT + 1, cpu=LIMIT - 1)

@pytest.mark.exhaustive
def test_all(event):
    event(COMPILED, LIMIT + 1)

def test_nothing(event):
    event("/jax/core/compile/jaxpr_trace_duration", LIMIT + 1)
"""


class Events:
    """Stand-in for jax's events and of the clock: the fixture `event`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.costs = Costs(processor=lambda: self.seconds)

    @pytest.fixture(scope="session")
    def event(self) -> Callable[..., None]:
        def count(event: str, seconds: float, cpu: float | None = None) -> None:
            self.seconds += seconds if cpu is None else cpu
            self.costs.count(event, seconds)

        return count


def test_a_test_that_compiles_too_long_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"COMPILED, LIMIT = {COMPILED!r}, {LIMIT}\n{TESTS}")
    events = Events()
    result = pytester.inline_run("-q", "-o", "markers=exhaustive", plugins=[events.costs, events])
    passed, skipped, failed = result.listoutcomes()
    assert [report.nodeid.partition("::")[2] for report in passed] == [
        "test_with_a_fixture", "test_after_it", "test_on_a_busy_machine", "test_all", "test_nothing"
    ]  # fmt: skip
    assert not skipped
    assert "compiled 2 programs in 10.5 s; the limit is 10 s per test and 30 s for its fixtures" in str(
        failed[0].longrepr
    )
    found = {name.partition("::")[2]: cost[1:] for name, cost in events.costs.tests.items()}
    assert found == {
        "test_with_a_fixture": (LIMIT + 5, 2),
        "test_after_it": (1, 1),
        "test_too_much": (LIMIT + 0.5, 2),
        "test_on_a_busy_machine": (LIMIT + 1, 1),
        "test_all": (LIMIT + 1, 1),
        "test_nothing": (0, 0),
    }


def test_the_summary_has_the_sum_and_the_costliest(pytester: pytest.Pytester, capsys: pytest.CaptureFixture) -> None:
    pytester.makepyfile("\n".join(f"def test_{i}(): pass" for i in range(12)))
    costs = Costs()
    pytester.inline_run("-q", plugins=[costs])
    assert "0 s compiling 0 programs in 12 tests" in capsys.readouterr().out
    costs.tests = {f"test_{i}": (float(i), i / 2, i) for i in range(12)}
    pytester.inline_run("-q", "-k", "none", plugins=[costs])
    lines = capsys.readouterr().out.splitlines()
    assert "33 s compiling 66 programs in 12 tests" in lines
    assert [line.split() for line in lines if "test_" in line] == [
        [f"{i}.0", f"{i / 2:.1f}", str(i), f"test_{i}"] for i in range(11, 1, -1)
    ]


def test_a_program_of_jax_is_counted() -> None:
    costs = Costs()
    jax.jit(lambda x: x * 3 + 17).lower(1.0).compile()
    assert costs.programs == 1
    assert 0 < costs.seconds < 60
