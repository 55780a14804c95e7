"""What goes wrong while a model is traced, told in the model's words."""

import os
import traceback
from types import TracebackType

import jax

import varprobe
from varprobe.errors import RequestError

__all__ = ["in_its_words"]

HIDDEN = tuple(os.path.dirname(os.path.abspath(str(module.__file__))) + os.sep for module in (varprobe, jax))
UNTRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.TracerBoolConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


def in_its_words(error: Exception, name: str) -> Exception:
    """A model's own error without the frames of the probe; one line for what cannot be traced."""
    if isinstance(error, UNTRACEABLE):
        return RequestError(f"{name} is not traceable by jax: {last_line(error.__traceback__) or one_line(error)}")
    trace = error.__traceback__
    while trace is not None and is_hidden(trace):
        trace = trace.tb_next
    return error if isinstance(error, RequestError) or trace is None else error.with_traceback(trace)


def one_line(error: Exception) -> str:
    """The first line of its message."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def is_hidden(frame: TracebackType) -> bool:
    """Whether a frame is the probe's or JAX's."""
    file = os.path.abspath(frame.tb_frame.f_code.co_filename)
    return file.startswith(HIDDEN)


def last_line(trace: TracebackType | None) -> str:
    """`model.py:12: if x.sum() > 0:`, the last line of the user's."""
    frames = [frame for frame in traceback.extract_tb(trace) if not frame.filename.startswith(HIDDEN)]
    if not frames:
        return ""
    last = frames[-1]
    return f"{os.path.basename(last.filename)}:{last.lineno}: {last.line}"
