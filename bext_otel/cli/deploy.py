"""`bext-otel deploy`: any command, measured as a deploy."""

from __future__ import annotations

import logging
import os
from pathlib import PurePath
from typing import TYPE_CHECKING

import click

from bext_otel.cli.command import CANNOT_RUN, NOT_FOUND, Forwarding, forwarding
from bext_otel.config import load
from bext_otel.deploys import Deploy
from bext_otel.deploys import deploy as measured

if TYPE_CHECKING:
    from bext_otel.runtime import Runtime

__all__ = ["deploy"]

_SERVICE = "bext-deploy"


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--app", required=True, help="Application that is deployed.")
@click.option("--version", required=True, help="Version that is deployed.")
@click.option(
    "--rollback-code",
    type=click.IntRange(1, 255),
    default=None,
    help="Exit code by which COMMAND tells that the version before runs again.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def deploy(*, app: str, version: str, rollback_code: int | None, command: tuple[str, ...]) -> None:
    """Run COMMAND, and tell how the deploy went.

    \b
    bext-otel deploy --app shop --version 1.4.2 -- ./deploy.sh --all

    Counts the deploy as success (exit code 0), rolled_back (--rollback-code) or failed, with its duration, a span and a log entry, sent
    over OTLP as bext.config.toml and the environment say. COMMAND keeps its input, output, signals and exit code (128+n if a signal ended
    it, 127 if it does not exist), and gets TRACEPARENT, so that its own spans belong to the deploy.
    """  # \b is click's mark for lines that stay as they are
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
    raise SystemExit(code)


def _run(current: Deploy, signals: Forwarding, command: tuple[str, ...]) -> int:
    # Its arguments may hold secrets; its name is enough to know it by.
    current.span.set_attribute("process.executable.name", PurePath(command[0]).name)
    try:
        return signals.run(command, {**os.environ, **current.environment()})
    except OSError as error:
        # Also "not found" is an interpreter that a script names, and that is not there.
        click.echo(f"bext-otel deploy: {command[0]}: {error.strerror or error}", err=True)
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
    output = "file" if loaded.config.logging.output == "file" else "none"
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
        click.echo(f"bext-otel deploy: goes on without telemetry: {error}", err=True)
        return None
    finally:
        logger.removeHandler(telling)


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
            click.echo(f"bext-otel deploy: {line}", err=True)

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
