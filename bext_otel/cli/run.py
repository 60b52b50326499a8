"""`bext-otel run`: any command, with telemetry."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import MutableMapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import bext_otel.launch  # noqa: F401  # which distribution is taken, and what its variables had wrong
from bext_otel.cli.exit_codes import CANNOT_RUN, NOT_FOUND
from bext_otel.cli.words import command_parser, parse_with_command

__all__ = ["main"]

_LAUNCHED = "opentelemetry.instrumentation.auto_instrumentation"
# Python ignores these two in itself, and what is ignored stays so in what it becomes.
_IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFSZ")


def main(arguments: Sequence[str], program: str) -> None:
    """Run COMMAND with telemetry, as `opentelemetry-instrument` does.

      bext-otel run uvicorn app:app
      bext-otel run python -m flask --app shop run --port 8000

    Everything after COMMAND is handed on as it is. This process becomes COMMAND:
    process id, input, output, signals and exit code are its own. 127 says that
    there is no such command, 126 that it can't be run. Settings come from OTEL_*
    and BEXT_* variables and from bext.config.toml.
    """
    _, command = parse_with_command(command_parser(program, "[-h] COMMAND ...", main), arguments)
    _instrument(os.environ)
    for name in _IGNORED_BY_PYTHON:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606  # nosec B606  # the command is the caller's own
    except OSError as error:
        # Also "not found" is an interpreter that a script names, and that is not there.
        missing, name = isinstance(error, FileNotFoundError), command[0]
        hint = f"; for a file of Python: bext-otel run python {name}" if name.endswith(".py") else ""
        print(f"{program}: {name}: {error.strerror or error}{hint}", file=sys.stderr)  # noqa: T201
        raise SystemExit(NOT_FOUND if missing else CANNOT_RUN) from error


def _instrument(environ: MutableMapping[str, str]) -> None:
    """Have each Python that is started with this environment begin with upstream's sitecustomize, which calls
    our distribution; and find modules in the working directory, as upstream's launcher has it."""
    spec = find_spec(_LAUNCHED)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{_LAUNCHED} is missing: install opentelemetry-instrumentation again")
    folder = str(Path(spec.submodule_search_locations[0]).absolute())
    given = environ.get("PYTHONPATH", "")
    places = given.split(os.pathsep) if given else []
    here = str(Path.cwd())
    if here not in places:
        places.insert(0, here)
    environ["PYTHONPATH"] = os.pathsep.join([folder, *(place for place in places if place != folder)])
