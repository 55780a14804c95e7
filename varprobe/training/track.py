"""`varprobe.track`: what becomes of signals and gradients in the first steps of training."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.spec.argument_types import checks_types
from varprobe.storage.paths import folder_of
from varprobe.storage.progress import Progress
from varprobe.training.optimizers import DEFAULT
from varprobe.training.request import read_training
from varprobe.training.run import run_training

__all__ = ["SEEDS", "track"]

SEEDS = 3
STEPS = 100


@checks_types
def track(
    loss_fn: Callable[..., Any] | None = None,
    params: Any = None,
    optimizer: Any = DEFAULT,
    batches: Iterable[Any] | None = None,
    *,
    steps: int | None = None,
    at: Any = None,
    out: str | os.PathLike[str] | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
    after: Callable[[Any], None] | None = None,
    **stack: Any,
) -> xr.Dataset:
    """Measure signals and gradients, layer by layer, at chosen steps of training.

    Two ways to ask: `track(loss_fn, params, optimizer, batches)` for a model of your own, and
    `track(depth=50, act="relu", init="he_normal", optimizer="sgd(lr=0.1)", steps=100)` for stacks, all combinations of
    what is given, optimizers among them, trained by compiled scans over the steps.

    Args:
        loss_fn: loss_fn(params, *batch) -> scalar or (scalar, anything), as `varprobe.probe` takes it.
        params: its parameters, any pytree, or a module. What the optimizer leaves alone is measured, too.
        optimizer: text such as "sgd(lr=0.1),adam(lr=1e-3,clip=1)" (`varprobe list optimizers`), "FILE.py:NAME" of a
            function that returns an `optax.GradientTransformation`, such an object, or {"Label": object}; of a model
            one.
        batches: an iterable of the tuples behind params, one a step; or one tuple of arrays, which serves every step.
        steps: how many updates; 100, or as many as there are batches.
        at: at which steps to measure, from 0 to `steps`: before the first update, and after so many. 0, 1, 2, 4, ...
            and the last.
        out: of stacks: a run folder, made if it is not there; what is finished is kept, and the same request again
            computes only what is missing. None writes nothing.
        fresh: compute what is in the folder again.
        progress: told what is going on; without it notes are Python warnings.
        after: of a model: is given the parameters at the end.
        stack: what `varprobe.sweep` takes, with these differences. data: "digits" (the default), a file or an array, of
            which each epoch is given in a new order. labels: for data of your own. loss: "cross_entropy" or "mse";
            without it what the labels are. seeds: 3.

    Returns:
        A dataset with dims (config, seed, step, layer): all that `varprobe.sweep` (or `varprobe.probe`) measures, of
        the batch of that step; update_log10_mean_square and update_log10_ratio, log10 of the mean square of what the
        step changes the weights by, and of its RMS over theirs. `batch_loss` by (config, seed, training_step); of
        stacks `final_loss` and `final_accuracy`, over at most 2048 samples. A net that leaves the range of floats is no
        error: `diverged_step` has the first step whose loss is not finite (NaN where there is none).

    Raises:
        InvalidArgumentError: a value is wrong, the data have no labels, or fewer samples than a batch.
        MachineError: disk, memory or device failed; what was finished is kept.

    Example:
        ds = varprobe.track(depth=50, act="relu", init=["he_normal", "glorot_normal"], optimizer="adam", steps=100)
        print(varprobe.diagnose(ds))
        ds = varprobe.track(loss_fn, params, optax.adam(1e-3), batches)
        ds.update_log10_ratio.sel(step=0)
    """
    if loss_fn is not None:
        from varprobe.training.own import track_model

        for name, value in (("out", out), *stack.items()):
            if value is not None:
                raise InvalidArgumentError("is for stacks; a model of your own has its own", name)
        return track_model(loss_fn, params, optimizer, batches, steps=steps, at=at, progress=progress, after=after)
    for name, value in (("params", params), ("batches", batches), ("after", after)):
        if value is not None:
            raise InvalidArgumentError("goes with a loss_fn: track(loss_fn, params, optimizer, batches)", name)
    stack.setdefault("seeds", SEEDS)
    training = read_training("track", optimizer=optimizer, steps=STEPS if steps is None else steps, at=at, **stack)
    return run_training(training, None if out is None else folder_of(out, "out"), fresh, progress)
