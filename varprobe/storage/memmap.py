"""Arrays for results that memory has no room for: they lie in a file without a name, which ends with its process."""

import math
import tempfile
from pathlib import Path

import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.storage.files import writing

__all__ = ["missing_numbers", "require_room", "too_large"]

SHARE = 0.25
"""Of the free memory, what results may take there: figures and tables are made beside them."""

PART = 2**20
"""Numbers that are written at once."""


def too_large(size: int) -> bool:
    """Whether so many bytes of results are better kept on disk."""
    from varprobe.storage.memory import free_bytes

    return size > SHARE * free_bytes()


def require_room(size: int, what: str, remedy: str, option: str) -> None:
    """Refuse what memory cannot hold.

    Raises:
        InvalidArgumentError: naming the option that helps.
    """
    from varprobe.storage.memory import free_bytes

    free = free_bytes()
    if size > free:
        raise InvalidArgumentError(
            f"{what} take {size / 1e9:.2g} GB, and {free / 1e9:.2g} GB of memory are free; {remedy}", option
        )


def missing_numbers(count: int, shape: tuple[int, int, int], place: Path | None) -> list[np.ndarray]:
    """So many arrays of NaN, float64, in memory or, where they are too large for that, in a file of the folder.

    The file's disk space is taken at once: were it missing later, the process would end where it writes a number. One
    seed of neighboring configurations lies together there, as cells fill them.

    Args:
        count: how many.
        shape: (configs, seeds, layers).
        place: the folder, or where it will be; None where there is only memory.

    Raises:
        InvalidArgumentError: there is only memory, and it does not suffice.
        MachineError: the disk has no room.
    """
    configs, seeds, layers = shape
    size = 8 * count * math.prod(shape)
    if place is None:
        require_room(size, "the results", "name a run folder, and they lie there", "out")
    if place is None or not too_large(size):
        return [np.full(shape, np.nan) for _ in range(count)]
    place = place.absolute()
    folder = next(path for path in (place, *place.parents) if path.is_dir())
    part = np.full(PART, np.nan).data
    with writing(place), tempfile.TemporaryFile(dir=folder) as file:
        for start in range(0, size, part.nbytes):
            file.write(part.cast("B")[: size - start])
        file.flush()
        arrays = np.memmap(file, np.float64, "r+", shape=(count, seeds, configs, layers))
    return [array.view(np.ndarray).transpose(1, 0, 2) for array in arrays]
