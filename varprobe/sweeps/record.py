"""The plan of a run: its cells, each named by the hash of all that decides its numbers."""

import hashlib
import inspect
import json
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from varprobe.errors import MachineError
from varprobe.storage.checksums import sealed_json, unsealed_json
from varprobe.storage.files import Cell, put
from varprobe.storage.provenance import machine

if TYPE_CHECKING:
    from varprobe.nets.activations import Activation
    from varprobe.nets.config import Config
    from varprobe.nets.initializers import Initializer
    from varprobe.sweeps.probe_options import ProbeOptions
    from varprobe.sweeps.request import Request

__all__ = [
    "ENGINE_VERSION",
    "NAME",
    "Record",
    "asked",
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

CONTENT = ("code", "data_digest")
"""Keys of a spec that say what was in the user's files; the others say what was asked for."""

DIGITS = 32
"""Of the hash of a configuration."""

NAME = re.compile(r"[0-9a-f]{64}(?P<once>-[0-9a-f]{8})?")
"""A cell; with the suffix, one that is not to be used by another run."""


@dataclass(frozen=True)
class Record:
    """What spec.json holds.

    Attributes:
        spec: the request, canonical.
        versions: of what computed it, and the platform of the devices.
        deciding: what decides the numbers: `shared` by all configurations, and a hash of `each` of them.
        identity: the hash of all that decides the numbers of the run.
        attributes: those of the dataset.
        coordinates: those of the dataset that lie along `config`.
        chunks: of each the `configs` in it, their `depth`, and the names of its `cells`, one a seed.
        machines: those that it was begun or resumed on. They are not in the names of cells, since a run may be
            resumed on another node of a cluster; processors of different kinds round differently.
        arguments: of `read_request`, from which the run can be made again; None where they cannot be written down.
        unrepeatable: why they cannot.
        results: the sha256 of results.nc; None until that is written.
    """

    spec: dict[str, Any]
    versions: dict[str, Any]
    deciding: dict[str, Any]
    identity: str
    attributes: dict[str, Any]
    coordinates: dict[str, list[Any]]
    chunks: list[dict[str, Any]]
    machines: list[dict[str, Any]]
    arguments: dict[str, Any] | None
    unrepeatable: str = ""
    results: str | None = None

    @property
    def cells(self) -> list[Cell]:
        """All cells, seed by seed."""
        return [
            Cell(chunk["cells"][seed], i, seed, tuple(chunk["configs"]), chunk["depth"])
            for seed in range(self.spec["seeds"])
            for i, chunk in enumerate(self.chunks)
        ]

    def variables(self, cell: Cell) -> set[str]:
        """The variables that a cell holds."""
        from varprobe.sweeps.assemble import variable_names

        archs = dict.fromkeys(self.coordinates["arch"][i] for i in cell.configs)
        backward = not self.spec["forward_only"]
        return {name for name in variable_names(archs) if backward or "gradient" not in name}

    @classmethod
    def read(cls, path: Path) -> "Record":
        """The record in spec.json; raises DamagedError, or whatever fits where it holds none."""
        record = cls.as_written(path)
        record.require_consistent()
        return record

    @classmethod
    def as_written(cls, path: Path) -> "Record":
        """The same, though its numbers may contradict each other."""
        record = cls(**unsealed_json(path))
        if not record.chunks or not all(NAME.fullmatch(cell.name) for cell in record.cells):
            raise ValueError("it names no cells")
        return record

    def require_consistent(self) -> None:
        """Raise ValueError where numbers of the plan contradict each other, before anything is made that often.

        Every chunk has a cell for each seed, and every configuration is in one chunk.
        """
        depths, seeds = self.coordinates["depth"], self.spec["seeds"]
        placed = sorted(i for chunk in self.chunks for i in chunk["configs"])
        fitting = all(
            len(chunk["cells"]) == seeds and all(depths[i] == chunk["depth"] for i in chunk["configs"])
            for chunk in self.chunks
        )
        if type(seeds) is not int or placed != list(range(len(depths))) or not fitting:
            raise ValueError("its plan does not add up")

    def save(self, folder: Path) -> None:
        """Write spec.json, one key a line. Raises OSError."""
        content = sealed_json(vars(self))
        put(folder / "spec.json", lambda file: file.write(content))

    def after(self, before: "Record | None") -> "Record":
        """This record where a run is resumed that had another: of the same run the results and machines stay."""
        if before is None or before.identity != self.identity:
            return self
        machines = [*before.machines, *(m for m in self.machines if m not in before.machines)]
        return replace(self, results=before.results, machines=machines)

    def frame(self, place: Path | None = None) -> xr.Dataset:
        """The dataset, its numbers still missing, on the disk of the folder `place` where memory has no room for them.

        Raises:
            InvalidArgumentError: they do not fit into memory, and there is no place.
            MachineError: the disk has no room for them.
        """
        from varprobe.storage.memmap import missing_numbers
        from varprobe.sweeps.assemble import variable_names

        seeds, layers = self.spec["seeds"], max(chunk["depth"] for chunk in self.chunks) + 1
        coords = {name: ("config", np.array(values)) for name, values in self.coordinates.items()}
        names, shape = variable_names(self.spec["arch"]), (len(self.coordinates["depth"]), seeds, layers)
        arrays = missing_numbers(len(names), shape, place)
        data = {
            name: (("config", "seed", "layer"), array, {"long_name": text})
            for (name, text), array in zip(names.items(), arrays, strict=True)
        }
        return xr.Dataset(data, {"seed": np.arange(seeds), "layer": np.arange(layers), **coords}, self.attributes)


def fill(frame: xr.Dataset, configs: tuple[int, ...], seed: int, table: dict[str, np.ndarray]) -> None:
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


def plan(request: "Request", groups: list[list[int]], now: dict[str, Any]) -> Record:
    """The record of a run.

    Args:
        request: what was asked for.
        groups: the configurations of each chunk.
        now: `versions` where it is computed.
    """
    from varprobe.sweeps.assemble import skeleton

    bare = skeleton(request)
    shared, each = hashable(request, now)
    suffix = "" if request.reusable else f"-{secrets.token_hex(4)}"
    chunks = [
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
    return Record(
        spec=request.spec,
        versions=now,
        deciding={"shared": json.loads(shared), "each": each},
        identity=identity(request, now) + suffix,
        attributes=bare.attrs,
        coordinates=coordinates,
        chunks=chunks,
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


def asked(spec: dict[str, Any]) -> dict[str, Any]:
    """The part of a spec that says what was asked for, not what was in the user's files."""
    return {key: value for key, value in spec.items() if key not in CONTENT}


def changes(record: Record, request: "Request", now: dict[str, Any]) -> str:
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
