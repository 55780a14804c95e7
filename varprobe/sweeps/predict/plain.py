"""Theory beside the measurement: what mean-field theory predicts for every net of a sweep, from its input's moments.

The one place where requests meet `varprobe.theory`, which never sees the networks. An initializer counts by its mean
and variance; of the user's own the mean square of the first seed's weights is taken, as if they had no mean, and no
finite-width law. Constant and identity matrices are not random: for them there is no prediction.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.nets.architectures.conv import Conv
from varprobe.nets.architectures.plain import PlainStack
from varprobe.nets.parametrizations import log10_multipliers
from varprobe.sweeps.predict.blocks import Predictions, predicted_blocks
from varprobe.sweeps.predict.narrow import Kind, Moments, Problem, resimulate
from varprobe.sweeps.predict.positions import predicted_positions
from varprobe.sweeps.predict.weight_laws import Measured, weights_of
from varprobe.theory.finite_widths import finite_width_spread
from varprobe.theory.sigmas import bias_numbers
from varprobe.theory.sources import Fast
from varprobe.theory.trajectories import Inputs, Nets, pass_backward, pass_forward

if TYPE_CHECKING:
    from varprobe.nets.config import Config
    from varprobe.nets.data import Source
    from varprobe.sweeps.request import Request

__all__ = ["inputs_of", "is_plain", "predicted", "problem_of", "theory_names"]

LN10 = float(np.log(10))
RANDOM = {"normal": 1.0, "uniform": 1 / 3, "sphere": 1.0}
"""Mean squares of random data, whose samples are orthogonal on average."""
TOGETHER = 256
"""Nets that are predicted at a time: their numbers do not depend on their company, and memory bounds it."""
DIMS = ("config", "seed", "layer")

OTHERS = (predicted_blocks, predicted_positions)
"""Where the predictions for nets that are no plain stacks come from."""

LOGS = {
    "preactivation_log10_mean_square": "log10 E z^2",
    "preactivation_log10_var": "log10 Var z",
    "activation_log10_mean_square": "log10 E h^2",
    "activation_log10_var": "log10 Var h",
    "gradient_log10_mean_square": "log10 E (dLoss/dz)^2; with other losses than the cotangent from that of layer L on",
    "weight_gradient_log10_mean_square": "log10 E (dLoss/dW)^2, of the cotangent loss",
}
SPREADS = {
    f"{quantity}_{name}": f"finite width: {text} over draws of log10 mean square"
    for quantity in ("activation", "gradient")
    for name, text in (("drift", "what is added to the mean"), ("std", "standard deviation"))
}


def theory_names() -> dict[str, str]:
    """Every variable that `predicted` adds, with what it is; the same for every seed."""
    return (
        {f"theory_{name}": f"infinite width: {text}" for name, text in LOGS.items()}
        | {f"theory_{name}": text for name, text in SPREADS.items()}
        | {"theory_draws": "finite width: simulated networks behind drift and std; 0 where these are formulas"}
    )


def predicted(request: "Request", ds: xr.Dataset) -> xr.Dataset:
    """The measured dataset with theory's variables, NaN where there is no prediction."""
    layers = ds.sizes["layer"]
    arrays = {name: np.full((len(request.configs), layers), np.nan) for name in theory_names()}
    source, forward_only = request.setting.source, request.setting.forward_only
    try:
        inputs = inputs_of(source)
    except InvalidArgumentError:
        return beside(ds, arrays)
    plain = predicted_plain(request, ds, inputs)
    others = [(i, config) for i, config in enumerate(request.configs) if not is_plain(config)]
    more = (predict(others, inputs, source.rows is None, forward_only) for predict in OTHERS)
    for i, found in chain(plain, *more):
        for name, row in found.items():
            arrays[f"theory_{name}"][i, 1 : row.size + 1] = row
    for i, config in enumerate(request.configs):
        shift = 2 * np.array(log10_multipliers(config))
        if is_plain(config) and isinstance(config.arch, Conv):
            shift += np.log10(config.arch.coverage)
        arrays["theory_weight_gradient_log10_mean_square"][i, 1 : config.depth + 1] += shift
    if request.setting.loss != "cotangent":
        anchor(ds, arrays, request)
    return beside(ds, arrays)


