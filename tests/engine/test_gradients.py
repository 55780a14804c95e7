"""What the engine measures equals brute force (the chain rule, float64, on `varprobe.build`'s nets) in every layer.

Every initializer with one activation, every kind of activation, every base; both ways to the weight gradient's moments,
biases or none, all losses. Exhaustive: every activation with one initializer and with another that goes round the
registry, every initializer with two activations. All pairs are a script (scripts/check_all_pairs.py), whose brute force
and tolerances are those used here.
"""

import dataclasses
from itertools import cycle, islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from behaviors import BEHAVIORS
from check_all_pairs import ELSEWHERE, EVERY_INIT, brute_force, differences, quantity

import varprobe as vp
from varprobe.nets.activations import ACTIVATIONS
from varprobe.nets.initializers import INITIALIZERS
from varprobe.sweeps.request import read_request
from varprobe.sweeps.sweep import run

COMPILED_AS_FOR_USERS = True

EVERY_ACT = list(ACTIVATIONS)
WITH_PARAMETERS = {
    "leaky_relu": "leaky_relu(0.3)",
    "elu": "elu(alpha=0.5)",
    "celu": "celu(alpha=2)",
    "gelu": "gelu(approximate=false)",
    "squareplus": "squareplus(b=1)",
    "sin": "sin(omega=2)",
}
OTHER_INITS = [i for i in EVERY_INIT if i not in ("zeros", "ones", "identity", "he_normal", "critical")]
"""Not `critical`: with biases few activations have such a point."""
ONE_OF_EACH_BASE = ["normal(mean=0.1,std=0.3)", "orthogonal", "sparse(density=0.4,std=0.5)", "glorot_uniform"]

SQUARE = {"depth": 4, "width": 12}
UNEQUAL = {"width": "8-13", "input_width": 11}
SMALL, LARGE = 3, 12  # samples: the weight gradient's moments by Gram matrices, and by the matrix itself
BIAS = "normal(mean=-0.1,std=0.3)"

Cases = dict[str, tuple[list[tuple[str, str]], dict[str, Any]]]
CASES: Cases = {
    "every initializer, homogeneous": (
        [("leaky_relu(0.3)", init) for init in EVERY_INIT],
        {**SQUARE, "batch": LARGE},
    ),
    "another degree, biases, weight gradients formed": (
        [("relu_squared", "normal(mean=0.1,std=0.3)")],
        {**SQUARE, "batch": LARGE, "bias": BIAS},
    ),
    "a bounded activation, biases, weight gradients formed": (
        [("sigmoid", "orthogonal(scale=1.3,shift=-0.05)")],
        {**SQUARE, "batch": LARGE, "bias": BIAS},
    ),
    "further kinds of activations, biases, weight gradients formed": (
        [
            ("gelu(approximate=false)", "sparse(density=0.4,std=0.5)"),
            ("sin(omega=2)", "truncated_normal(std=0.3)"),
        ],
        {**SQUARE, "batch": LARGE, "bias": BIAS},
    ),
    "unequal widths, mse": (
        [("tanh", "ntk")],
        {**UNEQUAL, "batch": SMALL, "loss": "mse"},
    ),
    "biases, cross entropy, weight gradients formed": (
        [("softplus", "normal(mean=0.1,std=0.3)")],
        {**SQUARE, "batch": LARGE, "bias": "uniform(limit=0.5)", "loss": "cross_entropy"},
    ),
}
EXHAUSTIVE: Cases = {
    "every activation": (
        [(act, "he_normal") for act in EVERY_ACT],
        {**SQUARE, "batch": SMALL},
    ),
    "every activation, another initializer, biases, weight gradients formed": (
        [
            (WITH_PARAMETERS.get(act, act), OTHER_INITS[i % len(OTHER_INITS)])
            for i, act in enumerate(islice(cycle(EVERY_ACT), max(len(EVERY_ACT), len(OTHER_INITS))))
        ],
        {**SQUARE, "batch": LARGE, "bias": BIAS},
    ),
    "every initializer, unequal widths, mse": (
        [("tanh", init) for init in EVERY_INIT],
        {**UNEQUAL, "batch": SMALL, "loss": "mse"},
    ),
    # Not those with equal entries: their logits are equal, the gradient is a sum that cancels, and rounding is left.
    "a few initializers, biases, cross entropy, weight gradients formed": (
        [("softplus", init) for init in ONE_OF_EACH_BASE],
        {**SQUARE, "batch": LARGE, "bias": "uniform(limit=0.5)", "loss": "cross_entropy"},
    ),
}


