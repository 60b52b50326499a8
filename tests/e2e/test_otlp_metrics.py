"""Two workers push their metrics to a real collector: the same names and, added up, the same counts as on the
service's /metrics."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.backends import fetch, free_port, program, running
from tests.e2e.clocks import WallClock
from tests.e2e.launching import SOON, Launched, launched, samples
from tests.waiting import until

pytestmark = [pytest.mark.backends, pytest.mark.e2e]

REQUESTS = 40
SERVERS = {
    "uvicorn": "uvicorn fastapi_app:app --workers 2 --port {port}",
    "gunicorn": "gunicorn flask_app:app --workers 2 --bind 127.0.0.1:{port}",
}
ROUTES = {"uvicorn": "/shop/items/{item}", "gunicorn": "/shop/items/<item>"}
DELTA, CUMULATIVE = 1, 2


@dataclass(frozen=True)
class Collector:
    """A collector with one way in, and two out: its Prometheus exporter, and a file with every message as it
    came."""

    otlp: str
    prometheus: str
    file: Path

    def shown(self, name: str) -> dict[str, float]:
        """Samples of that name on its Prometheus exporter, by their labels."""
        page = samples(fetch(f"http://{self.prometheus}/metrics")[1].decode())
        return {
            sample.removeprefix(name): value
            for sample, value in page.items()
            if sample.partition("{")[0] == name
        }

    def messages(self, kind: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """(resource attributes, one metric, span or log record) of everything of that kind that came."""
        scopes, items = {
            "Metrics": ("scopeMetrics", "metrics"),
            "Spans": ("scopeSpans", "spans"),
            "Logs": ("scopeLogs", "logRecords"),
        }[kind]
        for line in self.file.read_text().splitlines() if self.file.exists() else ():
            try:
                message = json.loads(line)
            except ValueError:  # still being written
                continue
            for resource in message.get(f"resource{kind}", ()):
                attributes = {
                    pair["key"]: next(iter(pair["value"].values()), None)
                    for pair in resource["resource"]["attributes"]
                }
                for scope in resource[scopes]:
                    for item in scope[items]:
                        yield attributes, item

    def histograms(self, name: str) -> list[tuple[str, int, dict[str, Any]]]:
        """(service.instance.id, temporality, data point) of every exponential histogram of that name."""
        return [
            (
                str(resource["service.instance.id"]),
                metric["exponentialHistogram"]["aggregationTemporality"],
                point,
            )
            for resource, metric in self.messages("Metrics")
            if metric["name"] == name
            for point in metric["exponentialHistogram"]["dataPoints"]
        ]


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    otlp, prometheus, health = (f"127.0.0.1:{free_port()}" for _ in range(3))
    file = tmp_path / "came.json"
    everything = {"receivers": ["otlp"], "exporters": ["file"]}
    config = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": otlp}}}},
        "exporters": {
            "prometheus": {
                "endpoint": prometheus,
                "translation_strategy": "UnderscoreEscapingWithoutSuffixes",
                "without_scope_info": True,
            },
            "file": {"path": str(file), "flush_interval": "100ms"},
        },
        "extensions": {"health_check": {"endpoint": health}},
        "service": {
            "extensions": ["health_check"],
            "pipelines": {
                "metrics": {**everything, "exporters": ["prometheus", "file"]},
                "traces": everything,
                "logs": everything,
            },
            "telemetry": {"metrics": {"level": "none"}},
        },
    }
    (tmp_path / "collector.yaml").write_text(yaml.safe_dump(config))
    argv = [program("collector"), "--config", str(tmp_path / "collector.yaml")]
    with running(argv, ready=f"http://{health}/", log=tmp_path / "collector.log"):
        yield Collector(f"http://{otlp}", prometheus, file)


@contextmanager
def pushing(
    folder: Path, server: str, collector: Collector, preference: str, **more: str
) -> Iterator[Launched]:
    env = {
        **SOON,
        **more,
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=shop-1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp,
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": preference,
    }
    with launched(folder / "app", SERVERS[server], env=env) as app:
        yield app


def requested(app: Launched) -> Counter[int]:
    """Requests answered, by the process that did: some of each."""
    answered: Counter[int] = Counter()
    while answered.total() < REQUESTS or len(answered) < 2:
        assert answered.total() < 50 * REQUESTS, f"one worker answers everything: {answered}"
        answered[app.get("/shop/items/7").json()["pid"]] += 1
    return answered


def by_instance(shown: dict[str, float], route: str) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for labels, value in shown.items():
        if f'route="{route}"' in labels and (instance := re.search(r'instance="([^"]*)"', labels)):
            found[instance[1]] += value
    return dict(found)


def on_the_page(app: Launched, route: str) -> float:
    return sum(
        value
        for sample, value in app.metrics().items()
        if sample.startswith("bext_requests_total{") and route in sample
    )


@pytest.mark.parametrize(
    ("server", "preference"), [("uvicorn", "cumulative"), ("gunicorn", "delta"), ("uvicorn", "lowmemory")]
)
def test_counts_of_the_workers_add_up_to_what_was_requested(
    server: str, preference: str, collector: Collector, tmp_path: Path
) -> None:
    route = ROUTES[server]
    with pushing(tmp_path, server, collector, preference) as app:
        answered: Counter[int] = Counter()
        # Twice, with a rest between: a series that has begun again must not be taken for another one.
        for _ in range(2):
            answered += requested(app)
            assert_the_collector_shows(collector, answered, route)
        # Workers tell each other once a second.
        until(
            lambda: answered.total() == on_the_page(app, route), why="/metrics of the service shows the same"
        )
        assert_histograms_hold_every_request(collector, answered, route, preference)
        assert_one_id_for_each_process(collector, answered)
        assert_exemplars_are_of_spans_that_came(collector)


@pytest.mark.parametrize("preference", ["cumulative", "delta"])
def test_a_clock_that_jumps_back_an_hour_loses_nothing_at_the_collector(
    preference: str, collector: Collector, tmp_path: Path
) -> None:
    """Whose Prometheus exporter drops a point that is older than the last one of its series."""
    clock = WallClock(tmp_path)
    with pushing(tmp_path, "gunicorn", collector, preference, **clock.env) as app:
        answered = requested(app)
        assert_the_collector_shows(collector, answered, ROUTES["gunicorn"])
        clock.turn(-3600)
        answered += requested(app)
        assert_the_collector_shows(collector, answered, ROUTES["gunicorn"])


def assert_the_collector_shows(collector: Collector, answered: Counter[int], route: str) -> None:
    expected = sorted(answered.values())
    for name in ("bext_requests_total", "http_server_request_duration_count"):
        found: dict[str, float] = {}

        def agrees(name: str = name, found: dict[str, float] = found) -> bool:
            found.update(by_instance(collector.shown(name), route))
            return sorted(found.values()) == expected

        until(agrees, why=f"{name} of two workers that answered {expected}, in {collector.file}")
        assert all(instance.startswith("shop-1-") for instance in found), found


def assert_histograms_hold_every_request(
    collector: Collector, answered: Counter[int], route: str, preference: str
) -> None:
    """Deltas are all added up; of totals the last one of each instance is."""
    counts: dict[str, int] = defaultdict(int)
    intervals: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for instance, temporality, point in collector.histograms("bext_request_duration_ms"):
        labels = {pair["key"]: pair["value"]["stringValue"] for pair in point["attributes"]}
        if labels["route"] != route:
            continue
        assert temporality == (CUMULATIVE if preference == "cumulative" else DELTA)
        count = int(point["count"])
        counts[instance] = count if temporality == CUMULATIVE else counts[instance] + count
        intervals[instance].append((int(point["startTimeUnixNano"]), int(point["timeUnixNano"])))
    assert sorted(answered.values()) == sorted(counts.values())
    for spans in intervals.values():
        assert all(start <= end for start, end in spans)
        if preference != "cumulative":
            assert all(end <= start for (_, end), (start, _) in pairwise(spans)), spans


def assert_one_id_for_each_process(collector: Collector, answered: Counter[int]) -> None:
    """Traces, metrics and logs of a process speak of the same instance."""
    ids: dict[str, dict[int, set[str]]] = {}
    for kind in ("Metrics", "Spans", "Logs"):
        held: dict[int, set[str]] = defaultdict(set)
        for resource, _ in collector.messages(kind):
            if int(resource["process.pid"]) in answered:
                held[int(resource["process.pid"])].add(str(resource["service.instance.id"]))
        ids[kind] = dict(held)
    assert set(answered) == set(ids["Metrics"])
    assert all(1 == len(held) for held in ids["Metrics"].values())
    assert ids["Metrics"] == ids["Spans"] == ids["Logs"]


def assert_exemplars_are_of_spans_that_came(collector: Collector) -> None:
    """By trace and span, of a counter, a histogram and an exponential histogram."""

    def spans() -> set[tuple[str, str]]:
        return {(span["traceId"], span["spanId"]) for _, span in collector.messages("Spans")}

    for name, kind in (
        ("bext_requests_total", "sum"),
        ("http.server.request.duration", "histogram"),
        ("bext_request_duration_ms", "exponentialHistogram"),
    ):
        points = [
            point
            for _, metric in collector.messages("Metrics")
            if metric["name"] == name
            for point in metric[kind]["dataPoints"]
        ]
        exemplars = [exemplar for point in points for exemplar in point.get("exemplars", ())]
        assert exemplars, name
        told = {(exemplar["traceId"], exemplar["spanId"]) for exemplar in exemplars}
        until(lambda told=told: told <= spans(), why=f"the spans of {name}'s exemplars")
        assert all(
            int(exemplar["timeUnixNano"]) > 0 and {"asDouble", "asInt"} & exemplar.keys()
            for exemplar in exemplars
        ), name
