"""The optimizers that can be named, in the call form: optax's.

Every one of them takes clip=, warmup= and schedule=, too. Numbers are run-time arguments of compiled code: nets whose
optimizers differ in them alone are trained by one program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from varprobe.errors import InvalidArgumentError, lookup
from varprobe.spec.arguments import parts_of
from varprobe.spec.calls import Call, parse_calls, split_items
from varprobe.spec.extras import needed
from varprobe.spec.parameters import Parameter, read_parameters
from varprobe.spec.serialize import MOST_NESTED
from varprobe.spec.user_code import is_reference, load
from varprobe.spec.user_errors import calling

if TYPE_CHECKING:
    import optax

__all__ = ["DEFAULT", "OPTIMIZERS", "Optimizer", "read_optimizers"]

DEFAULT = "sgd"
COMMON: Mapping[str, Parameter] = {
    "clip": Parameter(0.0, "number", high=1e30),
    "warmup": Parameter(0, "whole", high=10**9),
    "schedule": Parameter("constant", "word", ("constant", "cosine", "linear")),
}
"""clip: the global norm that gradients are scaled down to (0: none); warmup: steps over which lr rises linearly from 0;
schedule: how lr falls to 0 over the steps after that."""

NAME = "optimizer"


def rate(default: float) -> dict[str, Parameter]:
    """The learning rate."""
    return {"lr": Parameter(default, "number", high=1e30)}


def share(default: float) -> Parameter:
    """A decay rate."""
    return Parameter(default, "number", high=1)


def least(default: float) -> Parameter:
    """What is added to a denominator."""
    return Parameter(default, "number", high=1e30)


@dataclass(frozen=True)
class Registered:
    """An optimizer of the registry: optax's function of that name, its parameters beside lr, and a line of help."""

    meaning: str
    parameters: Mapping[str, Parameter]
    function: str = ""


MOMENTS = {"b1": share(0.9), "b2": share(0.999), "eps": least(1e-8)}
DECAY = {"weight_decay": Parameter(1e-4, "number", high=1e30)}

OPTIMIZERS: dict[str, Registered] = {
    "sgd": Registered(
        "w - lr g; with momentum m <- momentum m + g in place of g (nesterov=true: one step ahead)",
        rate(0.01) | {"momentum": share(0.0), "nesterov": Parameter(False, "flag")},
    ),
    "adam": Registered("Kingma & Ba 2015", rate(1e-3) | MOMENTS),
    "adamw": Registered("Adam with decoupled weight decay, Loshchilov & Hutter 2019", rate(1e-3) | MOMENTS | DECAY),
    "nadam": Registered("Adam with Nesterov's momentum, Dozat 2016", rate(1e-3) | MOMENTS),
    "lion": Registered(
        "the sign of an interpolated momentum, Chen et al. 2023",
        rate(1e-4) | {"b1": share(0.9), "b2": share(0.99), "weight_decay": Parameter(1e-3, "number", high=1e30)},
    ),
    "rmsprop": Registered(
        "g over its running RMS, Tieleman & Hinton 2012", rate(1e-3) | {"decay": share(0.9), "eps": least(1e-8)}
    ),
    "adagrad": Registered(
        "g over the root of its summed squares, Duchi et al. 2011",
        rate(1e-2) | {"initial_accumulator_value": least(0.1), "eps": least(1e-7)},
    ),
}


@dataclass(frozen=True)
class Optimizer:
    """An optimizer with its parameters.

    Attributes:
        name: canonical call form, or the label of the user's own.
        kind: its name in the registry, "" for the user's own.
        static: what compiled code depends on.
        numeric: what nets of one program may differ in.
        own: the user's `optax.GradientTransformation`.
        digest: of the user's source; None where it cannot be told, "" for registered ones.
    """

    name: str
    kind: str
    static: tuple[tuple[str, Any], ...] = ()
    numeric: tuple[tuple[str, float], ...] = ()
    own: Any = None
    digest: str | None = ""

    @property
    def structure(self) -> tuple[Any, ...]:
        """Equal for optimizers that one program serves."""
        return self.kind, self.static, tuple(name for name, _ in self.numeric), self.own

    def transform(self, steps: int, values: Mapping[str, Any] = MappingProxyType({})) -> optax.GradientTransformation:
        """Optax's own.

        Args:
            steps: how many there will be, over which the learning rate is scheduled.
            values: of the numeric parameters, perhaps traced; those of this optimizer without.
        """
        if self.own is not None:
            return self.own
        import optax

        values, chosen = dict(self.numeric) | dict(values), dict(self.static)
        clip, lr = values.pop("clip", None), values.pop("lr")
        times = unit_schedule(chosen.pop("warmup"), chosen.pop("schedule"), steps)
        learning_rate = lr if times is None else lambda count: lr * times(count)
        made = getattr(optax, self.kind)(learning_rate, **values, **chosen)
        return made if clip is None else optax.chain(optax.clip_by_global_norm(clip), made)


