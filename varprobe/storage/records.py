"""The record of a run folder, spec.json: what was asked for, what computed it, and whether it is finished."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

from varprobe.errors import InvalidArgumentError
from varprobe.storage.checksums import DamagedError, sealed_json, unsealed_json
from varprobe.storage.files import checked, put, writing
from varprobe.storage.kinds import DESCRIPTIONS

__all__ = [
    "CONTENT",
    "OLDER",
    "RECORD",
    "Record",
    "asked",
    "difference",
    "has_record",
    "read_values",
    "record_name",
    "require_storable",
    "required_values",
]

RECORD = "spec.json"
OLDER = {"training.json": "a training run", "model.json": "a model's run"}
"""Records of these kinds had names of their own in version 0.1."""

FILES = (RECORD, "cells", "probes", "training", "results.nc", "results.csv")
"""What a run may hold besides figures. None of it may be a link that leads out of the folder."""

CONTENT = ("code", "data_digest")
"""Keys of a spec that say what was in the user's files; the others say what was asked for."""

COMMON = {"spec", "versions", "machines", "arguments", "results"}


@dataclass(frozen=True, kw_only=True)
class Record:
    """What spec.json holds.

    Attributes:
        kind: the kind of the dataset, see `varprobe.storage.kinds`.
        spec: the request, canonical.
        versions: of what computed it, and the platform of the devices.
        identity: the hash of all that decides the numbers of the run, or a random one if that cannot be known.
        machines: those that it was begun or resumed on. They do not decide the names of files, since a run may be
            resumed on another node of a cluster; processors of different kinds round differently.
        arguments: from which the run can be made again; None if they cannot be written down.
        unrepeatable: why they cannot.
        results: the sha256 of results.nc; None until that is written.
    """

    kind: str = "sweep"
    spec: dict[str, Any]
    versions: dict[str, Any]
    identity: str = ""
    machines: list[dict[str, Any]]
    arguments: dict[str, Any] | None
    unrepeatable: str = ""
    results: str | None = None

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """The record with these values. Raises DamagedError if they are not those of a record."""
        hints = get_type_hints(cls)
        try:
            record = cls(**values)
        except TypeError as error:
            raise DamagedError("is not one that varprobe wrote") from error
        odd = next((name for name, hint in hints.items() if not fits(getattr(record, name), hint)), None)
        if odd is not None:
            raise DamagedError(f"holds {brief(getattr(record, odd))!r} as {odd}")
        return record

    def save(self, folder: Path) -> None:
        """Write spec.json, one key per line. Raises OSError."""
        content = sealed_json(vars(self))
        put(folder / RECORD, lambda file: file.write(content))

    def finished(self, folder: Path, results: str) -> Self:
        """Write the record with the sha256 of results.nc.

        Raises:
            MachineError: the disk refuses.
        """
        record = replace(self, results=results)
        with writing(folder / RECORD):
            record.save(folder)
        for name in OLDER:  # the same run as version 0.1 wrote it
            (folder / name).unlink(missing_ok=True)
        return record

    def after(self, before: "Record | None") -> Self:
        """This record if a run is resumed that had the record `before`: the same run keeps its results and machines."""
        if before is None or before.identity != self.identity:
            return self
        machines = [*before.machines, *(m for m in self.machines if m not in before.machines)]
        return replace(self, results=before.results, machines=machines)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value of JSON is of an annotated type: a plain type, a list or a dict, or a union of them."""
    if get_origin(hint) in (Union, UnionType):
        return any(fits(value, one) for one in get_args(hint))
    if get_origin(hint) is list:
        return isinstance(value, list) and all(fits(item, get_args(hint)[0]) for item in value)
    return hint is Any or isinstance(value, get_origin(hint) or hint)


def asked(spec: dict[str, Any]) -> dict[str, Any]:
    """The part of a spec that says what was asked for, not what was in the user's files."""
    return {key: value for key, value in spec.items() if key not in CONTENT}


def difference(kind: str, spec: dict[str, Any], other_kind: str, other: dict[str, Any]) -> str:
    """What another run asked for that this one does not, in words; empty if they are the same."""
    if kind != other_kind:
        return f"it is {DESCRIPTIONS.get(other_kind, other_kind)} there and {DESCRIPTIONS[kind]} here"
    here, there = asked(spec), asked(other)
    for key in dict.fromkeys([*here, *there]):
        if json.dumps(here.get(key)) != json.dumps(there.get(key)):
            return f"{key} is {brief(there.get(key))} there and {brief(here.get(key))} here"
    return ""


def require_storable(spec: dict[str, Any]) -> None:
    """Refuse a request with text that no file of results can hold, before anything is computed.

    Raises:
        InvalidArgumentError: names the argument.
    """
    for key, value in spec.items():
        for text in value if isinstance(value, list) else [value]:
            try:
                if "\0" in str(text):
                    raise ValueError
                str(text).encode()
            except ValueError:  # a lone surrogate, such as half a character of a file name
                what = "a null character or half a character, which results.nc cannot hold"
                raise InvalidArgumentError(f"{text!r:.80} has {what}", key) from None


def brief(value: Any) -> str:
    """A value of a spec, cut to what fits a line."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{text[:57]}..." if len(text) > 60 else text or "nothing"


def record_name(folder: Path) -> str | None:
    """The name of the record that a folder has; None if it has none."""
    return next((name for name in (RECORD, *OLDER) if os.path.lexists(folder / name)), None)


def has_record(folder: Path) -> bool:
    """Whether a folder holds a run, damaged or not."""
    return record_name(folder) is not None


def read_values(folder: Path) -> dict[str, Any]:
    """The values of a run folder's record, those of older versions under today's names.

    Raises:
        DamagedError: it is missing, damaged, of another version, or not a record.
    """
    name = record_name(folder) or RECORD
    values = unsealed_json(checked(folder / name, folder))
    values.pop("varprobe", None)
    if name != RECORD and "machine" in values:
        values["machines"] = [values.pop("machine")]
    if name == "training.json":
        values["kind"] = str(dict(values.get("spec") or {}).get("command"))
    elif name == "model.json":
        values["arguments"] = values["spec"] = values.pop("asked", None)
        command = values["spec"].get("command") if isinstance(values["spec"], dict) else None
        values["kind"] = "coord_check" if command == "coord-check" else "probe"
    values.setdefault("kind", "sweep")
    if not set(values) >= COMMON or not isinstance(values["spec"], dict) or not isinstance(values["kind"], str):
        raise DamagedError("is not one that varprobe wrote")
    return values


def required_values(folder: Path, option: str) -> dict[str, Any]:
    """`read_values` of a run folder that the user named.

    Raises:
        InvalidArgumentError: varprobe did not write it, or a file is a link that leads out of the folder.
    """
    for name in FILES:
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise InvalidArgumentError(f"{folder / name} is a link that leads out of the run folder", option)
    name = record_name(folder) or RECORD
    try:
        return read_values(folder)
    except DamagedError as error:
        why = str(error)
    except Exception:  # the file may hold anything
        why = "is another program's, or damaged"
    raise InvalidArgumentError(f"{folder} is not a run that varprobe wrote: its {name} {why}", option)
