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

from varprobe import workers

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
    for_users = getattr(request.module, "COMPILED_AS_FOR_USERS", False)
    jax.config.update("jax_disable_most_optimizations", not for_users)
    if for_users:
        forget_values()
    yield
    workers.programs.clear()
    jax.clear_caches()


def forget_values() -> None:
    """Those that programs compiled otherwise have computed in this process, and that the package keeps."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "varprobe":
            for value in list(vars(module).values()):
                getattr(value, "cache_clear", lambda: None)()


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision in plain jax."""
    with jax.enable_x64(True):
        yield
