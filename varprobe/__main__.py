"""`varprobe` and `python -m varprobe`: one line on stderr and an exit code for everything that can go wrong."""

import os
import sys

__all__ = ["main"]

DONE, WRONG, FAILED, INTERRUPTED = 0, 2, 3, 130


def complain(message: str) -> None:
    """One line on stderr."""
    print(f"varprobe: {' '.join(message.split())}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 done, 2 the request was wrong, 3 the machine failed, 130 interrupted."""
    import click

    from varprobe.cli import command
    from varprobe.errors import MachineError, RequestError

    try:
        code = command.main(args=arguments, prog_name="varprobe", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code or DONE)
    except RequestError as error:
        option = f"--{error.option.replace('_', '-')}: " if error.option else ""
        complain(f"{'RUN: ' if error.option == 'run' else option}{error.message}")
        sys.exit(WRONG)
    except click.exceptions.Abort:
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        complain(error.format_message())
        sys.exit(WRONG)
    except (MachineError, MemoryError) as error:
        complain(str(error) or "out of memory")
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.stderr.flush()
        os._exit(INTERRUPTED)  # compiled code in worker threads cannot be interrupted, and need not be waited for
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)
    except OSError as error:
        complain(f"{error.filename or 'the system'}: {error.strerror or error}")
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
