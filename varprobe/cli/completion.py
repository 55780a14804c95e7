"""Completion in the shell: what an option or argument takes, known without loading what it stands for.

`_VARPROBE_COMPLETE=bash_source varprobe` prints what a shell has to run; that calls the command with
`_VARPROBE_COMPLETE=bash_complete` for every word that is to be completed.
"""

import os
from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem, shell_complete

from varprobe.cli.names import NAMES
from varprobe.errors import InvalidArgumentError, did_you_mean

__all__ = ["VARIABLE", "completed", "suggest_for"]

VARIABLE = "_VARPROBE_COMPLETE"
INSTRUCTIONS = tuple(f"{shell}_{what}" for what in ("source", "complete") for shell in ("bash", "zsh", "fish"))

Suggest = Callable[[str], list[CompletionItem]]


def listed(kind: str) -> Suggest:
    """The last of a comma list of names; files, which may hold the user's own, where no name begins so."""

    def suggest(incomplete: str) -> list[CompletionItem]:
        if incomplete.count("(") > incomplete.count(")"):
            return []  # a parameter's value
        before, comma, last = incomplete.rpartition(",")
        found = [name for name in NAMES[kind] if name.startswith(last)]
        return plain(before + comma + name for name in found) or placed("file")(incomplete)

    return suggest


def one_of(kind: str) -> Suggest:
    """One name."""
    return lambda incomplete: plain(name for name in NAMES[kind] if name.startswith(incomplete))


def placed(what: str) -> Suggest:
    """A path that the shell completes: `file`, or `dir`."""
    return lambda incomplete: [CompletionItem(incomplete, type=what)]


def plain(values: Iterable[str]) -> list[CompletionItem]:
    """Completions that are words."""
    return [CompletionItem(value) for value in values]


SUGGESTIONS: dict[str, Suggest] = {
    **{f"--{kind}": listed(kind) for kind in ("act", "init", "bias", "arch", "norm", "data")},
    **{f"--init-{part}": listed("init") for part in ("first", "last", "qk", "v", "o", "mlp")},
    **{f"--{kind}": one_of(kind) for kind in ("loss", "dtype", "range", "framework", "table", "style")},
    "--kind": one_of("figure"),
    "--quantity": listed("quantity"),
    **dict.fromkeys(("--save", "--from", "--labels", "factory"), placed("file")),
    **dict.fromkeys(("--out", "run"), placed("dir")),
    "kind": one_of("kind"),
}
"""Of options by their flag, of arguments by their name; the same in all commands."""


class Suggested(click.types.StringParamType):
    """A text, some of whose values can be told beforehand."""

    def __init__(self, suggest: Suggest) -> None:
        self.suggest = suggest

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The values that begin so."""
        return self.suggest(incomplete)


def suggest_for(params: Iterable[click.Parameter]) -> None:
    """Let texts be completed by the names of the options that take them."""
    for param in params:
        suggest = SUGGESTIONS.get(param.opts[0])
        if suggest is not None and isinstance(param.type, click.types.StringParamType):
            param.type = Suggested(suggest)


def completed(command: click.Command) -> int:
    """Print what the shell asks for in the environment; the exit code.

    Raises:
        InvalidArgumentError: it asks for something else.
    """
    instruction = os.environ[VARIABLE]
    if instruction not in INSTRUCTIONS:
        raise InvalidArgumentError(
            f"{VARIABLE}={instruction!r} is no instruction{did_you_mean(instruction, INSTRUCTIONS)}"
        )
    return shell_complete(command, {}, "varprobe", VARIABLE, instruction)
