"""Shared by all tests: quick compilation, datasets measured once, the cost of each test, double precision.

Most programs run once here, so compiling is most of the cost. XLA's optimizations are off, except in files that are
about bits; subprocesses share one compilation cache; `measured` returns the same dataset for the same
request.
"""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zlib import crc32

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
os.environ["KERAS_BACKEND"] = "jax"

import jax
import pytest
import xarray as xr
from costs import Costs
from jax._src import compiler

import varprobe as vp
from varprobe.cli.device import keep_compiled_code
from varprobe.engine import compile
from varprobe.model import programs as compiled
from varprobe.training import jobs

jax.config.update("jax_legacy_prng_key", "error")

QUICK = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_opt_preset": "CPU_OPT_PRESET_FAST_COMPILE"}
"""Options of XLA that shorten compilation, each in some versions of jaxlib only."""
MOST_PROGRAMS, MOST_MAPS = 1000, 20_000
"""Compiled programs that a process keeps between files, and memory maps, of which a process may have 65530."""

collect_ignore = [] if find_spec("torchax") else ["model/test_probe_torch.py"]
costs = Costs()
default_options = compiler.get_compile_options


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(costs, "costs")
    gc.set_threshold(50_000, 20, 50)  # tracing allocates many objects and leaves few cycles


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--exhaustive-part", metavar="I/N", help="of the exhaustive tests only the I-th of N parts, from 0"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the exhaustive tests of other parts; which part a test is in depends on its name alone."""
    if part := config.getoption("--exhaustive-part"):
        number, parts = map(int, part.split("/"))
        others = [t for t in items if t.get_closest_marker("exhaustive") and crc32(t.nodeid.encode()) % parts != number]
        config.hook.pytest_deselected(items=others)
        left_out = set(others)
        items[:] = [test for test in items if test not in left_out]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file stays on one worker, in the order of the files: what its fixtures compiled serves all of its tests."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


@pytest.fixture(scope="module")
def raw_keys() -> Iterator[None]:
    """Keras draws with keys of the old form, which jax takes unless it is told otherwise."""
    jax.config.update("jax_legacy_prng_key", "allow")
    yield
    jax.config.update("jax_legacy_prng_key", "error")


@pytest.fixture(autouse=True, scope="session")
def one_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One compilation cache for the subprocesses of the session, instead of the user's own; here nothing is written."""
    base = tmp_path_factory.getbasetemp()
    os.environ["XDG_CACHE_HOME"] = str((base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "cache")
    keep_compiled_code()
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1e6)  # only subprocesses write


@pytest.fixture(scope="session")
def quick_options() -> dict[str, Any]:
    """Those of `QUICK` that this version of jaxlib has."""
    found = {}
    for name, value in QUICK.items():
        try:
            jax.jit(lambda x: x).lower(1.0).compile(compiler_options={name: value})
        except jax.errors.JaxRuntimeError:
            continue
        found[name] = value
    return found


@pytest.fixture(autouse=True, scope="module")
def compiled_for_this_file(request: pytest.FixtureRequest, quick_options: dict[str, Any], one_cache: None) -> None:
    """Compile quickly, or as for users in the files that say COMPILED_AS_FOR_USERS = True; subprocesses too."""
    for_users = getattr(request.module, "COMPILED_AS_FOR_USERS", False)
    if state["for_users"] is not for_users:
        state["for_users"] = for_users
        jax.config.update("jax_disable_most_optimizations", not for_users)
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(not for_users))
        compiler.get_compile_options = default_options if for_users else quickly(quick_options)
        forget()
    elif costs.programs - state["forgotten"] > MOST_PROGRAMS or memory_maps() > MOST_MAPS:
        forget()


def memory_maps() -> int:
    """Of this process, where the system tells: each compiled program takes some twenty."""
    try:
        return Path("/proc/self/maps").read_text().count("\n")
    except OSError:
        return 0


def quickly(options: dict[str, Any]) -> Callable[..., Any]:
    """jax's own way to options of the compiler, with some more of them."""

    def get_compile_options(*args: Any, env_options_overrides: dict[str, Any] | None = None, **more: Any) -> Any:
        return default_options(*args, env_options_overrides=options | (env_options_overrides or {}), **more)

    return get_compile_options


state: dict[str, Any] = {"for_users": None, "forgotten": 0}
"""How programs are compiled now, and how many had been compiled when they were last dropped."""


def forget() -> None:
    """Drop the compiled programs, and the values that the package keeps of programs compiled otherwise."""
    state["forgotten"] = costs.programs
    for held in (compile.programs, jobs.programs, compiled.kept):
        held.clear()
    jax.clear_caches()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "varprobe":
            for value in list(vars(module).values()):
                getattr(value, "cache_clear", lambda: None)()
    gc.collect()  # what was compiled hangs in cycles


@pytest.fixture(scope="session")
def measured() -> Callable[..., xr.Dataset]:
    """`measured(**arguments)` is `vp.sweep(**arguments)`, measured once in this process for the same arguments."""
    kept: dict[str, xr.Dataset] = {}

    def dataset(**arguments: Any) -> xr.Dataset:
        key = repr(sorted(arguments.items()))
        if key not in kept:
            kept[key] = vp.sweep(**arguments)
        return kept[key].copy(deep=True)

    return dataset


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision in plain jax."""
    with jax.enable_x64(True):
        yield
