"""OTLP messages, short to write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    AGGREGATION_TEMPORALITY_DELTA,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

SECOND = 1_000_000_000


def value(plain: object) -> AnyValue:
    if isinstance(plain, bool):
        return AnyValue(bool_value=plain)
    if isinstance(plain, int):
        return AnyValue(int_value=plain)
    if isinstance(plain, float):
        return AnyValue(double_value=plain)
    return AnyValue(string_value=str(plain))


def pairs(attributes: Mapping[str, object]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value(plain)) for key, plain in attributes.items()]


def trace_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def span_id(number: int) -> bytes:
    return number.to_bytes(8, "big")


def span(
    number: int,
    *,
    trace: int = 1,
    parent: int = 0,
    name: str = "",
    start: int = 0,
    end: int = 0,
    error: bool = False,
    **more: object,
) -> Span:
    return Span(
        trace_id=trace_id(trace),
        span_id=span_id(number),
        parent_span_id=span_id(parent) if parent else b"",
        name=name or f"span {number}",
        kind=more.pop("kind", 1),
        start_time_unix_nano=start,
        end_time_unix_nano=end,
        attributes=pairs(more),
        status=Status(code=2 if error else 0),
    )


def spans(*held: Span, service: str = "shop") -> ExportTraceServiceRequest:
    scope = ScopeSpans(scope=InstrumentationScope(name="tests"), spans=held)
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=_resource(service), scope_spans=[scope])]
    )


def line(
    message: object, *, severity: int = 9, trace: int = 0, time: int = 1, **attributes: object
) -> LogRecord:
    ids = {"trace_id": trace_id(trace), "span_id": span_id(1)} if trace else {}
    return LogRecord(
        time_unix_nano=time,
        severity_number=severity,
        body=value(message),
        attributes=pairs(attributes),
        **ids,
    )


def lines(*held: LogRecord) -> ExportLogsServiceRequest:
    scope = ScopeLogs(scope=InstrumentationScope(name="tests"), log_records=held)
    return ExportLogsServiceRequest(
        resource_logs=[ResourceLogs(resource=_resource("shop"), scope_logs=[scope])]
    )


def metrics(*held: Metric, service: str = "shop", instance: str = "one") -> ExportMetricsServiceRequest:
    scope = ScopeMetrics(scope=InstrumentationScope(name="tests"), metrics=held)
    return ExportMetricsServiceRequest(
        resource_metrics=[ResourceMetrics(resource=_resource(service, instance), scope_metrics=[scope])]
    )


def counter(
    name: str,
    points: Iterable[tuple[float, float]],
    *,
    start: float = 1,
    delta: bool = False,
    **labels: object,
) -> Metric:
    """`points` are pairs of seconds and value."""
    temporality = AGGREGATION_TEMPORALITY_DELTA if delta else AGGREGATION_TEMPORALITY_CUMULATIVE
    return Metric(
        name=name,
        sum=Sum(
            data_points=_numbers(points, start, labels),
            aggregation_temporality=temporality,
            is_monotonic=True,
        ),
    )


def gauge(name: str, points: Iterable[tuple[float, float]], **labels: object) -> Metric:
    return Metric(name=name, gauge=Gauge(data_points=_numbers(points, 0, labels)))


def exponential(
    name: str, at: float, buckets: Mapping[int, int], *, scale: int = 3, start: float = 1, **labels: object
) -> Metric:
    offset = min(buckets, default=0)
    counts = [buckets.get(index, 0) for index in range(offset, max(buckets, default=0) + 1)]
    point = ExponentialHistogramDataPoint(
        attributes=pairs(labels),
        start_time_unix_nano=int(start * SECOND),
        time_unix_nano=int(at * SECOND),
        count=sum(counts),
        scale=scale,
        positive=ExponentialHistogramDataPoint.Buckets(offset=offset, bucket_counts=counts),
    )
    data = ExponentialHistogram(
        data_points=[point], aggregation_temporality=AGGREGATION_TEMPORALITY_CUMULATIVE
    )
    return Metric(name=name, exponential_histogram=data)


def _numbers(
    points: Iterable[tuple[float, float]], start: float, labels: Mapping[str, object]
) -> list[NumberDataPoint]:
    return [
        NumberDataPoint(
            attributes=pairs(labels),
            start_time_unix_nano=int(start * SECOND),
            time_unix_nano=int(at * SECOND),
            as_double=number,
        )
        for at, number in points
    ]


def _resource(service: str, instance: str = "one") -> Resource:
    return Resource(attributes=pairs({"service.name": service, "service.instance.id": instance}))
