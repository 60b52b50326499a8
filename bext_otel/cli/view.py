"""`bext-otel view`: the viewer alone."""

from __future__ import annotations

import threading

import click

from bext_otel.cli.ports import open_viewer
from bext_otel.cli.signals import UntilInterrupted

__all__ = ["view"]


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=None,
    help="Port on 127.0.0.1; 0 for a free one.  [default: 4318, or a free one]",
)
def view(port: int | None) -> None:
    """Receive OTLP over HTTP on this machine, and show it on a page.

    Takes traces, logs and metrics as protobuf or JSON, keeps the newest in memory, and answers to this
    machine only. Stop it with Ctrl-C.
    """
    viewer = open_viewer(port)
    with UntilInterrupted(), viewer:
        click.echo(f"Viewer   {viewer.url}/")
        click.echo(
            f"Send to  OTEL_EXPORTER_OTLP_ENDPOINT={viewer.url} OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
        )
        click.echo("Stop it with Ctrl-C.")
        threading.Event().wait()
