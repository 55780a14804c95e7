"""What is asked of a sweep, checked: the grid of configurations and the setting that they share."""

import itertools
from dataclasses import dataclass
from typing import Any, Literal, Unpack, get_args, get_origin

import numpy as np

from varprobe.engine.device_check import require_settings
from varprobe.errors import InvalidArgumentError
from varprobe.nets.architectures import Own
from varprobe.nets.config import ROLES, Config, SweepSettings
from varprobe.nets.data import Source, load_source
from varprobe.spec.argument_types import checks_types
from varprobe.spec.arguments import named, word, yes_or_no
from varprobe.spec.serialize import repeatable
from varprobe.sweeps.arguments import TYPES, SweepArguments, takes_sweep_arguments
from varprobe.sweeps.configurations import Parts, Shapes, configurations, read_parts, read_shapes
from varprobe.sweeps.grid import Grid, read_grid
from varprobe.sweeps.grid_checks import check_networks, check_places, check_range
from varprobe.sweeps.probe_options import ProbeOptions, check_asked, read_asked

__all__ = ["Request", "read_request"]

CLASSES = 10
"""Of the loss cross_entropy without labels."""


@dataclass(frozen=True)
class Request:
    """A sweep to be run: its configurations, its setting, and the canonical text of both.

    `arguments` are those of `read_request` as JSON; None where they cannot be written down, and then `unrepeatable`
    says why.
    """

    configs: tuple[Config, ...]
    setting: SweepSettings
    spec: dict[str, Any]
    reusable: bool
    probes: ProbeOptions = ProbeOptions()
    arguments: dict[str, Any] | None = None
    unrepeatable: str = ""


@takes_sweep_arguments
@checks_types
def read_request(**given: Unpack[SweepArguments]) -> Request:
    """Check the arguments of a sweep and expand the grid.

    Raises:
        InvalidArgumentError: names the argument, its value, what is allowed, and the nearest right spelling; or a
            setting of jax with which nothing can be measured.
    """
    require_settings()
    arguments, unrepeatable = repeatable(given)
    check_choices(given)
    probes = read_asked(given["correlation"], given["jacobian"], given["histogram"])
    grid = read_grid(given)
    source = read_data(given, grid)
    outputs = outputs_of(source, given["loss"])
    parts = read_parts(grid)
    shapes = read_shapes(grid, source, outputs, given["dtype"])
    configs = configurations(grid, parts, shapes)
    check_configurations(configs, grid, given["dtype"], outputs)
    check_asked(probes, configs)
    check_initializers(grid, parts, shapes, outputs)
    setting = SweepSettings(
        grid.seeds,
        grid.root_seed,
        source,
        given["loss"],
        outputs,
        given["dtype"],
        given["range"] == "dtype",
        bool(given["forward_only"]),
    )
    digests = digests_of(grid, parts)
    spec = spec_of(given, grid, parts, configs, source) | {"code": digests} | probes.spec
    return Request(configs, setting, spec, all(d is not None for d in digests), probes, arguments, unrepeatable)


def check_choices(given: SweepArguments) -> None:
    """Check the arguments whose type is `Literal`, and then those whose type is `bool`.

    Raises:
        InvalidArgumentError: names the argument, its value and what is allowed.
    """
    values = dict[str, Any](given)
    for name, kind in TYPES.items():
        if get_origin(kind) is Literal:
            word(name, values[name], get_args(kind))
    for name, kind in TYPES.items():
        if kind is bool:
            yes_or_no(name, values[name])


def read_data(given: SweepArguments, grid: Grid) -> Source:
    """Load the data.

    Raises:
        InvalidArgumentError: they cannot be loaded, or do not fit the other arguments.
    """
    data, labels, width, most = given["data"], given["labels"], grid.input_width, max(grid.batches)
    source: Source = named("data", lambda: load_source(data, labels=labels, standardize=given["standardize"]))
    if labels is not None and given["loss"] == "cotangent":
        raise InvalidArgumentError(
            "labels are for the losses mse and cross_entropy; the cotangent takes none", "labels"
        )
    if source.width is not None and width is not None and width != source.width:
        raise InvalidArgumentError(
            f"{width} does not fit {source.description}, whose samples have {source.width} values", "input_width"
        )
    check_range(source, given["dtype"])
    if source.rows is not None and most > len(source.rows):
        raise InvalidArgumentError(
            f"{most} samples are more than the {len(source.rows)} rows of {source.description}", "batch"
        )
    return source


