"""What work tells of itself while it goes on."""

import warnings
from typing import Protocol

__all__ = ["Progress", "Unwatched"]


class Progress(Protocol):
    """What a sweep, or a verification, tells of itself while it runs, always from the thread that called it."""

    def start(self, total: int, cached: int) -> None:
        """So many cells (or files) are to be done, and so many were found finished. Called once."""

    def advance(self, cells: int = 1) -> None:
        """So many more cells are finished, and on disk where there is a run folder."""

    def note(self, text: str) -> None:
        """One line for the user, such as which file is damaged."""


class Unwatched:
    """The progress that nobody watches: notes become Python warnings."""

    def start(self, total: int, cached: int) -> None:
        """Say nothing."""

    def advance(self, cells: int = 1) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Warn."""
        warnings.warn(text, stacklevel=2)
