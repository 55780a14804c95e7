"""Cells: one group of nets, one seed, one call of compiled code; what that code is given.

A cell's numbers never depend on other cells.
"""

import math
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from varprobe.engine import random_bits
from varprobe.engine.programs import AnyGroup
from varprobe.engine.random_bits import keys_of
from varprobe.engine.wired.cell import Keys
from varprobe.engine.wired.own import OwnProgram
from varprobe.engine.wired.program import Wired
from varprobe.nets.config import SweepSettings
from varprobe.nets.data import Source

__all__ = ["arguments", "batch_of", "entering", "inputs_of", "rows_of", "shapes_of", "target_of"]


def batch_of(
    source: Source, key: Array, batch: int, width: int, units: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """(x, rows): a batch drawn for one seed, float32 or the file's float64, and which rows of the file it is.

    Random laws are drawn in float32 like the weights; rows of a file without replacement. Tokens are embedded in
    `units` values each (without it all `width`); row i of the table has the key fold_in(fold_in(key, 1), i).
    """
    if source.rows is not None:
        rows = rows_of(source, key, batch)
        return source.rows[source.places(rows)], rows
    with jax.enable_x64(False):
        if source.vocab:
            ids = jax.random.randint(key, (batch * (width // (units or width)),), 0, source.vocab)
            return np.asarray(embeddings(jax.random.fold_in(key, 1), ids, units or width)).reshape(batch, width), None
        x = drawn("uniform" if source.name == "uniform" else "normal", (batch, width), key)
        if source.name == "sphere":
            x = x * (np.sqrt(width) / jnp.linalg.norm(x, axis=1, keepdims=True))
    return np.asarray(x), None


def rows_of(source: Source, key: Array, batch: int) -> np.ndarray:
    """The numbers of the rows of a file that a seed is given; of a smaller batch the first of them."""
    return np.asarray(jax.random.permutation(key, source.count)[:batch])


@partial(jax.jit, static_argnums=2)
def embeddings(key: Array, ids: Array, units: int) -> Array:
    """The rows of a table of N(0, 1) entries, each with its own key."""
    return jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(key, i), (units,)))(ids)


@partial(jax.jit, static_argnums=(0, 1))
def drawn(law: Literal["normal", "uniform"], shape: tuple[int, int], key: Array) -> Array:
    """N(0, 1) or U[-1, 1): jax.random's numbers for this key, from code that compiles in a fifth of the time."""
    return (random_bits.uniform if law == "uniform" else random_bits.normal)(random_bits.random_bits(key, shape))


def target_of(setting: SweepSettings, key: Array, rows: np.ndarray | None, batch: int, width: int) -> np.ndarray:
    """The cotangent, or the labels of the batch (the source's own, else drawn for the seed)."""
    labels = setting.source.labels
    with jax.enable_x64(False):
        if setting.loss == "cotangent":
            return np.asarray(drawn("normal", (batch, width), key))
        if labels is not None and rows is not None:
            chosen = labels[setting.source.places(rows)]
            return chosen.astype(np.int32) if setting.loss == "cross_entropy" else chosen.reshape(batch, -1)
        if setting.loss == "cross_entropy":
            return np.asarray(jax.random.randint(key, (batch,), 0, setting.outputs), np.int32)
        return np.asarray(drawn("normal", (batch, setting.outputs), key))


def inputs_of(
    setting: SweepSettings, keys: dict[str, Array], batch: int, shape: tuple[int, ...], embed: bool
) -> tuple[Any, Any]:
    """(x, rows) as `batch_of`, samples in `shape`; rows of another width are embedded, or repeated until they fill it.

    The embedding is a random matrix of variance 1 / fan_in, which keeps the mean square; its key is fold_in(data, 1).
    """
    x, rows = batch_of(setting.source, keys["data"], batch, math.prod(shape), shape[-1])
    return entering(x, keys, shape, embed), rows


def entering(x: np.ndarray, keys: dict[str, Array], shape: tuple[int, ...], embed: bool) -> np.ndarray:
    """Rows as samples of this shape, see `inputs_of`."""
    units = math.prod(shape)
    if embed and x.shape[1] != units:
        with jax.enable_x64(False):
            matrix = np.asarray(drawn("normal", (x.shape[1], units), jax.random.fold_in(keys["data"], 1)), np.float64)
        x = x @ (matrix / np.sqrt(len(matrix)))
    return np.tile(x, (1, units // x.shape[1])).reshape(len(x), *shape)


def arguments(group: AnyGroup, setting: SweepSettings, seed: int) -> tuple[Any, ...]:
    """The run-time arguments of a cell."""
    program = group.program
    keys = keys_of(setting.root_seed, seed)
    wide = np.float64 if setting.dtype == "float64" else np.float32
    if isinstance(program, Wired | OwnProgram):
        x, rows = inputs_of(setting, keys, program.batch, program.input_shape, program.arch.embeds)
        target = target_of(setting, keys["loss"], rows, program.batch, math.prod(program.output_shape))
        if setting.loss == "cotangent":
            target = target.reshape(program.batch, *program.output_shape)
        streams: tuple[Any, ...] = (Keys(keys["weights"], keys["biases"], keys["dropout"]),)
    else:
        x, rows = batch_of(setting.source, keys["data"], program.batch, program.segments[0].fan_in)
        target = target_of(setting, keys["loss"], rows, program.batch, program.segments[-1].fan_out)
        streams = (keys["weights"], keys["biases"])
    target = target if target.dtype == np.int32 else target.astype(wide)
    return np.True_, *streams, x.astype(wide), target, group.numbers()


def shapes_of(group: AnyGroup) -> tuple[Any, ...]:
    """The shapes of what `arguments` returns for a cell of a group; nothing is drawn."""
    program = group.program
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
        "cross_entropy": jax.ShapeDtypeStruct((program.batch,), np.int32),
    }[program.loss]
    numbers = jax.tree.map(lambda a: jax.ShapeDtypeStruct(np.shape(a), np.asarray(a).dtype), group.numbers())
    return jax.ShapeDtypeStruct((), np.bool_), *streams, x, target, numbers
