"""Programs that Python's `multiprocessing` starts for itself, known by their command lines.

A launcher stands in front of these as well. What does no work of the application is known before anything
else is imported; standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["is_helper", "runs"]


def is_helper(argv: Sequence[str]) -> bool:
    """Whether a command line is that of `multiprocessing`'s resource tracker, which does no work of the
    application."""
    return runs(argv, "multiprocessing.resource_tracker")


def runs(argv: Sequence[str], module: str) -> bool:
    """Whether this is Python running a line of `multiprocessing`'s: `python -c 'from MODULE import main;
    ...'`, in newer Pythons with an `import sys; ` before it."""
    line = re.compile(rf"(import [\w., ]+; *)*from {re.escape(module)} import ")
    return any(option == "-c" and line.match(code) for option, code in pairwise(argv))
