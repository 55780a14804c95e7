"""Compare what the engine measures with brute force: every activation with every initializer, with and without biases.

    python scripts/check_all_pairs.py [ACT ...]

Each net is taken from `varprobe.build` in float64 and run through NumPy: forward layer by layer, and back by the chain
rule, which tests/engine/test_gradients.py compares with jax.grad. Every variable of the dataset, in every layer, must
then be the same. One line a pair, one for all; exit code 1 if any variable of any pair differs.
"""

import sys
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy.special import softmax

import varprobe as vp
from varprobe.nets.activations import ACTIVATIONS, Activation, resolve_activation
from varprobe.nets.initializers import INITIALIZERS
from varprobe.spec.calls import parse_calls
from varprobe.theory.sigmas import sigma_b2_of

Layers = dict[str, np.ndarray]

REQUIRED = {"uniform": "limit=0.3", "constant": "value=0.1", "sparse": "density=0.4,std=0.5"}
"""Parameters of the initializers that need some; any that keep a small net alive will do."""

ELSEWHERE = {"delta_orthogonal", "lsuv", "fixup", "skipinit"}
"""Those of convolutions, of residual branches and of another engine: test_conv.py, test_arch_initializers.py."""

EVERY_INIT = [
    f"{name}({REQUIRED[name]})" if name in REQUIRED else name for name in INITIALIZERS if name not in ELSEWHERE
] + [
    "normal(mean=0.1,std=0.3)",
    "uniform(scale=0.5)",
    "truncated_normal(std=0.3)",
    "variance_scaling(scale=1.5,mode=fan_geo_avg,distribution=uniform)",
    "variance_scaling(scale=1.5,mode=fan_avg,distribution=normal)",
    "he_normal(gain=0.9,shift=0.05)",
    "orthogonal(scale=1.3,shift=-0.05)",
]
LOG10 = 1e-8
"""Allowed difference of a log10 from one in double precision. Rounding leaves 1e-12 where it is not amplified; the
steepest nets here (sin and large weights, 5 layers) amplify it some thousand times."""


