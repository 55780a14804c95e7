"""The code of every engine under one name: what a cell is traced from, and compiled from."""

from typing import Any

from varprobe.engine import Chunk
from varprobe.program import Program
from varprobe.stack import run_cell, workspace_of
from varprobe.wired.cell import run_wired
from varprobe.wired.chunks import WiredChunk
from varprobe.wired.own import OwnChunk, OwnProgram, run_own
from varprobe.wired.program import Wired
from varprobe.wired.recurrent import run_recurrent

__all__ = ["AnyChunk", "AnyProgram", "run_program", "space_of"]

AnyChunk = Chunk | WiredChunk | OwnChunk
AnyProgram = Program | Wired | OwnProgram


def run_program(program: AnyProgram, space: Any, *arguments: Any) -> tuple[Any, Any]:
    """(statistics, workspace) of a cell of any engine; only the plain one has a workspace."""
    if isinstance(program, Wired):
        return (run_recurrent if program.arch.shared else run_wired)(program, *arguments), ()
    if isinstance(program, OwnProgram):
        return run_own(program, *arguments), ()
    return run_cell(program, space, *arguments)


def space_of(program: AnyProgram, arguments: tuple[Any, ...]) -> Any:
    """Shapes of a program's workspace."""
    if not isinstance(program, Program):
        return ()
    running, weight_key, bias_key, x, _, numbers = arguments
    return workspace_of(program, running, weight_key, bias_key, x, numbers)
