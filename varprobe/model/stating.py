"""Roles of arguments that the user names, `frozen=` and `data=`, in place of a guess."""

from collections.abc import Sequence
from typing import Any

from varprobe.errors import InvalidArgumentError, did_you_mean
from varprobe.model.calls import Form
from varprobe.model.given import DATA, FROZEN, Given

__all__ = ["with_roles"]


def with_roles(given: Sequence[Given], form: Form, count: int, frozen: Any, data: Any) -> tuple[Given, ...]:
    """The arrays of a batch with the roles that the user names.

    Args:
        given: the arrays, with roles by their types.
        form: how the model is called.
        count: number of arguments in the batch.
        frozen: arguments that hold frozen parameters: a name, a position, a path into one, or several; None for none.
        data: arguments that hold data, likewise.

    Raises:
        InvalidArgumentError: an argument does not exist, or is in both.
    """
    roles: dict[int, str] = {}
    for option, wanted, role in (("frozen", frozen, FROZEN), ("data", data, DATA)):
        for one in wanted if isinstance(wanted, list | tuple | set | frozenset) else [] if wanted is None else [wanted]:
            for i in arrays_of(one, option, given, form, count):
                if roles.setdefault(i, role) != role:
                    raise InvalidArgumentError(f"{given[i].name} is in frozen=, too; an array has one role", option)
    return tuple(g._replace(role=roles[i], stated=True) if i in roles else g for i, g in enumerate(given))


def arrays_of(one: Any, option: str, given: Sequence[Given], form: Form, count: int) -> list[int]:
    """Which arrays an argument's name or position, or a path into it, refers to.

    Raises:
        InvalidArgumentError: it refers to none.
    """
    names, last = form.names(count), form.before + count - 1
    if isinstance(one, bool) or not isinstance(one, int | str):
        raise InvalidArgumentError(f"{one!r} is not an argument (allowed: {allowed(names, form.before, last)})", option)
    if one in (0, *form.positional()[:1]) and form.before:
        raise InvalidArgumentError(
            f"{one!r} is the argument that is differentiated; jax.lax.stop_gradient freezes a part of it "
            f"(allowed: {allowed(names, form.before, last)})",
            option,
        )
    if isinstance(one, int):
        if not form.before <= one <= last:
            raise InvalidArgumentError(
                f"there is no argument {one} (allowed: {allowed(names, form.before, last)})", option
            )
        one = names[one - form.before]
    found = [i for i, g in enumerate(given) if g.argument < count and f"{g.name}/".startswith(f"{one}/")]
    if not found and one in names:
        raise InvalidArgumentError(f"{one!r} holds no array", option)
    if not found:
        within = [g.name for g in given if g.name.partition("/")[0] == one.partition("/")[0]]
        raise InvalidArgumentError(f"there is no argument {one!r}{did_you_mean(one, within or names)}", option)
    return found


def allowed(names: Sequence[str], first: int, last: int) -> str:
    """`x, y, or positions 1 to 2`."""
    if not names:
        return "none, since there is no argument after the parameters"
    return f"{', '.join(names)}, or position{'s' * (first < last)} {first}{f' to {last}' * (first < last)}"
