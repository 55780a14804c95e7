"""A stand-in for the engine, where tests are about what becomes of its numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from varprobe.sweeps.local_executor import LocalCellExecutor

__all__ = ["compute_with"]


def compute_with(patch: pytest.MonkeyPatch, table_of: Callable[[Any, Any, int], dict[str, np.ndarray]]) -> None:
    """Let `table_of(group, setting, seed)` compute every cell."""

    def run(executor: Any, queue: Any, setting: Any, folder: Any = None) -> Any:
        while items := queue.take(1):
            yield items[0], table_of(items[0].group, setting, items[0].seed)

    patch.setattr(LocalCellExecutor, "run", run)
