"""Which engine computes a configuration: the plain stack's own, that of every architecture, or that of the user's."""

from varprobe.activations import Activation, Behavior, behavior
from varprobe.configs import Config, Setting
from varprobe.engine import Chunk, plain_chunks
from varprobe.wired.chunks import WiredChunk, is_wired, wired_chunks
from varprobe.wired.own import OwnChunk, own_chunks

__all__ = ["chunks_of"]


def chunks_of(configs: list[Config], setting: Setting) -> list[Chunk | WiredChunk | OwnChunk]:
    """Programs that compute every configuration once."""
    behaviors: dict[Activation, Behavior] = {act: behavior(act) for act in dict.fromkeys(c.act for c in configs)}
    own = [(i, c) for i, c in enumerate(configs) if c.arch.own]
    plain = [(i, c) for i, c in enumerate(configs) if not c.arch.own and not is_wired(c)]
    wired = [(i, c) for i, c in enumerate(configs) if not c.arch.own and is_wired(c)]
    return [
        *plain_chunks(plain, setting, behaviors),
        *wired_chunks(wired, setting, behaviors),
        *own_chunks(own, setting),
    ]
