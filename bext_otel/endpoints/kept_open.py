"""A port that stays open while a master lives, though all of its workers may just be starting."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from bext_otel.endpoints.passing import receive, send

__all__ = ["KeptOpen"]


class KeptOpen:
    """A copy of the listening socket, under way from one end of a pair of sockets to the other: whoever is
    forked from the process that made the pair can look at it there, and the kernel queues connections
    meanwhile. So a master need neither serve nor have a thread.
    """

    def __init__(self) -> None:
        """Raises OSError where no descriptor is left."""
        self._into, self._out = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._own = [(one, _identity(one)) for one in (self._into, self._out)]

    def put(self, sock: socket.socket) -> None:
        """This is the listening socket now."""
        self.clear()
        with suppress(OSError):
            if self._is_ours():
                send(self._into, b"x", sock)

    def get(self) -> socket.socket | None:
        """A copy of it; None if there is none."""
        return self._receive(socket.MSG_PEEK)

    def clear(self) -> None:
        """Let the port go, as far as this is concerned."""
        while (former := self._receive(0)) is not None:
            former.close()

    def close(self) -> None:
        """Close this process's ends."""
        for sock, identity in self._own:
            if _identity(sock) == identity:
                sock.close()
            else:  # the application has closed it, and may have a file of its own under its number
                sock.detach()

    def _receive(self, flags: int) -> socket.socket | None:
        try:
            if not self._is_ours():
                return None
            return receive(self._out, flags | socket.MSG_DONTWAIT)[1]
        except OSError:
            return None

    def _is_ours(self) -> bool:
        return all(_identity(sock) == identity for sock, identity in self._own)


def _identity(sock: socket.socket) -> tuple[int, int] | None:
    try:
        found = os.fstat(sock.fileno())
    except OSError:
        return None
    return found.st_dev, found.st_ino
