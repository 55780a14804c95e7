"""Spec files: a sweep's options as TOML, for sweeps too large for a command line.

depth = [10, 50]
act = "relu,tanh"
init = ["he_normal", "normal(std=0.02)"]
sigma-b2 = "0:1:32"
"""

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from varprobe.errors import InvalidArgumentError, did_you_mean
from varprobe.storage.paths import place_of

__all__ = ["MOST_BYTES", "read_spec"]

MOST_BYTES = 16 * 2**20
"""A larger file is no list of options."""


def read_spec(text: str, known: Collection[str], many: Collection[str], flags: Collection[str]) -> dict[str, Any]:
    """The options that a spec file gives, as the command line gives them.

    Args:
        text: its path.
        known: the options that may stand in it, with underscores.
        many: those that take a list.
        flags: those that are true or false.

    Returns:
        option -> tuple of texts for those in `many`, bool for `flags`, else text.

    Raises:
        InvalidArgumentError: it cannot be read, is no TOML, or holds an option that is none, or a value of the wrong
            kind.
    """
    found = {}
    for key, value in content_of(text).items():
        option = key.replace("-", "_")
        if option not in known:
            raise InvalidArgumentError(
                f"{text}: unknown option {key!r}{did_you_mean(key, [dashed(k) for k in known])}", "spec"
            )
        found[option] = value_of(text, key, value, option in many, option in flags)
    return found


def content_of(text: str) -> dict[str, Any]:
    """The file's table."""
    path: Path = place_of(text, "spec")
    if path.exists() and not path.is_file():
        raise InvalidArgumentError(f"{text!r} is no file", "spec")
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise InvalidArgumentError(f"{text} is larger than {MOST_BYTES >> 20} MiB, and no spec file", "spec")
        return tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise InvalidArgumentError(f"cannot read {text!r}: {error.strerror or error}", "spec") from error
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{text} is no text in UTF-8", "spec") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidArgumentError(f"{text} is no TOML: {error}", "spec") from error


def value_of(text: str, key: str, value: Any, many: bool, flag: bool) -> Any:
    """A value as the command line would give it."""
    if flag:
        if not isinstance(value, bool):
            raise InvalidArgumentError(f"{text}: {key} is true or false, not {value!r:.60}", "spec")
        return value
    several = value if isinstance(value, list) else [value]
    if not all(isinstance(v, str | int | float) and not isinstance(v, bool) for v in several):
        allowed = "a text, a number, or a list of these" if many else "a text or a number"
        raise InvalidArgumentError(f"{text}: {key} is {allowed}, not {value!r:.60}", "spec")
    if not many and isinstance(value, list):
        raise InvalidArgumentError(f"{text}: {key} takes one value, not a list", "spec")
    texts = tuple(str(v) for v in several)
    if not texts:
        raise InvalidArgumentError(f"{text}: {key} is an empty list", "spec")
    return texts if many else texts[0]


def dashed(option: str) -> str:
    """As the command line writes it."""
    return option.replace("_", "-")
