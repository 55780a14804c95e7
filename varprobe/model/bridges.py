"""What a library of models needs so that its models are probed like those of JAX."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple

from varprobe.errors import RequestError
from varprobe.model.foreign import library_of
from varprobe.model.libraries import Split, name_of, of_tree
from varprobe.spec.extras import needed

__all__ = ["PYTREES", "Bridge", "bridge_of", "require_model", "unchanged"]


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


PYTREES = Bridge(of_tree, unchanged, unchanged, unchanged)
"""Of pytrees, flax.nnx and Equinox, which JAX traces by itself."""


def require_model(fresh: Any, library: str) -> None:
    """Check what `init` returned.

    Raises:
        RequestError: it is not a model of the library.
    """
    if library_of(fresh) != library:
        raise RequestError(f"init returns {name_of(fresh)} (allowed: a fresh model of {library})", "init")


def require_torchax() -> None:
    """Import torchax, whose releases fail to import with a torch that is newer.

    Raises:
        RequestError: it is not installed, or fails.
    """
    try:
        needed("torchax", "models of PyTorch", extra="torch")
    except AttributeError as error:
        raise RequestError(
            f"torchax {version('torchax')} does not import with torch {version('torch')}: pip install --upgrade --pre "
            f"torchax ({error})"
        ) from error


def bridge_of(model: Any) -> Bridge:
    """The bridge for a model, or for a pytree of parameters.

    Raises:
        RequestError: torchax is not installed, or does not import.
    """
    library = library_of(model)
    if library == "keras":
        from varprobe.model.keras_models import KERAS

        return KERAS
    if library == "torch":
        require_torchax()
        from varprobe.model.torch_modules import TORCH

        return TORCH
    return PYTREES
