"""What was asked for, checked: the grid of configurations and the setting that they share."""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from varprobe.activations import Activation, resolve_activation
from varprobe.callform import Call, parse_calls, parse_numbers, split_items
from varprobe.data import Source, load_source
from varprobe.errors import RequestError
from varprobe.initializers import STANDARD, Initializer, Place, resolve_initializer
from varprobe.names import did_you_mean
from varprobe.program import LossName

__all__ = ["DEFAULT_BATCH", "Config", "Request", "Setting", "read_request"]

DEFAULT_BATCH = 32
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
        fan_out = self.widths[layer] if layer <= self.depth else outputs
        return Place(self.widths[layer - 1], fan_out, max(self.widths[1:]), self.depth, layer)


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
    if sigma_w2 is not None and init is not None:
        raise RequestError("sigma_w2 sets the initializer; give one of --init and --sigma-w2, not both", "sigma_w2")
    if sigma_b2 is not None and bias != "zeros":
        raise RequestError("sigma_b2 sets the bias; give one of --bias and --sigma-b2, not both", "sigma_b2")
    if sigma_w2 is not None:
        init = [
            Call("variance_scaling", parse_calls(f"v(scale={number_text(v)},mode=fan_in,distribution=normal)")[0].args)
            for v in parse_numbers(sigma_w2, "sigma_w2", integer=False, low=0)
        ]
    if sigma_b2 is not None:
        bias = [
            parse_calls(f"normal(var={number_text(v)})")[0]
            for v in parse_numbers(sigma_b2, "sigma_b2", integer=False, low=0)
        ]
    acts = resolved("act", act, resolve_activation)
    inits = resolved("init", list(STANDARD) if init is None else init, resolve_initializer)
    firsts = resolved("init_first", init_first, resolve_initializer) or [None]
    lasts = resolved("init_last", init_last, resolve_initializer) or [None]
    biases = resolved("bias", bias, resolve_initializer)
    for b in biases:
        if not b.for_bias:
            raise RequestError(
                f"{b.name} has no meaning for a bias vector "
                "(allowed: zeros, ones, constant, normal, truncated_normal, uniform, torch_default, keras_*)",
                "bias",
            )
    batches = parse_numbers(batch, "batch", integer=True, low=1)
    seeds = single("seeds", seeds, 1)
    root_seed = single("root_seed", root_seed, 0, 2**32 - 1)
    source = named("data", lambda: load_source(data, labels=labels, standardize=standardize))
    if source.width is not None and input_width is not None and single("input_width", input_width, 1) != source.width:
        raise RequestError(
            f"{input_width} does not fit {source.description}, whose samples have {source.width} values", "input_width"
        )
    outputs = outputs_of(source, loss)
    if source.rows is not None and max(batches) > len(source.rows):
        raise RequestError(
            f"{max(batches)} samples asked for, {source.description} has {len(source.rows)} rows", "batch"
        )
    shapes = stack_shapes(depth, width)
    given = single("input_width", input_width, 1) if input_width is not None else None
    configs = tuple(
        Config(a, i, f, last, b, w, (source.width or given or profile[0], *profile), n)
        for a, (w, profile), f, last, b, n, i in itertools.product(acts, shapes, firsts, lasts, biases, batches, inits)
    )
    check_size(configs, seeds, dtype)
    setting = Setting(seeds, root_seed, source, loss, outputs, dtype, range == "dtype", bool(forward_only))  # type: ignore[arg-type]
    named("init", lambda: check_numbers(configs, outputs))
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
        "data_digest": source.digest,
        "standardize": bool(standardize),
        "loss": loss,
        "dtype": dtype,
        "range": range,
        "forward_only": bool(forward_only),
        "code": digests,
    }
    return Request(configs, setting, spec, all(d is not None for d in digests))


def number_text(value: float) -> str:
    """A number as the call form writes it."""
    from varprobe.expressions import number_text as text

    return text(float(value))


def word(option: str, value: Any, allowed: Sequence[str]) -> None:
    """Refuse a value that is not one of a few words."""
    if value not in allowed:
        raise RequestError(f"unknown value {value!r}{did_you_mean(str(value), allowed)}", option)


def single(option: str, value: Any, low: int, high: int = 10**9) -> int:
    """One whole number within bounds."""
    numbers = parse_numbers(value, option, integer=True, low=low, high=high)
    if len(numbers) != 1:
        raise RequestError(f"takes one number, got {value!r}", option)
    return numbers[0]


