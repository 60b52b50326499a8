"""A websocket connection: one span from handshake to close.

Its handshake is counted in `bext.requests` when it is answered (101, or the status that denied it). Durations
and sizes are not recorded: a connection that stays open for hours would spoil the quantiles of requests.
There is no completion record either.
"""

from __future__ import annotations

from collections.abc import Callable

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.asgi_messages import Message, Receive, Send
from bext_otel_instrumentors.http.exchange import Exchange
from bext_otel_instrumentors.http.request_metrics import count_request

__all__ = ["Handshake"]

_SWITCHING_PROTOCOLS = 101
# What a server answers to a handshake that the application closes, or does not survive.
_DENIED = 403


class Handshake:
    """Watches a connection. `route` gives the route template, once one has matched."""

    def __init__(self, exchange: Exchange, route: Callable[[], str | None]) -> None:
        self._exchange = exchange
        self._route = route
        self._close_code: int | None = None
        self._counted = False

    def watching(self, receive: Receive) -> Receive:
        """`receive`, noting the code that the client closes with."""

        async def watched() -> Message:
            message = await receive()
            if message.get("type") == "websocket.disconnect":
                self._exchange.leave()
                if self._close_code is None:
                    self._close_code = message.get("code", 1005)
            return message

        return watched

    def observing(self, send: Send) -> Send:
        """`send`, noting how the handshake is answered and the code that the application closes with."""

        async def observed(message: Message) -> None:
            try:
                kind = message["type"]
                if kind != "websocket.send":
                    self._note(kind, message)
            except Exception as error:
                report("a websocket", error)
            try:
                await send(message)
            except OSError as error:  # so a server says that the client is not there any more
                self._exchange.leave(error)
                raise

        return observed

    def _note(self, kind: str, message: Message) -> None:
        exchange = self._exchange
        if kind == "websocket.accept":
            self.answer(_SWITCHING_PROTOCOLS)
        elif kind == "websocket.close":
            if not exchange.status:
                self.answer(_DENIED)
            elif self._close_code is None:
                self._close_code = message.get("code") or 1000
        elif kind == "websocket.http.response.start":
            self.answer(message["status"])

    def answer(self, status: int) -> None:
        """The handshake is answered with this status."""
        self._exchange.begin_answer(status)
        if not self._exchange.owned:
            self._exchange.annotate(self._route())
        self._count(status)

    def _count(self, status: int) -> None:
        if not self._counted and not self._exchange.withdrawn:
            self._counted = True
            count_request(self._exchange, self._route(), status)

    def finish(self, error: BaseException | None = None) -> None:
        """The connection is over; `error` is what came out of the application. Only the first call counts;
        never raises."""
        self._exchange.end("the end of a websocket", self._conclude, error)

    def _conclude(self, error: BaseException | None) -> None:
        exchange = self._exchange
        error = error or exchange.error
        counted, status, error_type, failed = exchange.result(error)
        self._count(counted)
        if not failed and exchange.status:
            # Leaving is how a client ends a connection, and Starlette tells the application by an exception.
            error_type = None
        exchange.show_result(self._route(), status, error_type, error, failed=failed)
        if self._close_code is not None and exchange.owned:
            exchange.span.set_attribute("websocket.close_code", self._close_code)
