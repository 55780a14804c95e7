"""Verdicts on models that train, which are healthy, and on models that are broken on purpose, which are not."""

from typing import Any

import numpy as np
import pytest
import zoo_blocks
import zoo_convolutional
import zoo_dense
import zoo_libraries
import zoo_objectives
import zoo_recurrent
import zoo_transformers
from zoo_parts import Broken, Model

import varprobe as vp

PARTS = (
    zoo_transformers,
    zoo_blocks,
    zoo_dense,
    zoo_objectives,
    zoo_convolutional,
    zoo_recurrent,
    zoo_libraries,
)
HEALTHY = {name: build for part in PARTS for name, build in part.HEALTHY.items()}
BROKEN: dict[str, Broken] = {name: case for part in PARTS for name, case in getattr(part, "BROKEN", {}).items()}
SLOW = {
    "densenet",
    "linen lstm",
    "haiku mlp",
    "residual, gates zero",
    "glorot tanh of 20 layers",
    "post-norm of 48 blocks",
    "MLPs switched off by their bias",
    "vgg of 24 layers, weights too small",
    "lstm, weights 5 times too large",
    "float16 overflows",
    "t5",
    "one layer 100 times too large",
    "bag of embeddings",
    "dit",
    "gpt2 in a loop",
    "pre-activation resnet",
    "equinox mlp",
    "gpt2 in bfloat16",
    "vit with a random head",
    "experts",
    "selu of 20 layers",
    "residual by 1 / sqrt(depth)",
    "weight norm",
    "graph convolutions",
    "autoencoder",
    "resnet",
    "mobilenet",
    "lstm with forget bias 1",
    "embedding N(0, 1), tied",
    "relu of 50 layers with 1 / n",
    "graph of 32 layers without residual",
    "depthwise fan-in counts all channels",
    "rnn of 100 steps, weights too small",
}
"""Those that are as others, or slow to compile."""


def cases(named: dict[str, Any]) -> list[Any]:
    return [
        pytest.param(case, id=name, marks=[pytest.mark.exhaustive] if name in SLOW else [])
        for name, case in named.items()
    ]


def verdict(model: Model) -> dict[str, Any]:
    (row,) = vp.diagnose(vp.probe(model.function, *model.arguments, **model.options)).rows
    return row


@pytest.mark.parametrize("build", cases(HEALTHY))
def test_a_model_that_trains_is_healthy(build: Any) -> None:
    row = verdict(build(np.random.default_rng(0)))
    assert row["healthy"], row["reason"]


@pytest.mark.parametrize("case", cases(BROKEN))
def test_the_fault_of_a_broken_model_is_named_at_its_site(case: Broken) -> None:
    row = verdict(case.build(np.random.default_rng(0)))
    assert not row["healthy"]
    assert case.fault in (row["forward"], row["backward"], *row["flags"])
    assert case.site in row["reason"]


def test_enough_of_both_run_by_default() -> None:
    assert not SLOW - HEALTHY.keys() - BROKEN.keys()
    assert len(HEALTHY.keys() - SLOW) >= 20 and len(BROKEN.keys() - SLOW) >= 15
