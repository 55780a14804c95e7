"""Which nets are trained together, and what comes of them: one job is one seed of some nets of one program."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from varprobe.engine.compile import CPU_OPTIONS
from varprobe.engine.random_bits import keys_of
from varprobe.engine.statistics import LOG10_2, log10
from varprobe.engine.wired.cell import Keys
from varprobe.errors import MachineError, first_line
from varprobe.nets.config import SweepSettings
from varprobe.storage.memory import free_bytes
from varprobe.storage.provenance import cores
from varprobe.storage.tasks import Table, TaskFile
from varprobe.sweeps.local_executor import together
from varprobe.sweeps.queue import Queue
from varprobe.training.batches import lesson
from varprobe.training.init_params import DrawCache, starting_params, unstacked
from varprobe.training.measuring import StepProbe, gauge_of
from varprobe.training.program import Given, Shared, TrainConfig, TrainResult, train
from varprobe.training.request import Training
from varprobe.training.trainee import StackModel, filled, numbers_of, serving, trainee_of

__all__ = ["Task", "Outcome", "jobs_of", "outcomes", "params_after", "run_job"]

JOB_BYTES = 64 * 2**20
"""Parameters of a job's nets at most, where there are several. Fixed: the size of a machine does not decide who is
trained with whom."""

MOST_SIDE_BY_SIDE = 64
MOST_ONE_BY_ONE = 8
"""Nets of a job; the fewer, the more equal are the shares of cores."""

WORKING = 8
"""Times the parameters of a net that it takes to train it."""

Outcome = Table

compiling: defaultdict[Any, threading.Lock] = defaultdict(threading.Lock)
programs: dict[Any, Any] = {}
"""The latest compiled programs; the memory maps that a process may have would not do for hundreds of them."""

MOST_PROGRAMS = 8
MOST_DRAWN = 4
"""Seeds whose draws are remembered."""

drawing = threading.Lock()
drawn: dict[tuple[int, int], DrawCache] = {}


@dataclass(frozen=True, eq=False)
class Task:
    """Networks, by their places along `config`, for one seed; `spare` more make it as large as others of its program.

    stop: the step after which they are as wanted; None for the last. file: where its numbers are kept.
    """

    training: Training
    course: TrainConfig
    nets: tuple[int, ...]
    seed: int
    spare: int = 0
    stop: int | None = None
    file: TaskFile | None = None

    @property
    def steps(self) -> int:
        """The networks."""
        return len(self.nets)


def jobs_of(training: Training, kept: bool = False) -> list[Task]:
    """Every net of every seed once."""
    setting, groups = training.request.setting, defaultdict[Any, list[int]](list)
    trainees: dict[Any, StackModel] = {
        config: trainee_of(config, training.request) for config in training.request.configs
    }
    alone = one_by_one()
    served = serving(trainees.values()) if alone and not training.at and not kept else {}
    for place, (config, optimizer) in enumerate(training.nets):
        trainee = trainees[config]
        if optimizer.own is None:  # what another makes of the zeros of layers that are not there is not known
            trainee = served.get(trainee, trainee)
        groups[trainee, optimizer.structure].append(place)
    jobs = []
    for (trainee, _), places in sorted(groups.items(), key=lambda group: -group[0][0].config.depth):
        config, optimizer = training.nets[places[0]]
        gauge = gauge_of(config, setting, trainee) if training.at else None
        course = TrainConfig(trainee, gauge, optimizer, training.steps, len(training.at), kept)
        places.sort(key=lambda place: -training.nets[place][0].depth)
        size = max(1, min(MOST_ONE_BY_ONE if alone else MOST_SIDE_BY_SIDE, JOB_BYTES // parameter_bytes(trainee)))
        length = -(-len(places) // -(-len(places) // size))
        for start in range(0, len(places), length):
            some = tuple(places[start : start + length])
            jobs += [(course, some, length - len(some))]
    return [Task(training, course, some, seed, spare) for course, some, spare in jobs for seed in range(setting.seeds)]


def one_by_one() -> bool:
    """Whether nets of a job are trained one after the other, on a core; else side by side, on a device."""
    return jax.default_backend() == "cpu"


def parameter_bytes(trainee: StackModel) -> int:
    """Of one net's weights."""
    arch, itemsize = trainee.config.arch, np.dtype(trainee.dtype if "bf" not in trainee.dtype else "float16").itemsize
    each = (
        s.count * sum(slot.fan_in * slot.fan_out for slot in arch.slots(s.fan_in, s.fan_out)) for s in trainee.segments
    )
    return itemsize * sum(each)


