"""A span lasts as long as its work, whatever becomes of the wall clock meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import opentelemetry.sdk.trace as sdk
import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bext_otel import timing
from bext_otel.catalogue import CACHE, RENDER
from bext_otel.deploys import deploy
from bext_otel.export.internal_metrics import SelfTelemetry
from bext_otel.flows import flow, step
from bext_otel.operation import operation, trace_past
from bext_otel.traces.provider import BextTracerProvider
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.driving import ask, ask_wsgi, http_scope

JUMPS = [-3600, 90_000]
WORK_SECONDS = 0.02
# What a busy machine may add to it.
SLACK_SECONDS = 5.0


class Wall:
    """The wall clock, which a test sets."""

    def __init__(self) -> None:
        self.off_ns = 0

    def time_ns(self) -> int:
        return time.time_ns() + self.off_ns

    def jump(self, seconds: float) -> None:
        time.sleep(WORK_SECONDS)
        self.off_ns += int(seconds * 1e9)


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    clock = Wall()
    monkeypatch.setattr(timing, "time_ns", clock.time_ns)
    monkeypatch.setattr(sdk, "time_ns", clock.time_ns)
    return clock


@pytest.fixture(params=["ours", "the application's own"])
def spans(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], list[ReadableSpan]]]:
    ours = request.param == "ours"
    provider = (
        BextTracerProvider(Resource({}), SelfTelemetry().spans)
        if ours
        else TracerProvider(shutdown_on_exit=False)
    )
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield lambda: list(exporter.get_finished_spans())
    provider.shutdown()


def seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


def asgi(jump: Callable[[], None]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        jump()
        await send({"type": "http.response.body", "body": b""})

    ask(ASGIMiddleware(app))


def websocket(jump: Callable[[], None]) -> None:
    async def receive() -> Any:
        jump()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        """Nobody looks at it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await receive()

    asyncio.run(
        ASGIMiddleware(app)({**http_scope("/ws"), "type": "websocket", "scheme": "ws"}, receive, send)
    )


def wsgi(jump: Callable[[], None]) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        jump()
        yield b""

    ask_wsgi(WSGIMiddleware(app))


def work(jump: Callable[[], None]) -> None:
    with operation(RENDER, app="shop"):
        jump()


def flow_step(jump: Callable[[], None]) -> None:
    with flow("checkout"), step("charge"):
        jump()


def deploy_step(jump: Callable[[], None]) -> None:
    with deploy("shop", "1") as d, d.step("migrate"):
        jump()


def told_late(jump: Callable[[], None]) -> None:
    started = time.perf_counter_ns()
    jump()
    trace_past("late", started)


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("run", [asgi, websocket, wsgi, work, flow_step, deploy_step, told_late])
def test_each_of_our_spans_lasts_as_long_as_its_work(
    wall: Wall,
    spans: Callable[[], list[ReadableSpan]],
    run: Callable[[Callable[[], None]], None],
    jump: float,
) -> None:
    run(lambda: wall.jump(jump))
    found = spans()
    assert found
    assert [] == [(span.name, seconds(span)) for span in found if not 0 <= seconds(span) < SLACK_SECONDS]
    assert WORK_SECONDS <= max(map(seconds, found))


@pytest.fixture
def tracer() -> SimpleNamespace:
    """A tracer of our provider, and what ended."""
    provider = BextTracerProvider(Resource({}), SelfTelemetry().spans)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return SimpleNamespace(own=provider.get_tracer("library"), ended=exporter.get_finished_spans)


@pytest.mark.parametrize("jump", JUMPS)
def test_spans_of_others_and_their_events_keep_time_and_order(
    wall: Wall, tracer: SimpleNamespace, jump: float
) -> None:
    with tracer.own.start_as_current_span("outer"):
        wall.jump(jump)
        with tracer.own.start_as_current_span("inner") as inner:
            inner.add_event("something")
            wall.jump(-jump)
    inner, outer = tracer.ended()
    (event,) = inner.events
    assert outer.start_time < inner.start_time <= event.timestamp <= inner.end_time <= outer.end_time
    assert WORK_SECONDS <= seconds(inner) < seconds(outer) < SLACK_SECONDS


def test_times_that_a_caller_gives_stay(wall: Wall, tracer: SimpleNamespace) -> None:
    span = tracer.own.start_span("given", start_time=1_000)
    span.add_event("then", timestamp=2_000)
    span.end(3_000)
    (given,) = tracer.ended()
    assert (1_000, 2_000, 3_000) == (given.start_time, given.events[0].timestamp, given.end_time)


def test_a_start_that_a_caller_gives_and_an_end_of_ours(wall: Wall, tracer: SimpleNamespace) -> None:
    """It ends when it ends, by the clock that the caller read."""
    given = wall.time_ns() - 7_000_000_000
    span = tracer.own.start_span("given", start_time=given)
    wall.jump(-3600)
    span.end()
    assert 7 + WORK_SECONDS <= seconds(tracer.ended()[0]) < 7 + SLACK_SECONDS


def test_a_new_trace_reads_the_wall_clock_anew(wall: Wall, tracer: SimpleNamespace) -> None:
    tracer.own.start_span("before").end()
    wall.jump(90_000)
    tracer.own.start_span("after").end()
    before, after = tracer.ended()
    assert 90_000 <= (after.start_time - before.start_time) / 1e9 < 90_000 + SLACK_SECONDS


def test_a_span_that_has_long_been_open_is_not_what_others_tell_the_time_by(
    wall: Wall, tracer: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracer.own.start_as_current_span("daemon"):
        wall.jump(90_000)
        hours_later = time.perf_counter_ns() + 2 * 3600 * 10**9
        monkeypatch.setattr(timing, "perf_counter_ns", lambda: hours_later)
        tracer.own.start_span("today").end()
    assert abs(wall.time_ns() - tracer.ended()[0].start_time) / 1e9 < SLACK_SECONDS


def test_our_tracers_and_spans_are_the_sdks(tracer: SimpleNamespace) -> None:
    with tracer.own.start_as_current_span("any") as span:
        assert isinstance(tracer.own, sdk.Tracer)
        assert isinstance(span, sdk.Span)
        assert repr(span).startswith("Span(name=")


def test_work_without_a_provider_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    with operation(CACHE, app="shop", layer="isr", operation="lookup") as op:
        assert not op.span.is_recording()
