"""Examples in docstrings as code: an `Example:` section holds lines of Python without a fence."""

import re
from typing import Any

from griffe import Extension, Object

EXAMPLE = re.compile(r"^Example:\n((?:    .*\n|\n)+)", re.MULTILINE)

__all__ = ["Examples"]


class Examples(Extension):
    """Puts the lines of every example between fences."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of an object."""
        if obj.docstring:
            text = obj.docstring.value + "\n"
            obj.docstring.value = EXAMPLE.sub(
                lambda found: f"**Example**\n\n```python\n{dedented(found[1])}\n```\n", text
            )


def dedented(lines: str) -> str:
    """The lines without the four spaces of their section."""
    return re.sub(r"^    ", "", lines, flags=re.MULTILINE).strip("\n")
