"""How much memory there is."""

import os

__all__ = ["free_bytes"]


def free_bytes() -> int:
    """Bytes of memory that are free, or are the system's to give back."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
