"""Run probes: one job is one seed of some networks, and its table has arrays whose first axis is these networks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import jax
import numpy as np

from varprobe.engine.inputs import arguments
from varprobe.engine.random_bits import keys_of
from varprobe.engine.wired.cell import WiredStatistics, run_wired
from varprobe.engine.wired.groups import WiredGroup, wired_groups
from varprobe.engine.wired.program import Wired
from varprobe.engine.wired.tables import joined
from varprobe.errors import MachineError, first_line
from varprobe.nets.activations import Activation, Asymptotics, behavior
from varprobe.nets.config import Config, SweepSettings
from varprobe.storage.tasks import Table, TaskFile
from varprobe.sweeps.probe_options import ProbeOptions
from varprobe.sweeps.probes.distributions import Distributions, densities
from varprobe.sweeps.probes.jacobians import jacobian_tables, needs_batch
from varprobe.sweeps.probes.pairs import Pairs, cosines, effective_rank, partners
from varprobe.sweeps.request import Request

__all__ = ["Task", "jobs_of", "run_jobs"]

Kind = Literal["pairs", "batch", "jacobian"]
JACOBIAN_BYTES = 1 << 28
PARTS = ("density", "share_below", "share_above")
SCALED = {"max": 1, "min": 1, "median": 1, "mean_square": 2}
"""Numbers of singular values that go with their scale, and the power."""
PAIR_NOISE = 2
"""fold_in of the data's key for the directions of partners; 1 is that of the embedding."""


@dataclass(frozen=True, eq=False)
class Task:
    """A probe of the networks of a group, for one seed; `steps` is what it counts for in the progress."""

    kind: Kind
    group: WiredGroup
    setting: SweepSettings
    asked: ProbeOptions
    seed: int
    file: TaskFile | None = None

    @property
    def configs(self) -> list[int]:
        """The configurations."""
        return self.group.configs

    @property
    def steps(self) -> int:
        """A Jacobian's layers are told one by one."""
        return self.group.program.depth if self.kind == "jacobian" else 1


def jobs_of(request: Request) -> list[Task]:
    """All of a request."""
    asked, configs = request.probes, list(enumerate(request.configs))
    behaviors: dict[Activation, Asymptotics] = {act: behavior(act) for act in dict.fromkeys(c.act for _, c in configs)}
    grouped = partial(wired_groups, behaviors=behaviors)
    cotangent = replace(request.setting, loss="cotangent", outputs=0)
    exact = replace(cotangent, dtype="float64", real_range=False, forward_only=True)
    plans: list[tuple[Kind, SweepSettings, list[WiredGroup]]] = []
    if asked.correlation:
        plans.append(("pairs", cotangent, [paired(c) for c in grouped(configs, cotangent)]))
    if asked.correlation or asked.histogram:
        watcher = Distributions(bool(asked.correlation), asked.histogram)
        setting = request.setting if asked.histogram else replace(cotangent, forward_only=True)
        watching = [replace(c, program=replace(c.program, watcher=watcher)) for c in grouped(configs, setting)]
        plans.append(("batch", setting, watching))
    if asked.jacobian:
        groups = [c for some in slices(configs) for c in grouped(some, exact)]
        plans.append(("jacobian", exact, groups))
    seeds = range(request.setting.seeds)
    return [Task(kind, group, setting, asked, seed) for kind, setting, own in plans for seed in seeds for group in own]


def paired(group: WiredGroup) -> WiredGroup:
    """The group with a partner for every sample."""
    batch = group.program.batch
    return replace(group, program=replace(group.program, batch=2 * batch, watcher=Pairs(batch)))


