"""`track_model`: the first steps of training of a user's own model, as its optimizer takes them.

The loss's gradient and the optimizer are compiled as they are, and make every step; at recorded steps the model is
probed besides, so that recording changes no parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.model.adapters import is_alone
from varprobe.model.agreement import require_agreement, rounded_otherwise
from varprobe.model.faults import in_its_words
from varprobe.model.libraries import held
from varprobe.model.probed import Stats, fetched, measured, plan_of, updated
from varprobe.model.tables import dataset_of
from varprobe.spec.extras import needed
from varprobe.storage.progress import Progress, Unwatched
from varprobe.training.feed import Batch, Feed, feed_of, paced
from varprobe.training.optimizers import read_optimizers
from varprobe.training.step import Learner, moved, ready

if TYPE_CHECKING:
    import optax

__all__ = ["track_model"]

MOST_STEPS = 10**9


def track_model(
    loss_fn: Callable[..., Any],
    params: Any,
    optimizer: Any,
    batches: Any,
    *,
    steps: int | None = None,
    at: Iterable[int] | None = None,
    loss: str | Callable[..., Any] | None = None,
    after: Callable[[Any], None] | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Train a model, and record what `varprobe.probe` says of it at some of the steps, and what these steps add.

    The model that is given stays as it is. Parameters that the optimizer leaves alone have updates of exactly zero
    (-inf). The state of a flax.nnx.Module is kept from step to step. A loss that is not finite stops nothing.

    Args:
        loss_fn: loss_fn(params, *batch) -> scalar or (scalar, anything), as `varprobe.probe` takes it.
        params: a pytree whose arrays of floats are trained, a flax.nnx.Module or an Equinox module.
        optimizer: an optax.GradientTransformation, or the name of one, as "adam(lr=0.001)".
        batches: an iterable that gives a tuple of the further arguments of loss_fn for each step (or its only one); or
            one of these, for every step.
        steps: how many; by default until there are no more batches.
        at: the steps that are recorded, from 0, before any, to `steps`, after all; by default 0, 1, 2, 4, ... and the
            last.
        loss: of a function that returns an output and no scalar: "mse", "cross_entropy" or loss(output, *rest).
        after: is given the trained model, or parameters.
        progress: is told of every step.

    Returns:
        A dataset of one configuration and seed with dims (config, seed, step, layer), and (config, seed, step,
        parameter): what `varprobe.probe` says of the parameters at a step on the batch of that step. Behind the last
        step it is the next batch, or the last one again where there are no more. update_log10_mean_square and
        update_log10_ratio are log10 of the mean square of what the step adds to the weight of a site, and log10 of its
        RMS over that of the weight; parameter_update_* are the same of every parameter; behind the last step they are
        of what one more would add. batch_loss (config, seed, training_step) is the loss at every step, before its
        update; diverged_step (config, seed) the first step at which it is not finite, NaN without.

    Raises:
        InvalidArgumentError: what `varprobe.probe` refuses, no such optimizer, too few batches, or no such steps.

    Example:
        ds = track_model(loss_fn, params, "adam(lr=0.001)", batches, steps=1000)
        print(varprobe.diagnose(ds.isel(step=-1)))
    """
    __tracebackhide__ = True
    needed("optax", "optimizers", extra="train")
    if not callable(loss_fn) or is_alone(loss_fn):
        raise InvalidArgumentError(f"{type(loss_fn).__name__} is no function of parameters and a batch", "loss_fn")
    feed = feed_of(batches)
    total = total_of(steps, feed)
    wanted = wanted_of(at, total)
    name, transform = transform_of(optimizer, total)
    training = Training(loss_fn, loss, params, transform)
    found = training.run(feed, total, wanted, progress or Unwatched())
    if after is not None:
        after(training.model)
    return tracked(found, np.array(jax.device_get(training.losses), np.float64), name)


def total_of(steps: Any, feed: Feed) -> int | None:
    """How many steps; None where that depends on batches that are not counted.

    Raises:
        InvalidArgumentError: it is no such number, or there are fewer batches.
    """
    if steps is None:
        if feed.known is None or not feed.known:
            return None
        if feed.known == float("inf"):
            raise InvalidArgumentError("must say how many, where one batch serves every step", "steps")
        return int(feed.known)
    if not is_whole(steps, 1, MOST_STEPS):
        raise InvalidArgumentError(
            f"{steps!r} is out of range (allowed: whole numbers from 1 to {MOST_STEPS})", "steps"
        )
    if feed.known is not None and feed.known < steps:
        raise InvalidArgumentError(f"there are {feed.known} batches, too few for {steps} steps", "batches")
    return int(steps)


