"""Terminal output: 80 columns when piped, the terminal's own width (at least 80) otherwise; progress after two seconds."""

import sys
import threading
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["TerminalProgress", "console_for"]

PATIENCE = 2.0


def console_for(stream: TextIO, wide: bool = False) -> Console:
    """A console on a stream that never wraps file names or numbers into markup."""
    console = Console(file=stream, highlight=False, emoji=False, markup=False)
    if wide:
        return Console(file=stream, highlight=False, emoji=False, markup=False, width=max(console.width, 160))
    if not console.is_terminal:
        console = Console(file=stream, highlight=False, emoji=False, markup=False, width=80)
    return console


class TerminalProgress:
    """A bar with an estimate on stderr, shown once the work has taken two seconds."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.console = console_for(sys.stderr)
        self.bar: Progress | None = None
        self.timer: threading.Timer | None = None
        self.total = self.done = self.cached = 0

    def start(self, total: int, cached: int) -> None:
        """`total` cells are to be computed, `cached` were found done; the bar appears two seconds from now."""
        self.total, self.cached = total, cached
        if total and not self.quiet and self.console.is_terminal:
            self.timer = threading.Timer(PATIENCE, self.show)
            self.timer.daemon = True
            self.timer.start()

    def show(self) -> None:
        """Start the bar."""
        bar = Progress(
            TextColumn("measuring"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} cells"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        bar.add_task("", total=self.total, completed=self.done)
        bar.start()
        self.bar = bar

    def advance(self, cells: int = 1) -> None:
        """So many more cells are done."""
        self.done += cells
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=self.done)

    def note(self, text: str) -> None:
        """A line that the user should see."""
        if not self.quiet:
            self.console.print(text, soft_wrap=True)

    def stop(self) -> None:
        """Take the bar away."""
        if self.timer is not None:
            self.timer.cancel()
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
