"""Ctrl-C ends the command at once, from wherever it is, and says how to go on."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["INTERRUPTED", "last_words"]

INTERRUPTED = 130
SHOW_CURSOR = "\r\x1b[2K\x1b[?25h"
"""What a terminal needs where a progress bar stood."""


@contextlib.contextmanager
def last_words(text: str) -> Iterator[None]:
    """On Ctrl-C write `text` to stderr and end the process.

    No exception is raised: in a callback of the garbage collector, such as jax has, it would be lost, and in the middle
    of an import it can crash. Nothing has to be tidied up: files appear whole or not at all.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # whoever runs us has other plans with the signal
        return

    def leave(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError, ValueError):
            descriptor = sys.__stderr__.fileno() if sys.__stderr__ else 2
            words = (SHOW_CURSOR if os.isatty(descriptor) else "") + text
            os.write(descriptor, words.encode("utf-8", "backslashreplace"))  # a print may have been interrupted
        os._exit(INTERRUPTED)

    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
