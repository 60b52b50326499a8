"""The viewer, served on loopback."""

from __future__ import annotations

import socket
import threading
from types import TracebackType

from bext_otel.errors import ConfigError
from bext_otel.listener.limits import Limits as ListenerLimits
from bext_otel.listener.server import Listener
from bext_otel.viewer.app import ViewerApp, lane
from bext_otel.viewer.limits import Limits
from bext_otel.viewer.store import Store

__all__ = ["Viewer"]

_LOOPBACK = {"127.0.0.1": socket.AF_INET, "localhost": socket.AF_INET, "::1": socket.AF_INET6}
_STOP_SECONDS = 2.0


class Viewer:
    """An OTLP/HTTP receiver with pages at the same address.

    `port` 0 takes a free one; with a `token`, its pages are for who shows it. It listens from the moment it
    is built, and answers from `start()` on. Raises `ConfigError` for a host that is not loopback, `OSError`
    for a port that can't be had.
    """

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 4318, limits: Limits | None = None, token: str = ""
    ) -> None:
        if host not in _LOOPBACK:
            raise ConfigError(
                f"viewer host = {host!r}: what it shows is nobody else's business, so expected one of "
                f"{', '.join(_LOOPBACK)}"
            )
        self.store = Store(limits)
        self._token = token
        sock = _listen(_LOOPBACK[host], "127.0.0.1" if host == "localhost" else host, port)
        self.host, self.port = sock.getsockname()[:2]
        self._listener = Listener(
            sock,
            ViewerApp(self.store, token=token),
            lane_of=lane,
            name="bext-otel-viewer",
            limits=ListenerLimits(body_bytes=self.store.limits.body_bytes),
        )
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="bext-otel-viewer", daemon=True)

    @property
    def url(self) -> str:
        """Where OTLP goes, and its pages for who has shown the token."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    @property
    def page_url(self) -> str:
        """Where its pages begin, with the token if it has one: for whoever started it."""
        return f"{self.url}/?token={self._token}" if self._token else f"{self.url}/"

    def start(self) -> Viewer:
        """Begin to answer, in a thread."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Answer what has begun for at most half a second, then close every connection."""
        self._ending.set()
        if self._thread.is_alive():
            self._listener.wake()
            self._thread.join(_STOP_SECONDS)
        else:
            self._listener.close()

    def __enter__(self) -> Viewer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self) -> None:
        while not self._ending.is_set() and self._listener.turn():
            pass
        self._listener.close()


def _listen(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Without it, a port stays taken for a minute after its last connection. It doesn't share a port that
        # somebody listens on.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener
