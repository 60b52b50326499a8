"""`bext-otel deploy`: any command, measured as a deploy."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from bext_otel.cli.command import Forwarding, forwarding
from bext_otel.cli.exit_codes import CANNOT_RUN, NOT_FOUND
from bext_otel.cli.words import command_parser, parse_with_command
from bext_otel.config import load
from bext_otel.deploys import Deploy
from bext_otel.deploys import deploy as measured

if TYPE_CHECKING:
    from bext_otel.runtime import Runtime

__all__ = ["main"]

_SERVICE = "bext-deploy"


def main(arguments: Sequence[str], program: str) -> None:
    """Run COMMAND, and tell how the deploy went.

      bext-otel deploy --app shop --version 1.4.2 -- ./deploy.sh --all

    Counts the deploy as success (exit code 0), rolled_back (--rollback-code) or
    failed, with its duration, a span and a log entry, sent over OTLP as
    bext.config.toml and the environment say. COMMAND keeps its input, output,
    signals and exit code (128+n if a signal ended it, 127 if it does not exist),
    and gets TRACEPARENT, so that its own spans belong to the deploy.
    """
    usage = "[-h] --app APP --version VERSION [--rollback-code CODE] [--] COMMAND ..."
    parser = command_parser(program, usage, main)
    parser.add_argument("--app", required=True, help="application that is deployed")
    parser.add_argument("--version", required=True, help="version that is deployed")
    parser.add_argument(
        "--rollback-code",
        type=_exit_code,
        metavar="CODE",
        help="exit code, 1 to 255, by which COMMAND tells that the version before runs again",
    )
    given, command = parse_with_command(parser, arguments)
    raise SystemExit(_deploy(given.app, given.version, given.rollback_code, command))


def _exit_code(word: str) -> int:
    code = int(word)
    if not 1 <= code <= 255:
        raise argparse.ArgumentTypeError(f"{word} is none: expected 1 to 255")
    return code


_exit_code.__name__ = "exit code"  # as argparse calls what is no number


def _deploy(app: str, version: str, rollback_code: int | None, command: Sequence[str]) -> int:
    with forwarding() as signals:
        # Threads of telemetry start in here: a signal that one of them took would come late, and nobody could
        # tell who sent it.
        runtime = _set_up()
        try:
            with measured(app, version) as current:
                code = _run(current, signals, command)
                current.span.set_attribute("process.exit.code", code)
                if code and code == rollback_code:
                    current.rolled_back(f"exit code {code}")
                elif code:
                    current.failed(f"exit code {code}")
        finally:
            if runtime is not None:
                runtime.shutdown()
    return code


def _run(current: Deploy, signals: Forwarding, command: Sequence[str]) -> int:
    # Its arguments may hold secrets; its name is enough to know it by.
    current.span.set_attribute("process.executable.name", PurePath(command[0]).name)
    try:
        return signals.run(command, {**os.environ, **current.environment()})
    except OSError as error:
        # Also "not found" is an interpreter that a script names, and that is not there.
        _tell(f"{command[0]}: {error.strerror or error}")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_RUN


def _set_up() -> Runtime | None:
    """Telemetry as configured; None where it can't be had, which is no reason not to deploy."""
    from bext_otel import configure, running

    if (runs := running()) is not None:
        return runs
    # The command's streams are not ours to write to: records go to a file, if one is configured, and over
    # OTLP.
    loaded = load()
    telling = _Telling()
    for line in loaded.warnings:
        telling.tell(line)
    output = "file" if "file" in loaded.config.logging.output.split(",") else "none"
    logger = logging.getLogger("bext_otel")
    logger.addHandler(telling)
    try:
        # Nobody can ask a process for its metrics that ends with its command, hence no server; and there is
        # nothing to instrument in it.
        made = configure(
            instrument=False, telemetry=_service(), metrics={"mount": True}, logging={"output": output}
        )
        exporters = made.config.telemetry.exporters
        if not made.config.telemetry.disabled and not {
            *exporters.traces,
            *exporters.metrics,
            *exporters.logs,
        } - {"prometheus"}:
            telling.tell(
                "nobody hears of this deploy: OTEL_EXPORTER_OTLP_ENDPOINT or [telemetry] otlp_endpoint says "
                "where to tell of it"
            )
        return made
    except Exception as error:  # the deploy matters more than what is told about it
        _tell(f"goes on without telemetry: {error}")
        return None
    finally:
        logger.removeHandler(telling)


def _tell(line: str) -> None:
    print(f"bext-otel deploy: {line}", file=sys.stderr)  # noqa: T201


class _Telling(logging.Handler):
    """What is wrong with the settings, on standard error, each line once: where logging has no sink, Python
    would print it, too."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told: set[str] = set()

    def tell(self, line: str) -> None:
        """Print a line that was not printed before."""
        if line not in self._told:
            self._told.add(line)
            _tell(line)

    def emit(self, record: logging.LogRecord) -> None:
        """A line of ours that is logged."""
        self.tell(record.getMessage())


def _service() -> dict[str, str]:
    """A command is a service of its own; the file names the application's. A name in the environment is meant
    for this very process."""
    named = any(os.environ.get(name) for name in ("OTEL_SERVICE_NAME", "BEXT_TELEMETRY_SERVICE_NAME"))
    return (
        {}
        if named or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        else {"service_name": _SERVICE}
    )
