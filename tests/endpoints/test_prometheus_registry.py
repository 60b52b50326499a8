from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import prometheus_client
import pytest
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as plain

from bext_otel import catalogue
from bext_otel.endpoints.prometheus_registry import expose
from bext_otel.metrics.snapshot import Point, Series, Snapshot
from bext_otel.metrics.third_party import name_conflicts as rivals
from bext_otel.metrics.third_party.prometheus_client import registered
from bext_otel.once import Once
from tests.endpoints.snapshots import EMPTY, EXEMPLAR, SPECIFICATION, family, numbers, other


@pytest.fixture
def exposed() -> Iterator[Callable[[Callable[[], Snapshot]], None]]:
    """Exposes a reading until the end of the test."""
    closings = []
    registered()  # what other tests had in the registry is no longer there
    yield lambda read: closings.append(expose(read))
    for close in closings:
        close()


@pytest.fixture(autouse=True)
def nothing_was_told_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "_once", Once(1000))


def page() -> dict[str, list[tuple[dict[str, str], float]]]:
    text = prometheus_client.generate_latest(REGISTRY).decode()
    return {
        metric.name: [(sample.labels, sample.value) for sample in metric.samples] for metric in plain(text)
    }


def test_ours_are_in_the_registry(exposed: Callable[..., None]) -> None:
    exposed(lambda: SPECIFICATION)
    shown = page()
    assert ({"app": "marketing", "layer": "isr"}, 39842.0) in shown["bext_cache_hits"]
    assert ({"app": "marketing", "route": "/about", "quantile": "0.99"}, 48.3) in shown[
        "bext_request_duration_ms"
    ]
    assert [({"plugin": "analytics"}, 123456789)] == shown["bext_plugin_fuel_consumed"]
    assert "http_server_request_duration_seconds" in shown
    assert "python_info" in shown


def test_its_openmetrics_passes_the_strict_parser_with_our_exemplars(exposed: Callable[..., None]) -> None:
    exposed(
        lambda: replace(
            SPECIFICATION,
            families=(family(catalogue.FLOW_FAILED, {(): 2}, exemplar=EXEMPLAR), *SPECIFICATION.families),
        )
    )
    read = {
        metric.name: metric
        for metric in text_string_to_metric_families(generate_openmetrics(REGISTRY).decode())
    }
    assert EXEMPLAR.trace_id == read["bext_flow_failed"].samples[0].exemplar.labels["trace_id"]
    empty = [
        sample.value
        for sample in read["bext_request_duration_ms"].samples
        if sample.labels.get("app") == "api"
    ]
    assert any(math.isnan(value) for value in empty)


def test_nothing_is_there_twice_and_nothing_goes_round_in_circles(exposed: Callable[..., None]) -> None:
    """A snapshot that reads the registry, in which our collector takes a snapshot."""
    reads = []

    def read() -> Snapshot:
        reads.append(1)
        return replace(EMPTY, families=(numbers(catalogue.FLOW_FAILED, {(): 2}), *registered()))

    jobs = prometheus_client.Counter("round_jobs", "Jobs.")
    jobs.inc()
    try:
        exposed(read)
        text = prometheus_client.generate_latest(REGISTRY).decode()
        assert [1] == reads
        assert 1 == text.count("\nround_jobs_total 1.0") == text.count("\nbext_flow_failed_total 2.0")
        assert not [one for one in registered() if one.name.startswith("bext_")]
    finally:
        REGISTRY.unregister(jobs)


def test_a_name_that_the_registry_has_already_is_left_to_it(exposed: Callable[..., None]) -> None:
    rival = prometheus_client.Counter("bext_flow_failed", "A rival.")
    try:
        registered()
        exposed(
            lambda: replace(
                EMPTY,
                families=(
                    numbers(catalogue.FLOW_FAILED, {(): 2}),
                    numbers(catalogue.FLOW_COMPLETED, {(): 3}),
                ),
            )
        )
        assert ([({}, 0.0)], [({}, 3.0)]) == (
            [sample for sample in page()["bext_flow_failed"] if not sample[0]],
            page()["bext_flow_completed"],
        )
    finally:
        REGISTRY.unregister(rival)
        registered()


def test_a_name_that_would_stand_inside_ours_leaves_ours_out_and_says_so_once(
    exposed: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """A summary has also the names that end in `_count` and `_sum`; the strict parser takes them for a
    clash."""
    rival = prometheus_client.Gauge("bext_request_duration_ms_count", "A rival.")
    try:
        exposed(lambda: replace(SPECIFICATION, families=(*SPECIFICATION.families, *registered())))
        for _ in range(2):
            read = {
                one.name: one
                for one in text_string_to_metric_families(generate_openmetrics(REGISTRY).decode())
            }
        assert "bext_request_duration_ms" not in read
        assert "gauge" == read["bext_request_duration_ms_count"].type
        assert "bext_cache_hits" in read
        assert [
            (
                "metric bext_request_duration_ms is left out of prometheus_client's registry, "
                "since one that shows bext_request_duration_ms_count has its name there: rename one of the "
                "two"
            )
        ] == [message for message in caplog.messages if "registry" in message]
    finally:
        REGISTRY.unregister(rival)
        registered()


@pytest.mark.parametrize("kind", ["Histogram", "Summary", "Info", "Counter"])
def test_names_that_only_the_registry_s_own_samples_have_are_left_to_it(
    exposed: Callable[..., None], kind: str
) -> None:
    rival = getattr(prometheus_client, kind)("rival", "A rival.")
    names = {
        "Histogram": "rival_bucket",
        "Summary": "rival_sum",
        "Info": "rival_info",
        "Counter": "rival_created",
    }
    try:
        registered()
        exposed(lambda: replace(EMPTY, families=(other(names[kind], "gauge", [Point(Series(()), 1)]),)))
        list(text_string_to_metric_families(generate_openmetrics(REGISTRY).decode()))
    finally:
        REGISTRY.unregister(rival)
        registered()


def test_what_has_no_description_has_its_name_for_one(exposed: Callable[..., None]) -> None:
    exposed(
        lambda: replace(
            EMPTY, families=(replace(other("bare", "gauge", [Point(Series(()), 1)]), description=""),)
        )
    )
    assert "# HELP bare bare\n" in prometheus_client.generate_latest(REGISTRY).decode()


def test_series_that_are_written_alike_are_told_once(exposed: Callable[..., None]) -> None:
    twins = [Point(Series((("a.b", "x"),)), 1), Point(Series((("a_b", "x"),)), 2)]
    exposed(lambda: replace(EMPTY, families=(other("twin", "gauge", twins),)))
    assert [({"a_b": "x"}, 1.0)] == page()["twin"]


def test_a_reading_that_fails_leaves_the_applications_page_alone(
    exposed: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Snapshot:
        raise RuntimeError("no")

    exposed(broken)
    assert "python_info" in page()
    assert "our metrics are left out of prometheus_client's registry: RuntimeError('no')" in caplog.messages


def test_closed_it_is_gone_also_if_the_application_has_cleared_its_registry() -> None:
    close = expose(lambda: SPECIFICATION)
    assert "bext_cache_hits" in page()
    close()
    close()
    assert "bext_cache_hits" not in page()
    close = expose(lambda: SPECIFICATION)
    (mine,) = [
        one
        for one in REGISTRY._collector_to_names
        if type(one).__module__ == "bext_otel.endpoints.prometheus_registry"
    ]
    REGISTRY.unregister(mine)
    close()
