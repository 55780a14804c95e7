"""What is measured of registered activations, by hand."""

from typing import Any

import numpy as np

SELU = 1.0507009873554805

BEHAVIORS: dict[str, tuple[Any, Any, bool, bool]] = {
    # near, far, bounded, homogeneous
    "relu": ((0, 1), (0, 1), False, True),
    "leaky_relu": ((0.01, 1), (0.01, 1), False, True),
    "leaky_relu(-1)": ((-1, 1), (-1, 1), False, True),
    "identity": ((1, 1), (1, 1), False, True),
    "relu6": ((0, 1), None, True, False),
    "relu_squared": (None, None, False, False),
    "elu": ((1, 1), (0, 1), False, False),
    "elu(0.5)": ((0.5, 1), (0, 1), False, False),
    "celu": ((1, 1), (0, 1), False, False),
    "celu(2)": ((1, 1), (0, 1), False, False),
    "selu": ((SELU * 1.6732632423543772, SELU), (0, SELU), False, False),
    "gelu": ((0.5, 0.5), (0, 1), False, False),
    "gelu(false)": ((0.5, 0.5), (0, 1), False, False),
    "silu": ((0.5, 0.5), (0, 1), False, False),
    "mish": ((0.6, 0.6), (0, 1), False, False),  # tanh(log 2) = 3/5
    "softplus": (None, (0, 1), False, False),
    "squareplus": (None, (0, 1), False, False),
    "sigmoid": (None, None, True, False),
    "hard_sigmoid": (None, None, True, False),
    "hard_silu": ((0.5, 0.5), (0, 1), False, False),
    "hard_tanh": ((1, 1), None, True, False),
    "soft_sign": ((1, 1), None, True, False),
    "tanh": ((1, 1), None, True, False),
    "log_sigmoid": (None, (1, 0), False, False),
    "sparse_plus": (None, (0, 1), False, False),
    "sparse_sigmoid": (None, None, True, False),
    "erf": ((2 / np.sqrt(np.pi),) * 2, None, True, False),
    "sin": ((1, 1), None, True, False),
    "sin(30)": ((30, 30), None, True, False),
}
