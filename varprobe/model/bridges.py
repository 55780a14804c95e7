"""Which library a model is of, and how its models are read."""

from importlib.metadata import version
from typing import Any

from varprobe.errors import InvalidArgumentError
from varprobe.model.bridge import Bridge, unchanged
from varprobe.model.foreign import library_of
from varprobe.model.libraries import of_tree
from varprobe.spec.extras import needed

__all__ = ["PYTREES", "bridge_of"]


PYTREES = Bridge(of_tree, unchanged, unchanged, unchanged)
"""Of pytrees, flax.nnx and Equinox, which JAX traces by itself."""


def require_torchax() -> None:
    """Import torchax, whose releases fail to import with a torch that is newer.

    Raises:
        InvalidArgumentError: it is not installed, or fails.
    """
    try:
        needed("torchax", "models of PyTorch", extra="torch")
    except AttributeError as error:
        raise InvalidArgumentError(
            f"torchax {version('torchax')} does not import with torch {version('torch')}: pip install --upgrade --pre "
            f"torchax ({error})"
        ) from error


def bridge_of(model: Any) -> Bridge:
    """The bridge for a model, or for a pytree of parameters.

    Raises:
        InvalidArgumentError: torchax is not installed, or does not import.
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
