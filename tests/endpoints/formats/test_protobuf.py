from __future__ import annotations

import math
from dataclasses import replace
from math import inf, isnan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bext_otel import catalogue
from bext_otel.apps import Budgets
from bext_otel.endpoints.formats import protobuf
from bext_otel.metrics.exponential import Buckets
from bext_otel.metrics.reader import SnapshotReader
from bext_otel.metrics.snapshot import (
    Distribution,
    Exemplar,
    Family,
    Histogram,
    Numbers,
    Point,
    Series,
    Snapshot,
    Summary,
)
from bext_otel.metrics.store.streams import Streams
from tests.endpoints.formats.test_text import any_families, shown
from tests.endpoints.protobufs import buckets, families, labels
from tests.endpoints.snapshots import EMPTY, EXEMPLAR, SPECIFICATION, family, numbers, other, summary

COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM = range(5)


def read(*which: Family) -> dict[str, object]:
    return {found.name: found for found in families(protobuf.render(replace(EMPTY, families=which)))}


def measured(*values: float) -> Snapshot:
    """What the pipeline hands out after these durations."""
    streams = Streams(Budgets({}))
    reading = SnapshotReader(streams, include_process=False)
    reading.stop()
    cell = streams.stream(catalogue.REQUEST_DURATION).cell({"app": "a", "route": "/"})
    for value in values:
        cell.add(value)
    return reading.snapshot()


def test_numbers_keep_their_types_names_and_labels() -> None:
    found = read(
        numbers(catalogue.CACHE_HITS, {("a", "isr"): 3, ("b", "isr"): 4.5}),
        numbers(catalogue.ISOLATE_COUNT, {("a",): 2}),
        other("odd", "unknown", [Point(Series(()), -1.5)]),
    )
    assert ["bext_cache_hits_total", "bext_isolate_count", "odd"] == list(found)
    hits = found["bext_cache_hits_total"]
    assert (COUNTER, catalogue.CACHE_HITS.description) == (hits.type, hits.help)
    assert [({"app": "a", "layer": "isr"}, 3.0), ({"app": "b", "layer": "isr"}, 4.5)] == [
        (labels(one), one.counter.value) for one in hits.metric
    ]
    assert (GAUGE, 2.0) == (
        found["bext_isolate_count"].type,
        found["bext_isolate_count"].metric[0].gauge.value,
    )
    assert (UNTYPED, -1.5) == (found["odd"].type, found["odd"].metric[0].untyped.value)


def test_values_changed_since_the_last_page_are_shown() -> None:
    one = Series((("app", "a"),))
    assert [1, 2] == [
        read(other("x", "gauge", [Point(one, value)]))["x"].metric[0].gauge.value for value in (1, 2)
    ]


def test_a_counter_carries_its_exemplar() -> None:
    found = (
        read(family(catalogue.FLOW_FAILED, {(): 2}, exemplar=EXEMPLAR))["bext_flow_failed_total"]
        .metric[0]
        .counter
    )
    assert {"trace_id": EXEMPLAR.trace_id, "span_id": EXEMPLAR.span_id} == labels(found.exemplar)
    assert (2.0, 2.1, 1774711798, 500_000_000) == (
        found.value,
        found.exemplar.value,
        found.exemplar.timestamp.seconds,
        found.exemplar.timestamp.nanos,
    )
    assert (
        not read(family(catalogue.FLOW_ACTIVE_RUNS, {(): 2}, exemplar=EXEMPLAR))["bext_flow_active_runs"]
        .metric[0]
        .HasField("counter")
    )


def test_explicit_buckets_are_classic_ones() -> None:
    point = Point(Series((("le", "mine"),)), Histogram((1.0, 5.0), (1, 2, 3), 40.5, 6), EXEMPLAR)
    found = read(other("wait_seconds", "histogram", [point]))["wait_seconds"]
    assert (HISTOGRAM, {"exported_le": "mine"}) == (found.type, labels(found.metric[0]))
    histogram = found.metric[0].histogram
    assert (6, 40.5) == (histogram.sample_count, histogram.sample_sum)
    assert [(1.0, 1, False), (5.0, 3, True), (inf, 6, False)] == [
        (one.upper_bound, one.cumulative_count, one.HasField("exemplar")) for one in histogram.bucket
    ]
    assert not histogram.HasField("schema")