def unit_schedule(warmup: int, schedule: str, steps: int) -> Callable[[Any], Any] | None:
    """What the learning rate is multiplied by at each step; None where it is 1."""
    import optax

    if not warmup and schedule == "constant":
        return None
    left = max(1, steps - warmup)
    after: Any = {
        "constant": lambda: optax.constant_schedule(1.0),
        "cosine": lambda: optax.cosine_decay_schedule(1.0, left),
        "linear": lambda: optax.linear_schedule(1.0, 0.0, left),
    }[schedule]()
    if not warmup:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, 1.0, warmup), after], [warmup])


def read_optimizers(value: Any) -> tuple[Optimizer, ...]:
    """The optimizers that an argument names, each once.

    Args:
        value: text such as "sgd(lr=0.1),adam" (a number may be a range LO:HI:N), FILE.py:NAME or PKG.MOD:NAME of a
            function that returns an `optax.GradientTransformation` (its parameters in the call form), such an object,
            {"Label": object}, or a list of these.

    Raises:
        InvalidArgumentError: and what is allowed.
    """
    needed("optax", "optimizers", extra="train")
    try:
        found = tuple(dict.fromkeys(read(value)))
    except InvalidArgumentError as error:
        raise error.at(NAME) from error
    if not found:
        raise InvalidArgumentError("the list is empty", NAME)
    return found


def read(value: Any, depth: int = 0) -> Iterable[Optimizer]:
    """One by one."""
    if isinstance(value, str):
        for item in split_items(value):
            for call in parse_calls(item):
                yield resolve(call)
    elif is_transform(value):
        yield Optimizer("own", "", own=value, digest=None)
    elif isinstance(value, Mapping):
        for label, item in value.items():
            if not is_transform(item):
                raise InvalidArgumentError(
                    f"{label!r} must map to an optax.GradientTransformation, got {type(item).__name__}"
                )
            yield Optimizer(str(label), "", own=item, digest=None)
    elif isinstance(value, Iterable) and depth <= MOST_NESTED:
        for item in parts_of(value):
            yield from read(item, depth + 1)
    else:
        raise InvalidArgumentError(f"takes names or optax's transformations, got {value!r:.80}")


def is_transform(value: Any) -> bool:
    """An `optax.GradientTransformation`, or what looks like one."""
    return callable(getattr(value, "init", None)) and callable(getattr(value, "update", None))


def resolve(call: Call) -> Optimizer:
    """The optimizer that a call form means.

    Raises:
        InvalidArgumentError: unknown name or parameter, or a value that it does not take.
    """
    if is_reference(call.name):
        return of_reference(call)
    registered = lookup(OPTIMIZERS, call.name, NAME, "varprobe list optimizers")
    text, values = read_parameters(call, call.name, {**registered.parameters, **COMMON})
    if not values["clip"]:
        del values["clip"]
    if call.name == "sgd" and not values["momentum"]:
        del values["momentum"]
    numeric = tuple((name, float(v)) for name, v in values.items() if isinstance(v, float | int) and name not in STATIC)
    return Optimizer(text, call.name, tuple((name, values[name]) for name in STATIC if name in values), numeric)


STATIC = ("nesterov", "warmup", "schedule")


def of_reference(call: Call) -> Optimizer:
    """What a function of the user's returns."""
    code = load(call.name)
    keywords = {key: value.evaluate() if hasattr(value, "evaluate") else value for key, value in call.args}
    if "" in keywords:
        raise InvalidArgumentError(f"{call}: parameters of your own optimizer need their names")
    with calling(f"{call} fails"):
        made = partial(code.function, **keywords)()
    if not is_transform(made):
        raise InvalidArgumentError(f"{call} returns {type(made).__name__}, not an optax.GradientTransformation")
    return Optimizer(str(call), "", own=made, digest=code.digest)
