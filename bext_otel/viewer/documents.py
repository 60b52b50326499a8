"""What the pages ask for, as plain documents. Pure functions of a `Store`; the caller holds
`store.reading()`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bext_otel.viewer.fitting import as_number_or_text, as_text, bare, within
from bext_otel.viewer.limits import Limits
from bext_otel.viewer.logs import LogLine
from bext_otel.viewer.metrics import SeriesKey, Source, StoredMetric
from bext_otel.viewer.points import label_bytes
from bext_otel.viewer.series import COLUMNS, StoredSeries
from bext_otel.viewer.spans import Span, Trace
from bext_otel.viewer.store import Store
from bext_otel.viewer.values import Plain
from bext_otel.viewer.waterfall import nested, root_of

__all__ = ["app_of", "log_lines", "metric", "metrics", "summary", "trace", "traces"]

Document = dict[str, Any]

# Attributes are searched in this order.
_APP = ("bext.app", "app")
_METHOD = ("http.request.method", "http.method")
_ROUTE = ("http.route",)
_STATUS = ("http.response.status_code", "http.status_code")

# Of a trace in a list.
_SERVICES = 20


def summary(store: Store) -> Document:
    """Counts of what came, is held, was dropped and refused, and the limits."""
    spans, logs, metrics = store.spans, store.logs, store.metrics
    return {
        "version": store.version,
        "started_unix_ms": store.started_unix * 1e3,
        "services": sorted(
            name for name in {*spans.services, *(name for name, _ in metrics.sources())} if name
        ),
        "received": {"spans": spans.received, "logs": logs.received, "points": metrics.received},
        "held": {
            "traces": len(spans),
            "spans": spans.held,
            "logs": len(logs),
            "metrics": len(metrics.families),
            "series": len(metrics),
        },
        "dropped": {
            "spans": spans.dropped,
            "logs": logs.dropped,
            "points": metrics.dropped,
            "series": metrics.dropped_series,
        },
        "refused": {"bodies": store.refused_bodies, "items": store.refused_items},
        "limits": {
            "traces": store.limits.traces,
            "spans": store.limits.spans,
            "logs": store.limits.logs,
            "series": store.limits.series,
            "points": store.limits.points,
        },
    }


def traces(
    store: Store,
    *,
    text: str = "",
    app: str = "",
    errors: bool = False,
    min_ms: float = 0.0,
    limit: int = 200,
) -> Document:
    """Newest traces first, at most `limit`, that match: `text` anywhere in name, route, service or id, `app`
    exactly, `min_ms` at least."""
    wanted = text.lower()
    found: list[Document] = []
    apps: dict[str, None] = {}
    # By start: in order of arrival, a batch that was sent late would stand above what happened after it.
    rows = sorted(
        (_headline(trace_id, held) for trace_id, held in store.spans.newest()),
        key=lambda row: -row["start_unix_ms"],
    )
    for row in rows:
        apps[row["app"]] = None
        if (
            len(found) >= limit
            or (app and row["app"] != app)
            or (errors and not row["error"])
            or row["duration_ms"] < min_ms
        ):
            continue
        if wanted and not any(
            wanted in str(row[key] or "").lower()
            for key in ("name", "route", "services", "trace_id", "status")
        ):
            continue
        found.append(row)
    return {
        "version": store.version,
        "traces": found,
        "apps": sorted(name for name in apps if name),
        "total": len(store.spans),
    }


def trace(store: Store, trace_id: str) -> Document | None:
    """One trace: its headline, its spans nested, its log lines in order of time; None if it is not held."""
    held = store.spans.get(trace_id)
    if held is None:
        return None
    start_ns = min(span.start_ns for span in held.spans.values())
    lines = sorted(
        (line for line in store.logs.newest() if line.trace_id == trace_id), key=lambda line: line.time_ns
    )
    return {
        **_headline(trace_id, held),
        "spans": _spans(held, start_ns, store.limits),
        "logs": [_line(line) for line in within(lines, lambda line: line.size, store.limits)],
    }


def log_lines(
    store: Store, *, severity: int = 0, text: str = "", trace_id: str = "", app: str = "", limit: int = 300
) -> Document:
    """Newest lines first, at most `limit`, that match: `severity` at least, `text` in message, target or an
    attribute's value."""
    wanted = text.lower()
    matching = (
        line
        for line in store.logs.newest()
        if line.severity >= severity
        and (not trace_id or line.trace_id == trace_id)
        and (not app or app_of(line.attributes) == app)
        and (not wanted or _mentions(line, wanted))
    )
    newest = within(matching, lambda line: line.size, store.limits)
    found = [_line(line) for _, line in zip(range(limit), newest, strict=False)]
    return {"version": store.version, "logs": found, "total": len(store.logs)}


