"""What was asked for, checked: the grid of configurations and the setting that they share."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from varprobe.activations import Activation, resolve_activation
from varprobe.arguments import listed, named, numbers, resolved, single, word, yes_or_no
from varprobe.callform import Call
from varprobe.data import Source, load_source
from varprobe.errors import RequestError
from varprobe.expressions import Expression, number_text
from varprobe.initializers import STANDARD, Initializer, Place, resolve_initializer
from varprobe.program import LossName
from varprobe.shapes import read_stacks
from varprobe.sizes import check_count, check_shapes
from varprobe.trial import is_custom, try_initializer

__all__ = ["DEFAULT_BATCH", "Config", "Request", "Setting", "read_request"]

DEFAULT_BATCH = 16
CLASSES = 10
LOSSES = ("cotangent", "mse", "cross_entropy")
DTYPES = ("float32", "float64", "bfloat16", "float16")
RANGES = ("unbounded", "dtype")


@dataclass(frozen=True)
class Config:
    """One network: everything that the nets of a sweep may differ in."""

    act: Activation
    init: Initializer
    init_first: Initializer | None
    init_last: Initializer | None
    bias: Initializer
    width: int | str
    widths: tuple[int, ...]
    batch: int

    @property
    def depth(self) -> int:
        """Number of weight layers."""
        return len(self.widths) - 1

    def weights_at(self, layer: int) -> Initializer:
        """The initializer of W_layer."""
        if layer == 1 and self.init_first:
            return self.init_first
        if layer == self.depth and self.init_last:
            return self.init_last
        return self.init

    def place(self, layer: int, outputs: int = 0) -> Place:
        """What an initializer's expressions may refer to at a layer (depth + 1: the read-out, with `outputs` units)."""
        return place_of(self.widths, layer, outputs)


@dataclass(frozen=True)
class Setting:
    """What all nets of a sweep have in common."""

    seeds: int
    root_seed: int
    source: Source
    loss: LossName
    outputs: int
    dtype: str
    real_range: bool
    forward_only: bool


@dataclass(frozen=True)
class Request:
    """A sweep to be run: its configurations, its setting, and the canonical text of both."""

    configs: tuple[Config, ...]
    setting: Setting
    spec: dict[str, Any]
    reusable: bool


def read_request(
    *,
    depth: Any = None,
    width: Any = 512,
    act: Any = "relu",
    init: Any = None,
    init_first: Any = None,
    init_last: Any = None,
    bias: Any = "zeros",
    sigma_w2: Any = None,
    sigma_b2: Any = None,
    arch: str = "plain",
    norm: str = "none",
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
) -> Request:
    """Check every argument of `varprobe.sweep` (see there) and expand the grid.

    Raises:
        RequestError: names the argument, its value, what is allowed, and the nearest right spelling.
    """
    word("arch", arch, ("plain",))
    word("norm", norm, ("none",))
    word("loss", loss, LOSSES)
    word("dtype", dtype, DTYPES)
    word("range", range, RANGES)
    yes_or_no("standardize", standardize)
    yes_or_no("forward_only", forward_only)
    if sigma_w2 is not None and init is not None:
        raise RequestError(f"{sigma_w2!r} sets the initializer, as --init does; give one of the two", "sigma_w2")
    if sigma_b2 is not None and bias != "zeros":
        raise RequestError(f"{sigma_b2!r} sets the bias, as --bias does; give one of the two", "sigma_b2")
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
    wanted |= {name: listed(name, value) for name, value in edges.items() if value is not None}
    stacks = read_stacks(depth, width)
    batches = numbers("batch", batch, 1)
    seeds = single("seeds", seeds, 1)
    root_seed = single("root_seed", root_seed, 0, 2**32 - 1)
    given = single("input_width", input_width, 1) if input_width is not None else None
    check_count({name: len(v) for name, v in wanted.items()} | {"batch": len(batches)}, stacks, seeds)

    source = named("data", lambda: load_source(data, labels=labels, standardize=standardize))
    if labels is not None and loss == "cotangent":
        raise RequestError("labels are for the losses mse and cross_entropy; the cotangent takes none", "labels")
    if source.width is not None and given is not None and given != source.width:
        raise RequestError(
            f"{given} does not fit {source.description}, whose samples have {source.width} values", "input_width"
        )
    check_range(source, dtype)
    if source.rows is not None and max(batches) > len(source.rows):
        raise RequestError(
            f"{max(batches)} samples are more than the {len(source.rows)} rows of {source.description}", "batch"
        )
    outputs = outputs_of(source, loss)
    shapes = stacks.expanded()
    check_shapes(shapes, source.width or given, outputs, batches, dtype)
    _, weight_option, bias_option, *_ = wanted
    kinds: dict[str, Callable[..., Any]] = {"act": resolve_activation, "sigma_w2": of_sigma_w2, "sigma_b2": of_sigma_b2}
    found = {name: resolved(name, v, kinds.get(name, resolve_initializer)) for name, v in wanted.items()}
    acts, inits, biases = found["act"], found[weight_option], found[bias_option]
    firsts, lasts = found.get("init_first", [None]), found.get("init_last", [None])
    for b in biases:
        if not b.for_bias:
            raise RequestError(
                f"{b.name} has no meaning for a bias vector "
                "(allowed: zeros, ones, constant, normal, truncated_normal, uniform, torch_default, keras_*)",
                bias_option,
            )
    stacked = [(w, (source.width or given or profile[0], *profile)) for w, profile in shapes]
    configs = tuple(
        Config(a, for_net(i, a, b), f and for_net(f, a, b), last and for_net(last, a, b), b, w, widths, n)
        for a, (w, widths), f, last, b, n, i in itertools.product(acts, stacked, firsts, lasts, biases, batches, inits)
    )
    weights = {weight_option: inits, "init_first": firsts, "init_last": lasts}
    for name, several in weights.items():
        every = (i and for_net(i, a, b) for i, a, b in itertools.product(several, acts, biases))
        weights[name] = list(dict.fromkeys(every))
    check_places(
        {bias_option: biases, **weights},
        (weight_option, bias_option),
        [widths for _, widths in stacked],
        outputs,
    )
    setting = Setting(seeds, root_seed, source, loss, outputs, dtype, range == "dtype", bool(forward_only))  # type: ignore[arg-type]
    digests = [o.digest for o in (*acts, *inits, *firsts, *lasts, *biases) if o is not None and o.digest != ""]
    spec = {
        "act": [a.name for a in acts],
        "init": [i.name for i in inits],
        "bias": [b.name for b in biases],
        "init_first": [f.name for f in firsts if f],
        "init_last": [i.name for i in lasts if i],
        "depth": list(dict.fromkeys(len(p) for _, p in shapes)),
        "width": list(dict.fromkeys(w for w, _ in shapes)),
        "input_width": given,
        "batch": batches,
        "arch": [arch],
        "norm": [norm],
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
    }
    return Request(configs, setting, spec, all(d is not None for d in digests))


