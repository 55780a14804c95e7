"""One step of training of a user's model, in parts: what is differentiated, and what the optimizer makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from varprobe.errors import InvalidArgumentError
from varprobe.model.adapters import ProbeTarget, name_of, subject_of
from varprobe.training.feed import Batch

if TYPE_CHECKING:
    import optax

__all__ = ["Learner", "moved", "ready"]


@dataclass(frozen=True)
class Learner:
    """What learns.

    Attributes:
        function: of the model and a batch; None where the model is its own.
        whole: the model, of its parameters and its state.
        loss: of what returns an output and no scalar.
    """

    function: Callable[..., Any] | None
    whole: Callable[[Any, Any], Any]
    loss: Any

    @property
    def name(self) -> str:
        """What it is called."""
        return "the model" if self.function is None else name_of(self.function)

    def subject(self, parameters: Any, state: Any, batch: Batch) -> ProbeTarget:
        """The loss as a function of parameters; they, the state and the batch may be traced.

        Raises:
            InvalidArgumentError: it is no loss that can be trained.
        """
        model = self.whole(parameters, state)
        if self.function is None:
            found = subject_of(model, batch.whole, self.loss)
        else:
            found = subject_of(self.function, (model, *batch.whole), self.loss)
        if found.noise:
            raise InvalidArgumentError(
                "'cotangent' is noise, which nothing can learn (allowed: mse, cross_entropy)", "loss"
            )
        return found


def ready(tree: Any) -> Any:
    """A pytree whose numbers have the types that a step leaves them, so that one program serves all steps."""

    def one(leaf: Any) -> Any:
        number = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.number)
        return jnp.asarray(leaf, jax.dtypes.canonicalize_dtype(leaf.dtype)) if number else leaf

    return jax.tree.map(one, tree)


def moved(
    transform: optax.GradientTransformation, parameters: Any, memory: Any, gradients: Any, value: Any
) -> tuple[Any, Any]:
    """(parameters, the optimizer's state) after a step; the loss is told to those that ask for it."""
    import optax

    rule = optax.with_extra_args_support(transform)
    changes, memory = rule.update(gradients, memory, parameters, value=value, grad=gradients)
    return optax.apply_updates(parameters, changes), memory
