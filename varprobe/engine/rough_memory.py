"""What a cell takes of memory, by a formula: this decides how many nets go together before anything is compiled.

What compiled code really takes, the compiler says (`engine.compile.Executable`); where that is more than there is, the
group is split and compiled again.
"""

import math
from functools import lru_cache

import jax
import jax.numpy as jnp

from varprobe.engine import plain_groups
from varprobe.engine.pieces import net_count
from varprobe.engine.programs import AnyGroup
from varprobe.engine.random_bits import keys_of
from varprobe.engine.wired import groups as wired
from varprobe.engine.wired.groups import WiredGroup
from varprobe.engine.wired.own import OwnGroup
from varprobe.nets.architectures.own import Own

__all__ = ["AROUND", "rough_bytes"]

AROUND = 16 * 2**20
"""Bytes of tables, of drawn inputs and of copies that products make: the compiler's plan does not count them."""

KEPT = 2
"""Arrays of its output's shape that a layer of a plain stack keeps for the way back."""

OWN_KEPT = 8
"""The same of a user's block, whose code is not known."""

LAYERS, MATRICES = 24, 5
"""Arrays in the shape of the widest layer's output, and of its weights, that are worked on at once."""


def rough_bytes(group: AnyGroup) -> float:
    """Bytes of a cell, by rules of thumb.

    It was 0.7 to 2.6 times what the compiler planned on CPU in 34 programs of eight architectures, and 3.7 to 6.3 times
    in four of transformers.
    """
    p = group.program
    itemsize = max(4, jnp.dtype(p.dtype).itemsize)
    if isinstance(group, OwnGroup):
        own, units = group.program, group.program.width
        weights, matrix = 0, parameter_count(own.arch, units, own.depth, own.dtype)
        kept = OWN_KEPT * 4 * own.depth * own.batch * units
    elif isinstance(group, WiredGroup):
        net = group.program
        weights, kept = wired.weight_bytes(net), wired.net_bytes(net) * net_count(group)
        matrix = max(sum(slot.fan_in * slot.fan_out for slot in net.slots(i)) for i in range(len(net.segments)))
        positions = math.prod(net.output_shape) // net.segments[-1].fan_out
        units = positions * max(max(s.fan_in, s.fan_out) for s in net.segments)
    else:
        plain = group.program
        weights = plain_groups.weight_bytes(plain.segments, plain.blocks, itemsize)
        kept = KEPT * plain_groups.net_bytes(plain.segments, plain.batch) * net_count(group)
        matrix = max(s.fan_in * s.fan_out for s in plain.segments)
        units = max(max(s.fan_in, s.fan_out) for s in plain.segments)
    weights = weights if getattr(p, "keep_weights", False) else 0
    return float(weights + kept * itemsize / 4 + itemsize * (LAYERS * p.batch * units + MATRICES * matrix) + AROUND)


@lru_cache
def parameter_count(block: Own, width: int, depth: int, dtype: str) -> int:
    """Parameters of a user's block; nothing is drawn."""
    made = jax.eval_shape(lambda: block.params(keys_of(0, 0)["weights"], width, jnp.int32(1), depth, dtype))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(made))
