"""The command line, `safr`."""

from safr.cli.commands import COMMANDS, main

__all__ = ["COMMANDS", "main"]
