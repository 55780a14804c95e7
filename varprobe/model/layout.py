"""The rows of a model's table: one for each site and iteration, in the order of execution."""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

from varprobe.model.naming import names_of
from varprobe.model.sites import Reading, Site
from varprobe.model.slots import Taps

__all__ = ["Layout", "Row", "layout_of", "leaf_slices"]


class Row(NamedTuple):
    """A site in one iteration of the scans around it.

    slots: by role, the number of its slot and the index of the iteration there; kernel: the same of a leaf and its
    leading axes, its number -1 where none feeds it. reached: whether the loss has a gradient with respect to it.
    rows: samples times positions of a product. terms: how many an output sums. last: whether it is in a while loop, of
    which only the last iteration is known.
    """

    site: str
    kind: str
    iteration: int
    of: int
    slots: tuple[tuple[str, int, tuple[int, ...]], ...]
    kernel: tuple[int, tuple[int, ...]]
    fan_in: int
    source: str
    reached: bool = True
    rows: int = 0
    terms: float = 0.0
    fan_out: int = 0
    last: bool = False


class Layout(NamedTuple):
    """What is known of a model before it runs, but for its numbers; it can be compared and hashed.

    leaves: paths of the parameters. tied: sites fed by one parameter, in groups. follows: each site with those that it
    follows from without another between. factors: each parameter that a signal is multiplied with, the sites behind
    that signal, and the product's own, empty where they are multiplied entry by entry. functions: each parameter that a
    signal is multiplied with a function of, and the product's site. gates: the sites behind each of two signals that
    are multiplied by entries; mixed: the same of matrix products. frozen: sites whose parameter is behind
    stop_gradient. flat: sites that the loss does not reach since a function behind them has a slope of zero, and that
    function. mismatched: sites, and entries of outputs and targets, of differences of each with each. squashed: sites
    whose logits are already probabilities. logits: sites of logits of the loss, and their numbers of classes. about:
    coordinates of a dataset. rounding: relative, of the coarsest format that the model computes in.
    """

    rows: tuple[Row, ...]
    leaves: tuple[str, ...]
    products: int
    opaque: tuple[str, ...]
    tied: tuple[tuple[str, ...], ...]
    follows: tuple[tuple[str, tuple[str, ...]], ...]
    factors: tuple[tuple[str, tuple[str, ...], str], ...]
    functions: tuple[tuple[str, str], ...]
    gates: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    mixed: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    frozen: tuple[str, ...]
    flat: tuple[tuple[str, str], ...]
    mismatched: tuple[tuple[str, int, int], ...]
    squashed: tuple[str, ...]
    logits: tuple[tuple[str, int], ...]
    about: tuple[tuple[str, Any], ...]
    rounding: float = 0.0

    @property
    def coverage(self) -> str:
        """How many matrix products are probed, and what the others are in."""
        total = self.products + len(self.opaque)
        found = f"{self.products} of {total} matrix product{'s' * (total != 1)} probed"
        if self.opaque:
            where = ", ".join(
                f"{text}{f' ({self.opaque.count(text)})' if self.opaque.count(text) > 1 else ''}"
                for text in dict.fromkeys(self.opaque)
            )
            found += f"; {len(self.opaque)} opaque: {where}"
        return found


