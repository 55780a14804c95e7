"""Embedded tokens as data: each position is a row of a table, and the same row wherever the token stands."""

import jax
import numpy as np
import pytest

import varprobe as vp
from varprobe.engine.inputs import batch_of
from varprobe.errors import InvalidArgumentError
from varprobe.nets.data import load_source

KEY = jax.random.key(3)


def drawn(text, batch, width, units=None):
    return batch_of(load_source(text), KEY, batch, width, units)[0]


def test_positions_are_rows_of_one_table():
    x = drawn("tokens(vocab=5)", 40, 6 * 8, 8).reshape(-1, 8)
    rows = np.unique(x, axis=0)
    assert len(rows) == 5 and x.dtype == np.float32
    counts = (x[:, None] == rows[None]).all(2).sum(0)
    assert counts.sum() == 240 and (abs(counts - 48) < 4 * np.sqrt(48)).all()  # binomial: four standard deviations


def test_row_i_has_its_own_key_and_does_not_depend_on_the_vocabulary():
    table = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(jax.random.fold_in(KEY, 1), i), (4,)))(np.arange(7))
    ids = jax.random.randint(KEY, (12,), 0, 7)
    np.testing.assert_array_equal(drawn("tokens(vocab=7)", 3, 16, 4).reshape(-1, 4), table[ids])


def test_a_sample_without_positions_is_one_token():
    x = drawn("tokens(vocab=1)", 3, 4)
    np.testing.assert_array_equal(x, np.broadcast_to(x[0], (3, 4)))


def test_moments_are_those_of_a_normal():
    x = drawn("tokens(vocab=2147483647)", 64, 1024, 16)
    assert abs(x.mean()) < 5 / np.sqrt(x.size) and abs(x.var() - 1) < 5 * np.sqrt(2 / x.size)


def test_names_and_digests():
    short, long = load_source("tokens"), load_source("tokens(vocab=1000)")
    assert (short.name, long.name) == ("tokens", "tokens(vocab=1000)")
    assert short.digest == long.digest == "tokens(vocab=1000)" != load_source("tokens(vocab=10)").digest
    assert long.description == "embedded tokens (vocab 1000)" and long.vocab == 1000


@pytest.mark.parametrize(
    "text, words",
    [
        ("tokens(vocab=0)", "vocab=0 is not allowed (allowed: whole numbers from 1 to"),
        ("tokens(vocab=1e12)", "whole numbers from 1 to 2147483647"),
        ("tokens(vocab=many)", "vocab=many is not allowed"),
        ("tokens(vocab=2:5:3)", "takes one number of tokens"),
        ("tokens(", "tokens("),
        ("tokens(size=3)", "vocab"),
        ("token", "tokens"),
    ],
)
def test_what_is_wrong_is_said(text, words):
    with pytest.raises(InvalidArgumentError) as caught:
        load_source(text)
    assert words in str(caught.value) and caught.value.option == "data"


def test_laws_take_neither_labels_nor_scaling():
    for name, value in (("labels", np.zeros(3)), ("standardize", True)):
        with pytest.raises(InvalidArgumentError, match="random law"):
            load_source("tokens", **{name: value})


def test_a_plain_stack_takes_tokens():
    ds = vp.sweep(depth=2, width=32, batch=16, seeds=2, init="he_normal", data="tokens(vocab=2)", forward_only=True)
    cosine = ds.activation_correlation.values[0, :, 0]
    assert (cosine > 0.2).all()  # about half of all pairs are the same token
    assert np.isfinite(ds.theory_activation_log10_mean_square.values[..., 1:]).all()
    assert ds.attrs["data_description"] == "embedded tokens (vocab 2)"
