from __future__ import annotations

import json as standard
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bext_otel import catalogue
from bext_otel.endpoints.formats import json
from bext_otel.metrics.snapshot import Family, Histogram, Point, Series, Snapshot
from tests.endpoints.snapshots import EMPTY, SPECIFICATION, family, numbers, series, summary

GOLDEN = Path(__file__).parents[2] / "golden" / "metrics.json"


def test_the_document_is_as_agreed() -> None:
    """The golden file under a fixed snapshot."""
    assert GOLDEN.read_bytes() == msgspec.json.format(json.render(SPECIFICATION), indent=2) + b"\n"


def test_the_example_of_the_specification_comes_out() -> None:
    document = json.document(SPECIFICATION)
    telemetry = document.pop("telemetry")
    del document["apps"]["api"]
    assert {
        "timestamp": "2026-03-28T15:30:00Z",
        "uptime_secs": 86400,
        "apps": {
            "marketing": {
                "requests": {"total": 42531, "rps": 12.4},
                "cache": {"hit_rate": 0.937, "entries": 2481, "bytes": 155189248},
                "isolate": {"workers": 4, "memory_mb": 48, "avg_render_ms": 3.2},
                "errors": {"total": 12, "rate": 0.0003},
            }
        },
        "plugins": {
            "analytics": {"calls": 42531, "avg_us": 12},
            "security-headers": {"calls": 42531, "avg_us": 3},
        },
        "system": {"memory_mb": 256, "cpu_percent": 15.2, "open_fds": 128},
    } == document
    routes, others = telemetry.pop("routes"), telemetry.pop("metrics")
    assert {"queue_wait_seconds"} == others.keys()
    assert {"marketing", "api"} == routes.keys()
    assert {"series": 23, "engine": "bext", "lag_seconds": None} == telemetry


def test_requests_are_told_by_route() -> None:
    counts = {("a", "GET", "200", "/x"): 3, ("a", "POST", "500", "/x"): 1, ("b", "GET", "404", "/"): 2}
    timed = {("a", "/x"): summary(4, 10.0)}
    snapshot = replace(
        EMPTY,
        families=(numbers(catalogue.REQUESTS, dict(counts)), family(catalogue.REQUEST_DURATION, dict(timed))),
    )
    found = json.document(snapshot)["telemetry"]["routes"]
    assert {"total": 2, "errors": 0, "error_rate": 0.0} == found["b"]["/"]
    assert (4, 1, 0.25) == tuple(found["a"]["/x"][name] for name in ("total", "errors", "error_rate"))
    assert {"avg_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms"} < found["a"]["/x"].keys()


def test_metrics_that_are_not_the_platforms_are_in_the_document() -> None:
    histogram = Histogram((1.0, 5.0), (1, 0, 2), 20.0, 3)
    labels = Series((("country", "de"),))
    families = (
        Family("orders_total", "counter", "Orders.", "", (Point(labels, 7),)),
        Family("size_bytes", "histogram", "Size.", "By", (Point(Series(()), histogram),)),
        numbers(catalogue.CACHE_HITS, {("docs", "isr"): 3}),
    )
    document = standard.loads(json.render(replace(EMPTY, families=families)))
    assert {
        "orders_total": {
            "type": "counter",
            "unit": "",
            "description": "Orders.",
            "series": [{"labels": {"country": "de"}, "value": 7}],
        },
        "size_bytes": {
            "type": "histogram",
            "unit": "By",
            "description": "Size.",
            "series": [{"labels": {}, "count": 3, "sum": 20.0, "buckets": {"1": 1, "5": 0, "+Inf": 2}}],
        },
    } == document["telemetry"]["metrics"]


def test_what_is_not_known_is_null() -> None:
    assert {
        "requests": {"total": 7, "rps": 0.0},
        "cache": {"hit_rate": None, "entries": None, "bytes": None},
        "isolate": {"workers": None, "memory_mb": None, "avg_render_ms": None},
        "errors": {"total": 0, "rate": 0.0},
    } == json.document(SPECIFICATION)["apps"]["api"]


