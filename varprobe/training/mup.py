"""muP's learning rates: what each kind of matrix has at a width, as a multiple of what it has at the base width.

Yang et al. 2021 (Tensor Programs V), table 3, whose initial variances are those of the initializer `mup`:

                input weights, all biases    read-out     hidden weights
    SGD         fan_out                      1 / fan_in   1
    Adam        1                            1 / fan_in   1 / fan_in

The fan_out of the bias of the readout is the number of outputs, which does not depend on the width.
Adam stands for every rule that divides a gradient by its own size, entry by entry (appendix B.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from varprobe.errors import InvalidArgumentError
from varprobe.training.optimizers import Optimizer

if TYPE_CHECKING:
    import optax

__all__ = ["ROLES", "Values", "by_role", "factors", "values_of"]

ROLES = ("input", "hidden", "readout", "readout_bias")
"""Kinds of parameters; biases of hidden layers are like input weights."""

SGD = {"input": 1, "hidden": 0, "readout": -1, "readout_bias": 0}
ADAM = {"input": 0, "hidden": -1, "readout": -1, "readout_bias": 0}
"""Powers of width / base width."""

ADAPTIVE = ("adam", "adamw", "nadam", "lion", "rmsprop", "adagrad")
BY_KIND = {"sgd": SGD} | dict.fromkeys(ADAPTIVE, ADAM)

Values = dict[str, dict[str, Any]]
"""Role -> numbers of an optimizer; `clip` is common to all roles."""


def factors(optimizer: Optimizer, width: int, base: int) -> dict[str, float]:
    """Role -> what its learning rate is multiplied by.

    Raises:
        InvalidArgumentError: the paper says nothing of this optimizer.
    """
    powers = BY_KIND.get(optimizer.kind)
    if powers is None:
        known = ", ".join(BY_KIND)
        raise InvalidArgumentError(
            f"muP's learning rates with {optimizer.name} are not known (known: {known})", "optimizer"
        )
    return {role: (width / base) ** powers[role] for role in ROLES}


def values_of(optimizer: Optimizer, times: Mapping[str, float]) -> Values:
    """The numbers of an optimizer by role, learning rates multiplied; a step's weight decay stays what it is."""
    numbers = dict(optimizer.numeric)
    clip = {"clip": {"norm": numbers.pop("clip")}} if "clip" in numbers else {}
    found: Values = {}
    for role, factor in times.items():
        found[role] = numbers | {"lr": numbers["lr"] * factor}
        if "weight_decay" in numbers:
            found[role]["weight_decay"] = numbers["weight_decay"] / factor
    return found | clip


def by_role(optimizer: Optimizer, labels: Any, steps: int, values: Values) -> optax.GradientTransformation:
    """The optimizer with the numbers of each role for the parameters that `labels` gives to it."""
    import optax

    plain = replace(optimizer, numeric=tuple((name, value) for name, value in optimizer.numeric if name != "clip"))
    roles = {role: plain.transform(steps, numbers) for role, numbers in values.items() if role in ROLES}
    found = optax.multi_transform(roles, labels)
    return optax.chain(optax.clip_by_global_norm(values["clip"]["norm"]), found) if "clip" in values else found
