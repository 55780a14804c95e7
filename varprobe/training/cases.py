"""What `varprobe.coord_check` trains at a width: a built-in stack, or what the user's factory makes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from varprobe.engine.inputs import inputs_of, target_of
from varprobe.engine.random_bits import keys_of
from varprobe.engine.reference_network import net_of
from varprobe.errors import InvalidArgumentError
from varprobe.model.adapters import is_alone
from varprobe.model.factories import returned
from varprobe.model.libraries import held
from varprobe.model.objectives import cross_entropy
from varprobe.model.probing import same_form
from varprobe.nets.config import Config
from varprobe.sweeps.request import Request, read_request
from varprobe.training.feed import Batch, batch_of
from varprobe.training.mup import ROLES, by_role, factors, values_of
from varprobe.training.optimizers import Optimizer
from varprobe.training.step import Learner

if TYPE_CHECKING:
    import optax

__all__ = ["Case", "Checked", "FactoryCheck", "StackCheck", "takes_a_key", "stacks"]

STANDARD = "lecun_normal"
"""The initializer of what the paper calls standard parametrization: Var W = 1 / fan_in, and one learning rate."""

LOSS = "cross_entropy"


class Case(NamedTuple):
    """A net of one width and seed, before training.

    key: equal for those that one program serves. transform: the optimizer, of `values`, which programs are given.
    """

    key: Hashable
    learner: Learner
    parameters: Any
    state: Any
    batch: Batch
    transform: Callable[[Any], optax.GradientTransformation]
    values: Any


@dataclass(frozen=True)
class StackCheck:
    """A built-in stack of one initializer at every width.

    Attributes:
        name: of the initializer.
        optimizer: of all, with muP's learning rates if the initializer is `mup`.
        request: width -> what `varprobe.build` would draw.
        config: width -> its configuration.
        base: the width at which learning rates are those of the optimizer.
        steps: of training.
    """

    name: str
    optimizer: Optimizer
    request: dict[int, Request]
    config: dict[int, Config]
    base: int
    steps: int

    @property
    def about(self) -> dict[str, Any]:
        """The coordinates of its configuration."""
        setting, config = next(iter(self.request.values())).setting, next(iter(self.config.values()))
        return {
            "arch": str(config.arch_name),
            "act": config.act.name,
            "init": self.name,
            "bias": config.bias.name,
            "optimizer": self.optimizer.name,
            "batch": config.batch,
            "loss": LOSS,
            "dtype": setting.dtype,
        }

    @property
    def title(self) -> str:
        """What all checks have in common."""
        config = next(iter(self.config.values()))
        return f"{config.act.name}, depth {config.depth}"

    @property
    def data(self) -> str:
        """What the batch is of."""
        return str(next(iter(self.request.values())).setting.source.description)

    def case(self, width: int, seed: int) -> Case:
        """The net of `varprobe.build`, as a function of named parameters."""
        request, config = self.request[width], self.config[width]
        setting, keys = request.setting, keys_of(request.setting.root_seed, seed)
        net = net_of(request.setting, config, seed)
        enters = config.arch.input_shape(config.widths[0], config.depth)
        _, rows = inputs_of(setting, keys, config.batch, enters, config.arch.embeds)
        target = target_of(setting, keys["loss"], rows, config.batch, math.prod(enters))
        names = [f"layer_{i}" for i in range(1, config.depth + 1)]
        parameters = dict(zip([*names, "readout"], net.params, strict=True))
        layers = range(1, config.depth + 1)
        multipliers = tuple(config.initializer(i, 0).multiplier_at(config.place(i)) for i in layers)

        apply = net.apply

        def loss(parameters: Any, x: Any, y: Any) -> Any:
            return cross_entropy(apply((*(parameters[n] for n in names), parameters["readout"]), x), y)

        labels = {
            name: {k: "input" if i == 0 or k != "w" else "hidden" for k in parameters[name]}
            for i, name in enumerate(names)
        }
        if self.optimizer.own is not None:
            transform, values = partial(constant, self.optimizer.own), {}
        else:
            of_mup = self.name.partition("(")[0] == "mup"
            times = factors(self.optimizer, width, self.base) if of_mup else dict.fromkeys(ROLES, 1.0)
            values = values_of(self.optimizer, times)
            transform = partial(by_role, self.optimizer, labels | READOUT, self.steps)
        whole = held(parameters)
        return Case(
            (multipliers, config.readout.multiplier_at(config.place(config.depth + 1, setting.outputs))),
            Learner(loss, whole.whole, None),
            whole.parameters,
            whole.state,
            batch_of((jnp.asarray(net.x), np.asarray(target))),
            transform,
            values,
        )


READOUT = {"readout": {"w": "readout", "b": "readout_bias"}}
"""The roles of the readout's parameters."""


def constant(transform: optax.GradientTransformation, values: Any) -> optax.GradientTransformation:
    """The transformation, which has no values."""
    return transform


