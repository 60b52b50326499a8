"""A bell for each process of a service: rung, its one listener looks at the board at once, and need not look
from time to time."""

from __future__ import annotations

import hashlib
import os
import select
import socket
from collections.abc import Iterable
from contextlib import suppress

__all__ = ["Bell", "ring"]


class Bell:
    """That of this process, which listens from now on until `close`; raises OSError where there can be none
    (the system has no abstract socket names, or no descriptor is left).

    `secret` is the service's: names of such sockets can be guessed, and whoever may ring only makes us look.
    """

    def __init__(self, secret: bytes) -> None:
        # Looked up in its module now: under gevent it must not wait for the system.
        family = getattr(socket, "AF_UNIX", None)
        if family is None or not secret:
            raise OSError("no sockets with abstract names")
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.bind(_name(secret, os.getpid()))
            self._socket.setblocking(False)
            self._poll = select.poll()
            self._poll.register(self._socket, select.POLLIN)
        except BaseException:
            self._socket.close()
            raise

    def wait(self, seconds: float | None) -> bool:
        """Until it is rung, or so long (None: for ever); whether it was. Raises OSError once it is closed."""
        if not self._poll.poll(None if seconds is None else seconds * 1e3):
            return False
        with suppress(BlockingIOError):
            while self._socket.recv(1):
                pass
        return True

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


def ring(secret: bytes, pids: Iterable[int]) -> None:
    """Ring at these processes; those that do not listen miss nothing, since they look when they begin to."""
    family = getattr(socket, "AF_UNIX", None)
    if family is None or not secret:
        return
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for pid in pids:
            with suppress(OSError):  # nobody listens; or it was rung already and not heard yet
                sender.sendto(b"!", _name(secret, pid))


def _name(secret: bytes, pid: int) -> bytes:
    return b"\0bext-otel-bell-" + hashlib.sha256(secret + str(pid).encode()).hexdigest().encode()
