"""What theory predicts where the positions of a sample differ: borders of zeros, and tokens that attend to each other.

Infinitely wide nets of weights without a mean, one at a time, in float64, without finite-width terms.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.nets.architectures.conv import Conv
from varprobe.nets.architectures.transformer import Transformer
from varprobe.sweeps.predict.blocks import Predictions
from varprobe.sweeps.predict.weight_laws import weights_of
from varprobe.theory.convolutions import Image, averaged, pass_convolution
from varprobe.theory.sigmas import bias_numbers
from varprobe.theory.sources import Fast
from varprobe.theory.token_streams import Matrices, TokenShape, pass_tokens

if TYPE_CHECKING:
    from varprobe.nets.config import Config

__all__ = ["predicted_positions"]

LN10 = float(np.log(10))
UNIFORM = 0.1
"""Variance of the logits up to which attention is taken as uniform: a softmax then strays from 1/T by 30% (sd)."""
MAY_BE_ZERO = ("q", "k", "o", "down")
"""Matrices that transformers are started with as zeros."""
MOST_TOKENS = 512
"""Tokens up to which a covariance of them is followed."""


def predicted_positions(
    configs: Sequence[tuple[int, "Config"]],
    inputs: tuple[float, float, float, float],
    random: bool,
    forward_only: bool,
) -> Iterator[tuple[int, Predictions]]:
    """(index, predictions, each (depth,)) of every configuration that has some; `random`: whether the data are."""
    solved: dict[object, Predictions | None] = {}
    for index, config in configs:
        predict = {Conv: of_convolution, Transformer: of_transformer}.get(type(config.arch))
        if predict is None or config.dropout or config.data_driven:
            continue
        weights = config.init, config.init_first, config.init_last, config.roles, config.bias
        key = config.act, config.arch, config.norm, weights, config.widths, config.batch
        if key not in solved:
            try:
                solved[key] = predict(config, inputs, random)
            except InvalidArgumentError:
                solved[key] = None
        found = solved[key]
        if found:
            yield index, {k: v for k, v in found.items() if not (forward_only and "gradient" in k)}


def of_convolution(config: "Config", inputs: tuple[float, float, float, float], random: bool) -> Predictions:
    """Of a stack of convolutions with a border of zeros.

    Raises:
        InvalidArgumentError: theory has no law for it.
    """
    arch = config.arch
    assert isinstance(arch, Conv)
    if arch.padding == "circular" or config.norm:
        raise InvalidArgumentError(f"{config.arch_name} with norm {config.norm_name} has no prediction here")
    log_w, log_b = logs(config, 0)
    image = Image(arch.size, arch.kernel, arch.dims, arch.padding)
    channels = np.array(config.widths, float)[None]
    found = pass_convolution(Fast(config.act), log_w[None], log_b[None], channels, image, np.array(inputs[:1]))
    z, h, gradient = (averaged(field)[0] / LN10 for field in (found.log_q, found.log_h, found.gradient))
    return {
        "preactivation_log10_mean_square": z,
        "preactivation_log10_var": z,
        "activation_log10_mean_square": h,
        "gradient_log10_mean_square": gradient,
        "weight_gradient_log10_mean_square": (found.weight_gradient[0] + np.log(config.batch)) / LN10,
    }


def of_transformer(config: "Config", inputs: tuple[float, float, float, float], random: bool) -> Predictions:
    """Of a transformer without biases whose attention is all but uniform.

    Raises:
        InvalidArgumentError: theory has no law for it.
    """
    arch, log_q0, cosine = config.arch, *inputs[:2]
    assert isinstance(arch, Transformer)
    if not random or arch.tokens > MOST_TOKENS or config.norm.kind not in ("none", "layer", "rms"):
        raise InvalidArgumentError(f"{config.arch_name} with norm {config.norm_name} has no prediction")
    slots = {slot.name: at for at, slot in enumerate(config.slots(1))}
    log_w = {name: logs(config, at, biased=False)[0] for name, at in slots.items()}
    gate = log_w.get("gate", np.zeros(config.depth))
    matrices = Matrices(log_w["v"], log_w["o"], log_w["w"], log_w["down"], gate, np.ones(config.depth))
    shape = TokenShape(arch.tokens, arch.norm_position, arch.causal, arch.gated, config.norm.eps)
    found = pass_tokens(config.act, matrices, shape, log_q0, cosine)
    seen = 2 * found.stream[:-1] if arch.norm_position == "none" else np.zeros(config.depth)
    if (log_w["q"] + log_w["k"] + seen > np.log(UNIFORM)).any():
        raise InvalidArgumentError("its attention is not uniform")
    stream = found.stream[1:] / LN10
    return {
        "activation_log10_mean_square": stream,
        "activation_log10_var": stream,
        "gradient_log10_mean_square": found.gradient / LN10,
    }


def logs(config: "Config", slot: int, biased: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """ln of fan_in Var(W) and of Var(b) of a slot, (depth,) each.

    Raises:
        InvalidArgumentError: weights or biases have a mean, or there are biases that theory does not have.
    """
    found = np.empty((2, config.depth))
    for layer in range(1, config.depth + 1):
        zero = config.initializer(layer, slot).law[0] == "nothing" and config.slots(layer)[slot].name in MAY_BE_ZERO
        log_w, weight_mean = (-np.inf, 0.0) if zero else weights_of(config, layer, slot)[1:]
        mean, std = bias_numbers(config.bias, config.place(layer, slot=slot))
        if weight_mean or mean or (std and not biased):
            raise InvalidArgumentError(f"the weights or biases of layer {layer} have no law")
        with np.errstate(divide="ignore"):
            found[:, layer - 1] = log_w, 2 * np.log(std)
    return found[0], found[1]