def stacks(
    widths: Sequence[int], inits: Sequence[str], optimizers: Sequence[Optimizer], base: int, steps: int, **given: Any
) -> list[StackCheck]:
    """A check for each initializer and optimizer; `given` are arguments of `varprobe.sweep`.

    Raises:
        InvalidArgumentError: an argument is wrong.
    """
    found = []
    for init in inits:
        wanted = {"init": STANDARD if init == "standard" else init, "loss": LOSS, **given}
        requests = {width: read_request(width=width, **wanted) for width in widths}
        alone(requests[widths[0]].configs)
        for i, config in enumerate(requests[widths[0]].configs):
            name = init if init == "standard" else config.init.name
            for optimizer in optimizers:
                if name.partition("(")[0] == "mup":
                    factors(optimizer, base, base)
                each = {width: request.configs[i] for width, request in requests.items()}
                found.append(StackCheck(name, optimizer, requests, each, base, steps))
    return found


def alone(configs: Sequence[Config]) -> None:
    """Refuse configurations that differ in more than the initializer.

    Raises:
        InvalidArgumentError: and in what.
    """
    told: dict[str, Callable[[Config], Any]] = {
        "act": lambda config: config.act.name,
        "depth": lambda config: config.depth,
        "batch": lambda config: config.batch,
    }
    for option, of in told.items():
        values = list(dict.fromkeys(map(of, configs)))
        if len(values) > 1:
            raise InvalidArgumentError(f"takes one, got {', '.join(map(str, values))}", option)


@dataclass
class FactoryCheck:
    """What a user's factory makes of a width; of other seeds than the first only parameters, state and batch are used.

    Attributes:
        factory: width, and a key if it takes one -> what `varprobe.probe` takes, and `optimizer=` behind.
        name: what it is called.
        optimizer: where the factory gives none.
        steps: of training.
        takes_key: whether it draws.
    """

    factory: Callable[..., Any]
    name: str
    optimizer: Optimizer
    steps: int
    takes_key: bool
    first: dict[int, Case] = field(default_factory=dict)

    @property
    def about(self) -> dict[str, Any]:
        """The coordinates of its configuration."""
        case = next(iter(self.first.values()))
        subject = case.learner.subject(case.parameters, case.state, case.batch)
        arrays = [a for a in case.batch.arrays if np.ndim(a)]
        found = dict(subject.about(len(arrays[0]) if arrays else 1))
        about = {"arch": self.name} | {k: found[k] for k in ("act", "init", "bias", "batch", "loss", "dtype")}
        return about | {"optimizer": self.optimizer.name if case.key else "its own"}

    data = ""

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name

    def case(self, width: int, seed: int) -> Case:
        """The model of a width."""
        key = (jax.random.key(seed),) if self.takes_key else ()
        arguments, keywords = returned(self.factory, f"{self.name} at width {width}", width, *key, known=KEYWORDS)
        case = self.read(arguments, keywords)
        if width not in self.first:
            self.first = {width: case}
        first = self.first[width]
        same_form(first.parameters, case.parameters)
        return first._replace(parameters=case.parameters, state=case.state, batch=case.batch)

    def read(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Case:
        """What it returned.

        Raises:
            InvalidArgumentError: it is no loss with parameters and a batch.
        """
        function, *rest = arguments
        alone = is_alone(function)
        if isinstance(function, tuple) or not callable(function) or (not alone and not rest):
            raise InvalidArgumentError(
                f"{self.name} must return (loss_fn, params, *batch), or a module and its batch", "factory"
            )
        model, *batch = arguments if alone else rest
        whole = held(model)
        own = keywords.get("optimizer")
        transform = own if own is not None else self.optimizer.transform(self.steps)
        if not callable(getattr(transform, "update", None)):
            what = type(transform).__name__
            raise InvalidArgumentError(f"{self.name} gives {what}, no optax.GradientTransformation", "optimizer")
        learner = Learner(None if alone else function, whole.whole, keywords.get("loss"))
        fixed = partial(constant, transform)
        return Case(own is None, learner, whole.parameters, whole.state, batch_of(batch), fixed, {})


KEYWORDS = ("loss", "optimizer")


def takes_a_key(factory: Callable[..., Any], name: str) -> bool:
    """Whether a factory takes a key behind the width.

    Raises:
        InvalidArgumentError: it takes no width.
    """
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):
        return False
    given = [p for p in parameters if p.kind <= p.POSITIONAL_OR_KEYWORD]
    variable = any(p.kind == p.VAR_POSITIONAL for p in parameters)
    if (not given and not variable) or (given and given[0].name in ("key", "rng", "seed")):
        raise InvalidArgumentError(
            f"{name} takes no width: it is called as {name}(width), or {name}(width, key)", "factory"
        )
    return any(p.name == "key" or p.default is p.empty for p in given[1:])


Checked = StackCheck | FactoryCheck
