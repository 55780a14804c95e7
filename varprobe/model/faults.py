"""What goes wrong while a model is traced, told in the model's words."""

import contextlib
import os
import traceback
from collections.abc import Iterator
from types import TracebackType

import jax

import varprobe
from varprobe.errors import RequestError

__all__ = ["told"]

HIDDEN = tuple(os.path.dirname(os.path.abspath(str(module.__file__))) + os.sep for module in (varprobe, jax))
UNTRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.TracerBoolConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


@contextlib.contextmanager
def told(name: str) -> Iterator[None]:
    """Let a model's own error come out without the frames of the probe; what cannot be traced is a line.

    Raises:
        RequestError: the function needs the numbers of what it computes while it is traced; says in which line.
    """
    __tracebackhide__ = True
    try:
        yield
    except UNTRACEABLE as error:
        line = last_line(error.__traceback__)
        raise RequestError(f"{name} is not traceable by jax: {line or str(error).splitlines()[0]}") from error
    except RequestError:
        raise
    except Exception as error:
        own = within(error.__traceback__)
        if own is None:
            raise
        raise error.with_traceback(own) from None


def is_hidden(frame: TracebackType) -> bool:
    """Whether a frame is the probe's or JAX's."""
    file = os.path.abspath(frame.tb_frame.f_code.co_filename)
    return file.startswith(HIDDEN) or file.startswith("<") or file == contextlib.__file__


def within(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame of the user's on."""
    while trace is not None and is_hidden(trace):
        trace = trace.tb_next
    seen_caller = trace
    return seen_caller


def last_line(trace: TracebackType | None) -> str:
    """`model.py:12: if x.sum() > 0:`, the last line of the user's."""
    frames = [frame for frame in traceback.extract_tb(trace) if not frame.filename.startswith(HIDDEN)]
    if not frames:
        return ""
    last = frames[-1]
    return f"{os.path.basename(last.filename)}:{last.lineno}: {last.line}"
