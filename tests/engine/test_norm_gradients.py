"""Norms of two values: what is left of a gradient is eps / (variance + eps) of it, and float32 has it exactly."""

from typing import Any

import numpy as np
import pytest

import varprobe as vp


@pytest.mark.parametrize(("norm", "sizes", "within"), [
    ("layer", {"width": 2, "batch": 4}, 3e-5), ("layer(position=post)", {"width": 2, "batch": 4}, 3e-5),
    ("batch", {"width": 16, "batch": 2}, 3e-4),
])  # fmt: skip
def test_gradients_agree_with_float64(norm: str, sizes: dict[str, Any], within: float) -> None:
    """To the inputs' own rounding, which a small difference of two values multiplies; it was 0.06 decades."""
    gradients = [
        vp.sweep(act="tanh", init="he_normal", norm=norm, depth=6, seeds=2, dtype=dtype, **sizes)
        .gradient_log10_mean_square.values[0, :, 1:]
        for dtype in ("float32", "float64")
    ]  # fmt: skip
    np.testing.assert_allclose(*gradients, rtol=0, atol=within)
