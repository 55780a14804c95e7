"""`varprobe.coord_check`: what grows or shrinks with width in the first steps of training, layer by layer.

Yang et al. 2021 (Tensor Programs V), appendix D.1: where a parametrization is muP, every layer's values, and what
training changes of them, keep their size while the width grows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.model.changing import Sizes, log10_mean_square, sizes, sizes_by_row
from varprobe.model.faults import in_its_words
from varprobe.model.layout import Layout
from varprobe.model.libraries import name_of
from varprobe.model.probed import plan_of
from varprobe.spec.argument_types import checks_types
from varprobe.spec.arguments import listed, numbers, single
from varprobe.spec.calls import Call
from varprobe.spec.extras import needed
from varprobe.storage.progress import Progress, Unwatched
from varprobe.training.cases import Case, Checked, FactoryCheck, stacks, takes_a_key
from varprobe.training.feed import Batch
from varprobe.training.optimizers import read_optimizers
from varprobe.training.step import Learner, moved, ready

__all__ = ["coord_check"]

WIDTHS = "64,128,...,2048"
SEEDS = 5
MOST_STEPS = MOST_SEEDS = 1000

VARIABLES = {
    "value_log10_mean_square": "log10 of the mean square of a preactivation; of sites without one, of their value",
    "change_log10_mean_square": "the same of what training changed of it since step 0, on the same batch",
    "weight_log10_mean_square": "the same of the weight",
    "update_log10_mean_square": "the same of what the step adds to the weight",
}


@checks_types
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
        layers being sites in the order of execution: value_log10_mean_square, change_log10_mean_square (-inf at step
        0), weight_log10_mean_square and update_log10_mean_square, what each step adds (of the last step, what one more
        would); batch_loss (config, seed, width, step). `varprobe.diagnose` judges by the powers of width between
        neighboring widths; three widths or more show whether a curve levels off.

    Raises:
        InvalidArgumentError: one width only, or an argument that is wrong.

    Example:
        ds = varprobe.coord_check(widths="64,128,...,1024", init="mup", optimizer="adam(lr=0.001)")
        print(varprobe.diagnose(ds))
    """
    needed("optax", "optimizers", extra="train")
    wanted = sorted(numbers("widths", widths, 1))
    if len(wanted) < 2:
        raise InvalidArgumentError(f"a power of width needs two widths at least, got {wanted[0]}", "widths")
    steps = single("steps", steps, 1, MOST_STEPS)
    optimizers = read_optimizers(optimizer)
    base = wanted[0] if base_width is None else single("base_width", base_width, 1)
    of_stacks = {"depth": depth, "act": act, "init": init, "batch": batch, "data": data, "base_width": base_width}
    checks: list[Checked]
    if factory is not None:
        odd = next((name for name, value in of_stacks.items() if value is not None), None)
        if odd is not None:
            raise InvalidArgumentError(f"{of_stacks[odd]} goes with stacks; a factory has its own", odd)
        if not callable(factory):
            raise InvalidArgumentError(f"{factory!r:.80} is no function of a width", "factory")
        keyed = takes_a_key(factory, name_of(factory))
        if not keyed and seeds not in (None, 1):
            raise InvalidArgumentError("every seed is the same: the factory takes no key", "seeds")
        count = single("seeds", (SEEDS if keyed else 1) if seeds is None else seeds, 1, MOST_SEEDS)
        checks = [FactoryCheck(factory, name_of(factory), one, steps, keyed) for one in optimizers]
    else:
        count = single("seeds", SEEDS if seeds is None else seeds, 1, MOST_SEEDS)
        given = {"depth": 4 if depth is None else depth, "act": "relu" if act is None else act}
        given |= {"batch": 16 if batch is None else batch, "data": "digits" if data is None else data}
        inits = inits_of("mup,standard" if init is None else init)
        checks = [*stacks(wanted, inits, optimizers, base, steps, root_seed=root_seed, **given)]
    progress = progress or Unwatched()
    progress.start(len(checks) * len(wanted) * count, 0)
    return gathered(checks, wanted, count, steps, base, progress)


def inits_of(init: Any) -> list[Any]:
    """Each initializer by itself.

    Raises:
        InvalidArgumentError: there is none, or something else.
    """
    found = listed("init", init)
    return [str(one) if isinstance(one, Call) else dict([one]) if isinstance(one, tuple) else one for one in found]


class StepStats(NamedTuple):
    """What one step says: the loss before it, and log10 of mean squares; weights and updates by leaf."""

    loss: Any
    sizes: Sizes
    weights: dict[int, Any]
    updates: dict[int, Any]


