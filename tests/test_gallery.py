"""The gallery: every script short, through the public interface, its figures there, and its comparisons able to fail."""

import ast
from pathlib import Path

import numpy as np
import pytest
from gallery import ORDER, check, check_draws, page

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "scripts").glob("fig_*.py"))
PUBLIC = {"varprobe", "varprobe.plots", "varprobe.plots.style", "varprobe.plots.phase"}
"""Modules of the package that scripts and the gallery import from."""
PUBLIC |= {"varprobe.theory.phase_diagram", "varprobe.verdict.phase_measured"}
LARGEST = {"pdf": 200_000, "png": 300_000}


def imported(tree: ast.AST) -> set[str]:
    """Full names of all that a script imports, and of what it takes from `vp`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "vp":
            names.add(f"varprobe.{node.attr}")
    return names


def test_the_gallery_has_every_script() -> None:
    assert sorted(ORDER) == [path.stem.removeprefix("fig_") for path in SCRIPTS]


@pytest.mark.parametrize("path", [*SCRIPTS, ROOT / "scripts" / "gallery.py"], ids=lambda path: path.stem)
def test_scripts_use_what_is_public(path: Path) -> None:
    import varprobe as vp

    for name in imported(ast.parse(path.read_text())):
        if name.partition(".")[0] == "varprobe" and name != "varprobe":
            module, _, last = name.rpartition(".")
            assert module in PUBLIC and not last.startswith("_"), name
            assert module != "varprobe" or last in vp.__all__ or name in PUBLIC, name


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_figures_are_there_and_scripts_short(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) < 60
    assert "check" in source
    name = path.stem.removeprefix("fig_")
    assert ast.get_docstring(ast.parse(source)).startswith(f"figures/{name}: ")
    for kind, largest in LARGEST.items():
        assert 0 < (ROOT / "figures" / f"{name}.{kind}").stat().st_size < largest


def test_check_prints_and_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    check("factor", 0.5, 0.25, 0.3)
    assert capsys.readouterr().out == "factor: measured 0.5, published 0.25, deviation +0.25 (allowed 0.3)\n"
    with pytest.raises(AssertionError, match="factor"):
        check("factor", 0.5, 0.25, 0.2)
    with pytest.raises(AssertionError, match="factor"):
        check("factor", float("nan"), 0.25, 0.2)


def test_draws_are_compared_at_their_own_scatter() -> None:
    draws = np.random.default_rng(0).normal(1.0, 0.1, (16, 5))
    check_draws("right", draws, 1.0)
    with pytest.raises(AssertionError, match=r"wrong \(worst of 5\)"):
        check_draws("wrong", draws, [1.0, 1.0, 1.2, 1.0, 1.0])
    check_draws("known to be left out", draws, [1.0, 1.0, 1.2, 1.0, 1.0], slack=0.2)


def test_a_page_is_written_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("gallery.FIGURES", tmp_path)
    with page("tiny", 2, 2) as axes:
        axes[1, 1].plot([0, 1], [0, 1])
    assert [ax.get_title(loc="left") for ax in axes.flat] == ["(a)", "(b)", "(c)", "(d)"]
    assert (tmp_path / "tiny.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "tiny.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(RuntimeError), page("none"):
        raise RuntimeError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.pdf", "tiny.png"]
