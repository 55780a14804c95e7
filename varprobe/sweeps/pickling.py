"""Work as bytes, for other processes: groups of networks, jobs of probes, and the functions in them.

cloudpickle sends functions of the user's by value, for no other machine need have their file. A program that was
compiled for a function is found again by that very function, so each is made once in a process, whatever brings it;
those of the registry are looked up there.
"""

import io
import pickle
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import cloudpickle

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import ACTIVATIONS

__all__ = ["packed", "unpacked"]


@cache
def registered() -> dict[int, str]:
    """The identity of each registered activation's function -> its name."""
    return {id(activation.function): name for name, activation in ACTIVATIONS.items()}


class Packer(cloudpickle.Pickler):
    """Functions go by their name in the registry, or as bytes of their own."""

    def persistent_id(self, thing: Any) -> str | bytes | None:
        """Of a function; None of everything else."""
        if id(thing) in registered():
            return registered()[id(thing)]
        function = isinstance(thing, FunctionType) or (hasattr(thing, "__wrapped__") and not isinstance(thing, type))
        return by_value(thing) if function else None


class Unpacker(pickle.Unpickler):
    """The other way round."""

    def persistent_load(self, name: str | bytes) -> Any:
        """The function."""
        return ACTIVATIONS[name].function if isinstance(name, str) else made(name)


made = cache(pickle.loads)
"""The function of some bytes."""


@cache
def by_value(function: Any) -> bytes:
    """A function with all that it refers to and that is in no installed package.

    Raises:
        InvalidArgumentError: it refers to something that cannot travel.
    """
    module = sys.modules.get((getattr(function, "__module__", None) or "").partition(".")[0])
    own = module is not None and module.__name__ not in ("__main__", "varprobe") and not is_installed(module)
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


def is_installed(module: Any) -> bool:
    """Whether a module lies where Python keeps its own, or those that were installed: other machines have it too."""
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), None)
    places = (sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return file is None or any(Path(file).is_relative_to(place) for place in places)


def packed(thing: Any) -> bytes:
    """The bytes of anything that work is made of.

    Raises:
        InvalidArgumentError: a function of the user's cannot travel.
    """
    file = io.BytesIO()
    Packer(file).dump(thing)
    return file.getvalue()


def unpacked(content: bytes) -> Any:
    """What `packed` was given. For bytes of our own making only: this runs code."""
    return Unpacker(io.BytesIO(content)).load()