def named(option: str, read: Callable[[], Any]) -> Any:
    """The result of `read`, its errors naming the option."""
    try:
        return read()
    except RequestError as error:
        raise error.at(option) from error


def resolved(option: str, value: Any, resolve: Callable[..., Any]) -> list[Any]:
    """Activations or initializers from a comma list, call forms, callables, a {label: callable}, or a list of these."""
    if value is None:
        return []

    def read() -> list[Any]:
        found: dict[Any, None] = {}
        for item in items(value):
            if isinstance(item, tuple):
                found[resolve(item[1], label=item[0])] = None
            else:
                found[resolve(item)] = None
        if not found:
            raise RequestError("the list is empty")
        return list(found)

    return named(option, read)


def items(value: Any) -> Iterable[Any]:
    """Calls, callables and (label, callable) pairs."""
    if isinstance(value, str):
        for text in split_items(value):
            yield from parse_calls(text)
    elif isinstance(value, Mapping):
        for label, item in value.items():
            if callable(item):
                yield str(label), item
            else:
                raise RequestError(f"{label!r} must map to a function, got {type(item).__name__}")
    elif isinstance(value, Call) or callable(value):
        yield value
    elif isinstance(value, Iterable):
        for item in value:
            yield from items(item)
    else:
        raise RequestError(f"takes names or functions, got {value!r}")


def stack_shapes(depth: Any, width: Any) -> list[tuple[int | str, tuple[int, ...]]]:
    """(width as given, widths of layers 1..L) of every stack; a profile such as 784-512-256 fixes its own depth."""
    parts = width if isinstance(width, list | tuple) else str(width).split(",") if isinstance(width, str) else [width]
    profiles = [p for p in parts if isinstance(p, str) and "-" in p.strip().lstrip("-")]
    plain = [p for p in parts if p not in profiles]
    shapes: list[tuple[int | str, tuple[int, ...]]] = []
    for text in profiles:
        values = tuple(single("width", v, 1) for v in text.strip().split("-"))
        if depth is not None and parse_numbers(depth, "depth", integer=True, low=1) != [len(values)]:
            raise RequestError(f"the profile {text.strip()} has depth {len(values)}, not {depth}", "depth")
        shapes.append(("-".join(map(str, values)), values))
    depths = parse_numbers(50 if depth is None else depth, "depth", integer=True, low=1)
    widths = parse_numbers(plain, "width", integer=True, low=1) if plain or not profiles else []
    if max(depths) > 10**7:
        raise RequestError(
            f"{max(depths)} layers would need about {gib(max(depths) * 4096 * 8)}; at most 10^7", "depth"
        )
    shapes += [(w, (w,) * d) for d in depths for w in widths]
    return shapes


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


def check_numbers(configs: Iterable[Config], outputs: int) -> None:
    """Evaluate every initializer once at every kind of place, so that a bad value is met before anything runs."""
    seen = set()
    for c in configs:
        key = (c.init, c.init_first, c.init_last, c.bias, c.widths)
        if key not in seen:
            seen.add(key)
            for layer in {1, 2, c.depth} & set(range(1, c.depth + 1)):
                c.weights_at(layer).at(c.place(layer))
                c.bias.at(c.place(layer))
            if outputs:
                (c.init_last or c.init).at(c.place(c.depth + 1, outputs))


def gib(count: float) -> str:
    """Bytes for people."""
    return f"{count / 2**30:.3g} GiB"


def machine_bytes() -> float:
    """Physical memory, or infinity where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return float("inf")


def check_size(configs: Sequence[Config], seeds: int, dtype: str) -> None:
    """Refuse what cannot fit this machine, saying what it would take and which option is to blame."""
    have, itemsize = machine_bytes(), {"float64": 8}.get(dtype, 4)
    for c in configs:
        layer = max(a * b for a, b in itertools.pairwise(c.widths)) * itemsize * 4
        kept = sum(c.widths) * c.batch * itemsize * 2
        for option, need in (("width", layer), ("batch", kept)):
            if need > have:
                shape = f"width {c.width}, depth {c.depth}, batch {c.batch}"
                raise RequestError(f"{shape} needs about {gib(need)} of memory; this machine has {gib(have)}", option)
    results = sum(c.depth + 1 for c in configs) * seeds * 25 * 8 * 2
    if results > have:
        raise RequestError(
            f"{len(configs)} configurations with {seeds} seeds make {gib(results)} of results; this machine "
            f"has {gib(have)}",
            "seeds",
        )