def beside(ds: xr.Dataset, arrays: dict[str, np.ndarray]) -> xr.Dataset:
    """The dataset with these variables, the same for every seed: there in memory once, and not to be written to."""
    shape = tuple(ds.sizes[dim] for dim in DIMS)
    return ds.assign(
        {
            name: (DIMS, np.broadcast_to(arrays[name][:, None], shape), {"long_name": text})
            for name, text in theory_names().items()
        }
    )


def predicted_plain(request: "Request", ds: xr.Dataset, inputs: Moments) -> Iterator[tuple[int, Predictions]]:
    """(index, predictions, each (depth,)) of every configuration that is a plain stack and has some."""
    groups: dict[Kind, dict[tuple[object, ...], tuple[Problem, list[int]]]] = defaultdict(dict)
    random = request.setting.source.rows is None
    first_seed = [ds[name][:, 0].values for name in ("weight_log10_mean_square", "equal_unit_fraction")]
    for i, config in enumerate(request.configs):
        if not is_plain(config):
            continue
        try:
            law, problem = problem_of(config, inputs, *(values[i] for values in first_seed))
        except InvalidArgumentError:
            continue
        if isinstance(config.arch, Conv) and (law != "orthogonal" or not random):
            law = None  # a kernel averages over positions what a draw of the weights does to each
        kind = Kind(config.act, config.depth, config.samples, law, not np.isneginf(problem.log_b).all())
        groups[kind].setdefault(problem.key, (problem, []))[1].append(i)
    together = ((kind, part) for kind, all_of_it in groups.items() for part in batched(all_of_it.values()))
    for kind, problems in together:
        for part, found in solutions(kind, problems, request.setting.forward_only):
            for row, (_, configs) in enumerate(part):
                one = {name: values[row] for name, values in found.items()}
                yield from ((i, one) for i in configs)


def batched(problems: Iterable[tuple[Problem, list[int]]]) -> Iterator[list[tuple[Problem, list[int]]]]:
    """The problems, as many at a time as are solved together."""
    waiting = iter(problems)
    while some := list(islice(waiting, TOGETHER)):
        yield some


def inputs_of(source: "Source") -> Moments:
    """The fields of `Inputs`, of random data or of all rows of a file.

    Raises:
        InvalidArgumentError: all rows are zero.
    """
    if source.vocab:
        return 0.0, 1 / source.vocab, 0.0, 0.0
    if source.rows is None:
        return float(np.log(RANDOM[source.name])), 0.0, 0.0, 0.0
    rows = np.asarray(source.rows, np.float64)
    largest = np.abs(rows).max()
    if not largest > 0:
        raise InvalidArgumentError("the input is zero")
    rows = rows / largest
    square = np.square(rows).mean()
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    count, alive = len(rows), float(np.square(units).sum())
    cosine = (np.square(units.sum(axis=0)).sum() - alive) / (count * (count - 1)) if count > 1 else 0.0
    level = float(np.log(square) + 2 * np.log(largest))
    mean, between, features = (
        float(rows.mean() / np.sqrt(square)),
        float(rows.mean(axis=1).var() / square),
        rows.shape[1],
    )
    common = (features * between - (1 - mean**2)) / (features - 1) if features > 1 else 0.0
    return level, float(np.clip(cosine, -1, 1)), float(np.clip(mean, -1, 1)), float(np.clip(common, 0, 1))


def is_plain(config: "Config") -> bool:
    """Whether infinite width makes a net a plain stack: a convolution is one, where all positions are alike."""
    if config.norm or config.dropout or config.data_driven:
        return False
    arch = config.arch
    if isinstance(arch, Conv):
        initializers = (config.weights_at(layer) for layer in range(1, config.depth + 1))
        return arch.padding == "circular" or all(init.law[0] == "delta_orthogonal" for init in initializers)
    return isinstance(arch, PlainStack) and arch.order == "post"


