"""`varprobe.instrument`: a loss that tells, at every step of training, what happens at its sites."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback

from varprobe.errors import InvalidArgumentError
from varprobe.model.adapters import ProbeTarget, subject_of
from varprobe.model.agreement import reference, require_agreement, rounded_otherwise
from varprobe.model.foreign import refuse_foreign_model
from varprobe.model.probed import Stats, measured, plan_of
from varprobe.model.updates import require_step_size

__all__ = ["instrument"]


def instrument(
    loss_fn: Callable[..., Any], *, check: bool = False, step_size: float | None = None
) -> Callable[..., tuple[Any, Any, Stats]]:
    """The loss, its gradients and the statistics of every site, for a training loop.

    Args:
        loss_fn: loss_fn(params, *batch) -> scalar or (scalar, anything), as `varprobe.probe` takes it.
        check: compare loss and gradients with those of loss_fn as it is, once per compilation.
        step_size: of a step of plain gradient descent, to tell the share of updates that rounding loses.

    Returns:
        probed(params, *batch) -> (loss, gradients, stats), to be called under jax.jit, and not under jax.vmap;
        flax.nnx.jit for an nnx.Module, whose state it updates. loss is (loss, anything) where loss_fn returns that, as
        jax.value_and_grad gives it. stats is a pytree of a few numbers a site; give it to a `varprobe.Recorder`.

    Example:
        probed = jax.jit(varprobe.instrument(loss_fn))
        recorder = varprobe.Recorder(every=10)
        for step, (x, y) in enumerate(batches):
            loss, gradients, stats = probed(params, x, y)
            recorder(step, stats)
            params = update(params, gradients)
        print(varprobe.diagnose(recorder))
    """
    if not callable(loss_fn):
        raise InvalidArgumentError(f"{type(loss_fn).__name__} is no function", "loss_fn")
    require_step_size(step_size)

    @wraps(loss_fn)
    def probed(parameters: Any, *batch: Any) -> tuple[Any, Any, Stats]:
        refuse_foreign_model(parameters)
        subject = subject_of(loss_fn, (parameters, *batch), None)
        plan = plan_of(subject)
        (value, (more, state)), gradients, stats = measured(plan, step_size, subject.parameters, *subject.batch)
        if check:
            check_once(subject, plan.layout.rounding, value, gradients)
        subject.keep(state)
        return (value if more is None else (value, more)), gradients, stats

    return probed


def check_once(subject: ProbeTarget, rounding: float, value: Any, gradients: Any) -> None:
    """`require_agreement` at the first step that a compiled function runs, which is the only one to pay for it."""
    left = [True]

    def both() -> tuple[Any, Any]:
        parameters = (subject.parameters, rounded_otherwise(subject.parameters, rounding))
        plain, other = (reference(subject.function, p, *subject.batch) for p in parameters)
        return plain, other

    def compare(first: Any, probed: Any, references: tuple[Any, Any]) -> None:
        if first:
            plain, other = references
            require_agreement(plain, probed, lambda: other)

    first = io_callback(lambda: np.bool_(bool(left) and left.pop()), jax.ShapeDtypeStruct((), np.bool_))
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(both))
    references = jax.lax.cond(first, both, lambda: nothing)
    io_callback(compare, None, first, (value, gradients), references)
