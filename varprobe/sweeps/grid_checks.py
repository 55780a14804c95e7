"""Refuse grids that make no sense: initializers without a value at a matrix, norms without a variance."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.nets.architectures import Architecture, Own, WeightSpec
from varprobe.nets.config import ROLES, Config, place_of
from varprobe.nets.data import Source
from varprobe.nets.initializers import Initializer, LayerContext
from varprobe.spec.arguments import named
from varprobe.sweeps.user_checks import is_custom, try_block, try_initializer

__all__ = ["check_networks", "check_places", "check_range", "check_roles"]


def check_roles(archs: Mapping[str, Architecture], wanted: Iterable[str]) -> None:
    """Refuse an option for matrices that an architecture does not have.

    Raises:
        InvalidArgumentError: says which architectures have them.
    """
    for option in (name for name in ROLES if name in wanted):
        for text, arch in archs.items():
            if option not in {f"init_{slot.role}" for slot in arch.slots(1, 1)}:
                raise InvalidArgumentError(f"{text} has no such matrices; transformer has them", option)


def check_networks(configs: Sequence[Config], options: tuple[str, str], dtype: str) -> None:
    """Refuse networks that make no sense, or whose initializers have no value at some matrix.

    Args:
        configs: all of them; what they share is checked once.
        options: those of the weights and of the biases.
        dtype: of signals.

    Raises:
        InvalidArgumentError: says which option, and why.
    """
    seen: set[object] = set()
    for c in configs:
        parts = c.arch_name, c.norm_name, c.widths, c.batch
        if parts not in seen:
            seen.add(parts)
            if c.norm and (why := norm_refusal(c)):
                raise InvalidArgumentError(f"{c.norm_name}: {why}", "norm")
            if c.arch.stream and len(set(c.widths)) > 1:
                raise InvalidArgumentError(
                    f"{c.width}: every block of {c.arch_name} keeps the width of its input", "width"
                )
            if why := c.arch.refusal(c):
                raise InvalidArgumentError(f"{c.arch_name}: {why}", "arch")
            if isinstance(c.arch, Own):
                named("arch", partial(try_block, c.arch, c.arch_name, c.widths[-1], c.depth, c.batch, dtype))
            for layer in c.drawn_layers:
                named("arch", partial(c.arch.numbers, c.place(layer)))
                named(options[0] if c.init.residual else "arch", partial(c.numbers, layer))
        check_branches(c, options[0])
        check_laws(c, options[0], seen)
        key = (c.arch_name, c.widths, c.init.name, c.bias.name, c.init_first, c.init_last, c.roles)
        if c.arch_name == "plain" or key in seen:
            continue
        seen.add(key)
        for layer in c.drawn_layers:
            for i, slot in enumerate(c.slots(layer)):
                role, place = f"init_{slot.role}", c.place(layer, slot=i)
                weights = (role if role in dict(c.roles) else options[0], c.initializer(layer, i), place, place[:2])
                for option, init, at, shape in (weights, (options[1], c.bias, place._replace(bias=True), place[1:2])):
                    check_values(option, init, [at])
                    if is_custom(init) and (init, shape) not in seen:
                        seen.add((init, shape))
                        named(option, partial(try_initializer, init, shape, at, in_earnest=True))


def check_branches(c: Config, option: str) -> None:
    """Refuse initializers of residual branches where there are none."""
    for name, init in ((option, c.init), ("init_first", c.init_first), ("init_last", c.init_last), *c.roles):
        if init is None or not init.residual:
            continue
        if not any(slot.branch for slot in c.slots(1)):
            raise InvalidArgumentError(
                f"{init.name} is for residual branches, and {c.arch_name} has none (try --arch residual)", name
            )
        if init.branch_scale and "branch_scale" not in c.arch.numbers(c.place(1)):
            raise InvalidArgumentError(f"{init.name} sets the branch_scale, and {c.arch_name} has none", name)
        for layer in range(1, c.depth + 1):
            check_values(name, init, [c.place(layer)])
            named(name, partial(c.numbers, layer))


def check_laws(c: Config, option: str, seen: set[object]) -> None:
    """Refuse initializers whose law has no meaning in a matrix.

    Raises:
        InvalidArgumentError: says which option, and why.
    """
    key = c.arch_name, c.widths, c.init, c.init_first, c.init_last, c.roles
    if key in seen:
        return
    seen.add(key)
    edges = {id(c.init_last): "init_last", id(c.init_first): "init_first", id(c.init): option}
    for layer in range(1, c.depth + 1):
        for i, slot in enumerate(c.slots(layer)):
            init = c.initializer(layer, i)
            role = f"init_{slot.role}"
            owner = role if role in dict(c.roles) else edges.get(id(init), option)
            named(owner, partial(c.arch.law, init.law, slot))


def norm_refusal(c: Config) -> str | None:
    """Why a norm makes no sense in a network."""
    narrowest, positions = min(c.widths[1:]), math.prod(c.arch.sample_shape(1))
    if c.norm.kind == "batch" and c.batch * positions < 2:
        return "a batch of one sample has no variance"
    if c.norm.kind == "layer" and narrowest < 2:
        return "a layer of one unit has no variance"
    if c.norm.kind == "group":
        odd = next((w for w in c.widths[1:] if w % c.norm.groups), None)
        if odd is not None:
            return f"{c.norm.groups} groups do not divide {odd} units"
        if narrowest == c.norm.groups and positions < 2:
            return "groups of one unit have no variance"
    return None


def check_range(source: Source, dtype: str) -> None:
    """Refuse values that would be infinite in float32, in which data are measured unless the dtype is float64."""
    limit = float(np.finfo(np.float64 if dtype == "float64" else np.float32).max)
    for option, values in (("data", source.rows), ("labels", source.labels)):
        if values is not None and (largest := float(np.abs(values).max())) > limit:
            raise InvalidArgumentError(f"{largest:.3g} is beyond float32; use --dtype float64, or scale it", option)


def check_places(
    roles: Mapping[str, Sequence[Initializer | None]],
    common: tuple[str, str],
    stacks: Sequence[tuple[Architecture, tuple[int, ...]]],
    outputs: int,
) -> None:
    """Evaluate every initializer wherever it stands, so that a bad value is met before anything runs.

    Args:
        roles: option -> the initializers that it names, [None] where it is not given.
        common: the options of the weights and of the biases.
        stacks: architecture and widths, input first.
        outputs: units of the read-out, 0 without one.
    """
    edges = {name for name in ("init_first", "init_last") if roles[name][0] is not None}
    for arch, widths in dict.fromkeys(stacks):
        slots = [arch.slots(*pair)[0] for pair in itertools.pairwise(widths)]
        depth, owner = len(widths) - 1, dict.fromkeys(range(1, len(widths)), common[0])
        owner |= {depth: "init_last"} if "init_last" in edges else {}
        owner |= {1: "init_first"} if "init_first" in edges else {}
        owner |= {depth + 1: "init_last" if "init_last" in edges else common[0]} if outputs else {}
        places: dict[str, list[LayerContext]] = {
            common[1]: [in_slot(place_of(widths, layer), slots) for layer in range(1, depth + 1)]
        }
        for layer, option in owner.items():
            places.setdefault(option, []).append(in_slot(place_of(widths, layer, outputs), slots))
        for option, found in places.items():
            distinct = list({(p.fan_in, p.fan_out): p for p in reversed(found)}.values())
            for init in roles[option]:
                assert init is not None
                check_values(option, init, found if init.layerwise else distinct)
                if is_custom(init):
                    shapes = {shape_at(p, slots, option == common[1]): p for p in reversed(distinct)}
                    for i, (shape, place) in enumerate(shapes.items()):
                        named(option, partial(try_initializer, init, shape, place, in_earnest=i == 0))


def in_slot(place: LayerContext, slots: Sequence[WeightSpec]) -> LayerContext:
    """A place with the fans of its layer's first matrix; the read-out keeps its own."""
    if place.layer > len(slots):
        return place
    fan_in, fan_out = slots[place.layer - 1].fans
    return place._replace(fan_in=fan_in, fan_out=fan_out)


def shape_at(place: LayerContext, slots: Sequence[WeightSpec], bias: bool) -> tuple[int, ...]:
    """What an initializer is asked for at a place: the shape of the matrix, or of its biases."""
    if place.layer > len(slots):
        return place[:2]
    slot = slots[place.layer - 1]
    return (slot.units,) if bias else slot.shape


def check_values(option: str, init: Initializer, places: Iterable[LayerContext]) -> None:
    """Evaluate an initializer's parameters at these places."""
    for place in places:
        try:
            init.at(place)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(
                error.message, option if error.option in (None, "init") else error.option
            ) from error
        except (ArithmeticError, ValueError) as error:
            raise InvalidArgumentError(f"{init.name} is not a real number at layer {place.layer}", option) from error
