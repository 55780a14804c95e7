"""What one cell takes: its program traced with the shapes of its arguments, and nothing drawn or compiled."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from varprobe.engine.programs import AnyGroup, AnyProgram, compilable, space_of
from varprobe.engine.random_bits import keys_of
from varprobe.engine.wired.cell import Keys
from varprobe.engine.wired.own import OwnProgram
from varprobe.engine.wired.program import Wired
from varprobe.sweeps.footprints import Footprint, footprint

__all__ = ["cell_bytes", "cell_footprint"]

AROUND = 8 * 2**20
"""What drawing the input, the tables and freed memory that is not given back take beside the compiled code."""

MADE = 3
"""Times the input and the target are in memory while they are drawn and handed over; part of it is not given back."""

found: dict[tuple[AnyProgram, str], Footprint] = {}


def cell_bytes(chunk: AnyGroup, platform: str = "cpu") -> int:
    """Bytes that computing one cell takes at its peak, beyond what the process takes anyway.

    Signals and slopes kept for the way back, weights, what the compiled code works on, arguments and results. On CPU it
    was 0.8 to 1.2 times the measured peak in 28 of 32 cases of 90 MiB or more, and 0.7 times it in four: profiles with
    thousands of samples, and orthogonal matrices of 6000 units (`scripts/measure_memory.py`).

    Args:
        chunk: whose cells.
        platform: cpu, cuda, rocm or tpu.
    """
    return cell_footprint(chunk, platform).bytes


def cell_footprint(chunk: AnyGroup, platform: str = "cpu") -> Footprint:
    """Memory and work of one cell; a program is traced once."""
    program = chunk.program
    if (program, platform) not in found:
        with jax.enable_x64(program.dtype == "float64"):
            given = shapes(chunk)
            space = space_of(program, given)
            traced = compilable.trace(program, space, *given)
        kept = len(jax.tree.leaves(space))
        donated = [i < kept for i in range(len(traced.jaxpr.in_avals))]
        code = footprint(traced.jaxpr, platform, donated)
        made = sum(MADE * s.size * s.dtype.itemsize for s in given[-3:-1])
        found[program, platform] = code._replace(peak=code.peak + made + AROUND)
    return found[program, platform]


def shapes(chunk: AnyGroup) -> tuple[Any, ...]:
    """The shapes of what `inputs.arguments` returns, with the numbers themselves."""
    program = chunk.program
    wide = np.float64 if program.dtype == "float64" else np.float32
    keys = jax.eval_shape(lambda: keys_of(0, 0))
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    if isinstance(program, Wired | OwnProgram):
        inputs, outputs = program.input_shape, program.output_shape
        streams: tuple[Any, ...] = (Keys(keys["weights"], keys["biases"], keys["dropout"]),)
    else:
        inputs, outputs = (program.segments[0].fan_in,), (program.segments[-1].fan_out,)
        streams = (keys["weights"], keys["biases"])
    x = jax.ShapeDtypeStruct((program.batch, *inputs), wide)
    target = {
        "cotangent": jax.ShapeDtypeStruct((program.batch, *outputs), wide),
        "mse": jax.ShapeDtypeStruct((program.batch, program.outputs), wide),
        "cross_entropy": jax.ShapeDtypeStruct((program.batch,), jnp.int32),
    }[program.loss]
    return np.True_, *streams, x, target, chunk.numbers()
