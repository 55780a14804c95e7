"""The architectures, one a file, and the registry in which --arch looks them up."""

from varprobe.errors import InvalidArgumentError, lookup
from varprobe.nets.architectures.architecture import Architecture, Plain, WeightSpec
from varprobe.nets.architectures.conv import Conv
from varprobe.nets.architectures.gru import GRU
from varprobe.nets.architectures.lstm import LSTM
from varprobe.nets.architectures.own import Own, own_block
from varprobe.nets.architectures.plain import PlainStack
from varprobe.nets.architectures.residual import Residual
from varprobe.nets.architectures.rnn import RNN
from varprobe.nets.architectures.transformer import Transformer
from varprobe.spec.calls import Call, parse_calls
from varprobe.spec.parameters import read_parameters
from varprobe.spec.user_code import is_reference, looks_like_code

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Own",
    "Plain",
    "WeightSpec",
    "architecture_of",
    "is_registered",
    "resolve_architecture",
]

ARCHITECTURES: dict[str, type[Architecture]] = {
    "plain": PlainStack,
    "residual": Residual,
    "conv": Conv,
    "transformer": Transformer,
    "rnn": RNN,
    "lstm": LSTM,
    "gru": GRU,
}


def is_registered(text: str) -> bool:
    """Whether a call form names an architecture of the registry, rather than a block of the user's."""
    return text.partition("(")[0] in ARCHITECTURES


def resolve_architecture(spec: Call | object, label: str | None = None) -> tuple[str, Architecture]:
    """(canonical call form, architecture) of a call, or of an object with `init` and `apply`.

    Raises:
        InvalidArgumentError: unknown name or parameter, or a value that it does not take.
    """
    if not isinstance(spec, Call) or is_reference(spec.name):
        name, block = own_block(spec, label)
        if is_registered(name):
            raise InvalidArgumentError(f'{name!r} is the name of another architecture; label it, as {{"Ours": block}}')
        return name, block
    if looks_like_code(spec.name):
        raise InvalidArgumentError(f"{spec.name!r} is not of the form FILE.py:NAME or PKG.MOD:NAME")
    found = lookup(ARCHITECTURES, spec.name, "architecture", "varprobe list archs")
    text, values = read_parameters(spec, spec.name, found.parameters)
    return text, found(**values)


def architecture_of(text: str) -> Architecture:
    """The architecture of a canonical call form."""
    (call,) = parse_calls(text)
    return resolve_architecture(call)[1]
