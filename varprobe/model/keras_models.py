"""Models of Keras 3 on its JAX backend."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax.numpy as jnp
import keras

from varprobe.errors import InvalidArgumentError
from varprobe.model.bridge import Bridge, require_model, unchanged
from varprobe.model.libraries import Split, name_of

__all__ = ["KERAS"]


def split(function: Callable[..., Any], model: Any) -> Split:
    """A function of a Keras model, as a function of its trainable variables by their paths.

    Other variables, such as running means and the states of seed generators, are constants; kernels among them are
    frozen parameters. The model itself is not changed.

    Raises:
        InvalidArgumentError: Keras has another backend, or the model has no variables yet.
    """
    if keras.backend.backend() != "jax":
        raise InvalidArgumentError(
            f"{name_of(model)} is a model of Keras on the {keras.backend.backend()} backend (allowed: jax; set "
            "KERAS_BACKEND=jax before keras is imported)"
        )
    if not model.built:
        raise InvalidArgumentError(
            f"{name_of(model)} has no variables yet: build it, as by model(x), before it is probed"
        )
    trained, others = model.trainable_variables, model.non_trainable_variables
    names = paths_of([*trained, *others])
    values = {name: variable.value for name, variable in zip(names, (*trained, *others), strict=True)}
    parameters, state = dict(list(values.items())[: len(trained)]), dict(list(values.items())[len(trained) :])
    frozen = {
        name: value for name, value in state.items() if value.ndim > 1 and jnp.issubdtype(value.dtype, jnp.floating)
    }

    def call(parameters: Any, *batch: Any) -> tuple[Any, Any]:
        mapped = [(v, (state | parameters)[name]) for name, v in zip(names, (*trained, *others), strict=True)]
        with plain_errors(), keras.StatelessScope(state_mapping=mapped):
            return function(model, *batch), None

    def extract(fresh: Any) -> Any:
        """By position: the paths of a second model have other numbers in them."""
        require_model(fresh, "keras")
        values = [variable.value for variable in fresh.trainable_variables]
        if len(values) != len(parameters):
            raise InvalidArgumentError(
                f"init gives {len(values)} trainable variables, and the model has {len(parameters)}", "init"
            )
        return dict(zip(parameters, values, strict=True))

    return Split(call, parameters, extract, lambda state: None, frozen)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Errors of JAX as they are: Keras builds them again with other arguments, which fails."""
    filtered = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()
    try:
        yield
    finally:
        if filtered:
            keras.config.enable_traceback_filtering()


def paths_of(variables: Sequence[Any]) -> list[str]:
    """The path of each variable, with a number behind paths that come again."""
    paths = [str(variable.path) for variable in variables]
    counts = [paths[:i].count(path) for i, path in enumerate(paths)]
    return [f"{path}#{count + 1}" if count else path for path, count in zip(paths, counts, strict=True)]


def loss_of(loss: Any) -> Any:
    """A loss of Keras, which takes the target first, as loss(output, target)."""
    if not isinstance(loss, keras.losses.Loss):
        return loss

    def measure(output: Any, target: Any) -> Any:
        return loss(target, output)

    measure.__name__ = name_of(loss)
    return measure


KERAS = Bridge(split, lambda model: model.call, unchanged, loss_of)
