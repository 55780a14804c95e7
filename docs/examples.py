"""Docstrings as the site shows them: examples as code, attributes that share a line one by one.

An `Example:` section holds lines of Python without a fence; an attribute may be given as `sigma_w2, sigma_b2: text`.
"""

import re
from typing import Any

from griffe import Extension, Object

SHARED = re.compile(r"^    (\w+(?:, \w+)+): ((?:.*\n)(?: {8}.*\n)*)", re.MULTILINE)
EXAMPLE = re.compile(r"^Example:\n((?:    .*\n|\n)+)", re.MULTILINE)

__all__ = ["Examples"]


class Examples(Extension):
    """Rewrites docstrings before they are parsed."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of an object."""
        if obj.docstring:
            text = obj.docstring.value + "\n"
            text = SHARED.sub(lambda found: "".join(f"    {name}: {found[2]}" for name in found[1].split(", ")), text)
            obj.docstring.value = EXAMPLE.sub(fenced, text)


def fenced(found: re.Match[str]) -> str:
    """An example between fences."""
    return f"**Example**\n\n```python\n{dedented(found[1])}\n```\n"


def dedented(lines: str) -> str:
    """The lines without the four spaces of their section."""
    return re.sub(r"^    ", "", lines, flags=re.MULTILINE).strip("\n")
