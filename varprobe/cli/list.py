"""`varprobe list`: what can be named, each with a line of meaning."""

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from varprobe.cli.console import console_for
from varprobe.cli.help import Command
from varprobe.errors import InvalidArgumentError, lookup
from varprobe.verdict.columns import GAP, side_by_side

__all__ = ["command"]

Rows = list[tuple[str, str, str]]
OWN = "FILE.py:NAME"
WIDEST_PARAMETERS = 19


def meaning(text: str, aliases: Iterable[str]) -> str:
    """What a name means, and its other names."""
    return text + "".join(f"; also {alias}" for alias in aliases)


def acts() -> Rows:
    """Activations."""
    from varprobe.nets.activations import ACTIVATIONS

    rows = []
    for name, entry in ACTIVATIONS.items():
        defaults = [f"{k}={str(v).lower() if isinstance(v, bool) else f'{v:g}'}" for k, v in entry.parameters.items()]
        rows.append((name, ", ".join(defaults), meaning(entry.formula, entry.aliases)))
    return [*rows, (OWN, "its own", "your elementwise function; also PKG.MOD:NAME")]


def inits() -> Rows:
    """Initializers."""
    from varprobe.nets.initializers import INITIALIZERS

    rows = [
        (name, ", ".join(entry.parameters), meaning(entry.meaning, entry.aliases))
        for name, entry in INITIALIZERS.items()
    ]
    return [
        *rows,
        ("any but lsuv", "gain, shift", "gain x the matrix + shift"),
        (OWN, "its own", "your (key, shape, dtype), perhaps keyword-only layer, depth; also PKG.MOD:NAME"),
    ]


def archs() -> Rows:
    """Architectures: what one is, then what its layer, z and delta are."""
    from varprobe.nets.architectures import ARCHITECTURES

    rows = []
    for name, arch in ARCHITECTURES.items():
        rows.append((name, shown(arch.parameters), arch.meaning))
        rows += [("", label, text) for label, text in (("layer", arch.layer), ("z", arch.z), ("delta", arch.delta))]
    return rows


def norms() -> Rows:
    """Norms."""
    from varprobe.nets.norms import NORMS

    return [(name, shown(norm.parameters), norm.meaning) for name, norm in NORMS.items()]


def shown(parameters: Mapping[str, Any]) -> str:
    """Parameters with their values, the default first."""
    return ", ".join(f"{k}={p.shown}" for k, p in parameters.items())


def optimizers() -> Rows:
    """Optimizers of training, and what every one of them takes."""
    from varprobe.training.optimizers import COMMON, OPTIMIZERS

    common = "clip: the global norm that gradients are cut to; warmup: steps; schedule: how lr falls to 0 at the end"
    return [
        *((name, shown(entry.parameters), entry.meaning) for name, entry in OPTIMIZERS.items()),
        ("every one", shown(COMMON), common),
        (OWN, "its own", "your function that returns an optax.GradientTransformation; also PKG.MOD:NAME"),
    ]


def verdicts() -> Rows:
    """Verdicts and thresholds."""
    from varprobe.verdict.thresholds import VERDICTS

    return [
        (name, f"{v.kind} {'' if v.threshold is None else f'{v.threshold:g}'}".strip(), v.meaning)
        for name, v in VERDICTS.items()
    ]


KINDS: dict[str, tuple[str, str, Callable[[], Rows]]] = {
    "acts": ("activation", "parameters", acts),
    "inits": ("initializer", "parameters", inits),
    "archs": ("architecture", "parameters", archs),
    "norms": ("norm", "parameters", norms),
    "optimizers": ("optimizer", "parameters", optimizers),
    "verdicts": ("verdict", "threshold", verdicts),
}


@click.command(cls=Command, examples=["varprobe list inits", "varprobe list acts", "varprobe list archs"])
@click.argument("kind", metavar="{acts|inits|archs|norms|optimizers|verdicts}")
def command(kind: str) -> None:
    """List activations, initializers, architectures, norms, optimizers or verdicts, with parameters and formulas."""
    try:
        first, second, read = lookup(KINDS, kind, "list")
    except InvalidArgumentError as error:
        raise error.at("list") from error
    console, rows = console_for(sys.stdout), [(first, second, "meaning"), *read()]
    names, parameters = (max(len(row[i]) for row in rows) for i in (0, 1))
    parameters = min(parameters, WIDEST_PARAMETERS)
    widths = [names, parameters, console.width - names - parameters - 2 * GAP]
    for i, row in enumerate(rows):
        for line in side_by_side(row, widths, [""] * 3 if i else ["bold"] * 3):
            console.print(line, soft_wrap=True)
