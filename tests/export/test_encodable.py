"""Text that is no UTF-8 is replaced in what is to be exported, and nothing else is touched."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from bext_otel.export.encodable import encodable_spans

BAD, SHOWN = "caf\udce9", "caf\N{REPLACEMENT CHARACTER}"


def ended(*names: str) -> tuple[ReadableSpan, ...]:
    out = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(out))
    for name in names:
        with provider.get_tracer(name, name).start_as_current_span(name, attributes={"kept": 1}) as span:
            span.add_event(name, {"kept": 2})
            span.set_status(StatusCode.ERROR, name)
    return out.get_finished_spans()


def test_where_all_can_be_encoded_there_is_nothing_to_do() -> None:
    assert encodable_spans(ended("good", "caf\u00e9")) is None


def test_only_what_cannot_be_encoded_is_replaced() -> None:
    spans = ended("good", BAD)
    good, bad = encodable_spans(spans) or ()
    scope = bad.instrumentation_scope
    assert good is spans[0]
    assert scope is not None
    assert {SHOWN} == {bad.name, bad.status.description, bad.events[0].name, scope.name, scope.version}
    assert (spans[1].context, spans[1].start_time, spans[1].end_time) == (
        bad.context,
        bad.start_time,
        bad.end_time,
    )
    assert ({"kept": 1}, {"kept": 2}) == (dict(bad.attributes or {}), dict(bad.events[0].attributes or {}))
