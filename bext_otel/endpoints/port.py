"""Taking a port for the stand-alone server, and the right to speak for others."""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import os
import socket

__all__ = ["is_loopback", "listen", "take_word"]

_BACKLOG = 64


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


def take_word(name: str) -> socket.socket | None:
    """The right to speak for all processes that ask for it by this name, until the socket is closed; None
    where another one has it. A name that others can guess they can take.

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
