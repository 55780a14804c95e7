"""What goes wrong while a model is traced, told in the model's words."""

import os
import sys
import traceback
from types import TracebackType

import jax

from varprobe.errors import InvalidArgumentError

__all__ = ["in_its_words"]

HIDDEN = ("varprobe", "jax", "keras", "torch", "torchax")
"""Packages whose frames are not the user's."""
UNTRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.TracerBoolConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


def in_its_words(error: Exception, name: str) -> Exception:
    """A model's own error without the frames of the probe; one line for what cannot be traced."""
    hidden = tuple(
        os.path.dirname(os.path.abspath(str(sys.modules[n].__file__))) + os.sep for n in HIDDEN if n in sys.modules
    )
    if isinstance(error, UNTRACEABLE):
        line = last_line(error.__traceback__, hidden) or one_line(error)
        return InvalidArgumentError(f"{name} is not traceable by jax: {line}")
    trace = error.__traceback__
    while trace is not None and file_of(trace).startswith(hidden):
        trace = trace.tb_next
    return error if isinstance(error, InvalidArgumentError) or trace is None else error.with_traceback(trace)


def one_line(error: Exception) -> str:
    """The first line of its message."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def file_of(frame: TracebackType) -> str:
    """The path of the file that a frame is in."""
    return os.path.abspath(frame.tb_frame.f_code.co_filename)


def last_line(trace: TracebackType | None, hidden: tuple[str, ...]) -> str:
    """`model.py:12: if x.sum() > 0:`, the last line of the user's."""
    frames = [frame for frame in traceback.extract_tb(trace) if not frame.filename.startswith(hidden)]
    if not frames:
        return ""
    last = frames[-1]
    return f"{os.path.basename(last.filename)}:{last.lineno}: {last.line}"
