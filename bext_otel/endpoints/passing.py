"""Sockets that go from one process to another, with a message (SCM_RIGHTS).

`socket.send_fds` and `recv_fds` of the standard library do not hand their flags on: they would wait, and
leave the socket to programs that are executed.
"""

from __future__ import annotations

import array
import socket

__all__ = ["receive", "send"]

_LONGEST = 64


def send(through: socket.socket, message: bytes, passed: socket.socket | None) -> None:
    """Send this, and a copy of the socket with it. Does not wait.

    Raises:
        OSError: no room at the other end, or nobody there.
    """
    numbers = array.array("i", [passed.fileno()] if passed is not None else [])
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)] if numbers else []
    through.sendmsg([message], rights, socket.MSG_DONTWAIT)


def receive(through: socket.socket, flags: int = 0) -> tuple[bytes, socket.socket | None]:
    """A message, empty at the end, and the socket that came with it.

    Raises:
        OSError: as `recvmsg` does.
    """
    flags |= getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    found = array.array("i")
    message, rights, _, _ = through.recvmsg(_LONGEST, socket.CMSG_SPACE(found.itemsize), flags)
    for level, kind, data in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return message, socket.socket(fileno=found[0]) if found else None
