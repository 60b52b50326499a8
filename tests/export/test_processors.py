"""Processors that begin at the first span."""

from __future__ import annotations

import threading

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from bext_otel.export.processors import LazySpanProcessor


def test_no_thread_exists_before_the_first_span() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(LazySpanProcessor(exporter))
    before = set(threading.enumerate())
    provider.get_tracer("t")
    assert before == set(threading.enumerate())
    provider.get_tracer("t").start_span("first").end()
    assert "bext-otel-export" in {thread.name for thread in threading.enumerate()}
    provider.shutdown()
    assert ["first"] == [span.name for span in exporter.get_finished_spans()]


def test_a_span_that_is_not_sampled_is_not_exported() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(LazySpanProcessor(exporter))
    provider.get_tracer("t").start_span("s").end()
    assert provider.force_flush()
    assert () == exporter.get_finished_spans()
    provider.shutdown()


def test_the_address_of_a_call_loses_its_secrets() -> None:
    """Upstream's instrumentors know four names of them."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(LazySpanProcessor(exporter))
    tracer = provider.get_tracer("t")
    given = {
        "url.full": "https://u:p@x/cb?code=4711&PHPSESSID=4711&q=1",
        "http.url": "https://x/?ticket=4711",
        "url.query": "a=1&hmac=4711",
        "http.target": "/?X-Amz-Credential=4711",
        "other": "code=4711",
    }
    tracer.start_span("call", kind=SpanKind.CLIENT, attributes=given).end()
    tracer.start_span("plain", kind=SpanKind.CLIENT, attributes={"url.full": "https://x/?q=1"}).end()
    provider.shutdown()
    call, plain = exporter.get_finished_spans()
    assert {
        "url.full": "https://REDACTED:REDACTED@x/cb?code=REDACTED&PHPSESSID=REDACTED&q=1",
        "http.url": "https://x/?ticket=REDACTED",
        "url.query": "a=1&hmac=REDACTED",
        "http.target": "/?X-Amz-Credential=REDACTED",
        "other": "code=4711",
    } == dict(call.attributes or {})
    assert {"url.full": "https://x/?q=1"} == dict(plain.attributes or {})


def test_a_call_of_another_instrumentor_is_completed_and_shows_no_literals() -> None:
    """As with our engine."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(LazySpanProcessor(exporter))
    statement = {"db.system.name": "postgresql", "db.query.text": "select * from t where a = 'secret'"}
    for scope, kind in (
        ("opentelemetry.instrumentation.psycopg", SpanKind.CLIENT),
        ("opentelemetry.instrumentation.psycopg", SpanKind.INTERNAL),
        ("shop", SpanKind.CLIENT),
    ):
        span = provider.get_tracer(scope).start_span("select", kind=kind, attributes=statement)
        span.set_status(StatusCode.ERROR)
        span.end()
    provider.shutdown()
    theirs, *others = [dict(span.attributes or {}) for span in exporter.get_finished_spans()]
    expected = {**statement, "db.query.text": "select * from t where a = ?", "error.type": "_OTHER"}
    assert expected == theirs
    assert [statement] * 2 == others
