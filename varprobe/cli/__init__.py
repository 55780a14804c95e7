"""The command line: commands in groups, each in its own file, loaded when it is called."""

from varprobe.cli.group import command

__all__ = ["command"]
