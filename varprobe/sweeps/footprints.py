"""What a traced function will take once it is compiled, read off its equations: memory at its peak, and work.

A compiler gives memory to what it stores and none to what it fuses into its consumers. Here an elementwise result is
taken for fused unless something needs it whole (a product, a loop, the caller) or it is costly and used twice; loops
keep what they carry in place. Values live from the equation that makes them to the last that reads them, through
everything fused between. Compiling the same program takes ten times as long as tracing it, and the trace is kept.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jax.extend.core import Jaxpr, Literal

from varprobe.engine.scans import scan_counts

__all__ = ["Footprint", "Work", "footprint"]

VIEWS = {
    *("reshape", "squeeze", "expand_dims", "optimization_barrier", "stop_gradient", "name", "copy"),
    *("random_wrap", "random_unwrap", "reduce_precision", "split"),
}
"""What reads the memory of its operand; so does a transpose that only products read."""

COSTLY = {
    *("tanh", "exp", "exp2", "log", "log1p", "expm1", "erf", "erf_inv", "erfc", "logistic", "rsqrt", "sqrt", "cbrt"),
    *("sin", "cos", "tan", "atan2", "pow", "div", "rem", "asinh", "acosh", "atanh", "lgamma", "digamma"),
}
"""Elementwise, and computed once even where it is used twice."""

STORED = {
    *("dot_general", "conv_general_dilated", "while", "scan", "cond", "dynamic_update_slice", "sort", "concatenate"),
    *("gather", "scatter", "scatter-add", "cumsum", "cumprod", "cumlogsumexp", "threefry2x32", "random_bits", "stack"),
    *("triangular_solve", "cholesky", "lu", "qr", "householder_product", "eigh", "svd", "custom_call", "ffi_call"),
    *("pure_callback", "io_callback", "all_gather", "fft", "top_k", "scatter_add"),
}
"""What reads its operands from memory and leaves its result there."""

REDUCTIONS = "reduce_"
"""Begins the names of what stores its result, and takes its operands as they are computed."""

KEY_BYTES = 8
"""Of a threefry key."""

MOST_PACKED = 64 * 2**20
"""What products on CPU copy goes with the cache that processors have."""

SCRATCH = {"sort": 1.0, "random_bits": 3.0, "threefry2x32": 3.0}
"""Memory that a result takes while it is made, over its own."""


class Work(NamedTuple):
    """products: multiplications of matrix products. simple, costly: elementwise results. equations: of the code."""

    products: float = 0.0
    simple: float = 0.0
    costly: float = 0.0
    equations: int = 0

    def plus(self, other: "Work", times: float = 1) -> "Work":
        """With the work of a part that runs so many times."""
        product, simple, costly, equations = (a + times * b for a, b in zip(self, other, strict=True))
        return Work(product, simple, costly, self.equations + other.equations)


class Footprint(NamedTuple):
    """arguments, peak: bytes of what the function is given, and of everything else at its peak, results included."""

    arguments: int
    peak: int
    work: Work

    @property
    def bytes(self) -> int:
        """All together."""
        return self.arguments + self.peak


@dataclass(eq=False)
class Value:
    """An array, or a view of `whole`.

    number: of a scalar, the largest that it may be, where that is known. needed: whether it has to stand in memory.
    """

    bytes: int
    shape: tuple[int, ...]
    kind: str
    number: int | None = None
    whole: "Value | None" = None
    needed: bool = False
    uses: int = 0
    last: int = -1
    buffer: "Buffer | None" = None

    @property
    def size(self) -> int:
        """Entries."""
        return math.prod(self.shape)

    @property
    def root(self) -> "Value":
        """What it is a view of, itself if of nothing."""
        return self if self.whole is None else self.whole.root


@dataclass(eq=False)
class Buffer:
    """Memory, and the step after which nothing reads it; `own`: given up by the caller, or made here."""

    bytes: int
    last: int
    own: bool = True


@dataclass(eq=False)
class Step:
    """One equation; `bodies` are those of a loop or of branches, as flat lists."""

    name: str
    inputs: list[Value]
    outputs: list[Value]
    params: dict[str, Any]
    bodies: list["Body"] = field(default_factory=list)

    @property
    def fused(self) -> bool:
        """Whether its result needs no memory of its own."""
        return self.name not in STORED and not self.name.startswith(REDUCTIONS)


class Body(NamedTuple):
    """Equations with all calls inlined."""

    inputs: list[Value]
    steps: list[Step]
    outputs: list[Value]


def footprint(jaxpr: Any, platform: str = "cpu", donated: Sequence[bool] = ()) -> Footprint:
    """What a closed jaxpr takes on a platform.

    Args:
        jaxpr: of the function, such as `jax.jit(f).trace(...).jaxpr`.
        platform: which branch of `lax.platform_dependent` counts: cpu, cuda, rocm or tpu.
        donated: of each flat argument whether its memory may be used for results.
    """
    body = flattened(jaxpr.jaxpr, platform)
    given = donated or (False,) * len(body.inputs)
    for value, own in zip(body.inputs, given, strict=True):
        value.buffer = Buffer(0, -1, own)
    constants = sum(np.asarray(c).nbytes if isinstance(c, np.ndarray) else 0 for c in jaxpr.consts)
    peak = peak_of(body, platform, body.outputs, [])
    packed = packed_of(body) if platform == "cpu" else 0
    return Footprint(sum(v.bytes for v in body.inputs) + constants, peak + packed, work_of(body))


def flattened(jaxpr: Jaxpr, platform: str) -> Body:
    """A jaxpr with its calls inlined, and those branches that are for other platforms left out."""
    inputs = [value_of(v) for v in jaxpr.invars]
    steps: list[Step] = []
    body = Body(inputs, steps, inline(jaxpr, inputs, platform, steps))
    see_transposes(body)
    return body


def see_transposes(body: Body) -> None:
    """Make views of those transposes that only products read."""
    others = {id(value) for step in body.steps if step.name != "dot_general" for value in step.inputs}
    others |= set(map(id, body.outputs))
    for step in body.steps:
        if step.name == "transpose" and id(step.outputs[0]) not in others:
            step.outputs[0].whole = step.inputs[0]


def value_of(atom: Any) -> Value:
    """A new value in the shape of a variable, or a literal."""
    shape, dtype = tuple(getattr(atom.aval, "shape", ())), getattr(atom.aval, "dtype", None)
    if isinstance(atom, Literal):
        whole = np.ndim(atom.val) == 0 and np.asarray(atom.val).dtype.kind in "iub"
        return Value(0, shape, str(dtype), int(atom.val) if whole else None)
    each = KEY_BYTES if str(dtype).startswith("key<") else getattr(dtype, "itemsize", 0)
    return Value(math.prod(shape) * each, shape, str(dtype))


def inline(jaxpr: Jaxpr, inputs: Sequence[Value], platform: str, steps: list[Step]) -> list[Value]:
    """Append the equations of a jaxpr to `steps`; its results."""
    known: dict[Any, Value] = dict(zip(jaxpr.invars, inputs, strict=True))
    known |= {v: value_of(v) for v in jaxpr.constvars}

    def read(atom: Any) -> Value:
        return value_of(atom) if isinstance(atom, Literal) else known[atom]

    for eqn in jaxpr.eqns:
        name, given = eqn.primitive.name, [read(atom) for atom in eqn.invars]
        called = next((eqn.params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in eqn.params), None)
        if name == "cond" and (which := given[0].number) is not None:
            called, given = eqn.params["branches"][which], given[1:]
        if called is not None and name != "scan":
            outputs = inline(opened(called), given, platform, steps)
        else:
            outputs = [value_of(v) for v in eqn.outvars]
            steps.append(Step(name, given, outputs, eqn.params, bodies_of(eqn, platform)))
            if outputs and outputs[0].size == 1:
                outputs[0].number = largest(name, given, eqn.params, platform)
            if name in VIEWS:
                for out in outputs:
                    out.whole = given[0]
        known.update(zip(eqn.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def opened(jaxpr: Any) -> Jaxpr:
    """A jaxpr, closed or not, without its constants' values."""
    return getattr(jaxpr, "jaxpr", jaxpr)


