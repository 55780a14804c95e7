"""`varprobe.coord_check`: what grows or shrinks with width in the first steps of training, layer by layer.

Yang et al. 2021 (Tensor Programs V), appendix D.1: where a parametrization is muP, every layer's values, and what
training changes of them, keep their size while the width grows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
import xarray as xr

from varprobe.arguments import numbers, single
from varprobe.callform import split_items
from varprobe.errors import RequestError
from varprobe.exports.extras import needed
from varprobe.model.adapters import name_of
from varprobe.model.agreement import reference, require_agreement, rounded_otherwise
from varprobe.model.changing import changes
from varprobe.model.faults import in_its_words
from varprobe.model.layout import Layout
from varprobe.model.probed import Stats, measured, plan_of, updated
from varprobe.model.running import Statistics
from varprobe.model.tables import at, columns_of, moments
from varprobe.progress import Progress, Unwatched
from varprobe.training.cases import Case, Checked, FactoryCheck, stacks, takes_a_key
from varprobe.training.learner import moved
from varprobe.training.optimizers import read_optimizers

__all__ = ["coord_check"]

WIDTHS = "64,128,...,2048"
SEEDS = 5
MOST_STEPS = 1000

VARIABLES = {
    "value_log10_ms": "log10 of the mean square of a preactivation; of sites without an activation, of their value",
    "change_log10_ms": "the same of what training changed of it since step 0, on the same batch",
    "gradient_log10_ms": "the same of dLoss/d(value)",
    "weight_log10_ms": "the same of the weight",
    "update_log10_ms": "the same of what the step adds to the weight",
}


def coord_check(
    factory: Callable[..., Any] | None = None,
    *,
    widths: Any = WIDTHS,
    depth: int | None = None,
    act: Any = None,
    init: Any = None,
    optimizer: Any = "adam",
    steps: int = 4,
    seeds: int | None = None,
    base_width: int | None = None,
    batch: int | None = None,
    data: Any = None,
    root_seed: int = 0,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Train nets of several widths for some steps on one batch, and record the size of every value and of its change.

    Args:
        factory: factory(width) or factory(width, key) -> (loss_fn, params, *batch), or (module, *batch), as
            `varprobe.probe` takes it, with {"loss": ..., "optimizer": an optax.GradientTransformation} behind where
            needed; without it, stacks of `varprobe.sweep` with the loss cross_entropy.
        widths: two at least; "64,128,...,4096", a range or a list.
        depth: weight layers of a stack, without its read-out; 4.
        act: its activation; "relu".
        init: initializers: "mup" with muP's learning rates (`varprobe.training.mup`), "standard" (lecun_normal) and any
            other with one learning rate for all; "mup,standard".
        optimizer: those that can be named, or optax's own. What a factory gives is used instead.
        steps: how many.
        seeds: draws, 5; of a factory that takes no key there is one.
        base_width: at which muP's learning rates are those of the optimizer; the smallest.
        batch: samples, the same ones at every step; 16.
        data: what `varprobe.sweep` takes; "digits".
        root_seed: everything random in stacks follows from it.
        progress: is told of every net.

    Returns:
        A dataset with dims (config, seed, width, step, layer), a configuration for each initializer and optimizer,
        layers being sites in the order of execution: value_log10_ms, change_log10_ms (-inf at step 0),
        gradient_log10_ms, weight_log10_ms and update_log10_ms, what each step adds (of the last step, what one more
        would); batch_loss (config, seed, width, step). `varprobe.diagnose` fits powers of width to them.

    Raises:
        RequestError: one width only, or an argument that is wrong.

    Example:
        ds = varprobe.coord_check(widths="64,128,...,1024", init="mup", optimizer="adam(lr=0.001)")
        print(varprobe.diagnose(ds))
    """
    needed("optax", "optimizers", extra="train")
    wanted = sorted(numbers("widths", widths, 1))
    if len(wanted) < 2:
        raise RequestError(f"a power of width needs two widths at least, got {wanted[0]}", "widths")
    steps = single("steps", steps, 1, MOST_STEPS)
    optimizers = read_optimizers(optimizer)
    base = wanted[0] if base_width is None else single("base_width", base_width, 1)
    of_stacks = {"depth": depth, "act": act, "init": init, "batch": batch, "data": data, "base_width": base_width}
    checks: list[Checked]
    if factory is not None:
        odd = next((name for name, value in of_stacks.items() if value is not None), None)
        if odd is not None:
            raise RequestError(f"{of_stacks[odd]!r} goes with stacks; a factory has its own", odd)
        if not callable(factory):
            raise RequestError(f"{factory!r:.80} is no function of a width", "factory")
        keyed = takes_a_key(factory, name_of(factory))
        if not keyed and seeds not in (None, 1):
            raise RequestError("every seed is the same: the factory takes no key", "seeds")
        count = single("seeds", (SEEDS if keyed else 1) if seeds is None else seeds, 1)
        checks = [FactoryCheck(factory, name_of(factory), one, steps, keyed) for one in optimizers]
    else:
        count = single("seeds", SEEDS if seeds is None else seeds, 1)
        given = {"depth": 4 if depth is None else depth, "act": "relu" if act is None else act}
        given |= {"batch": 16 if batch is None else batch, "data": "digits" if data is None else data}
        inits = inits_of("mup,standard" if init is None else init)
        checks = [*stacks(wanted, inits, optimizers, base, steps, root_seed=root_seed, **given)]
    progress = progress or Unwatched()
    progress.start(len(checks) * len(wanted) * count, 0)
    return gathered(checks, wanted, count, steps, base, progress)


