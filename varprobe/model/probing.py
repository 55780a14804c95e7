"""`varprobe.probe`: what a batch does at every site of the user's own model, and what the gradient does there."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import xarray as xr

from varprobe.errors import RequestError
from varprobe.model.adapters import Subject, subject_of
from varprobe.model.agreement import reference, require_agreement, rounded_otherwise
from varprobe.model.faults import in_its_words
from varprobe.model.paths import slashed
from varprobe.model.probed import Plan, Stats, measured, plan_of, require_step_size
from varprobe.model.tables import dataset_of

__all__ = ["probe"]

MOST_SEEDS = 1000


def probe(
    model: Any,
    *arguments: Any,
    loss: str | Callable[..., Any] | None = None,
    init: Callable[[Any], Any] | None = None,
    seeds: int | None = None,
    step_size: float | None = None,
) -> xr.Dataset:
    """Activations, gradients and weight gradients of a model at every site, and of every parameter, for one batch.

    The model is not edited: the program that JAX traces is read, and run again with taps at its sites. A site is a
    matrix product or convolution of a signal (its preactivation, with the bias, and the activation after it), an
    embedding, a sum of the residual stream, a norm, attention logits and probabilities, or what `varprobe.mark` names.
    The loss and the gradients are compared with those of the model as it is.

    Args:
        model: loss_fn(params, *batch) -> scalar or (scalar, anything), params being a pytree, a flax.nnx.Module or an
            Equinox module; or a model itself: a flax.nnx.Module, an Equinox module, (a flax.linen.Module, its
            variables), or Haiku's transformed functions, followed by their parameters, or by (parameters, state).
        arguments: what the function is called with. A model among them, or a pytree whose arrays computed signals are
            multiplied with, is taken for frozen parameters.
        loss: of a function that returns an array, and of models: "cotangent", the sum of the outputs times N(0, 1)
            (the default of models), "mse" or "cross_entropy" of output and target, or loss(output, *rest) -> scalar.
        init: init(key) -> fresh parameters, or a fresh model; one for each seed.
        seeds: how many, 1 to 1000; by default 8 with init and 1 without. Cotangents differ by seed, too.
        step_size: of a step of plain gradient descent, to tell the share of updates that rounding loses.

    Returns:
        A dataset with dims (config, seed, layer), layer being the order of execution from 0, the input; coordinates
        site, kind, iteration (of the scans that a site is in), fan_in and source on layer. Values are log10, as those
        of `varprobe.sweep`; parameter_* are on (config, seed, parameter). attrs["coverage"] says how many matrix
        products are probed, attrs["tied"] which sites share a parameter.

    Raises:
        RequestError: no parameters, no scalar and no loss, not traceable, no matrix product.
        ChangedError: the loss or a gradient is not that of the model as it is: a defect of varprobe.

    Example:
        ds = varprobe.probe(loss_fn, params, x, y)
        print(varprobe.diagnose(ds))
    """
    __tracebackhide__ = True
    count = checked(init, seeds, step_size)
    subject = subject_of(model, arguments, loss)
    if count > 1 and init is None and not subject.noise:
        raise RequestError("every seed is the same without init=, a function of a key (a factory takes it)", "seeds")
    try:
        plan = plan_of(subject)
    except Exception as error:
        raise in_its_words(error, subject.name) from None
    if not plan.layout.products:
        where = f"; {plan.layout.coverage}" if plan.layout.opaque else ""
        raise RequestError(f"{subject.name} has no matrix product of a signal{where}")
    found = [one_seed(subject, plan, init, seed, step_size) for seed in range(count)]
    return dataset_of([found])


def checked(init: Any, seeds: Any, step_size: Any) -> int:
    """How many seeds.

    Raises:
        RequestError: an option that is not what it should be.
    """
    if init is not None and not callable(init):
        raise RequestError(f"{init!r} is no function of a key", "init")
    if seeds is not None and (isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= MOST_SEEDS):
        raise RequestError(f"{seeds!r} is out of range (allowed: whole numbers from 1 to {MOST_SEEDS})", "seeds")
    require_step_size(step_size)
    return seeds or (8 if init else 1)


def one_seed(subject: Subject, plan: Plan, init: Any, seed: int, step_size: float | None) -> Stats:
    """The statistics of one draw; the first is compared with the model as it is."""
    parameters = subject.parameters if init is None else subject.extract(init(jax.random.key(seed)))
    if init is not None:
        same_form(subject.parameters, parameters)
    batch = (*subject.batch[:-1], np.int32(seed)) if subject.noise else subject.batch
    (value, _), gradients, stats = run(plan, step_size, parameters, batch)
    if seed == 0:
        as_it_is = jax.jit(partial(reference, subject.function))
        plain = as_it_is(parameters, *batch)
        require_agreement(plain, (value, gradients), lambda: as_it_is(rounded_otherwise(parameters), *batch))
    return jax.device_get(stats)


def same_form(expected: Any, found: Any) -> None:
    """Refuse fresh parameters that are not like those that were read.

    Raises:
        RequestError: and where they differ.
    """
    before, after = (
        {slashed(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(t)} for t in (expected, found)
    )
    for name in before.keys() | after.keys():
        shapes = [f"{t[name].dtype}{list(t[name].shape)}" if name in t else "nothing" for t in (before, after)]
        if shapes[0] != shapes[1]:
            raise RequestError(f"init gives {shapes[1]} for {name}, which is {shapes[0]}", "init")


def run(plan: Plan, step_size: float | None, parameters: Any, batch: tuple[Any, ...]) -> Any:
    """`measured`, compiled; a plan keeps what was compiled for it."""
    key = (id(plan.program.jaxpr), step_size)
    if kept.get("key") != key:
        kept.update(key=key, plan=plan, function=jax.jit(lambda p, *batch: measured(plan, step_size, p, *batch)))
    return kept["function"](parameters, *batch)


kept: dict[str, Any] = {}
"""The last plan and its compiled function."""
