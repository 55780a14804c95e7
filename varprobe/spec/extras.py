"""Libraries that exports need and the package does not."""

from importlib import import_module
from typing import Any

from varprobe.errors import InvalidArgumentError

__all__ = ["needed"]


def needed(module: str, what: str, extra: str = "export") -> Any:
    """An optional library's module.

    Args:
        module: its name.
        what: what is made with it, in the plural.
        extra: the extra of this package that installs it.

    Raises:
        InvalidArgumentError: it is not installed; the message has the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise InvalidArgumentError(f'{what} need {library}: pip install "varprobe[{extra}]"') from error