def place_of(widths: tuple[int, ...], layer: int, outputs: int = 0) -> Place:
    """What an initializer's expressions may refer to at a layer of a stack with these widths, input first."""
    depth = len(widths) - 1
    return Place(widths[layer - 1], widths[layer] if layer <= depth else outputs, max(widths[1:]), depth, layer)


def for_net(init: Initializer, act: Activation, bias: Initializer) -> Initializer:
    """An initializer with the numbers that it has in a net; only `critical` depends on activation and biases."""
    if init.settled:
        return init
    from varprobe.theory.sigmas import settled

    return settled(init, act, bias)


def of_sigma_w2(value: float, label: None = None) -> Initializer:
    """Normal weights with fan_in * Var W = value."""
    fixed = (("mode", Expression("fan_in")), ("distribution", "normal"))
    return resolve_initializer(Call("variance_scaling", (("scale", Expression(number_text(value))), *fixed)))


def of_sigma_b2(value: float, label: None = None) -> Initializer:
    """Normal biases with Var b = value."""
    return resolve_initializer(Call("normal", (("var", Expression(number_text(value))),)))


def check_range(source: Source, dtype: str) -> None:
    """Refuse values that would be infinite in float32, in which data are measured unless the dtype is float64."""
    limit = float(np.finfo(np.float64 if dtype == "float64" else np.float32).max)
    for option, values in (("data", source.rows), ("labels", source.labels)):
        if values is not None and (largest := float(np.abs(values).max())) > limit:
            raise RequestError(f"{largest:.3g} is beyond float32; use --dtype float64, or scale it", option)


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
        raise RequestError("cross_entropy needs one whole number from 0 per sample", "labels")
    return max(2, int(labels.max()) + 1)


def check_places(
    roles: Mapping[str, Sequence[Initializer | None]],
    common: tuple[str, str],
    stacks: Sequence[tuple[int, ...]],
    outputs: int,
) -> None:
    """Evaluate every initializer wherever it stands, so that a bad value is met before anything runs.

    Args:
        roles: option -> the initializers that it names, [None] where it is not given.
        common: the options of the weights and of the biases.
        stacks: widths, input first.
        outputs: units of the read-out, 0 without one.
    """
    edges = {name for name in ("init_first", "init_last") if roles[name][0] is not None}
    for widths in dict.fromkeys(stacks):
        depth, owner = len(widths) - 1, dict.fromkeys(range(1, len(widths)), common[0])
        owner |= {depth: "init_last"} if "init_last" in edges else {}
        owner |= {1: "init_first"} if "init_first" in edges else {}
        owner |= {depth + 1: "init_last" if "init_last" in edges else common[0]} if outputs else {}
        places: dict[str, list[Place]] = {common[1]: [place_of(widths, layer) for layer in range(1, depth + 1)]}
        for layer, option in owner.items():
            places.setdefault(option, []).append(place_of(widths, layer, outputs))
        for option, found in places.items():
            distinct = list({(p.fan_in, p.fan_out): p for p in reversed(found)}.values())
            for init in roles[option]:
                assert init is not None
                check_values(option, init, found if init.layerwise else distinct)
                if is_custom(init):
                    shapes = {p[1:2] if option == common[1] else p[:2]: p for p in reversed(distinct)}
                    for i, (shape, place) in enumerate(shapes.items()):
                        named(option, partial(try_initializer, init, shape, place, in_earnest=i == 0))


def check_values(option: str, init: Initializer, places: Iterable[Place]) -> None:
    """Evaluate an initializer's parameters at these places."""
    for place in places:
        try:
            init.at(place)
        except RequestError as error:
            raise RequestError(error.message, option if error.option in (None, "init") else error.option) from error
        except (ArithmeticError, ValueError) as error:
            raise RequestError(f"{init.name} is not a real number at layer {place.layer}", option) from error