def bodies_of(eqn: Any, platform: str) -> list[Body]:
    """What an equation runs."""
    params = eqn.params
    inner = {"scan": ("jaxpr",), "while": ("body_jaxpr",)}.get(eqn.primitive.name, ())
    found = [params[k] for k in inner] + list(params.get("branches", ()))
    return [flattened(opened(jaxpr), platform) for jaxpr in found]


def largest(name: str, given: list[Value], params: dict[str, Any], platform: str) -> int | None:
    """The largest that a scalar may be: what loops run to, and which branch a platform takes."""
    if name == "platform_index":
        return next(i for i, names in enumerate(params["platforms"]) if names is None or platform in names)
    numbers = [v.number for v in given]
    if name in ("convert_element_type", "clamp", "broadcast_in_dim", "reshape", "squeeze", "stop_gradient"):
        return numbers[1] if name == "clamp" else numbers[0]
    if name == "select_n" and all(n is not None for n in numbers[1:]):
        return max(n for n in numbers[1:] if n is not None)
    return None


def peak_of(body: Body, platform: str, results: Sequence[Value], carried: Sequence[tuple[Value, Value]]) -> int:
    """Most memory at once beyond that of the inputs.

    Args:
        body: what runs.
        platform: where.
        results: outputs that have to stand in memory at the end.
        carried: (input, output) pairs of a loop, whose memory is the input's wherever that is no longer read.
    """
    read_backward(body, results)
    ends: dict[int, list[Buffer]] = {}
    slices = [v for v in body.inputs if v.buffer is None and v.needed]
    for value in slices:
        value.buffer = Buffer(value.bytes, value.last)
        ends.setdefault(value.last, []).append(value.buffer)
    live = peak = sum(value.bytes for value in slices)
    homes = {out.root: value.root for value, out in carried}
    for i, step in enumerate(body.steps):
        inside = within(step, platform)
        for out in step.outputs:
            if out.whole is not None or not out.needed:
                continue
            old = host_of(step, out, i) or carried_home(homes.get(out), out, i, step.fused)
            if old is not None:
                out.buffer = old
                old.last = max(old.last, out.last)
                continue
            out.buffer = Buffer(out.bytes, out.last)
            live += out.bytes
            ends.setdefault(out.last, []).append(out.buffer)
        peak = max(peak, live + inside)
        for buffer in ends.pop(i, []):
            if buffer.last > i:  # something took it over
                ends.setdefault(buffer.last, []).append(buffer)
            else:
                live -= buffer.bytes
    return peak


