"""What to do about calls that a probe cannot enter."""

from collections.abc import Sequence

__all__ = ["ways_out"]

WAYS = {
    "custom_vjp_call": "call the function without its own rule (f.fun of f = jax.custom_vjp(...)), use "
    "adjoint=diffrax.DirectAdjoint() with diffrax, or integrate with jax.lax.scan",
    "custom_jvp_call": "call the function without its own rule (f.fun of f = jax.custom_jvp(...)), or iterate a solver "
    "with jax.lax.scan",
    "call_hi_primitive": "write the steps of the solver in jax.lax.scan",
    "custom_linear_solve": "write the steps of the solver in jax.lax.scan",
    "while": "use jax.lax.scan, jax.lax.fori_loop with bounds that are Python numbers, or "
    "adjoint=diffrax.DirectAdjoint() with diffrax",
    "shard_map": "probe the function that is mapped, outside shard_map",
    "pallas_call": "probe a reference of the kernel in jax.numpy",
}
"""Primitives whose programs are not entered, and how to write the model without them."""


def ways_out(opaque: Sequence[str]) -> str:
    """What to do instead, for the descriptions of opaque calls (`while at net.py:12`), each primitive once."""
    names = dict.fromkeys(text.partition(" ")[0] for text in opaque)
    ways = {way: None for name in names for primitive, way in WAYS.items() if name.startswith(primitive)}
    return "; or ".join(ways)