def measured(pairs: list[tuple[str, str]], arguments: dict[str, Any]) -> xr.Dataset:
    """The pairs and nothing else, in one sweep."""
    requests = [
        read_request(act=act, init=init, seeds=2, root_seed=5, dtype="float64", **arguments) for act, init in pairs
    ]
    return run(dataclasses.replace(requests[0], configs=tuple(r.configs[0] for r in requests)))


@pytest.mark.parametrize("case", [*CASES, *(pytest.param(case, marks=pytest.mark.exhaustive) for case in EXHAUSTIVE)])
def test_equals_brute_force(case: str) -> None:
    pairs, arguments = (CASES | EXHAUSTIVE)[case]
    ds = measured(pairs, arguments)
    wrong = []
    for i, (act, init) in enumerate(pairs):
        row = ds.isel(config=i, seed=1)
        wanted = brute_force({"act": act, "init": init, "seeds": 2, "root_seed": 5, **arguments}, seed=1)
        assert set(wanted) == {name for name in ds.data_vars if not name.startswith("theory_")}
        wrong += [f"{act} {init}: {text}" for text in differences(row, wanted)]
    assert not wrong, "\n".join([f"{len(wrong)} differences", *wrong[:20]])
    # The other seed is another net, which the comparison must notice; its small differences would be 0.01 at most.
    act, init = pairs[-1]
    other = brute_force({"act": act, "init": init, "seeds": 2, "root_seed": 5, **arguments}, seed=0)
    texts = differences(ds.isel(config=-1, seed=1), other)
    for name in ("preactivation", "activation", "gradient", "weight_gradient"):
        assert any(text.startswith(f"{name}_log10_mean_square[2]") for text in texts)


def test_cases_cover_the_registries() -> None:
    assert WITH_PARAMETERS.keys() == {name for name, registered in ACTIVATIONS.items() if registered.parameters}
    assert {init.partition("(")[0] for init in EVERY_INIT} == set(INITIALIZERS) - ELSEWHERE
    with_others = EXHAUSTIVE["every activation, another initializer, biases, weight gradients formed"][0]
    assert {init for _, init in with_others} == set(OTHER_INITS)
    assert {init for _, init in CASES["every initializer, homogeneous"][0]} == set(EVERY_INIT)
    kinds = {name: (near is None, far is None, *rest) for name, (near, far, *rest) in BEHAVIORS.items()}
    by_default = {act.partition("(")[0] for pairs, _ in CASES.values() for act, _ in pairs}
    assert {kinds[act] for act in by_default} == set(kinds.values())


@pytest.mark.parametrize("loss", ["cotangent", "mse", "cross_entropy"])
def test_brute_force_is_jax_grad(loss: str, x64: None) -> None:
    """`build`'s cotangent is dLoss/d(output), against the formula; and so is the chain rule, to float64's rounding."""
    config = {"act": "tanh", "init": "he_normal", "width": "6-4", "input_width": 3, "batch": 5, "loss": loss}
    net = vp.build(config | {"dtype": "float64"})
    output, shape = net.apply(net.params, net.x), net.cotangent.shape
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), 0), 3)
    if loss == "cross_entropy":
        labels = jax.random.randint(key, (5,), 0, 10, dtype=jnp.int32)
        expected = (jax.nn.softmax(output) - jax.nn.one_hot(labels, 10)) / 5
    else:
        wanted = jax.random.normal(key, shape, jnp.float32)
        expected = 2 * (output - wanted) / 5 if loss == "mse" else wanted
    np.testing.assert_allclose(net.cotangent, expected, rtol=1e-12, atol=1e-15)
    assert np.abs(net.cotangent + expected).max() > 1e-3  # the wrong sign would be seen

    def value(added: list[jax.Array], weights: list[jax.Array]) -> jax.Array:
        h = net.x
        for w, zero in zip(weights, added, strict=True):
            h = jnp.tanh(h @ w + zero)
        return jnp.sum(net.cotangent * (h if loss == "cotangent" else h @ net.params[-1]["w"]))

    found = jax.jit(jax.grad(value, (0, 1)))([jnp.zeros((5, n)) for n in (6, 4)], [p["w"] for p in net.params[:2]])
    by_chain_rule = brute_force(config)
    for name, arrays in zip(("gradient", "weight_gradient"), found, strict=True):
        of_jax = quantity(name, [None, *map(np.asarray, arrays)])
        for statistic, values in of_jax.items():
            np.testing.assert_allclose(by_chain_rule[statistic], values, rtol=0, atol=1e-11, err_msg=statistic)