def outcomes(queue: Queue[Task], jobs: list[Task]) -> Iterator[tuple[Task, Outcome]]:
    """Each task of a queue as it is done, on the cores of this machine or on its device; `jobs` are those in it.

    Raises:
        MachineError: the device or its memory failed.
    """
    most = max(WORKING * (len(j.nets) + 1) * parameter_bytes(j.course.trainee) for j in jobs)
    count = max(1, min(cores() if one_by_one() else 1, len(jobs), free_bytes() // (2 * most)))
    pool = ThreadPoolExecutor(count, thread_name_prefix="varprobe")

    def work(tasks: list[Task]) -> list[Outcome]:
        return [run_job(task) for task in tasks]

    try:
        yield from together(queue, queue.take, lambda tasks: pool.submit(work, tasks), lambda: 2 * count)
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        raise MachineError(f"the device failed: {first_line(error)}") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def run_job(job: Task) -> Outcome:
    """What comes of a job's nets."""
    found, nets = trained(job), job.training.nets
    each = [outcome_of(job, nets[place][0], entry(found, i)) for i, place in enumerate(job.nets)]
    return {name: np.stack([one[name] for one in each]) for name in each[0]}


def trained(job: Task) -> TrainResult:
    """What the compiled program says, on the host."""
    training, course = job.training, job.course
    setting, nets = training.request.setting, [training.nets[place] for place in job.nets]
    config = nets[0][0]
    alone, trainee = one_by_one(), course.trainee
    wide = np.float64 if setting.dtype == "float64" else np.float32
    with jax.enable_x64(setting.dtype == "float64"):
        given = lesson(config, setting, job.seed, training.steps)
        first, draw = given.x[given.rows[0]], remembered(setting, job.seed)
        with drawing:
            each = []
            for c, optimizer in nets:
                own = starting_params(training.request, c, job.seed, first, draw), numbers_of(c, setting.outputs)
                rates = {name: np.asarray(value, wide) for name, value in optimizer.numeric}
                each.append(Given(*filled(trainee, *own), rates))
        spare = each[-1]
        if trainee.mixed:
            spare = spare._replace(numbers=spare.numbers._replace(count=np.zeros_like(spare.numbers.count)))
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *each, *[spare] * job.spare)
        keys = keys_of(setting.root_seed, job.seed)
        streams = Keys(keys["weights"], keys["biases"], keys["dropout"])
        stop = training.steps if job.stop is None else job.stop
        shared = Shared(*given, streams, np.array(training.at, np.int32), np.array(stop, np.int32))
        key = course, alone, len(job.nets) + job.spare, jax.tree.map(np.shape, tuple(given))
        with compiling[key]:
            run = programs.pop(key, None)
            if run is None:
                options = CPU_OPTIONS if alone else None
                run = train.lower(course, alone, stacked, shared).compile(compiler_options=options)
            programs[key] = run
            while len(programs) > MOST_PROGRAMS:
                programs.pop(next(iter(programs)), None)
        return jax.device_get(run(stacked, shared))


def params_after(training: Training, seed: int, stop: int) -> tuple[Any, ...]:
    """The parameters of a training's one net after `stop` of its steps, layer by layer as `varprobe.build` has them.

    Any seed is as good as those that are asked for.
    """
    job = next(iter(jobs_of(replace(training, at=()), kept=True)))
    found = trained(replace(job, seed=seed, stop=stop))
    return unstacked(entry(found.params, 0))


def remembered(setting: SweepSettings, seed: int) -> DrawCache:
    """The draws of a seed, as long as it is trained."""
    name = setting.root_seed, seed
    if name not in drawn:
        while len(drawn) >= MOST_DRAWN:
            drawn.pop(next(iter(drawn)), None)
        drawn[name] = DrawCache(*name)
    return drawn[name]


def entry(tree: Any, i: int) -> Any:
    """Entry i of the first axis of each array."""
    return jax.tree.map(lambda a: a[i], tree)


def outcome_of(job: Task, config: Any, found: TrainResult) -> Outcome:
    """The variables of one net."""
    one = {
        "batch_loss": np.asarray(found.losses, np.float64),
        "final_loss": np.asarray(found.loss, np.float64),
        "final_accuracy": np.asarray(found.accuracy, np.float64),
    }
    if job.course.gauge is None:
        return one
    tables = [step_table(job.course.gauge, config, found, i) for i in range(len(job.training.at))]
    return one | {name: np.stack([table[name] for table in tables]) for name in tables[0]}


def step_table(gauge: StepProbe, config: Any, found: TrainResult, i: int) -> dict[str, np.ndarray]:
    """Every variable of a net at one record, (depth + 1,); of layer 0 only what an input has."""
    table = gauge.table(config, entry(found.measured, i))
    for slot, moved in updates_of(config, entry(found.updates, i)).items():
        prefix = "" if slot == "w" else f"{slot}_"
        change = np.concatenate([[np.nan], np.broadcast_to(moved, config.depth)])
        table[f"{prefix}update_log10_mean_square"] = change
        with np.errstate(invalid="ignore"):
            table[f"{prefix}update_log10_ratio"] = (change - table[f"{prefix}weight_log10_mean_square"]) / 2
    return table


def updates_of(config: Any, segments: Any) -> dict[str, np.ndarray]:
    """log10 of the mean square of the change of each slot's matrix, by layer."""
    found: dict[str, list[np.ndarray]] = {}
    for segment in segments:
        for slot in config.slots(1):
            ms, e = segment[slot.name]
            found.setdefault(slot.name, []).append(log10(ms) + 2 * np.asarray(e, np.float64) * LOG10_2)
    return {slot: np.concatenate(parts) for slot, parts in found.items()}