def read_backward(body: Body, results: Sequence[Value]) -> None:
    """Find what has to stand in memory, and until when."""
    end = len(body.steps)
    for value in results:
        value.root.needed, value.root.last = True, end
    for i in reversed(range(end)):
        step = body.steps[i]
        for value in step.inputs:
            value.root.uses += 1
    for i in reversed(range(end)):
        step = body.steps[i]
        for out in step.outputs:
            if out.whole is None and not step.fused:
                out.needed = True
            elif out.whole is None and step.name in COSTLY and out.uses > 1:
                out.needed = True
        if step.outputs and step.outputs[0].whole is not None:
            continue
        until = max((i, *(out.last for out in step.outputs if not out.needed)))
        whole = wholes(step)
        for j, value in enumerate(step.inputs):
            root = value.root
            root.last = max(root.last, until)
            root.needed = root.needed or j in whole


def wholes(step: Step) -> Iterable[int]:
    """Which operands have to stand in memory: not those of what is fused or reduced, nor what is written elsewhere."""
    if step.fused or step.name.startswith(REDUCTIONS) or step.name in ("concatenate", "stack"):
        return ()
    if step.name == "dynamic_update_slice":
        return (0,)
    return range(len(step.inputs))


def host_of(step: Step, out: Value, i: int) -> Buffer | None:
    """The memory of an operand that a result is written into: of an update, and of what a loop carries."""
    if step.name == "dynamic_update_slice":
        operands = [step.inputs[0]]
    elif step.name == "scan":
        (first, count), place = scan_counts(step.params), step.outputs.index(out)
        operands = step.inputs[first + place :][:1] if place < count else []
    elif step.name == "while":
        first = step.params["cond_nconsts"] + step.params["body_nconsts"]
        operands = [step.inputs[first + step.outputs.index(out)]]
    else:
        return None
    for value in operands:
        buffer = value.root.buffer
        if buffer is not None and buffer.own and max(value.root.last, buffer.last) <= i:
            return buffer
    return None


def carried_home(old: Value | None, out: Value, i: int, fused: bool) -> Buffer | None:
    """The memory of what a loop carried in, once it is read for the last time; what is fused may read it as it goes."""
    if old is None or old.buffer is None or old.bytes != out.bytes:
        return None
    return old.buffer if max(old.last, old.buffer.last) < i + fused else None


