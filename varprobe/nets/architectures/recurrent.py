"""What recurrent architectures share: layers are the steps of time, with one draw of the weights for all of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from varprobe.errors import InvalidArgumentError
from varprobe.nets.architectures.architecture import Architecture, Plain, WeightSpec
from varprobe.spec.parameters import Parameter

__all__ = ["RECURRENT", "SUMMED", "Recurrent", "fed", "through"]

RECURRENT: Mapping[str, Parameter] = {
    "inputs": Parameter("every", "word", ("every", "first")),
    "per_step": Parameter(False, "flag"),
}
SUMMED = "; weight_gradient at every layer: the sum over steps (per_step=true: each step's part)"


@dataclass(frozen=True)
class Recurrent(Architecture):
    """Recurrent matrices w (--init) and input matrices u (--init-first, else lecun_normal), one of each for every gate.

    inputs: every, h_0 = 0 and an input at each step; first, the input is h_0 and nothing follows (no u). Random data
    are drawn for each step. A row of a file is cut into steps where their number divides its length, and else fed
    whole at each step.

    Every gate's matrix is a draw of its own, as in flax: `orthogonal` is orthogonal gate by gate. torch and Keras draw
    the matrices of all gates as one (n, gates * n), whose orthogonal blocks are smaller by sqrt(gates).

    States are tuples, h first; `states` says of how many.
    """

    inputs: str = "every"
    per_step: bool = False

    parameters: ClassVar[Mapping[str, Parameter]] = RECURRENT
    gradients: ClassVar[Mapping[str, str]] = {"activation": "gradient", "preactivation": "preactivation_gradient"}
    quantities: ClassVar[Mapping[str, str]] = {"preactivation_gradient": "gradient of the preactivation"}
    shared: ClassVar[bool] = True
    states: ClassVar[int] = 1
    gates: ClassVar[tuple[str, ...]] = ()

    def slots(self, fan_in: int, fan_out: int) -> tuple[WeightSpec, ...]:
        """w, w_GATE, ... from state to state, then u, u_GATE, ... from the input."""
        tails = ("", *(f"_{gate}" for gate in self.gates))
        recurrent = [WeightSpec(f"w{tail}", fan_out, fan_out, kind="recurrent") for tail in tails]
        entering = [
            WeightSpec(f"u{tail}", fan_in, fan_out, role="first", kind="recurrent", bias=False) for tail in tails
        ]
        return (*recurrent, *(entering if self.inputs == "every" else ()))

    @abstractmethod
    def block(self, layer: Any, x: Any) -> Any:
        """The states after one step, from those before; `layer` is a `wired.step.Step`, the states its nodes."""

    @abstractmethod
    def reference(self, plain: Plain, p: Mapping[str, Array], x: Any) -> Any:
        """The same as arrays (batch, units)."""

    def input_shape(self, units: int, depth: int) -> tuple[int, ...]:
        """(steps, units), or the state's."""
        return (depth, units) if self.inputs == "every" else (units,)

    @property
    def embeds(self) -> bool:
        """Where the data are the first state."""
        return self.inputs == "first"

    def random_units(self, given: int | None, widths: tuple[int, ...]) -> int:
        """Of each step."""
        return given or widths[0] if self.inputs == "every" else widths[0]

    def file_units(self, features: int, widths: tuple[int, ...]) -> int:
        """Of each step; all of a row where it cannot be cut."""
        cut = self.inputs == "every" and features % len(widths) == 0
        return self.random_units(features // len(widths) if cut else features, widths)

    def law(self, law: tuple[Any, ...], slot: WeightSpec) -> tuple[Any, ...]:
        """As it is; `lsuv` has no meaning."""
        if law[0] == "lsuv":
            raise InvalidArgumentError(
                "lsuv scales the matrix of each layer by what arrives there; here all steps have one"
            )
        return super().law(law, slot)

    def refusal(self, config: Any) -> str | None:
        """What has no meaning where all steps have the same weights."""
        if len(set(config.widths[1:])) > 1:
            return "the state has one width at all steps"
        if config.init_first and self.inputs == "first":
            return "with inputs=first there is no input matrix for --init-first"
        for init in (config.init, config.init_first, config.bias):
            if init and init.layerwise:
                return f"its weights are the same at all steps, and {init.name} depends on the layer"
        return None


def through(p: Mapping[str, Array], name: str, h: Array) -> Array:
    """h W + b with the matrix of that name, b where it has one."""
    z = jnp.matmul(h, p[name], precision="highest")
    bias = p.get("b" if name == "w" else f"b_{name}")
    return z if bias is None else z + bias


def fed(plain: Plain, p: Mapping[str, Array], name: str, z: Array) -> Array:
    """z + x_t U, where there are inputs."""
    return z if plain.input is None else z + through(p, name, plain.input)
