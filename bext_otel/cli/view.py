"""`bext-otel view`: the viewer alone."""

from __future__ import annotations

import threading

import click

from bext_otel.cli.ports import open_viewer, token_option
from bext_otel.cli.signals import UntilInterrupted

__all__ = ["view"]


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=None,
    help="Port on 127.0.0.1; 0 for a free one.  [default: 4318, or a free one]",
)
@token_option
def view(port: int | None, token: bool | None) -> None:
    """Receive OTLP over HTTP on this machine, and show it on a page.

    Takes traces, logs and metrics as protobuf or JSON, keeps the newest in memory, and answers to this
    machine only: pages to who has the token of the printed address, OTLP from everybody. Stop it with Ctrl-C.
    """
    viewer = open_viewer(port, token=token)
    with UntilInterrupted(), viewer:
        click.echo(f"Viewer   {viewer.page_url}")
        click.echo(
            f"Send to  OTEL_EXPORTER_OTLP_ENDPOINT={viewer.url} OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
        )
        click.echo("Stop it with Ctrl-C.")
        threading.Event().wait()
