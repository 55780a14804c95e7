"""`varprobe.sweep`: every configuration of a grid, measured."""

from typing import Any

import xarray as xr

from varprobe.cells import run_cells
from varprobe.configs import read_request
from varprobe.engine import chunks_of
from varprobe.results import dataset

__all__ = ["sweep"]


def sweep(**arguments: Any) -> xr.Dataset:
    """Draft."""
    request = read_request(**arguments)
    chunks = chunks_of(list(request.configs), request.setting)
    cells = [(chunk, seed) for seed in range(request.setting.seeds) for chunk in chunks]
    done = run_cells(cells, request.setting)
    return dataset(request, (([m.config for _, _, m in c.members], seed, table) for c, seed, table in done))