def inits_of(init: Any) -> list[Any]:
    """Each initializer by itself."""
    if isinstance(init, str):
        return split_items(init)
    return [one for item in init for one in inits_of(item)] if isinstance(init, list | tuple) else [init]


def gathered(
    checks: list[Checked], widths: list[int], seeds: int, steps: int, base: int, progress: Progress
) -> xr.Dataset:
    """Train all, width by width, and put it together."""
    shape = (len(checks), seeds, len(widths), steps + 1)
    found: dict[str, np.ndarray] = {}
    losses, fan_in, layout = np.full(shape, np.nan), [], None
    for w, width in enumerate(widths):
        programs: dict[Hashable, Any] = {}
        for c, check in enumerate(checks):
            for seed in range(seeds):
                case = check.case(width, seed)
                key = (check.optimizer.structure, case.key, c if isinstance(check, FactoryCheck) else 0)
                if key not in programs:
                    programs[key] = jax.jit(partial(step, case.learner, case.transform))
                program = programs[key]
                for t, (stats, moves) in enumerate(walk(program, case, steps, checked=not (w or seed))):
                    same_sites(layout, stats.layout, width)
                    layout = layout or stats.layout
                    losses[c, seed, w, t] = stats.loss
                    for name, values in columns(stats, moves).items():
                        found.setdefault(name, np.full((*shape, values.size), np.nan))[c, seed, w, t] = values
                    if (c, seed, t) == (0, 0, 0):
                        fan_in.append([row.fan_in for row in stats.layout.rows])
                progress.advance()
    assert layout is not None
    return dataset(checks, layout, found, losses, fan_in, widths, base)


def walk(program: Any, case: Case, steps: int, checked: bool) -> Any:
    """(statistics, changes since step 0) at steps 0 to `steps`, on the host."""
    first = parameters = case.parameters
    state, memory = case.state, case.transform(case.values).init(parameters)
    for t in range(steps + 1):
        try:
            told, gradients, parameters_after, memory_after, left = program(
                first, parameters, state, memory, case.batch, case.values
            )
        except Exception as error:
            raise in_its_words(error, case.learner.name) from None
        if checked and not t:
            agree(case, told[0].loss, gradients)
        yield jax.device_get(told)
        parameters, memory, state = parameters_after, memory_after, left


