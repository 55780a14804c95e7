"""How a run was made: the facts, and the command line that repeats it."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from varprobe.exports.reporting.sources import Run
from varprobe.storage.records import CONTENT

__all__ = ["command_of", "facts_of", "spec_of"]

USUAL: dict[str, Any] = {
    "bias": ["zeros"],
    "arch": ["plain"],
    "norm": ["none"],
    "dropout": [0.0],
    "data": "normal",
    "loss": "cotangent",
    "dtype": "float32",
    "range": "unbounded",
}
"""Parts of a spec that need no option."""

ITS_OWN = "own"
"""What a user's block says of its activation, initializer and biases."""


def facts_of(run: Run) -> list[list[str]]:
    """[term, text] of versions, data, seeds and what else the numbers depend on."""
    attrs, ds = run.ds.attrs, run.ds
    seeds = ds.sizes["seed"]
    facts = {
        "varprobe": attrs.get("varprobe_version"),
        "jax": attrs.get("jax_version"),
        "data": attrs.get("data_description"),
        "batch": listed(ds["batch"].values.tolist()) if "batch" in ds.coords else None,
        "seeds": f"{seeds}, from root seed {attrs['root_seed']}" if "root_seed" in attrs else seeds,
        "loss": attrs.get("loss"),
        "dtype": listed(ds["dtype"].values.tolist()) if "dtype" in ds.coords else None,
        "range": attrs.get("range"),
        "coverage": attrs.get("coverage"),
    }
    return [[term, str(value)] for term, value in facts.items() if value not in (None, "")]


def listed(values: list[Any]) -> str:
    """The distinct values, in order."""
    return ", ".join(map(str, dict.fromkeys(values)))


def spec_of(run: Run) -> dict[str, Any]:
    """What was asked for; empty where the dataset does not say."""
    try:
        spec = json.loads(run.ds.attrs["spec"])
    except (KeyError, TypeError, ValueError):
        return {}
    return spec if isinstance(spec, dict) else {}


def command_of(run: Run) -> str | None:
    """The command line that repeats a run; None for one that only Python could ask for."""
    spec = spec_of(run)
    if run.model:
        return model_command(run.asked) if run.asked.get("factory") else None
    named = [name for key in ("act", "init", "arch", "bias") for name in spec.get(key, [])]
    from_python = spec.get("data") == "array" or (spec.get("code") and not any(":" in str(name) for name in named))
    if not spec or from_python:
        return None
    words = ["varprobe", "sweep"]
    for key, value in spec.items():
        if key in CONTENT or value == USUAL.get(key):
            continue
        if key == "depth" and all(isinstance(width, str) for width in spec["width"]):
            continue  # a width profile fixes it
        words += option(key, value)
    return shlex.join(words)


def model_command(asked: Mapping[str, Any]) -> str:
    """`varprobe probe net.py:make --seeds 8`."""
    rest = (word for key, value in asked.items() if key != "factory" for word in option(key, value))
    return shlex.join(["varprobe", "probe", str(asked["factory"]), *rest])


def option(key: str, value: Any) -> list[str]:
    """The words of an option; none for what was not asked for."""
    name = f"--{key.replace('_', '-')}"
    if isinstance(value, list):
        items = [str(item) for item in value if item != ITS_OWN]
        return [name, ",".join(items)] if items else []
    if isinstance(value, bool) or value is None:
        return [name] if value else []
    return [name, str(value)]
