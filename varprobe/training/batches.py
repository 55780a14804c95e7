"""Which rows of the data a net is given at each step: the epochs of one seed."""

import math
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from varprobe.engine.inputs import entering, rows_of
from varprobe.engine.random_bits import keys_of
from varprobe.nets.config import Config, SweepSettings
from varprobe.nets.data import Source

__all__ = ["Batches", "lesson", "rows_by_step"]

EPOCHS = 3
"""fold_in of the data's key for the orders of later epochs; 1 is that of an embedding, 2 of partners."""

JUDGED = 2048
"""Rows at most on which loss and accuracy are told at the end."""


class Batches(NamedTuple):
    """What nets of a program and seed learn from.

    x: samples as the net takes them; target: labels, or rows of outputs; rows: which of them make the batch of each
    step; judged: those on which it is judged.
    """

    x: Float[np.ndarray, "samples ..."]
    target: np.ndarray
    rows: Int[np.ndarray, "steps batch"]
    judged: Int[np.ndarray, " judged"]


def rows_by_step(source: Source, key: Array, batch: int, steps: int) -> Int[np.ndarray, "steps batch"]:
    """The rows of steps 0 to steps - 1, each epoch in an order of its own; what does not fill a batch waits.

    The first batch is the one that `varprobe.sweep` measures.
    """
    each = source.count // batch
    epochs = []
    for epoch in range(-(-steps // each)):
        order = jax.random.fold_in(jax.random.fold_in(key, EPOCHS), epoch) if epoch else key
        epochs.append(rows_of(source, order, each * batch).reshape(each, batch))
    return np.concatenate(epochs)[:steps].astype(np.int32)


def lesson(config: Config, setting: SweepSettings, seed: int, steps: int) -> Batches:
    """What the nets of a configuration's shape are given in `steps` steps and one more batch."""
    source, keys = setting.source, keys_of(setting.root_seed, seed)
    assert source.rows is not None and source.labels is not None
    dtype = np.float64 if setting.dtype == "float64" else np.float32
    shape = config.arch.input_shape(config.widths[0], config.depth)
    x = entering(source.rows, keys, shape, config.arch.embeds).astype(dtype)
    labels = source.labels
    target = labels.astype(np.int32) if setting.loss == "cross_entropy" else labels.reshape(len(x), -1).astype(dtype)
    rows = rows_by_step(source, keys["data"], config.batch, steps + 1)
    judged = rows_of(source, keys["data"], min(source.count, JUDGED)).astype(np.int32)
    assert math.prod(x.shape[1:]) == math.prod(shape)
    return Batches(x, target, rows, judged)
