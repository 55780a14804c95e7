"""`gru`: the gated recurrent unit (Cho et al. 2014), its reset gate after the product as in torch and cuDNN."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
from jaxtyping import Array

from varprobe.nets.architectures.architecture import Plain, WeightSpec
from varprobe.nets.architectures.recurrent import SUMMED, Recurrent, fed, through

__all__ = ["GRU"]


@dataclass(frozen=True)
class GRU(Recurrent):
    """n = phi(x_t U + b_u + r (h W + b)), h_t = (1 - u) n + u h; r (reset) and u (update) sigmoids of affine maps.

    --act tanh is the textbook's. Dropout is that of Semeniuta et al. (2016), on n.
    """

    meaning: ClassVar[str] = (
        "n = phi(x U + r (h W)), h_t = (1 - u) n + u h at each of `depth` steps, one draw of weights"
    )
    layer: ClassVar[str] = "one step of time, h_t; layer 0 is its first input, or h_0 (inputs=first)"
    z: ClassVar[str] = "of the candidate n, x_t U + b_u + r (h_{t-1} W + b)"
    delta: ClassVar[str] = f"dLoss/dh_t, the loss being of the last state; dLoss/dz_t: preactivation_gradient_*{SUMMED}"
    scalars: ClassVar[Mapping[str, str]] = {
        f"{gate}_gate_mean": f"mean of the {gate} gate" for gate in ("reset", "update")
    }
    gates: ClassVar[tuple[str, ...]] = ("reset", "update")

    def slots(self, fan_in: int, fan_out: int) -> tuple[WeightSpec, ...]:
        """The candidate has a bias on either side of its reset gate."""
        return tuple(s._replace(bias=True) if s.name == "u" else s for s in super().slots(fan_in, fan_out))

    def block(self, layer: Any, x: Any) -> Any:
        """One step."""
        (h,) = x
        z = {gate: layer.fed(f"u_{gate}", layer.linear(f"w_{gate}", h)) for gate in self.gates}
        inner = layer.times(layer.gate(z["reset"], "reset"), layer.linear("w", h))
        n = layer.activated(layer.see("preactivation", layer.fed("u", inner)))
        stays, changes = layer.gate(z["update"], "update"), layer.complement(z["update"])
        return (layer.plus(layer.times(changes, n), layer.times(stays, h)),)

    def reference(self, plain: Plain, p: Mapping[str, Array], x: Any) -> Any:
        """One step."""
        (h,) = x
        reset, update = (jax.nn.sigmoid(fed(plain, p, f"u_{g}", through(p, f"w_{g}", h))) for g in self.gates)
        n = plain.dropped(plain.phi(fed(plain, p, "u", reset * through(p, "w", h))), 0)
        return ((1 - update) * n + update * h,)

    def refusal(self, config: Any) -> str | None:
        """As of all, and norms."""
        return "a norm has no settled place in it (rnn takes one)" if config.norm else super().refusal(config)
