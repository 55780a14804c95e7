"""Whether the plan in spec.json adds up: what it asks for, its cells, and the hashes that are their names."""

import json
from collections.abc import Iterator
from itertools import chain

from varprobe.sweeps.probe_options import ProbeOptions
from varprobe.sweeps.record import NAME, SweepRecord, cell_name, identity_of

__all__ = ["once", "plan_faults"]

OF_THE_SPEC = ("act", "init", "bias", "arch", "depth", "width", "batch")
"""Coordinates whose values are those of the spec."""


def plan_faults(record: SweepRecord) -> list[str]:
    """What does not add up, each to be read behind "spec.json"; no more than one where a part is missing."""
    try:
        return list(faults(record))
    except Exception as error:  # the checksum may be right, and the rest anything
        return [f"does not add up ({type(error).__name__}: {' '.join(str(error).split())[:60]})"]


def once(record: SweepRecord) -> str:
    """The suffix of a run whose code cannot be hashed; empty for others."""
    return NAME.fullmatch(record.identity)["once"] or ""  # type: ignore[index]


def faults(record: SweepRecord) -> Iterator[str]:
    """`plan_faults`, one by one; raises whatever fits where a part is missing."""
    spec, shared, each = record.spec, record.deciding["shared"], record.deciding["each"]
    lengths = {name: len(values) for name, values in record.coordinates.items()}
    if wrong := [name for name, length in lengths.items() if length != len(each)]:
        yield f"has {lengths[wrong[0]]} values of {wrong[0]} for {len(each)} configurations"
        return
    if sorted(chain.from_iterable(group["configs"] for group in record.groups)) != list(range(len(each))):
        yield "does not give every configuration one place among the cells"
        return
    for name in OF_THE_SPEC:
        if odd := set(map(str, record.coordinates[name])) ^ set(map(str, spec[name])):
            yield f"has {name} {min(odd)} either in what was asked for or in a configuration, not in both"
    text, suffix = json.dumps(shared), once(record)
    for group in record.groups:
        if {record.coordinates["depth"][i] for i in group["configs"]} != {group["depth"]}:
            yield f"gives a cell depth {group['depth']} that its configurations do not have"
        hashes = [each[i] for i in group["configs"]]
        if group["cells"] != [cell_name(text, seed, hashes) + suffix for seed in range(spec["seeds"])]:
            yield f"names cells that are not those of configuration {group['configs'][0]} and its seeds"
    if record.identity != identity_of(text, each, spec["seeds"], ProbeOptions.of_spec(spec)) + suffix:
        yield "has an identity that is not the hash of what it holds"
    said = {name: spec[name] for name in ("root_seed", "loss", "dtype", "forward_only")}
    said |= {"real_range": spec["range"] == "dtype", "data": spec["data_digest"]}
    said |= {"versions": {k: v for k, v in record.versions.items() if k != "varprobe"}}
    for name, value in said.items():
        if shared[name] != value:
            yield f"has two values of {name}"
    if json.loads(record.attributes["spec"]) != spec:
        yield "gives the dataset another spec than its own"
    for name in ("root_seed", "seeds", "loss", "range"):
        if record.attributes[name] != spec[name]:
            yield f"gives the dataset another {name} than its own"
