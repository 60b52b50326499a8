"""Ports on loopback: the usual one if it is free, another one if not."""

from __future__ import annotations

import os
import secrets
import socket
from urllib.parse import urlsplit

import click

from bext_otel.viewer import Limits, Viewer
from bext_otel.viewer.login import is_shared
from bext_otel.viewer.memory import give_back_freed_memory

__all__ = ["OTLP_PORT", "free_port", "local_port_of", "open_viewer", "port_of", "token_option"]

_MAX_PORT = 65_535

OTLP_PORT = 4318
"""OTLP over HTTP (registered with IANA, and the default of every OTLP exporter)."""

token_option = click.option(
    "--token/--no-token",
    default=None,
    help="Whether the viewer's pages want the token of the printed address.  [default: where other "
    "users have processes on this machine]",
)


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


def port_of(variable: str) -> int | None:
    """The port that a variable names; None where it is not set, or lets the system choose. Raises a usage
    error that names the variable where it is no port."""
    raw = os.environ.get(variable, "").strip()
    if not raw or raw == "0":
        return None
    if not (raw.isascii() and raw.isdigit() and int(raw) <= _MAX_PORT):
        raise click.ClickException(f"{variable} = {raw[:64]!r}: expected a port, 1 to {_MAX_PORT}")
    return int(raw)


def local_port_of(variable: str) -> int | None:
    """The port of the URL that a variable holds, if that is on this machine: telemetry of the demo goes
    nowhere else."""
    try:
        parts = urlsplit(os.environ.get(variable, "").strip())
        return parts.port if parts.hostname in {"localhost", "127.0.0.1", "::1"} else None
    except ValueError:
        return None


def open_viewer(
    port: int | None, *, option: str = "--port", limits: Limits | None = None, token: bool | None = None
) -> Viewer:
    """A viewer on `port`, or else on the usual OTLP port, or else, having said so, on a free one.

    `token`: whether its pages want one; by default where others may have processes on this machine.
    """
    secret = secrets.token_urlsafe(24) if (is_shared() if token is None else token) else ""
    give_back_freed_memory()
    if port is not None:
        try:
            return Viewer(port=port, limits=limits, token=secret)
        except OSError as exc:
            raise _taken(option, port) from exc
    try:
        return Viewer(port=OTLP_PORT, limits=limits, token=secret)
    except OSError:
        viewer = Viewer(port=0, limits=limits, token=secret)
        click.echo(f"Port {OTLP_PORT} is taken: the viewer uses {viewer.port}.")
        return viewer


def _taken(option: str, port: int | None) -> click.ClickException:
    return click.ClickException(
        f"{option} {port}: the port is taken or not allowed; give another one, or leave {option} out"
    )