def test_durations_are_native_histograms_whose_buckets_hold_the_values() -> None:
    """The bucket with index i holds what is above base ** (i - 1), up to base ** i (Prometheus'
    definition)."""
    values = [1.0, 2.0, 2.1, 48.3, 1000.0, 0.25]
    found = {one.name: one for one in families(protobuf.render(measured(*values, 0.0, 0.0)))}[
        "bext_request_duration_ms_native"
    ]
    assert (HISTOGRAM, {"app": "a", "route": "/"}) == (found.type, labels(found.metric[0]))
    histogram = found.metric[0].histogram
    assert (8, pytest.approx(sum(values)), 2, 2.0**-128) == (
        histogram.sample_count,
        histogram.sample_sum,
        histogram.zero_count,
        histogram.zero_threshold,
    )
    base = 2**2.0**-histogram.schema
    expected: dict[int, int] = {}
    for value in values:
        index = math.ceil(round(math.log(value, base), 9))
        expected[index] = expected.get(index, 0) + 1
    assert expected == buckets(histogram)
    assert not histogram.bucket


def test_what_the_text_shows_stays_beside_native_histograms() -> None:
    """Whoever negotiates them must not lose what dashboards and rules read."""
    snapshot = measured(1.0, 2.0, 3.0)
    found = {one.name: one for one in families(protobuf.render(snapshot))}
    classic = found["bext_request_duration_ms"].metric[0]
    assert (SUMMARY, {"app": "a", "route": "/"}) == (found["bext_request_duration_ms"].type, labels(classic))
    assert (3, 6.0) == (classic.summary.sample_count, classic.summary.sample_sum)
    assert [0.5, 0.9, 0.95, 0.99] == [one.quantile for one in classic.summary.quantile]
    assert 2.0 == pytest.approx(classic.summary.quantile[0].value, rel=0.01)
    rival = other("bext_request_duration_ms_native", "gauge", [Point(Series(()), 1)])
    clashing = families(protobuf.render(replace(snapshot, families=(*snapshot.families, rival))))
    assert ["bext_request_duration_ms", "bext_request_duration_ms_native"] == [
        one.name for one in clashing
    ], "whose the name is keeps it"
    assert GAUGE == clashing[1].type


def test_a_time_that_a_collector_gave_is_told() -> None:
    found = read(
        other("level", "gauge", [Point(Series(()), 2, time_unix=1.5)]),
        other("size", "summary", [Point(Series(()), Summary(1, 2.0, ()), time_unix=2.5)]),
    )
    assert (1500, 2.0) == (found["level"].metric[0].timestamp_ms, found["level"].metric[0].gauge.value)
    assert 2500 == found["size"].metric[0].timestamp_ms


def test_types_of_openmetrics_are_gauges() -> None:
    build = Family("build_info", "info", "", "", (Point(Series((("version", "1"),)), 1),))
    sizes = Family("sizes", "gaugehistogram", "", "", (Point(Series(()), Histogram((1.0,), (2, 3), 9.0, 5)),))
    found = read(build, sizes)
    assert {"build_info": GAUGE, "sizes_bucket": GAUGE, "sizes_gcount": GAUGE, "sizes_gsum": GAUGE} == {
        name: one.type for name, one in found.items()
    }
    assert [("1.0", 2), ("+Inf", 5)] == [
        (labels(one)["le"], one.gauge.value) for one in found["sizes_bucket"].metric
    ]


