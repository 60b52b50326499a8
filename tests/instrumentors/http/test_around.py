"""A server span that the application begins around its framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.trace import SpanKind

from bext_otel.catalogue import HTTP_SERVER_REQUEST_DURATION, REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import ask, ask_wsgi

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def wsgi_app(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    return []


KINDS = pytest.mark.parametrize(
    "ask_it",
    [
        lambda **more: ask(ASGIMiddleware(app), **more),
        lambda **more: ask_wsgi(WSGIMiddleware(wsgi_app), **more),
    ],
)
HEADERS = pytest.mark.parametrize(
    "headers", [[], [("traceparent", PARENT)]], ids=["alone", "below a remote parent"]
)


@KINDS
@HEADERS
def test_a_gateways_span_is_the_parent_of_ours(
    telemetry: Telemetry, ask_it: Callable[..., Any], headers: Any
) -> None:
    """It says nothing of HTTP, so ours does, and the duration is measured."""
    tracer = telemetry.tracer_provider.get_tracer("gateway")
    with tracer.start_as_current_span(
        "invoke", kind=SpanKind.SERVER, attributes={"faas.trigger": "http"}
    ) as around:
        ask_it(headers=headers)
    ours, gateway = telemetry.servers()
    assert around.get_span_context().span_id == gateway.context.span_id == ours.parent.span_id
    assert gateway.context.trace_id == ours.context.trace_id
    shown = {
        name: ours.attributes[name]
        for name in ("http.request.method", "url.path", "url.scheme", "http.response.status_code")
    }
    assert {
        "http.request.method": "GET",
        "url.path": "/",
        "url.scheme": "http",
        "http.response.status_code": 200,
    } == shown
    assert {"faas.trigger": "http"} == dict(gateway.attributes)
    assert [1] == list(telemetry.counts(HTTP_SERVER_REQUEST_DURATION).values())


@KINDS
@HEADERS
@pytest.mark.parametrize("name", ["http.request.method", "http.method"])
def test_an_http_span_stands_for_the_request(
    telemetry: Telemetry, ask_it: Callable[..., Any], headers: Any, name: str
) -> None:
    tracer = telemetry.tracer_provider.get_tracer("other")
    with tracer.start_as_current_span("GET", kind=SpanKind.SERVER, attributes={name: "GET"}):
        ask_it(headers=headers)
    assert "shop" == telemetry.attributes()["bext.app"]
    assert {("shop", "GET", "200", "unmatched"): 1} == telemetry.counts(REQUESTS)
