"""The cost of the tests: compile seconds and programs of each test, a summary at the end, a limit for each test.

A compile second is a second that jax spends in XLA's backend (or in reading a compiled program back from the cache), as
`jax.monitoring` reports it. Programs compiled in a subprocess are not counted. The programs of a fixture count for the
test that requested the fixture first.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.monitoring
import pytest

__all__ = ["LIMIT", "Costs", "too_much"]

COMPILED = "/jax/core/compile/backend_compile_duration"
LIMIT = 10.0
"""Seconds that one test may compile, with its fixtures. Tests marked `exhaustive` have no limit."""


class Costs:
    """A pytest plugin. Each process measures its own tests; with pytest-xdist the main process adds them up."""

    def __init__(self) -> None:
        self.seconds, self.programs = 0.0, 0
        self.before: tuple[float, int] = (0.0, 0)
        self.tests: dict[str, tuple[float, float, int]] = {}
        jax.monitoring.register_event_duration_secs_listener(self.count)

    def count(self, event: str, duration: float, **_: Any) -> None:
        """Listener of jax's events, called from any thread."""
        if event == COMPILED:
            self.seconds += duration
            self.programs += 1

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        self.before = (self.seconds, self.programs)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        report = yield
        compiled, programs = self.seconds - self.before[0], self.programs - self.before[1]
        report.user_properties.append(("compiled", (compiled, programs)))
        if call.when == "call" and report.passed and not item.get_closest_marker("exhaustive"):
            if message := too_much(compiled, programs):
                report.outcome, report.longrepr = "failed", message
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        wall = self.tests.get(report.nodeid, (0.0, 0.0, 0))[0] + report.duration
        compiled = [value for name, value in report.user_properties if name == "compiled"]
        self.tests[report.nodeid] = (wall, *(compiled[-1] if compiled else (0.0, 0)))

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        if hasattr(config, "workerinput") or not self.tests:
            return
        _, compiled, programs = (sum(column) for column in zip(*self.tests.values(), strict=True))
        terminalreporter.section("cost")
        terminalreporter.line(f"{compiled:.0f} s compiling {programs} programs in {len(self.tests)} tests")
        terminalreporter.line("the ten costliest tests: seconds, of these compiling, programs")
        for name, (wall, seconds, count) in sorted(self.tests.items(), key=lambda t: -t[1][0])[:10]:
            terminalreporter.line(f"{wall:6.1f} {seconds:6.1f} {count:4d}  {name}")
        if path := os.environ.get("VARPROBE_TEST_COSTS"):
            Path(path).write_text(json.dumps(self.tests, indent=1))


def too_much(seconds: float, programs: int) -> str | None:
    """The message for a test that compiled longer than the limit, or None."""
    if seconds <= LIMIT:
        return None
    return (
        f"this test compiled {programs} programs in {seconds:.1f} s; the limit is {LIMIT:.0f} s per test. "
        "Use a dataset of the `measured` fixture, a smaller request, or mark the test `exhaustive`."
    )
