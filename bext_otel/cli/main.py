"""`bext-otel`: the commands, gathered."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from bext_otel.cli.examples import examples_folder
from bext_otel.distribution import VERSION
from bext_otel.errors import BextOtelError

__all__ = ["main"]

# Each is a module that has its command by the same name, and is imported when it is asked for: what `run`
# starts must not wait for the viewer's libraries.
_COMMANDS = ("catalogue", "demo", "deploy", "run", "view")


class _Commands(click.Group):
    """Shows what went wrong on purpose as one line, without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        # The demo comes with the source: an installed package has none to offer.
        return [name for name in _COMMANDS if name != "demo" or examples_folder() is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        made: click.Command = getattr(import_module(f"bext_otel.cli.{cmd_name}"), cmd_name)
        return made

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BextOtelError as exc:
            raise click.ClickException(str(exc)) from exc


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="bext-otel %(version)s")
def main() -> None:
    """OpenTelemetry for the bext platform.

    `bext-otel run COMMAND` starts an application with telemetry. The others are for people who look.
    """
