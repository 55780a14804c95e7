"""The two ways in which a run can fail: the request was wrong, or the machine was."""

__all__ = ["MachineError", "RequestError", "first_line"]


class RequestError(ValueError):
    """The request cannot be carried out as it stands (exit code 2).

    The message is one line: the value, what is allowed, and the nearest right spelling. `option` is the
    name of the argument that holds the value, as in Python (`init_first`); the command prints it as `--init-first`.
    """

    def __init__(self, message: str, option: str | None = None) -> None:
        self.option = option
        self.message = " ".join(message.split())
        super().__init__(f"{option}: {self.message}" if option else self.message)

    def __reduce__(self) -> tuple[type, tuple[str, str | None]]:
        return RequestError, (self.message, self.option)

    def at(self, option: str) -> "RequestError":
        """This error, naming `option` unless a more precise one was named where it was raised."""
        return self if self.option else RequestError(self.message, option)


class MachineError(RuntimeError):
    """The request was right and the machine could not do it: disk, memory or device (exit code 3)."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
