"""Theory beside the measurement: what mean-field theory predicts for every net of a sweep, from its input's moments.

The one place where requests meet `varprobe.theory`, which never sees the networks. An initializer counts by its mean
and variance; of the user's own the mean square of the first seed's weights is taken, and no finite-width law. Constant
and identity matrices are not random: for them there is no prediction.
"""

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from varprobe.activations import Activation
from varprobe.errors import RequestError
from varprobe.theory.finite_widths import strayed
from varprobe.theory.sigmas import VARIANCES, bias_numbers
from varprobe.theory.sources import Fast
from varprobe.theory.trajectories import Inputs, Nets, pass_backward, pass_forward

if TYPE_CHECKING:
    from varprobe.configs import Config, Request
    from varprobe.data import Source

__all__ = ["predicted", "theory_names"]

LN10 = float(np.log(10))
RANDOM = {"normal": 1.0, "uniform": 1 / 3, "sphere": 1.0}
"""Mean squares of random data, whose samples are orthogonal on average."""
DIMS = ("config", "seed", "layer")
LIKE_NORMAL = ("normal", "truncated_normal", "uniform")
"""Laws of independent entries of mean 0 around the initializer's mean."""

LOGS = {
    "preactivation_log10_ms": "log10 E z^2",
    "preactivation_log10_var": "log10 Var z",
    "activation_log10_ms": "log10 E h^2",
    "activation_log10_var": "log10 Var h",
    "gradient_log10_ms": "log10 E (dLoss/dz)^2; unless the loss is the cotangent, from the measured one of layer L on",
    "weight_gradient_log10_ms": "log10 E (dLoss/dW)^2, of the cotangent loss",
}
SPREADS = {
    f"{quantity}_{name}": f"finite width: {text} over draws of log10 mean square"
    for quantity in ("activation", "gradient")
    for name, text in (("drift", "what is added to the mean"), ("std", "standard deviation"))
}


def theory_names() -> dict[str, str]:
    """Every variable that `predicted` adds, with what it is; the same for every seed."""
    return {f"theory_{name}": f"infinite width: {text}" for name, text in LOGS.items()} | {
        f"theory_{name}": text for name, text in SPREADS.items()
    }


class Problem(NamedTuple):
    """What a prediction depends on, beside what its group shares: arrays over layers 1 to L, and the input's numbers.

    inputs: ln of the mean square, cosine between samples, mean over RMS.
    """

    sigma_w2: np.ndarray
    sigma_b2: np.ndarray
    mean_w: np.ndarray
    mean_b: np.ndarray
    widths: np.ndarray
    inputs: tuple[float, float, float]

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for nets of one prediction."""
        return self.inputs, *(a.tobytes() for a in self[:5])


class Kind(NamedTuple):
    """What nets that are predicted together share.

    law: "normal", "independent" (other entries of mean 0), "orthogonal" or "mixed"; None where the finite-width law
    is not known.
    """

    act: Activation
    depth: int
    batch: int
    law: str | None


def predicted(request: "Request", ds: xr.Dataset) -> xr.Dataset:
    """The measured dataset with theory's variables, NaN where there is no prediction."""
    layers = ds.sizes["layer"]
    arrays = {name: np.full((len(request.configs), layers), np.nan) for name in theory_names()}
    groups: dict[Kind, dict[tuple[object, ...], tuple[Problem, list[int]]]] = defaultdict(dict)
    try:
        inputs = inputs_of(request.setting.source)
    except RequestError:
        inputs = None
    for i, config in enumerate(request.configs if inputs else ()):
        assert inputs is not None
        try:
            law, problem = problem_of(config, inputs, ds["weight_log10_ms"].values[i])
        except RequestError:
            continue
        kind = Kind(config.act, config.depth, config.batch, law)
        groups[kind].setdefault(problem.key, (problem, []))[1].append(i)
    for kind, problems in groups.items():
        try:
            found = solved(kind, [problem for problem, _ in problems.values()], request.setting.forward_only)
        except RequestError:  # no averages of this activation where the signal leads
            continue
        members = [(row, i) for row, (_, configs) in enumerate(problems.values()) for i in configs]
        rows, configs = (list(side) for side in zip(*members, strict=True))
        for name, values in found.items():
            arrays[f"theory_{name}"][configs, 1 : kind.depth + 1] = values[rows]
    if request.setting.loss != "cotangent":
        anchor(ds, arrays, request)
    shape = tuple(ds.sizes[dim] for dim in DIMS)
    return ds.assign(
        {
            name: (DIMS, np.broadcast_to(arrays[name][:, None], shape).copy(), {"long_name": text})
            for name, text in theory_names().items()
        }
    )


