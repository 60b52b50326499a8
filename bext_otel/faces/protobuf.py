"""`/metrics` as Prometheus' own protocol buffers: all that the text has, and each summary also as a native histogram.

The messages and their field numbers are those of `io.prometheus.client` (github.com/prometheus/client_model, metrics.proto); each
`MetricFamily` is preceded by its length. A family is a summary or a histogram, not both, and whoever scrapes native histograms must not
lose the quantiles, sums and counts that dashboards and rules read. So the histogram, which can be added up over instances, is a family of
its own: that of `bext_request_duration_ms` is `bext_request_duration_ms_native`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from math import inf, isfinite
from operator import sub
from typing import TypeAlias

from bext_otel.faces import naming, samples
from bext_otel.faces.wire import double, message, packed_doubles, packed_zigzag, signed, unsigned, varint
from bext_otel.pipeline.breathing import AT_ONCE
from bext_otel.pipeline.snapshot import Exemplar, Family, Histogram, Native, Point, Series, Snapshot, Summary, legal_labels

__all__ = ["CONTENT_TYPE", "NATIVE", "chunks", "render"]

NATIVE = "_native"
"""What the name of a summary's native histogram ends in."""

CONTENT_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

_COUNTER, _GAUGE, _SUMMARY, _UNTYPED, _HISTOGRAM = range(5)
# Type -> (its number, the field of Metric that holds its value).
_TYPES: Mapping[str, tuple[int, int]] = {
    "counter": (_COUNTER, 3),
    "gauge": (_GAUGE, 2),
    "summary": (_SUMMARY, 4),
    "unknown": (_UNTYPED, 5),
    "histogram": (_HISTOGRAM, 7),
}

_ZERO_THRESHOLD = 2.0**-128
"""Values up to here count as zero; the one of Prometheus' own client, since histograms of different ones have to be widened to be added."""

_SCALES = range(-4, 9)
"""The schemas that Prometheus knows."""

_Values: TypeAlias = "float | Summary | Histogram"
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")


def render(snapshot: Snapshot) -> bytes:
    """All families; always legal. The snapshot should have been asked for native buckets: summaries without stay summaries."""
    return b"".join(chunks(snapshot))


def chunks(snapshot: Snapshot) -> Iterator[bytes]:
    """The same in pieces, some of them empty: between two of them others may work."""
    told = naming.about_the_resource(snapshot)
    if told is not None:
        yield from _family(naming.RESOURCE, Family(naming.RESOURCE, "gauge", "Attributes of the resource.", "", [Point(told, 1)]))
    headed = [(family, head) for family, head in naming.headed(snapshot) if not head.left_out]
    taken = frozenset[str]().union(*(head.names for _, head in headed))
    for family, head in headed:
        yield from _family(head.sample, family)
        if _has_native(family) and naming.occupied(name := f"{head.sample}{NATIVE}", "histogram").isdisjoint(taken):
            yield from _family(name, family, native=True)


def _has_native(family: Family) -> bool:
    told = [point.value for point in family.points] if family.type == "summary" else []
    return bool(told) and all(isinstance(value, Summary) and _is_native(value.native) for value in told)


def _family(name: str, family: Family, *, native: bool = False) -> Iterator[bytes]:
    number, field = _TYPES["histogram" if native else family.type]
    head = message(1, name.encode()) + (message(2, _text(family.description)) if family.description else b"") + unsigned(3, number)
    pieces = [head]
    for piece in _metrics(family, field):
        pieces.append(piece)
        yield b""  # the length stands first, so nothing can be said before all is known
    yield varint(sum(map(len, pieces)))
    yield from pieces


def _metrics(family: Family, field: int) -> Iterator[bytes]:
    declared = family.metric is not None
    for points in samples.slices(family.points) if declared else (family.points,):
        if family.type in {"summary", "histogram"}:
            yield from _measured(points, "quantile" if family.type == "summary" else "le", field, declared=declared)
        else:
            yield from _numbers(points, family.type, field, declared=declared)


def _numbers(points: Sequence[Point], kind: str, field: int, *, declared: bool) -> Iterator[bytes]:
    series, values, exemplars = samples.columns(points)
    heads = samples.heads((field, declared), series, _number_head)
    if not declared and len(set(heads)) < len(heads):
        heads, values, exemplars = samples.distinct(heads, values, add=kind == "counter")
    if kind != "counter":
        exemplars = {}
    times = samples.times(points, heads)
    for start in range(0, len(heads), AT_ONCE):
        end = start + AT_ONCE
        parts = [b""] * (2 * len(heads[start:end]))
        parts[::2] = heads[start:end]
        parts[1::2] = packed_doubles(values[start:end])
        for position in range(start, min(end, len(heads))) if exemplars or times else ():
            told = _exemplar(exemplars.get(position))
            if told or position in times:
                number = double(1, values[position]) + (message(2, told) if told else b"")
                metric = _labels(series[position], "", declared=declared) + message(field, number)
                parts[2 * (position - start)] = message(4, metric + _at(times.get(position)))
                parts[2 * (position - start) + 1] = b""
        yield b"".join(parts)


