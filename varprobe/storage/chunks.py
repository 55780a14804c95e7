"""Datasets block by block: some configurations at a time, so that none has to fit into memory."""

import math
from collections.abc import Callable, Iterator

import xarray as xr

__all__ = ["BLOCK_BYTES", "Advance", "block_size", "blocks", "unwatched"]

BLOCK_BYTES = 32 * 2**20
"""What the numbers of a block take."""

Advance = Callable[[int], object]
"""Is told that so many more configurations are done."""


def unwatched(configs: int) -> None:
    """An `Advance` that tells nobody."""


def block_size(ds: xr.Dataset) -> int:
    """How many configurations are in a block, 1 or more."""
    variables = [v for v in ds.data_vars.values() if "config" in v.dims and v.size]
    each = sum(v.dtype.itemsize * math.prod(v.sizes[dim] for dim in v.dims if dim != "config") for v in variables)
    return max(1, BLOCK_BYTES // max(each, 1))


def blocks(ds: xr.Dataset, advance: Advance = unwatched) -> Iterator[xr.Dataset]:
    """The dataset in parts along `config`, each in memory; `advance` is told when the caller comes for the next."""
    count, size = ds.sizes["config"], block_size(ds)
    for start in range(0, count, size):
        yield ds.isel(config=slice(start, start + size)).compute()
        advance(min(size, count - start))