@given(st.lists(st.floats(0, 1e300) | st.integers(0, 10**6), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_a_native_histogram_counts_every_value(values: list[float]) -> None:
    """Whatever their range: Prometheus refuses histograms whose buckets don't sum up, and scales that it does
    not know."""
    histogram = families(protobuf.render(measured(*values)))[1].metric[0].histogram
    assert len(values) == histogram.sample_count == histogram.zero_count + sum(buckets(histogram).values())
    assert -4 <= histogram.schema <= 8
    assert all(
        2.0 ** (index * 2.0**-histogram.schema) > histogram.zero_threshold
        for index in buckets(histogram)
        if index < 0
    )


def test_values_below_the_threshold_are_zeros() -> None:
    life = Buckets.dense(0, -131, (1, 2, 4, 8, 16))  # bucket -129 is (2 ** -129, 2 ** -128]
    found = read(family(catalogue.DEPLOY_DURATION, {("a",): Distribution(63, 1.0, zeros=32, lives=(life,))}))
    histogram = found["bext_deploy_duration_ms_native"].metric[0].histogram
    assert (32 + 1 + 2 + 4, {-127: 8, -126: 16}) == (histogram.zero_count, buckets(histogram))


def test_no_value_yet_is_a_native_histogram_nevertheless() -> None:
    histogram = (
        read(family(catalogue.DEPLOY_DURATION, {("a",): Distribution()}))["bext_deploy_duration_ms_native"]
        .metric[0]
        .histogram
    )
    assert histogram.zero_threshold > 0, "which is how Prometheus tells"


def test_a_summary_without_buckets_stays_one() -> None:
    found = read(family(catalogue.DEPLOY_DURATION, {("a",): summary(3, 4.5, 1.0, 2.0, 3.0, 4.0)}))[
        "bext_deploy_duration_ms"
    ]
    assert (SUMMARY, 3, 4.5) == (
        found.type,
        found.metric[0].summary.sample_count,
        found.metric[0].summary.sample_sum,
    )
    assert [(0.5, 1.0), (0.9, 2.0), (0.95, 3.0), (0.99, 4.0)] == [
        (one.quantile, one.value) for one in found.metric[0].summary.quantile
    ]


def test_the_resource_tells_the_service_and_no_secrets() -> None:
    page = protobuf.render(SPECIFICATION)
    info = families(page)[0]
    assert ("target_info", {"service_name": "bext", "service_instance_id": "1"}) == (
        info.name,
        labels(info.metric[0]),
    )
    assert b"secret" not in page


def test_many_series_are_one_family_with_their_exemplars() -> None:
    points = Numbers(
        [Series((("n", str(number)),)) for number in range(2500)],
        list(range(2500)),
        {0: EXEMPLAR, 1999: EXEMPLAR},
    )
    (found,) = families(
        protobuf.render(replace(EMPTY, families=(Family("x_total", "counter", "", "", points),)))
    )
    assert [(str(number), number) for number in range(2500)] == [
        (labels(one)["n"], one.counter.value) for one in found.metric
    ]
    assert [0, 1999] == [
        number for number, one in enumerate(found.metric) if one.counter.HasField("exemplar")
    ]


def test_series_that_are_written_alike_become_one() -> None:
    twins = [Series((("b", "1"), ("a.b", "x"))), Series((("a_b", "x"), ("b", "1")))]
    found = read(
        other("c_total", "counter", [Point(twin, 2) for twin in twins]),
        other("h", "histogram", [Point(twin, Histogram((), (3,), 1.0, 3)) for twin in twins]),
    )
    assert [4] == [one.counter.value for one in found["c_total"].metric]
    assert 1 == len(found["h"].metric)


ANY_TEXT = st.text(st.characters(), max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.tuples(ANY_TEXT, ANY_TEXT), st.floats() | st.integers(-(10**400), 10**400), max_size=5)
)
def test_protobuf_reads_back_to_the_same_values_for_any_label_values(
    values: dict[tuple[str, str], float],
) -> None:
    points = [
        Point(Series((("app", app), ("route", route))), value) for (app, route), value in values.items()
    ]
    written = {}
    for (app, route), value in values.items():
        try:
            written[shown(app), shown(route)] = float(value)
        except OverflowError:
            written[shown(app), shown(route)] = inf if value > 0 else -inf
    metrics = [one for found in read(other("x", "gauge", points)).values() for one in found.metric]
    back = {(labels(one)["app"], labels(one)["route"]): one.gauge.value for one in metrics}
    assert written.keys() == back.keys()
    assert all(value == back[key] or (isnan(value) and isnan(back[key])) for key, value in written.items())


@settings(max_examples=100, deadline=None)
@given(st.lists(any_families(), max_size=4))
def test_no_family_can_break_the_page(given_families: list[Family]) -> None:
    """Any names, labels, descriptions, values and exemplars: Google's library reads the page, and no series
    is there twice."""
    for found in families(protobuf.render(replace(SPECIFICATION, families=tuple(given_families)))):
        assert len(found.metric) == len({tuple(sorted(labels(one).items())) for one in found.metric})


def test_an_exemplar_that_is_none_is_left_out() -> None:
    for exemplar in (
        Exemplar(1.0, math.nan, "ab", "cd"),
        Exemplar(math.nan, 1.0, "ab", "cd"),
        Exemplar(1.0, 1.0, "", "cd"),
    ):
        counter = (
            read(family(catalogue.FLOW_FAILED, {(): 2}, exemplar=exemplar))["bext_flow_failed_total"]
            .metric[0]
            .counter
        )
        assert not counter.HasField("exemplar")
