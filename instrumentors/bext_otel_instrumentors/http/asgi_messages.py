"""The messages of an ASGI request and its answer, which tell its exchange what goes by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.background import watch
from bext_otel_instrumentors.http.exchange import Exchange
from bext_otel_instrumentors.http.response_propagation import propagates, response_headers
from bext_otel_instrumentors.http.routes import template

__all__ = ["Message", "Receive", "Send", "receiving", "sending"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


def receiving(receive: Receive, exchange: Exchange) -> Receive:
    """`receive`, telling the exchange what was sent, and that the client has left."""

    async def received() -> Message:
        message = await receive()
        if message.get("type") == "http.disconnect":
            exchange.leave()
        elif exchange.counting:
            exchange.received(len(message.get("body") or b""))
        return message

    return received


def sending(send: Send, scope: Mapping[str, Any], exchange: Exchange) -> Send:
    """`send`, telling the exchange what goes by."""
    bodiless = trailers = False

    async def sent(message: Message) -> None:
        nonlocal bodiless, trailers
        last = False
        try:
            kind = message["type"]
            if kind == "http.response.body":
                if not bodiless:
                    exchange.response_bytes += len(message.get("body") or b"")
                last = not (trailers or message.get("more_body", False))
            elif kind == "http.response.start":
                trailers = message.get("trailers", False)
                bodiless = exchange.begin_answer(message["status"], message.get("headers") or ())
                if not exchange.owned or exchange.sends_id or propagates():
                    message = _begun(message, scope, exchange)
            else:
                last = _is_last(message, exchange, trailers=trailers)
        except Exception as error:
            report("an answer", error)
        try:
            await send(message)
        except OSError as error:  # so a server says that the client is not there any more
            exchange.leave(error, unanswered=message.get("type") == "http.response.start")
            raise
        if last and not exchange.withdrawn:
            exchange.answered()
            watch(exchange, scope)

    return sent


def _begun(message: Message, scope: Mapping[str, Any], exchange: Exchange) -> Message:
    """The message that begins an answer, with the headers that we add to it."""
    headers = message.get("headers") or ()
    if added := response_headers(exchange, headers):
        message = {
            **message,
            "headers": [
                *headers,
                *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in added),
            ],
        }
    if not exchange.owned:
        exchange.annotate(template(exchange, scope))
    return message


def _is_last(message: Message, exchange: Exchange, *, trailers: bool) -> bool:
    """Account for a message of an ASGI extension; True for the last of an answer."""
    kind = message["type"]
    if kind in {"http.response.pathsend", "http.response.zerocopysend"}:
        # The server reads the file itself; the application only says how much it is.
        exchange.sent_whole()
        return not trailers and not message.get("more_body", False)
    return bool(kind == "http.response.trailers" and not message.get("more_trailers", False))
