"""Shared by all tests: one file a worker, no compilation cache on disk, a fixture for double precision."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # for what runs in a subprocess too
sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import jax
import pytest

from varprobe import cells

jax.config.update("jax_enable_compilation_cache", False)
jax.config.update("jax_legacy_prng_key", "error")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file stays on one worker, in the order of the files: what its fixtures compiled serves all of its tests."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


@pytest.fixture(autouse=True, scope="module")
def compiled_for_this_file(request: pytest.FixtureRequest) -> Iterator[None]:
    """Programs run once here, so most of the compiler's time is spared, but in files that are about bits.

    These say COMPILED_AS_FOR_USERS = True; so does whatever runs in a subprocess. What one file compiled does not help
    the next, and would fill the memory.
    """
    jax.config.update("jax_disable_most_optimizations", not getattr(request.module, "COMPILED_AS_FOR_USERS", False))
    yield
    cells.programs.clear()
    jax.clear_caches()


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision in plain jax."""
    with jax.enable_x64(True):
        yield
