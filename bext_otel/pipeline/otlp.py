"""Exporters by name, each wrapped so that what it delivers, and what it loses, is counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter, SpanExportResult

from bext_otel._compat import otlp_exporter
from bext_otel.config import Exporters, Signal, Target
from bext_otel.pipeline.delivery import Delivery
from bext_otel.redaction import redact_url

__all__ = ["log_exporters", "metric_exporters", "span_exporters"]


class _Spans(SpanExporter):
    def __init__(self, inner: SpanExporter, delivery: Delivery) -> None:
        self._inner = inner
        self._delivery = delivery

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result, reason = SpanExportResult.FAILURE, ""
        try:
            result = self._inner.export(spans)
        except Exception as error:  # an exporter must not end the thread that feeds it
            reason = f"{type(error).__name__}: {error}"
        _tell(self._delivery, len(spans), delivered=result is SpanExportResult.SUCCESS, reason=reason)
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


class _Logs(LogRecordExporter):
    def __init__(self, inner: LogRecordExporter, delivery: Delivery) -> None:
        self._inner = inner
        self._delivery = delivery

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        result, reason = LogRecordExportResult.FAILURE, ""
        try:
            result = self._inner.export(batch)
        except Exception as error:  # an exporter must not end the thread that feeds it
            reason = f"{type(error).__name__}: {error}"
        _tell(self._delivery, len(batch), delivered=result is LogRecordExportResult.SUCCESS, reason=reason)
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()  # type: ignore[no-untyped-call]  # upstream left it untyped

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


def _tell(delivery: Delivery, items: int, *, delivered: bool, reason: str) -> None:
    if delivered:
        delivery.succeeded(items)
    else:
        delivery.lost(items, reason)


def span_exporters(exporters: Exporters) -> list[tuple[SpanExporter, Delivery]]:
    """The exporters that `OTEL_TRACES_EXPORTER` and the endpoints ask for."""
    made: list[tuple[SpanExporter, Delivery]] = []
    for name in exporters.traces:
        inner = ConsoleSpanExporter() if name == "console" else _otlp(exporters.targets["traces"], "traces")
        delivery = Delivery("traces", _where(name, exporters, "traces"))
        made.append((_Spans(inner, delivery), delivery))
    return made


def log_exporters(exporters: Exporters) -> list[tuple[LogRecordExporter, Delivery]]:
    """The exporters that `OTEL_LOGS_EXPORTER` and the endpoints ask for."""
    made: list[tuple[LogRecordExporter, Delivery]] = []
    for name in exporters.logs:
        inner = ConsoleLogRecordExporter() if name == "console" else _otlp(exporters.targets["logs"], "logs")
        delivery = Delivery("logs", _where(name, exporters, "logs"))
        made.append((_Logs(inner, delivery), delivery))
    return made


def metric_exporters(exporters: Exporters) -> list[tuple[MetricExporter, Delivery]]:
    """The push exporters that `OTEL_METRICS_EXPORTER` and the endpoints ask for; `prometheus` pulls and is not among them."""
    made: list[tuple[MetricExporter, Delivery]] = []
    for name in exporters.metrics:
        if name == "prometheus":
            continue
        inner = ConsoleMetricExporter() if name == "console" else _otlp(exporters.targets["metrics"], "metrics")
        made.append((inner, Delivery("metrics", _where(name, exporters, "metrics"))))
    return made


def _where(name: str, exporters: Exporters, signal: Signal) -> str:
    return redact_url(exporters.targets[signal].endpoint) if name == "otlp" else name


def _otlp(target: Target, signal: Signal) -> Any:
    return otlp_exporter(target.protocol, signal)(endpoint=target.endpoint)
