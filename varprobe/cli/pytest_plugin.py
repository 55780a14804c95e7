"""A pytest plugin: the fixture `varprobe` probes and judges, and `--varprobe` prints what tests probed.

Nothing heavy is imported before a test asks for the fixture, and nothing is run that the test does not call.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import xarray as xr

    from varprobe.runs.diagnose import Diagnosis

__all__ = ["Probes", "pytest_addoption", "pytest_terminal_summary", "varprobe"]

PROPERTY = "varprobe"
"""Of a test's report: its tables. Reports also come from the workers of pytest-xdist."""


class Probes:
    """What one test measures and judges.

    Attributes:
        datasets: those that the test measured or judged, in their order.
    """

    def __init__(self) -> None:
        self.datasets: list[xr.Dataset] = []
        self.diagnoses: dict[int, Diagnosis] = {}

    def sweep(self, **arguments: Any) -> "xr.Dataset":
        """`varprobe.sweep`, collected."""
        from varprobe.sweeps.sweep import sweep

        return self.collected(sweep(**arguments))

    def probe(self, model: Any, *arguments: Any, **options: Any) -> "xr.Dataset":
        """`varprobe.probe`, collected."""
        from varprobe.model.probing import probe

        return self.collected(probe(model, *arguments, **options))

    def collected(self, ds: "xr.Dataset") -> "xr.Dataset":
        """The dataset, for the summary."""
        if not any(known is ds for known in self.datasets):
            self.datasets.append(ds)
        return ds

    def diagnose(self, ds: "xr.Dataset") -> "Diagnosis":
        """`varprobe.diagnose` of a dataset, once; it may be one that the test did not measure."""
        from varprobe.runs.diagnose import diagnose

        if id(ds) not in self.diagnoses:
            self.diagnoses[id(ds)] = diagnose(ds)
        self.collected(ds)
        return self.diagnoses[id(ds)]

    def healthy(self, ds: "xr.Dataset", strict: bool = False) -> bool:
        """Whether every configuration is: nothing vanishes, explodes or has a flag, or, if `strict`, a note."""
        from varprobe.runs.health import unhealthy

        return not len(unhealthy(self.diagnose(ds), strict))

    def assert_healthy(self, ds: "xr.Dataset", strict: bool = False) -> None:
        """Fail, with the table of what is wrong and what to change, unless every configuration is healthy."""
        __tracebackhide__ = True
        from varprobe.runs.health import require_healthy

        require_healthy(self.diagnose(ds), strict)


@pytest.fixture
def varprobe(request: pytest.FixtureRequest) -> Iterator[Probes]:
    """Measure stacks and models, and assert that a signal gets through them; see `Probes`."""
    probes = Probes()
    yield probes
    if request.config.getoption("--varprobe"):
        from varprobe.errors import InvalidArgumentError

        for ds in list(probes.datasets):
            with contextlib.suppress(InvalidArgumentError):  # what cannot be judged has no table
                request.node.user_properties.append((PROPERTY, str(probes.diagnose(ds))))


def pytest_addoption(parser: pytest.Parser) -> None:
    """--varprobe."""
    parser.getgroup("varprobe").addoption(
        "--varprobe", action="store_true", help="print the verdicts on what tests probed, also of tests that pass"
    )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The tables of every test, where --varprobe asks for them."""
    if not terminalreporter.config.getoption("--varprobe"):
        return
    tables: dict[str, list[str]] = {}
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        found = [text for name, text in getattr(report, "user_properties", ()) if name == PROPERTY]
        if found:
            tables[report.nodeid] = found
    if tables:
        terminalreporter.section("varprobe")
    for name, texts in tables.items():
        terminalreporter.write_line(name, bold=True)
        for line in "\n\n".join(texts).splitlines():
            terminalreporter.write_line(f"  {line}".rstrip())
