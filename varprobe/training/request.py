"""What is to be trained, checked: a sweep's grid, on data with labels, under every optimizer that was named."""

import itertools
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from varprobe.errors import InvalidArgumentError, did_you_mean
from varprobe.nets.config import Config
from varprobe.nets.data import load_source, random_law
from varprobe.spec.arguments import numbers, single
from varprobe.spec.user_code import is_reference
from varprobe.sweeps.request import Request, read_request
from varprobe.training.optimizers import DEFAULT, Optimizer, read_optimizers

__all__ = ["MOST_STEPS", "Training", "powers_of_two", "read_at", "read_training"]

MOST_STEPS = 10**7
Loss = Literal["cross_entropy", "mse"]
MOST_CLASSES = 1000
"""Labels that are whole numbers from 0 to below this are classes, unless a loss says otherwise."""

UNTRAINED = ("forward_only", "correlation", "jacobian", "histogram")
"""Arguments of a sweep that say nothing here."""


@dataclass(frozen=True)
class Training:
    """Nets to be trained: each configuration of a request under each optimizer, for each seed.

    Attributes:
        request: a sweep's.
        optimizers: one or more.
        steps: updates.
        at: steps at which a net is measured, rising, from 0 to `steps`; none where it is only trained.
        spec: the canonical text of all that.
    """

    request: Request
    optimizers: tuple[Optimizer, ...]
    steps: int
    at: tuple[int, ...]
    spec: dict[str, Any]

    @property
    def nets(self) -> list[tuple[Config, Optimizer]]:
        """What stands along `config`, optimizers varying fastest."""
        return list(itertools.product(self.request.configs, self.optimizers))

    @property
    def arguments(self) -> dict[str, Any] | None:
        """Those of `read_training` as JSON; None where they cannot be written down."""
        stack = self.request.arguments
        if stack is None or any(
            o.own is not None and not is_reference(o.name.partition("(")[0]) for o in self.optimizers
        ):
            return None
        given = {name: value for name, value in stack.items() if name not in UNTRAINED}
        return given | {"optimizer": [o.name for o in self.optimizers], "steps": self.steps, "at": list(self.at)}

    @property
    def reusable(self) -> bool:
        """Whether what is computed can be known again."""
        return self.request.reusable and all(o.digest is not None for o in self.optimizers)


def read_training(
    command: str, *, optimizer: Any = DEFAULT, steps: Any = 100, at: Any = None, loss: Loss | None = None, **stack: Any
) -> Training:
    """Check what `varprobe.track` and `varprobe.trainability` are given.

    Args:
        command: which of them.
        optimizer: see `optimizers.read_optimizers`.
        steps: updates.
        at: steps to measure at; None for 0, 1, 2, 4, ... and the last; () for none.
        loss: cross_entropy or mse; None for what the labels are.
        stack: arguments of `varprobe.sweep`.

    Raises:
        InvalidArgumentError: names the argument, its value and what is allowed.
    """
    for name in UNTRAINED:
        if name in stack:
            raise InvalidArgumentError(f"{command} takes no such option", name)
    steps = single("steps", steps, 1, MOST_STEPS)
    chosen = read_at(at, steps)
    optimizers = read_optimizers(optimizer)
    data, labels = stack.setdefault("data", "digits"), stack.get("labels")
    require_rows(data, labels)
    if loss is None:
        loss = loss_for(data, labels)
    if loss not in get_args(Loss):
        raise InvalidArgumentError(
            f"{loss!r} is nothing to train with{did_you_mean(str(loss), get_args(Loss))}", "loss"
        )
    request = read_request(loss=loss, **stack)
    assert request.setting.source.labels is not None
    spec = {
        "command": command,
        **request.spec,
        "optimizer": [o.name for o in optimizers],
        "steps": steps,
        "at": list(chosen),
    }
    return Training(request, optimizers, steps, chosen, spec)


def read_at(at: Any, steps: int) -> tuple[int, ...]:
    """The steps to measure at.

    Raises:
        InvalidArgumentError: they are no whole numbers from 0 to `steps`.
    """
    if at is None:
        return powers_of_two(steps)
    if isinstance(at, list | tuple) and not at:
        return ()
    return tuple(sorted(numbers("at", at, 0, steps)))


def powers_of_two(steps: int) -> tuple[int, ...]:
    """0, 1, 2, 4, ... and the last."""
    return tuple(sorted({0, steps} | {2**i for i in range(steps.bit_length()) if 2**i < steps}))


def require_rows(data: Any, labels: Any) -> None:
    """Refuse data of which nothing can be learned.

    Raises:
        InvalidArgumentError: it is a random law, no data at all, or has no labels.
    """
    if isinstance(data, str) and random_law(data):
        raise InvalidArgumentError(
            f"of {data!r}, a random law, nothing can be learned (allowed: digits, a file, an array)", "data"
        )
    if labels is None and not (isinstance(data, str) and data == "digits"):
        load_source(data)  # a wrong name is told first
        raise InvalidArgumentError("data of your own need labels: a file or an array, one row a sample", "labels")


def loss_for(data: Any, labels: Any) -> Loss:
    """The loss that labels ask for."""
    if labels is None:
        return "cross_entropy"
    found = load_source(data, labels=labels).labels
    assert found is not None
    whole = found.ndim == 1 and found.dtype == np.int64 and found.min() >= 0 and found.max() < MOST_CLASSES
    return "cross_entropy" if whole else "mse"
