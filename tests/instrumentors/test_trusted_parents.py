"""What a caller who is not trusted says of a trace: a link, and nothing else of it counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypercorn.middleware import ProxyFixMiddleware
from opentelemetry import baggage, propagate, trace
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from bext_otel.config import AppSettings
from bext_otel.trust import trusted_parents
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import Header, ask, ask_wsgi

UseTelemetry = Callable[..., Telemetry]

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CLIENT = "192.0.2.7"
KINDS = pytest.mark.parametrize("kind", ["asgi", "wsgi"])
NOBODY = trusted_parents(("none",), {})


def request(
    kind: str, flags: str = "01", *, path: str = "/", more: Sequence[Header] = (), **others: Any
) -> dict[str, str]:
    """A request with a trace context and baggage; what its application would send on to others."""
    onwards: dict[str, str] = {}
    headers = [
        ("traceparent", f"00-{TRACE}-{SPAN}-{flags}"),
        ("tracestate", "a=1"),
        ("baggage", "user=7"),
        *more,
    ]
    if kind == "asgi":

        async def app(scope: Any, receive: Any, send: Any) -> None:
            propagate.inject(onwards)
            await hello(scope, receive, send)

        ask(ASGIMiddleware(app), path, headers=headers, **others)
    else:

        def wsgi_app(environ: Any, start_response: Any) -> Any:
            propagate.inject(onwards)
            return wsgi_hello(environ, start_response)

        ask_wsgi(WSGIMiddleware(wsgi_app), path, headers=headers, **others)
    return onwards


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def wsgi_hello(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    return []


def is_child(telemetry: Telemetry) -> bool:
    span = telemetry.server()
    telemetry.clear()
    return f"{span.context.trace_id:032x}" == TRACE and not span.links


@KINDS
def test_a_parent_that_is_not_trusted_is_a_link(use_telemetry: UseTelemetry, kind: str) -> None:
    telemetry = use_telemetry(trusts=NOBODY)
    onwards = request(kind)
    span = telemetry.server()
    assert span.parent is None
    assert f"{span.context.trace_id:032x}" != TRACE
    assert [(int(TRACE, 16), int(SPAN, 16))] == [
        (link.context.trace_id, link.context.span_id) for link in span.links
    ]
    assert f"{span.context.trace_id:032x}" == onwards["traceparent"].split("-")[1]
    assert {"traceparent"} == set(onwards)  # neither tracestate nor baggage


@KINDS
def test_one_that_is_trusted_is_the_parent_and_its_baggage_goes_on(
    use_telemetry: UseTelemetry, kind: str
) -> None:
    for trusts in (None, trusted_parents(("192.0.2.0/24",), {})):
        telemetry = use_telemetry(trusts=trusts)
        assert "user=7" == request(kind)["baggage"]
        assert is_child(telemetry)


@KINDS
@pytest.mark.parametrize("ratio", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("flags", ["00", "01"])
def test_neither_flag_of_a_strangers_decides_what_is_sampled(
    use_telemetry: UseTelemetry, kind: str, ratio: float, flags: str
) -> None:
    telemetry = use_telemetry(ParentBased(TraceIdRatioBased(ratio)), trusts=NOBODY)
    for _ in range(300):
        request(kind, flags)
    sampled = len(telemetry.servers())
    # Of 300, more than 25 are sampled by chance in one of 10^15 runs.
    assert (300 == sampled) if ratio == 1 else (sampled <= 300 * ratio + (22 if ratio else 0))


@KINDS
def test_each_app_trusts_whom_it_says(use_telemetry: UseTelemetry, kind: str) -> None:
    apps = {"web": AppSettings(trust_parent=("none",)), "api": AppSettings(trust_parent=("192.0.2.0/24",))}
    telemetry = use_telemetry(
        trusts=trusted_parents(("all",), apps), resolver=lambda host, path: path.strip("/") or "unknown"
    )
    said = {}
    for path in ("/web", "/api", "/other"):
        request(kind, path=path)
        said[path] = is_child(telemetry)
    assert {"/web": False, "/api": True, "/other": True} == said


@pytest.mark.parametrize("header", ["10.0.0.1", "10.0.0.1:4711", "10.0.0.1, 192.0.2.1", "10.0.0.1,10.0.0.1"])
def test_what_a_server_takes_from_a_forwarded_header_is_no_address(
    use_telemetry: UseTelemetry, header: str
) -> None:
    """uvicorn and hypercorn before us, which believe everybody here."""
    telemetry = use_telemetry(trusts=trusted_parents(("10.0.0.0/8",), {}))
    headers = [("traceparent", f"00-{TRACE}-{SPAN}-01"), ("x-forwarded-for", header)]
    hops = 1 + header.count(",")
    for proxied in (
        ProxyHeadersMiddleware(ASGIMiddleware(hello), trusted_hosts="*"),
        ProxyFixMiddleware(ASGIMiddleware(hello), mode="legacy", trusted_hops=hops),
    ):
        ask(proxied, headers=headers)
        assert not is_child(telemetry)


def test_what_werkzeug_takes_from_a_forwarded_header_is_no_address(use_telemetry: UseTelemetry) -> None:
    headers = [("traceparent", f"00-{TRACE}-{SPAN}-01"), ("x-forwarded-for", "10.0.0.1")]
    proxied = ProxyFix(WSGIMiddleware(wsgi_hello), x_for=1)
    for networks, child in (("10.0.0.0/8", False), ("192.0.2.0/24", True)):
        telemetry = use_telemetry(trusts=trusted_parents((networks,), {}))
        ask_wsgi(proxied, headers=headers)
        assert child == is_child(telemetry)


@KINDS
@pytest.mark.parametrize("header", ["203.0.113.9", "192.0.2.70", "1192.0.2.7", "192.0.2.7.example"])
def test_a_proxy_that_is_trusted_forwards_for_whom_it_likes(
    use_telemetry: UseTelemetry, kind: str, header: str
) -> None:
    telemetry = use_telemetry(trusts=trusted_parents((CLIENT,), {}))
    more = [("x-forwarded-for", header), ("host", CLIENT)]
    request(kind, more=more)
    assert is_child(telemetry)


@KINDS
def test_a_unix_socket_has_no_address_so_only_all_trusts_it(use_telemetry: UseTelemetry, kind: str) -> None:
    unix: dict[str, Any] = {"client": None} if kind == "asgi" else {"REMOTE_ADDR": ""}
    telemetry = use_telemetry(trusts=trusted_parents(("0.0.0.0/0", "::/0"), {}))
    request(kind, **unix)
    assert not is_child(telemetry)
    telemetry = use_telemetry(trusts=trusted_parents(("all",), {}))
    request(kind, **unix)
    assert is_child(telemetry)


@KINDS
def test_what_the_application_put_there_itself_stays(use_telemetry: UseTelemetry, kind: str) -> None:
    """Its own baggage, and a remote parent that it has read and made current."""
    telemetry = use_telemetry(ALWAYS_ON, trusts=NOBODY)
    other = f"00-{TRACE[::-1]}-{SPAN}-01"
    token = attach(baggage.set_baggage("own", "1", propagate.extract({"traceparent": other})))
    try:
        onwards = request(kind)
    finally:
        detach(token)
    assert "own=1" == onwards["baggage"]
    span = telemetry.server()
    assert TRACE[::-1] == f"{span.context.trace_id:032x}"
    assert [int(TRACE, 16)] == [link.context.trace_id for link in span.links]
    assert not trace.get_current_span().get_span_context().is_valid
