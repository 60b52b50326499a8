"""`/metrics?format=json`: the specification's document."""

from __future__ import annotations

import json as standard
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from math import isfinite
from typing import Any

import msgspec

from bext_otel import catalogue
from bext_otel.catalogue import Label, Metric
from bext_otel.endpoints.formats.json_parts import own_metrics, routes
from bext_otel.metrics.snapshot import Distribution, LabelSet, Numbers, Snapshot, Summary

__all__ = ["CONTENT_TYPE", "document", "render"]

CONTENT_TYPE = "application/json"

_MEBIBYTE = 1024 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def render(snapshot: Snapshot) -> bytes:
    """The document as JSON."""
    whole = document(snapshot)
    try:
        return msgspec.json.encode(whole)
    except UnicodeEncodeError:  # a lone surrogate in a label: only an escape can tell it
        return standard.dumps(whole).encode()


def document(snapshot: Snapshot) -> dict[str, Any]:
    """The document as data; null (None) stands where nothing is known yet.

    Totals are those of the service's life, over all labels of an app or plugin. `hit_rate` and errors' `rate`
    are ratios of totals (0 to 1), an error is a 5xx answer (an unhandled exception is a 500), `avg_*` are
    means of totals; `rps` is of the rate window. Megabytes are of 2**20 bytes. All that the specification
    does not have stands under `telemetry`.
    """
    whole: dict[str, Any] = {
        "timestamp": _timestamp(snapshot.time_unix),
        "uptime_secs": _whole(snapshot.uptime_seconds),
        "apps": _apps(snapshot),
        "plugins": _plugins(snapshot),
        "system": {
            "memory_mb": _whole(snapshot.system.get("memory_mb")),
            "cpu_percent": _rounded(snapshot.system.get("cpu_percent"), 1),
            "open_fds": _whole(snapshot.system.get("open_fds")),
        },
        "telemetry": {
            name: value if isinstance(value, str) else _finite(value)
            for name, value in snapshot.telemetry.items()
        },
    }
    for name, part in (("routes", routes(snapshot)), ("metrics", own_metrics(snapshot))):
        if part:
            whole["telemetry"][name] = part
    return whole


def _apps(snapshot: Snapshot) -> dict[str, Any]:
    requests, errors = _requests(snapshot)
    rates = _rates(snapshot)
    hits, misses = (_sums(snapshot, row) for row in (catalogue.CACHE_HITS, catalogue.CACHE_MISSES))
    entries, held = (_sums(snapshot, row) for row in (catalogue.CACHE_ENTRIES, catalogue.CACHE_BYTES))
    workers, memory = (_sums(snapshot, row) for row in (catalogue.ISOLATE_COUNT, catalogue.ISOLATE_MEMORY))
    renders = _totals(snapshot, catalogue.ISOLATE_RENDER_DURATION, catalogue.APP)
    rates_known = catalogue.REQUESTS.exported in snapshot.rates
    return {
        app: {
            "requests": {
                "total": _whole(requests.get(app, 0)),
                "rps": _rounded(rates.get(app, 0.0 if rates_known else None), 1),
            },
            "cache": {
                "hit_rate": _ratio(hits.get(app, 0), hits.get(app, 0) + misses.get(app, 0), 3),
                "entries": _whole(entries.get(app)),
                "bytes": _whole(held.get(app)),
            },
            "isolate": {
                "workers": _whole(workers.get(app)),
                "memory_mb": _whole(_ratio(memory.get(app), _MEBIBYTE, 6)),
                "avg_render_ms": _mean(renders.get(app), 1),
            },
            "errors": {
                "total": _whole(errors.get(app, 0)),
                "rate": _ratio(errors.get(app, 0), requests.get(app, 0), 4),
            },
        }
        for app in _names(snapshot)
    }


def _plugins(snapshot: Snapshot) -> dict[str, Any]:
    calls = _totals(snapshot, catalogue.PLUGIN_DURATION, catalogue.PLUGIN)
    return {
        plugin: {"calls": count, "avg_us": _whole(_mean((count, total), 6))}
        for plugin, (count, total) in sorted(calls.items())
    }


def _names(snapshot: Snapshot) -> list[str]:
    """Every app that any row of the catalogue knows."""
    rows = [
        family.metric
        for family in snapshot.families
        if family.metric is not None and catalogue.APP in family.metric.labels
    ]
    return sorted({app for row in rows for app, _ in _labelled(snapshot, row, catalogue.APP)})


def _requests(snapshot: Snapshot) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Requests, and those of them that were errors, by app."""
    requests: dict[str, float] = defaultdict(int)
    errors: dict[str, float] = defaultdict(int)
    for labels, value in _values(snapshot, catalogue.REQUESTS):
        app = _label(labels, catalogue.APP)
        requests[app] += value
        if _label(labels, catalogue.STATUS).startswith("5"):
            errors[app] += value
    return requests, errors


def _rates(snapshot: Snapshot) -> Mapping[str, float]:
    """Requests per second of the rate window, by app."""
    rates: dict[str, float] = defaultdict(float)
    for labels, rate in snapshot.rates.get(catalogue.REQUESTS.exported, {}).items():
        rates[_label(labels, catalogue.APP)] += rate
    return rates


def _sums(snapshot: Snapshot, row: Metric) -> Mapping[str, float]:
    """A counter or gauge summed up by app."""
    sums: dict[str, float] = defaultdict(int)
    for app, value in _labelled(snapshot, row, catalogue.APP):
        sums[app] += value
    return sums


def _totals(snapshot: Snapshot, row: Metric, by: Label) -> Mapping[str, tuple[int, float]]:
    """Count and sum of a summary, summed up by a label."""
    totals: dict[str, tuple[int, float]] = {}
    for name, value in _labelled(snapshot, row, by):
        count, total = totals.get(name, (0, 0.0))
        totals[name] = (count + value.count, total + value.sum)
    return totals


def _labelled(snapshot: Snapshot, row: Metric, label: Label) -> Iterator[tuple[str, Any]]:
    """(value of the label, value of the point) of each point of a row."""
    return ((_label(labels, label), value) for labels, value in _values(snapshot, row))


def _values(snapshot: Snapshot, row: Metric) -> Iterator[tuple[LabelSet, Any]]:
    family = snapshot.family(row)
    points = family.points if family is not None else ()
    if isinstance(points, Numbers):
        return ((series.labels, value) for series, value in zip(points.series, points.values, strict=True))
    return (
        (point.series.labels, point.value)
        for point in points
        if row.kind != "summary" or isinstance(point.value, (Distribution, Summary))
    )


def _label(labels: LabelSet, label: Label) -> str:
    for name, value in labels:
        if name == label.name:
            return value
    return catalogue.UNKNOWN


def _timestamp(time_unix: float) -> str | None:
    # Not `fromtimestamp`: it raises for years that a broken clock can show.
    try:
        return (_EPOCH + timedelta(seconds=int(time_unix))).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError):
        return None


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def _rounded(value: float | None, digits: int) -> float | None:
    known = _finite(value)
    return None if known is None else round(known, digits)


def _whole(value: float | None) -> int | None:
    known = _finite(value)
    return None if known is None else round(known)


def _ratio(part: float | None, whole: float, digits: int) -> float | None:
    return _rounded(part / whole, digits) if part is not None and whole else None


def _mean(totals: tuple[int, float] | None, digits: int) -> float | None:
    count, total = totals or (0, 0.0)
    return _ratio(total, count, digits)
