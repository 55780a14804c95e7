"""`varprobe theory`: what mean-field theory says of an activation with given weight and bias variances."""

import json
import math
import sys
from typing import Any

import click

from varprobe.cli.console import console_for
from varprobe.cli.help import Command
from varprobe.errors import InvalidArgumentError
from varprobe.verdict.columns import GAP, fold, side_by_side

__all__ = ["command"]

MEANINGS = {
    "q_star": "mean square of the preactivations, where it settles",
    "chi_1": "factor of the gradient's mean square, layer to layer back",
    "chi_q": "factor by which a distance from q_star changes per layer",
    "c_star": "correlation that any two inputs approach",
    "xi_q": "layers in which a distance from q_star falls by e",
    "xi_c": "layers in which a distance from c_star falls by e",
    "phase": "ordered: inputs grow alike; chaotic: they grow apart",
}
REACH = 6
"""Networks train to about six correlation lengths (Schoenholz et al. 2017, figure 5)."""


@click.command(
    cls=Command,
    examples=[
        "varprobe theory --act tanh --sigma-w2 1.5 --sigma-b2 0.05",
        "varprobe theory --act relu --init he_normal --bias zeros",
        "varprobe theory --act gelu --sigma-w2 2 --depth 100 --json",
    ],
)
@click.option("--act", default="relu", metavar="NAME", help="Activation, e.g. gelu or mine.py:f.  [relu]")
@click.option("--sigma-w2", metavar="X", help="fan_in Var W.  [that of --init]")
@click.option("--sigma-b2", metavar="X", help="Var b.  [that of --bias]")
@click.option("--init", metavar="NAME", help="Initializer, e.g. critical, instead of --sigma-w2.  [he_normal]")
@click.option("--bias", metavar="NAME", help="Bias initializer, instead of --sigma-b2.  [zeros]")
@click.option("--width", default="512", metavar="N", help="Where the initializer's variance depends on it.  [512]")
@click.option("--depth", default="50", metavar="N", help="Layers of the predicted stack.  [50]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout and nothing else.")
def command(act: str, as_json: bool, **options: Any) -> None:
    """Predict where signal and gradient settle in an infinitely wide stack, and how fast.

    Fixed points and depth scales after Poole et al. (2016) and Schoenholz et al. (2017), for any activation, with what
    they mean for a stack of --depth layers whose input has mean square 1.
    """
    from varprobe.theory import all_fixed_points, fixed_point, trajectory

    sigma_w2, sigma_b2, depth = settings(act, **options)
    found = fixed_point(act, sigma_w2, sigma_b2, q0=min(max(sigma_w2 + sigma_b2, 1e-20), 1e20))
    points = all_fixed_points(act, sigma_w2, sigma_b2) if sigma_w2 else ()
    path = trajectory(act, sigma_w2, sigma_b2, depth)
    forward, gradient = path.activation_log10_mean_square, path.gradient_log10_mean_square
    answer: dict[str, Any] = {"act": found.act, "sigma_w2": sigma_w2, "sigma_b2": sigma_b2, "depth": depth}
    answer |= {name: getattr(found, name) for name in MEANINGS} | {
        "activation_log10_mean_square": finite(forward[-1]),
        "gradient_log10_mean_square_ratio": finite(gradient[0] - gradient[-1]),
        "why": found.why or None,
        "fixed_points": [{"q": p.q_star, "chi_q": p.chi_q, "stability": p.stability} for p in points],
    }
    if as_json:
        sys.stdout.write(json.dumps(answer, allow_nan=False, indent=1) + "\n")
        return
    console = console_for(sys.stdout)
    console.print(f"{found.act}, sigma_w2 {sigma_w2:g}, sigma_b2 {sigma_b2:g}", style="bold", soft_wrap=True)
    widths = [max(map(len, MEANINGS)), 9]
    if found.phase not in ("ordered", "critical", "chaotic"):
        widths[1] = len(found.phase)
    widths.append(console.width - sum(widths) - 2 * GAP)
    for name, meaning in MEANINGS.items():
        meaning = meaning if name != "phase" or widths[1] == 9 else "there is no fixed point to settle at"
        for line in side_by_side((name, text(answer[name]), meaning), widths, [""] * 3):
            console.print(line, soft_wrap=True)
    for sentence in sentences(answer, float(forward[0])):
        for piece in fold(sentence, console.width, indent=2):
            console.print(piece, soft_wrap=True)


