"""The figure of a phase diagram: its artists, its scales, and names that stand free of each other."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import varprobe as vp
from varprobe.plots.flags import SIDES, hang
from varprobe.plots.phase import phase_figure, shortened
from varprobe.plots.phase_scales import SCALES
from varprobe.plots.regions import roomiest
from varprobe.theory.phase_diagram import Diagram, phase_diagram
from varprobe.verdict.phase_measured import Measured


def artists(ax: Any, gid: str) -> list[Any]:
    return [artist for artist in ax.get_children() if artist.get_gid() == gid]


def measured_like(diagram: Diagram) -> Measured:
    plane = diagram.grid.chi_1
    return Measured(plane * 1.02, plane, 50, 256, 2, (25, 50))


@pytest.fixture(scope="module")
def diagrams() -> dict[str, Diagram]:
    return {act: phase_diagram(act, count=20) for act in ("tanh", "relu", "gelu", "softplus", "sigmoid")}


@pytest.fixture(scope="module")
def figures(diagrams: dict[str, Diagram]) -> dict[str, Any]:
    small = (3.2, 2.6)
    singles = {act: phase_figure(diagrams[act], size=small if act == "gelu" else None) for act in diagrams}
    return singles | {"two": phase_figure(diagrams["tanh"], measured_like(diagrams["tanh"]))}


def test_the_line_and_the_points(diagrams: dict[str, Diagram], figures: dict[str, Any]) -> None:
    diagram, ax = diagrams["tanh"], figures["tanh"].axes[0]
    (line,) = artists(ax, "critical")
    assert np.array_equal(line.get_xydata(), np.column_stack([diagram.line.sigma_w2, diagram.line.sigma_b2]))
    assert not artists(ax, "unstable")
    marks = artists(ax, "initializer")
    assert [mark.get_marker() for mark in marks] == ["<", "o", "o", "o", ">"]
    inverse = ax.transData.inverted()
    for mark, value in zip(marks[1:4], (1 / 3, 1, 2), strict=True):
        at = inverse.transform(mark.get_transform().transform(mark.get_xydata())[0])
        assert at == pytest.approx([value, 0], abs=1e-6)
    (plane,) = artists(ax, "plane")
    assert np.array_equal(np.asarray(plane.get_array()).T, np.clip(diagram.grid.chi_1, *plane.get_clim()))
    low, high = plane.get_clim()
    assert low * high == pytest.approx(1)
    assert [text.get_text() for text in artists(ax, "region")] == ["ordered", "chaotic"]


def test_unstable_missing_and_single(figures: dict[str, Any]) -> None:
    axes = {act: figures[act].axes[0] for act in ("gelu", "softplus", "relu")}
    words = {act: [text.get_text() for text in ax.get_legend().get_texts()] for act, ax in axes.items()}
    assert words["gelu"] == [r"$\chi_1 = 1$", r"$\chi_1 = 1$, unstable"]
    (dashed,) = artists(axes["gelu"], "unstable")
    assert dashed.is_dashed() and dashed.get_xdata()[0] == pytest.approx(4, rel=1e-12)
    assert words["softplus"] == ["no critical line"] and not artists(axes["softplus"], "critical")
    assert words["relu"] == [r"$\chi_1 = 1$, one point"]
    (point,) = artists(axes["relu"], "critical")
    assert point.get_xydata()[0] == pytest.approx([2, 0], abs=1e-12)
    assert all(artists(ax, "grows") for ax in axes.values())


def test_a_region_word_stands_in_its_region(diagrams: dict[str, Diagram], figures: dict[str, Any]) -> None:
    for act, diagram in diagrams.items():
        ax = figures[act].axes[0]
        words = artists(ax, "region")
        assert words
        for text in words:
            box = text.get_window_extent()
            for corner in itertools.product((box.x0, box.x1), (box.y0, box.y1)):
                w, b = ax.transData.inverted().transform(corner)
                i = np.abs(diagram.grid.sigma_w2 - w).argmin()
                j = np.abs(diagram.grid.sigma_b2 - b).argmin()
                assert diagram.grid.phase[i, j] == text.get_text().replace("\n", " ")


def test_names_stand_free(figures: dict[str, Any]) -> None:
    for figure in figures.values():
        panels = [ax for ax in figure.axes if artists(ax, "plane")]
        for ax in panels:
            names = artists(ax, "name")
            assert len(names) == len(artists(ax, "initializer")) >= 4
            boxes = [text.get_window_extent() for text in [*names, *artists(ax, "region")]]
            for box in boxes:
                assert box.x0 >= ax.bbox.x0 and box.x1 <= ax.bbox.x1
                assert box.y0 >= ax.bbox.y0 - 1 and box.y1 <= ax.bbox.y1
            for one, other in itertools.combinations(boxes, 2):
                assert (
                    min(one.x1, other.x1) <= max(one.x0, other.x0) or min(one.y1, other.y1) - max(one.y0, other.y0) < 1
                )
            zero = ax.transData.transform((ax.get_xlim()[1], 0))[1]
            assert all(text.get_window_extent().y1 < zero for text in names)
            title, legend = ax._left_title, ax.get_legend()
            if legend:
                assert not title.get_window_extent().overlaps(legend.get_window_extent())


def test_two_panels_share_one_scale(figures: dict[str, Any]) -> None:
    panels = [ax for ax in figures["two"].axes if artists(ax, "plane")]
    assert [ax.get_title(loc="left") for ax in panels] == ["tanh: predicted, depth 50", "measured, width 256, 2 seeds"]
    first, second = (artists(ax, "plane")[0] for ax in panels)
    assert first.norm is second.norm
    assert all(artists(ax, "critical") for ax in panels)


def test_scales() -> None:
    grid = phase_diagram("tanh", "0.5:3:8", "0:1:8").grid
    norm, ticks = SCALES["xi"].norm([SCALES["xi"].of(grid)])
    assert norm.vmin == 1 and ticks[0] == 1 and ticks[-1] == norm.vmax
    for top in (1.1, 4.0, 7.0, 1e9):
        norm, ticks = SCALES["chi_1"].norm([np.array([[0.9, np.nan], [1.0, top]])])
        assert norm.vmin * norm.vmax == pytest.approx(1) and 1 in ticks
        assert norm.vmin <= min(ticks) and max(ticks) <= norm.vmax and (norm.vmax >= top or norm.vmax == 100)


def test_python_function(diagrams: dict[str, Diagram]) -> None:
    from matplotlib import pyplot

    figure, ax = pyplot.subplots()
    try:
        same = vp.plot_phase("relu", sigma_w2="0.5:3:5", sigma_b2="0:1:4", show="xi", ax=ax)
        assert same is ax and ax.get_xlim() == (0.5, 3)
        other = vp.plot_phase("relu", sigma_w2=[0.5, 1, 2], sigma_b2=[0.1, 1])
        assert not artists(other, "initializer") and other.get_ylim() == (0.1, 1)  # sigma_b2 = 0 is not there
        with pytest.raises(vp.InvalidArgumentError, match="unknown quantity 'chi'"):
            vp.plot_phase("relu", show="chi")
    finally:
        pyplot.close("all")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 200), min_size=1, max_size=6).map(sorted),
    st.lists(st.floats(5, 150), min_size=6, max_size=6),
)
def test_flags_do_not_meet(x: list[float], widths: list[float]) -> None:
    flags = hang(x, widths[: len(x)], 200.0)
    if flags is None:
        return
    boxes = []
    for at, wide, flag in zip(x, widths, flags, strict=False):
        left = flag.at - SIDES[flag.align] * wide
        assert left >= 0 and left + wide <= 200
        boxes.append((left, left + wide, flag.level))
        assert left - 5.1 <= at <= left + wide + 5.1
    for i, j in itertools.permutations(range(len(x)), 2):
        (a, b, level), (c, d, other) = boxes[i], boxes[j]
        assert level != other or b <= c or d <= a
        if a < x[j] < b:  # the pole of j ends above the name of i
            assert other < level


def test_the_roomiest_place() -> None:
    free = np.zeros((60, 40), dtype=bool)
    free[30:56, 5:30] = True
    which, (x, y) = roomiest(free, [(30.0, 5.0), (14.0, 9.0)]) or (None, (0, 0))
    assert which == 1
    assert free[int(x - 10) : int(x + 10), int(y - 7.5) : int(y + 7.5)].all()
    assert roomiest(free, [(100.0, 5.0)]) is None


def test_shortened() -> None:
    assert shortened("tanh", 8) == "tanh"
    assert shortened("abcdefghij", 7) == "abc\u2026hij"
