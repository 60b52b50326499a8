"""`bext-otel` within the tests' own process."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple

from bext_otel.cli import main

__all__ = ["Ended", "invoke"]


class Ended(NamedTuple):
    """How it ended, and what it printed on both streams."""

    code: object
    output: str


def invoke(*arguments: str) -> Ended:
    """Run a command to its end."""
    printed, code = io.StringIO(), None
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            main(arguments)
        except SystemExit as ended:
            code = ended.code
    return Ended(code or 0, printed.getvalue())
