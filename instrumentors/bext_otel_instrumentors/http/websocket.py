"""A websocket connection: one span from handshake to close.

Its handshake is counted in `bext.requests` when it is answered (101, or the status that denied it). Durations
and sizes are not recorded: a connection that stays open for hours would spoil the quantiles of requests.
There is no completion record either.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from bext_otel.operation import show_failure
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.exchange import UNMATCHED, Exchange, count_request

__all__ = ["Handshake"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

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
            self._answer(_SWITCHING_PROTOCOLS)
        elif kind == "websocket.close":
            if not exchange.status:
                self._answer(_DENIED)
            elif self._close_code is None:
                self._close_code = message.get("code") or 1000
        elif kind == "websocket.http.response.start":
            self._answer(message["status"])

    def _answer(self, status: int) -> None:
        exchange = self._exchange
        exchange.status = status
        if not exchange.owned:
            exchange.annotate(self._route())
        self._count(status)

    def _count(self, status: int) -> None:
        if not self._counted:
            self._counted = True
            exchange = self._exchange
            route = self._route() or UNMATCHED
            count_request(1, exchange.app, exchange.method, str(status), route, context=exchange.context)

    def finish(self, error: BaseException | None = None) -> None:
        """The connection is over; `error` is what came out of the application. Only the first call counts;
        never raises."""
        exchange = self._exchange
        if exchange.finished:
            return
        exchange.finished = True
        try:
            self._finish(error)
        except Exception as failure:
            report("the end of a websocket", failure)
        exchange.end_span()
        exchange.release()

    def _finish(self, error: BaseException | None) -> None:
        exchange = self._exchange
        error = error or exchange.error
        counted, status, error_type, failed = exchange.result(error)
        self._count(counted)
        if not exchange.owned:
            return
        span = exchange.span
        if span.is_recording():
            exchange.show_result(self._route(), status)
            if self._close_code is not None:
                span.set_attribute("websocket.close_code", self._close_code)
            # Leaving is how a client ends a connection, and Starlette tells the application by an exception.
            if error_type is not None and failed:
                show_failure(span, error_type, error)
            elif error_type is not None and not exchange.status:
                span.set_attribute("error.type", error_type)
