"""Modules of torch, whose operations torchax runs on arrays of JAX."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import torch
import torchax
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from varprobe.errors import InvalidArgumentError
from varprobe.model.bridge import Bridge, require_model
from varprobe.model.libraries import Split, name_of

__all__ = ["TORCH"]


class Called(torch.nn.Module):
    """A function of a module, as a module, so that `torch.func.functional_call` takes its tensors from elsewhere."""

    def __init__(self, function: Callable[..., Any], module: Any) -> None:
        super().__init__()
        self.function, self.module = function, module

    def forward(self, *batch: Any) -> Any:
        """function(module, *batch)."""
        return self.function(self.module, *batch)


class Modes(TorchFunctionMode):
    """The modes of torch that torchax does not follow: results under torch.no_grad have no gradient.

    Raises:
        InvalidArgumentError: an operation runs under torch.autocast.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(map(torch.is_autocast_enabled, ("cpu", "cuda"))):
            raise InvalidArgumentError(
                "torchax does not follow torch.autocast; module.bfloat16() is probed in half precision"
            )
        found = function(*args, **(kwargs or {}))
        if torch.is_grad_enabled():
            return found
        return tree_map_only(torchax.tensor.Tensor, lambda tensor: tensor.detach(), found)


def split(function: Callable[..., Any], module: Any) -> Split:
    """A function of a module, as a function of its parameters by their names.

    Parameters that need no gradient are frozen; buffers and other tensors of its modules are constants. Random
    operations take a fixed key. The module itself is not changed.

    Raises:
        InvalidArgumentError: the module has parameters without a shape.
    """
    state, called = state_of(module), Called(function, module)

    def call(parameters: Any, *batch: Any) -> tuple[Any, Any]:
        tensors = {f"module.{name}": tensor for name, tensor in as_tensors(state | parameters).items()}
        with traced():
            found = torch.func.functional_call(called, tensors, as_tensors(batch))
        return as_arrays(found), None

    def extract(fresh: Any) -> Any:
        require_model(fresh, "torch")
        return parameters_of(fresh)

    return Split(call, extract(module), extract, lambda state: None, parameters_of(module, trained=False))


@contextmanager
def traced() -> Iterator[None]:
    """Run torch's operations on arrays of JAX."""
    environment, apply = torchax.default_env(), vars(torch.autograd.Function)["apply"]
    torch.autograd.Function.apply = classmethod(refused)
    try:
        with (
            environment,
            environment.override_property(prng=jax.random.key(0)),
            torch.enable_grad(),
            Modes(),
            torch.device("jax"),
        ):
            yield
    finally:
        torch.autograd.Function.apply = apply


def refused(rule: Any, *arguments: Any) -> Any:
    """Refuse a function with its own backward, which torchax would not call.

    Raises:
        InvalidArgumentError: always.
    """
    raise InvalidArgumentError(
        f"{rule.__name__} is a torch.autograd.Function, whose backward torchax does not call: write it with detach(), "
        "as x + (f(x) - x).detach() for a gradient that passes f"
    )


def parameters_of(module: Any, trained: bool = True) -> dict[str, Any]:
    """The parameters that need a gradient, or the others, by name.

    Raises:
        InvalidArgumentError: one has no shape yet.
    """
    found = dict(module.named_parameters())
    for name, tensor in found.items():
        if torch.nn.parameter.is_lazy(tensor):
            raise InvalidArgumentError(f"{name} has no shape yet: call the module on a batch before it is probed")
    return {name: array_of(tensor) for name, tensor in found.items() if tensor.requires_grad == trained}


def state_of(module: Any) -> dict[str, Any]:
    """The tensors of a module that are no parameters, by name: its buffers, and attributes of its parts."""
    attributes = {
        f"{path}.{name}" if path else name: value
        for path, part in module.named_modules()
        for name, value in vars(part).items()
        if isinstance(value, torch.Tensor)
    }
    return {name: array_of(tensor) for name, tensor in (dict(module.named_buffers()) | attributes).items()}


def array_of(tensor: Any) -> jax.Array:
    """A copy, as an array of JAX."""
    return torchax.default_env().t2j_copy(tensor.detach())


def to_arrays(batch: Any) -> Any:
    """A batch with its tensors as arrays."""
    return jax.tree.map(lambda leaf: array_of(leaf) if isinstance(leaf, torch.Tensor) else leaf, batch)


def as_tensors(tree: Any) -> Any:
    """A pytree with its arrays as tensors that torch's operations take."""
    tensor, environment = torchax.tensor.Tensor, torchax.default_env()
    return jax.tree.map(lambda leaf: tensor(leaf, environment) if isinstance(leaf, jax.Array) else leaf, tree)


def as_arrays(found: Any) -> Any:
    """What a module returns, with its tensors as arrays; any mapping is a dict."""
    return torchax.default_env().t2j_iso(dict(found) if isinstance(found, Mapping) else found)


def loss_of(loss: Any) -> Any:
    """A loss(output, *rest) of tensors, as a function of arrays."""
    if not callable(loss):
        return loss

    def measure(*arguments: Any) -> Any:
        with traced():
            return as_arrays(loss(*as_tensors(arguments)))

    measure.__name__ = name_of(loss)
    return measure


TORCH = Bridge(split, lambda module: module.forward, to_arrays, loss_of)
