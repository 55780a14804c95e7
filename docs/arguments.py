"""Signatures as the site shows them: the arguments of a `TypedDict` that a function unpacks, one by one."""

from typing import Any

from griffe import Class, ExprSubscript, Extension, Function, Parameter, ParameterKind, Parameters

from varprobe.sweeps.arguments import DEFAULTS, with_descriptions

__all__ = ["Unpacked"]


class Unpacked(Extension):
    """Replaces `**grid: Unpack[SweepArguments]` by its arguments, and completes the docstring."""

    def on_function(self, *, func: Function, **_: Any) -> None:
        """Rewrite the parameters and the docstring of a function."""
        own = [parameter for parameter in func.parameters if parameter.kind is not ParameterKind.var_keyword]
        for parameter in func.parameters:
            unpack = parameter.annotation
            if isinstance(unpack, ExprSubscript) and unpack.canonical_path == "typing.Unpack":
                assert func.docstring and not isinstance(unpack.slice, str)
                arguments = arguments_of(func.modules_collection[unpack.slice.canonical_path])
                func.parameters = Parameters(*arguments, *own)
                func.docstring.value = with_descriptions(func.docstring.value)


def arguments_of(typed: Class) -> list[Parameter]:
    """A parameter for each `name: Annotated[TYPE, DEFAULT]`."""
    return [
        Parameter(
            name,
            annotation=typed.attributes[name].annotation.slice.elements[0],
            kind=ParameterKind.keyword_only,
            default=repr(default),
        )
        for name, default in DEFAULTS.items()
    ]
