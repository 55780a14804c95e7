"""Theory beside pairs: the cosine of two inputs through infinitely wide plain stacks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.sweeps.predict.plain import inputs_of, is_plain, problem_of
from varprobe.theory.sources import Source
from varprobe.theory.trajectories import Inputs, Nets, pass_forward

if TYPE_CHECKING:
    from varprobe.sweeps.request import Request

__all__ = ["with_theory"]


def with_theory(request: "Request", ds: xr.Dataset) -> xr.Dataset:
    """The dataset with theory_pair_correlation, NaN where there is none: of norms, dropout, and other architectures."""
    cosines, variable = request.probes.correlation, ds["pair_correlation"]
    if not cosines:
        return ds
    values = np.full(variable.shape, np.nan)
    solved: dict[object, np.ndarray] = {}
    try:
        inputs = inputs_of(request.setting.source)
    except InvalidArgumentError:
        inputs = None
    for i, config in enumerate(request.configs):
        if inputs is None or not is_plain(config):
            continue
        try:
            first = (ds[name].values[i, 0] for name in ("weight_log10_mean_square", "equal_unit_fraction"))
            _, problem = problem_of(config, inputs, *first)
            key = config.act, problem.key
            if key not in solved:
                solved[key] = trajectories(Source(config.act), problem[:4], problem.widths, inputs, cosines)
        except InvalidArgumentError:
            continue
        values[i, :, : config.depth + 1] = solved[key]
    text = "infinite width: cosine of the activations of two inputs at cosine c0"
    return ds.assign(theory_pair_correlation=(variable.dims, values, {"long_name": text}))


def trajectories(
    source: Source, columns: Sequence[np.ndarray], widths: np.ndarray, inputs: Sequence[float], cosines: Sequence[float]
) -> np.ndarray:
    """Cosines of activations, (layers 0 to L, cosines at the input)."""
    count = len(cosines)
    nets = Nets(*(np.repeat(column[None], count, axis=0) for column in columns))
    log_ms, _, mean, common = (np.full(count, value) for value in inputs)
    arriving = Inputs(log_ms, np.array(cosines), mean, common)
    path = pass_forward(source, nets, np.repeat(widths[None], count, axis=0), arriving)
    return np.concatenate([[cosines], path.cosine.T])
