"""The one JSON object that --json prints."""

import json
from pathlib import Path
from typing import Any, TextIO

import varprobe

__all__ = ["print_json"]


def print_json(diagnosis: Any, run: Path | None, stream: TextIO) -> None:
    """{"version", "run", "rows"} in ASCII; every number in it is finite or null."""
    answer = {"version": varprobe.__version__, "run": str(run) if run else None, "rows": diagnosis.rows}
    stream.write(json.dumps(answer, allow_nan=False, indent=1) + "\n")
