"""Limits of the process under which jax would end it without a word, checked before jax is imported."""

from varprobe.errors import MachineError
from varprobe.storage.memory import memory_text

__all__ = ["require_limits"]

NEEDED = {"RLIMIT_AS": (1800 * 2**20, "address space", "ulimit -v"), "RLIMIT_STACK": (2**18, "stack", "ulimit -s")}
"""Limit -> (bytes that a small sweep takes on a CPU, what is limited, the command that sets it)."""


def require_limits() -> None:
    """Refuse to begin with less address space or stack than jax takes.

    Raises:
        MachineError: names the limit and what is needed.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, (least, what, command) in NEEDED.items():
        limit, _ = resource.getrlimit(getattr(resource, name))
        if limit != resource.RLIM_INFINITY and limit < least:
            text = f"out of memory: the limit on the {what} ({command}) is {memory_text(limit)}"
            raise MachineError(f"{text}, and jax takes {memory_text(least)}")
