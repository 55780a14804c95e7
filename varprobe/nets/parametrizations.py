"""What stands between a parameter and the matrix that it means, layer by layer: 1, but for `ntk`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varprobe.nets.config import Config

__all__ = ["log10_multipliers"]


def log10_multipliers(config: Config, slot: int = 0) -> tuple[float, ...]:
    """log10 of W over its parameter, in layers 1 to L."""
    if not any(i is not None and i.multiplier for i in (config.init, config.init_first, config.init_last)):
        return (0.0,) * config.depth
    layers = range(1, config.depth + 1)
    return tuple(
        math.log10(config.initializer(layer, slot).multiplier_at(config.place(layer, slot=slot))) for layer in layers
    )
