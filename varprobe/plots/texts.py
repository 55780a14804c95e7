"""Texts that stand in a figure for the names in a dataset."""

import re
from collections.abc import Iterable, Iterator, Mapping

from varprobe.errors import InvalidArgumentError, require_name
from varprobe.plots.style import usetex

__all__ = ["check_labels", "check_text", "escaped", "literal", "shown"]

SPECIAL = {c: f"\\{c}" for c in "#$%&_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}

DOLLAR = re.compile(r"(?<!\\)\$")


def check_labels(labels: Mapping[str, str], known: Iterable[str]) -> None:
    """Refuse a name that is nowhere in the dataset, a text that cannot be typeset, and one that two would share.

    Raises:
        InvalidArgumentError: and which one it is.
    """
    names = list(dict.fromkeys(known))
    if not isinstance(labels, Mapping):
        raise InvalidArgumentError(
            f"{labels!r:.80} is no mapping of names to texts, such as {{'he_normal': 'He'}}", "labels"
        )
    for name, text in labels.items():
        require_name(name, names)
        if not isinstance(text, str):
            raise InvalidArgumentError(f"{text!r:.80} is no text", "labels")
        check_text(text)
        others = [labels.get(other, other) for other in names if other != name]
        if text in others:
            raise InvalidArgumentError(f"{text!r} is already the name of another", "label")


def check_text(text: str) -> None:
    """Refuse `$...$` that is not valid math text, and letters that no font of a figure has."""
    from matplotlib import cbook, mathtext

    missing = next((letter for letter in text if not letter.isprintable() or not any(has(letter))), None)
    if missing is not None and missing != "\n":
        raise InvalidArgumentError(f"{text!r}: the fonts of figures have no {missing!r}", "label")
    if not cbook.is_math_text(text):
        return
    try:
        mathtext.MathTextParser("path").parse(text)
    except ValueError as error:
        raise InvalidArgumentError(f"{text!r} is not valid math text; write \\$ for a dollar sign", "label") from error


def has(letter: str) -> Iterator[bool]:
    """Whether each font of a figure has a letter."""
    from matplotlib.font_manager import findfont, get_font

    for family in ("DejaVu Sans", "STIXGeneral"):
        yield bool(get_font(findfont(family)).get_char_index(ord(letter)))


def literal(text: str) -> str:
    """A name in which `$` is no math."""
    return text.replace("$", r"\$")


def escaped(text: str) -> str:
    """The text with every character that LaTeX reads as a command made to print itself."""
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def shown(text: str) -> str:
    """A text as matplotlib must be given it: where LaTeX sets it, with LaTeX's signs outside of `$...$` escaped."""
    if not usetex():
        return text
    parts = DOLLAR.split(text)
    parts = parts if len(parts) % 2 else [text]
    return "$".join(part if i % 2 else escaped(part.replace(r"\$", "$")) for i, part in enumerate(parts))
