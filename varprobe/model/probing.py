"""`varprobe.probe`: what a batch does at every site of the user's own model, and what the gradient does there."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import jax
import numpy as np
import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.model.adapters import ProbeTarget, subject_of
from varprobe.model.agreement import reference, require_agreement, rounded_otherwise
from varprobe.model.faults import in_its_words
from varprobe.model.forms import form_of
from varprobe.model.opaque import ways_out
from varprobe.model.outputs import attributes_of
from varprobe.model.paths import slashed
from varprobe.model.probed import Plan, Stats, differentiated, fetched, measured, plan_of, told, updated
from varprobe.model.programs import run_again
from varprobe.model.slots import BACKWARD, Taps
from varprobe.model.still import equal_units, stuck
from varprobe.model.tables import dataset_of
from varprobe.model.updates import Optimizer, require_optimizer, stepped
from varprobe.model.whole import WHOLE
from varprobe.spec.argument_types import checks_types

__all__ = ["probe"]

MOST_SEEDS = 1000

MOST_BYTES = 2**30
"""What may leave a program whole. Fixed, not taken from the machine, since the two ways round differently."""


@checks_types
def probe(
    model: Any,
    *arguments: Any,
    loss: str | Callable[..., Any] | None = None,
    output: int | str | Callable[[Any], Any] | None = None,
    frozen: int | str | Sequence[int | str] | None = None,
    data: int | str | Sequence[int | str] | None = None,
    init: Callable[[Any], Any] | None = None,
    seeds: int | None = None,
    step_size: float | None = None,
    optimizer: Optimizer | None = None,
) -> xr.Dataset:
    """Activations, gradients and weight gradients of a model at every site, and of every parameter, for one batch.

    The model is not edited: the program that JAX traces is read, and run again with taps at its sites. A site is a
    matrix product or convolution of a signal (its preactivation, with the bias, and the activation after it), an
    embedding, a sum of the residual stream, a norm, attention logits and probabilities, or what `varprobe.mark` names.
    The loss and the gradients are compared with those of the model as it is.

    Args:
        model: loss_fn(params, *batch) -> scalar or (scalar, anything), params being a pytree, a flax.nnx.Module, an
            Equinox module, a Keras 3 model on the JAX backend, or a torch.nn.Module if torchax is installed; or one of
            these models itself, (a flax.linen.Module, its variables), or Haiku's transformed functions, followed by
            their parameters, or by (parameters, state).
        arguments: what the function is called with. A model among them, or a pytree whose arrays computed signals are
            multiplied with, is taken for frozen parameters.
        loss: of a function that returns an array, and of models: "cotangent", the sum of the output times N(0, 1)
            (the default of models), "mse" or "cross_entropy" of output and target, or loss(output, *rest) -> scalar,
            which takes tensors if the model is a torch.nn.Module. Keras models take objects of keras.losses, too.
        output: which output the loss is made of, for a model that returns several: an index, a key, a path such as
            "aux/hidden", or a function of what the model returns. By default, "cotangent" takes the first array of
            floats, and your own loss everything. The first of a dict is the key that was set first; a dict that leaves
            jax.jit has its keys sorted.
        frozen: arguments that hold frozen parameters, if varprobe takes them for data: a name, a position in the
            function's signature (of a model, in that of its call), a path such as "batch/kernel", or several of these.
        data: arguments that hold data, if varprobe takes them for frozen parameters; written as in `frozen`.
        init: init(key) -> fresh parameters, or a fresh model; one for each seed.
        seeds: how many, 1 to 1000; by default 8 with init and 1 without. Cotangents differ by seed, too.
        step_size: of a step of plain gradient descent, to tell the share of updates that rounding loses.
        optimizer: of optax, such as optax.adam(1e-3), for the same of its first step, and its size.

    Returns:
        A dataset with dims (config, seed, layer), layer being the order of execution from 0, the input; coordinates
        site, kind, iteration (of the scans that a site is in), fan_in, rows (samples times positions of a product),
        source and note ("", or why there is no value or gradient) on layer. Values are log10, as those of
        `varprobe.sweep`; parameter_* are on (config, seed, parameter). attrs["coverage"] says how many matrix products
        are probed, attrs["tied"] which sites share a parameter, attrs["follows"] which sites each follows from.
        Models whose values take less than 1 GiB have activation_correlation, attention_entropy and saturated_fraction.
        If a model returns several arrays of floats, attrs["output"] names that of the loss, and attrs["other_outputs"]
        lists the others.

    Raises:
        InvalidArgumentError: no parameters, no scalar and no loss, no such output or argument, not traceable, no matrix
            product.
        ChangedError: the loss or a gradient is not that of the model as it is: a defect of varprobe.

    Example:
        ds = varprobe.probe(loss_fn, params, x, y)
        print(varprobe.diagnose(ds))
    """
    __tracebackhide__ = True
    count = checked(init, seeds)
    steps = require_optimizer(optimizer, step_size)
    subject = subject_of(model, arguments, loss, output, frozen, data)
    if count > 1 and init is None and not subject.noise:
        raise InvalidArgumentError(
            "every seed is the same without init=, a function of a key (a factory takes it)", "seeds"
        )
    try:
        plan = plan_of(subject)
    except Exception as error:
        raise in_its_words(error, subject.name) from None
    if not plan.layout.products:
        where = (plan.layout.coverage, ways_out(plan.layout.opaque)) if plan.layout.opaque else ()
        raise InvalidArgumentError(
            "; ".join(filter(None, (f"{subject.name} has no matrix product of a signal", *where)))
        )
    program, arguments = form_of(plan.program), (subject.parameters, *subject.batch)
    run = running(plan, program and (program, subject.given), *arguments)
    as_it_is = run_again(partial(reference, subject.function), program, *arguments)
    step = steps and jax.jit(partial(stepped, steps, plan.slices))

    def stats_of(seed: int) -> Stats:
        parameters, gradients, stats = one_seed(subject, run, as_it_is, init, seed)
        if step:
            after, lost = step(parameters, gradients)
            stats = updated(plan, replace(stats, lost=lost), parameters, after)
        still = stuck(parameters, gradients, lambda others: run(others, batch_of(subject, seed))[1])
        equal = equal_units(parameters, gradients)
        return replace(fetched(stats), stuck=tuple(still), equal=tuple(equal))

    ds = dataset_of([[stats_of(seed) for seed in range(count)]])
    return ds.assign_attrs(attributes_of(plan.shape[1][0]))


def checked(init: Any, seeds: Any) -> int:
    """How many seeds.

    Raises:
        InvalidArgumentError: an option that is not what it should be.
    """
    if init is not None and not callable(init):
        raise InvalidArgumentError(f"{init!r} is no function of a key", "init")
    if seeds is not None and (isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= MOST_SEEDS):
        raise InvalidArgumentError(
            f"{seeds!r} is out of range (allowed: whole numbers from 1 to {MOST_SEEDS})", "seeds"
        )
    return seeds or (8 if init else 1)


def one_seed(
    subject: ProbeTarget, run: Callable[[Any, Any], Any], as_it_is: Callable[..., Any], init: Any, seed: int
) -> tuple[Any, Any, Stats]:
    """(parameters, gradients, statistics) of one draw; the first is compared with the model as it is."""
    parameters = subject.parameters if init is None else subject.extract(init(jax.random.key(seed)))
    if init is not None:
        same_form(subject.parameters, parameters)
    batch = batch_of(subject, seed)
    value, gradients, stats = run(parameters, batch)
    if seed == 0:
        plain = as_it_is(parameters, *batch)
        unit = stats.layout.rounding
        require_agreement(plain, (value, gradients), lambda: as_it_is(rounded_otherwise(parameters, unit), *batch))
    return parameters, gradients, stats


def batch_of(subject: ProbeTarget, seed: int) -> tuple[Any, ...]:
    """The batch, with the seed of its cotangent."""
    return (*subject.batch[:-1], np.int32(seed)) if subject.noise else subject.batch


def same_form(expected: Any, found: Any) -> None:
    """Refuse fresh parameters that are not like those that were read.

    Raises:
        InvalidArgumentError: and where they differ.
    """
    before, after = (
        {slashed(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(t)} for t in (expected, found)
    )
    for name in before.keys() | after.keys():
        shapes = [f"{t[name].dtype}{list(t[name].shape)}" if name in t else "nothing" for t in (before, after)]
        if shapes[0] != shapes[1]:
            raise InvalidArgumentError(f"init gives {shapes[1]} for {name}, which is {shapes[0]}", "init")


def running(plan: Plan, read: Any, *arguments: Any) -> Callable[[Any, Any], tuple[Any, Any, Stats]]:
    """run(parameters, batch) -> (scalar, gradients, statistics), for what looks like these parameters and batch.

    Values leave the program whole where they are small enough, and else as statistics. `read` is equal for two
    functions whose programs and taps are the same, or None.
    """
    if bytes_of(plan.taps) > MOST_BYTES:
        inside = run_again(partial(measured, plan, None), read and (read, "inside"), *arguments)

        def reduced(parameters: Any, batch: Any) -> tuple[Any, Any, Stats]:
            (value, _), gradients, stats = inside(parameters, *batch)
            return value, gradients, stats

        return reduced
    whole = plan._replace(taps=plan.taps._replace(way=WHOLE))
    outside = run_again(partial(differentiated, whole), read and (read, "whole"), *arguments)

    def kept_whole(parameters: Any, batch: Any) -> tuple[Any, Any, Stats]:
        found = outside(parameters, *batch)
        return found.loss, found.gradients, told(whole, found, parameters, batch)

    return kept_whole


def bytes_of(taps: Taps) -> int:
    """Of all values, and gradients, that leave a program whole."""
    shapes = [(slot, slot.point.variable.aval) for slot in taps.slots]
    return sum(
        prod(slot.leading) * aval.size * aval.dtype.itemsize * (1 + (slot.role in BACKWARD)) for slot, aval in shapes
    )
