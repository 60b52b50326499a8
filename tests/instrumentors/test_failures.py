"""A failed span says what the exception said, whoever made it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from bext_otel.deploys import deploy
from bext_otel.flows import flow, step
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import ask, ask_wsgi, http_scope

SAID = "no stock: password=hunter2"


def asgi() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError(SAID)

    ask(ASGIMiddleware(app))


def websocket() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError(SAID)

    asyncio.run(ASGIMiddleware(app)({**http_scope("/ws"), "type": "websocket", "scheme": "ws"}, None, None))  # type: ignore[arg-type]


def wsgi() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        raise LookupError(SAID)

    ask_wsgi(WSGIMiddleware(app))


def flow_step() -> None:
    with flow("checkout"), step("charge"):
        raise LookupError(SAID)


def deploy_step() -> None:
    with deploy("shop", "1") as d, d.step("migrate"):
        raise LookupError(SAID)


@pytest.mark.parametrize("run", [asgi, websocket, wsgi, flow_step, deploy_step])
def test_the_status_is_described_by_what_the_exception_said(
    telemetry: Telemetry, run: Callable[[], None]
) -> None:
    with suppress(LookupError):
        run()
    failed = [span for span in telemetry.spans() if span.status.status_code is StatusCode.ERROR]
    assert failed
    assert {"no stock: password=REDACTED"} == {span.status.description for span in failed}


def test_an_answer_that_says_failure_needs_no_words(telemetry: Telemetry) -> None:
    """`http.response.status_code` says it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    ask(ASGIMiddleware(app))
    span: ReadableSpan = telemetry.server()
    assert (StatusCode.ERROR, None) == (span.status.status_code, span.status.description)