def inputs_of(source: "Source") -> tuple[float, float, float]:
    """(ln mean square, mean cosine between samples, mean over RMS) of random data, or of all rows of a file."""
    if source.rows is None:
        return float(np.log(RANDOM[source.name])), 0.0, 0.0
    rows = np.asarray(source.rows, np.float64)
    largest = np.abs(rows).max()
    if not largest > 0:
        raise RequestError("the input is zero")
    rows = rows / largest
    square = np.square(rows).mean()
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    count, alive = len(rows), float(np.square(units).sum())
    cosine = (np.square(units.sum(axis=0)).sum() - alive) / (count * (count - 1)) if count > 1 else 0.0
    level = float(np.log(square) + 2 * np.log(largest))
    return level, float(np.clip(cosine, -1, 1)), float(np.clip(rows.mean() / np.sqrt(square), -1, 1))


def problem_of(
    config: "Config", inputs: tuple[float, float, float], weight_log10_ms: np.ndarray
) -> tuple[str | None, Problem]:
    """(law of the weights, problem) of a configuration; of its weights the mean squares as measured, (seeds, layers).

    Raises:
        RequestError: its weights or biases are not random, or of no known variance.
    """
    layers = range(1, config.depth + 1)
    weights = [weights_of(config, layer, weight_log10_ms[:, layer]) for layer in layers]
    biases = [bias_numbers(config.bias, config.place(layer)) for layer in layers]
    laws, sigma_w2, mean_w = zip(*weights, strict=True)
    mean_b, sigma_b2 = np.array(biases).T
    law = None if None in laws or any(mean_w) or any(mean_b) else laws[0] if len(set(laws)) == 1 else "mixed"
    widths = np.array(config.widths, float)
    return law, Problem(np.array(sigma_w2), sigma_b2, np.array(mean_w), mean_b, widths, inputs)


def weights_of(config: "Config", layer: int, log10_ms: np.ndarray) -> tuple[str | None, float, float]:
    """(law, sigma_w2, mean) of a layer's weights; `log10_ms` is their mean square as measured, one a seed."""
    init, place = config.weights_at(layer), config.place(layer)
    mean, scale = init.at(place)
    kind = init.law[0]
    if kind in LIKE_NORMAL and scale:
        return "normal" if kind == "normal" else "independent", place.fan_in * scale**2 * VARIANCES[kind], mean
    if kind == "orthogonal" and scale:
        return kind, place.fan_in * scale**2 / max(place.fan_in, place.fan_out), mean
    if kind == "sparse" and scale:
        return None, place.fan_in * scale**2 * init.law[1], mean
    if kind == "custom" and scale:
        return None, place.fan_in * max(10 ** float(log10_ms[0]) - mean**2, 0.0), mean
    raise RequestError(f"the weights of layer {layer} are not random")


def solved(kind: Kind, problems: list[Problem], forward_only: bool) -> dict[str, np.ndarray]:
    """Predictions for nets of a kind, each (nets, depth).

    Raises:
        RequestError: the activation has no finite averages on the way.
    """
    source = Fast(kind.act)
    *columns, widths, inputs = (np.array(column) for column in zip(*problems, strict=True))
    nets, arriving = Nets(*columns), Inputs(*inputs.T)
    path = pass_forward(source, nets, widths, arriving)
    found = {
        "preactivation_log10_ms": path.log_q / LN10,
        "preactivation_log10_var": path.log_v / LN10,
        "activation_log10_ms": path.laws.log_ms / LN10,
        "activation_log10_var": path.laws.log_var / LN10,
    }
    if not forward_only:
        gradient = pass_backward(path.laws, nets, widths)
        before = np.concatenate([arriving.log_ms[:, None], path.laws.log_ms[:, :-1]], axis=1)
        found["gradient_log10_ms"] = gradient / LN10
        found["weight_gradient_log10_ms"] = (before + gradient + np.log(kind.batch)) / LN10
    if kind.law:
        for quantity in ("activation",) if forward_only else ("activation", "gradient"):
            _, drift, variance = strayed(source, path, nets, widths, arriving, kind.batch, quantity, kind.law)
            found[f"{quantity}_drift"], found[f"{quantity}_std"] = drift / LN10, np.sqrt(variance) / LN10
    return found


def anchor(ds: xr.Dataset, arrays: dict[str, np.ndarray], request: "Request") -> None:
    """Start the gradients of a loss whose scale is not predicted from what was measured at layer L."""
    for name in ("theory_weight_gradient_log10_ms", "theory_gradient_drift", "theory_gradient_std"):
        arrays[name][:] = np.nan
    gradient = arrays["theory_gradient_log10_ms"]
    for i, config in enumerate(request.configs):
        measured = ds["gradient_log10_ms"].values[i, :, config.depth].mean()
        gradient[i] += measured - gradient[i, config.depth]
