"""Theory and the networks are checked against each other, so neither may lean on the other."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import varprobe as vp

PACKAGE = Path(vp.__file__).parent
SHARED = {"errors", "nets.activations", "nets.initializers"}
SHARED |= {
    f"spec.{name}" for name in ("argument_types", "arguments", "calls", "expressions", "number_format", "user_code")
}


def imported(file: Path) -> set[str]:
    """The modules of varprobe that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {name for name in found if name.startswith("varprobe")}


@pytest.mark.parametrize("file", sorted(PACKAGE.glob("theory/*.py")), ids=lambda file: file.name)
def test_theory_imports_no_network_code(file: Path) -> None:
    others = {name.partition(".")[2] for name in imported(file) if not name.startswith("varprobe.theory")}
    assert others <= SHARED, others - SHARED


@pytest.mark.parametrize("file", sorted(PACKAGE.glob("engine/**/*.py")), ids=lambda file: file.name)
def test_network_code_imports_no_theory(file: Path) -> None:
    assert not any(module.startswith("varprobe.theory") for module in imported(file))


def test_loaded_when_first_used() -> None:
    code = (
        "import sys, varprobe as vp; assert 'jax' not in sys.modules; vp.theory.moments('relu');"
        "assert 'varprobe.engine.plain_groups' not in sys.modules and 'varprobe.engine.plain_cell' not in sys.modules; print(vp.theory.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "varprobe.theory"


def test_public_names_are_there_and_described() -> None:
    for name in vp.theory.__all__:
        assert getattr(vp.theory, name).__doc__


def test_results_say_what_they_are() -> None:
    texts = {
        repr(vp.theory.trajectory("tanh", 1.5, depth=3)): "Trajectory(tanh, layers 1 to 3",
        repr(vp.theory.critical("tanh", q=1.0)): "CriticalLine(tanh, 1 points, 1 stable)",
        repr(vp.theory.phase_grid("tanh", [1.0], [0.0, 0.1])): "PhaseGrid(tanh, 1 x 2 points)",
        repr(vp.theory.finite_width("relu", width=8, depth=2)): "FiniteWidth(relu, activation, exact: at layer 2",
        repr(vp.theory.fixed_point("tanh", 1.5)): "phase='chaotic'",
        repr(vp.theory.residual("relu", 2)): "Residual(relu, 2 blocks: stream 0 to 0.6021",
        repr(vp.theory.normalized("relu", depth=3)): "NormalizedStack(relu, layers 1 to 3: activation_factor 1,",
        repr(vp.theory.convolution("relu", 2, 4, padding="circular")): "Convolution(relu, layers 1 to 2: activation_f",
        repr(vp.theory.transformer("relu", 2, 2)): "Transformer(relu, 2 blocks: stream 0 to",
    }
    for text, part in texts.items():
        assert part in text and "\n" not in text
    assert isinstance(vp.theory.moments("tanh").mean, float) and not isinstance(vp.theory.moments("tanh").mean, np.ndarray)  # fmt: skip
