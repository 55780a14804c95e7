"""`rnn`: the recurrent net of Elman (1990); with --init identity and ReLU the IRNN of Le et al. (2015)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Array

from varprobe.nets.architectures.architecture import Plain
from varprobe.nets.architectures.plain import activated
from varprobe.nets.architectures.recurrent import SUMMED, Recurrent, fed, through

__all__ = ["RNN"]


@dataclass(frozen=True)
class RNN(Recurrent):
    """h_t = phi(h_{t-1} W + x_t U + b)."""

    meaning: ClassVar[str] = "phi(h W + x U + b) at each of `depth` steps, one W, U and b for all"
    layer: ClassVar[str] = "one step of time, h_t; layer 0 is its first input, or h_0 (inputs=first)"
    z: ClassVar[str] = "h_{t-1} W + x_t U + b"
    delta: ClassVar[str] = f"dLoss/dh_t, the loss being of the last state; dLoss/dz_t: preactivation_gradient_*{SUMMED}"

    def block(self, layer: Any, x: Any) -> Any:
        """One step."""
        (h,) = x
        return (layer.activated(layer.see("preactivation", layer.fed("u", layer.linear("w", h)))),)

    def reference(self, plain: Plain, p: Mapping[str, Array], x: Any) -> Any:
        """One step."""
        (h,) = x
        return (activated(plain, fed(plain, p, "u", through(p, "w", h))),)
