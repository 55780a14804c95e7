"""What a request would take of the machine, before anything of that size is made."""

import itertools
import math
from collections.abc import Mapping, Sequence

from varprobe.errors import InvalidArgumentError
from varprobe.spec.shapes import Stacks
from varprobe.storage.memory import machine_bytes, memory_text

__all__ = ["PLANNED", "check_count", "check_shapes", "product"]

ITEMSIZE = {"float64": 8}
VARIABLES = 25
"""Numbers that a layer of one net and seed leaves behind."""

LARGEST_RESULTS = 2.0**50
"""Bytes of results that a disk might hold: they need not fit into memory."""

PLANNED = 500
"""Bytes that the plan of a sweep keeps for a layer of a configuration."""


def product(numbers: Sequence[int]) -> float:
    """The product as a float, infinite where it is beyond float64."""
    return math.prod(map(float, numbers))


def check_count(counts: Mapping[str, int], stacks: Stacks, seeds: int) -> None:
    """Refuse a grid whose plan this machine cannot hold, or whose results no disk can, before it is multiplied out.

    Args:
        counts: option -> how many values it names, without --depth and --width.
        stacks: the values of these two.
        seeds: how many of each.

    Raises:
        InvalidArgumentError: says how many configurations there would be, and names the option with the most values.
    """
    layers, have = product([*counts.values(), stacks.layers]), machine_bytes()
    results = layers * seeds * float(VARIABLES * 8 * 2)
    if layers * PLANNED <= have and results <= LARGEST_RESULTS:
        return
    need = results + layers * PLANNED
    everything = {
        **counts,
        "depth": len(stacks.depths) or 1,
        "width": len(stacks.widths) + len(stacks.profiles),
    }
    configs = product([*counts.values(), stacks.total])
    several = [f"{n} of --{name.replace('_', '-')}" for name, n in everything.items() if n > 1]
    text = f"{configs:.6g} configuration{'' if configs == 1 else 's'}"
    if len(several) > 1:
        text += f" ({' x '.join(several)})"
    sizes = {**everything, "seeds": seeds}
    deepest = max(stacks.depths, default=0)
    if max(sizes.values()) < deepest:
        option, text = "depth", f"{text} of up to {deepest} layers"
    else:
        option = max(sizes, key=lambda name: sizes[name])
    raise InvalidArgumentError(
        f"{text} with {seeds} seed{'s' if seeds > 1 else ''} make{'s' if configs == 1 else ''} {memory_text(need)} of "
        f"results; this machine has {memory_text(have)}",
        option,
    )


def check_shapes(
    shapes: Sequence[tuple[int | str, tuple[int, ...]]],
    inputs: int | None,
    outputs: int,
    batches: Sequence[int],
    dtype: str,
    positions: int = 1,
    taps: int = 1,
) -> None:
    """Refuse a net that cannot fit this machine, saying what it would take and which option is to blame.

    Args:
        shapes: (width as given, widths of layers 1..L).
        inputs: width of the data; None where that is layer 1's.
        outputs: units of the read-out, 0 without one.
        batches: the batch sizes.
        dtype: of weights and signals.
        positions: of a sample, each of which has all units.
        taps: rows of a weight matrix for each unit before it.

    Raises:
        InvalidArgumentError: names --width, --depth, --batch, --input-width, --labels or --arch, whichever is
            farthest from ordinary.
    """
    have, itemsize = machine_bytes(), ITEMSIZE.get(dtype, 4)
    batch = max(batches)
    for width, widths in shapes:
        first = inputs or widths[0]
        matrices = {"input_width": (first * taps, widths[0]), "labels": (widths[-1], outputs)}
        widest = max(itertools.pairwise(widths), key=lambda pair: float(pair[0]) * pair[1], default=(1, 1))
        for option, (fan_in, fan_out) in {**matrices, "width": (widest[0] * taps, widest[1])}.items():
            need = float(fan_in) * fan_out * itemsize * 4
            if need > have:
                blame = "width" if max(widths) >= max(first, outputs) else option
                raise InvalidArgumentError(
                    f"a weight matrix of {fan_in} x {fan_out} needs about {memory_text(need)} of memory to work with; "
                    f"this machine has {memory_text(have)}",
                    blame,
                )
        need = float(first + sum(widths)) * batch * itemsize * 2 * positions
        if need > have:
            usual = {"batch": batch / 32, "depth": len(widths) / 50, "width": max(widths) / 512}
            usual |= {"arch": positions / 256}
            where = f", {positions} positions" if positions > 1 else ""
            raise InvalidArgumentError(
                f"width {width}, depth {len(widths)}, batch {batch}{where} needs about {memory_text(need)} of memory; "
                f"this machine has {memory_text(have)}",
                max(usual, key=lambda name: usual[name]),
            )