def test_before_the_first_measurement_the_document_is_whole() -> None:
    assert {
        "timestamp": "2026-03-28T15:30:00Z",
        "uptime_secs": 0,
        "apps": {},
        "plugins": {},
        "system": {"memory_mb": None, "cpu_percent": None, "open_fds": None},
        "telemetry": {},
    } == json.document(EMPTY)


def test_an_app_without_requests_has_no_error_rate() -> None:
    snapshot = replace(EMPTY, families=(numbers(catalogue.CACHE_HITS, {("docs", "isr"): 3}),))
    docs = json.document(snapshot)["apps"]["docs"]
    assert {"total": 0, "rate": None} == docs["errors"]
    assert {"total": 0, "rps": None} == docs["requests"]
    assert 1.0 == docs["cache"]["hit_rate"]


def test_errors_are_answers_of_the_5xx_class_only() -> None:
    requests = {("a", "GET", status, "/"): 1 for status in ("200", "404", "499", "500", "503", "599")}
    assert {"total": 3, "rate": 0.5} == json.document(
        replace(EMPTY, families=(numbers(catalogue.REQUESTS, requests),))
    )["apps"]["a"]["errors"]


def test_recent_requests_add_up_over_the_series_of_an_app() -> None:
    requests = {("a", "GET", "200", "/"): 10, ("a", "GET", "200", "/about"): 10}
    rates = {series(catalogue.REQUESTS, *labels).labels: 1.26 for labels in requests}
    snapshot = replace(
        EMPTY, families=(numbers(catalogue.REQUESTS, requests),), rates={"bext_requests_total": rates}
    )
    assert 2.5 == json.document(snapshot)["apps"]["a"]["requests"]["rps"]


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_numbers_that_are_none_become_null(value: float) -> None:
    """JSON has no NaN and no infinity."""
    broken: Snapshot = replace(
        SPECIFICATION,
        families=(
            numbers(catalogue.CACHE_ENTRIES, {("a", "isr"): value}),
            family(catalogue.ISOLATE_RENDER_DURATION, {("a",): summary(3, value)}),
            family(catalogue.PLUGIN_DURATION, {("p", "h"): summary(3, value)}),
        ),
        system={"memory_mb": value, "cpu_percent": value, "open_fds": value},
        time_unix=value,
        uptime_seconds=value,
    )
    document = standard.loads(json.render(broken), parse_constant=pytest.fail)
    assert (None, None) == (document["timestamp"], document["uptime_secs"])
    assert {"memory_mb": None, "cpu_percent": None, "open_fds": None} == document["system"]
    assert {"calls": 3, "avg_us": None} == document["plugins"]["p"]
    assert (None, None) == (
        document["apps"]["a"]["cache"]["entries"],
        document["apps"]["a"]["isolate"]["avg_render_ms"],
    )


def test_any_label_value_can_be_told() -> None:
    hostile = 'a"\\\n\0\ud800'
    written = json.render(replace(EMPTY, families=(numbers(catalogue.CACHE_ENTRIES, {(hostile, "isr"): 1}),)))
    assert [hostile] == list(standard.loads(written)["apps"])


COUNTS = st.dictionaries(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["GET", "POST"]),
        st.sampled_from(["200", "404", "500", "503"]),
        st.sampled_from("/xy"),
    ),
    st.integers(0, 10**12),
)


@settings(max_examples=50, deadline=None)
@given(COUNTS)
def test_totals_are_those_of_the_traffic(counts: dict[tuple[str, str, str, str], int]) -> None:
    document = json.document(replace(EMPTY, families=(numbers(catalogue.REQUESTS, dict(counts)),)))
    assert sum(counts.values()) == sum(app["requests"]["total"] for app in document["apps"].values())
    assert sum(count for labels, count in counts.items() if labels[2] >= "500") == sum(
        app["errors"]["total"] for app in document["apps"].values()
    )
