"""The one JSON object that --json prints."""

import json
import sys
from pathlib import Path
from typing import Any

import varprobe

__all__ = ["print_json"]


def print_json(diagnosis: Any, run: Path | None) -> None:
    """{"version", "run", "rows"} on stdout; every number in it is finite or null."""
    json.dump(
        {"version": varprobe.__version__, "run": str(run) if run else None, "rows": diagnosis.rows},
        sys.stdout,
        allow_nan=False,
        indent=1,
    )
    sys.stdout.write("\n")
