"""Which engine computes a configuration: the plain stack's own, that of every architecture, or that of the user's."""

import math

from varprobe.engine.plain_groups import PlainGroup, plain_groups
from varprobe.engine.wired.groups import WiredGroup, is_wired, wired_groups
from varprobe.engine.wired.own import OwnGroup, own_groups
from varprobe.nets.activations import Activation, Asymptotics, behavior
from varprobe.nets.config import Config, SweepSettings

__all__ = ["groups_of", "work_of"]

EACH_WAY = 4.0
"""Operations for a weight and a row: a product forward and one back."""

DRAWN = 100.0
"""Operations that draw a weight."""


def groups_of(configs: list[Config], setting: SweepSettings) -> list[PlainGroup | WiredGroup | OwnGroup]:
    """Programs that compute every configuration once."""
    behaviors: dict[Activation, Asymptotics] = {act: behavior(act) for act in dict.fromkeys(c.act for c in configs)}
    own = [(i, c) for i, c in enumerate(configs) if c.arch.own]
    plain = [(i, c) for i, c in enumerate(configs) if not c.arch.own and not is_wired(c)]
    wired = [(i, c) for i, c in enumerate(configs) if not c.arch.own and is_wired(c)]
    return [
        *plain_groups(plain, setting, behaviors),
        *wired_groups(wired, setting, behaviors),
        *own_groups(own, setting),
    ]


def work_of(group: PlainGroup | WiredGroup | OwnGroup) -> float:
    """Operations of one seed, roughly: what tells large groups from small ones."""
    program = group.program
    if isinstance(group, OwnGroup):
        return EACH_WAY * float(program.batch) * group.program.width**2 * program.depth
    if isinstance(group, WiredGroup):
        wired = group.program
        shapes = [[(slot.fan_in, slot.fan_out) for slot in wired.slots(i)] for i in range(len(wired.segments))]
        rows = wired.batch * math.prod(wired.output_shape) // wired.segments[-1].fan_out
        nets = wired.nets
    else:
        plain = group.program
        shapes, rows, nets = [[(s.fan_in, s.fan_out)] for s in plain.segments], plain.batch, sum(map(len, group.nets))
    matrices = sum(
        s.count * math.prod(map(float, fans))
        for s, some in zip(program.segments, shapes, strict=True)  # type: ignore[union-attr]
        for fans in some
    )
    return matrices * (EACH_WAY * rows * nets + DRAWN)
