"""The stand-alone server of the endpoints, for applications that mount nothing."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from bext_otel.config import EndpointsSettings
from bext_otel.endpoints import wsgi
from bext_otel.endpoints.callers import Callers
from bext_otel.endpoints.endpoints import Endpoints, Reply, plain_text
from bext_otel.endpoints.holding import PortHolding
from bext_otel.endpoints.http_server import HTTPServer
from bext_otel.endpoints.index import index
from bext_otel.endpoints.kept_open import KeptOpen
from bext_otel.endpoints.notice import Rank
from bext_otel.endpoints.port import is_loopback, take_word
from bext_otel.endpoints.relatives import others
from bext_otel.errors import ConfigError
from bext_otel.listener.server import Listener
from bext_otel.service.board import Board
from bext_otel.threads import begin

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from bext_otel.listener.tls import TLS

__all__ = ["StandaloneServer"]

_JOIN_SECONDS = 2.0
_WRONG_HOST = plain_text(
    403, "this server answers to names and addresses of loopback, and to those of [endpoints] allowed_hosts"
)
_OPEN = (
    "the endpoints at {address} can be asked from other machines, and no token is set, so that everybody "
    'sees the metrics there; set [telemetry] token (or token_file) and [endpoints] metrics = "token"'
)


class StandaloneServer:
    """Serves `endpoints` at `host` and `port` (0: any free one) from daemon threads, which exist between
    `start` and `stop` only.

    `board` is what the processes of a service share: one of them serves, the others wait for it in silence.
    A port that somebody else holds is one line to `log`, where they are served is one to `announce`. `rank`
    says what this process has to show: one that has less gives the port to it.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        host: str,
        port: int,
        *,
        board: Board | None,
        log: Callable[[str], None],
        settings: EndpointsSettings | None = None,
        announce: Callable[[str], object] | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._settings = settings or EndpointsSettings()
        self._callers = Callers(host, self._settings.allowed_hosts)
        self._host = host
        self._port = port
        self._board = board
        self._log = log
        self._announce = announce
        self.rank = Rank.CANDIDATE
        self._told: set[str] = set()
        self._words: list[socket.socket] = []
        self._lock = threading.Lock()
        self._kept_open: KeptOpen | None = None
        self._life: _Life | None = None

    @property
    def port(self) -> int | None:
        """The port where this process serves; None while it does not."""
        life = self._life
        server = life.holding.server if life is not None else None
        return server.port if server is not None else None

    def start(self) -> None:
        """Serve, now or as soon as the port is free; nothing happens if it does already. Never raises."""
        with self._lock:
            if self._life is not None and self._life.pid == os.getpid():
                return
            holding = PortHolding(
                self._host,
                self._port,
                board=self._board,
                make=self._serving,
                tell=self.tell,
                rank=lambda: self.rank,
                kept_open=self._kept_open,
            )
            self._life = _Life(holding)
            if not begin(self._life.thread):
                self._life = None

    def raise_rank(self, rank: Rank) -> None:
        """This process has so much to show."""
        if rank > self.rank:
            self.rank = rank
            if (life := self._life) is not None:
                life.holding.rank_rises()

    def keep_open(self) -> None:
        """In a master that is about to fork a worker: have the port stay open as long as this process lives,
        once a worker has it."""
        if self._kept_open is None and self._port and self._board is not None and not self._board.alone:
            with suppress(OSError, AttributeError):  # no descriptor left; no such sockets
                self._kept_open = KeptOpen()

    def close(self) -> None:
        """`stop`, and keep nothing open for others."""
        self.stop()
        kept_open, self._kept_open = self._kept_open, None
        if kept_open is not None:
            kept_open.close()

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
        self.rank = Rank.CANDIDATE
        self._give_words_back()
        life, self._life = self._life, None
        if life is not None:
            life.holding.forget()

    def application(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """What the server answers, as a WSGI application."""
        trusted = self._callers.trusts(environ)
        if self._callers.admits(environ):
            page = partial(self._page, trusted=trusted)
            reply = wsgi.answer(self._endpoints, environ, trusted=trusted, otherwise=page)
        else:
            reply = wsgi.finished_for(_WRONG_HOST, environ)
        return wsgi.respond(reply, start_response)

    def tell(self, about: str, line: str, *, by: Callable[[str], object] | None = None) -> None:
        """One line about this, once for all workers of the service, `by` this (None: by the log)."""
        if about in self._told:
            return
        self._told.add(about)
        secret = self._board.secret.hex() if self._board is not None else ""
        word = take_word(f"{secret} {self._host} {self._port} {about}") if secret else None
        if word is not None or not secret:
            (by or self._log)(line)
        if word is not None:
            self._words.append(word)

    def _give_words_back(self) -> None:
        while self._words:
            self._words.pop().close()

    def _serving(self, sock: socket.socket) -> HTTPServer | None:
        try:
            tls = self._tls()
        except ConfigError as error:
            self.tell("certificate", f"the endpoints are not served: {error}")
            return None
        if not (is_loopback(self._host) or self._endpoints.access.is_guarded):
            self.tell("open", _OPEN.format(address=self._address))
        self._endpoints.begin()
        served = Listener(
            sock, self.application, lane_of=self._endpoints.lane, name="bext-otel-endpoints", tls=tls
        )
        if self._announce is not None:
            scheme = "http" if tls is None else "https"
            what, path = self._endpoints.first_page
            address = _address(self._host, served.port)
            self.tell("where", f"{what} at {scheme}://{address}{path}", by=self._announce)
        return served

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
        return _address(self._host, self._port)

    def _page(self, path: str, *, trusted: bool) -> Reply:
        if path != "/":
            return plain_text(404, "not found; / lists what there is")
        # What else runs on this machine is for those on this machine.
        return index(self._endpoints, others(self._board, self._host, self._port) if trusted else [])


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Life:
    """What exists between a start and its stop."""

    def __init__(self, holding: PortHolding) -> None:
        self.pid = os.getpid()
        self.holding = holding
        self.thread = threading.Thread(target=holding.run, name="bext-otel-endpoints", daemon=True)

    def end(self) -> None:
        """Release the port and end the thread, within a bound."""
        self.holding.end()
        if self.thread is not threading.current_thread():
            self.thread.join(_JOIN_SECONDS)
            server = self.holding.server
            if server is not None and self.thread.is_alive():
                server.release()
