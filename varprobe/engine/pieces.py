"""Parts of a group of nets: fewer nets at a time, or weights that are drawn again."""

from dataclasses import replace

from varprobe.engine.plain_groups import PlainGroup
from varprobe.engine.programs import AnyGroup
from varprobe.engine.wired.groups import WiredGroup
from varprobe.engine.wired.own import OwnGroup

__all__ = ["cut", "drawn_again", "net_count", "width_of"]


def net_count(group: AnyGroup) -> int:
    """How many nets a group computes."""
    if isinstance(group, OwnGroup):
        return 1
    return len(group.nets) if isinstance(group, WiredGroup) else sum(map(len, group.nets))


def width_of(group: AnyGroup) -> int:
    """Units of its widest layer."""
    if isinstance(group, OwnGroup):
        return group.program.width
    return max(max(s.fan_in, s.fan_out) for s in group.program.segments)


def drawn_again(group: AnyGroup) -> AnyGroup:
    """The group with weights that are not kept for the way back."""
    if isinstance(group, OwnGroup):
        return group
    return replace(group, program=replace(group.program, keep_weights=False))  # type: ignore[arg-type]


def cut(group: AnyGroup, size: int) -> list[AnyGroup]:
    """Chunks of at most so many nets, of one length each, the last filled up with nets that stand for nothing."""
    if isinstance(group, OwnGroup) or net_count(group) <= size:
        return [group]
    parts = wired_parts(group, size) if isinstance(group, WiredGroup) else plain_parts(group, size)
    return [part for part in parts if part.configs]  # a group that was cut before may be filled up


def slices(count: int, size: int) -> list[list[int]]:
    """Places 0 .. count - 1 in lists of one length, at most `size`; -1 fills up the last."""
    length = -(-count // -(-count // size))
    places = [*range(count), *[-1] * (-count % length)]
    return [places[start : start + length] for start in range(0, len(places), length)]


def plain_parts(group: PlainGroup, size: int) -> list[PlainGroup]:
    """Block by block."""
    parts = []
    for block, nets in zip(group.program.blocks, group.nets, strict=True):
        for places in slices(len(nets), size):
            chosen = tuple(nets[i] if i >= 0 else replace(nets[-1], members=[]) for i in places)
            bases = tuple(tuple(row[i] for i in places) for row in block.weights)
            means = tuple(m & set(row) for m, row in zip(group.program.with_mean, bases, strict=True))
            program = replace(group.program, blocks=(replace(block, weights=bases),), with_mean=means)
            parts.append(PlainGroup(program, (chosen,)))
    return parts


def wired_parts(group: WiredGroup, size: int) -> list[WiredGroup]:
    """Net by net."""
    parts, whole = [], group.program
    for places in slices(len(group.nets), size):
        weights = tuple(tuple(tuple(row[i] for i in places) for row in slots) for slots in whole.weights)
        means = tuple(
            tuple(m & set(row) for m, row in zip(*slots, strict=True))
            for slots in zip(whole.with_mean, weights, strict=True)
        )
        readout = tuple(whole.readout[i] for i in places) if whole.readout else ()
        program = replace(whole, weights=weights, with_mean=means, readout=readout)
        members = tuple(group.members[i] if i >= 0 else () for i in places)
        parts.append(WiredGroup(program, tuple(group.nets[i] for i in places), members))
    return parts
