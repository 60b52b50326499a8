"""The stand-alone server of the endpoints, for applications that mount nothing."""

from __future__ import annotations

import errno
import os
import re
import socket
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from bext_otel.config import EndpointsSettings
from bext_otel.endpoints import wsgi
from bext_otel.endpoints.callers import Callers
from bext_otel.endpoints.endpoints import Endpoints, Reply, plain_text
from bext_otel.endpoints.index import index
from bext_otel.endpoints.port import CLAIM_HEADER, SERVICE_HEADER, holder, is_loopback, listen, take_word
from bext_otel.errors import ConfigError
from bext_otel.listener.server import Listener
from bext_otel.threads import begin

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from bext_otel.listener.tls import TLS

__all__ = ["StandaloneServer"]

RETRY_SECONDS = 2.0
"""How often a taken port is tried again: workers of a service take over within 5 seconds."""

_JOIN_SECONDS = 2.0
_WRONG_HOST = plain_text(
    403, "this server answers to names and addresses of loopback, and to those of [endpoints] allowed_hosts"
)
_CLAIM = f"HTTP_{CLAIM_HEADER.upper().replace('-', '_')}"
_OPEN = (
    "the endpoints at {address} can be asked from other machines, and no token is set, so that everybody "
    'sees the metrics there; set [telemetry] token (or token_file) and [endpoints] metrics = "token"'
)
_REMEDY = "set OTEL_EXPORTER_PROMETHEUS_HOST or OTEL_EXPORTER_PROMETHEUS_PORT to a free address"


