"""TLS for a listener, by the standard library."""

from __future__ import annotations

import ssl
from pathlib import Path
from socket import socket

__all__ = ["TLS"]


class TLS:
    """A certificate and its key, in PEM. A renewed certificate is taken as soon as its file changes.

    Raises OSError (`ssl.SSLError` among them) if they can't be read, or do not belong together.
    """

    wants_read: tuple[type[OSError], ...] = (BlockingIOError, InterruptedError, ssl.SSLWantReadError)
    wants_write: tuple[type[OSError], ...] = (ssl.SSLWantWriteError,)

    def __init__(self, certificate_file: str, key_file: str) -> None:
        self._files = (certificate_file, key_file)
        self._state = self._changed()
        self._context = self._load()

    def wrap(self, sock: socket) -> socket:
        """A connection that was accepted, which shakes hands when it is read from."""
        try:
            state = self._changed()
            if state != self._state:
                self._state = state
                self._context = self._load()
        except OSError:  # half of a renewal: the former pair serves until the next change
            pass
        return self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        # A key with a passphrase would be asked for on the terminal.
        context.load_cert_chain(*self._files, password=lambda: "")
        return context

    def _changed(self) -> tuple[tuple[int, int, int], ...]:
        found = [Path(file).stat() for file in self._files if file]
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)
