"""What a report is about: datasets or run folders, one or several, each with a name."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.runs.open import read_run
from varprobe.storage.dataset import STATISTICS, require_configs, with_configs
from varprobe.storage.kinds import SITES, of_sites
from varprobe.storage.paths import folder_of
from varprobe.storage.reading import Note
from varprobe.storage.records import required_values

__all__ = ["Run", "runs_of"]


@dataclass(frozen=True)
class Run:
    """A dataset with dims (config, seed, layer), its name, and what a model's run folder was asked for."""

    name: str
    ds: xr.Dataset
    asked: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> bool:
        """Whether its layers are the sites of a model."""
        return of_sites(self.ds)


def runs_of(what: Any, note: Note) -> list[Run]:
    """The runs of a dataset, a run folder, a list of these, or a mapping of names to these.

    Raises:
        InvalidArgumentError: something else, none, models beside stacks, or a name twice.
    """
    if isinstance(what, Mapping) and not isinstance(what, xr.Dataset):
        found = [replace(run_of(one, "", note), name=str(name)) for name, one in what.items()]
    else:
        given = list(what) if isinstance(what, list | tuple) else [what]
        numbers = [f"run {i}" if len(given) > 1 else "" for i in range(1, len(given) + 1)]
        found = told_apart([run_of(one, number, note) for one, number in zip(given, numbers, strict=True)], given)
    if not found:
        raise InvalidArgumentError("there is no run to report on", "run")
    if len({run.model for run in found}) > 1:
        raise InvalidArgumentError("runs of stacks and of models do not go into one report", "run")
    return found


def run_of(what: Any, name: str, note: Note) -> Run:
    """One run: a folder's has the folder's name, a dataset's the name given."""
    folder = folder_of(what, "run") if isinstance(what, str | os.PathLike) else None
    ds = what if folder is None else read_run(folder, note)
    require_configs(ds)
    ds = with_signal(with_configs(ds))
    return Run(name, ds) if folder is None else Run(folder.resolve().name, ds, asked_of(folder))


def with_signal(ds: xr.Dataset) -> xr.Dataset:
    """A model's dataset with a quantity `signal`: the activation, of sites that have none the preactivation."""
    if not of_sites(ds):
        return ds
    pairs = {
        f"signal_{end}": (f"activation_{end}", f"preactivation_{end}")
        for end in STATISTICS
        if f"activation_{end}" in ds or f"preactivation_{end}" in ds
    }
    made = {}
    for name, sources in pairs.items():
        first, *rest = [ds[source] for source in sources if source in ds]
        made[name] = first.fillna(rest[0]) if rest else first.copy()
        made[name].attrs["long_name"] = "the activation, or the preactivation where a site has none"
    return ds.assign(made)


def told_apart(runs: list[Run], given: Sequence[Any]) -> list[Run]:
    """The runs, those whose folders have one name called by their paths.

    Raises:
        InvalidArgumentError: a run is given twice.
    """
    places = [Path(one).resolve() for one in given if isinstance(one, str | os.PathLike)]
    twice = next((place for i, place in enumerate(places) if place in places[:i]), None)
    if twice is not None:
        raise InvalidArgumentError(f"{twice.name!r} is given twice", "run")
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return runs
    paths = [str(one) if isinstance(one, str | os.PathLike) else run.name for one, run in zip(given, runs, strict=True)]
    return [replace(run, name=path) for path, run in zip(paths, runs, strict=True)]


def asked_of(folder: Path) -> dict[str, Any]:
    """What a model's run folder was asked for; empty for other runs."""
    values = required_values(folder, "run")
    return values["spec"] if values["kind"] in SITES else {}
