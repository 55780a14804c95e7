"""How much memory there is: of the machine, of the container around the process, and of a budget that was asked for."""

import math
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from varprobe.errors import InvalidArgumentError

__all__ = [
    "LEAST",
    "SHARE",
    "device_free_bytes",
    "free_bytes",
    "machine_bytes",
    "memory_text",
    "read_memory",
    "resident_bytes",
]

SHARE = 0.8
"""Of the free memory, what a sweep takes where nothing is said."""

LEAST = 512 * 2**20
"""What Python, jax and one compiled program take: with less, nothing can be computed."""

UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}
AMOUNT = re.compile(r"(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*(?:([kmgtpe]?)(i?)b|([kmgtpe])|(%))?", re.IGNORECASE)
ALLOWED = "allowed: bytes such as 8e9, 500MB or 4GiB, or a share of the free memory such as 50%"
UNLIMITED = 2**60
"""A limit beyond this is none: cgroup v1 says almost 2^63."""


def memory_text(count: float) -> str:
    """Bytes for people."""
    if count < 2**20:
        return f"{count:.0f} byte{'s' if round(count) != 1 else ''}"
    if not count < 2.0**70:
        return f"10^{math.log10(count):.0f} bytes" if math.isfinite(count) else "more than 10^308 bytes"
    power = max(2, int(math.log2(max(count, 1)) // 10))
    return f"{count / 2 ** (10 * power):.3g} {('MiB', 'GiB', 'TiB', 'PiB', 'EiB')[power - 2]}"


def machine_bytes(root: Path = Path("/")) -> float:
    """What this process can have at most, whatever else runs: physical memory, or less where a limit says so.

    Infinity where the system does not say.
    """
    try:
        physical = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        physical = math.inf
    return min([physical, *(limit for limit, _ in cgroup_limits(root)), *(limit for limit, _ in process_limits())])


def free_bytes(root: Path = Path("/")) -> int:
    """What this process can still have without being killed or swapped out.

    The least of what the system calls available, what every cgroup around the process leaves (reclaimable file cache
    counts as free), and what limits on its address space and data leave. Where none of these is known, 0.

    Args:
        root: where `proc` and `sys` are found.
    """
    limits = [*cgroup_limits(root), *process_limits(root)]
    found = [limit - used for limit, used in limits]
    available = available_bytes(root)
    return max(0, int(min([*found, *([] if available is None else [available])], default=0)))


def available_bytes(root: Path) -> int | None:
    """What the system calls available; None where it does not say."""
    for line in lines_of(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    for pages in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"):
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf(pages)
        except (AttributeError, ValueError, OSError):
            continue
    return None


def cgroup_limits(root: Path) -> Iterator[tuple[int, int]]:
    """(limit, used) of every cgroup that holds the process and has a limit, versions 1 and 2."""
    for line in lines_of(root / "proc/self/cgroup"):
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controllers == "":
            top, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            top = root / "sys/fs/cgroup/memory"
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for count in range(len(parts), -1, -1):
            folder = top.joinpath(*parts[:count])
            limit, used = number_in(folder / names[0]), number_in(folder / names[1])
            if limit is not None and limit < UNLIMITED:
                yield limit, max(0, (used or 0) - reclaimable(folder, names[2]))


def reclaimable(folder: Path, name: str) -> int:
    """File cache that a cgroup gives up before anything is killed."""
    for line in lines_of(folder / "memory.stat"):
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdecimal():
            return int(value)
    return 0


def process_limits(root: Path = Path("/")) -> Iterator[tuple[int, int]]:
    """(limit, used) of this process's address space and data, where they are limited (`ulimit -v`, `-d`)."""
    if sys.platform == "win32":
        return
    import resource

    for kind, name in (("RLIMIT_AS", "VmSize"), ("RLIMIT_DATA", "VmData")):
        limit = resource.getrlimit(getattr(resource, kind))[0]
        if limit != resource.RLIM_INFINITY and limit < UNLIMITED:
            lines = [line.split() for line in lines_of(root / "proc/self/status") if line.startswith(f"{name}:")]
            yield limit, int(lines[0][1]) * 1024 if lines else 0


def lines_of(path: Path) -> list[str]:
    """The lines of a small file of the system's; none where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def number_in(path: Path) -> int | None:
    """The number that a file holds; None for `max`, and where there is none."""
    lines = lines_of(path)
    return int(lines[0]) if lines and lines[0].strip().isdecimal() else None


def resident_bytes(root: Path = Path("/")) -> int:
    """What this process holds now; 0 where the system does not say."""
    lines = [line.split() for line in lines_of(root / "proc/self/status") if line.startswith("VmRSS:")]
    return int(lines[0][1]) * 1024 if lines else 0


def device_free_bytes(device: Any) -> int | None:
    """What an accelerator still has; None for a CPU, whose memory is the machine's, and where it does not say."""
    stats = device.memory_stats() or {} if device.platform != "cpu" else {}
    limit = stats.get("bytes_limit") or stats.get("bytes_reservable_limit")
    return None if limit is None else max(0, int(limit) - int(stats.get("bytes_in_use", 0)))


def read_memory(text: str | float | None, free: int | None = None) -> int:
    """Bytes from "4GiB", "500MB", "8e9", "50%" (of what is free) or a number; without any, SHARE of what is free.

    Args:
        text: as given.
        free: what is free; found out where it is not given.

    Raises:
        InvalidArgumentError: it is not an amount, it is less than LEAST, or more than there is.
    """
    free = free_bytes() if free is None else free
    amount = SHARE * free if text is None else amount_of(text, free)
    if amount < LEAST:
        raise InvalidArgumentError(
            f"{'what is free' if text is None else repr(text)} is {memory_text(amount)}; the least is "
            f"{memory_text(LEAST)}, which Python, jax and one compiled program take",
            "memory",
        )
    if amount > machine_bytes():
        raise InvalidArgumentError(f"{text!r} is more than this machine has, {memory_text(machine_bytes())}", "memory")
    return int(amount)


def amount_of(text: str | float, free: int) -> float:
    """The number of bytes that a text names."""
    if isinstance(text, bool) or not (found := AMOUNT.fullmatch(str(text).strip())):
        raise InvalidArgumentError(f"{text!r} is not an amount of memory; {ALLOWED}", "memory")
    digits, power, prefix, binary, bare, percent = found.groups()
    number = float(digits + (power or ""))
    if percent:
        if not 0 < number <= 100:
            raise InvalidArgumentError(f"{text!r} is not a share between 0 and 100%; {ALLOWED}", "memory")
        return number / 100 * free
    return number * (1024 if binary or bare else 1000) ** UNITS[(prefix or bare or "").lower()]
