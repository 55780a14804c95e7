"""Write the names that completion offers, from the registries: run it after a name was added to one of them.

    python scripts/write_names.py

The file is read without importing jax, so that the shell gets an answer at once.
"""

from pathlib import Path
from typing import get_args

from varprobe.cli.list import KINDS
from varprobe.cli.plot import QUANTITIES
from varprobe.exports.frames import TABLES
from varprobe.nets.activations import ACTIVATIONS
from varprobe.nets.architectures import ARCHITECTURES
from varprobe.nets.data import LAWS
from varprobe.nets.initializers import INITIALIZERS
from varprobe.nets.norms import NORMS
from varprobe.plots.kinds import KINDS as FIGURES
from varprobe.plots.style import STYLES
from varprobe.sweeps.arguments import TYPES
from varprobe.verdict.snippets import FRAMEWORKS

REGISTRIES = {
    "act": ACTIVATIONS,
    "init": INITIALIZERS,
    "bias": [name for name, entry in INITIALIZERS.items() if entry.for_bias],
    "arch": ARCHITECTURES,
    "norm": NORMS,
    "data": [*LAWS, "tokens", "digits"],
    **{name: get_args(TYPES[name]) for name in ("loss", "dtype", "range")},
    "framework": FRAMEWORKS,
    "table": TABLES,
    "style": STYLES,
    "figure": FIGURES,
    "quantity": QUANTITIES,
    "kind": KINDS,
}


def text() -> str:
    """A line for each registry: `norm: none batch layer rms group`."""
    return "".join(f"{kind}: {' '.join(found)}\n" for kind, found in REGISTRIES.items())


if __name__ == "__main__":
    (Path(__file__).parents[1] / "varprobe/cli/names.txt").write_text(text(), "utf-8")
