"""The number formats that networks are trained in."""

import sys
from typing import NamedTuple

__all__ = ["FORMATS", "TRAINED_IN", "Format"]


class Format(NamedTuple):
    """The largest finite number of a format, its smallest normal one, and its smallest above zero (subnormal)."""

    largest: float
    smallest_normal: float
    smallest: float


FORMATS = {
    "float64": Format(sys.float_info.max, 2.0**-1022, 2.0**-1074),
    "float32": Format((2 - 2.0**-23) * 2.0**127, 2.0**-126, 2.0**-149),
    "bfloat16": Format((2 - 2.0**-7) * 2.0**127, 2.0**-126, 2.0**-133),
    "float16": Format(65504.0, 2.0**-14, 2.0**-24),
    "float8_e4m3": Format(448.0, 2.0**-6, 2.0**-9),
}
"""float8_e4m3 is OCP's, which has no infinity (`float8_e4m3fn` in jax)."""

TRAINED_IN = ("float16", "bfloat16", "float8_e4m3")
"""Those that a float32 signal may not fit into."""
