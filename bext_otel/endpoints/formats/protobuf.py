"""`/metrics` as Prometheus' own protocol buffers: all that the text has, and each summary also as a native
histogram.

The messages are those of `io.prometheus.client`; each `MetricFamily` is preceded by its length. A family is a
summary or a histogram, not both, and whoever scrapes native histograms must not lose the quantiles, sums and
counts that dashboards and rules read. So the histogram, which can be added up over instances, is a family of
its own: that of `bext_request_duration_ms` is `bext_request_duration_ms_native`.

Of a number everything but its eight bytes is written once and kept: a page of 10,000 counters takes 4 ms so,
and 90 ms with a message for each. Everything else is put into messages: 10,000 histograms take 270 ms, and
took 550 when each byte was written in Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from math import inf, isfinite
from operator import sub
from struct import Struct, error
from typing import Any

from bext_otel.endpoints.formats import naming, samples
from bext_otel.endpoints.formats.protobuf_wire import metric_family
from bext_otel.export.protobuf import varint
from bext_otel.metrics.pacing import AT_ONCE
from bext_otel.metrics.snapshot import (
    Distribution,
    Exemplar,
    Family,
    Histogram,
    Point,
    Series,
    Snapshot,
    Summary,
    legal_labels,
)

__all__ = ["CONTENT_TYPE", "NATIVE", "chunks", "render"]

NATIVE = "_native"
"""What the name of a summary's native histogram ends in."""

CONTENT_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

# Type -> (its number, the field of Metric that holds its value).
_TYPES: Mapping[str, tuple[int, str]] = {
    "counter": (0, "counter"),
    "gauge": (1, "gauge"),
    "summary": (2, "summary"),
    "unknown": (3, "untyped"),
    "histogram": (4, "histogram"),
}

_ZERO_THRESHOLD = 2.0**-128
"""Values up to here count as zero; the one of Prometheus' own client, since histograms of different ones have
to be widened to be added."""

_DOUBLE = Struct("<d").pack
_LATEST = 253_402_300_799  # the end of the year 9999, where timestamps end
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")


def render(snapshot: Snapshot) -> bytes:
    """All families; always legal."""
    return b"".join(chunks(snapshot))


def chunks(snapshot: Snapshot) -> Iterator[bytes]:
    """The same in pieces, some of them empty: between two of them others may work."""
    told = naming.about_the_resource(snapshot)
    if told is not None:
        yield from _family(
            naming.RESOURCE,
            Family(naming.RESOURCE, "gauge", "Attributes of the resource.", "", [Point(told, 1)]),
        )
    headed = [(family, head) for family, head in naming.headed(snapshot) if not head.left_out]
    taken = frozenset[str]().union(*(head.names for _, head in headed))
    for family, head in headed:
        yield from _family(head.sample, family)
        if _has_native(family) and naming.occupied(name := f"{head.sample}{NATIVE}", "histogram").isdisjoint(
            taken
        ):
            yield from _family(name, family, native=True)


def _has_native(family: Family) -> bool:
    told = [point.value for point in family.points] if family.type == "summary" else []
    return bool(told) and all(isinstance(value, Distribution) for value in told)


def _family(name: str, family: Family, *, native: bool = False) -> Iterator[bytes]:
    number, field = _TYPES["histogram" if native else family.type]
    head = metric_family()(name=name, type=number)
    if family.description:
        head.help = _text(family.description)
    pieces = [head.SerializeToString()]
    for piece in _metrics(family, field):
        pieces.append(piece)
        yield b""  # the length stands first, so nothing can be said before all is known
    yield varint(sum(map(len, pieces)))
    yield from pieces


def _metrics(family: Family, field: str) -> Iterator[bytes]:
    declared = family.metric is not None
    for points in samples.slices(family.points) if declared else (family.points,):
        if family.type in {"summary", "histogram"}:
            yield from _measured(
                points, "quantile" if family.type == "summary" else "le", field, declared=declared
            )
        else:
            yield from _numbers(points, field, declared=declared)


def _numbers(points: Sequence[Point], field: str, *, declared: bool) -> Iterator[bytes]:
    series, values, exemplars = samples.columns(points)
    heads = samples.heads((field, declared), series, _number_head)
    if not declared and len(set(heads)) < len(heads):
        heads, values, exemplars = samples.distinct(heads, values, add=field == "counter")
    if field != "counter":
        exemplars = {}
    times = samples.times(points, heads)
    for start in range(0, len(heads), AT_ONCE):
        end = start + AT_ONCE
        parts = [b""] * (2 * len(heads[start:end]))
        parts[::2] = heads[start:end]
        parts[1::2] = _doubles(values[start:end])
        for position in range(start, min(end, len(heads))) if exemplars or times else ():
            exemplar, at = exemplars.get(position), times.get(position)
            if exemplar is not None or at is not None:
                part = 2 * (position - start)
                parts[part : part + 2] = [_with_more(parts[part] + parts[part + 1], exemplar, at), b""]
        yield b"".join(parts)


def _number_head(series: Series, key: tuple[str, bool]) -> bytes:
    """Everything of a Metric up to the eight bytes of its value, which are its last: fields are written in
    the order of their numbers."""
    field, declared = key
    family = metric_family()()
    metric = family.metric.add()
    _label(metric.label, series, "", declared=declared)
    getattr(metric, field).value = 0.0
    return bytes(family.SerializeToString()[:-8])