def _number_head(series: Series, key: tuple[int, bool]) -> bytes:
    """Everything of a Metric up to the eight bytes of its value, which are its last."""
    field, declared = key
    metric = _labels(series, "", declared=declared) + message(field, double(1, 0.0))
    return message(4, metric)[:-8]


def _measured(points: Sequence[Point], reserved: str, field: int, *, declared: bool) -> Iterator[bytes]:
    """Summaries and histograms; of those whose labels are written alike the first stays."""
    seen: set[bytes] = set()
    written = []
    for point in points:
        labels: bytes = samples.cached(point.series, (reserved, declared), _own_labels)
        if labels not in seen:
            seen.add(labels)
            value = _value(point, native=field == _TYPES["histogram"][1])
            written.append(message(4, labels + message(field, value) + _at(point.time_unix)))
        if len(written) >= AT_ONCE // 10:
            yield b"".join(written)
            written.clear()
    yield b"".join(written)


def _value(point: Point, *, native: bool) -> bytes:
    value = point.value
    if isinstance(value, Summary):
        if native and value.native is not None:
            return _native(value, value.native, point.exemplar)
        quantiles = b"".join([message(3, double(1, quantile) + double(2, found)) for quantile, found in value.quantiles])
        return unsigned(1, value.count) + double(2, value.sum) + quantiles
    return _classic(value, samples.by_bucket(point)) if isinstance(value, Histogram) else b""


def _at(time_unix: float | None) -> bytes:
    """The time that a collector gave a value, in milliseconds."""
    return b"" if time_unix is None else unsigned(6, round(time_unix * 1e3))


def _classic(histogram: Histogram, exemplars: samples.Exemplars) -> bytes:
    buckets = []
    for position, (bound, total) in enumerate(zip((*histogram.bounds, inf), accumulate(histogram.counts), strict=True)):
        told = _exemplar(exemplars.get(position))
        buckets.append(message(3, unsigned(1, total) + double(2, bound) + (message(3, told) if told else b"")))
    return unsigned(1, sum(histogram.counts)) + double(2, histogram.sum) + b"".join(buckets)


def _is_native(native: Native | None) -> bool:
    return native is not None and native.scale in _SCALES


def _native(summary: Summary, native: Native, exemplar: Exemplar | None) -> bytes:
    counts, offset, zeros = native.counts, native.offset, native.zeros
    # OpenTelemetry's bucket i is (base**i, base**(i+1)], Prometheus' is (base**(i-1), base**i].
    first = offset + 1
    tiny = min(max(int(-128 * 2.0**native.scale) - first + 1, 0), len(counts))
    zeros, counts, first = zeros + sum(counts[:tiny]), counts[tiny:], first + tiny
    parts = [
        unsigned(1, summary.count) + double(2, summary.sum),
        signed(5, native.scale) + double(6, _ZERO_THRESHOLD) + unsigned(7, zeros),
    ]
    if counts:
        # One span: empty buckets between others cost a byte each.
        parts += [message(12, signed(1, first) + unsigned(2, len(counts))), packed_zigzag(13, map(sub, counts, (0, *counts)))]
    if told := _exemplar(exemplar):
        parts.append(message(16, told))
    return b"".join(parts)


def _own_labels(series: Series, key: tuple[str, bool]) -> bytes:
    reserved, declared = key
    return _labels(series, reserved, declared=declared)


def _labels(series: Series, reserved: str, *, declared: bool) -> bytes:
    """A series' labels; one with the `reserved` name is `exported_...`, as in the text."""
    own = series.labels if declared else sorted(series.labels)
    written = legal_labels(tuple((f"exported_{name}" if name == reserved else name, value) for name, value in own))
    names = written if declared else sorted(written)
    return b"".join([message(1, message(1, name.encode()) + message(2, _text(written[name]))) for name in names])


def _exemplar(exemplar: Exemplar | None) -> bytes:
    """Its labels, value and time, if that is known; empty for one that has no labels to show."""
    told = samples.labels_of(exemplar) if exemplar is not None else ()
    if exemplar is None or not told or not isfinite(exemplar.value):
        return b""
    labels = b"".join([message(1, message(1, name.encode()) + message(2, _text(value))) for name, value in told])
    if not isfinite(exemplar.time_unix):
        return labels + double(2, exemplar.value)
    seconds = max(int(exemplar.time_unix), 0)
    nanos = min(max(round((exemplar.time_unix - seconds) * 1e9), 0), 999_999_999)
    return labels + double(2, exemplar.value) + message(3, unsigned(1, seconds) + unsigned(2, nanos))


def _text(value: str) -> bytes:
    """As UTF-8; what can't be written becomes U+FFFD, as in the text."""
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", value).encode()
