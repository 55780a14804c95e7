"""From content to the page: the template, its style and scripts, and plotly.js, in one text without any reference."""

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from string import Template
from typing import Any

from varprobe.errors import InvalidArgumentError

__all__ = ["page_of"]

SCRIPTS = ("numbers.js", "data.js", "plots.js", "tables.js", "page.js")
"""What fills the page; plotly follows, which takes a browser longest to read, and then what draws."""

DRAWING = "drawing.js"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src {scripts}"
"""Nothing is fetched, and no script runs but those that the page came with."""


def page_of(content: Mapping[str, Any]) -> str:
    """The whole page; the same content gives the same text with the same plotly.

    Raises:
        InvalidArgumentError: plotly is not installed.
    """
    parts = {"script": "\n".join(map(part, SCRIPTS)), "plotly": library(), "drawing": part(DRAWING)}
    return Template(part("page.html")).substitute(
        policy=POLICY.format(scripts=" ".join(f"'sha256-{digest(text)}'" for text in parts.values())),
        generator=f"varprobe {version('varprobe')}, plotly.py {version('plotly')}",
        style=part("page.css"),
        content=inert(content),
        **parts,
    )


def library() -> str:
    """The source of plotly.js, as plotly's package has it."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise InvalidArgumentError('a report needs plotly: pip install "varprobe[report]"') from error
    return get_plotlyjs().replace("</script", r"<\/script")


def part(name: str) -> str:
    """A file beside this one."""
    return (files("varprobe.exports.reporting") / name).read_text("utf-8")


def digest(text: str) -> str:
    """The sha256 of a script, as a policy names it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def inert(content: Mapping[str, Any]) -> str:
    """The content as JSON in ASCII that no parser of HTML takes for a tag."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", r"\u003c")
