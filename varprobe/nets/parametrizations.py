"""What stands between a parameter and the matrix that it means, layer by layer: 1, but for `ntk`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from varprobe.errors import RequestError
from varprobe.nets.initializers import INITIALIZERS, Place, resolve_initializer
from varprobe.spec.calls import parse_calls

if TYPE_CHECKING:
    from varprobe.nets.config import Config
    from varprobe.verdict.measured import Measured

__all__ = ["log10_multipliers", "measured_log10_multipliers"]


def log10_multipliers(config: Config, slot: int = 0) -> tuple[float, ...]:
    """log10 of W over its parameter, in layers 1 to L."""
    if not any(i is not None and i.multiplier for i in (config.init, config.init_first, config.init_last)):
        return (0.0,) * config.depth
    layers = range(1, config.depth + 1)
    return tuple(
        math.log10(config.initializer(layer, slot).multiplier_at(config.place(layer, slot=slot))) for layer in layers
    )


def measured_log10_multipliers(net: Measured) -> np.ndarray:
    """The same of layers 0 (0) to L of what was measured, from the names of its initializers."""
    found = np.zeros(net.depth + 1)
    widths = net.widths
    for layer in range(1, net.depth + 1):
        edge = {1: "init_first", net.depth: "init_last"}.get(layer, "")
        name = str(net.coordinates.get(edge) or net.coordinates["init"])
        registered = INITIALIZERS.get(name.partition("(")[0])
        if registered is None or registered.multiplier is None:
            continue
        try:
            init = resolve_initializer(parse_calls(name)[0])
            place = Place(widths[layer - 1], widths[layer], max(widths[1:]), net.depth, layer)
            found[layer] = math.log10(init.multiplier_at(place))
        except RequestError:
            continue
    return found
