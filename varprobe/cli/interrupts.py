"""Ctrl-C, a closed terminal and a job that is ended: the command ends at once and says how to resume it."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

__all__ = ["INTERRUPTED", "last_words"]

INTERRUPTED = 130
SIGNALS: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
if sys.platform != "win32":
    SIGNALS[signal.SIGHUP] = signal.SIG_DFL
"""Signal -> what handles it in Python if nobody has changed that."""

SHOW_CURSOR = "\r\x1b[2K\x1b[?25h"
"""What a terminal needs where a progress bar stood."""


@contextlib.contextmanager
def last_words(text: str) -> Iterator[None]:
    """On SIGINT (Ctrl-C), SIGTERM or SIGHUP write `text` to stderr and end the process with 128 plus the signal.

    No exception is raised: in a callback of the garbage collector, such as jax has, it would be lost, and in the middle
    of an import it can crash. Nothing has to be tidied up: files appear whole or not at all.
    """
    ours = threading.current_thread() is threading.main_thread()
    usual = {number: handler for number, handler in SIGNALS.items() if ours and signal.getsignal(number) is handler}

    def leave(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError, ValueError):
            descriptor = sys.__stderr__.fileno() if sys.__stderr__ else 2
            words = (SHOW_CURSOR if os.isatty(descriptor) else "") + text
            os.write(descriptor, words.encode("utf-8", "backslashreplace"))  # a print may have been interrupted
        os._exit(128 + number)

    for number in usual:  # of the others somebody else takes care, such as nohup
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
