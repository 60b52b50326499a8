"""`bext-otel run`: any command, with telemetry."""

from __future__ import annotations

import os
import signal
from collections.abc import MutableMapping
from importlib.util import find_spec
from pathlib import Path

import click

import bext_otel.launch  # noqa: F401  # which distribution is taken, and what its variables had wrong
from bext_otel.cli.command import CANNOT_RUN, NOT_FOUND

__all__ = ["run"]

_LAUNCHED = "opentelemetry.instrumentation.auto_instrumentation"
# Python ignores these two in itself, and what is ignored stays so in what it becomes.
_IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFSZ")


# Whatever stands after COMMAND is not ours, whether it looks like an option of ours or not.
@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(*, command: tuple[str, ...]) -> None:
    """Run COMMAND with telemetry, as `opentelemetry-instrument` does.

    \b
    bext-otel run uvicorn app:app
    bext-otel run python -m flask --app shop run --port 8000

    Everything after COMMAND is handed on as it is. This process becomes COMMAND: process id, input, output,
    signals and exit code are its own. 127 says that there is no such command, 126 that it can't be run.
    Settings come from OTEL_* and BEXT_* variables and from bext.config.toml.
    """  # \b is click's mark for lines that stay as they are
    _instrument(os.environ)
    for name in _IGNORED_BY_PYTHON:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - the command is the caller's own
    except OSError as error:
        # Also "not found" is an interpreter that a script names, and that is not there.
        missing, name = isinstance(error, FileNotFoundError), command[0]
        hint = f"; for a file of Python: bext-otel run python {name}" if name.endswith(".py") else ""
        click.echo(f"bext-otel run: {name}: {error.strerror or error}{hint}", err=True)
        raise SystemExit(NOT_FOUND if missing else CANNOT_RUN) from error


def _instrument(environ: MutableMapping[str, str]) -> None:
    """Have each Python that is started with this environment begin with upstream's sitecustomize, which calls
    our distribution; and find modules in the working directory, as upstream's launcher has it."""
    spec = find_spec(_LAUNCHED)
    if spec is None or not spec.submodule_search_locations:
        raise click.ClickException(f"{_LAUNCHED} is missing: install opentelemetry-instrumentation again")
    folder = str(Path(spec.submodule_search_locations[0]).absolute())
    given = environ.get("PYTHONPATH", "")
    places = given.split(os.pathsep) if given else []
    here = str(Path.cwd())
    if here not in places:
        places.insert(0, here)
    environ["PYTHONPATH"] = os.pathsep.join([folder, *(place for place in places if place != folder)])
