"""Cells and probes against the plan, and results.nc against both."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from varprobe.runs.verifying.findings import Verification
from varprobe.runs.verifying.numbers import BLOCK, differing, read_rows
from varprobe.runs.verifying.plan import once
from varprobe.storage.checksums import DamagedError
from varprobe.storage.progress import Progress
from varprobe.storage.tasks import Table, TaskFile, load_task, read_task
from varprobe.sweeps.assemble import variable_names
from varprobe.sweeps.folders import KIND
from varprobe.sweeps.probe_options import ProbeOptions
from varprobe.sweeps.probes.files import probe_name
from varprobe.sweeps.record import NAME, Cell, SweepRecord

__all__ = ["check_cells", "check_dataset", "check_probes"]

Tables = dict[int, dict[str, np.ndarray]]
"""Of the seeds of a block."""


def check_dataset(found: Verification, record: SweepRecord, ds: xr.Dataset) -> bool:
    """Whether dims, coordinates and attributes of results.nc are those of the plan; what is not is told."""
    seeds, layers = record.spec["seeds"], max(group["depth"] for group in record.groups) + 1
    sizes = {"config": len(record.deciding["each"]), "seed": seeds, "layer": layers}
    for name, size in sizes.items():
        if ds.sizes.get(name) != size:
            found.problem("results.nc", f"has {ds.sizes.get(name)} of {name}, not {size}")
            return False
    coordinates = {"seed": list(range(seeds)), "layer": list(range(layers)), **record.coordinates}
    for name, values in coordinates.items():
        if name not in ds.coords or ds[name].values.tolist() != values:
            found.problem("results.nc", f"has another {name} than the plan")
    for name in variable_names(record.spec["arch"]):
        if name not in ds.data_vars or (ds[name].dims, ds[name].dtype) != (tuple(sizes), np.float64):
            found.problem("results.nc", f"has no {name} as it was measured")
            return False
    if ds.attrs != KIND | record.attributes:
        found.problem("results.nc", "has other attributes than the plan")
    return True


def check_cells(found: Verification, record: SweepRecord, ds: xr.Dataset | None, progress: Progress) -> None:
    """Every cell: there, whole, of the plan, and with the same numbers as results.nc."""
    folder, cells = found.folder, record.cells
    intact = 0
    for block in blocks(record, cells):
        tables: Tables = {}
        for cell in block:
            try:
                tables[cell.seed] = load_task(folder, cell, record.variables(cell))
                intact += 1
            except DamagedError as error:
                found.problem(f"cells/{cell.name}.npz", str(error))
            progress.advance(1)
        if ds is not None:
            compare(found, ds, record, block[0], tables)
    found.checked["cells"] = f"{intact} of {len(cells)}"


def blocks(record: SweepRecord, cells: Iterable[Cell]) -> Iterator[list[Cell]]:
    """Cells of one group and following seeds, as many as are held at a time."""
    by_group: dict[int, list[Cell]] = {}
    for cell in cells:
        by_group.setdefault(cell.group, []).append(cell)
    for own in by_group.values():
        numbers = len(own[0].configs) * (own[0].depth + 1) * len(record.variables(own[0]))
        size = max(1, BLOCK // numbers)
        yield from (own[start : start + size] for start in range(0, len(own), size))


def compare(found: Verification, ds: xr.Dataset, record: SweepRecord, first: Cell, tables: Tables) -> None:
    """Compare the cells of a group and a few seeds with results.nc, which is NaN where they have no number."""
    if not tables:
        return
    low, high = min(tables), max(tables) + 1
    for name in variable_names(record.spec["arch"]):
        rows = read_rows(ds[name], first.configs, slice(low, high))
        for seed, table in tables.items():
            expected = np.full(rows[:, 0].shape, np.nan)
            if name in table:
                expected[:, : first.depth + 1] = table[name]
            if (at := differing(rows[:, seed - low], expected)) is not None:
                where = f"configuration {first.configs[at[0]]}, seed {seed}, layer {at[1]}"
                found.problem("results.nc", f"has another {name} than its cell: {where}")


@dataclass(frozen=True)
class Wanted:
    """What a run was asked for beside its cells."""

    asked: ProbeOptions
    shared: str
    each: list[str]

    def holds(self, path: Path, kept: TaskFile) -> bool:
        """Whether a file is of this run, by its name."""
        if not all(0 <= i < len(self.each) for i in kept.configs):
            return False
        return path.stem == probe_name(
            kept.kind, self.asked, kept.seed, self.shared, [self.each[i] for i in kept.configs]
        )


def check_probes(found: Verification, record: SweepRecord, ds: xr.Dataset | None, progress: Progress) -> None:
    """Every finished probe: whole, complete where the run is finished, and with the numbers of results.nc."""
    asked = ProbeOptions.of_spec(record.spec)
    wanted = Wanted(asked, json.dumps(record.deciding["shared"]), record.deciding["each"])
    done: Counter[tuple[str, int]] = Counter()
    damaged, others = 0, 0
    for path in sorted((found.folder / "probes").glob("*.npz")):
        progress.advance(1)
        if not NAME.fullmatch(path.stem):
            continue
        try:
            kept, table = read_task(path, found.folder)
        except DamagedError as error:
            found.problem(f"probes/{path.name}", str(error))
            damaged += 1
            continue
        if not wanted.holds(path, kept):
            others += 1
            continue
        done[kept.kind, kept.seed] += len(set(kept.configs))
        if ds is not None:
            compare_probe(found, ds, kept, table)
    if others:
        found.note("probes", f"hold {others} files of other versions of what the run names")
    kinds = ["pairs"] * bool(asked.correlation) + ["batch"] * bool(asked.correlation or asked.histogram)
    kinds += ["jacobian"] * asked.jacobian
    total = len(kinds) * record.spec["seeds"] * len(wanted.each)
    if kinds and not once(record):
        complete = sum(
            min(done[kind, seed], len(wanted.each)) for kind in kinds for seed in range(record.spec["seeds"])
        )
        found.checked["probes"] = f"{complete} of {total}"
        if complete < total and not damaged and record.results is not None:
            found.problem("probes", f"lack {total - complete} of {total} (configuration, seed, kind)")


def compare_probe(found: Verification, ds: xr.Dataset, kept: TaskFile, table: Table) -> None:
    """Compare a finished probe with results.nc."""
    for name, values in table.items():
        if name not in ds.data_vars:
            found.problem("results.nc", f"has no {name}, which probes/{kept.name}.npz holds")
            continue
        rows = read_rows(ds[name], kept.configs, slice(kept.seed, kept.seed + 1))[:, 0, : values.shape[1]]
        if (at := differing(rows, values)) is not None:
            where = f"configuration {kept.configs[at[0]]}, seed {kept.seed}" if at else "its shape"
            found.problem("results.nc", f"has another {name} than probes/{kept.name}.npz: {where}")
