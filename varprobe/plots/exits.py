"""Arrows where curves leave the axes, with the value that they end at, and marks where a signal becomes zero."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.transforms import Bbox, BboxBase

from varprobe.plots.labels import text_size
from varprobe.plots.layout import figure_of, pixels, scaled
from varprobe.plots.logaxis import as_power
from varprobe.plots.panel import Panel
from varprobe.plots.style import LINE_WIDTH, NOTE_SIZE, ground, sized, usetex

__all__ = ["crossing", "draw_exits", "end_note"]

GAP = 2.5
"""Points between an arrow and its note, and between notes."""
ARROW = 8.0
"""Length of an arrow in points."""


def end_note(panel: Panel, group: int) -> str:
    """What became of the curves beyond the axes: `10^97 at layer 50`, `0 at layer 12`."""
    curve = panel.curves[group][0]
    if curve.lost or curve.end is None:
        return str(curve.lost)
    return f"{as_power(curve.end[1])} at {curve.place} {curve.end[0]}"


def draw_exits(panel: Panel, outermost_only: bool = False) -> None:
    """Mark all curves of the panel that leave it; `outermost_only` writes one note a side, beside a colorbar."""
    point = pixels(panel.ax)
    gone = [g for g, curves in enumerate(panel.curves) if curves[0].traced and panel.leaves(g)]
    gone.sort(key=lambda g: -abs(panel.end(g)[1]))
    tips = {g: draw_loss(panel, g) if panel.curves[g][0].lost else draw_arrow(panel, g, point) for g in gone}
    taken = [Bbox.from_extents(*(tip - 3 * point), *(tip + 3 * point)) for tip in tips.values()]
    paths = np.concatenate([np.empty((0, 2)), *(panel.path(c) for curves in panel.curves for c in curves)])
    paths = np.unique(np.round(paths / point), axis=0) * point  # as fine as the eye, and few
    noted: set[int] = set()
    for g in gone:
        side = panel.leaves(g)
        if not (outermost_only and side in noted):
            note = write_note(panel, g, tips, paths, taken)
            taken += [note] if note else []
            noted.add(side)


def draw_arrow(panel: Panel, group: int, point: float) -> Float[np.ndarray, "2"]:
    """Draw the arrow along the last stretch of the curve inside the axes, and return its tip in pixels."""
    ax, curve, side = panel.ax, panel.curves[group][0], panel.leaves(group)
    path = panel.path(curve)
    border = ax.bbox.y1 if side > 0 else ax.bbox.y0
    if len(path):
        tip = path[-1]
        tail = path[np.flatnonzero(np.hypot(*(path - tip).T) >= ARROW * point)[-1:]]
        tail = tail[0] if len(tail) else path[0]
    else:
        tip = np.array([ax.transData.transform((curve.layer[curve.drawn[0]], 0))[0], border])
        tail = tip
    if np.allclose(tip, tail):
        tail = tip - np.array([0, side * ARROW * point])
    place = ax.transAxes.inverted()
    ax.annotate(
        "",
        xy=tuple(place.transform((tip[0], border))),
        xytext=tuple(place.transform(tail)),
        xycoords="axes fraction",
        textcoords="axes fraction",
        arrowprops={
            "arrowstyle": "-|>,head_length=0.5,head_width=0.25",
            "mutation_scale": 8,
            "shrinkA": 0,
            "shrinkB": 0,
            "linewidth": sized(LINE_WIDTH),
            "color": panel.groups[group].look.color,
        },
        annotation_clip=False,
        zorder=3,
        gid="exit",
    )
    return tip


def draw_loss(panel: Panel, group: int) -> Float[np.ndarray, "2"]:
    """Draw a cross on the border at the layer where the signal is lost, and return where in pixels."""
    ax, curve, color = panel.ax, panel.curves[group][0], panel.groups[group].look.color
    assert curve.lost is not None
    border = 1.0 if curve.lost.infinite else 0.0
    if curve.end:
        x = [curve.end[0], curve.lost.layer]
        ax.plot(x, [curve.end[1], ax.get_ylim()[int(border)]], color=color, linewidth=0.8, linestyle=":", gid="loss")
    ax.plot(
        [curve.lost.layer],
        [border],
        transform=ax.get_xaxis_transform(),
        color=color,
        marker="X",
        markersize=5,
        markeredgewidth=0.4,
        markeredgecolor=ground(),
        clip_on=False,
        zorder=4,
        gid="loss",
    )
    return np.array([ax.transData.transform((curve.lost.layer, 0))[0], ax.bbox.y1 if border else ax.bbox.y0])


def write_note(
    panel: Panel,
    group: int,
    tips: Mapping[int, Float[np.ndarray, "2"]],
    paths: Float[np.ndarray, "points 2"],
    taken: list[Bbox],
) -> Bbox | None:
    """Write the end value near the arrow where it covers the least of the curves, and return the room it takes.

    Covering a point's length of curve costs as much as standing four points farther from the arrow, and standing
    nearer to another arrow than to its own as much as seven. Where no place is free of other notes there is no
    note: an arrow without one beats two that nobody can read.
    """
    ax, text, size = panel.ax, end_note(panel, group), scaled(panel.ax, NOTE_SIZE)
    point = pixels(ax)
    found: list[tuple[float, str, Bbox]] = []
    for words, dislike in ((text, 0.0), (text.replace(" at ", "\nat "), 6.0)):
        width, height = (length * point for length in text_size(figure_of(ax), words, size))
        rooms = places(tips[group], panel.leaves(group), ax.bbox, width, height, GAP * point)
        wide = rooms + GAP / 2 * point * np.array([-1, -1, 1, 1])
        written = np.array([other.extents for other in taken]).reshape(-1, 4)
        rooms, wide = (spots[~crossing(wide, written).any(axis=1)] for spots in (rooms, wide))
        if not len(rooms):
            continue
        covered = crossing(wide, np.tile(paths, 2)).sum(axis=1)
        reach = distance(rooms, tips[group]) / point
        others = [distance(rooms, tip) / point for g, tip in tips.items() if g != group]
        nearer = np.any([other < reach - 2 * GAP for other in others], axis=0)
        cost = 8.0 * covered + 2.0 * reach + 14.0 * nearer + dislike
        found.append((float(cost.min()), words, Bbox.from_extents(*rooms[cost.argmin()])))
    if not found:
        return None
    _, words, room = min(found, key=lambda spot: spot[0])
    x, y = ax.transAxes.inverted().transform(((room.x0 + room.x1) / 2, (room.y0 + room.y1) / 2))
    ax.text(
        x,
        y,
        words,
        transform=ax.transAxes,
        color=panel.groups[group].look.ink,
        fontsize=size,
        linespacing=1.05,
        horizontalalignment="center",
        verticalalignment="center",
        usetex=usetex(),
        zorder=5,
        gid="note",
    )
    return room


def places(
    tip: Float[np.ndarray, "2"], side: int, box: BboxBase, width: float, height: float, gap: float
) -> Float[np.ndarray, "places 4"]:
    """Where a note may stand in the box: x0, y0, x1, y1 of places on both sides of the tip, from the border inward."""
    rows, steps = np.meshgrid(np.arange(14), np.arange(18))
    border = box.y1 if side > 0 else box.y0
    y = (border - height / 2 - side * (gap + height / 2 + 1.5 * rows * gap)).ravel()
    away = ((steps + 2) * gap).ravel()
    x = np.clip(np.concatenate([tip[0] + away, tip[0] - away - width]), box.x0 + gap / 2, box.x1 - width - gap / 2)
    y = np.concatenate([y, y])
    inside = (x >= box.x0) & (y >= box.y0) & (y <= box.y1 - height)
    return np.column_stack([x, y, x + width, y + height])[inside]


def distance(rooms: Float[np.ndarray, "places 4"], tip: Float[np.ndarray, "2"]) -> Float[np.ndarray, " places"]:
    """How far the middle line of each place is from a point."""
    aside = np.maximum(np.maximum(rooms[:, 0] - tip[0], tip[0] - rooms[:, 2]), 0.0)
    return np.hypot(aside, (rooms[:, 1] + rooms[:, 3]) / 2 - tip[1])


def crossing(some: Float[np.ndarray, "n 4"], others: Float[np.ndarray, "m 4"]) -> Bool[np.ndarray, "n m"]:
    """Which boxes overlap which; a point is a box without extent."""
    a, b = some[:, None], others[None]
    return np.all((a[..., :2] <= b[..., 2:]) & (b[..., :2] <= a[..., 2:]), axis=-1)