def metrics(store: Store) -> Document:
    """Every metric by name, without its points."""
    families = sorted(store.metrics.families.values(), key=lambda family: family.name)
    return {"version": store.version, "metrics": [_family(family) for family in families]}


def metric(store: Store, name: str, *, limit: int = 8) -> Document | None:
    """One metric with the points of its `limit` busiest series; None if there is none of that name."""
    family = store.metrics.families.get(name)
    if family is None:
        return None
    busiest = sorted(family.series.items(), key=lambda item: (-item[1].total, item[0]))
    several = len({key[1] for key in family.series}) > 1
    shown = within(busiest[:limit], lambda item: label_bytes(item[0][2]) + item[1].spent, store.limits)
    return {
        **_family(family),
        "columns": COLUMNS[family.kind],
        "series": [_series(*item, several) for item in shown],
    }


def app_of(attributes: Mapping[str, Plain]) -> str:
    """The application that a span or log line names, or nothing."""
    return as_text(_first(attributes, _APP))


def _headline(trace_id: str, held: Trace) -> Document:
    spans = held.spans
    root = root_of(spans)
    # A trace that a client began shows what the server made of it.
    server = (
        root
        if root.kind == "server"
        else next((span for span in spans.values() if span.kind == "server"), root)
    )
    start_ns = min(span.start_ns for span in spans.values())
    end_ns = max(span.end_ns for span in spans.values())
    return {
        "trace_id": trace_id,
        "name": root.name,
        "app": app_of(root.attributes) or app_of(server.attributes),
        "method": as_text(_first(server.attributes, _METHOD)),
        "route": as_text(_first(server.attributes, _ROUTE)),
        "status": as_number_or_text(_first(server.attributes, _STATUS)),
        "error": any(span.status == "error" for span in spans.values()),
        "start_unix_ms": start_ns / 1e6,
        "duration_ms": (end_ns - start_ns) / 1e6,
        "span_count": len(spans),
        "services": sorted({span.service for span in spans.values()})[:_SERVICES],
    }


def _spans(held: Trace, start_ns: int, limits: Limits) -> list[Document]:
    """Every span of a trace; past what an answer may have, without what may be large in it."""
    left = limits.answer_bytes
    found = []
    for depth, span in nested(held.spans):
        left -= span.size
        found.append(_span(depth, span if left > 0 else bare(span), start_ns))
    return found


def _span(depth: int, span: Span, start_ns: int) -> Document:
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "depth": depth,
        "name": span.name,
        "kind": span.kind,
        "service": span.service,
        "scope": span.scope,
        "offset_ms": (span.start_ns - start_ns) / 1e6,
        "duration_ms": (span.end_ns - span.start_ns) / 1e6,
        "status": span.status,
        "status_message": span.status_message,
        "attributes": span.attributes,
        "events": [
            {
                "name": event.name,
                "offset_ms": (event.time_ns - start_ns) / 1e6,
                "attributes": event.attributes,
            }
            for event in span.events
        ],
        "links": span.links,
        "omitted": span.omitted,
    }


def _line(line: LogLine) -> Document:
    return {
        "number": line.number,
        "time_unix_ms": line.time_ns / 1e6,
        "level": line.level,
        "severity": line.severity,
        "target": line.target,
        "message": line.message,
        "service": line.service,
        "app": app_of(line.attributes),
        "trace_id": line.trace_id,
        "span_id": line.span_id,
        "attributes": line.attributes,
        "omitted": line.omitted,
    }


def _mentions(line: LogLine, wanted: str) -> bool:
    return any(
        wanted in str(value).lower() for value in (line.message, line.target, *line.attributes.values())
    )


def _family(family: StoredMetric) -> Document:
    return {
        "name": family.name,
        "kind": family.kind,
        "unit": family.unit,
        "description": family.description,
        "series_count": len(family.series),
        "updated_unix_ms": max(series.last_ns for series in family.series.values()) / 1e6,
    }


def _series(key: SeriesKey, series: StoredSeries, several: bool) -> Document:
    _, source, labels = key
    columns = list(zip(*series.rows, strict=True)) or [()]
    return {
        "labels": {**dict(labels), **(_sender(source) if several else {})},
        "total": series.total,
        "sum": series.total_sum,
        "times": columns[0],
        "values": columns[1:],
    }


def _sender(source: Source) -> dict[str, str]:
    service, instance = source
    return {"service": service, "instance": instance[:8]}


def _first(attributes: Mapping[str, Plain], names: Iterable[str]) -> Plain:
    return next((attributes[name] for name in names if name in attributes), None)
