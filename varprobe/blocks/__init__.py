"""The architectures, one a file, and the registry in which --arch looks them up."""

from varprobe.blocks.architecture import Architecture, Plain, Slot
from varprobe.blocks.gru import GRU
from varprobe.blocks.lstm import LSTM
from varprobe.blocks.plain import PlainStack
from varprobe.blocks.residual import Residual
from varprobe.blocks.rnn import RNN
from varprobe.callform import Call, parse_calls
from varprobe.errors import RequestError
from varprobe.names import lookup
from varprobe.parameters import read_parameters

__all__ = ["ARCHITECTURES", "Architecture", "Plain", "Slot", "architecture_of", "resolve_architecture"]

ARCHITECTURES: dict[str, type[Architecture]] = {
    "plain": PlainStack,
    "residual": Residual,
    "rnn": RNN,
    "lstm": LSTM,
    "gru": GRU,
}


def resolve_architecture(spec: Call, label: str | None = None) -> tuple[str, Architecture]:
    """(canonical call form, architecture) of a call.

    Raises:
        RequestError: unknown name or parameter, or a value that it does not take.
    """
    if not isinstance(spec, Call):
        raise RequestError("takes names, not functions")
    found = lookup(ARCHITECTURES, spec.name, "architecture", "varprobe list archs")
    text, values = read_parameters(spec, spec.name, found.parameters)
    return text, found(**values)


def architecture_of(text: str) -> Architecture:
    """The architecture of a canonical call form."""
    (call,) = parse_calls(text)
    return resolve_architecture(call)[1]
