"""Command lines of `run` and `deploy`: what stands after the command is the command's own, whether it looks
like an option of ours or not."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Sequence

__all__ = ["command_parser", "parse_with_command"]


def command_parser(program: str, usage: str, described: Callable[..., object]) -> argparse.ArgumentParser:
    """A parser of our own options, `usage` after them; its help is the docstring of `described`."""
    return argparse.ArgumentParser(
        prog=program,
        usage=f"%(prog)s {usage}",
        description=inspect.getdoc(described),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def parse_with_command(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[argparse.Namespace, list[str]]:
    """Our options, of which each but `--help` takes a value, and the command that comes after them or after
    `--`. Ends the process with 2 and a line where there is none, or where an option is wrong."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-") and arguments[at] not in {"-", "--"}:
        at += 1 if "=" in arguments[at] or arguments[at] in {"-h", "--help"} else 2
    own, command = list(arguments[:at]), list(arguments[at:])
    if command[:1] == ["--"]:
        del command[0]
    given = parser.parse_args(own)
    if not command:
        parser.error("COMMAND is missing")
    return given, command