def within(step: Step, platform: str) -> int:
    """Memory that a step takes inside, beyond its operands and results."""
    result = sum(out.bytes for out in step.outputs)
    if step.name == "scan":
        (body,) = step.bodies
        first, count = scan_counts(step.params)
        wider = 2 * half_bytes(step.outputs[:count], platform) + half_bytes(step.outputs[count:], platform)
        return wider + loop_peak(body, platform, first, first + count, body.outputs[:count])
    if step.name == "while":
        (body,) = step.bodies
        return loop_peak(body, platform, step.params["body_nconsts"], len(body.inputs), body.outputs)
    if step.name == "cond":
        for body in step.bodies:
            for value in body.inputs:
                value.buffer = Buffer(0, -1, own=False)
        return max(max(0, peak_of(body, platform, body.outputs, []) - result) for body in step.bodies)
    if step.name == "dot_general" and platform == "cpu":
        return turned_bytes(step)
    return int(SCRATCH.get(step.name, 0) * result)


def turned_bytes(step: Step) -> int:
    """Copies of the operands of many products in one, whose rows and columns must lie in a certain order on CPU."""
    (left_sums, right_sums), (left_many, right_many) = step.params["dimension_numbers"]
    left, right = step.inputs
    if not left_many:
        return 0
    lies = (len(left.shape) - 1 in left_sums, len(right_many) in right_sums)
    return sum(value.bytes for value, good in zip((left, right), lies, strict=True) if not good)


def half_bytes(values: Sequence[Value], platform: str) -> int:
    """Memory of those in bfloat16, which the compiler for CPU writes in float32 first."""
    return sum(value.bytes for value in values if platform == "cpu" and value.kind == "bfloat16")


def loop_peak(body: Body, platform: str, first: int, last: int, new: Sequence[Value]) -> int:
    """The peak of a loop's body whose inputs first..last are carried to `new`; what follows them is sliced."""
    for i, value in enumerate(body.inputs[:last]):
        value.buffer = Buffer(0, -1, own=i >= first)
    return peak_of(body, platform, new, list(zip(body.inputs[first:last], new, strict=True)))


def work_of(body: Body) -> Work:
    """The work of all steps."""
    total = Work()
    for step in body.steps:
        total = total.plus(step_work(step), trips(step))
    return total


def trips(step: Step) -> int:
    """How often a loop runs, 1 of what is none."""
    if step.name == "scan":
        return step.params["length"]
    if step.name == "while":
        return max((v.number for v in step.inputs if v.number is not None), default=1)
    return 1


def step_work(step: Step) -> Work:
    """The work of one step; of the branches of a condition the hardest counts."""
    if step.bodies:
        works = [work_of(body) for body in step.bodies]
        return max(works)._replace(equations=sum(work.equations for work in works))
    if step.name in VIEWS:
        return Work()
    if step.name in ("dot_general", "conv_general_dilated"):
        return Work(products=multiplications(step), equations=1)
    size = max((v.size for v in (*step.outputs, *step.inputs)), default=0)
    return Work(costly=size, equations=1) if step.name in COSTLY else Work(simple=size, equations=1)


def multiplications(step: Step) -> float:
    """Of a matrix product or a convolution."""
    left, right = (value.shape for value in step.inputs[:2])
    if step.name == "dot_general":
        (contracted, _), _ = step.params["dimension_numbers"]
        return float(step.outputs[0].size) * math.prod(left[i] for i in contracted)
    return float(step.outputs[0].size) * math.prod(right) / right[step.params["dimension_numbers"].rhs_spec[0]]


def packed_of(body: Body) -> int:
    """The most that a product or a convolution on CPU copies, beside the memory that the compiler plans.

    A product's operands are copied in blocks, a convolution's input once for each entry of the kernel.
    """
    most = 0
    for step in body.steps:
        if step.name == "dot_general":
            most = max(most, sum(value.bytes for value in step.inputs))
        if step.name == "conv_general_dilated":
            (out,), right = step.outputs, step.inputs[1].shape
            channels = right[step.params["dimension_numbers"].rhs_spec[0]]
            most = max(most, 2 * (out.bytes // channels) * (math.prod(right) // channels))
        most = max(most, *(packed_of(inner) for inner in step.bodies), 0)
    return min(most, MOST_PACKED)