def settings(
    act: str, sigma_w2: str | None, sigma_b2: str | None, init: str | None, bias: str | None, width: str, depth: str
) -> tuple[float, float, int]:
    """(sigma_w2, sigma_b2, depth) from the options."""
    import numpy as np

    from varprobe.spec.arguments import named, single
    from varprobe.theory.elementwise import activation
    from varprobe.theory.sigmas import given, resolved_initializer, sigma_b2_of, variance_of

    for short, name, long in ((sigma_w2, "sigma_w2", init), (sigma_b2, "sigma_b2", bias)):
        if short is not None and long is not None:
            raise InvalidArgumentError(f"{short!r} is what {long!r} has too; give one of the two", name)
    layers, units = single("depth", depth, 1, 1_000_000), single("width", width, 1)
    biases = (
        named("bias", lambda: sigma_b2_of(bias or "zeros", units, layers))
        if sigma_b2 is None
        else single("sigma_b2", sigma_b2, 0, integer=False)
    )
    if sigma_w2 is not None:
        return single("sigma_w2", sigma_w2, 0, integer=False), biases, layers
    weights = resolved_initializer(given(init or "he_normal"), activation(act), biases)
    return named("init", lambda: variance_of(weights, np.full(layers + 1, units), 1)), biases, layers


def finite(value: float) -> float | None:
    """A float of JSON."""
    return float(value) if math.isfinite(value) else None


def text(value: Any) -> str:
    """A number in at most nine columns, a word, or "none"."""
    return "none" if value is None else value if isinstance(value, str) else f"{value:.5g}"


def sentences(answer: dict[str, Any], first: float) -> list[str]:
    """What the numbers mean for a stack of this depth."""
    depth, said = answer["depth"], [f"{answer['why'][0].upper()}{answer['why'][1:]}."] if answer["why"] else []
    said += borders(answer["fixed_points"])
    forward, back = answer["activation_log10_mean_square"], answer["gradient_log10_mean_square_ratio"]
    if forward is not None and back is not None:
        said.append(
            f"At depth {depth} the activation's mean square goes from {power(first)} at layer 1 to {power(forward)}; "
            f"the gradient's at layer 1 is {power(back)} times that of layer {depth}."
        )
    if answer["xi_c"] is not None and answer["phase"] in ("ordered", "chaotic"):
        reach = REACH * answer["xi_c"]
        verb = "is within" if depth <= reach else "is beyond"
        said.append(
            f"Inputs can be told apart for about {REACH} xi_c = {reach:.3g} layers (Schoenholz et al. 2017): "
            f"depth {depth} {verb} that."
        )
    elif answer["phase"] == "critical":
        said.append("On the critical line correlations settle slower than any exponential: depth is limited by width.")
    return said


def borders(points: list[dict[str, Any]]) -> list[str]:
    """A sentence for each fixed point above 0 that a signal may leave: where it goes on either side."""
    ends = [p["q"] for p in points]
    said = []
    for i, point in enumerate(points):
        if not point["q"] or point["stability"] not in ("unstable", "half-stable"):
            continue
        below = f"goes to {text(ends[i - 1])}" if i else "goes to it"
        above = f"goes to {text(ends[i + 1])}" if i + 1 < len(ends) else "grows without bound"
        said.append(
            f"q = {text(point['q'])} is {'an' if point['stability'] == 'unstable' else 'a'} {point['stability']} "
            f"fixed point (chi_q {text(point['chi_q'])}): a signal below it {below}, one above it {above}."
        )
    return said


def power(log10: float) -> str:
    """10^log10, as a plain number where that is short."""
    return f"{10**log10:.3g}" if -4 < log10 < 5 else f"10^{log10:.1f}"
