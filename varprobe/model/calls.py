"""How a model is called: the names of its arguments, and calls that Python refuses."""

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from varprobe.errors import InvalidArgumentError

__all__ = ["Form", "checked_call", "signature_of"]

REFUSED = re.compile(r"missing .*argument|takes .*argument|too many positional arguments")
"""What Python says of a call with the wrong number of arguments."""


class Form(NamedTuple):
    """How a model is called.

    name: of the model. signature: of the call, None if Python cannot tell. before: number of arguments before the
    batch, 1 for a function of parameters and 0 for a model. keyword: code that gives the model a keyword argument, with
    {name} for the model and {keyword} for the argument.
    """

    name: str
    signature: inspect.Signature | None
    before: int
    keyword: str = "functools.partial({name}, {keyword}=...) or a lambda"

    def positional(self) -> list[str]:
        """Names of the arguments that have a position."""
        if self.signature is None:
            return []
        return [p.name for p in self.signature.parameters.values() if p.kind <= p.POSITIONAL_OR_KEYWORD]

    def usage(self) -> str:
        """The arguments as in a signature: `params, x, scale=...`."""
        known = self.signature.parameters.values() if self.signature else ()
        return ", ".join(
            str(p) if p.kind == p.VAR_POSITIONAL else p.name if p.default is p.empty else f"{p.name}=..." for p in known
        )

    def names(self, count: int) -> list[str]:
        """Names of the arguments of a batch of so many; `argument 2`, by its position, if the name is not known."""
        known = self.positional()
        places = range(self.before, self.before + count)
        return [known[i] if i < len(known) else f"argument {i}" for i in places]


def signature_of(function: Any, skipped: tuple[str, ...] = ()) -> inspect.Signature | None:
    """The signature of a function, without leading arguments of these names; None if Python cannot tell."""
    try:
        found = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    parameters = list(found.parameters.values())
    while parameters and parameters[0].name in skipped:
        parameters = parameters[1:]
    return found.replace(parameters=parameters)


def checked_call(call: Callable[..., Any], form: Form, loss: Any) -> Callable[..., Any]:
    """call(parameters, *batch), with one line in place of Python's error for the wrong number of arguments."""

    def checked(parameters: Any, *batch: Any) -> Any:
        try:
            return call(parameters, *batch)
        except TypeError as error:
            message = refusal(form, len(batch), loss) if REFUSED.search(str(error)) else ""
            if not message:
                raise
            raise InvalidArgumentError(message) from None

    return checked


def refusal(form: Form, count: int, loss: Any) -> str:
    """What is wrong with a call with a batch of so many arguments; empty if the signature allows it."""
    given = form.before + count
    if form.signature is None or binds(form.signature, given):
        return ""
    keywords = [p.name for p in form.signature.parameters.values() if p.kind == p.KEYWORD_ONLY and p.default is p.empty]
    if binds(form.signature, given, keywords):
        first = keywords[0]
        way = form.keyword.format(name=form.name, keyword=first)
        return f"{form.name} needs the keyword argument {first}=: give it with {way}"
    usage = "probe(loss_fn, params, *batch)" if form.before else "probe(model, *batch)"
    called = f"{form.name} was called with {given} argument{'s' * (given != 1)} and takes ({form.usage()})"
    return "; ".join(filter(None, (f"{usage}: {called}", hint_of(loss, given > len(form.positional())))))


def hint_of(loss: Any, many: bool) -> str:
    """Which arguments of the batch go to the model, if that explains too many or too few of them."""
    if loss == "cotangent":
        return "a target needs another loss, such as loss='mse'" if many else ""
    if loss is None or many:
        return ""
    return "only the first argument of the batch goes to the model, and the others to the loss"


def binds(signature: inspect.Signature, count: int, keywords: list[str] | None = None) -> bool:
    """Whether a call with so many positional arguments, and these keywords, is allowed."""
    try:
        signature.bind(*[None] * count, **dict.fromkeys(keywords or []))
    except TypeError:
        return False
    return True
