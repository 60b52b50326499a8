"""`bext-otel`: the commands, gathered."""

from __future__ import annotations

from typing import Any

import click

from bext_otel.cli.catalogue import catalogue
from bext_otel.cli.demo import demo
from bext_otel.cli.deploy import deploy
from bext_otel.cli.view import view
from bext_otel.errors import BextOtelError

__all__ = ["main"]


class _Commands(click.Group):
    """Shows what went wrong on purpose as one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BextOtelError as exc:
            raise click.ClickException(str(exc)) from exc


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bext-otel", message="%(package)s %(version)s")
def main() -> None:
    """OpenTelemetry for the bext platform.

    An application needs none of these commands: it is launched with `opentelemetry-instrument`. They are for
    people who look.
    """


main.add_command(demo)
main.add_command(view)
main.add_command(catalogue)
main.add_command(deploy)
