"""`varprobe` and `python -m varprobe`: one line on stderr and an exit code for everything that can go wrong."""

import contextlib
import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

__all__ = ["main"]

DONE, WRONG, FAILED = 0, 2, 3


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 done, 2 the request was wrong, 3 the machine failed, 130 interrupted."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))
        with contextlib.suppress(AttributeError):  # a notebook's own stream
            getattr(sys, name).reconfigure(errors="backslashreplace")
    os.environ["MPLBACKEND"] = "agg"  # figures go to files, whatever backend is set, known or not
    sys.exit(outcome(sys.argv[1:] if arguments is None else arguments))


def outcome(arguments: list[str]) -> int:
    """The exit code of a command line, after the line on stderr that explains it."""
    import click

    from varprobe.cli import command
    from varprobe.cli.completion import VARIABLE, completed
    from varprobe.cli.errors import complaint
    from varprobe.cli.interrupts import INTERRUPTED
    from varprobe.errors import InvalidArgumentError, MachineError

    try:
        if os.environ.get(VARIABLE):
            return completed(command)
        with command.make_context("varprobe", list(arguments), obj=list(arguments)) as context:
            command.invoke(context)
        sys.stdout.flush()
        return DONE
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (InvalidArgumentError, click.ClickException) as error:
        complain(complaint(error))
        return WRONG
    except (MachineError, MemoryError) as error:
        complain(str(error) or "out of memory")
        return FAILED
    except (KeyboardInterrupt, click.exceptions.Abort):
        sys.stderr.flush()
        os._exit(INTERRUPTED)  # compiled code in worker threads cannot be interrupted, and need not be waited for
    except SystemExit as stop:
        complain(f"a function that it called ended the program: {type(stop).__name__}({stop.code!r})")
        return WRONG
    except BrokenPipeError:  # whoever read our output has seen enough
        discard_output()
        return DONE
    except OSError as error:
        discard_output()
        complain(f"{error.filename or 'cannot write the output'}: {error.strerror or error}")
        return FAILED
    except Exception as error:
        if os.environ.get("VARPROBE_TRACEBACK"):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}, line {place.lineno}"
        complain(f"failed: {type(error).__name__}: {error} ({where}; VARPROBE_TRACEBACK=1 shows the rest)")
        return FAILED


def complain(message: str) -> None:
    """One line on stderr."""
    from varprobe.cli.errors import one_line

    print(f"varprobe: {one_line(message)}", file=sys.stderr)


def discard_output() -> None:
    """Let nothing more be written to a stdout that cannot be written to."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
