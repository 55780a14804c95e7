"""Errors of the user's own code, in one line that names the file and the line."""

import contextlib
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

from varprobe.errors import InvalidArgumentError, MachineError, first_line

__all__ = ["calling", "reason"]

OURS = Path(__file__).parents[1]
INSTALLED = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")})


@contextlib.contextmanager
def calling(what: str) -> Iterator[None]:
    """Call the user's code in the body: whatever it raises, SystemExit too, becomes one line that begins with `what`.

    Raises:
        InvalidArgumentError: it raised something; an InvalidArgumentError or MachineError of ours is passed on.
    """
    try:
        yield
    except (InvalidArgumentError, MachineError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        raise InvalidArgumentError(f"{what}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """The kind of an error, the first line of what it says, and where in the user's code it was raised."""
    kind, line = type(error).__name__, first_line(error)
    return (kind if line == kind else f"{kind}: {line}") + place_of(error)


def place_of(error: BaseException) -> str:
    """File and line, in parentheses, of the last call that is neither ours nor an installed package's, or nothing."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = os.path.realpath(frame.filename)
        if os.path.exists(path) and not path.startswith((*INSTALLED, str(OURS), sys.prefix)):
            return f" ({Path(path).name}, line {frame.lineno})"
    return ""
