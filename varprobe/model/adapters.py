"""From the arguments of `varprobe.probe` to a function of parameters that returns a scalar."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.model.bridges import PYTREES, bridge_of
from varprobe.model.calls import Form, checked_call, signature_of
from varprobe.model.foreign import is_array, refuse_foreign_arrays, refuse_foreign_model, refuse_numbers
from varprobe.model.given import FROZEN, OTHER, Given, given_of
from varprobe.model.libraries import (
    Split,
    is_linen,
    is_module,
    is_transformed,
    name_of,
    of_transformed,
    of_variables,
)
from varprobe.model.objectives import objective_of
from varprobe.model.outputs import Chosen
from varprobe.model.stating import with_roles

__all__ = ["ProbeTarget", "is_alone", "parameters_argument", "subject_of"]


class ProbeTarget(NamedTuple):
    """What is probed.

    function: (parameters, *batch) -> (scalar, (what else it returns, state that it leaves)). parameters: a pytree whose
    leaves are arrays of floats. batch: the arrays among what follows, and frozen parameters of the model; given: what
    each of them is. extract: the parameters of a fresh model, or of fresh parameters, of the same form. keep: gives the
    state back to the model, where it has one. noise: whether the last of the batch is the seed of a random cotangent.
    name: as messages call it; loss: what is differentiated.
    """

    function: Callable[..., tuple[Any, Any]]
    parameters: Any
    batch: tuple[Any, ...]
    given: tuple[Given, ...]
    extract: Callable[[Any], Any]
    keep: Callable[[Any], None]
    noise: bool
    name: str
    loss: str

    def about(self, batch: int, chosen: Any = None) -> tuple[tuple[str, Any], ...]:
        """The coordinates on `config`, for so many samples; what has no meaning for a model is empty.

        Args:
            batch: number of samples.
            chosen: what the function returns beside the scalar, the description of an output among others.
        """
        dtypes = sorted({str(jax.dtypes.canonicalize_dtype(leaf.dtype)) for leaf in jax.tree.leaves(self.parameters)})
        loss = self.loss + (chosen.label if isinstance(chosen, Chosen) else "")
        empty = (*((name, "") for name in ("act", "init", "bias", "norm")), ("width", 0))
        return (("arch", self.name), *empty, ("batch", batch), ("loss", loss), ("dtype", "+".join(dtypes)))


def subject_of(
    model: Any, arguments: tuple[Any, ...], loss: Any, output: Any = None, frozen: Any = None, data: Any = None
) -> ProbeTarget:
    """What `vp.probe` is given, read.

    Raises:
        InvalidArgumentError: the model cannot be called or has no parameters, or the loss, output or argument is
            unknown.
    """
    subject = model if is_alone(model) else next(iter(arguments), None)
    bridge, form = bridge_of(subject), form_of(model)
    for thing in (*(model if isinstance(model, tuple) else (model,)), *arguments):
        if thing is not subject or bridge is PYTREES:
            refuse_foreign_model(thing)
    if isinstance(model, tuple) and len(model) == 2 and is_linen(model[0]):
        split, batch = of_variables(model[0].apply, model[1]), arguments
    elif is_transformed(model):
        if not arguments:
            raise InvalidArgumentError("a transformed function needs its parameters: probe(transformed, params, x)")
        split, batch = of_transformed(model, arguments[0]), arguments[1:]
    elif is_linen(model):
        raise InvalidArgumentError("a Linen module and its variables are one argument: probe((module, variables), x)")
    elif is_module(model):
        split, batch = bridge.split(lambda model, *batch: model(*batch), model), arguments
    elif not callable(model):
        raise InvalidArgumentError(f"{type(model).__name__} is no function and no model")
    elif not arguments:
        raise InvalidArgumentError("a function needs parameters: probe(loss_fn, params, *batch)")
    else:
        refuse_foreign_arrays("params", arguments[0])
        split, batch = bridge.split(model, arguments[0]), arguments[1:]
    if form.before == 0 and loss is None:
        loss = "cotangent"
    found = joined(form, split, bridge.arrays(batch), bridge.loss(loss), output)
    return found._replace(given=with_roles(found.given, form, len(batch), frozen, data))


def form_of(model: Any) -> Form:
    """How a model is called."""
    if isinstance(model, tuple) and model and is_linen(model[0]):
        keyword = "lambda variables, x: module.apply(variables, x, {keyword}=...)"
        return Form(name_of(model[0]), signature_of(type(model[0]).__call__, ("self",)), 0, keyword)
    if is_transformed(model):
        return Form(name_of(model), signature_of(model.apply, ("params", "state", "rng")), 0)
    if is_module(model):
        method = bridge_of(model).method(model)
        return Form(name_of(model), signature_of(method), 0, "lambda model, x: model(x, {keyword}=...)")
    return Form(name_of(model), signature_of(model), 1)


def is_alone(model: Any) -> bool:
    """Whether a model has its parameters with it, so that only the batch follows."""
    return (isinstance(model, tuple) and not is_transformed(model)) or is_module(model)


def parameters_argument(model: Any, *arguments: Any) -> Any:
    """What of the arguments of `vp.probe` holds the parameters, as its init returns it."""
    if isinstance(model, tuple) and not is_transformed(model):
        return model[1]
    return model if is_module(model) else arguments[0]


def joined(form: Form, split: Split, batch: tuple[Any, ...], loss: Any, output: Any) -> ProbeTarget:
    """A model with its loss; what is no array in the batch is a constant.

    Raises:
        InvalidArgumentError: there is nothing to differentiate, no such loss, or a part of the batch is not for jax.
    """
    if not jax.tree.leaves(split.parameters):
        where = "its first argument; probe(loss_fn, params, *batch)" if form.before else "it, or in what comes after it"
        raise InvalidArgumentError(f"{form.name} has no parameters: there is no array of floats in {where}")
    names = form.names(len(batch))
    for name, argument in zip(names, batch, strict=True):
        refuse_foreign_arrays(name, argument)
    refuse_numbers(names, batch)
    leaves, shape = jax.tree.flatten(batch)
    arrays = list(map(is_array, leaves))
    constants = [None if array else leaf for leaf, array in zip(leaves, arrays, strict=True)]
    measure, call = objective_of(loss, len(batch), output), checked_call(split.call, form, loss)

    def function(parameters: Any, *data: Any) -> tuple[Any, Any]:
        found = iter(data)
        whole = [next(found) if array else c for c, array in zip(constants, arrays, strict=True)]
        if split.frozen:
            parameters = parameters | {name: next(found) for name in split.frozen}
        return measure(call, parameters, jax.tree.unflatten(shape, whole), *found)

    data = (*(leaf for leaf, array in zip(leaves, arrays, strict=True) if array), *split.frozen.values())
    noise = loss == "cotangent"
    frozen = [Given(len(batch), f"frozen/{name}", FROZEN, stated=True) for name in split.frozen]
    seed = [Given(len(batch) + 1, "seed", OTHER)] if noise else []
    return ProbeTarget(
        function,
        split.parameters,
        (*data, np.int32(0)) if noise else data,
        (*given_of(names, batch, arrays), *frozen, *seed),
        split.extract,
        split.keep,
        noise,
        form.name,
        loss if isinstance(loss, str) else "its own" if loss is None else name_of(loss),
    )
