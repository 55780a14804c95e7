"""What stands between a parameter and the matrix that it means, in what was measured: 1, but for `ntk`."""

import math

import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.nets.initializers import INITIALIZERS, LayerContext, resolve_initializer
from varprobe.spec.calls import parse_calls
from varprobe.verdict.measured import Measured

__all__ = ["measured_log10_multipliers"]


def measured_log10_multipliers(net: Measured) -> np.ndarray:
    """log10 of W over its parameter, of layers 0 (0) to L, from the names of the initializers."""
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
            place = LayerContext(widths[layer - 1], widths[layer], max(widths[1:]), net.depth, layer)
            found[layer] = math.log10(init.multiplier_at(place))
        except InvalidArgumentError:
            continue
    return found
