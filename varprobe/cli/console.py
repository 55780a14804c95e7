"""Terminal output: 80 columns when piped, the terminal's own width otherwise; progress after two seconds."""

import sys
import threading
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from varprobe.errors import printable

__all__ = ["PATIENCE", "TerminalProgress", "console_for"]

PATIENCE = 2.0
"""Seconds of work before progress is shown."""
PIPED, LEAST, WIDE = 80, 60, 180


class PlainConsole(Console):
    """A console that takes text as it is, without markup, emoji or highlighting; a broken pipe is an error."""

    def __init__(self, file: TextIO, **settings: Any) -> None:
        super().__init__(file=file, highlight=False, emoji=False, markup=False, **settings)

    def on_broken_pipe(self) -> None:
        """Leave it to `main`; rich would exit with 1, which here means an unhealthy network."""
        raise BrokenPipeError


def console_for(stream: TextIO, wide: bool = False) -> Console:
    """A console on a stream, at least 60 columns wide, `wide` at least 180."""
    found = PlainConsole(stream)
    width = max(found.width if found.is_terminal else PIPED, LEAST)
    return PlainConsole(stream, width=max(width, WIDE) if wide else width)


class TerminalProgress:
    """A bar with an estimate on stderr, shown once the work has taken two seconds: "measuring ... 3/8 cells"."""

    def __init__(self, quiet: bool, verb: str = "measuring", unit: str = "cells") -> None:
        """`verb`: what is done, by the `unit`."""
        self.quiet, self.verb, self.unit = quiet, verb, unit
        self.console = console_for(sys.stderr)
        self.bar: Progress | None = None
        self.timer: threading.Timer | None = None
        self.lock = threading.Lock()
        self.stopped = False
        self.total = self.done = self.cached = 0

    def start(self, total: int, cached: int) -> None:
        """`total` units are to be done, `cached` were found done; the bar appears two seconds from now."""
        self.total, self.cached = total, cached
        if total and not self.quiet and self.console.is_terminal:
            self.timer = threading.Timer(PATIENCE, self.show)
            self.timer.daemon = True
            self.timer.start()

    def show(self) -> None:
        """Start the bar."""
        with self.lock:
            if self.stopped:
                return
            bar = Progress(
                TextColumn(self.verb),
                BarColumn(),
                TextColumn(f"{{task.completed}}/{{task.total}} {self.unit}"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            bar.add_task("", total=self.total, completed=self.done)
            bar.start()
            self.bar = bar

    def advance(self, cells: int = 1) -> None:
        """So many more are done."""
        self.done += cells
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=self.done)

    def note(self, text: str) -> None:
        """A line that the user should see."""
        if not self.quiet:
            self.console.print(printable(" ".join(text.split())), soft_wrap=True)

    def stop(self) -> None:
        """Take the bar away, or let it never appear."""
        with self.lock:
            self.stopped = True
            if self.timer is not None:
                self.timer.cancel()
            if self.bar is not None:
                self.bar.stop()
                self.bar = None
