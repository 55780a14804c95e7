"""Work as bytes, for other processes: chunks of networks, jobs of probes, and the functions in them.

Functions of the registry travel by name, so that they are the same object in the process that takes them out, and a
program that was compiled for them is found again. Functions of the user's travel by value, for no other machine need
have their file; each is made once in a process, whatever brings it.
"""

import hashlib
import io
import pickle
import sys
import sysconfig
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import ACTIVATIONS

__all__ = ["packed", "unpacked"]

unpacked_functions: dict[str, Any] = {}
"""Of the user's, by the sha256 of what they came in."""


@cache
def registered() -> dict[int, str]:
    """The identity of each registered activation's function -> its name."""
    return {id(activation.function): name for name, activation in ACTIVATIONS.items()}


def importable(function: Callable[..., Any]) -> bool:
    """Whether another process finds the same function by its module and name."""
    module, name = getattr(function, "__module__", None) or "", getattr(function, "__qualname__", "<")
    found: Any = sys.modules.get(module) if module.partition(".")[0] in ("jax", "varprobe") else None
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is function


class Packer(pickle.Pickler):
    """A pickler to which functions are what `persistent_id` says of them."""

    def persistent_id(self, thing: Any) -> tuple[str, Any] | None:
        """("act", name) or ("code", bytes) of a function; None of everything else."""
        if id(thing) in registered():
            return "act", registered()[id(thing)]
        if isinstance(thing, type) or not callable(thing) or importable(thing):
            return None
        if isinstance(thing, FunctionType) or hasattr(thing, "__wrapped__"):
            return "code", by_value(thing)
        return None


def by_value(function: Callable[..., Any]) -> bytes:
    """A function of the user's, with all that it refers to and that is in no installed package.

    Raises:
        InvalidArgumentError: cloudpickle is not installed, or the function refers to something that cannot travel.
    """
    try:
        import cloudpickle
    except ImportError:
        raise InvalidArgumentError(
            'functions of your own go to other processes with pip install "varprobe[dask]"'
        ) from None
    module = sys.modules.get((getattr(function, "__module__", None) or "").partition(".")[0])
    own = module is not None and module.__name__ != "__main__" and not is_installed(module)
    try:
        if own:
            cloudpickle.register_pickle_by_value(module)  # with its submodules
        return cloudpickle.dumps(function)
    except Exception as error:  # what a closure holds may refuse in any way
        name = getattr(function, "__qualname__", type(function).__name__)
        raise InvalidArgumentError(f"{name} cannot be sent to another process: {error}") from error
    finally:
        if own:
            cloudpickle.unregister_pickle_by_value(module)


def is_installed(module: ModuleType) -> bool:
    """Whether a module lies where Python keeps its own, or those that were installed: other machines have it too."""
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), None)
    places = (sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return file is None or any(Path(file).is_relative_to(place) for place in places)


class Unpacker(pickle.Unpickler):
    """The other way round."""

    def persistent_load(self, what: Any) -> Any:
        """The function."""
        kind, content = what
        if kind == "act":
            return ACTIVATIONS[content].function
        name = hashlib.sha256(content).hexdigest()
        if name not in unpacked_functions:
            unpacked_functions[name] = pickle.loads(content)
        return unpacked_functions[name]


def packed(thing: Any) -> bytes:
    """The bytes of anything that work is made of.

    Raises:
        InvalidArgumentError: a function of the user's that cannot travel.
    """
    file = io.BytesIO()
    Packer(file, protocol=pickle.HIGHEST_PROTOCOL).dump(thing)
    return file.getvalue()


def unpacked(content: bytes) -> Any:
    """What `packed` was given. For bytes of our own making only: this runs code."""
    return Unpacker(io.BytesIO(content)).load()
