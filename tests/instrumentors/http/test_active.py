"""`http.server.active_requests`: up when a request begins, down once however it ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

from bext_otel.catalogue import HTTP_SERVER_ACTIVE_REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import ask, ask_async, ask_wsgi, environ_of, http_scope

GET, POST = ("GET", "http"), ("POST", "http")


def active(telemetry: Telemetry) -> dict[Any, int]:
    return telemetry.counts(HTTP_SERVER_ACTIVE_REQUESTS)


def answering(look: Callable[[], None]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        look()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


def test_a_request_is_active_while_it_is_answered(telemetry: Telemetry) -> None:
    seen: list[dict[Any, int]] = []
    app = ASGIMiddleware(answering(lambda: seen.append(active(telemetry))))
    ask(app)
    ask(app, "/", "POST")
    assert [{GET: 1}, {GET: 0, POST: 1}] == seen
    assert {GET: 0, POST: 0} == active(telemetry)


def test_a_wsgi_request_is_active_until_its_body_is_closed(telemetry: Telemetry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"x"

    body = WSGIMiddleware(app)(environ_of(), lambda *_: None)
    next(iter(body))
    assert {GET: 1} == active(telemetry)
    body.close()  # type: ignore[attr-defined]  # PEP 3333
    body.close()  # type: ignore[attr-defined]  # as above
    assert {GET: 0} == active(telemetry)


def raising(error: BaseException) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    return app


@pytest.mark.parametrize(
    "error", [LookupError(), asyncio.CancelledError(), SystemExit(), KeyboardInterrupt()], ids=repr
)
def test_a_request_that_fails_or_is_cancelled_is_over(telemetry: Telemetry, error: BaseException) -> None:
    with suppress(BaseException):
        ask(ASGIMiddleware(raising(error)))

    def wsgi_app(environ: Any, start_response: Any) -> Any:
        raise error

    with suppress(BaseException):
        ask_wsgi(WSGIMiddleware(wsgi_app))
    assert {GET: 0} == active(telemetry)


def test_a_request_without_an_answer_is_over(telemetry: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        """Says nothing."""

    ask(ASGIMiddleware(app))
    assert {GET: 0} == active(telemetry)


def test_what_goes_on_after_the_answer_is_no_request(telemetry: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answering(lambda: None)(scope, receive, send)
        await asyncio.sleep(0.2)
        assert {GET: 0} == active(telemetry)

    ask(ASGIMiddleware(app))


def test_requests_inside_of_others_count_once(telemetry: Telemetry) -> None:
    seen: list[dict[Any, int]] = []
    ask(ASGIMiddleware(ASGIMiddleware(answering(lambda: seen.append(active(telemetry))))))
    assert ([{GET: 1}], {GET: 0}) == (seen, active(telemetry))


def test_a_websocket_is_no_http_request(telemetry: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    asyncio.run(ask_async(ASGIMiddleware(app), {**http_scope("/ws"), "type": "websocket", "scheme": "ws"}))
    assert {} == active(telemetry)


def test_what_upstream_counts_is_not_counted_again(telemetry: Telemetry) -> None:
    """Its own series has its own attributes: those of the conventions before, unless it is asked for the
    stable ones."""
    given = {"tracer_provider": telemetry.tracer_provider, "meter_provider": telemetry.meter_provider}
    seen: list[int] = []
    ask(
        OpenTelemetryMiddleware(
            ASGIMiddleware(answering(lambda: seen.append(sum(active(telemetry).values())))), **given
        )
    )
    assert [1] == seen


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_that_is_forked_in_a_request_does_not_end_it(telemetry: Telemetry) -> None:
    """Nor does it count below nothing."""
    reading, writing = os.pipe()
    parent = os.getpid()

    def fork() -> None:
        os.fork()

    async def serve() -> None:
        await ask_async(ASGIMiddleware(answering(fork)), http_scope("/"))

    coroutine = serve()
    with suppress(StopIteration):  # no loop is needed, and none is shared with the child
        coroutine.send(None)
    if os.getpid() != parent:
        os.write(writing, repr(sum(active(telemetry).values())).encode())
        os._exit(0)
    os.wait()
    told = os.read(reading, 20)
    os.close(reading)
    os.close(writing)
    assert (b"1", {GET: 0}) == (told, active(telemetry))
