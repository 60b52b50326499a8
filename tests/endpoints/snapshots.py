"""A fixed snapshot: the figures of the specification's own example, and one series of everything else that a
face must show."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan

from bext_otel import catalogue
from bext_otel.catalogue import QUANTILES, Metric
from bext_otel.metrics.snapshot import (
    Distribution,
    Exemplar,
    Family,
    FamilyType,
    Histogram,
    Numbers,
    Point,
    Series,
    Snapshot,
    Summary,
)

NOON = 1774711800.0  # 2026-03-28T15:30:00Z
EXEMPLAR = Exemplar(2.1, NOON - 1.5, "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


def series(metric: Metric, *values: str) -> Series:
    """The series of a row with these label values."""
    return Series(tuple(zip(metric.label_names, values, strict=True)))


def family(
    metric: Metric,
    points: Mapping[tuple[str, ...], float | Distribution | Histogram | Summary],
    *,
    exemplar: Exemplar | None = None,
) -> Family:
    """A row's family: label values -> value."""
    made = [Point(series(metric, *values), value, exemplar) for values, value in points.items()]
    return Family(metric.exported, metric.type_0_0_4, metric.description, metric.unit, made, metric)


def numbers(metric: Metric, values: dict[tuple[str, ...], float]) -> Family:
    """The same, in columns."""
    points = Numbers([series(metric, *labels) for labels in values], list(values.values()))
    return Family(metric.exported, metric.type_0_0_4, metric.description, metric.unit, points, metric)


def other(name: str, kind: FamilyType, points: list[Point], *, unit: str = "") -> Family:
    """A family of another library's instrument."""
    return Family(name, kind, "Another library's.", unit, points)


def summary(count: int, total: float, *values: float) -> Summary:
    """A summary with the catalogue's quantiles; without values, its window is empty."""
    return Summary(count, total, tuple(zip(QUANTILES, values or (nan,) * len(QUANTILES), strict=True)))


SPECIFICATION = Snapshot(
    time_unix=NOON,
    started_unix=NOON - 86400,
    uptime_seconds=86400.25,
    families=(
        family(
            catalogue.REQUESTS,
            {
                ("marketing", "GET", "200", "/about"): 42519,
                ("marketing", "GET", "500", "/about"): 9,
                ("marketing", "GET", "503", "/"): 3,
                ("api", "POST", "404", "unmatched"): 7,
            },
            exemplar=EXEMPLAR,
        ),
        family(
            catalogue.REQUEST_DURATION,
            {
                ("marketing", "/about"): summary(42531, 204148.8, 2.1, 9.5, 20.25, 48.3),
                ("api", "unmatched"): summary(7, 3.5),
            },
        ),
        family(
            catalogue.HTTP_SERVER_REQUEST_DURATION,
            {
                ("GET", "http", "200", "/about", "1.1", ""): Histogram(
                    catalogue.HTTP_SERVER_REQUEST_DURATION.bounds,
                    (40000, 2000, 500, 20, 5, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0),
                    204.1488,
                    42531,
                )
            },
        ),
        numbers(catalogue.CACHE_HITS, {("marketing", "isr"): 39842.0, ("marketing", "layout"): 10.0}),
        numbers(catalogue.CACHE_MISSES, {("marketing", "isr"): 2689.0}),
        numbers(catalogue.CACHE_ENTRIES, {("marketing", "isr"): 2400, ("marketing", "layout"): 81}),
        numbers(catalogue.CACHE_BYTES, {("marketing", "isr"): 155189248}),
        numbers(catalogue.ISOLATE_COUNT, {("marketing",): 4}),
        numbers(catalogue.ISOLATE_MEMORY, {("marketing",): 50331648}),
        family(
            catalogue.ISOLATE_RENDER_DURATION, {("marketing",): summary(1000, 3210.0, 3.0, 5.0, 6.0, 8.0)}
        ),
        family(
            catalogue.PLUGIN_DURATION,
            {
                ("analytics", "on_request"): summary(42000, 500000.0, 11.0, 20.0, 30.0, 40.0),
                ("analytics", "on_response"): summary(531, 10372.0, 12.0, 20.0, 30.0, 40.0),
                ("security-headers", "on_response"): summary(42531, 127593.0, 3.0, 3.0, 3.5, 4.0),
            },
        ),
        numbers(catalogue.PLUGIN_FUEL_CONSUMED, {("analytics",): 123456789}),
        other("queue_wait_seconds", "gauge", [Point(Series((("queue.name", 'a "b"\\\n'),)), 0.25)], unit="s"),
    ),
    rates={
        "bext_requests_total": {
            series(catalogue.REQUESTS, "marketing", "GET", "200", "/about").labels: 12.4375
        }
    },
    system={"memory_mb": 256.2, "cpu_percent": 15.21, "open_fds": 128},
    telemetry={"series": 23, "engine": "bext", "lag_seconds": nan},
    resource={
        "service.name": "bext",
        "service.instance.id": "1",
        "process.command_args": "--password=secret",
    },
)

EMPTY = Snapshot(time_unix=NOON, started_unix=NOON, uptime_seconds=0.0)
