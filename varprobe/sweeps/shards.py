"""Shares of a sweep, for job arrays: `--shard 3/100` is the third of a hundred, each to be run on its own."""

import re
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

from varprobe.errors import InvalidArgumentError

__all__ = ["Shard", "read_shard", "share"]

Thing = TypeVar("Thing")
FORM = re.compile(r"(\d{1,9})/(\d{1,9})")


class Shard(NamedTuple):
    """Share `number`, from 1, of `shares`."""

    number: int
    shares: int

    def __str__(self) -> str:
        return f"{self.number}/{self.shares}"


def read_shard(text: Any) -> Shard:
    """The share that a text such as "3/100" means.

    Raises:
        InvalidArgumentError: it means none.
    """
    found = FORM.fullmatch(text.strip()) if isinstance(text, str) else None
    if not found:
        raise InvalidArgumentError(f"{text!r} is not of the form I/N, such as 3/100", "shard")
    shard = Shard(int(found[1]), int(found[2]))
    if not 1 <= shard.number <= shard.shares:
        allowed = f"1/{shard.shares} to {shard.shares}/{shard.shares}" if shard.shares else "I/N with N from 1"
        raise InvalidArgumentError(f"{text!r} is no share (allowed: {allowed})", "shard")
    return shard


def share(things: Sequence[Thing], shard: Shard | None, work: Callable[[Thing], float]) -> list[Thing]:
    """The things of a share: of as much work as every other, to within a thing, and the largest together.

    A thing is in one share only, and the same one wherever this is computed.
    """
    if shard is None or not things:
        return list(things)
    sizes = [work(thing) for thing in things]
    ordered = sorted(range(len(things)), key=lambda i: (-sizes[i], i))
    ends = list(accumulate(sizes[i] for i in ordered))
    places = [(end - sizes[i] / 2) / ends[-1] * shard.shares for end, i in zip(ends, ordered, strict=True)]
    return [things[i] for i, place in zip(ordered, places, strict=True) if int(place) == shard.number - 1]
