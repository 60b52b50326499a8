"""Clients that leave: no failure of the application, however it learns of it; its own failures stay its
own."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import UnreadablePostError
from fastapi import FastAPI
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect
from uvicorn.protocols.utils import ClientDisconnected
from werkzeug.exceptions import ClientDisconnected as WerkzeugsDisconnected

from bext_otel.catalogue import HTTP_SERVER_REQUEST_DURATION, REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.django import DjangoInstrumentor
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors import django_project
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import ask_wsgi, environ_of, http_scope

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

Send = Callable[[Any], Awaitable[None]]


instrumented = instrumented_by(StarletteInstrumentor, DjangoInstrumentor)


def leave(
    app: Any,
    path: str = "/",
    *,
    body: bytes | None = b"",
    sending: Send | None = None,
    kind: str = "http",
    **more: Any,
) -> Any:
    """A client leaves as soon as the application listens, without a `body` in the middle of its upload; what
    the application raised."""
    queue: list[dict[str, Any]] = []
    if kind == "websocket":
        queue.append({"type": "websocket.connect"})
    else:
        queue.append({"type": "http.request", "body": body or b"part", "more_body": body is None})

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return queue.pop(0) if queue else {"type": f"{kind}.disconnect", "code": 1001}

    async def send(message: Any) -> None:
        if sending is not None:
            await sending(message)

    async def main() -> None:
        await app({**http_scope(path, **more), "type": kind}, receive, send)

    try:
        asyncio.run(main())
    except BaseException as error:
        return error
    return None


def told(telemetry: Telemetry) -> tuple[str, StatusCode, str]:
    """What is told of the only request: the status that is counted, the span's, and the severity of the
    record."""
    ((_, _, status, _),) = telemetry.counts(REQUESTS)
    return status, telemetry.server().status.status_code, telemetry.completions()[0].log_record.severity_text


NO_FAILURE = ("499", StatusCode.UNSET, "INFO")


async def disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def respond(send: Any, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


class Wrapped(ClientDisconnect):
    """An application's own kind."""


