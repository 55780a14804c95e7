"""Compiled programs that are kept, so that a second probe of the same computation compiles nothing."""

from collections.abc import Callable
from typing import Any

import jax

__all__ = ["kept", "run_again"]

HASTY = {"xla_backend_optimization_level": 0}

MOST_KEPT = 8
"""Programs: of four models, with taps and as they are."""


def run_again(function: Callable[..., Any], form: Any, *arguments: Any) -> Callable[..., Any]:
    """The function, to be compiled for what looks like these arguments; or an earlier one that is the same computation.

    On CPU it is compiled without optimizing, since it runs a few times only: that halves the time to compile.

    Args:
        function: what is to be run.
        form: equal for functions that do the same with arguments of the same shapes; None if that cannot be told.
        arguments: arguments of the call.
    """
    fresh = jax.jit(function, compiler_options=HASTY if jax.default_backend() == "cpu" else None)
    if form is None:
        return fresh
    form = (form, jax.tree.structure(arguments), jax.default_backend())
    for i, (known, earlier) in enumerate(kept):
        if known == form:
            kept.append(kept.pop(i))
            return earlier
    kept.append((form, fresh))
    del kept[:-MOST_KEPT]
    return fresh


kept: list[tuple[Any, Callable[..., Any]]] = []
"""What ran last, by its form, the latest last."""
