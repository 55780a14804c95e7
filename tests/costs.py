"""The cost of the tests: compile seconds and programs of each test, a summary at the end, a limit for each test.

A compile second is a second that jax spends in XLA's backend (or in reading a compiled program back from the cache), as
`jax.monitoring` reports it. Programs compiled in a subprocess are not counted. The programs of a fixture count for the
test that requested the fixture first. `--junitxml=FILE` writes the numbers of every test, as its properties.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax.monitoring
import pytest

__all__ = ["LIMIT", "Costs"]

COMPILED = "/jax/core/compile/backend_compile_duration"
LIMIT, SHARED = 10.0, 30.0
"""Seconds that one test may compile, and that the fixtures which it requests first may. Tests marked `exhaustive` have no
limit. On a busy machine the compiler waits; a test that takes fewer CPU seconds than `LIMIT` passes there."""


class Costs:
    """A pytest plugin. Each process measures its own tests; with pytest-xdist the main process adds them up."""

    def __init__(self, processor: Callable[[], float] = time.process_time) -> None:
        self.processor = processor
        self.seconds, self.programs = 0.0, 0
        self.before: tuple[float, int, float] = (0.0, 0, 0.0)
        self.shared = 0.0
        self.tests: dict[str, tuple[float, float, int]] = {}  # name -> seconds, of these compiling, programs
        jax.monitoring.register_event_duration_secs_listener(self.count)

    def count(self, event: str, duration: float, **_: Any) -> None:
        """Count a program; jax calls this from any thread."""
        if event == COMPILED:
            self.seconds += duration
            self.programs += 1

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        self.before = (self.seconds, self.programs, self.processor())
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        report = yield
        seconds, programs = self.seconds - self.before[0], self.programs - self.before[1]
        report.user_properties += [("compile_seconds", seconds), ("programs", programs)]
        if call.when == "setup":
            self.shared = seconds
        too_long = seconds - self.shared > LIMIT or self.shared > SHARED
        limited = call.when == "call" and report.passed and not item.get_closest_marker("exhaustive")
        if limited and too_long and self.processor() - self.before[2] > LIMIT:
            report.outcome = "failed"
            report.longrepr = (
                f"this test compiled {programs} programs in {seconds:.1f} s; the limit is {LIMIT:.0f} s per test "
                f"and {SHARED:.0f} s for its fixtures. "
                "Use a dataset of the fixture `measured` or a smaller request, or mark the test `exhaustive`."
            )
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        wall = self.tests.get(report.nodeid, (0.0,))[0] + report.duration
        properties = dict(report.user_properties)  # from the start of the test to this report
        self.tests[report.nodeid] = (wall, properties.get("compile_seconds", 0.0), properties.get("programs", 0))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        _, compiled, programs = (sum(column) for column in zip((0.0, 0.0, 0), *self.tests.values(), strict=True))
        costliest = sorted(self.tests.items(), key=lambda test: -test[1][0])[:10]
        terminalreporter.section("cost")
        terminalreporter.line(f"{compiled:.0f} s compiling {programs} programs in {len(self.tests)} tests")
        terminalreporter.line("the ten costliest tests: seconds, of these compiling, programs")
        for name, (wall, seconds, count) in costliest:
            terminalreporter.line(f"{wall:6.1f} {seconds:6.1f} {count:4d}  {name}")
