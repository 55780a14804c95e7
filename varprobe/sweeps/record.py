"""The plan of a run: its cells, each named by the hash of all that decides its numbers."""

import hashlib
import inspect
import json
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from varprobe.errors import MachineError
from varprobe.storage.checksums import DamagedError
from varprobe.storage.provenance import machine
from varprobe.storage.records import Record
from varprobe.storage.tasks import TaskFile

if TYPE_CHECKING:
    from varprobe.nets.activations import Activation
    from varprobe.nets.config import Config
    from varprobe.nets.initializers import Initializer
    from varprobe.sweeps.probe_options import ProbeOptions
    from varprobe.sweeps.request import Request

__all__ = [
    "ENGINE_VERSION",
    "NAME",
    "Cell",
    "SweepRecord",
    "cell_name",
    "changes",
    "fill",
    "hashed",
    "identity_of",
    "plan",
    "versions",
]

ENGINE_VERSION = 2
"""Raised with every change to the engine that changes a number."""

DIGITS = 32
"""Of the hash of a configuration."""

NAME = re.compile(r"[0-9a-f]{64}(?P<once>-[0-9a-f]{8})?")
"""A cell; with the suffix, one that is not to be used by another run."""


@dataclass(frozen=True)
class Cell(TaskFile):
    """Some configurations of one depth, one seed.

    Attributes:
        group: which of the run's groups it belongs to.
        depth: number of weight layers; each variable has shape (configs, depth + 1).
    """

    part: str = "cells"
    kind: str = "cell"
    group: int = 0
    depth: int = 0

    @property
    def bytes(self) -> int:
        """Of one of its variables, and less than its file has."""
        return 8 * len(self.configs) * (self.depth + 1)


@dataclass(frozen=True, kw_only=True)
class SweepRecord(Record):
    """The record of a sweep, with its plan.

    Attributes:
        deciding: what decides the numbers: `shared` by all configurations, and a hash of `each` of them.
        attributes: those of the dataset.
        coordinates: those of the dataset that lie along `config`.
        groups: for each group the `configs` in it, their `depth`, and the names of its `cells`, one per seed.
    """

    deciding: dict[str, Any]
    attributes: dict[str, Any]
    coordinates: dict[str, list[Any]]
    groups: list[dict[str, Any]]

    @property
    def cells(self) -> list[Cell]:
        """All cells, seed by seed."""
        return [
            Cell(group["cells"][seed], seed, tuple(group["configs"]), group=i, depth=group["depth"])
            for seed in range(self.spec["seeds"])
            for i, group in enumerate(self.groups)
        ]

    def variables(self, cell: Cell) -> dict[str, tuple[int, ...]]:
        """The variables that a cell holds, with their shape."""
        from varprobe.sweeps.assemble import variable_names

        archs = dict.fromkeys(self.coordinates["arch"][i] for i in cell.configs)
        backward = not self.spec["forward_only"]
        shape = len(cell.configs), cell.depth + 1
        return {name: shape for name in variable_names(archs) if backward or "gradient" not in name}

    @classmethod
    def read(cls, values: dict[str, Any]) -> "SweepRecord":
        """The record with these values; raises DamagedError, or whatever fits if they are not those of a plan."""
        record = cls.as_written(values)
        record.require_consistent()
        return record

    @classmethod
    def as_written(cls, values: dict[str, Any]) -> "SweepRecord":
        """The same, though its numbers may contradict each other."""
        names = {"chunks": "groups"}  # the name in version 0.1
        record = cls.of({names.get(key, key): value for key, value in values.items()})
        if not record.groups or not all(NAME.fullmatch(cell.name) for cell in record.cells):
            raise DamagedError("names no cells")
        return record

    def require_consistent(self) -> None:
        """Raise DamagedError if numbers of the plan contradict each other, before anything is made that often.

        Every group has a cell for each seed, and every configuration is in one group.
        """
        depths, seeds = self.coordinates["depth"], self.spec["seeds"]
        placed = sorted(i for group in self.groups for i in group["configs"])
        fitting = all(
            len(group["cells"]) == seeds and all(depths[i] == group["depth"] for i in group["configs"])
            for group in self.groups
        )
        if type(seeds) is not int or placed != list(range(len(depths))) or not fitting:
            raise DamagedError("has a plan that does not add up")

    def frame(self, place: Path | None = None) -> xr.Dataset:
        """The dataset, its numbers still missing, on the disk of the folder `place` where memory has no room for them.

        Raises:
            InvalidArgumentError: they do not fit into memory, and there is no place.
            MachineError: the disk has no room for them.
        """
        from varprobe.storage.memmap import missing_numbers
        from varprobe.sweeps.assemble import variable_names

        seeds, layers = self.spec["seeds"], max(group["depth"] for group in self.groups) + 1
        coords = {name: ("config", np.array(values)) for name, values in self.coordinates.items()}
        names, shape = variable_names(self.spec["arch"]), (len(self.coordinates["depth"]), seeds, layers)
        arrays = missing_numbers(len(names), shape, place)
        data = {
            name: (("config", "seed", "layer"), array, {"long_name": text})
            for (name, text), array in zip(names.items(), arrays, strict=True)
        }
        return xr.Dataset(data, {"seed": np.arange(seeds), "layer": np.arange(layers), **coords}, self.attributes)


