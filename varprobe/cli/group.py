"""The top-level command. Sub-commands are imported when they are needed, so `varprobe --help` is instant."""

from importlib import import_module
from importlib.metadata import version

import click
from click.shell_completion import CompletionItem

from varprobe.cli.help import WithExamples
from varprobe.errors import did_you_mean

__all__ = ["COMMANDS", "command"]

COMMANDS: dict[str, dict[str, str]] = {
    "start": {
        "sweep": "Measure variance and gradients through stacks of a grid of settings.",
        "plot": "Draw the figures of a run, or tell how one was made.",
        "list": "List activations, initializers, architectures, norms, verdicts, ...",
    },
    "explain": {
        "check": "Exit with 1 if a network is unhealthy, and say why: for CI.",
        "advise": "Choose the initializer for an activation and a depth, and show that it works.",
        "theory": "Predict where signal and gradient settle, and how deep they reach.",
        "phase": "Draw the phase diagram of an activation, predicted and measured.",
    },
    "your model": {
        "probe": "Measure every site of a network of your own, in any JAX library.",
    },
    "training": {
        "track": "Follow variance and gradients through the first steps of training.",
        "coord-check": "Tell whether a parametrization is muP: what grows with width, layer by layer.",
        "trainability": "Train a grid of nets, and compare who learns with who was said to.",
    },
    "runs": {
        "report": "Write one HTML file to explore runs, with verdicts first.",
        "export": "Write a run's numbers for papers, tables and dashboards.",
        "verify": "Check that runs are what they say, number by number.",
        "rerun": "Measure a run again from what it says, and compare every number.",
    },
}
"""Group -> command -> one line. `varprobe.cli.NAME`, hyphens as underscores, holds the command, as `command`."""


RENAMED = {"model": "probe"}
"""Names that commands had in 0.1, and what they are called."""


class LazyGroup(WithExamples, click.Group):
    """A group whose commands are modules, listed under headings."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of the help."""
        return [name for commands in COMMANDS.values() for name in commands]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import one command."""
        if name not in self.list_commands(ctx):
            return None
        return import_module(f"varprobe.cli.{name.replace('-', '_')}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one."""
        if args[0] not in self.list_commands(ctx) and not ctx.resilient_parsing:
            if args[0] in RENAMED:
                ctx.fail(f"{args[0]!r} is called {RENAMED[args[0]]!r}: varprobe {RENAMED[args[0]]}")
            ctx.fail(f"unknown command {args[0]!r}{did_you_mean(args[0], self.list_commands(ctx), 'varprobe --help')}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands, told without importing them, and options."""
        lines = {name: line for commands in COMMANDS.values() for name, line in commands.items()}
        found = [CompletionItem(name, help=line) for name, line in lines.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands under the headings of `COMMANDS`, without importing them."""
        for heading, commands in COMMANDS.items():
            with formatter.section(heading.capitalize()):
                formatter.write_dl(list(commands.items()))


@click.command(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    examples=["varprobe sweep --depth 50 --act relu"],
    epilog="varprobe COMMAND --help explains a command.",
)
@click.version_option(version("varprobe"), prog_name="varprobe")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Can a signal get through this network, forward and back, before anyone trains it?"""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
