"""Names of sites that a person recognizes: those of the modules that their parameters stand in."""

import re
from collections import Counter
from collections.abc import Sequence

from varprobe.model.sites import Site

__all__ = ["names_of"]

ENDINGS = ("value", "raw_value", "get_value", "array", "data_array")
"""What libraries put behind the name of a parameter."""
BEGINNINGS = ("params",)
WITHIN = {
    "logits": "logits", "probabilities": "probabilities", "mixing": "mixed", "residual": "residual", "sum": "sum",
    "norm": "norm", "call": "call",
}  # fmt: skip
"""How a site without parameters of its own is called within its module; a product with what the program holds else."""

DOTTED = re.compile(r"(?=.*\b[A-Za-z_])\w+(\.\w+)+")
"""A key that is a path, as in state dicts of torch, and no number."""

SCOPE = re.compile(r"(?!checkpoint|rematted_computation|while|body|cond|branch|closed_call|remat)[a-z]\w*")
"""Of jax.named_scope; classes and transformations are written otherwise."""


def names_of(sites: Sequence[Site], leaves: Sequence[str], ranks: Sequence[int]) -> list[str]:
    """A name for each site, told apart by #2, #3, ... where one module is used again, .T where its kernel is turned.

    Args:
        sites: in the order of execution.
        leaves: paths of the parameters.
        ranks: their numbers of dimensions.
    """
    modules = modules_of(sites, leaves, ranks)
    found, met = [], Counter({"input": 1})
    for site in sites:
        name = site.scope if site.kind == "mark" else name_of(site, modules, ranks) + ".T" * site.turned
        met[name] += 1
        found.append(name if met[name] == 1 else f"{name}#{met[name]}")
    return found


def modules_of(sites: Sequence[Site], leaves: Sequence[str], ranks: Sequence[int]) -> list[str]:
    """The module of each parameter; the whole path where several sites, or modules, are in one: experts/w1."""
    paths = paths_of(leaves)
    feeding = {frozenset(largest(site.parameters, ranks)) for site in sites if is_named_by_its_own(site)}
    modules = [{module_of(paths[leaf]) for leaf in group} for group in feeding]
    count = Counter(module for group in modules for module in group)
    holders = {beginning for module in count for beginning in beginnings(module)[:-1]}
    fed = frozenset().union(*feeding)
    return [
        path if i in fed and (count[module_of(path)] > 1 or module_of(path) in holders) else module_of(path)
        for i, path in enumerate(paths)
    ]


def is_named_by_its_own(site: Site) -> bool:
    """Whether a site has the name of its own parameters; of a sum these are a bias only."""
    return bool(site.parameters) and site.kind != "sum"


def largest(parameters: frozenset[int], ranks: Sequence[int]) -> list[int]:
    """Those with the most dimensions."""
    most = max(ranks[i] for i in parameters)
    return [i for i in sorted(parameters) if ranks[i] == most]


def foremost(parameters: frozenset[int], ranks: Sequence[int]) -> int:
    """The first of those with the most dimensions."""
    return largest(parameters, ranks)[0]


def name_of(site: Site, modules: Sequence[str], ranks: Sequence[int]) -> str:
    """The module of the site's own parameters; else its place in the module, and scope, of the latest product."""
    if is_named_by_its_own(site):
        return joined([modules[i] for i in largest(site.parameters, ranks)])
    parts = modules[foremost(site.near, ranks)].split("/")[:-1] if site.near else []
    scope = [part for part in site.scope.split("/") if SCOPE.fullmatch(part)]
    if scope and scope[-1] not in parts:
        parts.append(scope[-1])
    return "/".join([*parts, WITHIN.get(site.kind, "constant")])


def joined(modules: Sequence[str]) -> str:
    """The module, or cell/hf+hg+hi+ho of several side by side."""
    parents, names = {m.rpartition("/")[0] for m in modules}, dict.fromkeys(m.rpartition("/")[2] for m in modules)
    return "/".join(filter(None, [*parents, "+".join(names)])) if len(parents) == 1 else modules[0]


def module_of(path: str) -> str:
    """blocks/0/up of blocks/0/up/kernel; a parameter that stands alone is its own module."""
    return path.rpartition("/")[0] or path


def paths_of(leaves: Sequence[str]) -> list[str]:
    """The paths without what libraries put around them, such as kernel/value; {"key": ..., "value": ...} stays."""
    paths = ["/".join(k.replace(".", "/") if DOTTED.fullmatch(k) else k for k in leaf.split("/")) for leaf in leaves]
    held = Counter(beginning for path in paths for beginning in beginnings(path)[:-1])
    found = []
    for path in paths:
        parts = path.split("/")
        while len(parts) > 1 and parts[-1] in ENDINGS and held["/".join(parts[:-1])] == 1:
            parts = parts[:-1]
        while len(parts) > 1 and parts[0] in BEGINNINGS:
            parts = parts[1:]
        found.append("/".join(parts))
    return found


def beginnings(path: str) -> list[str]:
    """a, a/b and a/b/c of a/b/c."""
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts) + 1)]
