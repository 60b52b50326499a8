"""What the JSON document has beside the specification's, under `telemetry`: figures by route, and the metrics
of the application's own."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from bext_otel.catalogue import APP, REQUEST_DURATION, REQUESTS, ROUTE, STATUS, UNKNOWN
from bext_otel.metrics.snapshot import Distribution, Family, Histogram, Snapshot, Summary

__all__ = ["own_metrics", "routes"]


def routes(snapshot: Snapshot) -> dict[str, Any]:
    """Requests by app and route: `total`, `errors` (5xx) and `error_rate` of the service's life (0 to 1),
    `avg_ms` of it, and the quantiles of the recent window in milliseconds (None: nothing recent)."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    counted = snapshot.family(REQUESTS)
    for point in counted.points if counted is not None else ():
        labels = dict(point.series.labels)
        told = _of_route(found, labels)
        told["total"] += point.value
        if labels.get(STATUS.name, "").startswith("5"):
            told["errors"] += point.value
    for routes_of_app in found.values():
        for told in routes_of_app.values():
            told["error_rate"] = round(told["errors"] / told["total"], 4) if told["total"] else None
    timed = snapshot.family(REQUEST_DURATION)
    for point in timed.points if timed is not None else ():
        if isinstance(point.value, (Distribution, Summary)):
            told = _of_route(found, dict(point.series.labels))
            count = point.value.count
            told["avg_ms"] = _number(point.value.sum / count) if count else None
            told |= {f"p{quantile * 100:g}_ms": _number(at) for quantile, at in point.value.quantiles()}
    return found


def _of_route(found: dict[str, dict[str, dict[str, Any]]], labels: Mapping[str, str]) -> dict[str, Any]:
    of_app = found.setdefault(labels.get(APP.name, UNKNOWN), {})
    return of_app.setdefault(labels.get(ROUTE.name, UNKNOWN), {"total": 0, "errors": 0, "error_rate": None})


def own_metrics(snapshot: Snapshot) -> dict[str, Any]:
    """The metrics that are not the platform's, by their name on `/metrics`: the application's rows, and
    instruments of the OpenTelemetry API and of other libraries."""
    return {
        family.name: {
            "type": family.type,
            "unit": family.unit,
            "description": family.description,
            "series": [
                {"labels": dict(point.series.labels), **_value(point.value)} for point in family.points
            ],
        }
        for family in snapshot.families
        if _is_the_applications(family)
    }


def _is_the_applications(family: Family) -> bool:
    return family.metric is None or not family.metric.name.startswith(("bext.", "otel.", "http."))


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, (Distribution, Summary)):
        quantiles = {f"{quantile:g}": _number(at) for quantile, at in value.quantiles()}
        return {"count": value.count, "sum": _number(value.sum), "quantiles": quantiles}
    if isinstance(value, Histogram):
        bounds = [f"{bound:g}" for bound in value.bounds]
        buckets = dict(zip([*bounds, "+Inf"], value.counts, strict=True))
        return {"count": value.count, "sum": _number(value.sum), "buckets": buckets}
    return {"value": _number(value)}


def _number(value: float) -> float | None:
    return value if isfinite(value) else None