def problem_of(
    config: "Config", inputs: Moments, weight_log10_mean_square: np.ndarray, alike: np.ndarray
) -> tuple[str | None, Problem]:
    """(law of the weights, problem) of a configuration.

    Of its weights the mean squares as measured, of its units the share that are equal, both of shape (layers,).

    Raises:
        InvalidArgumentError: its weights or biases are not random, or of no known variance.
    """
    layers = range(1, config.depth + 1)
    weights = [
        weights_of(config, layer, measured=Measured(weight_log10_mean_square[layer], alike[layer] >= 1))
        for layer in layers
    ]
    biases = [bias_numbers(config.bias, config.place(layer)) for layer in layers]
    laws, log_w, mean_w = zip(*weights, strict=True)
    mean_b, std_b = np.array(biases).T
    law = None if None in laws or any(mean_w) or any(mean_b) else laws[0] if len(set(laws)) == 1 else "mixed"
    widths = np.array(config.widths, float)
    with np.errstate(divide="ignore"):
        log_b = 2 * np.log(std_b)
    return law, Problem(np.array(log_w), log_b, np.array(mean_w), mean_b, widths, inputs)


def solutions(
    kind: Kind, problems: list[tuple[Problem, list[int]]], forward_only: bool
) -> Iterator[tuple[list[tuple[Problem, list[int]]], dict[str, np.ndarray]]]:
    """(problems, their predictions), together where all have some; without those that lead to where no average is."""
    try:
        yield problems, solved(kind, [problem for problem, _ in problems], forward_only)
    except InvalidArgumentError:
        for one in problems if len(problems) > 1 else ():
            yield from solutions(kind, [one], forward_only)


def solved(kind: Kind, problems: list[Problem], forward_only: bool) -> dict[str, np.ndarray]:
    """Predictions for nets of a kind, each (nets, depth).

    Raises:
        InvalidArgumentError: the activation has no finite averages on the way.
    """
    source = Fast(kind.act)
    *columns, widths, inputs = (np.array(column) for column in zip(*problems, strict=True))
    nets, arriving = Nets(*columns), Inputs(*inputs.T)
    path = pass_forward(source, nets, widths, arriving)
    found = {
        "preactivation_log10_mean_square": path.log_q / LN10,
        "preactivation_log10_var": path.log_v / LN10,
        "activation_log10_mean_square": path.laws.log_ms / LN10,
        "activation_log10_var": path.laws.log_var / LN10,
    }
    if not forward_only:
        gradient = pass_backward(path.laws, nets, widths)
        before = np.concatenate([arriving.log_ms[:, None], path.laws.log_ms[:, :-1]], axis=1)
        found["gradient_log10_mean_square"] = gradient / LN10
        found["weight_gradient_log10_mean_square"] = (before + gradient + np.log(kind.samples)) / LN10
    if kind.law:
        log_w = nets.log_w
        quantities = ("activation",) if forward_only else ("activation", "gradient")
        form, spreads = finite_width_spread(source, path, nets, widths, arriving, kind.samples, quantities, kind.law)
        for quantity, (drift, variance) in spreads.items():
            found[f"{quantity}_drift"], found[f"{quantity}_std"] = drift / LN10, np.sqrt(variance) / LN10
        found["draws"] = np.zeros_like(log_w)
        if form == "first order":
            for row, problem in enumerate(problems):
                resimulate(kind, problem, {name: values[row] for name, values in found.items()})
    return found


def anchor(ds: xr.Dataset, arrays: dict[str, np.ndarray], request: "Request") -> None:
    """Start the gradients of a loss whose scale is not predicted from what was measured at layer L."""
    for name in ("theory_weight_gradient_log10_mean_square", "theory_gradient_drift", "theory_gradient_std"):
        arrays[name][:] = np.nan
    gradient = arrays["theory_gradient_log10_mean_square"]
    for i, config in enumerate(request.configs):
        measured = ds["gradient_log10_mean_square"].values[i, :, config.depth]
        alive = measured[np.isfinite(measured)]
        gradient[i] += (alive.mean() if alive.size else np.nan) - gradient[i, config.depth]
