"""Numbers as tables and sentences write them: few digits, and an exponent only where it is shorter."""

import math
import re

__all__ = ["bound", "brief", "cosine", "number", "powered", "rounded", "scientific"]


def rounded(value: float) -> str:
    """Three digits, with an exponent below 0.001 and from a million on: 0.498, 85.3, 4370, 2.43e-4."""
    return f"{float(f'{value:.3g}'):.6g}" if 0.001 <= value < 999_500 else powered(value, 2)


def number(value: float) -> str:
    """A factor to three digits, or to two with an exponent where it is below 0.01 or above 999."""
    return f"{value:#.3g}".rstrip(".") if 0.01 <= value < 999.5 else powered(value, 1)


def brief(value: float) -> str:
    """A factor to two digits."""
    return f"{float(f'{value:.2g}'):g}" if 0.01 <= value < 9950 else powered(value, 1)


def bound(value: float) -> str:
    """An end of an interval, to two digits."""
    return f"{float(f'{value:.2g}'):g}" if 0.001 <= value < 10000 else powered(value, 0)


def powered(value: float, digits: int) -> str:
    """`7.3e-4`."""
    return re.sub(r"e([-+])0*(\d)", r"e\1\2", f"{value:.{digits}e}").replace("e+", "e")


def scientific(log10: float | None) -> str:
    """A number from its log10, which may be far outside float64: `3.2e-80`."""
    if log10 is None or math.isnan(log10):
        return "-"
    if math.isinf(log10):
        return "0" if log10 < 0 else "inf"
    if -3 <= log10 < 4:
        return f"{float(f'{10**log10:.3g}'):g}"
    exponent = math.floor(log10)
    mantissa = f"{10 ** (log10 - exponent):.1f}"
    return f"1.0e{exponent + 1}" if mantissa == "10.0" else f"{mantissa}e{exponent}"


def cosine(value: float | None) -> str:
    """A mean cosine to three decimals."""
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"