@partial(jax.jit, static_argnums=0)
def value_and_slope(act: Activation, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """phi(z) and phi'(z), the one thing that is left to jax."""
    value, back = jax.vjp(act, z)
    return value, back(jnp.ones_like(z))[0]


def brute_force(config: Mapping[str, Any], seed: int = 0) -> Layers:
    """Every variable of one net, each of shape (depth + 1,), in float64 and by the chain rule.

    Args:
        config: arguments of `varprobe.sweep`, one value each, with act and init as call forms.
        seed: which of its seeds.
    """
    loss = config.get("loss", "cotangent")
    with jax.enable_x64(True):
        net = vp.build({**config, "dtype": "float64"}, seed)
        act = resolve_activation(parse_calls(config["act"])[0])
        key = jax.random.key(config.get("root_seed", 0), impl="threefry2x32")
        key = jax.random.fold_in(jax.random.fold_in(key, seed), 3)
        shape = net.cotangent.shape
        if loss == "cross_entropy":
            wanted = np.eye(shape[1])[np.asarray(jax.random.randint(key, shape[:1], 0, shape[1], dtype=jnp.int32))]
        else:
            wanted = np.asarray(jax.random.normal(key, shape, jnp.float32), np.float64)
        params = jax.tree.map(np.asarray, net.params)
        hidden = params if loss == "cotangent" else params[:-1]
        means = [p["w"] / len(p["w"]) ** 0.5 if config["init"] == "ntk" else p["w"] for p in params]
        h, z, slope = [np.asarray(net.x)], [], []
        for w, p in zip(means, hidden, strict=loss == "cotangent"):
            z.append(h[-1] @ w + p["b"])
            a, s = value_and_slope(act, z[-1])
            h.append(np.asarray(a))
            slope.append(np.asarray(s))
    g = wanted
    if loss != "cotangent":
        output = h[-1] @ means[-1]
        g = 2 * (output - wanted) / wanted.size if loss == "mse" else (softmax(output, 1) - wanted) / len(wanted)
        g = g @ means[-1].T
    delta, dw = [], []
    for below, s, w in reversed(list(zip(h[:-1], slope, means[: len(z)], strict=True))):
        delta.insert(0, s * g)
        dw.insert(0, below.T @ delta[0] / (len(w) ** 0.5 if config["init"] == "ntk" else 1))
        g = delta[0] @ w.T
    found = quantity("activation", h) | quantity("preactivation", [None, *z])
    found |= quantity("gradient", [None, *delta]) | quantity("weight_gradient", [None, *dw])
    found["activation_correlation"] = np.array([correlation(a) for a in h])
    found["gradient_correlation"] = np.array([np.nan, *(correlation(g) for g in delta)])
    with np.errstate(divide="ignore"):
        found["weight_log10_mean_square"] = np.array([np.nan, *(np.log10(np.mean(np.square(p["w"]))) for p in hidden)])
    flat = [np.abs(np.asarray(s)) < 0.01 for s in slope]
    per_layer = {
        "activation_zero_fraction": [np.mean(a == 0) for a in h[1:]],
        "dead_unit_fraction": [np.mean(np.all(a == 0, axis=0)) for a in h[1:]],
        "saturated_fraction": [np.mean(f) for f in flat],
        "saturated_nonzero_fraction": [np.mean(f & (a != 0)) for f, a in zip(flat, h[1:], strict=True)],
        "equal_unit_fraction": [np.mean(np.abs(a - a[:, :1]) <= 1e-5 * power_below(a)) for a in z],
    }
    return found | {name: np.array([np.nan, *values]) for name, values in per_layer.items()}


def quantity(name: str, arrays: list[np.ndarray | None]) -> Layers:
    """The four variables of a quantity; None is a layer that does not have it."""
    nothing, rows = (np.nan,) * 4, []
    for a in arrays:
        if a is None:
            rows.append(nothing)
            continue
        ms = np.mean(a * a)
        with np.errstate(divide="ignore", invalid="ignore"):
            rows.append((np.log10(ms), np.log10(np.var(a)), np.mean(a) / np.sqrt(ms), np.log10(np.max(np.abs(a)))))
    names = ("log10_mean_square", "log10_var", "mean_over_rms", "log10_absmax")
    return {f"{name}_{k}": np.array(v) for k, v in zip(names, zip(*rows, strict=True), strict=True)}


def correlation(a: np.ndarray) -> float:
    """Mean cosine between distinct rows that are not zero."""
    rows = [row / np.linalg.norm(row) for row in a if row.any()]
    cosines = [rows[i] @ rows[j] for i in range(len(rows)) for j in range(i)]
    return float(np.mean(cosines)) if cosines else np.nan


def power_below(a: np.ndarray) -> float:
    """The power of two at or below the largest magnitude: the unit in which equality is told."""
    largest = np.max(np.abs(a))
    return 2.0 ** np.floor(np.log2(largest)) if largest else 1.0


def differences(row: xr.Dataset, wanted: Layers) -> list[str]:
    """What differs between a dataset of one configuration and seed, and brute force."""
    found = []
    for name, expected in wanted.items():
        measured = row[name].values.ravel()[: len(expected)]
        for layer in np.flatnonzero(~agree(name, measured, expected, wanted)):
            found.append(f"{name}[{layer}] is {measured[layer]:.12g}, not {expected[layer]:.12g}")
    return found


def agree(name: str, measured: np.ndarray, expected: np.ndarray, wanted: Layers) -> np.ndarray:
    """Whether each layer's value is right."""
    same = (measured == expected) | (np.isnan(measured) & np.isnan(expected))
    if name == "weight_gradient_log10_absmax" and np.isnan(measured[1:]).all():
        return np.ones_like(same)  # the matrix is not formed in small batches
    if name == "saturated_nonzero_fraction" and np.isnan(measured).all():
        return np.ones_like(same)  # phi is not bounded
    with np.errstate(invalid="ignore"):
        close = np.abs(measured - expected) <= LOG10
        if name.endswith("_log10_var"):  # next to the mean square, the least that is known of it is a rounding error
            ms = wanted[name.replace("_var", "_mean_square")]
            close |= np.abs(10 ** (measured - ms) - 10 ** (expected - ms)) <= 1e-12
        if name.endswith("fraction"):  # a whole number in float32, divided by the number of units and samples
            close |= np.abs(measured - expected) <= 1e-7
        if "correlation" in name or "mean_over_rms" in name:
            # gram matrices and sums that cancel: absolute, as both are at most 1
            close |= np.abs(measured - expected) <= 1e-9
    return same | close


def possible(act: str, bias: str) -> list[str]:
    """The initializers that an activation can have with these biases: all, but for a critical point that it lacks."""
    sigma_b2 = sigma_b2_of(bias, width=16, depth=5)
    return [i for i in EVERY_INIT if i != "critical" or vp.theory.critical(act, sigma_b2=sigma_b2).points]


def check(acts: list[str], inits: list[str], **arguments: Any) -> list[tuple[str, str, list[str]]]:
    """(activation, initializer, differences) of every pair, from one sweep of one seed."""
    ds = vp.sweep(act=acts, init=inits, seeds=1, dtype="float64", **arguments)
    found = []
    for i in range(ds.sizes["config"]):
        row = ds.isel(config=i)
        act, init = str(row.act.values), str(row.init.values)
        found.append((act, init, differences(row, brute_force({"act": act, "init": init, "seeds": 1, **arguments}))))
    return found


def main() -> None:
    acts = sys.argv[1:] or list(ACTIVATIONS)
    pairs = failed = 0
    start = time.monotonic()
    for act in acts:
        for bias in ("zeros", "normal(std=0.3)"):
            for name, init, wrong in check([act], possible(act, bias), depth=5, width=16, batch=4, bias=bias):
                pairs += 1
                failed += bool(wrong)
                detail = f"{len(wrong)} differences: {'; '.join(wrong[:3])}" if wrong else "same"
                print(f"{name:15s} {init:62s} bias={bias:16s} {detail}", flush=True)
    print(f"{pairs} pairs, {failed} of them differ; {time.monotonic() - start:.0f} s, jax {jax.__version__}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
