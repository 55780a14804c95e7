"""What is wrong with a command line, in one line that names the option, the value and the nearest right spelling."""

import re

import click

from varprobe.errors import InvalidArgumentError, did_you_mean, printable

__all__ = ["complaint", "one_line"]

LONGEST_WORD = 200
LONGEST = 1000
ARGUMENTS = {"run": "RUN", "ds": "RUN", "list": "KIND", "factory": "FACTORY"}
"""Parameters that are not options, as help writes them; a dataset is that of a run."""


def one_line(text: str) -> str:
    """The text in one line that a terminal can show: nothing but printable characters, endless words cut short."""
    words = printable(" ".join(text.split()))
    cut = re.sub(rf"\S{{{LONGEST_WORD},}}", lambda m: f"{m[0][:80]}...{m[0][-40:]}", words)
    return cut if len(cut) <= LONGEST else f"{cut[: LONGEST - 200]} ... {cut[-200:]}"


def complaint(error: InvalidArgumentError | click.ClickException) -> str:
    """The line for an error that is the user's to mend."""
    if isinstance(error, InvalidArgumentError):
        return f"{spelled(error.option)}: {error.message}" if error.option else error.message
    if isinstance(error, click.NoSuchOption):
        return f"{error.option_name}: unknown option{nearest(error)}"
    if isinstance(error, click.BadOptionUsage):
        param = parameter(error.ctx, error.option_name)
        if param is None or param.is_flag:
            return f"{error.option_name}: takes no value"
        return f"{error.option_name}: needs a value: {(param.help or '').partition('  [')[0]}"
    if isinstance(error, click.MissingParameter) and error.param:
        return f"{error.param.make_metavar(error.ctx or click.Context(click.Command('')))}: missing (see --help)"
    if isinstance(error, click.BadParameter) and error.param:
        return f"{error.param.opts[-1]}: {error.message}"
    return error.message


def spelled(option: str) -> str:
    """A parameter as the user typed it: `init_first` is `--init-first`."""
    return ARGUMENTS[option] if option in ARGUMENTS else f"--{option.replace('_', '-')}"


def options_of(command: click.Command | None) -> list[click.Option]:
    """The options of a command."""
    return [p for p in (command.params if command else []) if isinstance(p, click.Option)]


def parameter(ctx: click.Context | None, name: str) -> click.Option | None:
    """The option of that name."""
    return next((p for p in options_of(ctx.command if ctx else None) if name in p.opts), None)


def nearest(error: click.NoSuchOption) -> str:
    """What may have been meant by an option that there is not: another one, or the command that takes it."""
    ctx, name = error.ctx, error.option_name
    if ctx is not None and isinstance(ctx.command, click.Group):
        for known in ctx.command.list_commands(ctx):
            if any(name in p.opts for p in options_of(ctx.command.get_command(ctx, known))):
                return f" before a command; did you mean 'varprobe {known} {name}'?"
    names = ["--help", *(opt for p in options_of(ctx.command if ctx else None) for opt in p.opts)]
    full = "--help-all" if "--help-all" in names else "--help"
    return did_you_mean("--" + name.strip("-").replace("_", "-"), names, f"{ctx.command_path if ctx else ''} {full}")
