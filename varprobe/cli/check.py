"""`varprobe check`: exit code 1 if a signal cannot get through."""

from typing import Any

import click

from varprobe.cli.console import TerminalProgress, console_for
from varprobe.cli.help import Command
from varprobe.cli.options import ESSENTIAL, given, stack_options, with_spec
from varprobe.cli.sweep import PRESENTATION, measured, measuring
from varprobe.errors import InvalidArgumentError
from varprobe.verdict.columns import fold

__all__ = ["command"]

UNHEALTHY = 1
OF_A_RUN = ("json", "quiet", "wide")
"""Options that go with a RUN, beside --strict."""


@click.command(
    cls=Command,
    essential=(*ESSENTIAL, "--strict"),
    examples=[
        "varprobe check --depth 30 --act gelu --init he_normal",
        "varprobe check runs/relu-d50-w512-3f9a1c --strict",
    ],
)
@click.argument("run", required=False)
@click.option("--strict", is_flag=True, help="Count notes, such as correlation_collapse, and undecided.")
@stack_options
@click.pass_obj
def command(arguments: list[str], run: str | None, strict: bool, **options: Any) -> None:
    """Exit with 1 if a network is unhealthy, and print what is wrong and what to change.

    Takes what sweep takes, or the folder of a RUN. Healthy is what neither vanishes nor explodes and has no flag;
    `varprobe list verdicts` has the thresholds. A run of coord-check is healthy if it is muP; if its widths cannot
    decide, the exit code is 0, with --strict 1.
    """
    options = with_spec(options)
    shown = {k: options.pop(k, None) for k in PRESENTATION} | {"label": ()}
    if run is not None:
        odd = next(iter([*given(options), *(k for k, v in shown.items() if v and k not in OF_A_RUN)]), None)
        if odd is not None:
            raise InvalidArgumentError(f"does not go with a RUN ({run!r}), which has its own", odd)
    with measuring(arguments, shown["quiet"]) as (progress, stdout):
        healthy = check(run, strict, options, shown, progress, stdout)
    if not healthy:
        raise click.exceptions.Exit(UNHEALTHY)


def check(
    run: str | None,
    strict: bool,
    options: dict[str, Any],
    shown: dict[str, Any],
    progress: TerminalProgress,
    stdout: Any,
) -> bool:
    """Measure or read, print what is unhealthy; whether nothing is."""
    from varprobe.runs.diagnose import diagnose
    from varprobe.runs.health import notes_of, undecided, unhealthy
    from varprobe.runs.open import read_run
    from varprobe.storage.paths import folder_of

    if run is not None:
        ds, folder = read_run(run, progress.note), folder_of(run, "run")
    else:
        ds, out, _ = measured(options, shown, progress)
        folder = folder_of(out, "out")
    diagnosis = diagnose(ds)
    bad = unhealthy(diagnosis, strict)
    if shown["json"]:
        from varprobe.cli.report_json import print_json

        print_json(diagnosis, folder, stdout)
        return not len(bad)
    console = console_for(stdout, shown["wide"])
    if len(bad):
        from varprobe.verdict.terminal import print_diagnosis

        print_diagnosis(console, bad, shown["wide"], f"{len(bad)} of {len(diagnosis)} unhealthy")
        lines = notes_of(bad) if strict and not shown["wide"] else []
    elif open_ones := undecided(diagnosis):
        lines = [f"{diagnosis.title}: {len(open_ones)} of {len(diagnosis)} undecided, none unhealthy", *open_ones]
    else:
        count = f"all {len(diagnosis)} configurations are" if len(diagnosis) > 1 else "the configuration is"
        lines = [f"{diagnosis.title}: {count} healthy"]
    for line in (piece for text in lines for piece in fold(text, console.width, indent=2)):
        console.print(line, soft_wrap=True)
    return not len(bad)