def layout_of(
    reading: Reading,
    taps: Taps,
    parameters: int,
    inputs: Sequence[str],
    ranks: Sequence[int],
    about: tuple[tuple[str, Any], ...],
) -> Layout:
    """The rows of what was read.

    Args:
        reading: the sites.
        taps: their slots.
        parameters: how many of the inputs are parameters that are differentiated.
        inputs: paths of all.
        ranks: their numbers of dimensions.
        about: coordinates of a dataset.
    """
    names, slices = names_of(reading.sites, inputs, ranks), leaf_slices(reading, parameters)
    slots: dict[int, list[tuple[str, int]]] = {}
    for number, slot in enumerate(taps.slots):
        slots.setdefault(slot.site, []).append((slot.role, number))
    keyed = []
    for number, site in enumerate(reading.sites):
        lengths = [scan.length for scan in site.scans]
        for flat, index in enumerate(product(*map(range, lengths))):
            at = tuple((role, slot, index[: len(taps.slots[slot].lengths)]) for role, slot in slots[number])
            kernel = (site.kernel, kernel_index(site, slices, index)) if site.kernel < parameters else (-1, ())
            reached = number in reading.reached
            about_it = site.fan_in, site.source, reached, site.rows, site.terms, site.fan_out, site.last
            row = Row(names[number], site.kind, flat, number, at, kernel, *about_it)
            keyed.append((moment(site, index), number, row))
    rows = tuple(row for _, _, row in sorted(keyed, key=lambda found: found[:2]))
    feeds: dict[int, list[str]] = {}
    for name, site in zip(names, reading.sites, strict=True):
        if site.kernel >= 0 and site.kind != "norm":
            feeds.setdefault(site.kernel, []).append(name)
    tied = tuple(tuple(group) for group in feeds.values() if len(group) > 1)

    def sites_behind(nodes: frozenset[int]) -> tuple[str, ...]:
        return tuple(names[i] for i in sorted(reading.behind(nodes, through_cuts=True)))

    follows = tuple((name, sites_behind(site.behind)) for name, site in zip(names, reading.sites, strict=True))
    factors = tuple(
        (inputs[leaf], sites_behind(nodes), names[product] if product >= 0 else "")
        for leaf, nodes, product in reading.factors
        if 0 <= leaf < parameters
    )
    functions = dict.fromkeys(
        (inputs[leaf], names[product] if product >= 0 else "")
        for leaf, product in reading.functions
        if 0 <= leaf < parameters
    )
    leaves = tuple(inputs[:parameters])
    followed = (node for site in reading.sites if site.kind != "probabilities" for node in site.behind)
    last = reading.reached - reading.behind(followed, through_cuts=True)
    logits = tuple((names[site], classes) for site, classes in dict(reading.logits).items() if site in last)
    gates, mixed = (
        tuple(dict.fromkeys((sites_behind(one), sites_behind(other)) for one, other in pairs))
        for pairs in (reading.gates, reading.mixed)
    )
    frozen = tuple(name for name, site in zip(names, reading.sites, strict=True) if site.frozen)
    flattened = tuple((names[site], name) for site, name in sorted(reading.flat.items()))
    mismatched = tuple(
        (names[site], output, target) for site, output, target in reading.mismatched if site in reading.reached
    )
    squashed = tuple(name for name, _ in logits if names.index(name) in reading.squashed)
    opaque = tuple(reading.opaque)
    return Layout(
        rows,
        leaves,
        reading.products,
        opaque,
        tied,
        follows,
        factors,
        tuple(functions),
        gates,
        mixed,
        frozen,
        flattened,
        mismatched,
        squashed,
        logits,
        about,
    )


def moment(site: Site, index: Sequence[int]) -> tuple[int, ...]:
    """When a site is computed: the numbers of the equations on the way to it, and of iterations."""
    found: tuple[int, ...] = ()
    before = 0
    for scan, i in zip(site.scans, index, strict=True):
        depth = len(scan.place)
        found += (*site.at[before:depth], scan.length - 1 - i if scan.reverse else i)
        before = depth
    return (*found, *site.at[before:])


def leaf_slices(reading: Reading, leaves: int) -> list[int]:
    """How many leading axes of each parameter are the iterations of scans, as far as its sites agree on it."""
    found: dict[int, int] = {}
    for site in reading.sites:
        if site.kernel >= 0:
            axes = len(site.slices or ())
            found[site.kernel] = min(axes, found.get(site.kernel, axes))
    return [found.get(i, 0) for i in range(leaves)]


def kernel_index(site: Site, slices: Sequence[int], index: Sequence[int]) -> tuple[int, ...]:
    """Which entry of its kernel's leading axes a site has in an iteration."""
    if site.kernel < 0:
        return ()
    places = [scan.place for scan in site.scans]
    return tuple(index[places.index(place)] for place in (site.slices or ())[: slices[site.kernel]])
