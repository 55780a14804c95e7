"""The shapes of stacks: --depth times --width, and profiles such as 784-512-256, which fix their own depth."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from varprobe.errors import InvalidArgumentError
from varprobe.spec.arguments import named, numbers
from varprobe.spec.calls import split_items
from varprobe.spec.serialize import MOST_NESTED

__all__ = ["Stacks", "read_stacks"]


class Stacks(NamedTuple):
    """The shapes that --depth and --width ask for, not yet multiplied out: profiles, and depths times widths."""

    profiles: Sequence[tuple[int, ...]]
    depths: Sequence[int]
    widths: Sequence[int]

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.profiles) + len(self.depths) * len(self.widths)

    @property
    def layers(self) -> int:
        """How many layers all of them have, inputs included."""
        plain = sum(self.depths) + len(self.depths)
        return sum(len(p) + 1 for p in self.profiles) + len(self.widths) * plain

    def expanded(self) -> list[tuple[int | str, tuple[int, ...]]]:
        """(width as given, widths of layers 1..L) of each."""
        named = [("-".join(map(str, p)), p) for p in self.profiles]
        return [*named, *((w, (w,) * d) for d in self.depths for w in self.widths)]


def read_stacks(depth: Any, width: Any) -> Stacks:
    """The stacks' shapes; a profile such as 784-512-256 fixes its own depth."""
    parts = named("width", lambda: list(width_items(width)))
    texts = [part.strip() for part in parts if is_profile(part)]
    plain = [part for part in parts if not is_profile(part)]
    profiles = {}
    for text in texts:
        pieces = [piece.strip() for piece in text.split("-")]
        if not all(piece.isdecimal() and int(piece) > 0 for piece in pieces):
            raise InvalidArgumentError(
                f"{text!r} is not a profile of whole numbers from 1, such as 784-512-256", "width"
            )
        profiles[tuple(map(int, pieces))] = text
    depths = numbers("depth", 50 if depth is None else depth, 1)
    for profile, text in profiles.items():
        if depth is not None and depths != [len(profile)]:
            raise InvalidArgumentError(
                f"{depth} does not fit the profile {text} of --width, which has depth {len(profile)}", "depth"
            )
    widths = numbers("width", plain, 1) if plain or not profiles else []
    return Stacks(list(profiles), depths if widths else [], widths)


def width_items(value: Any, depth: int = 0) -> Iterator[Any]:
    """Numbers, and texts that hold one number, range or profile each."""
    if depth > MOST_NESTED:
        raise InvalidArgumentError(f"takes lists that are nested {MOST_NESTED} deep at most", "width")
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, str):
        yield from split_items(value)
    elif isinstance(value, list | tuple | range):
        for item in value:
            yield from width_items(item, depth + 1)
    else:
        yield value


def is_profile(part: Any) -> bool:
    """Whether a value of --width is several widths joined by `-`, rather than a number such as 1e-3 or -5."""
    if not isinstance(part, str) or "-" not in part.strip()[1:] or ":" in part:
        return False
    try:
        float(part)
    except ValueError:
        return True
    return False
