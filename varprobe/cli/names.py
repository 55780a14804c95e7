"""The names that completion offers, which `scripts/write_names.py` takes from the registries."""

from importlib.resources import files

__all__ = ["NAMES"]

NAMES = {
    kind: names.split()
    for kind, names in (line.split(": ") for line in (files(__package__) / "names.txt").read_text("utf-8").splitlines())
}
"""Registry -> its names, in its order."""
