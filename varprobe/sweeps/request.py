"""What is asked of a sweep, checked: the grid of configurations and the setting that they share."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation, resolve_activation
from varprobe.nets.architectures import Architecture, Own, resolve_architecture
from varprobe.nets.config import DEFAULT_BATCH, OWN, ROLES, Config, SweepSettings
from varprobe.nets.data import Source, load_source
from varprobe.nets.initializers import STANDARD, Initializer, resolve_initializer
from varprobe.nets.norms import Norm, resolve_norm
from varprobe.spec.arguments import listed, named, numbers, resolved, single, word, yes_or_no
from varprobe.spec.calls import Call
from varprobe.spec.expressions import Expression, number_text
from varprobe.spec.serialize import repeatable
from varprobe.spec.shapes import read_stacks
from varprobe.spec.user_code import is_block
from varprobe.sweeps.grid_checks import check_networks, check_places, check_range, check_roles
from varprobe.sweeps.limits import check_count, check_shapes
from varprobe.sweeps.probe_options import ProbeOptions, check_asked, read_asked

__all__ = ["DTYPES", "LOSSES", "RANGES", "Request", "read_request"]

CLASSES = 10


LOSSES = ("cotangent", "mse", "cross_entropy")


DTYPES = ("float32", "float64", "bfloat16", "float16")


RANGES = ("unbounded", "dtype")


MOST_DROPPED = 0.999


@dataclass(frozen=True)
class Request:
    """A sweep to be run: its configurations, its setting, and the canonical text of both.

    `arguments` are those of `read_request` as JSON; None where they cannot be written down, and then `unrepeatable`
    says why.
    """

    configs: tuple[Config, ...]
    setting: SweepSettings
    spec: dict[str, Any]
    reusable: bool
    probes: ProbeOptions = ProbeOptions()
    arguments: dict[str, Any] | None = None
    unrepeatable: str = ""


def read_request(
    *,
    depth: Any = None,
    width: Any = 512,
    act: Any = "relu",
    init: Any = None,
    init_first: Any = None,
    init_last: Any = None,
    init_qk: Any = None,
    init_v: Any = None,
    init_o: Any = None,
    init_mlp: Any = None,
    bias: Any = "zeros",
    sigma_w2: Any = None,
    sigma_b2: Any = None,
    arch: Any = "plain",
    norm: Any = "none",
    dropout: Any = 0.0,
    input_width: int | None = None,
    batch: Any = DEFAULT_BATCH,
    seeds: int = 8,
    root_seed: int = 0,
    data: Any = "normal",
    labels: Any = None,
    standardize: bool = False,
    loss: str = "cotangent",
    dtype: str = "float32",
    range: Literal["unbounded", "dtype"] = "unbounded",
    forward_only: bool = False,
    correlation: Any = None,
    jacobian: bool = False,
    histogram: bool = False,
) -> Request:
    """Check every argument of `varprobe.sweep` (see there) and expand the grid.

    Raises:
        InvalidArgumentError: names the argument, its value, what is allowed, and the nearest right spelling.
    """
    arguments, unrepeatable = repeatable(locals())
    word("loss", loss, LOSSES)
    word("dtype", dtype, DTYPES)
    word("range", range, RANGES)
    yes_or_no("standardize", standardize)
    yes_or_no("forward_only", forward_only)
    probes = read_asked(correlation, jacobian, histogram)
    if sigma_w2 is not None and init is not None:
        raise InvalidArgumentError(
            f"{sigma_w2!r} sets the initializer, as --init does; give one of the two", "sigma_w2"
        )
    if sigma_b2 is not None and bias != "zeros":
        raise InvalidArgumentError(f"{sigma_b2!r} sets the bias, as --bias does; give one of the two", "sigma_b2")
    wanted = {"act": listed("act", act)}
    if sigma_w2 is not None:
        wanted["sigma_w2"] = numbers("sigma_w2", sigma_w2, 0, integer=False)
    else:
        wanted["init"] = listed("init", list(STANDARD) if init is None else init)
    if sigma_b2 is not None:
        wanted["sigma_b2"] = numbers("sigma_b2", sigma_b2, 0, integer=False)
    else:
        wanted["bias"] = listed("bias", bias)
    edges = {"init_first": init_first, "init_last": init_last}
    edges |= dict(zip(ROLES, (init_qk, init_v, init_o, init_mlp), strict=True))
    wanted |= {name: listed(name, value) for name, value in edges.items() if value is not None}
    wanted |= {"arch": listed("arch", arch), "norm": listed("norm", norm)}
    dropouts = numbers("dropout", dropout, 0, MOST_DROPPED, integer=False)
    stacks = read_stacks(depth, width)
    archs = named_parts("arch", wanted["arch"], resolve_architecture)
    if all(a.own for a in archs.values()):
        last = None if loss != "cotangent" else init_last
        weights_given = {"init": init, "sigma_w2": sigma_w2, "init_first": init_first, "init_last": last}
        biases_given = {"bias": None if bias == "zeros" else bias, "sigma_b2": sigma_b2}
        refuse_given(next(iter(archs)), weights_given | biases_given | {"act": None if act == "relu" else act})
    batches = numbers("batch", batch, 1)
    seeds = single("seeds", seeds, 1)
    root_seed = single("root_seed", root_seed, 0, 2**32 - 1)
    given = single("input_width", input_width, 1) if input_width is not None else None
    check_count(
        {name: len(v) for name, v in wanted.items()} | {"batch": len(batches), "dropout": len(dropouts)}, stacks, seeds
    )

    source = named("data", lambda: load_source(data, labels=labels, standardize=standardize))
    if labels is not None and loss == "cotangent":
        raise InvalidArgumentError(
            "labels are for the losses mse and cross_entropy; the cotangent takes none", "labels"
        )
    if source.width is not None and given is not None and given != source.width:
        raise InvalidArgumentError(
            f"{given} does not fit {source.description}, whose samples have {source.width} values", "input_width"
        )
    check_range(source, dtype)
    if source.rows is not None and max(batches) > len(source.rows):
        raise InvalidArgumentError(
            f"{max(batches)} samples are more than the {len(source.rows)} rows of {source.description}", "batch"
        )
    outputs = outputs_of(source, loss)
    shapes = stacks.expanded()
    _, weight_option, bias_option, *_ = wanted
    norms = named_parts("norm", wanted.pop("norm"), resolve_norm)
    wanted.pop("arch")
    check_roles(archs, wanted)
    kinds: dict[str, Callable[..., Any]] = {"act": resolve_activation, "sigma_w2": of_sigma_w2, "sigma_b2": of_sigma_b2}
    found = {name: resolved(name, v, kinds.get(name, resolve_initializer)) for name, v in wanted.items()}
    acts, inits, biases = found["act"], found[weight_option], found[bias_option]
    firsts, lasts = found.get("init_first", [None]), found.get("init_last", [None])
    by_role = {name: found[name] for name in ROLES if name in found}
    for b in biases:
        if not b.for_bias:
            raise InvalidArgumentError(
                f"{b.name} has no meaning for a bias vector "
                "(allowed: zeros, ones, constant, normal, truncated_normal, uniform, torch_default, keras_*)",
                bias_option,
            )
    stacked = {
        name: [(w, (named("arch", partial(units, source.width or given, p)), *p)) for w, p in shapes]
        for name, units in ((name, a.file_units if source.width else a.random_units) for name, a in archs.items())
    }
    for name, a in archs.items():
        if given and source.width is None and a.random_units(given, shapes[0][1]) != given:
            raise InvalidArgumentError(f"the data of {name} have the width of its blocks", "input_width")
        for w, widths in stacked[name]:
            check_shapes([(w, widths[1:])], widths[0], outputs, batches, dtype, *a.extent)
    configs = tuple(
        Config(
            act=a,
            init=for_net(i, a, b),
            init_first=f and for_net(f, a, b),
            init_last=last and for_net(last, a, b),
            bias=b,
            width=w,
            widths=ws,
            batch=n,
            arch_name=arch,
            arch=archs[arch],
            norm_name=norm_name,
            norm=norm,
            dropout=p,
            roles=tuple((name, for_net(r, a, b)) for name, r in zip(by_role, rs, strict=True)),
        )
        for arch, p, a in itertools.product(archs, dropouts, acts)
        for norm_name, norm in dict.fromkeys(norm if norm[1] else own_norm(archs[arch]) for norm in norms.items())
        for (w, ws), f, last, rs, b, n, i in itertools.product(
            stacked[arch], firsts, lasts, list(itertools.product(*by_role.values())), biases, batches, inits
        )
    )
    configs = tuple(dict.fromkeys(owned(c) if c.arch.own else c for c in configs))
    check_networks(configs, (weight_option, bias_option), dtype)
    if "init_last" in wanted and not outputs and (unread := next((t for t, a in archs.items() if a.shared), None)):
        raise InvalidArgumentError(f"{unread} has no matrix that it is for, unless --loss has a read-out", "init_last")
    check_asked(probes, configs)
    weights = {weight_option: inits, "init_first": firsts, "init_last": lasts}
    for name, several in weights.items():
        every = (i and for_net(i, a, b) for i, a, b in itertools.product(several, acts, biases))
        weights[name] = list(dict.fromkeys(every))
    check_places(
        {bias_option: biases, **weights},
        (weight_option, bias_option),
        [(archs[name], widths) for name, each in stacked.items() for _, widths in each],
        outputs,
    )
    setting = SweepSettings(seeds, root_seed, source, loss, outputs, dtype, range == "dtype", bool(forward_only))  # type: ignore[arg-type]
    blocks = [a for a in archs.values() if isinstance(a, Own)]
    parts = itertools.chain(acts, inits, firsts, lasts, *by_role.values(), biases, blocks)
    digests = [o.digest for o in parts if o is not None and o.digest != ""]
    spec = {
        "act": list(dict.fromkeys(c.act.name for c in configs)),
        "init": list(dict.fromkeys(c.init.name for c in configs)),
        "bias": list(dict.fromkeys(c.bias.name for c in configs)),
        "init_first": [f.name for f in firsts if f],
        "init_last": [i.name for i in lasts if i],
        **{name: [i.name for i in by_role.get(name, [])] for name in ROLES},
        "depth": list(dict.fromkeys(len(p) for _, p in shapes)),
        "width": list(dict.fromkeys(w for w, _ in shapes)),
        "input_width": given,
        "batch": batches,
        "arch": list(archs),
        "norm": list(norms),
        "dropout": dropouts,
        "seeds": seeds,
        "root_seed": root_seed,
        "data": source.name,
        "labels": labels if isinstance(labels, str) else None,
        "data_digest": source.digest,
        "standardize": bool(standardize),
        "loss": loss,
        "dtype": dtype,
        "range": range,
        "forward_only": bool(forward_only),
        "code": digests,
        **probes.spec,
    }
    return Request(configs, setting, spec, all(d is not None for d in digests), probes, arguments, unrepeatable)


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


def refuse_given(block: str, options: Mapping[str, Any]) -> None:
    """Refuse options that do not apply to a user's own block; None stands for those that were not given."""
    for option, value in options.items():
        if value is not None:
            raise InvalidArgumentError(f"{block} has its own; this option does not apply to it", option)


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


def outputs_of(source: Source, loss: str) -> int:
    """Units of the read-out: 0 for the cotangent, classes or target columns otherwise."""
    if loss == "cotangent":
        return 0
    labels = source.labels
    if labels is None:
        return CLASSES if loss == "cross_entropy" else 1
    if loss == "mse":
        return 1 if labels.ndim == 1 else labels.shape[1]
    if labels.ndim != 1 or not np.array_equal(labels, np.round(labels)) or labels.min() < 0:
        raise InvalidArgumentError("cross_entropy needs one whole number from 0 per sample", "labels")
    return max(2, int(labels.max()) + 1)