def gathered(
    checks: list[Checked], widths: list[int], seeds: int, steps: int, base: int, progress: Progress
) -> xr.Dataset:
    """Train all, width by width, and put it together."""
    shape = (len(checks), seeds, len(widths), steps + 1)
    losses, fan_in = np.full(shape, np.nan), []
    found: dict[str, np.ndarray] = {}
    first: Layout | None = None
    for w, width in enumerate(widths):
        programs: dict[Hashable, Program] = {}
        for c, check in enumerate(checks):
            for seed in range(seeds):
                case = check.case(width, seed)
                key = check.optimizer.structure, case.key, c if isinstance(check, FactoryCheck) else 0
                program = programs.setdefault(key, Program(case.learner, case.transform))
                for t, told in enumerate(program.walk(case, steps)):
                    if not t:
                        first = first or program.known
                        same_sites(first, program.known, width)
                    losses[c, seed, w, t] = told.loss
                    for name, values in columns(program.known, told).items():
                        found.setdefault(name, np.full((*shape, values.size), np.nan))[c, seed, w, t] = values
                progress.advance()
        fan_in.append([row.fan_in for row in program.known.rows])
    assert first is not None
    return dataset(checks, first, found, losses, fan_in, widths, base)


class Program:
    """What is compiled for a width."""

    def __init__(self, learner: Learner, transform: Any) -> None:
        self.learner, self.transform = learner, transform
        self.step = jax.jit(self.traced)
        self.layout: Layout | None = None

    @property
    def known(self) -> Layout:
        """The sites, once it has run."""
        assert self.layout is not None
        return self.layout

    def walk(self, case: Case, steps: int) -> Iterator[StepStats]:
        """Train; what is told of steps 0 to `steps`, on the host."""
        first = parameters = ready(case.parameters)
        state, memory = ready(case.state), ready(case.transform(case.values).init(parameters))
        for _ in range(steps + 1):
            try:
                told, parameters, state, memory = self.step(first, parameters, state, memory, case.batch, case.values)
            except Exception as error:  # the model may raise anything
                raise in_its_words(error, self.learner.name) from None
            yield jax.device_get(told)

    def traced(
        self, first: Any, parameters: Any, state: Any, memory: Any, batch: Batch, values: Any
    ) -> tuple[StepStats, Any, Any, Any]:
        """(what is told, parameters, the model's state, the optimizer's) after a step."""
        subject = self.learner.subject(parameters, state, batch)
        plan = plan_of(subject)
        if not plan.layout.products:
            raise InvalidArgumentError(f"{self.learner.name} has no matrix product of a signal", "factory")
        self.layout = plan.layout
        differentiated = jax.value_and_grad(subject.function, has_aux=True)
        (value, (_, left)), gradients = differentiated(subject.parameters, *subject.batch)
        after, memory = moved(self.transform(values), subject.parameters, memory, gradients, value)
        leaves = list(zip(jax.tree.leaves(subject.parameters), jax.tree.leaves(after), plan.slices, strict=True))
        kernels = sorted({row.kernel[0] for row in plan.layout.rows} - {-1})
        told = StepStats(
            value,
            sizes(plan, first, subject.parameters, *subject.batch),
            {i: log10_mean_square(leaves[i][0], leaves[i][2]) for i in kernels},
            {i: log10_mean_square(leaves[i][1] - leaves[i][0], leaves[i][2]) for i in kernels},
        )
        return told, after, left, memory


def same_sites(one: Layout, other: Layout, width: int) -> None:
    """Refuse a width at which a model has other sites.

    Raises:
        InvalidArgumentError: and one of them.
    """
    names = [{(row.site, row.iteration): None for row in layout.rows} for layout in (one, other)]
    if list(names[0]) != list(names[1]):
        odd = next(iter(names[0].keys() ^ names[1].keys()), next(iter(names[1])))
        raise InvalidArgumentError(f"the sites are not the same at width {width}: see {odd[0]}", "factory")


def columns(layout: Layout, told: StepStats) -> dict[str, np.ndarray]:
    """`VARIABLES` in the rows of the layout."""
    value, change = sizes_by_row(layout, told.sizes)

    def of_kernels(found: dict[int, Any]) -> np.ndarray:
        return np.array(
            [found[leaf][index] if leaf >= 0 else np.nan for leaf, index in (r.kernel for r in layout.rows)]
        )

    return dict(zip(VARIABLES, (value, change, of_kernels(told.weights), of_kernels(told.updates)), strict=True))


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
        name: ((*dims, "layer"), found[name], {"long_name": text}) for name, text in VARIABLES.items()
    }
    data["batch_loss"] = dims, losses, {"long_name": "loss before the step"}
    about = [check.about for check in checks]
    coords: dict[str, Any] = {name: ("config", [one[name] for one in about]) for name in about[0]}
    coords |= {
        "seed": np.arange(losses.shape[1]),
        "width": widths,
        "step": np.arange(losses.shape[-1]),
        "layer": np.arange(1, len(rows) + 1),
        "site": ("layer", [row.site for row in rows]),
        "depth": ("config", [len(rows)] * len(checks)),
        "kind": ("layer", [row.kind for row in rows]),
        "iteration": ("layer", [row.iteration for row in rows]),
        "fan_in": (("width", "layer"), np.array(fan_in)),
    }
    attrs = {
        "kind": "coord_check",
        "about": checks[0].title,
        "seeds": losses.shape[1],
        "steps": losses.shape[-1] - 1,
        "base_width": base,
        "data_description": checks[0].data,
        "coverage": layout.coverage,
        "varprobe_version": version("varprobe"),
        "jax_version": version("jax"),
    }
    return xr.Dataset(data, coords, attrs)
