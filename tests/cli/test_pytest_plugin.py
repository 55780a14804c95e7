"""The plugin in pytest runs of their own; what it measures is tested elsewhere."""

import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import varprobe as vp
from varprobe.cli.pytest_plugin import Probes
from varprobe.runs.diagnose import Diagnosis
from varprobe.runs.health import healthy

pytest_plugins = ["pytester"]

TESTS = """
import sys
import pytest

def test_nothing_heavy_is_imported_before_it_is_used():
    assert not {"jax", "xarray", "numpy", "scipy", "matplotlib"} & set(sys.modules)

def test_sweep(varprobe):
    ds = varprobe.sweep(depth=4, width=16, init=["he_normal", "normal(std=0.01)"], seeds=2, batch=4)
    assert not varprobe.healthy(ds)
    assert varprobe.healthy(ds.isel(config=[0]))

def test_model(varprobe):
    import jax.numpy as jnp
    varprobe.assert_healthy(varprobe.probe(lambda w, x: (x @ w).sum(), jnp.eye(8), jnp.ones((4, 8))))

def test_unhealthy(varprobe):
    import varprobe as vp
    varprobe.assert_healthy(vp.sweep(depth=4, width=16, init="normal(std=0.01)", seeds=2, batch=4))

def test_without():
    pass
"""


@pytest.fixture
def alone(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder for a run with this plugin, whether or not it is installed, and no other."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(vp.__file__).parents[1]))
    pytester.makepyfile(TESTS)
    return pytester


def test_tests_probe_and_the_summary_tells_it(alone: pytest.Pytester) -> None:
    result = alone.runpytest_subprocess("-p", "varprobe.cli.pytest_plugin", "--varprobe", "--junitxml=report.xml")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*AssertionError: 1 of 1 configurations are unhealthy",
            "E *Why normal(std=0.01): *",
            "*= varprobe =*",
            "*::test_sweep",
            "  relu, depth 4, width 16, 2 seeds, batch 4 of N(0,1)",
            "  he_normal *stable*",
            "  relu, depth 4, width 16, 2 seeds, batch 4 of N(0,1)",
            "*::test_model",
            "  <lambda>, 1 site, 1 seed, batch 4, *",
            "*::test_unhealthy",
            "  normal(std=0.01) *",
        ]
    )
    summary = result.stdout.str().partition("= varprobe =")[2]
    assert summary.count("::test_") == 4 and "test_without" not in summary  # three tables, and the failed test's line
    assert not any("pytest_plugin.py" in line for line in result.outlines)  # the traceback ends in the test
    assert "he_normal" in (alone.path / "report.xml").read_text("utf-8")


def test_nothing_is_told_unasked(alone: pytest.Pytester) -> None:
    result = alone.runpytest_subprocess("-p", "varprobe.cli.pytest_plugin", "-k", "heavy or test_without")
    result.assert_outcomes(passed=2, deselected=3)
    assert "= varprobe =" not in result.stdout.str()
    listed = alone.runpytest_subprocess("-p", "varprobe.cli.pytest_plugin", "--help")
    listed.stdout.fnmatch_lines(["*--varprobe*print the verdicts on what tests probed*"])


def test_the_package_names_the_plugin() -> None:
    project = tomllib.loads((Path(vp.__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    name = project["entry-points"]["pytest11"]["varprobe"]
    assert hasattr(import_module(name), "pytest_addoption")


def test_each_dataset_is_collected_and_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[xr.Dataset] = []

    def diagnose(ds: xr.Dataset) -> Diagnosis:
        asked.append(ds)
        return Diagnosis([{"healthy": True, "notes": ["correlation_collapse(layer=3)"]}])

    assert healthy  # its module keeps the function that it finds when it is imported
    monkeypatch.setattr("varprobe.runs.diagnose.diagnose", diagnose)
    probes, ds = Probes(), xr.Dataset({"a": ("x", np.zeros(2))})
    assert probes.healthy(ds) and not probes.healthy(ds, strict=True) and probes.collected(ds) is ds
    assert len(asked) == 1 and len(probes.datasets) == 1
    probes.diagnose(ds.copy())
    assert len(asked) == 2 and len(probes.datasets) == 2
