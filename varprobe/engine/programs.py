"""The code of every engine under one name: what a cell is traced from, and compiled from."""

from typing import Any

import jax

from varprobe.engine.plain_cell import run_cell, workspace_of
from varprobe.engine.plain_groups import PlainGroup
from varprobe.engine.program import Program
from varprobe.engine.wired.cell import run_wired
from varprobe.engine.wired.groups import WiredGroup
from varprobe.engine.wired.own import OwnGroup, OwnProgram, run_own
from varprobe.engine.wired.program import Wired
from varprobe.engine.wired.recurrent import run_recurrent

__all__ = ["AnyGroup", "AnyProgram", "compilable", "run_program", "space_of"]

AnyGroup = PlainGroup | WiredGroup | OwnGroup
AnyProgram = Program | Wired | OwnProgram


def run_program(program: AnyProgram, space: Any, *arguments: Any) -> tuple[Any, Any]:
    """(statistics, workspace) of a cell of any engine; only the plain one has a workspace."""
    if isinstance(program, Wired):
        return (run_recurrent if program.arch.shared else run_wired)(program, *arguments), ()
    if isinstance(program, OwnProgram):
        return run_own(program, *arguments), ()
    return run_cell(program, space, *arguments)


compilable = jax.jit(run_program, static_argnums=0, donate_argnums=1)
"""`run_program`, to compile: its workspace is given up to the results."""

spaces: dict[AnyProgram, Any] = {}


def space_of(program: AnyProgram, arguments: tuple[Any, ...]) -> Any:
    """Shapes of a program's workspace."""
    if not isinstance(program, Program):
        return ()
    if program not in spaces:
        running, weight_key, bias_key, x, _, numbers = arguments
        spaces[program] = workspace_of(program, running, weight_key, bias_key, x, numbers)
    return spaces[program]
