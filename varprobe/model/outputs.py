"""Which of a model's outputs a loss is made of."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from varprobe.errors import InvalidArgumentError, did_you_mean
from varprobe.model.paths import children_of, parts_of

__all__ = ["Chosen", "attributes_of", "chosen_array", "chosen_part", "is_float", "require_output"]

WAYS = "an index, a key, a path such as 'aux/hidden', or a function of the output"


@jax.tree_util.register_static
@dataclass(frozen=True)
class Chosen:
    """What a loss is made of; a pytree without leaves, so that a traced function can return it.

    path: its place in the output of the model, or the name of the function that picks it; empty for the whole output.
    others: paths of the other arrays of floats in the output.
    """

    path: str
    others: tuple[str, ...]

    @property
    def label(self) -> str:
        """` of output logits`, if there are other outputs."""
        return f" of output {self.path}" if self.path and self.others else ""


def attributes_of(found: Any) -> dict[str, str]:
    """Attributes of a dataset that describe an output among others, from what a loss returns beside the scalar."""
    if not isinstance(found, Chosen) or not found.label:
        return {}
    return {"output": found.path, "other_outputs": json.dumps(found.others)}


def require_output(output: Any) -> None:
    """Check the form of `output=`.

    Raises:
        InvalidArgumentError: it is not an index, a key, a path or a function.
    """
    allowed = output is None or isinstance(output, int | str) or callable(output)
    if not allowed or isinstance(output, bool):
        raise InvalidArgumentError(f"{output!r} does not name an output (allowed: {WAYS})", "output")


def chosen_part(found: Any, output: int | str | Callable[[Any], Any] | None) -> tuple[Any, Chosen]:
    """(part, its description) of what a model returns; the whole if `output` is None.

    Raises:
        InvalidArgumentError: the output does not exist.
    """
    floats = [path for path, part in parts_of(found) if is_float(part)]
    if output is None:
        return found, Chosen("", ())
    if callable(output):
        return output(found), Chosen(str(getattr(output, "__name__", type(output).__name__)), tuple(floats))
    wanted, parts = str(output), dict(parts_of(found))
    if not wanted or wanted not in parts:
        raise InvalidArgumentError(missing(wanted, list(parts)[1:], floats), "output")
    return parts[wanted], Chosen(wanted, outside(wanted, floats))


def chosen_array(found: Any, output: int | str | Callable[[Any], Any] | None) -> tuple[Any, Chosen]:
    """(array, its description): the first array of floats in what `output` picks.

    Raises:
        InvalidArgumentError: the output does not exist, or it contains no floats.
    """
    part, chosen = chosen_part(found, output)
    arrays = [(path, leaf) for path, leaf in parts_of(part) if is_float(leaf)]
    if not arrays:
        whose = f"output {chosen.path}" if chosen.path else "the function"
        verb = "holds" if chosen.path else "returns"
        raise InvalidArgumentError(f"{whose} {verb} no floats, so there is nothing to differentiate")
    path, array = arrays[0]
    if callable(output):
        return array, chosen
    whole = "/".join(filter(None, (chosen.path, path)))
    return array, Chosen(whole, outside(whole, [path for path, part in parts_of(found) if is_float(part)]))


def outside(path: str, floats: list[str]) -> tuple[str, ...]:
    """The paths that are not within this one."""
    return tuple(other for other in floats if other != path and not other.startswith(f"{path}/"))


def missing(wanted: str, parts: list[str], floats: list[str]) -> str:
    """The message for an output that does not exist."""
    if not parts:
        return f"there is no {wanted!r}: the model returns one array (a function picks a part, output=lambda y: y[0])"
    near = did_you_mean(wanted, floats)
    return f"the model returns no {wanted!r}{near or did_you_mean(wanted, parts)}"


def is_float(part: Any) -> bool:
    """Whether a part of a pytree is an array of floats."""
    return hasattr(part, "dtype") and not children_of(part) and bool(jnp.issubdtype(part.dtype, jnp.floating))