def fill(frame: xr.Dataset, configs: Sequence[int], seed: int, table: dict[str, np.ndarray]) -> None:
    """Enter a cell's numbers, each (configs, depth + 1), into the dataset."""
    for name, values in table.items():
        frame[name].values[list(configs), seed, : values.shape[1]] = values


def versions() -> dict[str, Any]:
    """Versions of what computes, and the platform of the devices."""
    import jax

    try:
        backend = jax.default_backend()
    except RuntimeError as error:
        raise MachineError(f"the device failed: {str(error).strip().splitlines()[0]}") from error
    return {
        "varprobe": version("varprobe"),
        "engine": ENGINE_VERSION,
        "jax": jax.__version__,
        "jaxlib": version("jaxlib"),
        "backend": backend,
    }


def described(thing: "Activation | Initializer | None") -> Any:
    """An activation or initializer for hashing; the user's own with its source and its place therein."""
    if thing is None or not thing.digest:
        return thing and thing.name
    plain = inspect.unwrap(getattr(thing, "function", None) or thing.law[1])  # type: ignore[union-attr]
    line = getattr(getattr(plain, "__code__", None), "co_firstlineno", 0)
    return [thing.name, thing.digest, getattr(plain, "__qualname__", ""), line]


def block_described(config: "Config") -> Any:
    """An architecture for hashing; a block of the user's with its source and its place therein."""
    if not config.arch.own:
        return config.arch_name
    block: Any = config.arch
    functions = (inspect.unwrap(getattr(f, "__func__", f)) for f in (block.initialize, block.function))
    codes = [
        (getattr(f, "__qualname__", ""), getattr(getattr(f, "__code__", None), "co_firstlineno", 0)) for f in functions
    ]
    return [config.arch_name, block.digest, codes]


def hashable(request: "Request", versions: dict[str, Any]) -> tuple[str, list[str]]:
    """Of all that decides the numbers: JSON of what the configurations share, and a hash of each of them."""
    s = request.setting
    shared = {
        "versions": {k: v for k, v in versions.items() if k != "varprobe"},
        "root_seed": s.root_seed,
        "data": s.source.digest,
        "loss": s.loss,
        "outputs": s.outputs,
        "dtype": s.dtype,
        "real_range": s.real_range,
        "forward_only": s.forward_only,
    }
    each = [
        json.dumps(
            [
                *map(described, (c.act, c.init, c.init_first, c.init_last, c.bias)),
                [[option, described(init)] for option, init in c.roles],
                c.widths,
                c.batch,
                block_described(c),
                c.norm_name,
                c.dropout,
            ]
        )
        for c in request.configs
    ]
    return json.dumps(shared), [hashed(text)[:DIGITS] for text in each]


def cell_name(shared: str, seed: int, each: Iterable[str]) -> str:
    """The name of a cell: the hash of all that decides its numbers; `each` are its configurations'."""
    return hashed(shared, str(seed), *each)


def hashed(*texts: str) -> str:
    """The sha256 of several texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def plan(request: "Request", groups: list[list[int]], now: dict[str, Any]) -> SweepRecord:
    """The record of a run.

    Args:
        request: what was asked for.
        groups: the configurations of each group.
        now: `versions` where it is computed.
    """
    from varprobe.sweeps.assemble import skeleton

    bare = skeleton(request)
    shared, each = hashable(request, now)
    suffix = "" if request.reusable else f"-{secrets.token_hex(4)}"
    entries = [
        {
            "configs": group,
            "depth": request.configs[group[0]].depth,
            "cells": [
                cell_name(shared, seed, (each[i] for i in group)) + suffix for seed in range(request.setting.seeds)
            ],
        }
        for group in groups
    ]
    coordinates = {str(k): v.values.tolist() for k, v in bare.coords.items() if v.dims == ("config",)}
    return SweepRecord(
        spec=request.spec,
        versions=now,
        deciding={"shared": json.loads(shared), "each": each},
        identity=identity(request, now) + suffix,
        attributes=bare.attrs,
        coordinates=coordinates,
        groups=entries,
        machines=[machine()],
        arguments=request.arguments,
        unrepeatable=request.unrepeatable,
    )


def identity(request: "Request", versions: dict[str, Any]) -> str:
    """The hash of all that decides the numbers of a run, without the work of planning it."""
    return identity_of(*hashable(request, versions), request.setting.seeds, request.probes)


def identity_of(shared: str, each: Sequence[str], seeds: int, probes: "ProbeOptions") -> str:
    """The same from its parts."""
    return hashed(shared, str(seeds), *each, *([json.dumps(probes.spec)] if probes else []))


def changes(record: SweepRecord, request: "Request", now: dict[str, Any]) -> str:
    """What decides the numbers of the same request and is not what it was, in words; empty where nothing is."""
    if request.reusable and identity(request, now) == record.identity:
        return ""
    moved = [
        f"{key} ({was} -> {now.get(key)})"
        for key, was in record.versions.items()
        if key != "varprobe" and was != now.get(key)
    ]
    if request.spec["data_digest"] != record.spec["data_digest"]:
        moved.append("the data")
    if not request.reusable:
        moved.append("perhaps a function whose source is in no file")
    elif not moved or request.spec["code"] != record.spec["code"]:
        moved.append("the source of a function")
    return ", ".join(moved)
