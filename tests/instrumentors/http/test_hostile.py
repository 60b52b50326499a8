"""Whatever clients send: one span, exportable; no more series than there are routes; the application
answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from bext_otel.apps import AppResolver
from bext_otel.catalogue import HTTP_SERVER_REQUEST_DURATION, METHODS, REQUESTS
from bext_otel.config import AppSettings
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import ask_async, ask_wsgi, http_scope

RESOLVER = AppResolver(
    {"api": AppSettings(paths=("/api",)), "web": AppSettings(hosts=("web.example",))}, default="unknown"
)

# Surrogates included: a server may decode what is not UTF-8 to them.
TEXT = st.text(st.characters(), max_size=50)
BYTES = st.binary(max_size=50)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"host", b"user-agent", b"content-length", b"traceparent", b"baggage", b"x"]), BYTES
    ),
    max_size=8,
)
METHOD = st.one_of(TEXT, st.sampled_from(METHODS))


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"application"})


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"application"]


def check(telemetry: Telemetry, body: bytes) -> None:
    assert b"application" == body
    assert encode_spans([telemetry.server()]).SerializeToString()
    for app, method, status, route in telemetry.counts(REQUESTS):
        assert app in {"api", "web", "unknown"}
        assert method in {*METHODS, "_OTHER"}
        assert ("200", "unmatched") == (status, route)
    for method, _, _, route, _, error_type in telemetry.counts(HTTP_SERVER_REQUEST_DURATION):
        assert method in {*METHODS, "_OTHER"}
        assert (None, None) == (route, error_type)
    telemetry.clear()


limits = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@limits
@given(METHOD, TEXT, BYTES, HEADERS, st.one_of(st.none(), st.tuples(TEXT, st.integers(0, 65535))))
def test_any_asgi_request(
    use_telemetry: Callable[..., Telemetry],
    method: str,
    path: str,
    query: bytes,
    headers: Any,
    client: tuple[str, int] | None,
) -> None:
    telemetry = use_telemetry(resolver=RESOLVER)
    if client is not None:
        client = (
            client[0].encode("utf-8", "replace").decode(),
            client[1],
        )  # an address, which no client can choose
    scope = {
        **http_scope(),
        "method": method,
        "path": path,
        "query_string": query,
        "headers": headers,
        "client": client,
    }
    check(telemetry, asyncio.run(ask_async(ASGIMiddleware(asgi_app), scope)).body)


LATIN = st.text(st.characters(max_codepoint=255), max_size=50)
KEYS = ["HTTP_HOST", "HTTP_USER_AGENT", "CONTENT_LENGTH", "HTTP_TRACEPARENT"]


@limits
@given(METHOD, LATIN, LATIN, st.dictionaries(st.sampled_from(KEYS), LATIN))
def test_any_wsgi_request(
    use_telemetry: Callable[..., Telemetry], method: str, path: str, query: str, headers: Any
) -> None:
    telemetry = use_telemetry(resolver=RESOLVER)
    answer = ask_wsgi(
        WSGIMiddleware(wsgi_app), REQUEST_METHOD=method, PATH_INFO=path, QUERY_STRING=query, **headers
    )
    check(telemetry, answer.body)