def _with_more(written: bytes, exemplar: Exemplar | None, time_unix: float | None) -> bytes:
    family = metric_family().FromString(written)
    (metric,) = family.metric
    if exemplar is not None:
        _add_exemplar(metric.counter, "exemplar", exemplar)
    _set_time(metric, time_unix)
    return bytes(family.SerializeToString())


def _set_time(metric: Any, time_unix: float | None) -> None:
    """The time that a collector gave a value."""
    if time_unix is not None:
        metric.timestamp_ms = round(time_unix * 1e3)


def _measured(points: Sequence[Point], reserved: str, field: str, *, declared: bool) -> Iterator[bytes]:
    """Summaries and histograms; of those whose labels are written alike the first stays."""
    seen: set[bytes] = set()
    family = metric_family()()
    for point in points:
        labels: bytes = samples.cached(point.series, (reserved, declared), _own_labels)
        if labels not in seen:
            seen.add(labels)
            metric = family.metric.add()
            metric.MergeFromString(labels)
            _fill(getattr(metric, field), point, native=field == "histogram")
            _set_time(metric, point.time_unix)
        if len(family.metric) >= AT_ONCE // 10:
            yield family.SerializeToString()
            family.Clear()
    yield family.SerializeToString()


def _fill(message: Any, point: Point, *, native: bool) -> None:
    value = point.value
    message.SetInParent()
    if not isinstance(value, (int, float)):
        message.sample_count, message.sample_sum = _whole(value.count), _float(value.sum)
    if isinstance(value, Histogram):
        _fill_classic(message, value, samples.by_bucket(point))
    elif isinstance(value, Distribution) and native:
        _fill_native(message, value)
        if point.exemplar is not None:
            _add_exemplar(message, "exemplars", point.exemplar)
    elif isinstance(value, (Distribution, Summary)):
        for quantile, found in value.quantiles():
            message.quantile.add(quantile=quantile, value=_float(found))


def _fill_classic(message: Any, histogram: Histogram, exemplars: samples.Exemplars) -> None:
    message.sample_count = _whole(sum(histogram.counts))
    for position, (bound, total) in enumerate(
        zip((*histogram.bounds, inf), accumulate(histogram.counts), strict=True)
    ):
        bucket = message.bucket.add(cumulative_count=_whole(total), upper_bound=_float(bound))
        if position in exemplars:
            _add_exemplar(bucket, "exemplar", exemplars[position])


def _fill_native(message: Any, value: Distribution) -> None:
    life = value.life
    counts, offset, zeros = life.counts, life.offset, value.zeros
    # OpenTelemetry's bucket i is (base**i, base**(i+1)], Prometheus' is (base**(i-1), base**i].
    first = offset + 1
    tiny = min(max(int(-128 * 2.0**life.scale) - first + 1, 0), len(counts))
    zeros, counts, first = zeros + sum(counts[:tiny]), counts[tiny:], first + tiny
    message.schema, message.zero_threshold, message.zero_count = life.scale, _ZERO_THRESHOLD, zeros
    if counts:
        # One span: empty buckets between others cost a byte each.
        message.positive_span.add(offset=first, length=len(counts))
        message.positive_delta.extend(map(sub, counts, (0, *counts)))


def _own_labels(series: Series, key: tuple[str, bool]) -> bytes:
    """A Metric with labels alone."""
    reserved, declared = key
    metric = metric_family()().metric.add()
    _label(metric.label, series, reserved, declared=declared)
    return bytes(metric.SerializeToString())


def _label(labels: Any, series: Series, reserved: str, *, declared: bool) -> None:
    """A series' labels; one with the `reserved` name is `exported_...`, as in the text."""
    own = series.labels if declared else sorted(series.labels)
    written = legal_labels(
        tuple((f"exported_{name}" if name == reserved else name, value) for name, value in own)
    )
    for name in written if declared else sorted(written):
        labels.add(name=name, value=_text(written[name]))


def _add_exemplar(message: Any, field: str, exemplar: Exemplar) -> None:
    """Its labels, value and time, if that is known; nothing of one that has no labels to show."""
    labels = samples.labels_of(exemplar)
    if not labels or not isfinite(exemplar.value):
        return
    told = getattr(message, field)
    told = told.add() if field == "exemplars" else told
    for name, value in labels:
        told.label.add(name=name, value=_text(value))
    told.value = exemplar.value
    if isfinite(exemplar.time_unix):
        moment = min(max(exemplar.time_unix, 0.0), float(_LATEST))
        told.timestamp.seconds = int(moment)
        told.timestamp.nanos = min(round(moment % 1 * 1e9), 999_999_999)


def _text(value: str) -> str:
    """What UTF-8 can't hold becomes U+FFFD, as in the text."""
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", value)


def _doubles(values: Sequence[float]) -> list[bytes]:
    """The eight bytes of each number."""
    try:
        return list(map(_DOUBLE, values))
    except (OverflowError, error):  # an integer that no float can hold
        return [_DOUBLE(_float(value)) for value in values]


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf


def _whole(count: int) -> int:
    """As a count of 64 bits."""
    return min(max(int(count), 0), (1 << 64) - 1)
