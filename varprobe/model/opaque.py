"""What to do about calls that a probe cannot enter."""

from collections.abc import Sequence

__all__ = ["ways_out"]

SILENT = "leave out the callbacks and the debug prints in it"
WAYS = {
    "custom_vjp_call": SILENT,
    "custom_jvp_call": SILENT,
    "while": SILENT,
    "call_hi_primitive": "write its steps in jax.lax.scan",
    "custom_partitioning": "call the function without jax.experimental.custom_partitioning",
    "pallas_call": "probe a reference of the kernel in jax.numpy",
}
"""Primitives whose programs are not entered, or only without side effects, and how to write the model for a probe."""


def ways_out(opaque: Sequence[str]) -> str:
    """What to do instead, for the descriptions of opaque calls (`while at net.py:12`), each primitive once."""
    names = dict.fromkeys(text.partition(" ")[0] for text in opaque)
    ways = {way: None for name in names for primitive, way in WAYS.items() if name.startswith(primitive)}
    return "; or ".join(ways)
