"""`lstm`: long short-term memory with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000), no peepholes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
from jaxtyping import Array

from varprobe.nets.architectures.architecture import Plain
from varprobe.nets.architectures.recurrent import RECURRENT, SUMMED, Recurrent, fed, through
from varprobe.nets.initializers import LayerContext
from varprobe.spec.parameters import Parameter

__all__ = ["LSTM"]


@dataclass(frozen=True)
class LSTM(Recurrent):
    """c_t = f c_{t-1} + i phi(z), h_t = o phi(c_t); i, f and o are sigmoids of affine maps of their own, as z is.

    forget_bias is added to the forget gate's bias (1, as in Keras; torch has 0: forget_bias=0). --act tanh is the
    textbook's. Dropout is that of Semeniuta et al. (2016), on phi(z).
    """

    forget_bias: float = 1.0

    meaning: ClassVar[str] = "c_t = f c + i phi(z), h_t = o phi(c_t) at each of `depth` steps, one draw of the weights"
    layer: ClassVar[str] = "one step of time, h_t; cell_*: c_t; layer 0 is its first input, or h_0 (inputs=first)"
    z: ClassVar[str] = "of the candidate, h_{t-1} W + x_t U + b"
    delta: ClassVar[str] = f"dLoss/dh_t, the loss being of the last h; dLoss/dc_t: cell_gradient_*{SUMMED}"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "forget_bias": Parameter(1.0, "number", low=-1e30, high=1e30),
        **RECURRENT,
    }
    gradients: ClassVar[Mapping[str, str]] = {**Recurrent.gradients, "cell": "cell_gradient"}
    quantities: ClassVar[Mapping[str, str]] = {
        **Recurrent.quantities,
        "cell": "cell c_t",
        "cell_gradient": "gradient of the cell",
    }
    scalars: ClassVar[Mapping[str, str]] = {
        f"{gate}_gate_mean": f"mean of the {gate} gate" for gate in ("input", "forget", "output")
    }
    states: ClassVar[int] = 2
    gates: ClassVar[tuple[str, ...]] = ("input", "forget", "output")

    def block(self, layer: Any, x: Any) -> Any:
        """One step."""
        h, c = x
        z = {gate: layer.fed(f"u_{gate}", layer.linear(f"w_{gate}", h)) for gate in self.gates}
        z["forget"] = layer.raised(z["forget"], "forget_bias")
        i, f, o = (layer.gate(z[gate], gate) for gate in self.gates)
        candidate = layer.activated(layer.see("preactivation", layer.fed("u", layer.linear("w", h))))
        c = layer.see("cell", layer.plus(layer.times(f, c), layer.times(i, candidate)))
        return layer.times(o, layer.phi(c)), c

    def reference(self, plain: Plain, p: Mapping[str, Array], x: Any) -> Any:
        """One step."""
        h, c = x
        z = {gate: fed(plain, p, f"u_{gate}", through(p, f"w_{gate}", h)) for gate in self.gates}
        z["forget"] = z["forget"] + plain.numbers["forget_bias"]
        i, f, o = (jax.nn.sigmoid(z[gate]) for gate in self.gates)
        candidate = plain.dropped(plain.phi(fed(plain, p, "u", through(p, "w", h))), 0)
        c = f * c + i * candidate
        return o * plain.phi(c), c

    def static(self) -> LSTM:
        """Without the bias."""
        return replace(self, forget_bias=0.0)

    def numbers(self, place: LayerContext) -> dict[str, float]:
        """The bias."""
        return {"forget_bias": self.forget_bias}

    def refusal(self, config: Any) -> str | None:
        """As of all, and norms."""
        return "a norm has no settled place in it (rnn takes one)" if config.norm else super().refusal(config)