class StandaloneServer:
    """Serves `endpoints` at `host` and `port` (0: any free one) from daemon threads, which exist between
    `start` and `stop` only.

    `service_key` is the same for all workers of a service: one of them holds the port, the others wait for it
    in silence. A port that somebody else holds is one line to `log`. `measures` says that this process has
    something to show: a sibling that has not, such as the process that waits behind a reloader, lets go of
    the port when asked.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        host: str,
        port: int,
        *,
        service_key: str,
        log: Callable[[str], None],
        settings: EndpointsSettings | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._settings = settings or EndpointsSettings()
        self._callers = Callers(host, self._settings.allowed_hosts)
        self._host = host
        self._port = port
        # A header's value; the key may be made of a name that people gave.
        self._service_key = re.sub(r"[^\x21-\x7e]", "_", service_key)
        self._log = log
        self.measures = False
        self._told: set[str] = set()
        self._words: list[socket.socket] = []
        self._lock = threading.Lock()
        self._life: _Life | None = None

    @property
    def port(self) -> int | None:
        """The port that this process holds; None while it holds none."""
        life = self._life
        return life.port if life is not None else None

    def start(self) -> None:
        """Serve, now or as soon as the port is free; nothing happens if it does already. Never raises."""
        with self._lock:
            if self._life is not None and self._life.pid == os.getpid():
                return
            self._life = _Life(self)
            if not begin(self._life.thread):
                self._life = None

    def stop(self) -> None:
        """Release the port and end the threads; nothing happens if there are none. `start` begins anew."""
        with self._lock:
            life, self._life = self._life, None
        if life is not None and life.pid == os.getpid():
            life.end()
        self._give_words_back()

    def forget(self) -> None:
        """In a forked child: close what came along of the parent's server, whose threads stayed there.
        `start` begins anew."""
        self._lock = threading.Lock()  # the parent's may be held
        self._give_words_back()
        life, self._life = self._life, None
        if life is not None and life.serving is not None:
            life.serving.forget()

    def application(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """What the server answers, as a WSGI application."""
        life, trusted = self._life, self._callers.trusts(environ)
        if life is not None and not self.measures and environ.get(_CLAIM) == self._service_key and trusted:
            life.yield_port()
        if self._callers.admits(environ):
            reply = wsgi.answer(self._endpoints, environ, trusted=trusted, otherwise=self._page)
        else:
            reply = wsgi.finished_for(_WRONG_HOST, environ)
        return wsgi.respond(reply, start_response, (SERVICE_HEADER, self._service_key))

    def _page(self, path: str) -> Reply:
        return index(self._endpoints) if path == "/" else plain_text(404, "not found; / lists what there is")

    def serve(self, life: _Life) -> None:
        """Take the port and serve until the life ends; the port is tried again as long as it is taken."""
        silences = 0
        while not life.ending.is_set():
            try:
                tls = self._tls()
                life.serve(self._serving(listen(self._host, self._port), tls))
            except ConfigError as exc:
                self.tell("certificate", f"the endpoints are not served: {exc}")
            except OSError as exc:
                silences = silences + 1 if self._explain(exc, after=silences) else 0
            except Exception as exc:  # never an exception into the application, and the endpoints come back
                self.tell("failed", f"the endpoints at {self._address} failed and are started again: {exc!r}")
            # Whoever asked for the port tries again within one turn.
            life.ending.wait(2 * RETRY_SECONDS if life.yielding.is_set() else RETRY_SECONDS)
            life.yielding.clear()

    def _serving(self, sock: socket.socket, tls: TLS | None) -> Listener:
        if not (is_loopback(self._host) or self._endpoints.access.is_guarded):
            self.tell("open", _OPEN.format(address=self._address))
        return Listener(
            sock, self.application, lane_of=self._endpoints.lane, name="bext-otel-endpoints", tls=tls
        )

    def _tls(self) -> TLS | None:
        certificate, key = self._settings.certificate_file, self._settings.key_file
        if not certificate:
            return None
        from bext_otel.listener.tls import TLS  # takes a while to import, and few want it

        try:
            return TLS(certificate, key)
        except OSError as error:
            raise ConfigError(
                f"[endpoints] certificate_file = {certificate!r}, key_file = {key!r}: expected a "
                f"certificate and its key in PEM ({error.strerror or error})"
            ) from error

    @property
    def _address(self) -> str:
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    def _explain(self, exc: OSError, *, after: int) -> bool:
        """Say why the port can't be had, unless a sibling has it; True if its holder is silent, which is told
        the second time only."""
        if exc.errno != errno.EADDRINUSE:
            self.tell(
                "address",
                f"the endpoints cannot be served at {self._address} ({exc.strerror or exc}); {_REMEDY}",
            )
            return False
        found = holder(self._host, self._port, self._service_key, claim=self.measures)
        if found == "stranger":
            self.tell(
                "taken", f"the endpoints wait for {self._address}, which another program holds; {_REMEDY}"
            )
        elif found == "unknown" and after:
            self.tell(
                "silent",
                f"the endpoints wait for {self._address}, whose holder does not answer: a worker of this "
                "service that is stopped, "
                f"or another program; {_REMEDY}",
            )
        return found == "unknown"

    def tell(self, about: str, line: str) -> None:
        """One line, once for all workers of the service."""
        if about in self._told:
            return
        self._told.add(about)
        word = take_word(f"{self._service_key} {self._address} {about}")
        if word is not None:
            self._words.append(word)
            self._log(line)

    def _give_words_back(self) -> None:
        while self._words:
            self._words.pop().close()


class _Life:
    """What exists between a start and its stop."""

    def __init__(self, server: StandaloneServer) -> None:
        self.pid = os.getpid()
        self.ending = threading.Event()
        self.yielding = threading.Event()
        self.serving: Listener | None = None
        self.port: int | None = None
        self.thread = threading.Thread(
            target=server.serve, args=(self,), name="bext-otel-endpoints", daemon=True
        )

    def serve(self, serving: Listener) -> None:
        """Serve until the end, until the socket is lost, or until a sibling asks for it."""
        self.serving, self.port = serving, serving.port
        try:
            while not self.ending.is_set() and not self.yielding.is_set() and serving.turn():
                pass
        finally:
            self.serving = self.port = None
            serving.close()

    def yield_port(self) -> None:
        """Let go of the port for a while."""
        self.yielding.set()
        serving = self.serving
        if serving is not None:
            serving.wake()

    def end(self) -> None:
        """Release the port and end the thread, within a bound."""
        self.ending.set()
        serving = self.serving
        if serving is not None:
            serving.wake()
        if self.thread is not threading.current_thread():
            self.thread.join(_JOIN_SECONDS)
            if serving is not None and self.thread.is_alive():
                serving.release()
