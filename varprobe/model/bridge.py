"""What a library of models needs so that its models are probed like those of JAX."""

from collections.abc import Callable
from typing import Any, NamedTuple

from varprobe.errors import InvalidArgumentError
from varprobe.model.foreign import library_of
from varprobe.model.libraries import Split, name_of

__all__ = ["Bridge", "require_model", "unchanged"]


class Bridge(NamedTuple):
    """How models of a library are read.

    split: split(function, model) -> the parameters of the model, and function(model, *batch) as a function of them.
    method: the method of a model that its user wrote, which has the signature of a call.
    arrays: a batch with the library's own tensors as arrays of JAX.
    loss: loss(output, *rest) of the library's own kind as a function of arrays of JAX.
    """

    split: Callable[[Callable[..., Any], Any], Split]
    method: Callable[[Any], Callable[..., Any]]
    arrays: Callable[[Any], Any]
    loss: Callable[[Any], Any]


def unchanged(thing: Any) -> Any:
    """The same."""
    return thing


def require_model(fresh: Any, library: str) -> None:
    """Check what `init` returned.

    Raises:
        InvalidArgumentError: it is not a model of the library.
    """
    if library_of(fresh) != library:
        raise InvalidArgumentError(f"init returns {name_of(fresh)} (allowed: a fresh model of {library})", "init")
