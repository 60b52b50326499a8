"""Ports on loopback: the usual one if it is free, another one if not."""

from __future__ import annotations

import socket

import click

from bext_otel.viewer import Limits, Viewer

__all__ = ["OTLP_PORT", "free_port", "open_viewer"]

OTLP_PORT = 4318
"""OTLP over HTTP (registered with IANA, and the default of every OTLP exporter)."""


def free_port(wanted: int | None, *, usual: int, option: str) -> int:
    """`wanted`, or else `usual` if it is free, or else any free port. Raises a usage error that names
    `option` if `wanted` is taken."""
    for port in (wanted,) if wanted else (usual, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As servers do it, so that a port whose connections have just ended counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise _taken(option, wanted)


def open_viewer(port: int | None, *, option: str = "--port", limits: Limits | None = None) -> Viewer:
    """A viewer on `port`, or else on the usual OTLP port, or else, having said so, on a free one."""
    if port is not None:
        try:
            return Viewer(port=port, limits=limits)
        except OSError as exc:
            raise _taken(option, port) from exc
    try:
        return Viewer(port=OTLP_PORT, limits=limits)
    except OSError:
        viewer = Viewer(port=0, limits=limits)
        click.echo(f"Port {OTLP_PORT} is taken: the viewer uses {viewer.port}.")
        return viewer


def _taken(option: str, port: int | None) -> click.ClickException:
    return click.ClickException(
        f"{option} {port}: the port is taken or not allowed; give another one, or leave {option} out"
    )
