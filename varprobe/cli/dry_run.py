"""`varprobe sweep --dry-run`: what a sweep would take, and how much of it is there already."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from varprobe.cli.console import console_for
from varprobe.errors import printable

if TYPE_CHECKING:
    from varprobe.sweeps.request import Request
    from varprobe.sweeps.resources import Resources

__all__ = ["report_costs"]


def report_costs(request: "Request", out: str | Path, resources: "Resources", as_json: bool, stdout: TextIO) -> None:
    """Print configurations, cells, time, memory and disk of a sweep; nothing of it is computed or written.

    Raises:
        InvalidArgumentError: a network does not fit into memory, or the folder cannot hold this run.
    """
    from varprobe.engine.groups import groups_of, work_of
    from varprobe.sweeps.estimates import estimate
    from varprobe.sweeps.record import plan
    from varprobe.sweeps.run_folder import find_run
    from varprobe.sweeps.shards import share

    held, executor = find_run(out, request, lambda text: None), resources.cell_executor()
    groups = groups_of(list(request.configs), request.setting)
    workers, each = executor.allotment(groups)
    cells = plan(request, [group.configs for group in groups], executor.versions()).cells
    mine = share(cells, resources.shard, lambda cell: work_of(groups[cell.group]))
    told = estimate(request, groups, workers, each)
    there = sum(map(held.has, cells))
    if as_json:
        answer: dict[str, Any] = {"version": version("varprobe"), "run": str(held.folder), **told._asdict()}
        print(json.dumps(answer | {"there": there, "share": len(mine)}, indent=1), file=stdout)
        return
    lines = [*str(told).splitlines(), f"{'there':<16}{there} of {len(cells)} cells, in {held.folder}"]
    if resources.shard:
        lines.append(f"{'share ' + str(resources.shard):<16}{len(mine)} of {len(cells)} cells")
    for line in lines:
        console_for(stdout).print(printable(line), soft_wrap=True)
