"""Commands that show examples, an essential help and a full one, and that answer wrong options in one line."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from varprobe.cli.completion import suggest_for
from varprobe.cli.limits import require_limits
from varprobe.errors import InvalidArgumentError

__all__ = ["Command", "WithExamples", "help_all"]

ALL = "varprobe.all"


class WithExamples(click.Command):
    """A command whose help has a block of examples, one command line each."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.examples = examples

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The description, then the examples as they are typed."""
        super().format_help_text(ctx, formatter)
        if not self.examples:
            return
        with formatter.section("Example" if len(self.examples) == 1 else "Examples"):
            for line in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Command(WithExamples):
    """A command that takes an option once, unless it is made for more, and shows rare ones in --help-all only.

    `lists` gives, when help is asked for, tables of what an option may be: heading -> name -> a line.
    """

    def __init__(
        self,
        *args: Any,
        essential: Sequence[str] = (),
        lists: Callable[[], Mapping[str, Mapping[str, str]]] = dict,
        **attributes: Any,
    ) -> None:
        super().__init__(*args, **attributes)
        self.essential = essential
        self.lists = lists
        suggest_for(self.params)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, unless the process has too little for it."""
        require_limits()
        return super().invoke(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; an option that can have one value must not be given two."""
        if ctx.resilient_parsing:  # a line that is still being typed
            return super().parse_args(ctx, args)
        try:
            _, _, order = self.make_parser(ctx).parse_args(list(args))
        except click.NoSuchOption as error:
            name = error.option_name
            if not name.startswith("--"):  # of `-depth`, click tells the `-d`
                name = next((a for a in args if a.startswith(name)), name)
            raise click.NoSuchOption(name.partition("=")[0], ctx=ctx) from error
        except click.BadOptionUsage as error:
            error.ctx = ctx
            raise
        for param, times in Counter(order).items():
            if times > 1 and not param.multiple and not getattr(param, "is_flag", False) and param.nargs == 1:
                raise InvalidArgumentError(f"given {times} times; it takes one value", param.name)
        ctx.allow_extra_args = True
        super().parse_args(ctx, args)
        if ctx.args:
            raise click.UsageError(f"unexpected {ctx.args[0]!r}; every value follows its option (see --help)", ctx)
        return ctx.args

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The essential options, and in the full help the others."""
        essential: list[tuple[str, str]] = []
        rest: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                always = not self.essential or {*self.essential, "--help", "--help-all"} & set(param.opts)
                (essential if always else rest).append(record)
        with formatter.section("Options"):
            formatter.write_dl(essential)
        if rest and ctx.meta.get(ALL):
            with formatter.section("More options"):
                formatter.write_dl(rest)
        for heading, lines in self.lists().items():
            with formatter.section(heading):
                formatter.write_dl(list(lines.items()))


def show_everything(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """--help-all."""
    if value and not ctx.resilient_parsing:
        ctx.meta[ALL] = True
        click.echo(ctx.get_help())
        ctx.exit()


help_all = click.option(
    "--help-all",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=show_everything,
    help="Show every option and exit.",
)
