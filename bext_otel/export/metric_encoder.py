"""Metrics as OTLP writes them (opentelemetry-proto, `metrics/v1/metrics.proto`): a whole request from the
SDK's data, without an object of the protobuf package for each point."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics.export import MetricsData

from bext_otel.export.origins import resource_message, scope_message
from bext_otel.export.protobuf import Attributes, field, nanoseconds, number, text, varint
from bext_otel.metrics.pacing import AT_ONCE, slices

__all__ = ["MetricEncoder"]

# start_time_unix_nano 2 and time_unix_nano 3 of any point; count 4 and sum 5 of histograms.
_pack_times = struct.Struct("<cQcQ").pack
_pack_time = struct.Struct("<cQ").pack
_pack_double = struct.Struct("<cd").pack
_pack_integer = struct.Struct("<cq").pack
_pack_ids = struct.Struct(">2sQ2s16s").pack

_LEAST, _GREATEST = -(1 << 63), (1 << 63) - 1


class MetricEncoder:
    """Encodes metrics; what repeats among them is kept as bytes, within bounds."""

    def __init__(self) -> None:
        self._of_numbers = Attributes(b"\x3a")
        self._of_histograms = Attributes(b"\x4a")
        self._of_exponential = Attributes(b"\x0a")
        self._of_exemplars = Attributes(b"\x3a")
        self._kinds: Mapping[type, tuple[bytes, Callable[[Any], bytes]]] = {
            sdk.Gauge: (b"\x2a", self._gauge),
            sdk.Sum: (b"\x3a", self._sum),
            sdk.Histogram: (b"\x4a", self._histogram),
            sdk.ExponentialHistogram: (b"\x52", self._exponential),
        }

    def encode(self, data: MetricsData) -> bytes:
        """An OTLP request. Others may work in between."""
        return b"".join(
            [
                field(
                    b"\x0a",
                    resource_message(
                        each.resource,
                        [field(b"\x12", self._scope(scope)) for scope in each.scope_metrics],
                    ),
                )
                for each in data.resource_metrics
            ]
        )

    def _scope(self, told: sdk.ScopeMetrics) -> bytes:
        return scope_message(told.scope, [field(b"\x12", self._metric(metric)) for metric in told.metrics])

    def _metric(self, metric: sdk.Metric) -> bytes:
        """name 1, description 2, unit 3, and the data by its kind."""
        parts = [
            text(b"\x0a", metric.name),
            text(b"\x12", metric.description),
            text(b"\x1a", metric.unit),
        ]
        if (kind := self._kinds.get(type(metric.data))) is not None:
            tag, write = kind
            parts.append(field(tag, write(metric.data)))
        return b"".join(parts)

    def _gauge(self, data: sdk.Gauge) -> bytes:
        return self._points(data.data_points, lambda point: self._number(point, begins=False))

    def _sum(self, data: sdk.Sum) -> bytes:
        points = self._points(data.data_points, lambda point: self._number(point, begins=True))
        return points + _temporality(data) + (b"\x18\x01" if data.is_monotonic else b"")

    def _histogram(self, data: sdk.Histogram) -> bytes:
        return self._points(data.data_points, self._histogram_point) + _temporality(data)

    def _exponential(self, data: sdk.ExponentialHistogram) -> bytes:
        return self._points(data.data_points, self._exponential_point) + _temporality(data)

    @staticmethod
    def _points(points: Sequence[Any], write: Callable[[Any], bytes]) -> bytes:
        return b"".join([field(b"\x0a", write(point)) for part in slices(points, AT_ONCE) for point in part])

    def _number(self, point: Any, *, begins: bool) -> bytes:
        """as_double 4, exemplars 5, as_int 6, attributes 7."""
        parts = [_times(point) if begins else _pack_time(b"\x19", nanoseconds(point.time_unix_nano))]
        parts.append(_value(point.value, b"\x21", b"\x31"))
        if point.attributes:
            self._of_numbers.write(point.attributes, parts)
        if point.exemplars:
            parts += [field(b"\x2a", self._exemplar(each)) for each in point.exemplars]
        return b"".join(parts)

    def _histogram_point(self, point: sdk.HistogramDataPoint) -> bytes:
        """bucket_counts 6, explicit_bounds 7, exemplars 8, attributes 9, min 11, max 12."""
        counts, bounds = point.bucket_counts, point.explicit_bounds
        parts = [_times(point), _pack_time(b"\x21", point.count), _pack_double(b"\x29", point.sum)]
        if counts:
            parts.append(field(b"\x32", struct.pack(f"<{len(counts)}Q", *counts)))
        if bounds:
            parts.append(field(b"\x3a", struct.pack(f"<{len(bounds)}d", *bounds)))
        parts += _extremes(point, b"\x59", b"\x61")
        if point.attributes:
            self._of_histograms.write(point.attributes, parts)
        if point.exemplars:
            parts += [field(b"\x42", self._exemplar(each)) for each in point.exemplars]
        return b"".join(parts)

    def _exponential_point(self, point: sdk.ExponentialHistogramDataPoint) -> bytes:
        """attributes 1, scale 6, zero_count 7, positive 8, negative 9, flags 10, exemplars 11, min 12, max
        13."""
        parts = [
            _times(point),
            _pack_time(b"\x21", point.count),
            _pack_double(b"\x29", point.sum),
            number(b"\x30", _zigzag(point.scale)),
            _pack_time(b"\x39", point.zero_count),
            *[
                field(tag, _buckets(buckets))
                for tag, buckets in ((b"\x42", point.positive), (b"\x4a", point.negative))
                if buckets.bucket_counts
            ],
            number(b"\x50", point.flags),
        ]
        parts += _extremes(point, b"\x61", b"\x69")
        if point.attributes:
            self._of_exponential.write(point.attributes, parts)
        if point.exemplars:
            parts += [field(b"\x5a", self._exemplar(each)) for each in point.exemplars]
        return b"".join(parts)

    def _exemplar(self, exemplar: Any) -> bytes:
        """time_unix_nano 2, as_double 3, span_id 4, trace_id 5, as_int 6, filtered_attributes 7."""
        parts = [
            _pack_time(b"\x11", nanoseconds(exemplar.time_unix_nano)),
            _value(exemplar.value, b"\x19", b"\x31"),
        ]
        if exemplar.span_id is not None and exemplar.trace_id is not None:
            parts.append(
                _pack_ids(b"\x22\x08", exemplar.span_id, b"\x2a\x10", exemplar.trace_id.to_bytes(16, "big"))
            )
        if exemplar.filtered_attributes:
            self._of_exemplars.write(exemplar.filtered_attributes, parts)
        return b"".join(parts)


def _times(point: Any) -> bytes:
    begin, now = point.start_time_unix_nano, point.time_unix_nano
    try:
        return _pack_times(b"\x11", begin, b"\x19", now)
    except struct.error:  # no moment, or none that OTLP can tell
        return _pack_times(b"\x11", nanoseconds(begin), b"\x19", nanoseconds(now))


def _value(value: float, as_double: bytes, as_integer: bytes) -> bytes:
    if isinstance(value, int) and _LEAST <= value <= _GREATEST:
        return _pack_integer(as_integer, value)
    return _pack_double(as_double, value)


def _extremes(point: Any, least: bytes, most: bytes) -> Iterable[bytes]:
    """Those that are known."""
    return [
        _pack_double(tag, extreme)
        for tag, extreme in ((least, point.min), (most, point.max))
        if extreme is not None
    ]


def _buckets(buckets: sdk.Buckets) -> bytes:
    """offset 1, bucket_counts 2."""
    counts = b"".join([varint(count) for count in buckets.bucket_counts])
    return number(b"\x08", _zigzag(buckets.offset)) + field(b"\x12", counts)


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _temporality(data: Any) -> bytes:
    return number(b"\x10", int(data.aggregation_temporality))
