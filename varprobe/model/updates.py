"""What a step of an optimizer does to the parameters, in the dtype that they are kept in."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from varprobe.errors import InvalidArgumentError

__all__ = ["Descent", "Optimizer", "require_optimizer", "require_step_size", "stepped"]


class Optimizer(Protocol):
    """As optax has it."""

    def init(self, params: Any) -> Any:
        """The state before the first step."""

    def update(self, updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        """(what is added to the parameters, the next state), from the gradients."""


class Descent(NamedTuple):
    """Plain gradient descent."""

    step_size: float

    def init(self, params: Any) -> None:
        """It has no state."""

    def update(self, updates: Any, state: None, params: Any = None) -> tuple[Any, None]:
        """- step_size times the gradient, in float32 at least."""
        return jax.tree.map(lambda g: -jnp.asarray(self.step_size, jnp.float32) * widened(g), updates), None


def require_step_size(step_size: Any) -> None:
    """Refuse what is not a step size.

    Raises:
        InvalidArgumentError: it is not a number above zero.
    """
    number = isinstance(step_size, int | float | np.number) and not isinstance(step_size, bool)
    if step_size is not None and not (number and 0 < step_size < float("inf")):
        raise InvalidArgumentError(f"{step_size!r} is out of range (allowed: numbers above 0)", "step_size")


def require_optimizer(optimizer: Any, step_size: Any) -> Optimizer | None:
    """The optimizer that was given, or gradient descent with the step size; None for neither.

    Raises:
        InvalidArgumentError: it has no init and update, or both were given.
    """
    require_step_size(step_size)
    if optimizer is None:
        return None if step_size is None else Descent(float(step_size))
    if step_size is not None:
        raise InvalidArgumentError("goes without step_size=, which is plain gradient descent", "optimizer")
    if isinstance(optimizer, type) or not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        what = repr(optimizer) if isinstance(optimizer, str | int | float) else type(optimizer).__name__
        raise InvalidArgumentError(f"{what} is not an optimizer of optax, such as optax.adam(1e-3)", "optimizer")
    return optimizer  # type: ignore[no-any-return]


def stepped(
    optimizer: Optimizer, slices: Sequence[int], parameters: Any, gradients: Any
) -> tuple[Any, tuple[Any, ...]]:
    """(parameters after the first step, the fraction of updates that rounding loses).

    Args:
        optimizer: whose state is that before the first step.
        slices: how many leading axes of each parameter are told apart.
        parameters: a pytree of arrays.
        gradients: of the same structure.

    Returns:
        The fraction is of entries whose update is not zero and that stay as they are, for each parameter an array of
        its leading axes.
    """
    updates, _ = optimizer.update(gradients, optimizer.init(parameters), parameters)
    after = jax.tree.map(lambda p, u: (widened(p) + widened(u)).astype(p.dtype), parameters, updates)
    leaves = zip(*map(jax.tree.leaves, (parameters, updates, after)), slices, strict=True)
    return after, tuple(lost(*leaf) for leaf in leaves)


def lost(before: Any, update: Any, after: Any, axes: int) -> Any:
    """The fraction of entries that have an update and stay as they are."""
    over, moved = tuple(range(axes, before.ndim)), update != 0
    return ((after == before) & moved).sum(over) / jnp.maximum(moved.sum(over), 1)


def widened(x: Any) -> Any:
    """In float32 at least."""
    return x.astype(jnp.result_type(x.dtype, jnp.float32) if x.dtype.itemsize > 1 else jnp.float32)
