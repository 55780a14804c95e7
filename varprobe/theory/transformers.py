"""What an infinitely wide transformer with uniform attention does to its residual stream, forward and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from varprobe.errors import InvalidArgumentError
from varprobe.spec.argument_types import checks_types
from varprobe.spec.arguments import word
from varprobe.theory.checks import MOST_LAYERS, number, per_layer, whole
from varprobe.theory.elementwise import ActivationLike, activation
from varprobe.theory.residuals import fitted_factor
from varprobe.theory.token_streams import Matrices, TokenShape, pass_tokens

__all__ = ["Transformer", "transformer"]

Layers = Float[np.ndarray, " depth"]
Stream = Float[np.ndarray, " depth_and_1"]
LN10 = float(np.log(10))
NORMS = ("pre", "post", "none")
MOST_TOKENS = 2048


@dataclass(frozen=True, eq=False)
class Transformer:
    """Predictions for `depth` blocks, each attention and then perceptron; float64, means over tokens.

    Attributes:
        act: the activation's canonical form.
        layer: 0 to depth.
        stream: log10 of E x_l^2, from the input on, shape (depth + 1,); with norm "post" after the block's last norm.
        stream_cosine: mean cosine between two tokens of a sample, shape (depth + 1,).
        attention, perceptron: log10 of the mean squares of the branches before they are scaled and added, (depth,).
        gradient: log10 of E (dLoss/dx_l)^2 for l = 1 to L and a N(0, 1) cotangent of x_L, (depth,).
        forward_factor, backward_factor: per block, of `stream` over layers 1 to depth and of `gradient` toward the
            input: 10 to the least-squares slope; NaN at depth 1.
    """

    act: str
    layer: np.ndarray
    stream: Stream
    stream_cosine: Stream
    attention: Layers
    perceptron: Layers
    gradient: Layers
    forward_factor: float
    backward_factor: float

    def __repr__(self) -> str:
        return (
            f"Transformer({self.act}, {self.layer[-1]} blocks: stream {self.stream[0]:.4g} to {self.stream[-1]:.4g}, "
            f"gradient {self.gradient[0]:.4g} to {self.gradient[-1]:.4g})"
        )


@checks_types
def transformer(
    act: ActivationLike = "gelu",
    depth: int = 12,
    tokens: int = 64,
    norm: str = "pre",
    causal: bool = False,
    gated: bool = False,
    sigma_v2: float | Sequence[float] = 1.0,
    sigma_o2: float | Sequence[float] = 1.0,
    sigma_up2: float | Sequence[float] = 1.0,
    sigma_down2: float | Sequence[float] = 1.0,
    sigma_gate2: float | Sequence[float] = 1.0,
    branch_scale: float | Sequence[float] = 1.0,
    eps: float = 1e-5,
    q0: float = 1.0,
    c0: float = 0.0,
) -> Transformer:
    """The prediction for x + s O attention(V norm(x)), then x + s W_down h(norm(x)), without biases.

    h is phi(W_up x) or, `gated`, phi(W_gate x) * (W_up x). With norm "post" each sum is normalized instead, with "none"
    nothing is. A layer norm and an rms norm are the same here.

    Args:
        act: a name, a call form or a callable.
        depth: the number of blocks.
        tokens: T, of one sample.
        norm: "pre", "post" or "none".
        causal: whether a token sees those up to itself only, instead of all.
        gated: whether the perceptron is gated.
        sigma_v2: fan_in Var of the values' matrix, one number or one a block; so are the next four.
        sigma_o2: of the output matrix of attention.
        sigma_up2: of the perceptron's first matrix.
        sigma_down2: of its last.
        sigma_gate2: of its gate's.
        branch_scale: s of both branches, one number or one a block.
        eps: of the norm.
        q0: mean square of an input's entries.
        c0: cosine of two tokens.

    Raises:
        InvalidArgumentError: a value is out of range, or the activation has no finite averages where the signal leads.
    """
    phi, depth, count = activation(act), whole("depth", depth, 1, MOST_LAYERS), whole("tokens", tokens, 1)
    word("norm", norm, tuple(NORMS), "norm")
    if count > MOST_TOKENS:
        raise InvalidArgumentError(f"{tokens} tokens are more than {MOST_TOKENS}", "tokens")
    lowest = -1 / (count - 1) if count > 1 else -1.0
    cosine = number("c0", c0, lowest, 1.0)
    given = {
        "sigma_v2": sigma_v2, "sigma_o2": sigma_o2, "sigma_up2": sigma_up2, "sigma_down2": sigma_down2,
        "sigma_gate2": sigma_gate2,
    }  # fmt: skip
    with np.errstate(divide="ignore"):
        logs = [np.log(per_layer(name, value, depth, 0.0)) for name, value in given.items()]
    log_v, log_o, log_up, log_down, log_gate = logs
    scale = per_layer("branch_scale", branch_scale, depth)
    matrices = Matrices(log_v, log_o, log_up, log_down, log_gate, scale)
    shape = TokenShape(count, norm, bool(causal), bool(gated), number("eps", eps, 0.0))
    found = pass_tokens(phi, matrices, shape, float(np.log(number("q0", q0, 0.0, above=True))), cosine)
    return Transformer(
        act=phi.name,
        layer=np.arange(depth + 1),
        stream=found.stream / LN10,
        stream_cosine=found.cosine,
        attention=found.attention / LN10,
        perceptron=found.perceptron / LN10,
        gradient=found.gradient / LN10,
        forward_factor=fitted_factor(found.stream[1:]),
        backward_factor=1 / fitted_factor(found.gradient),
    )