def step(
    learner: Any, transform: Any, first: Any, parameters: Any, state: Any, memory: Any, batch: Any, values: Any
) -> Any:
    """((statistics, changes), gradients, parameters, the optimizer's state, the model's) after a step, traced."""
    subject = learner.subject(parameters, state, batch)
    plan = plan_of(subject)
    if not plan.layout.products:
        raise RequestError(f"{learner.name} has no matrix product of a signal", "factory")
    (value, (_, left)), gradients, stats = measured(plan, None, subject.parameters, *subject.batch)
    moves = changes(plan, first, subject.parameters, *subject.batch)
    after, memory = moved(transform(values), subject.parameters, memory, gradients, value)
    return (updated(plan, stats, subject.parameters, after), moves), gradients, after, memory, left


def agree(case: Case, value: Any, gradients: Any) -> None:
    """Compare loss and gradients with those of the model as it is."""

    def plain(parameters: Any) -> Any:
        subject = case.learner.subject(parameters, case.state, case.batch)
        return reference(subject.function, subject.parameters, *subject.batch)

    as_it_is = jax.jit(plain)
    other = partial(lambda p: as_it_is(rounded_otherwise(p)), case.parameters)
    require_agreement(as_it_is(case.parameters), (value, gradients), other)


def same_sites(one: Layout | None, other: Layout, width: int) -> None:
    """Refuse a width at which a model has other sites.

    Raises:
        RequestError: and which.
    """
    if one is None:
        return
    sites = [[(row.site, row.iteration) for row in layout.rows] for layout in (one, other)]
    if sites[0] != sites[1]:
        odd = next(iter(set(sites[0]) ^ set(sites[1])), sites[1][0])
        raise RequestError(f"at width {width} the model has other sites: {odd[0]} is not at every width", "factory")


def columns(stats: Stats, moves: Statistics) -> dict[str, np.ndarray]:
    """`VARIABLES` in the rows of the layout."""
    told = columns_of(stats)
    found = {name: told[name][1:] for name in VARIABLES if name in told}
    for name, side in (("value_log10_ms", stats.forward), ("change_log10_ms", moves)):
        found[name] = np.full(len(stats.layout.rows), np.nan)
        for i, row in enumerate(stats.layout.rows):
            slot, index = next((slot, index) for role, slot, index in row.slots if role == "value")
            found[name][i] = moments(at(side[slot], index))["log10_ms"]
    return found


def dataset(
    checks: list[Checked],
    layout: Layout,
    found: dict[str, np.ndarray],
    losses: np.ndarray,
    fan_in: list[list[int]],
    widths: list[int],
    base: int,
) -> xr.Dataset:
    """With dims and coordinates."""
    dims = ("config", "seed", "width", "step")
    rows = layout.rows
    data: dict[str, Any] = {
        name: ((*dims, "layer"), found[name], {"long_name": text}) for name, text in VARIABLES.items() if name in found
    }
    data["batch_loss"] = dims, losses, {"long_name": "loss before the step"}
    about = [check.about for check in checks]
    coords: dict[str, Any] = {name: ("config", [one[name] for one in about]) for name in about[0]}
    coords |= {
        "optimizer": ("config", [check.optimizer.name for check in checks]),
        "seed": np.arange(losses.shape[1]),
        "width": widths,
        "step": np.arange(losses.shape[-1]),
        "layer": np.arange(1, len(rows) + 1),
        "site": ("layer", [row.site for row in rows]),
        "kind": ("layer", [row.kind for row in rows]),
        "iteration": ("layer", [row.iteration for row in rows]),
        "fan_in": (("width", "layer"), np.array(fan_in)),
    }
    attrs = {
        "seeds": losses.shape[1],
        "steps": losses.shape[-1] - 1,
        "base_width": base,
        "data_description": checks[0].data,
        "coverage": layout.coverage,
        "varprobe_version": version("varprobe"),
        "jax_version": version("jax"),
    }
    return xr.Dataset(data, coords, attrs)