def outputs_of(source: Source, loss: str) -> int:
    """Units of the read-out: 0 for the cotangent, classes or target columns otherwise."""
    if loss == "cotangent":
        return 0
    labels = source.labels
    if labels is None:
        return CLASSES if loss == "cross_entropy" else 1
    if loss == "mse":
        return 1 if labels.ndim == 1 else labels.shape[1]
    if labels.ndim != 1 or not np.array_equal(labels, np.round(labels)) or labels.min() < 0:
        raise InvalidArgumentError("cross_entropy needs one whole number from 0 per sample", "labels")
    return max(2, int(labels.max()) + 1)


def check_configurations(configs: tuple[Config, ...], grid: Grid, dtype: str, outputs: int) -> None:
    """Refuse networks that make no sense, and an initializer of the last layer that no matrix has.

    Raises:
        InvalidArgumentError: says which option, and why.
    """
    check_networks(configs, (grid.weight_option, grid.bias_option), dtype)
    shared = next((name for name, arch in grid.archs.items() if arch.shared), None)
    if "init_last" in grid.lists and not outputs and shared:
        raise InvalidArgumentError(f"{shared} has no matrix that it is for, unless --loss has a read-out", "init_last")


def check_initializers(grid: Grid, parts: Parts, shapes: Shapes, outputs: int) -> None:
    """Evaluate every initializer in every layer.

    Raises:
        InvalidArgumentError: says which option, and why.
    """
    weights = {grid.weight_option: parts.inits, "init_first": parts.firsts, "init_last": parts.lasts}
    check_places(
        {grid.bias_option: parts.biases, **{name: parts.initializers(inits) for name, inits in weights.items()}},
        (grid.weight_option, grid.bias_option),
        [(grid.archs[name], widths) for name, each in shapes.items() for _, widths in each],
        outputs,
    )


def digests_of(grid: Grid, parts: Parts) -> list[str | None]:
    """Digests of the user's own functions and blocks; None for one whose source is in no file."""
    inits = [parts.inits, parts.firsts, parts.lasts, *parts.roles.values(), parts.biases]
    blocks = [arch for arch in grid.archs.values() if isinstance(arch, Own)]
    every = itertools.chain(parts.acts, *inits, blocks)
    return [part.digest for part in every if part is not None and part.digest != ""]


def spec_of(
    given: SweepArguments, grid: Grid, parts: Parts, configs: tuple[Config, ...], source: Source
) -> dict[str, Any]:
    """The canonical text of a request, which identifies a run."""
    stacks = grid.stacks.expanded()
    return {
        "act": list(dict.fromkeys(c.act.name for c in configs)),
        "init": list(dict.fromkeys(c.init.name for c in configs)),
        "bias": list(dict.fromkeys(c.bias.name for c in configs)),
        "init_first": [init.name for init in parts.firsts if init],
        "init_last": [init.name for init in parts.lasts if init],
        **{role: [init.name for init in parts.roles.get(role, [])] for role in ROLES},
        "depth": list(dict.fromkeys(len(widths) for _, widths in stacks)),
        "width": list(dict.fromkeys(width for width, _ in stacks)),
        "input_width": grid.input_width,
        "batch": grid.batches,
        "arch": list(grid.archs),
        "norm": list(parts.norms),
        "dropout": grid.dropouts,
        "seeds": grid.seeds,
        "root_seed": grid.root_seed,
        "data": source.name,
        "labels": given["labels"] if isinstance(given["labels"], str) else None,
        "data_digest": source.digest,
        "standardize": bool(given["standardize"]),
        "loss": given["loss"],
        "dtype": given["dtype"],
        "range": given["range"],
        "forward_only": bool(given["forward_only"]),
    }