def test_an_application_that_returns_when_the_client_left_has_not_failed(telemetry: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await disconnected(receive)

    assert None is leave(ASGIMiddleware(app))
    assert NO_FAILURE == told(telemetry)
    assert "ClientDisconnect" == telemetry.attributes()["error.type"] == telemetry.completion()["error_type"]
    assert "http.response.status_code" not in telemetry.attributes()
    assert {("GET", "http", None, None, "1.1", "ClientDisconnect"): 1} == telemetry.counts(
        HTTP_SERVER_REQUEST_DURATION
    )


def test_an_application_that_returns_without_an_answer_while_the_client_waits_has_failed(
    telemetry: Telemetry,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    leave(ASGIMiddleware(app))
    assert ("500", StatusCode.ERROR, "ERROR") == told(telemetry)


@pytest.mark.parametrize(
    "error",
    [
        ClientDisconnect(),
        Wrapped(),
        WerkzeugsDisconnected(),
        asyncio.CancelledError(),
        BaseExceptionGroup("a task group", [ClientDisconnect()]),
        BaseExceptionGroup(
            "", [BaseExceptionGroup("", [Wrapped(), asyncio.CancelledError()]), ClientDisconnect()]
        ),
    ],
)
def test_what_is_raised_because_the_client_left_is_no_failure(
    telemetry: Telemetry, error: BaseException
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await disconnected(receive)
        raise error

    assert error is leave(ASGIMiddleware(app))
    assert NO_FAILURE == told(telemetry)
    assert "Group" not in telemetry.attributes()["error.type"]


def raised_from(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (raised_from(LookupError("no more of it"), ClientDisconnect()), False),
        (raised_from(TimeoutError("asyncio's"), asyncio.CancelledError()), True),
        (LookupError("its own"), True),
        (ConnectionResetError("a database's"), True),
        (RuntimeError("its own"), True),
        (BaseExceptionGroup("", [ClientDisconnect(), LookupError("its own")]), True),
    ],
)
def test_a_failure_of_its_own_is_told_also_after_the_client_left(
    telemetry: Telemetry, error: BaseException, failed: bool
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await disconnected(receive)
        raise error

    leave(ASGIMiddleware(app))
    assert (("500", StatusCode.ERROR, "ERROR") if failed else NO_FAILURE) == told(telemetry)
    assert type(error).__name__ == telemetry.completion()["error_type"]


@pytest.mark.parametrize(("status", "counted"), [(500, "499"), (503, "499"), (400, "400"), (200, "200")])
def test_an_answer_that_nobody_reads_any_more_is_no_failure(
    telemetry: Telemetry, status: int, counted: str
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await disconnected(receive)
        await respond(send, status)

    leave(ASGIMiddleware(app))
    assert (counted, StatusCode.UNSET, "INFO") == told(telemetry)


def test_a_failure_before_the_client_left_stays_one(telemetry: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await disconnected(receive)

    leave(ASGIMiddleware(app))
    assert ("500", StatusCode.ERROR, "ERROR") == told(telemetry)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(
    ("refused", "counted"), [("http.response.start", "499"), ("http.response.body", "200")]
)
def test_a_server_that_cannot_send_says_that_the_client_left(
    telemetry: Telemetry, refused: str, counted: str, grouped: bool
) -> None:
    """By an OSError, says ASGI 2.4."""

    async def refuse(message: Any) -> None:
        if message["type"] == refused:
            raise OSError("gone")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await respond(send)
        except OSError as error:
            raise (BaseExceptionGroup("", [error]) if grouped else error)  # noqa: B904  # as it is

    assert None is not leave(ASGIMiddleware(app), sending=refuse)
    assert (counted, StatusCode.UNSET, "INFO") == told(telemetry)


async def wait(request: Request) -> PlainTextResponse:
    await disconnected(request.receive)
    raise BaseExceptionGroup("a task group", [ClientDisconnect()])


async def pass_on(request: Request, call_next: Any) -> Any:
    return await call_next(request)


async def returning(scope: Any, receive: Any, send: Any) -> None:
    await disconnected(receive)


@pytest.mark.parametrize("middleware", [[], [Middleware(BaseHTTPMiddleware, dispatch=pass_on)]])
@pytest.mark.parametrize("path", ["/view", "/raw/"])
def test_starlettes_middleware_makes_no_failure_of_it(
    instrumented: Telemetry, middleware: list[Any], path: str
) -> None:
    leave(Starlette(routes=[Route("/view", wait), Mount("/raw", app=returning)], middleware=middleware), path)
    assert NO_FAILURE == told(instrumented)


def test_an_upload_to_fastapi_that_breaks_off_is_no_failure(instrumented: Telemetry) -> None:
    app = FastAPI()

    @app.post("/")
    def upload(body: dict[str, int]) -> int:
        return len(body)

    leave(
        app,
        method="POST",
        body=None,
        headers=[("content-type", "application/json"), ("content-length", "100")],
    )
    status, of_span, severity = told(instrumented)
    assert (StatusCode.UNSET, "INFO") == (of_span, severity)
    assert int(status) < 500


async def slow(request: Any) -> Any:
    await asyncio.sleep(10)


@pytest.mark.parametrize("body", [b"", None])
def test_django_returns_without_an_answer_and_has_not_failed(
    instrumented: Telemetry, monkeypatch: pytest.MonkeyPatch, body: bytes | None
) -> None:
    monkeypatch.setattr(django_project.urlpatterns[0], "callback", slow)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await ASGIHandler()(scope, receive, send)

    assert None is leave(app, "/items/7/", body=body)
    assert NO_FAILURE == told(instrumented)


class BreaksOff(io.BytesIO):
    """An upload whose client leaves."""

    def read(self, *_: Any) -> bytes:
        raise ConnectionResetError("reset by peer")


def test_an_upload_to_django_that_breaks_off_is_no_failure(
    instrumented: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(django_project.urlpatterns[0], "callback", lambda request, item: request.body)
    more = {"wsgi.input": BreaksOff(), "CONTENT_LENGTH": "7"}
    assert 500 == ask_wsgi(WSGIHandler(), "/items/7/", "POST", **more).status
    assert NO_FAILURE == told(instrumented)
    assert UnreadablePostError.__name__ == instrumented.attributes()["error.type"]


def test_an_upload_that_breaks_off_is_no_failure_of_any_wsgi_application(telemetry: Telemetry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        return [environ["wsgi.input"].read(7)]

    with pytest.raises(ConnectionResetError):
        ask_wsgi(WSGIMiddleware(app), method="POST", **{"wsgi.input": BreaksOff(), "CONTENT_LENGTH": "7"})
    assert NO_FAILURE == told(telemetry)


def test_a_connection_of_its_own_that_breaks_is_a_failure(telemetry: Telemetry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        return [BreaksOff().read()]

    with pytest.raises(ConnectionResetError):
        ask_wsgi(WSGIMiddleware(app), method="POST")
    assert ("500", StatusCode.ERROR, "ERROR") == told(telemetry)


def test_writing_to_a_client_that_left_is_no_failure(telemetry: Telemetry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])(b"hello")
        return []

    def refuse(chunk: bytes) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        WSGIMiddleware(app)(environ_of(), lambda *_: refuse)
    assert ("200", StatusCode.UNSET, "INFO") == told(telemetry)


def accepting(error: BaseException | None, *, accepted: bool = True) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert "websocket.connect" == (await receive())["type"]
        if accepted:
            await send({"type": "websocket.accept"})
        assert "websocket.disconnect" == (await receive())["type"]
        if error is not None:
            raise error

    return app


@pytest.mark.parametrize(
    "error",
    [
        None,
        WebSocketDisconnect(1001),
        ClientDisconnected(),
        BaseExceptionGroup("", [WebSocketDisconnect(1001), asyncio.CancelledError()]),
        RuntimeError('Cannot call "receive" once a disconnect message has been received.'),
    ],
)
@pytest.mark.parametrize("accepted", [True, False])
def test_a_websocket_ends_by_its_client_leaving(
    telemetry: Telemetry, error: BaseException | None, accepted: bool
) -> None:
    leave(ASGIMiddleware(accepting(error, accepted=accepted)), kind="websocket")
    assert StatusCode.UNSET is telemetry.server().status.status_code
    assert accepted is ("error.type" not in telemetry.attributes())
    assert {("shop", "GET", "101" if accepted else "499", "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_a_websocket_that_cannot_be_sent_to_has_lost_its_client(telemetry: Telemetry) -> None:
    """uvicorn raises an OSError of its own, which a raw application hands on."""

    async def refuse(message: Any) -> None:
        if message["type"] == "websocket.send":
            raise ClientDisconnected

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})

    assert isinstance(leave(ASGIMiddleware(app), kind="websocket", sending=refuse), ClientDisconnected)
    assert "error.type" not in telemetry.attributes()


def test_a_websocket_that_fails_after_its_client_left_has_failed(instrumented: Telemetry) -> None:
    async def endpoint(websocket: Any) -> None:
        await websocket.accept()
        try:
            await websocket.receive_text()
        except WebSocketDisconnect:
            raise LookupError("its own") from None

    leave(Starlette(routes=[WebSocketRoute("/", endpoint)]), kind="websocket")
    assert (StatusCode.ERROR, "LookupError") == (
        instrumented.server().status.status_code,
        instrumented.attributes()["error.type"],
    )
