"""Texts that stand in a figure for the names in a dataset."""

from collections.abc import Iterable, Mapping

from varprobe.errors import RequestError
from varprobe.names import require_name

__all__ = ["check_labels", "check_text"]


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
