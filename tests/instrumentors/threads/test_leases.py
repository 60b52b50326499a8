"""A thread that outlives its request does not work for it for good."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from bext_otel_instrumentors.threads import leases
from bext_otel_instrumentors.threads.threading import ThreadingInstrumentor
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import ask_wsgi, environ_of


@pytest.fixture(autouse=True)
def instrumented(telemetry: Telemetry) -> Iterator[Telemetry]:
    ThreadingInstrumentor().instrument()
    yield telemetry
    ThreadingInstrumentor().uninstrument()


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(leases, "monotonic", made)
    return made


class Looping:
    """A thread that does what it is asked for, by way of a queue that nobody can look into."""

    def __init__(self) -> None:
        self.asked: SimpleQueue[bool] = SimpleQueue()
        self.seen: SimpleQueue[int] = SimpleQueue()
        self.thread = threading.Thread(target=self.loop)
        self.thread.start()

    def loop(self) -> None:
        while self.asked.get(timeout=20):
            with trace.get_tracer_provider().get_tracer("test").start_as_current_span("work") as span:
                self.seen.put(span.get_span_context().trace_id)

    def work(self) -> int:
        """The trace of a piece of its work."""
        self.asked.put(True)
        return self.seen.get(timeout=20)

    def end(self) -> None:
        self.asked.put(False)
        self.thread.join(20)


def request() -> Any:
    return trace.get_tracer_provider().get_tracer("test").start_as_current_span("request")


def test_work_that_goes_on_after_the_answer_is_the_requests(clock: Clock) -> None:
    with request() as span:
        looping = Looping()
    own = span.get_span_context().trace_id
    for _ in range(10):
        clock.now += 50
        assert own == looping.work()
    looping.end()


def test_a_thread_that_was_idle_after_its_request_works_for_nobody(
    instrumented: Telemetry, clock: Clock
) -> None:
    with request() as span:
        looping = Looping()
        clock.now += 1_000
        assert span.get_span_context().trace_id == looping.work(), "the request goes on"
    clock.now += 61
    found = {looping.work(), looping.work()}
    looping.end()
    assert 2 == len(found - {span.get_span_context().trace_id})
    assert [None, None] == [each.parent for each in instrumented.spans() if each.name == "work"][1:]


def test_a_thread_that_never_ends_works_for_nobody_in_the_end(clock: Clock) -> None:
    with request() as span:
        looping = Looping()
    own, found = span.get_span_context().trace_id, []
    for _ in range(20):
        clock.now += 50
        found.append(looping.work())
    looping.end()
    assert [own] * 18 == found[:18]
    assert own not in found[18:]


def test_it_is_over_when_the_request_is_also_where_that_is_not_sampled(
    use_telemetry: Any, clock: Clock
) -> None:
    telemetry, made = use_telemetry(ALWAYS_OFF), []

    def app(environ: Any, start_response: Any) -> Any:
        made.append(Looping())
        clock.now += 1_000
        made.append(made[0].work())
        made.append(trace.get_current_span().get_span_context().trace_id)
        start_response("200 OK", [])
        return []

    ask_wsgi(WSGIMiddleware(app))
    looping, within, own = made
    clock.now += 61
    assert own == within != looping.work()
    looping.end()
    assert [] == telemetry.spans()


def test_what_a_thread_says_of_its_span_is_on_the_span(instrumented: Telemetry) -> None:
    def say() -> None:
        span = copy.copy(trace.get_current_span())
        assert span.is_recording()
        span.set_attribute("a", 1)
        span.set_attributes({"b": 2})
        span.add_event("here")
        span.update_name(f"{span.name} of {span.kind.name}")  # type: ignore[attr-defined]

    with request():
        thread = threading.Thread(target=say)
        thread.start()
        thread.join(20)
    (span,) = instrumented.spans()
    assert ("request of INTERNAL", {"a": 1, "b": 2}, ["here"]) == (
        span.name,
        dict(span.attributes or {}),
        [event.name for event in span.events],
    )


def test_a_request_that_a_thread_of_a_request_sends_to_the_application_is_its_child(
    instrumented: Telemetry,
) -> None:
    def inner(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return []

    def outer(environ: Any, start_response: Any) -> Any:
        thread = threading.Thread(
            target=lambda: list(WSGIMiddleware(inner)(environ_of("/in"), lambda *_: None))
        )
        thread.start()
        thread.join(20)
        return inner(environ, start_response)

    ask_wsgi(WSGIMiddleware(outer), "/out")
    inside, outside = instrumented.servers()
    assert [SpanKind.SERVER] * 2 == [inside.kind, outside.kind]
    assert outside.context.span_id == inside.parent.span_id
