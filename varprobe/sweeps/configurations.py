"""The configurations of a sweep: its grid, with names resolved, multiplied out."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation, resolve_activation
from varprobe.nets.architectures import Architecture
from varprobe.nets.config import OWN, ROLES, Config
from varprobe.nets.data import Source
from varprobe.nets.initializers import Initializer, resolve_initializer
from varprobe.nets.norms import Norm, resolve_norm
from varprobe.spec.arguments import named, resolved
from varprobe.spec.calls import Call
from varprobe.spec.expressions import Expression, number_text
from varprobe.sweeps.grid import Grid, named_parts
from varprobe.sweeps.grid_checks import check_roles
from varprobe.sweeps.limits import check_shapes

__all__ = ["Parts", "Shapes", "configurations", "read_parts", "read_shapes"]

Shapes = Mapping[str, list[tuple[int | str, tuple[int, ...]]]]
"""Architecture -> (width as given, widths of layers 0..L) of each stack."""


@dataclass(frozen=True)
class Parts:
    """What the names of a grid mean, each once.

    Attributes:
        norms: canonical name -> norm.
        acts: activations.
        inits: of all weights for which no other option is given.
        firsts: of layer 1; [None] if none were given.
        lasts: of layer L and the readout; [None] if none were given.
        roles: option of `ROLES` -> initializers, of those that were given.
        biases: of biases.
    """

    norms: Mapping[str, Norm]
    acts: list[Activation]
    inits: list[Initializer]
    firsts: list[Initializer] | list[None]
    lasts: list[Initializer] | list[None]
    roles: Mapping[str, list[Initializer]]
    biases: list[Initializer]

    def initializers(self, inits: list[Any]) -> list[Any]:
        """Some initializers with the numbers that they have under any activation and biases, each once."""
        every = (init and for_net(init, a, b) for init, a, b in itertools.product(inits, self.acts, self.biases))
        return list(dict.fromkeys(every))


def read_parts(grid: Grid) -> Parts:
    """Resolve the names of a grid.

    Raises:
        InvalidArgumentError: a name is unknown, its parameters are wrong, or it does not apply.
    """
    norms = named_parts("norm", grid.lists["norm"], resolve_norm)
    wanted = {option: items for option, items in grid.lists.items() if option not in ("arch", "norm")}
    check_roles(grid.archs, wanted)
    kinds: dict[str, Callable[..., Any]] = {"act": resolve_activation, "sigma_w2": of_sigma_w2, "sigma_b2": of_sigma_b2}
    found = {name: resolved(name, items, kinds.get(name, resolve_initializer)) for name, items in wanted.items()}
    for bias in found[grid.bias_option]:
        if not bias.for_bias:
            raise InvalidArgumentError(
                f"{bias.name} has no meaning for a bias vector "
                "(allowed: zeros, ones, constant, normal, truncated_normal, uniform, torch_default, keras_*)",
                grid.bias_option,
            )
    return Parts(
        norms,
        found["act"],
        found[grid.weight_option],
        found.get("init_first", [None]),
        found.get("init_last", [None]),
        {name: found[name] for name in ROLES if name in found},
        found[grid.bias_option],
    )


def read_shapes(grid: Grid, source: Source, outputs: int, dtype: str) -> Shapes:
    """The widths of every stack in each architecture.

    Args:
        grid: has depths, widths and architectures.
        source: data of the networks.
        outputs: units of the readout, 0 without one.
        dtype: of weights and signals.

    Raises:
        InvalidArgumentError: an architecture does not have a width, or a network does not fit into memory.
    """
    given, stacks = grid.input_width, grid.stacks.expanded()
    units = {
        name: partial(arch.file_units, source.width) if source.width else partial(arch.random_units, given)
        for name, arch in grid.archs.items()
    }
    shapes = {name: [(w, (named("arch", partial(of, p)), *p)) for w, p in stacks] for name, of in units.items()}
    for name, arch in grid.archs.items():
        if given and source.width is None and arch.random_units(given, stacks[0][1]) != given:
            raise InvalidArgumentError(f"the data of {name} have the width of its blocks", "input_width")
        for w, widths in shapes[name]:
            check_shapes([(w, widths[1:])], widths[0], outputs, grid.batches, dtype, *arch.extent)
    return shapes


def configurations(grid: Grid, parts: Parts, shapes: Shapes) -> tuple[Config, ...]:
    """Every combination, each once; initializers vary fastest."""
    every = combinations(grid, parts, shapes)
    return tuple(dict.fromkeys(owned(c) if c.arch.own else c for c in every))


def combinations(grid: Grid, parts: Parts, shapes: Shapes) -> Iterator[Config]:
    """Every combination, as often as it occurs."""
    roles = [dict(zip(parts.roles, inits, strict=True)) for inits in itertools.product(*parts.roles.values())]
    for (arch_name, arch), dropout, act in itertools.product(grid.archs.items(), grid.dropouts, parts.acts):
        norms = dict.fromkeys(norm if norm[1] else own_norm(arch) for norm in parts.norms.items())
        rest = parts.firsts, parts.lasts, roles, parts.biases, grid.batches, parts.inits
        for (norm_name, norm), (width, widths), first, last, by_role, bias, batch, init in itertools.product(
            norms, shapes[arch_name], *rest
        ):
            yield Config(
                act=act,
                init=for_net(init, act, bias),
                init_first=first and for_net(first, act, bias),
                init_last=last and for_net(last, act, bias),
                bias=bias,
                width=width,
                widths=widths,
                batch=batch,
                arch_name=arch_name,
                arch=arch,
                norm_name=norm_name,
                norm=norm,
                dropout=dropout,
                roles=tuple((name, for_net(of, act, bias)) for name, of in by_role.items()),
            )


def owned(config: Config) -> Config:
    """The configuration of a user's own block, to which what names activation and weights does not apply.

    A loss's read-out is `lecun_normal` unless --init-last names another.
    """
    init = replace(resolve_initializer(Call("lecun_normal")), name=OWN)
    bias = replace(resolve_initializer(Call("zeros")), name=OWN)
    act = replace(resolve_activation(Call("identity")), name=OWN)
    return replace(config, act=act, init=init, init_first=None, bias=bias)


def own_norm(arch: Architecture) -> tuple[str, Norm]:
    """The norm of an architecture where --norm is none."""
    return arch.own_norm.kind, arch.own_norm


def for_net(init: Initializer, act: Activation, bias: Initializer) -> Initializer:
    """An initializer with the numbers that it has in a net; only `critical` depends on activation and biases."""
    if init.resolved:
        return init
    from varprobe.theory.sigmas import resolved_initializer

    return resolved_initializer(init, act, bias)


def of_sigma_w2(value: float, label: None = None) -> Initializer:
    """Normal weights with fan_in * Var W = value."""
    fixed = (("mode", Expression("fan_in")), ("distribution", "normal"))
    return resolve_initializer(Call("variance_scaling", (("scale", Expression(number_text(value))), *fixed)))


def of_sigma_b2(value: float, label: None = None) -> Initializer:
    """Normal biases with Var b = value."""
    return resolve_initializer(Call("normal", (("var", Expression(number_text(value))),)))