def slices(configs: list[tuple[int, Config]]) -> Iterator[list[tuple[int, Config]]]:
    """Configurations whose Jacobians of a layer fit into memory together."""
    width = max(max(c.widths) for _, c in configs)
    size = max(1, JACOBIAN_BYTES // (32 * width * width))
    for start in range(0, len(configs), size):
        yield configs[start : start + size]


def run_jobs(jobs: list[Task], step: Callable[[Task], object] = id) -> Iterator[tuple[Task, Table]]:
    """Each job with its table; `step` is called after each layer of a Jacobian.

    One after the other: products and decompositions use all cores themselves.

    Raises:
        MachineError: the device or its memory failed.
    """
    try:
        for job in jobs:
            for table in tables(job):
                if table is None:
                    step(job)
                else:
                    yield job, table
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        raise MachineError(f"the device failed: {first_line(error)}") from error
    except np.linalg.LinAlgError as error:
        raise MachineError(f"no singular values: {error}") from error


def tables(job: Task) -> Iterator[Table | None]:
    """The job's table last; None wherever it got one step further before."""
    steps = {"pairs": pair_table, "batch": batch_table, "jacobian": layer_by_layer}[job.kind](job)
    table: Table | None = None
    while table is None:
        with jax.enable_x64(job.setting.dtype == "float64"):  # not around a yield, where others go on
            table = next(steps)
        yield of_members(job.group, table) if table else None


def of_members(group: WiredGroup, table: Table) -> Table:
    """The table of a group's configurations, from that of its nets; scales show in Jacobians only."""
    columns = [column for column, _ in group.columns]
    scales = np.array([member.log10_scales for _, member in group.columns])
    shifts = {"jacobian_log10_singular_values": scales.sum(axis=1, keepdims=True)}
    up = np.concatenate([np.zeros((len(scales), 1)), scales], axis=1)
    for name, times in SCALED.items():
        shifts |= {f"jacobian_log10_{name}": times * up.cumsum(axis=1), f"partial_jacobian_log10_{name}": times * up}
    return {name: values[columns] + shifts.get(name, 0.0) for name, values in table.items()}


def layer_by_layer(job: Task) -> Iterator[Table | None]:
    """The Jacobians."""
    program = job.group.program
    running, keys, x, _, numbers = arguments(job.group, job.setting, job.seed)
    batch = program.batch if needs_batch(program) else 1
    yield from jacobian_tables(replace(program, batch=batch), running, keys, x, numbers)


@partial(jax.jit, static_argnums=0)
def watch(program: Wired, running: Any, *arguments: Any) -> tuple[dict[str, Any], WiredStatistics]:
    """(what the watcher says of the input, of everything else)."""
    assert program.watcher
    return program.watcher.seen(arguments[1][None]), run_wired(program, running, *arguments)


def layered(job: Task, *given: Any) -> tuple[Table, Table]:
    """(of activations from layer 0, of gradients from layer 1; none where nothing goes backward), layers first."""
    inputs, found = jax.device_get(watch(job.group.program, *given))
    scalars = joined(found.scalars)
    nets = job.group.program.nets
    forward = {
        name: np.concatenate([np.repeat(np.asarray(first, np.float64), nets, axis=0)[None], scalars[name]])
        for name, first in inputs.items()
    }
    return forward, joined([segment["watched"] for segment in found.backward]) if found.backward else {}


def by_net(values: np.ndarray) -> np.ndarray:
    """Nets first, then layers 0 to L; what has no layer 0 gets NaN there."""
    return np.swapaxes(values, 0, 1)


def from_layer_1(values: np.ndarray) -> np.ndarray:
    """The same with NaN for layer 0."""
    return np.concatenate([np.full((1, *values.shape[1:]), np.nan), values])


def pair_table(job: Task) -> Iterator[Table]:
    """Cosines of activations and gradients, (nets, layers, cosines at the input)."""
    batch = job.group.program.batch // 2
    half = replace(job.group, program=replace(job.group.program, batch=batch))
    running, keys, x, target, numbers = arguments(half, job.setting, job.seed)
    key = jax.random.fold_in(keys_of(job.setting.root_seed, job.seed)["data"], PAIR_NOISE)
    with jax.enable_x64(False):
        noise = np.asarray(jax.random.normal(key, x.shape))
    target = np.concatenate([target, target])
    forward, backward = [], []
    for c0 in job.asked.correlation:
        both = np.concatenate([x, partners(x, c0, noise).astype(x.dtype)])
        seen, arrived = layered(job, running, keys, both, target, numbers)
        forward.append(cosines(seen["apart"]))
        shape = forward[-1].shape
        backward.append(from_layer_1(cosines(arrived["apart"])) if arrived else np.full(shape, np.nan))
    stacked = {"pair_correlation": forward, "gradient_pair_correlation": backward}
    yield {name: by_net(np.stack(values, axis=-1)) for name, values in stacked.items()}


def batch_table(job: Task) -> Iterator[Table]:
    """What the batch as it is has to say: effective rank, kurtosis and histograms."""
    seen, arrived = layered(job, *arguments(job.group, job.setting, job.seed))
    table: Table = {}
    if "gram" in seen:
        table["effective_rank"] = effective_rank(seen["gram"])
    for quantity, found in (("activation", seen), ("gradient", {k: from_layer_1(v) for k, v in arrived.items()})):
        if "below" in found:
            table[f"{quantity}_kurtosis"] = np.asarray(found["kurtosis"], np.float64)
            parts = densities(found["below"])
            table |= dict(zip((f"{quantity}_{name}" for name in PARTS), parts, strict=True))
    yield {name: by_net(values) for name, values in table.items()}
