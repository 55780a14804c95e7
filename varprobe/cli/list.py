"""`varprobe list`: what can be named, each with a line of meaning."""

import sys

import click
from rich.table import Table
from rich.text import Text

from varprobe.cli.console import console_for
from varprobe.cli.help import Command
from varprobe.errors import RequestError
from varprobe.names import lookup

__all__ = ["command"]


def acts() -> tuple[str, list[tuple[str, str, str]]]:
    """(heading, rows) of activations."""
    from varprobe.activations import ACTIVATIONS

    rows = []
    for name, entry in ACTIVATIONS.items():
        parameters = ", ".join(
            f"{k}={str(v).lower() if isinstance(v, bool) else f'{v:g}'}" for k, v in entry.parameters.items()
        )
        rows.append((" / ".join([name, *entry.aliases]), parameters, entry.formula))
    return "activation", [*rows, ("FILE.py:NAME, PKG.MOD:NAME", "its own", "your elementwise function")]


def inits() -> tuple[str, list[tuple[str, str, str]]]:
    """(heading, rows) of initializers."""
    from varprobe.initializers import INITIALIZERS

    rows = [
        (" / ".join([name, *entry.aliases]), ", ".join(entry.parameters), entry.meaning)
        for name, entry in INITIALIZERS.items()
    ]
    return "initializer", [
        *rows,
        ("any of these", "gain, shift", "gain x the matrix + shift"),
        ("FILE.py:NAME, PKG.MOD:NAME", "its own", "your (key, shape, dtype), perhaps keyword-only layer, depth"),
    ]


def verdicts() -> tuple[str, list[tuple[str, str, str]]]:
    """(heading, rows) of verdicts and thresholds."""
    from varprobe.verdicts import VERDICTS

    rows = [
        (name, f"{v.kind} {'' if v.threshold is None else f'{v.threshold:g}'}".strip(), v.meaning)
        for name, v in VERDICTS.items()
    ]
    return "verdict", rows


KINDS = {"acts": acts, "inits": inits, "verdicts": verdicts}


@click.command(cls=Command, examples=["varprobe list inits", "varprobe list acts", "varprobe list verdicts"])
@click.argument("kind", metavar="{acts|inits|verdicts}")
def command(kind: str) -> None:
    """List activations, initializers or verdicts, with parameters and formulas."""
    try:
        heading, rows = lookup(KINDS, kind, "list")()
    except RequestError as error:
        raise error.at("kind") from error
    console = console_for(sys.stdout)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in (heading, "threshold" if kind == "verdicts" else "parameters", "meaning"):
        table.add_column(title, overflow="fold", max_width={"meaning": 44}.get(title, 24))
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
