"""What a cell takes at most, by rules of thumb that need no tracing: enough to know that memory is no matter."""

import jax.numpy as jnp

from varprobe.engine.plain_groups import PlainGroup, net_bytes
from varprobe.engine.programs import AnyGroup
from varprobe.engine.wired import chunks as wired
from varprobe.engine.wired.chunks import WiredGroup
from varprobe.engine.wired.own import OwnGroup

__all__ = ["rough_bytes"]

AROUND = 256 * 2**20
"""More than a small cell takes."""

KEPT_TIMES, MATRICES = 4, 40
"""More than a cell takes of what its nets keep, and of its largest matrix."""


def rough_bytes(chunk: AnyGroup) -> float:
    """More than a cell takes, by rules that need no tracing; infinite where none is known."""
    if isinstance(chunk, OwnGroup):
        return float("inf")
    program = chunk.program
    itemsize = max(4, jnp.dtype(program.dtype).itemsize)
    if isinstance(chunk, PlainGroup):
        one, nets, slots = net_bytes(chunk.program.segments, program.batch), sum(map(len, chunk.nets)), 1
    else:
        one, nets, slots = wired.net_bytes(chunk.program), len(chunk.nets), len(chunk.program.slots(0))
    matrices = [float(s.fan_in * s.fan_out) * slots for s in program.segments]
    kept = sum(s.count * m for s, m in zip(program.segments, matrices, strict=True)) * bases(chunk)
    kept = kept * itemsize if program.keep_weights else 0.0
    return AROUND + KEPT_TIMES * one * nets * itemsize / 4 + 2 * kept + MATRICES * max(matrices) * itemsize


def bases(chunk: PlainGroup | WiredGroup) -> int:
    """Different bases of a matrix."""
    if isinstance(chunk, PlainGroup):
        return max(len(chunk.program.bases(i)) for i in range(len(chunk.program.segments)))
    return max(len(set(slot)) for segment in chunk.program.weights for slot in segment)
