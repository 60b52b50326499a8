"""`bext-otel health`: what a service on this machine says of itself, as an exit code.

For probes that execute something, each few seconds: it imports nothing that serves.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Sequence

from bext_otel.cli.words import command_parser
from bext_otel.errors import ConfigError

__all__ = ["main"]

_PORT = "9464"
_MOST_BYTES = 1024 * 1024


def main(arguments: Sequence[str], program: str) -> None:
    """Ask a running service how it is: exit code 0 if well, 1 if not, or if nobody answers.

      bext-otel health                      is it ready?
      bext-otel health live                 any group: live, ready, startup, or one of your own
      bext-otel health ""                   everything
      bext-otel health --url http://127.0.0.1:8000/health/ready

    Without an address it asks the stand-alone endpoints, where
    OTEL_EXPORTER_PROMETHEUS_HOST and _PORT, or BEXT_METRICS_HOST and _PORT, and
    BEXT_HEALTH_PATH say, as a service with the same environment does. A certificate
    is not verified.
    """
    parser = command_parser(program, "[-h] [GROUP] [--url URL] [--timeout SECONDS]", main)
    parser.add_argument("group", nargs="?", default="ready", metavar="GROUP", help="which checks")
    parser.add_argument("--url", default="", help="the whole address, instead of a group")
    parser.add_argument("--timeout", type=float, default=0.9, metavar="SECONDS", help="0.9 by default")
    given = parser.parse_args(arguments)
    url = given.url or _own_url(given.group)
    try:
        status, body = _ask(url, time.monotonic() + given.timeout)
    except (OSError, ValueError) as error:
        print(f"{url}: {error or type(error).__name__}", file=sys.stderr)  # noqa: T201
        raise SystemExit(1) from None
    print(body.decode(errors="replace").rstrip("\n"))  # noqa: T201
    raise SystemExit(0 if 200 <= status < 300 else 1)


def _own_url(group: str) -> str:
    def said(name: str, default: str) -> str:
        return os.environ.get(f"OTEL_EXPORTER_PROMETHEUS_{name}") or os.environ.get(
            f"BEXT_METRICS_{name}", default
        )

    host, port = said("HOST", "127.0.0.1"), said("PORT", _PORT)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    path = os.environ.get("BEXT_HEALTH_PATH", "/health")
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{path}{f'/{group}' if group else ''}"


def _ask(url: str, deadline: float) -> tuple[int, bytes]:
    """Status and body. Raises OSError or ValueError."""
    scheme, _, rest = url.partition("://")
    address, _, path = rest.partition("/")
    host, colon, port = address.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = address, "443" if scheme == "https" else "80"
    if scheme not in {"http", "https"} or not host:
        raise ConfigError(f"--url = {url!r}: expected an http:// or https:// URL")
    host = host.strip("[]")
    with socket.create_connection((host, int(port)), max(deadline - time.monotonic(), 0.01)) as plain:
        sock: socket.socket = plain
        if scheme == "https":
            import ssl  # takes half of all the time that there is

            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            sock = context.wrap_socket(plain, server_hostname=host)
        head = f"GET /{path} HTTP/1.0\r\nHost: {address}\r\nUser-Agent: bext-otel-health\r\n\r\n"
        sock.sendall(head.encode())
        answer = _read(sock, deadline)
    first, _, body = answer.partition(b"\r\n\r\n")
    words = first.split(b"\r\n")[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ValueError("no answer of HTTP")
    return int(words[1]), body


def _read(sock: socket.socket, deadline: float) -> bytes:
    answer = b""
    while len(answer) < _MOST_BYTES:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        sock.settimeout(left)
        chunk = sock.recv(65_536)
        if not chunk:
            break
        answer += chunk
    return answer
