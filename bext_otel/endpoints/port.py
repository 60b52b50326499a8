"""Taking a port for the stand-alone server, and finding out who holds one that is taken."""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import os
import socket
from typing import Literal, TypeAlias

__all__ = ["CLAIM_HEADER", "SERVICE_HEADER", "Holder", "holder", "is_loopback", "listen", "take_word"]

SERVICE_HEADER = "x-bext-otel-service"
"""Tells workers of one service from strangers: each answers with the key of its service."""

CLAIM_HEADER = "x-bext-otel-claim"
"""Sent, with the key of its service, by a worker that has something to show: one that holds the port and has
not may let go of it."""

Holder: TypeAlias = Literal["sibling", "stranger", "unknown"]
"""Who holds a port: a worker of this service, somebody else, or somebody who does not answer (just starting,
or stopped)."""

_BACKLOG = 64
_PROBE_SECONDS = 0.5
_MAX_ANSWER = 16 * 1024


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises OSError if the address can't be had. IPv4 goes first where a name has both.

    Never with SO_REUSEPORT: the kernel would then hand a scraper to any program that shares the port.
    """
    found = sorted(
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE),
        key=lambda info: info[0] != socket.AF_INET,
    )
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere the option lets two programs share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def holder(host: str, port: int, service_key: str, *, claim: bool = False) -> Holder:
    """Who answers at a port that is taken; within a second. `claim` asks a sibling for the port."""
    try:
        target = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
        with socket.create_connection((target, port), timeout=_PROBE_SECONDS) as sock:
            claimed = f"{CLAIM_HEADER}: {service_key}\r\n" if claim else ""
            sock.sendall(f"HEAD / HTTP/1.0\r\nHost: {target}\r\n{claimed}\r\n".encode())
            answer = b""
            while b"\r\n\r\n" not in answer and len(answer) < _MAX_ANSWER:
                received = sock.recv(4096)
                if not received:
                    break
                answer += received
    except OSError:
        return "unknown"
    if not answer:
        return "unknown"
    lines = answer.decode("latin-1").lower().split("\r\n")
    return "sibling" if f"{SERVICE_HEADER}: {service_key.lower()}" in lines else "stranger"


def take_word(name: str) -> socket.socket | None:
    """The right to speak for all processes that ask for it by this name, until the socket is closed; None
    where another one has it.

    Where the system has no abstract sockets (Linux has), everybody gets it.
    """
    sock = socket.socket(getattr(socket, "AF_UNIX", socket.AF_INET), socket.SOCK_DGRAM)
    try:
        sock.bind(b"\0bext-otel-word-" + hashlib.sha256(name.encode()).hexdigest().encode())
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            sock.close()
            return None
    except TypeError:  # no such addresses
        pass
    return sock


def is_loopback(host: str) -> bool:
    """Whether an address or name can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
