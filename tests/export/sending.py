"""Spans and records that are sent where they end, so that a test knows what became of each."""

from __future__ import annotations

from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource

from bext_otel.export.otlp import EncodedExporter
from bext_otel.export.record import record_of
from bext_otel.export.record_encoder import RecordEncoder
from bext_otel.export.span_encoder import SpanEncoder
from bext_otel.traces.provider import BextTracerProvider


class _Nothing:
    """Nothing waits."""

    def __init__(self, exporter: EncodedExporter) -> None:
        self._exporter = exporter

    def flush(self, _seconds: float, /) -> bool:
        return True

    def end(self, _seconds: float, /) -> bool:
        self._exporter.shutdown()
        return True


def sending(exporter: object) -> BextTracerProvider:
    """Spans go through `exporter`, which is one of OTLP."""
    assert isinstance(exporter, EncodedExporter)
    provider, encoder = BextTracerProvider(Resource({})), SpanEncoder(exporter.origins)
    provider.add_sink(lambda span: exporter.export([encoder.encode(span)]), _Nothing(exporter))
    return provider


class SendingRecords(LogRecordProcessor):
    """Records go through `exporter`, which is one of OTLP."""

    def __init__(self, exporter: object) -> None:
        assert isinstance(exporter, EncodedExporter)
        self._exporter, self._encoder = exporter, RecordEncoder(exporter.origins)

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        self._exporter.export([self._encoder.encode(record_of(log_record))])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True
