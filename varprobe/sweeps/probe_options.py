"""What a sweep was asked for beside its statistics, checked."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from varprobe.errors import InvalidArgumentError
from varprobe.spec.arguments import numbers
from varprobe.spec.expressions import number_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from varprobe.nets.config import Config

__all__ = ["ProbeOptions", "check_asked", "read_asked"]

LARGEST = 1024
"""Values of a sample up to which its Jacobian is formed."""


@dataclass(frozen=True)
class ProbeOptions:
    """Cosines of pairs of inputs, none without --correlation; and the two flags."""

    correlation: tuple[float, ...] = ()
    jacobian: bool = False
    histogram: bool = False

    def __bool__(self) -> bool:
        return bool(self.correlation or self.jacobian or self.histogram)

    @property
    def spec(self) -> dict[str, Any]:
        """What stands in a run's spec; nothing where nothing was asked for."""
        parts = {"correlation": list(self.correlation), "jacobian": self.jacobian, "histogram": self.histogram}
        return {name: value for name, value in parts.items() if value}

    @classmethod
    def of_spec(cls, spec: dict[str, Any]) -> "ProbeOptions":
        """The one whose `spec` is a part of this one."""
        return cls(
            tuple(spec.get("correlation", ())), bool(spec.get("jacobian", False)), bool(spec.get("histogram", False))
        )


def read_asked(correlation: Any, jacobian: Any, histogram: Any) -> ProbeOptions:
    """Check the arguments of `varprobe.sweep`.

    Raises:
        InvalidArgumentError: names the argument, its value and what is allowed.
    """
    cosines: list[float] = []
    if correlation is not None:
        cosines = numbers("correlation", correlation, -1, 1, integer=False)
    return ProbeOptions(tuple(cosines), bool(jacobian), bool(histogram))


def check_asked(asked: ProbeOptions, configs: "Sequence[Config]") -> None:
    """Refuse what makes no sense for a network, or is too large.

    Raises:
        InvalidArgumentError: names the option, and says why.
    """
    for c in configs if asked else ():
        sizes = [math.prod(c.arch.sample_shape(units)) for units in c.widths]
        if c.arch.shared or c.arch.own:
            option = "correlation" if asked.correlation else "jacobian" if asked.jacobian else "histogram"
            kind = "a block of your own" if c.arch.own else "a recurrent net, whose layers are steps of one"
            raise InvalidArgumentError(f"{c.arch_name} is {kind}; this measures the other architectures", option)
        if asked.correlation and c.data_driven:
            raise InvalidArgumentError("lsuv scales weights by the batch, and pairs are another batch", "correlation")
        between = [x for x in asked.correlation if abs(x) < 1]
        if between and sizes[0] < 2:
            raise InvalidArgumentError(
                f"{number_text(between[0])}: inputs of one value are parallel (allowed: -1, 1)", "correlation"
            )
        if asked.jacobian and max(sizes) > LARGEST:
            raise InvalidArgumentError(
                f"a sample of {max(sizes)} values is more than the {LARGEST} up to which Jacobians are formed",
                "jacobian",
            )
