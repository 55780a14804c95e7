"""Numbers of healthy networks without an engine, where tests are about what becomes of a request."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from varprobe.engine import compile
from varprobe.engine.wired.own import OwnGroup
from varprobe.model.run_folders import model_folder
from varprobe.sweeps.assemble import variable_names

__all__ = ["learned", "save_model_run", "signals"]


def signals(group: Any, setting: Any, seed: int, slope: float = 0.0) -> dict[str, np.ndarray]:
    """Of a cell, in lines that differ by configuration and seed, for `compute_with`; blocks of the user are measured."""
    if isinstance(group, OwnGroup):
        return compile.tables_of(compile.Worker(compile.teams()[0]), group, setting, [seed])[0]
    shape = (len(group.configs), group.program.depth + 1)
    slopes = slope + 0.002 * np.array(group.configs)[:, None] + 0.003 * seed
    lines = slopes * np.arange(shape[1]) - 0.1 * seed
    return {name: lines.copy() if "log10" in name else np.full(shape, 0.1) for name in variable_names()}


def learned(job: Any) -> dict[str, np.ndarray]:
    """Of networks that are trained, in place of `varprobe.training.jobs.run_job`."""
    nets, training = job.training.nets, job.training
    one = {"batch_loss": np.full((len(job.nets), training.steps + 1), 2.0)}
    one |= {name: 0.5 + 0.001 * np.array(job.nets) for name in ("final_loss", "final_accuracy")}
    if job.course.gauge is None:
        return one
    shape = (len(job.nets), len(training.at), nets[job.nets[0]][0].depth + 1)
    return one | {
        name: np.full(shape, -0.1) for name in (*variable_names(), "update_log10_mean_square", "update_log10_ratio")
    }


def save_model_run(folder: Path, ds: xr.Dataset, spec: dict[str, Any]) -> None:
    """Write a dataset as the run of a model that was asked for with `spec`."""
    with model_folder(folder, ds.attrs["kind"], spec) as save:
        save(ds)
