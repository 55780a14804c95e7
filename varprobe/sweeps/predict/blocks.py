"""What theory predicts for stacks with norms, of residual blocks, and with the activation before the weights.

Infinitely wide nets of weights without a mean, in float64; finite-width terms are those that theory has. The positions
of a circular convolution count as samples do. Where theory has no law for a part of a net there is no prediction.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation
from varprobe.nets.architectures.conv import Conv
from varprobe.nets.architectures.plain import PlainStack
from varprobe.nets.architectures.residual import Residual
from varprobe.sweeps.predict.weight_laws import weights_of
from varprobe.theory.block_spreads import spread_of_stream
from varprobe.theory.blocks import Blocks, Path, Shape, pass_blocks
from varprobe.theory.sigmas import bias_numbers
from varprobe.theory.sources import Fast
from varprobe.theory.trajectories import Inputs
from varprobe.theory.unit_layers import Norm

if TYPE_CHECKING:
    from varprobe.nets.config import Config

__all__ = ["Predictions", "predicted_blocks"]

LN10 = float(np.log(10))
Predictions = dict[str, np.ndarray]
"""Predictions by variable without their `theory_`."""


class Family(NamedTuple):
    """Nets that are predicted together."""

    act: Activation
    shape: Shape
    depth: int


class Member(NamedTuple):
    """One of them: its configuration, and its rows of `Blocks`; whether its weights are independent, its width."""

    config: int
    rows: tuple[np.ndarray, ...]
    independent: bool
    width: int


def predicted_blocks(
    configs: Sequence[tuple[int, "Config"]],
    inputs: tuple[float, float, float, float],
    random: bool,
    forward_only: bool,
) -> Iterator[tuple[int, Predictions]]:
    """(index, predictions, each (depth,)) of every configuration that has some; `random`: whether the data are."""
    families: dict[Family, list[Member]] = defaultdict(list)
    for index, config in configs:
        try:
            family, member = sorted_out(index, config)
        except InvalidArgumentError:
            continue
        families[family].append(member)
    for family, members in families.items():
        for part in together(family, members, inputs, forward_only):
            yield from part


def sorted_out(index: int, config: "Config") -> tuple[Family, Member]:
    """The family of a configuration, and its numbers.

    Raises:
        InvalidArgumentError: theory has no law for it.
    """
    arch = config.arch
    if config.dropout or config.data_driven or not isinstance(arch, PlainStack | Residual | Conv):
        raise InvalidArgumentError(f"{config.arch_name} has no prediction")
    if isinstance(arch, Conv) and (arch.padding != "circular" or config.norm.kind == "group"):
        raise InvalidArgumentError(f"{config.arch_name} with norm {config.norm_name} has no prediction")
    layers = range(1, config.depth + 1)
    skip = isinstance(arch, Residual)
    count = len(config.slots(1))
    laws, logs = set(), []
    for slot in range(2):
        rows = np.full((2, config.depth), -np.inf)
        for layer in layers if slot < count else ():
            law = weights_of(config, layer, slot)
            bias_mean, bias_std = bias_numbers(config.bias, config.place(layer, slot=slot))
            if law.mean or bias_mean:
                raise InvalidArgumentError("weights or biases have a mean")
            laws.add(law.law)
            rows[0, layer - 1] = law.log_w
            with np.errstate(divide="ignore"):
                rows[1, layer - 1] = 2 * np.log(bias_std)
        logs += [*rows]
    scale = np.array([config.numbers(layer)["branch_scale"] if skip else 1.0 for layer in layers])
    order = "post" if isinstance(arch, Conv) else arch.order
    shape = Shape(count, order, skip, norm_of(config), config.samples)
    return Family(config.act, shape, config.depth), Member(
        index, (*logs, scale), laws <= {"normal", "independent"}, config.widths[-1]
    )


def norm_of(config: "Config") -> Norm | None:
    """The norm as theory has it; groups by their size."""
    norm = config.norm
    if not norm:
        return None
    size = config.widths[-1] // norm.groups if norm.kind == "group" else None
    return Norm(norm.kind, norm.position, norm.eps, size)


def together(
    family: Family, members: list[Member], inputs: tuple[float, float, float, float], forward_only: bool
) -> Iterator[list[tuple[int, Predictions]]]:
    """The predictions of a family, without those that lead to where no average is."""
    blocks = Blocks(*(np.stack(rows) for rows in zip(*(m.rows for m in members), strict=True)))
    arriving = Inputs(*(np.full(len(members), value) for value in inputs))
    source = Fast(family.act)
    try:
        path = pass_blocks(source, blocks, family.shape, arriving, forward_only)
    except InvalidArgumentError:
        for member in members if len(members) > 1 else ():
            yield from together(family, [member], inputs, forward_only)
        return
    found = variables(family, path, forward_only)
    widths = np.array([m.width for m in members], float)
    spread = spread_of_stream(source, blocks, family.shape, path, widths)
    independent = np.array([m.independent for m in members])[:, None]
    for name, (drift, variance) in {
        "activation": (spread.drift, spread.variance),
        "gradient": (spread.gradient_drift, spread.gradient_variance),
    }.items():
        if name == "activation" or not forward_only:
            found[f"{name}_drift"] = np.where(independent, drift / LN10, np.nan)
            found[f"{name}_std"] = np.where(independent, np.sqrt(variance) / LN10, np.nan)
    yield [(member.config, {name: values[i] for name, values in found.items()}) for i, member in enumerate(members)]


def variables(family: Family, path: Path, forward_only: bool) -> Predictions:
    """What a path says of the variables of a dataset, each (nets, depth)."""
    z_is_stream = not family.shape.skip and family.shape.order == "pre"
    z, h = path.stream[:, 1:] if z_is_stream else path.preactivation, path.stream[:, 1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.log1p(-np.square(path.mean_over_rms[:, 1:]))
    found = {
        "preactivation_log10_mean_square": z / LN10,
        "preactivation_log10_var": z / LN10,
        "activation_log10_mean_square": h / LN10,
        "activation_log10_var": (h + spread) / LN10,
    }
    if not forward_only:
        gradient = path.gradient if family.shape.skip or z_is_stream else path.inner_gradient
        found |= {
            "gradient_log10_mean_square": gradient / LN10,
            "weight_gradient_log10_mean_square": path.weight_gradient / LN10,
        }
    return found