def is_whole(value: Any, low: int, high: int) -> bool:
    """Whether a value is a whole number within bounds."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(low <= value <= high)


def wanted_of(at: Any, total: int | None) -> set[int] | None:
    """The steps that are recorded; None for the powers of two and the last.

    Raises:
        InvalidArgumentError: they are none.
    """
    if at is None:
        return None
    found, end = list(at) if isinstance(at, Iterable) else [at], MOST_STEPS if total is None else total
    wrong = [step for step in found if not is_whole(step, 0, end)]
    if wrong or not found:
        what = f"{wrong[0]!r} is no step that is made" if wrong else "there is no step to record"
        raise InvalidArgumentError(f"{what} (allowed: whole numbers from 0 to {end})", "at")
    return {int(step) for step in found}


def transform_of(optimizer: Any, total: int | None) -> tuple[str, optax.GradientTransformation]:
    """(what an optimizer is called, itself).

    Raises:
        InvalidArgumentError: it is none, or several, or its schedule ends at a step that is not known.
    """
    found = read_optimizers(optimizer)
    if len(found) != 1:
        raise InvalidArgumentError(f"takes one, got {', '.join(one.name for one in found)}", "optimizer")
    (one,) = found
    if total is None and dict(one.static).get("schedule", "constant") != "constant":
        raise InvalidArgumentError(
            "its schedule ends with the last step, so steps= must say which that is", "optimizer"
        )
    return one.name, one.transform(total or MOST_STEPS)


class Training:
    """A model in training.

    Attributes:
        losses: of the steps that were made, on the device.
    """

    def __init__(self, loss_fn: Callable[..., Any], loss: Any, model: Any, transform: Any) -> None:
        parameters, state, whole = held(model)
        self.parameters, self.state = ready(parameters), ready(state)
        self.learner = Learner(loss_fn, whole, loss)
        self.memory = ready(transform.init(self.parameters))
        self.losses: list[jax.Array] = []
        self.slope, self.tell = jax.jit(self.slope_of), jax.jit(self.told)
        self.move = jax.jit(partial(moved, transform))

    @property
    def model(self) -> Any:
        """As it is now."""
        return self.learner.whole(self.parameters, self.state)

    def run(self, feed: Feed, total: int | None, wanted: set[int] | None, progress: Progress) -> dict[int, Stats]:
        """Train; the statistics of each recorded step, on the host.

        Raises:
            InvalidArgumentError: there are fewer batches than steps, or the probe refuses the model.
        """
        found: dict[int, Stats] = {}
        if total is not None:
            progress.start(total, 0)
        for step, batch, end in paced(feed, total):
            recorded = step in wanted if wanted is not None else end or not step & (step - 1)
            if end and not recorded:
                break
            (value, state), gradients = self.gradients(self.parameters, batch)
            after, memory = self.move(self.parameters, self.memory, gradients, value)
            if recorded:
                stats, slopes = self.tell(self.parameters, after, self.state, batch)
                if not found:
                    require_agreement(
                        (value, gradients), (stats.loss, slopes), partial(self.other, batch, stats.layout.rounding)
                    )
                found[step] = fetched(stats)
            if not end:
                self.losses.append(value)
                self.parameters, self.state, self.memory = after, state, memory
                progress.advance()
        if wanted is not None and max(wanted) > step:
            raise InvalidArgumentError(f"step {max(wanted)} was not reached: there are {step} batches", "at")
        return found

    def gradients(self, parameters: Any, batch: Batch) -> tuple[tuple[jax.Array, Any], Any]:
        """((loss, state that it leaves), gradients)."""
        try:
            return self.slope(parameters, self.state, batch)
        except Exception as error:  # the model may raise anything
            raise in_its_words(error, self.learner.name) from None

    def other(self, batch: Batch, rounding: float) -> tuple[jax.Array, Any]:
        """(loss, gradients) of parameters that are rounded otherwise."""
        (value, _), gradients = self.gradients(rounded_otherwise(self.parameters, rounding), batch)
        return value, gradients

    def slope_of(self, parameters: Any, state: Any, batch: Batch) -> tuple[tuple[jax.Array, Any], Any]:
        """((loss, state that it leaves), gradients), traced."""
        subject = self.learner.subject(parameters, state, batch)
        differentiated = jax.value_and_grad(subject.function, has_aux=True)
        (value, (_, left)), gradients = differentiated(subject.parameters, *subject.batch)
        return (value, left), gradients

    def told(self, parameters: Any, after: Any, state: Any, batch: Batch) -> tuple[Stats, Any]:
        """(statistics of a step, the gradients of the probed model), traced."""
        subject = self.learner.subject(parameters, state, batch)
        plan = plan_of(subject)
        if not plan.layout.products:
            raise InvalidArgumentError(f"{subject.name} has no matrix product of a signal")
        _, gradients, stats = measured(plan, None, subject.parameters, *subject.batch)
        return updated(plan, stats, subject.parameters, after), gradients


def tracked(found: dict[int, Stats], losses: np.ndarray, optimizer: str) -> xr.Dataset:
    """The dataset of recorded steps, and of the loss at every step."""
    first = next(iter(found.values())).layout
    if any(stats.layout.rows != first.rows for stats in found.values()):
        raise InvalidArgumentError("batches of other shapes lead through other sites", "batches")
    ds = dataset_of([[stats] for stats in found.values()])
    about = {str(name): ("config", one.values[:1]) for name, one in ds.coords.items() if one.dims == ("config",)}
    ds = ds.drop_vars(list(about)).rename(config="step").expand_dims("config").transpose("config", "seed", "step", ...)
    lost = np.flatnonzero(~np.isfinite(losses))
    diverged = np.array([[lost[0] if lost.size else np.nan]])
    ds["batch_loss"] = ("config", "seed", "training_step"), losses[None, None], {"long_name": "loss before its update"}
    ds["diverged_step"] = ("config", "seed"), diverged, {"long_name": "first step whose loss is not finite"}
    steps = {"step": list(found), "training_step": np.arange(losses.size)}
    ds = ds.assign_coords(about | steps | {"optimizer": ("config", [optimizer])})
    return ds.assign_attrs(kind="track_model", steps=losses.size)
