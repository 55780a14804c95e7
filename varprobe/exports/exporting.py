"""`varprobe.export`: a run's numbers for papers, data frames and dashboards."""

import os
from pathlib import Path
from typing import Literal

import xarray as xr

from varprobe.errors import InvalidArgumentError, did_you_mean
from varprobe.exports.events import FILE, save_events
from varprobe.exports.folders import require_free
from varprobe.exports.frames import TABLES, save_csv_to, save_dataset_to, save_json_to, save_parquet_to
from varprobe.exports.offline import save_offline
from varprobe.exports.sheets import latex_of, markdown_of, verdict_table
from varprobe.exports.targets import ENDINGS, Target, target_of
from varprobe.runs.kinds import KINDS
from varprobe.spec.argument_types import checks_types
from varprobe.storage.chunks import Advance, unwatched
from varprobe.storage.dataset import require_dims, require_layers, with_configs
from varprobe.storage.files import put, writing
from varprobe.storage.kinds import DESCRIPTIONS, LAYERED, kind_of, require_kind
from varprobe.storage.steps import by_step

__all__ = ["export", "required"]

FOLDERS = {"tb:": save_events, "wandb:": save_offline}
REPLACED = {"tb:": FILE, "wandb:": None}
"""What a folder may hold that is written again; a run that was perhaps synced is not."""

FRAMES = {".csv": save_csv_to, ".parquet": save_parquet_to, ".json": save_json_to, ".nc": save_dataset_to}
SHEETS = {".md": markdown_of, ".tex": latex_of}


@checks_types
def export(
    ds: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    table: Literal["verdicts", "layers"] | None = None,
    advance: Advance = unwatched,
) -> Path:
    r"""Write a dataset's numbers where others read them.

    One that was opened with chunks is read and written some configurations at a time. Of a training, each of its steps
    counts as a configuration, with the coordinate `step`, but for .nc and the table of verdicts, which are of all.

    Args:
        ds: what `varprobe.sweep`, `probe`, `track`, `coord_check`, `trainability` or `open_run` returns, or a selection
            of it. Of `trainability` .csv, .parquet and .json have a row a net, .md and .tex one an optimizer, with how
            well the verdict before training foretold who learns.
        path: what its ending or prefix says:
            .csv, .parquet, .json: a table for programs. By default one row a configuration, seed and layer, as
            results.csv. In CSV, NaN is an empty cell, and text that begins with = + - @, which a spreadsheet would
            compute, has an apostrophe before it. JSON is an array of objects, one a line; NaN is null, and infinity
            "Infinity" or "-Infinity", which `float` and `pandas.read_json` take for it.
            .nc: the dataset itself, as NetCDF-4.
            .md, .tex: a table for people, the columns of the printed one; .tex is a tabular with booktabs' lines and
            no caption, for \input. Of a model one row a family of sites, of a coordinate check one a layer.
            tb:FOLDER: TensorBoard's event files. wandb:FOLDER: an offline run of Weights & Biases.
        table: "verdicts", a row for each of `varprobe.diagnose(ds).rows` (the default of .md and .tex), or "layers"
            (the default of the others, and not for .md and .tex: it is as long as the net is deep).
        advance: is told of so many configurations more as they are written or judged.

    Returns:
        The file or folder, which appears whole or not at all; an earlier one is replaced.

    Raises:
        InvalidArgumentError: a path or table that is none, no dataset, a folder with other things, or a library is
            missing.
        MachineError: the disk refuses.

    Example:
        varprobe.export(ds, "table.tex")
        varprobe.export(ds, "tb:logs")
    """
    target = required(path, table)
    kind = kind_of(ds)
    tables = KINDS[kind].tables
    if table not in (None, *tables):
        raise InvalidArgumentError(f"{table!r} does not go with {DESCRIPTIONS[kind]}, which has one table", "table")
    if target.kind in FOLDERS:
        require_kind(ds, *LAYERED)
    if "layers" in tables:
        require_layers(ds, widths=True)
        ds = with_configs(ds)
    require_dims(ds, "config")
    wanted = table or ENDINGS.get(target.kind)
    chosen = wanted if wanted in tables else tables[0]
    if not ds.sizes["config"]:
        raise InvalidArgumentError("the dataset has no configuration left", "ds")
    if target.kind in FOLDERS:
        FOLDERS[target.kind](target.path, by_step(ds))
    elif target.kind in FRAMES:
        FRAMES[target.kind](target.path, ds, chosen, advance)
    else:
        content = SHEETS[target.kind](*verdict_table(ds, advance)).encode()
        with writing(target.path):
            put(target.path, lambda file: file.write(content))
    return target.path


def required(path: str | os.PathLike[str], table: str | None) -> Target:
    """Where an export goes, checked before anything is read or measured.

    Raises:
        InvalidArgumentError: a path that is none, a folder with other things, or a table that this kind of file has
            not.
    """
    kind, place = target = target_of(path)
    if kind in FOLDERS:
        require_free(place, REPLACED[kind])
    if table is None:
        return target
    if not isinstance(table, str) or table not in TABLES:
        raise InvalidArgumentError(f"unknown table {table!r}{did_you_mean(table, TABLES)}", "table")
    if kind in FOLDERS:
        raise InvalidArgumentError(f"does not go with {kind}FOLDER, which has curves", "table")
    if kind == ".nc":
        raise InvalidArgumentError("does not go with .nc, which has the dataset itself", "table")
    if kind in SHEETS and table == "layers":
        raise InvalidArgumentError(f"'layers' is too long for {kind}; use .csv or .parquet", "table")
    return target
