"""The values along each axis of a sweep's grid, before they are multiplied out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from varprobe.errors import InvalidArgumentError
from varprobe.nets.architectures import Architecture, resolve_architecture
from varprobe.nets.config import ROLES
from varprobe.nets.initializers import STANDARD
from varprobe.spec.arguments import listed, named, numbers, single
from varprobe.spec.calls import Call
from varprobe.spec.shapes import Stacks, read_stacks
from varprobe.spec.user_code import is_block
from varprobe.sweeps.arguments import DEFAULTS, SweepArguments
from varprobe.sweeps.limits import check_count

__all__ = ["Grid", "named_parts", "read_grid"]

MOST_DROPPED = 0.999


@dataclass(frozen=True)
class Grid:
    """Values of a sweep's arguments.

    Attributes:
        lists: option -> its names, functions or variances, in the order in which they are resolved. Initializers of
            some layers or matrices are missing unless they were given.
        weight_option: `sigma_w2` if it was given, else `init`.
        bias_option: `sigma_b2` if it was given, else `bias`.
        archs: canonical name -> architecture.
        stacks: depths, widths and profiles.
        dropouts: fractions from 0 to below 1.
        batches: samples per batch.
        seeds: number of draws.
        root_seed: 0 to 2^32 - 1.
        input_width: features of a random input; None if it was not given.
    """

    lists: Mapping[str, list[Any]]
    weight_option: str
    bias_option: str
    archs: Mapping[str, Architecture]
    stacks: Stacks
    dropouts: list[float]
    batches: list[int]
    seeds: int
    root_seed: int
    input_width: int | None


def read_grid(given: SweepArguments) -> Grid:
    """Read the axes of a complete set of arguments, and refuse a grid that is too large.

    Raises:
        InvalidArgumentError: names the argument, its value, what is allowed, and the nearest right spelling.
    """
    weight_option, bias_option = option_of("init", "sigma_w2", given), option_of("bias", "sigma_b2", given)
    lists = read_lists(given, weight_option, bias_option)
    dropouts = numbers("dropout", given["dropout"], 0, MOST_DROPPED, integer=False)
    stacks = read_stacks(given["depth"], given["width"])
    archs = named_parts("arch", lists["arch"], resolve_architecture)
    if all(arch.own for arch in archs.values()):
        refuse_given(next(iter(archs)), given)
    batches = numbers("batch", given["batch"], 1)
    seeds = single("seeds", given["seeds"], 1)
    root_seed = single("root_seed", given["root_seed"], 0, 2**32 - 1)
    input_width = None if given["input_width"] is None else single("input_width", given["input_width"], 1)
    axes = {**lists, "batch": batches, "dropout": dropouts}
    check_count({name: len(values) for name, values in axes.items()}, stacks, seeds)
    return Grid(lists, weight_option, bias_option, archs, stacks, dropouts, batches, seeds, root_seed, input_width)


def option_of(option: str, short: str, given: SweepArguments) -> str:
    """The option that sets an initializer: `short`, which is a variance, if it was given, else `option`.

    Raises:
        InvalidArgumentError: both were given.
    """
    values = dict[str, Any](given)
    if values[short] is None:
        return option
    if values[option] != DEFAULTS[option]:
        what = {"init": "initializer"}.get(option, option)
        raise InvalidArgumentError(f"{values[short]!r} sets the {what}, as --{option} does; give one of the two", short)
    return short


def read_lists(given: SweepArguments, weight_option: str, bias_option: str) -> dict[str, list[Any]]:
    """Option -> names, functions or variances; the standard initializers if none were given."""
    values = dict[str, Any](given)
    if values["init"] is None:
        values["init"] = list(STANDARD)
    edges = [option for option in ("init_first", "init_last", *ROLES) if values[option] is not None]
    return {
        option: numbers(option, values[option], 0, integer=False)
        if option in ("sigma_w2", "sigma_b2")
        else listed(option, values[option])
        for option in ("act", weight_option, bias_option, *edges, "arch", "norm")
    }


def named_parts(option: str, wanted: list[Any], resolve: Callable[..., tuple[str, Any]]) -> dict[str, Any]:
    """Canonical call form, or label -> what it names, each once."""
    found: dict[str, Any] = {}
    for item in wanted:
        label, item = item if isinstance(item, tuple) else (None, item)
        if not isinstance(item, Call) and not (option == "arch" and is_block(item)):
            raise InvalidArgumentError(f"{item!r:.60} is not a name", option)
        name, part = named(option, partial(resolve, item, label=label))
        if found.setdefault(name, part) != part:
            raise InvalidArgumentError(
                f'two different blocks are called {name!r}; label them, as {{"Ours": block}}', option
            )
    return found


def refuse_given(block: str, given: SweepArguments) -> None:
    """Refuse options that do not apply to a user's own block; a loss has a readout, which `init_last` initializes."""
    last = ["init_last"] if given["loss"] == "cotangent" else []
    for option in ("init", "sigma_w2", "init_first", *last, "bias", "sigma_b2", "act"):
        if dict[str, Any](given)[option] != DEFAULTS[option]:
            raise InvalidArgumentError(f"{block} has its own; this option does not apply to it", option)
