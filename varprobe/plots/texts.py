"""Texts that stand in a figure for the names in a dataset."""

from collections.abc import Iterable, Mapping

from varprobe.errors import RequestError
from varprobe.names import require_name
from varprobe.plots.style import usetex

__all__ = ["check_labels", "check_text", "escaped", "shown"]

SPECIAL = {c: f"\\{c}" for c in "#$%&_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def check_labels(labels: Mapping[str, str], known: Iterable[str]) -> None:
    """Refuse a name that is nowhere in the dataset, and a text that cannot be typeset.

    Raises:
        RequestError: and which one it is.
    """
    names = list(dict.fromkeys(known))
    for name, text in labels.items():
        require_name(name, names)
        check_text(text)


def check_text(text: str) -> None:
    """Refuse `$...$` that is not valid math text."""
    from matplotlib import cbook, mathtext

    if not cbook.is_math_text(text):
        return
    try:
        mathtext.MathTextParser("path").parse(text)
    except ValueError as error:
        raise RequestError(f"{text!r} is not valid math text; write \\$ for a dollar sign", "label") from error


def escaped(text: str) -> str:
    """The text with every character that LaTeX reads as a command made to print itself."""
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def shown(text: str) -> str:
    """A text as matplotlib must be given it: where LaTeX sets it, with LaTeX's signs outside of `$...$` escaped."""
    if not usetex():
        return text
    parts = text.split("$") if text.count("$") % 2 == 0 else [text]
    return "$".join(part if i % 2 else escaped(part) for i, part in enumerate(parts))
