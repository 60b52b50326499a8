"""A server span without a remote parent begins a trace, whatever was current where the server was started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import SpanKind

from bext_otel.export.internal_metrics import SpanCounts
from bext_otel.traces.provider import BextTracerProvider
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import ask, ask_wsgi, http_scope

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close"})


def wsgi_app(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    return []


def open_websocket(headers: Any = ()) -> None:
    scope = http_scope(headers=headers) | {"type": "websocket", "scheme": "ws"}
    del scope["method"]

    async def nothing(*_: Any) -> dict[str, Any]:
        return {"type": "websocket.connect"}

    asyncio.run(ASGIMiddleware(echo)(scope, nothing, nothing))


KINDS = pytest.mark.parametrize(
    "ask_it",
    [
        lambda **more: ask(ASGIMiddleware(app), **more),
        lambda **more: ask_wsgi(WSGIMiddleware(wsgi_app), **more),
        open_websocket,
    ],
    ids=["asgi", "wsgi", "websocket"],
)


@KINDS
def test_requests_of_a_command_that_serves_are_traces_of_their_own(
    telemetry: Telemetry, ask_it: Callable[..., Any]
) -> None:
    """Such as click's span around `streamlit run`; it is a link."""
    with telemetry.tracer_provider.get_tracer("click").start_as_current_span("serve") as command:
        for _ in range(3):
            ask_it()
    servers = telemetry.servers()
    assert [None] * 3 == [span.parent for span in servers]
    assert 4 == len({span.context.trace_id for span in telemetry.spans()})
    linked = [link.context.span_id for span in servers for link in span.links]
    assert [command.get_span_context().span_id] * 3 == linked


@KINDS
def test_below_a_remote_parent_the_command_is_not_even_a_link(
    telemetry: Telemetry, ask_it: Callable[..., Any]
) -> None:
    with telemetry.tracer_provider.get_tracer("click").start_as_current_span("serve"):
        ask_it(headers=[("traceparent", PARENT)])
    server = telemetry.server()
    assert (0xB7AD6B7169203331, True, ()) == (server.parent.span_id, server.parent.is_remote, server.links)


class Seen(Sampler):
    """Samples what was not decided before, but for the first."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def should_sample(self, parent_context: Any, trace_id: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        self.asked.append(name)
        chosen = ALWAYS_OFF if len(self.asked) == 1 else ALWAYS_ON
        return chosen.should_sample(parent_context, trace_id, name, *args, **kwargs)

    def get_description(self) -> str:
        return "Seen"


@KINDS
def test_each_request_of_a_command_that_is_not_sampled_is_decided_by_itself(
    use_telemetry: Callable[..., Telemetry], ask_it: Callable[..., Any]
) -> None:
    sampler = Seen()
    telemetry = use_telemetry(ParentBased(sampler))
    with telemetry.tracer_provider.get_tracer("click").start_as_current_span("serve"):
        ask_it()
        ask_it()
    assert 2 == len(telemetry.servers())
    assert ["serve", "GET", "GET"] == sampler.asked


@KINDS
def test_a_span_that_was_left_over_is_no_parent(telemetry: Telemetry, ask_it: Callable[..., Any]) -> None:
    """A server span of the application's that has ended stands for another request."""
    tracer = telemetry.tracer_provider.get_tracer("gateway")
    with tracer.start_as_current_span("invoke", kind=SpanKind.SERVER, end_on_exit=False) as before:
        before.end()
        ask_it()
    assert None is telemetry.servers()[-1].parent


def provided(monkeypatch: pytest.MonkeyPatch, sampler: Sampler | None = None) -> InMemorySpanExporter:
    """Our own provider, whose spans know whether they are within a server's."""
    exporter = InMemorySpanExporter()
    provider = BextTracerProvider(Resource({}), SpanCounts(), sampler=sampler)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return exporter


@KINDS
def test_within_a_server_span_of_the_applications_a_request_stays_in_its_trace(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, ask_it: Callable[..., Any]
) -> None:
    """A gateway may have more to do, in spans of its own, before it calls the application."""
    exporter = provided(monkeypatch)
    tracer = trace.get_tracer_provider().get_tracer("gateway")
    with tracer.start_as_current_span("invoke", kind=SpanKind.SERVER):
        with tracer.start_as_current_span("authorize") as inside:
            ask_it()
    ours, _, invoke = exporter.get_finished_spans()
    assert inside.get_span_context().span_id == ours.parent.span_id
    assert invoke.context.trace_id == ours.context.trace_id


@KINDS
def test_a_request_within_a_server_span_that_is_not_sampled_is_not_sampled_either(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, ask_it: Callable[..., Any]
) -> None:
    exporter = provided(monkeypatch, ParentBased(Seen()))
    tracer = trace.get_tracer_provider().get_tracer("gateway")
    with tracer.start_as_current_span("invoke", kind=SpanKind.SERVER):
        with tracer.start_as_current_span("authorize"):
            ask_it()
    assert () == exporter.get_finished_spans()
