"""Websockets: one span for each connection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from bext_otel.catalogue import HTTP_SERVER_REQUEST_DURATION, REQUEST_DURATION, REQUEST_SIZE, REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import http_scope

Messages = list[dict[str, Any]]


def connect(app: Any, *arriving: dict[str, Any]) -> Messages:
    scope = http_scope("/ws")
    del scope["method"]
    sent: Messages = []
    queue = [{"type": "websocket.connect"}, *arriving]

    async def receive() -> dict[str, Any]:
        return queue.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(ASGIMiddleware(app)({**scope, "type": "websocket", "scheme": "ws"}, receive, send))
    return sent


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


def text(value: str) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": value}


def test_a_connection_is_one_span_however_many_messages_it_has(telemetry: Telemetry) -> None:
    connect(echo, *[text("hi")] * 20, {"type": "websocket.disconnect", "code": 1001})
    assert 1 == len(telemetry.spans())
    attributes = telemetry.attributes()
    assert ("GET", "ws", 101, 1001) == tuple(
        attributes[name]
        for name in ("http.request.method", "url.scheme", "http.response.status_code", "websocket.close_code")
    )
    assert StatusCode.UNSET is telemetry.server().status.status_code


def test_a_handshake_is_counted_and_a_connection_is_not_timed(telemetry: Telemetry) -> None:
    connect(echo, {"type": "websocket.disconnect", "code": 1000})
    assert {("shop", "GET", "101", "unmatched"): 1} == telemetry.counts(REQUESTS)
    assert [{}, {}, {}] == [
        telemetry.counts(metric) for metric in (REQUEST_DURATION, REQUEST_SIZE, HTTP_SERVER_REQUEST_DURATION)
    ]
    assert [] == telemetry.completions()


def test_a_handshake_is_counted_while_the_connection_is_open(telemetry: Telemetry) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        seen.append(telemetry.counts(REQUESTS))

    connect(app)
    assert [{("shop", "GET", "101", "unmatched"): 1}] == seen
    assert {("shop", "GET", "101", "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_the_application_closes_with_a_code(telemetry: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4000})

    connect(app)
    assert 4000 == telemetry.attributes()["websocket.close_code"]


def test_a_handshake_that_is_closed_is_denied(telemetry: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.close", "code": 1000})

    connect(app)
    assert 403 == telemetry.attributes()["http.response.status_code"]
    assert {("shop", "GET", "403", "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_a_handshake_can_be_denied_with_an_answer(telemetry: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    connect(app)
    assert 401 == telemetry.attributes()["http.response.status_code"]
    assert {("shop", "GET", "401", "unmatched"): 1} == telemetry.counts(REQUESTS)


@pytest.mark.parametrize(("accepted", "status"), [(False, 500), (True, 101)])
def test_an_unhandled_exception_is_an_error(telemetry: Telemetry, accepted: bool, status: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if accepted:
            await send({"type": "websocket.accept"})
        raise LookupError

    with pytest.raises(LookupError):
        connect(app)
    assert StatusCode.ERROR is telemetry.server().status.status_code
    assert ("LookupError", status) == (
        telemetry.attributes()["error.type"],
        telemetry.attributes()["http.response.status_code"],
    )
    assert {("shop", "GET", str(status), "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_a_client_that_leaves_is_no_error(telemetry: Telemetry) -> None:
    from starlette.websockets import WebSocketDisconnect

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await receive()
        raise WebSocketDisconnect((await receive())["code"])

    with pytest.raises(WebSocketDisconnect):
        connect(app, {"type": "websocket.disconnect", "code": 1005})
    assert "error.type" not in telemetry.attributes()
    assert 1005 == telemetry.attributes()["websocket.close_code"]
