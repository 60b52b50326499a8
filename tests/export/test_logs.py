"""Records on their way out, and the same as upstream encodes them."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from bext_otel.export.logs import record_batches
from bext_otel.export.origins import Origins
from bext_otel.export.record import record_of
from bext_otel.export.record_encoder import RecordEncoder
from tests.traces.test_differential import attributes, names, values
from tests.versions import since


class Sink(LogRecordProcessor):
    def __init__(self, take: Any) -> None:
        self._take = take

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        self._take(log_record)

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def test_the_standard_variables_hold_and_no_thread_is_there_before_the_first_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_BLRP_MAX_QUEUE_SIZE", "2")
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "60000")
    exporter, before = InMemoryLogRecordExporter(), threading.active_count()
    batches, take = record_batches(exporter)
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(Sink(lambda record: take(record_of(record))))
    assert before == threading.active_count()
    for number in range(2):
        provider.get_logger("t").emit(body=str(number))
    assert batches.flush(10)
    assert ["0", "1"] == [record.log_record.body for record in exporter.get_finished_logs()]
    batches.end(1)


times = st.one_of(st.none(), st.integers(0, (1 << 64) - 1))
records = st.fixed_dictionaries(
    {
        "timestamp": times,
        "observed_timestamp": times,
        "severity_number": st.one_of(st.none(), st.sampled_from(SeverityNumber)),
        "severity_text": st.one_of(st.none(), names),
        "body": values,
        "attributes": attributes,
        "event_name": st.one_of(st.none(), names),
    }
)
spans = st.one_of(
    st.none(),
    st.builds(
        SpanContext,
        st.integers(1, 1 << 100),
        st.integers(1, 1 << 60),
        st.booleans(),
        st.sampled_from([TraceFlags(0), TraceFlags(1)]),
    ),
)


@since(45, "the same on the wire, in what is compared here")
@pytest.mark.filterwarnings("ignore:Log record attributes were dropped")
@given(st.lists(st.tuples(records, spans), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_records_are_encoded_as_upstream_encodes_them(made: list[tuple[dict[str, Any], Any]]) -> None:
    kept: list[ReadWriteLogRecord] = []
    provider = LoggerProvider(Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(Sink(kept.append))
    for number, (record, span) in enumerate(made):
        context = trace.set_span_in_context(NonRecordingSpan(span)) if span else None
        provider.get_logger(f"l{number % 2}", "1").emit(LogRecord(context=context, **record))
    origins = Origins()
    encoder = RecordEncoder(origins)
    found = ExportLogsServiceRequest.FromString(
        origins.request([encoder.encode(record_of(record)) for record in kept])
    )
    expected = encode_logs(
        [
            ReadableLogRecord(record.log_record, record.resource, record.instrumentation_scope, record.limits)
            for record in kept
        ]
    )
    assert expected == found


@given(
    st.one_of(st.none(), names),
    st.one_of(st.none(), names),
    st.one_of(st.none(), names, st.sampled_from(["a" * 111, "a" * 112, "é" * 56, "a" * 128])),
)
def test_what_is_told_of_a_request_is_encoded_as_upstream_encodes_attributes(
    app: str | None, route: str | None, request_id: str | None
) -> None:
    kept: list[ReadWriteLogRecord] = []
    provider = LoggerProvider(Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(Sink(kept.append))
    provider.get_logger("t").emit(body="hello", attributes={"tenant": "acme"})
    record = record_of(kept[0])
    record.app, record.route, record.request_id = app, route, request_id
    origins = Origins()
    encoder = RecordEncoder(origins)
    encoder.encode(record)
    found = ExportLogsServiceRequest.FromString(origins.request([encoder.encode(record)]))
    assert encode_logs([record.readable()]) == found
