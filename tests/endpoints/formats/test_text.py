from __future__ import annotations

from dataclasses import replace
from math import inf, isnan, nan
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import parser
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser

from bext_otel import catalogue
from bext_otel.endpoints.formats import text
from bext_otel.metrics.snapshot import Exemplar, Family, Histogram, Numbers, Point, Series, Snapshot, Summary
from tests.endpoints.snapshots import EMPTY, EXEMPLAR, SPECIFICATION, family, numbers, other, summary

GOLDEN = Path(__file__).parents[2] / "golden"
LABELS = (("app", "a"),)


def parse(snapshot: Snapshot, *, openmetrics: bool) -> dict[str, Metric]:
    written = text.render(snapshot, openmetrics=openmetrics).decode()
    read = openmetrics_parser if openmetrics else parser
    return {metric.name: metric for metric in read.text_string_to_metric_families(written)}


def lines(*families: Family, openmetrics: bool = False) -> list[str]:
    return text.render(replace(EMPTY, families=families), openmetrics=openmetrics).decode().splitlines()


@pytest.mark.parametrize(("name", "openmetrics"), [("metrics.txt", False), ("metrics.openmetrics.txt", True)])
def test_text_is_as_agreed(name: str, openmetrics: bool) -> None:
    """The golden files under a fixed snapshot."""
    assert (GOLDEN / name).read_text() == text.render(SPECIFICATION, openmetrics=openmetrics).decode()


def test_lines_of_the_specification_stand_as_the_specification_writes_them() -> None:
    written = text.render(SPECIFICATION).decode().splitlines()
    assert 'bext_request_duration_ms{app="marketing",route="/about",quantile="0.5"} 2.1' in written
    assert 'bext_request_duration_ms{app="marketing",route="/about",quantile="0.99"} 48.3' in written
    assert 'bext_cache_hits_total{app="marketing",layer="isr"} 39842' in written
    assert 'bext_cache_misses_total{app="marketing",layer="isr"} 2689' in written


@pytest.mark.parametrize("openmetrics", [False, True])
def test_both_texts_satisfy_the_strict_parser(openmetrics: bool) -> None:
    read = parse(SPECIFICATION, openmetrics=openmetrics)
    durations = {
        tuple(sample.labels.items()): sample.value
        for sample in read["bext_request_duration_ms"].samples
        if sample.name.endswith("ms")
    }
    assert 48.3 == durations[("app", "marketing"), ("route", "/about"), ("quantile", "0.99")]
    assert isnan(durations[("app", "api"), ("route", "unmatched"), ("quantile", "0.5")])
    assert {"http_request_method", "url_scheme", "error_type"} <= read[
        "http_server_request_duration_seconds"
    ].samples[0].labels.keys()


@pytest.mark.specification("Beyond the rows", "Prometheus: TYPE and HELP of a name are said once")
def test_metadata_is_said_once_for_a_family() -> None:
    for openmetrics in (False, True):
        written = text.render(SPECIFICATION, openmetrics=openmetrics).decode().splitlines()
        said = [line.split(" ", 3)[:3] for line in written if line.startswith("# ") and line != "# EOF"]
        assert len(said) == len({tuple(one) for one in said})


@pytest.mark.parametrize("openmetrics", [False, True])
def test_what_has_no_description_has_its_name_for_one(openmetrics: bool) -> None:
    """An empty one is none to `promtool check metrics`, and none at all an error."""
    bare = replace(other("bare_total", "counter", [Point(Series(()), 1)]), description="")
    name = "bare" if openmetrics else "bare_total"
    assert [f"# HELP {name} {name}", f"# TYPE {name} counter"] == lines(bare, openmetrics=openmetrics)[:2]


def test_fuel_is_a_counter_in_0_0_4_and_unknown_in_openmetrics() -> None:
    fuel = numbers(catalogue.PLUGIN_FUEL_CONSUMED, {("analytics",): 5})
    assert "# TYPE bext_plugin_fuel_consumed counter" in lines(fuel)
    assert "# TYPE bext_plugin_fuel_consumed unknown" in lines(fuel, openmetrics=True)
    for openmetrics in (False, True):
        assert 'bext_plugin_fuel_consumed{plugin="analytics"} 5' in lines(fuel, openmetrics=openmetrics)


def test_a_counter_of_openmetrics_is_announced_without_total() -> None:
    assert [
        "# HELP bext_flow_failed Flow runs that failed.",
        "# TYPE bext_flow_failed counter",
        "bext_flow_failed_total 2",
        "# EOF",
    ] == lines(numbers(catalogue.FLOW_FAILED, {(): 2.0}), openmetrics=True)


def test_a_unit_is_told_where_the_name_ends_in_it() -> None:
    written = text.render(SPECIFICATION, openmetrics=True).decode().splitlines()
    assert [
        "# UNIT bext_request_duration_ms ms",
        "# UNIT http_server_request_duration_seconds seconds",
        "# UNIT bext_cache_bytes bytes",
        "# UNIT bext_isolate_memory_bytes bytes",
        "# UNIT bext_isolate_render_duration_ms ms",
        "# UNIT bext_plugin_duration_us us",
        "# UNIT queue_wait_seconds seconds",
    ] == [line for line in written if line.startswith("# UNIT")]


def test_counters_and_buckets_carry_exemplars_in_openmetrics_only() -> None:
    counter = family(catalogue.FLOW_FAILED, {(): 2}, exemplar=EXEMPLAR)
    buckets = other(
        "wait_seconds",
        "histogram",
        [Point(Series(LABELS), Histogram((1.0, 5.0), (1, 2, 3), 40.5, 6), EXEMPLAR)],
    )
    gauge = family(catalogue.FLOW_ACTIVE_RUNS, {(): 2}, exemplar=EXEMPLAR)
    ids = 'trace_id="4bf92f3577b34da6a3ce929d0e0e4736",span_id="00f067aa0ba902b7"'
    assert [
        f"bext_flow_failed_total 2 # {{{ids}}} 2.1 1774711798.500",
        f'wait_seconds_bucket{{app="a",le="5.0"}} 3 # {{{ids}}} 2.1 1774711798.500',
    ] == [line for line in lines(counter, buckets, gauge, openmetrics=True) if " # " in line]
    assert not [line for line in lines(counter, buckets, gauge) if " # " in line]
    assert (
        EXEMPLAR.trace_id
        == parse(replace(EMPTY, families=(counter,)), openmetrics=True)["bext_flow_failed"]
        .samples[0]
        .exemplar.labels["trace_id"]
    )


def test_columns_and_points_read_alike() -> None:
    points = [
        Point(Series((("app", str(number)),)), number / 2, EXEMPLAR if number == 3 else None)
        for number in range(5)
    ]
    columns = Numbers([point.series for point in points], [point.value for point in points], {3: EXEMPLAR})  # type: ignore[misc]
    for openmetrics in (False, True):
        assert lines(other("x_total", "counter", points), openmetrics=openmetrics) == lines(
            Family("x_total", "counter", "Another library's.", "", columns), openmetrics=openmetrics
        )


def test_values_changed_since_the_last_text_are_shown() -> None:
    one = Series(LABELS)
    assert ['x{app="a"} 1', 'x{app="a"} 2'] == [
        lines(other("x", "gauge", [Point(one, value)]))[-1] for value in (1, 2)
    ]


def test_a_series_may_serve_several_families() -> None:
    one = Series(LABELS)
    families = (
        other("x", "gauge", [Point(one, 1)]),
        other("y", "summary", [Point(one, Summary(1, 2.0, ((0.5, 3.0),)))]),
    )
    for _ in range(2):
        assert ['x{app="a"} 1', 'y{app="a",quantile="0.5"} 3', 'y_sum{app="a"} 2', 'y_count{app="a"} 1'] == [
            line for line in lines(*families) if not line.startswith("#")
        ]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1, "1"),
        (1.0, "1"),
        (0.1, "0.1"),
        (1e22, "1e+22"),
        (inf, "+Inf"),
        (-inf, "-Inf"),
        (nan, "NaN"),
        (-2.5, "-2.5"),
        (True, "1"),
    ],
)
def test_values_are_spelled_as_prometheus_spells_them(value: float, written: str) -> None:
    assert [f"x {written}", f"y {written}"] == [
        line
        for line in lines(
            other("x", "gauge", [Point(Series(()), value)]), other("y", "gauge", [Point(Series(()), value)])
        )
        if line[0] != "#"
    ]


def test_openmetrics_leaves_out_what_it_forbids() -> None:
    """NaN and negative counters, a sum of negative values; the rest of the family stays, and so does
    everything in 0.0.4."""
    counter = other(
        "c_total", "counter", [Point(Series((("n", str(value)),)), value) for value in (nan, -1.0, 3.0)]
    )
    buckets = other("h", "histogram", [Point(Series(()), Histogram((-1.0, 1.0), (1, 1, 0), -2.0, 2))])
    quantiles = other("s", "summary", [Point(Series(()), Summary(2, -4.0, ((0.5, -2.0), (0.9, nan))))])
    read = parse(replace(EMPTY, families=(counter, buckets, quantiles)), openmetrics=True)
    assert [3.0] == [sample.value for sample in read["c"].samples]
    assert [1, 2, 2] == [sample.value for sample in read["h"].samples]
    assert ["s", "s_count"] == [sample.name for sample in read["s"].samples]
    assert 3 == len(parse(replace(EMPTY, families=(counter,)), openmetrics=False)["c"].samples)


def test_series_that_are_written_alike_become_one() -> None:
    twins = [Series((("a.b", "x"),)), Series((("a_b", "x"),))]
    families = (
        other("c_total", "counter", [Point(twin, 2, EXEMPLAR) for twin in twins]),
        other("g", "gauge", [Point(twin, value) for twin, value in zip(twins, (5, 7), strict=True)]),
        other("h", "histogram", [Point(twin, Histogram((1.0,), (1, 2), 3.0, 3)) for twin in twins]),
        other(
            "s",
            "summary",
            [
                Point(twin, Summary(count, 3.0, ((0.5, count),)))
                for twin, count in zip(twins, (5, 2), strict=True)
            ],
        ),
    )
    for openmetrics in (False, True):
        read = parse(replace(EMPTY, families=families), openmetrics=openmetrics)
        assert [4] == [sample.value for sample in read["c"].samples]
        assert [7] == [sample.value for sample in read["g"].samples]
        assert [2, 6, 6.0, 6] == [sample.value for sample in read["h"].samples]
        assert [5, 6.0, 7] == [sample.value for sample in read["s"].samples]


def test_labels_in_another_order_are_the_same_series() -> None:
    """Also where their names are alike only when written; the declared order of the catalogue's own labels
    stays."""
    orders = [Series((("b", "x"), ("a.b", "y"), ("a", "z"))), Series((("a", "z"), ("b", "x"), ("a_b", "y")))]
    assert ['c_total{a="z",a_b="y",b="x"} 4'] == lines(
        other("c_total", "counter", [Point(one, 2) for one in orders])
    )[2:]
    sized = Histogram((), (3,), 1.0, 3)
    assert 'h_count{a="z",a_b="y",b="x"} 6' in lines(
        other("h", "histogram", [Point(one, sized) for one in orders])
    )
    assert 's_count{a="z",a_b="y",b="x"} 2' in lines(
        other("s", "summary", [Point(one, Summary(1, 1.0, ())) for one in orders])
    )
    assert 'bext_cache_hits_total{app="z",layer="a"} 1' in lines(
        numbers(catalogue.CACHE_HITS, {("z", "a"): 1})
    )


@pytest.mark.specification(
    "Beyond the rows",
    "Prometheus: an attribute that is called as a label of the format (`le`) breaks nothing",
)
def test_labels_of_the_format_itself_cannot_be_taken() -> None:
    point = Summary(1, 2.0, ((0.5, 3.0),))
    assert 's{exported_quantile="mine",quantile="0.5"} 3' in lines(
        other("s", "summary", [Point(Series((("quantile", "mine"),)), point)])
    )
    buckets = Histogram((1.0,), (1, 0), 1.0, 1)
    assert 'h_bucket{exported_le="mine",le="+Inf"} 1' in lines(
        other("h", "histogram", [Point(Series((("le", "mine"),)), buckets)])
    )


def test_families_of_one_name_become_one_and_other_clashes_are_left_out() -> None:
    families = (
        other("x", "gauge", [Point(Series((("from", "one"),)), 1)]),
        other("x", "gauge", [Point(Series((("from", "two"),)), 2)]),
        other("x", "counter", [Point(Series(()), 3)]),
        other("y", "summary", [Point(Series(()), Summary(1, 2.0, ()))]),
        other("y_count", "gauge", [Point(Series(()), 4)]),
        other("z", "gauge", [Point(Series(()), 5)]),
        other("z_total", "counter", [Point(Series(()), 6)]),
    )
    assert [
        "# x is left out: another family has its names",
        "# y_count is left out: another family has its names",
    ] == [line for line in lines(*families) if "left out" in line]
    for openmetrics in (False, True):
        written = lines(*families, openmetrics=openmetrics)
        assert ['x{from="one"} 1', 'x{from="two"} 2', "y_sum 2", "y_count 1", "z 5", "z_total 6"] == [
            line for line in written if line[0] != "#"
        ]
        parse(replace(EMPTY, families=families), openmetrics=openmetrics)


def test_a_description_may_hold_anything() -> None:
    awkward = replace(
        other("x", "gauge", [Point(Series(()), 1)]), description='back\\slash "quoted"\nnext \ud800'
    )
    assert '# HELP x back\\\\slash "quoted"\\nnext \N{REPLACEMENT CHARACTER}' == lines(awkward)[0]
    assert (
        '# HELP x back\\\\slash \\"quoted\\"\\nnext \N{REPLACEMENT CHARACTER}'
        == lines(awkward, openmetrics=True)[0]
    )


def test_the_resource_tells_the_service_and_no_secrets() -> None:
    assert (
        'target_info{service_name="bext",service_instance_id="1"} 1'
        in text.render(SPECIFICATION).decode().splitlines()
    )
    assert {"target"} <= parse(SPECIFICATION, openmetrics=True).keys()
    assert b"secret" not in text.render(SPECIFICATION)


def test_nothing_measured_is_an_empty_page() -> None:
    assert b"" == text.render(EMPTY)
    assert b"# EOF\n" == text.render(EMPTY, openmetrics=True)


ANY_TEXT = st.text(st.characters(), max_size=20)  # includes surrogates and NUL
ANY_VALUE = st.floats() | st.integers(-(10**20), 10**20)


def shown(value: str) -> str:
    """What a reader sees of a label value: what cannot be written is U+FFFD."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if char == "\0" or "\ud800" <= char <= "\udfff" else char
        for char in value
    )


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.tuples(ANY_TEXT, ANY_TEXT), ANY_VALUE, max_size=5), st.booleans())
def test_text_parses_back_to_the_same_samples_for_any_label_values(
    values: dict[tuple[str, str], float], openmetrics: bool
) -> None:
    points = [
        Point(Series((("app", app), ("route", route))), value) for (app, route), value in values.items()
    ]
    written = {}
    for (app, route), value in values.items():
        written[shown(app), shown(route)] = value
    samples = [
        sample
        for metric in parse(
            replace(EMPTY, families=(other("x", "gauge", points),)), openmetrics=openmetrics
        ).values()
        for sample in metric.samples
    ]
    read = {(sample.labels["app"], sample.labels["route"]): sample.value for sample in samples}
    assert written.keys() == read.keys()
    assert all(value == read[key] or (isnan(value) and isnan(read[key])) for key, value in written.items())


HISTOGRAMS = st.lists(st.integers(0, 10**6), min_size=4, max_size=4).map(
    lambda counts: Histogram((0.1, 1.0, 10.0), tuple(counts), 1.5, sum(counts))
)
SUMMARIES = st.builds(Summary, st.integers(0, 10**9), st.floats(0, 1e9), st.just(((0.5, nan), (0.99, 2.5))))
EXEMPLARS = st.none() | st.builds(
    Exemplar, st.floats(0, 10), st.floats(0, 2e9), ANY_TEXT | st.just("4bf9"), ANY_TEXT | st.just("00f0")
)


@st.composite
def any_families(draw: st.DrawFn) -> Family:
    kind = draw(st.sampled_from(["counter", "gauge", "summary", "histogram", "unknown"]))
    values = {"summary": SUMMARIES, "histogram": HISTOGRAMS}.get(kind, ANY_VALUE)
    labels = st.lists(
        st.tuples(ANY_TEXT | st.sampled_from(["le", "quantile", "__name__", "a.b", "a_b"]), ANY_TEXT),
        max_size=3,
    ).map(tuple)
    points = draw(st.lists(st.builds(Point, st.builds(Series, labels), values, EXEMPLARS), max_size=3))
    name = draw(ANY_TEXT | st.sampled_from(["x", "x_total", "x_count", "target_info", "target"]))
    return Family(name, kind, draw(ANY_TEXT), draw(st.sampled_from(["", "s", "total"])), points)


@settings(max_examples=100, deadline=None)
@given(st.lists(any_families(), max_size=4), st.booleans())
def test_no_family_can_break_the_page(families: list[Family], openmetrics: bool) -> None:
    """Any names, labels, descriptions, values and exemplars: the strict parser reads the page."""
    parse(replace(SPECIFICATION, families=tuple(families)), openmetrics=openmetrics)


def test_an_empty_window_is_nan() -> None:
    assert 'bext_deploy_duration_ms{app="a",quantile="0.5"} NaN' in lines(
        family(catalogue.DEPLOY_DURATION, {("a",): summary(3, 4.5)})
    )


def test_exemplars_of_the_applications_keep_all_labels_buckets_and_times() -> None:
    order = Exemplar(0.5, 1700000000.25, "", "", (("order", 'a"7'), ("trace_id", "ab")))
    undated = Exemplar(9.0, nan, "", "", (("order", "8"),))
    long = Exemplar(2.0, 1.0, "", "", (("order", "x" * 124),))
    buckets, exemplars = Histogram((1.0, 5.0), (1, 1, 1), 11.5, 3), ((0, order), (1, long), (2, undated))
    wait = other("wait_seconds", "histogram", [Point(Series(()), buckets, exemplars=exemplars)])
    written = text.render(replace(EMPTY, families=(wait,)), openmetrics=True).decode().splitlines()
    assert 'wait_seconds_bucket{le="1.0"} 1 # {order="a\\"7",trace_id="ab"} 0.5 1700000000.250' in written
    assert 'wait_seconds_bucket{le="5.0"} 2' in written, "of more than 128 characters OpenMetrics wants none"
    assert 'wait_seconds_bucket{le="+Inf"} 3 # {order="8"} 9' in written
    plain = other(
        "wait_seconds", "histogram", [Point(Series(()), buckets, exemplars=exemplars[1:])]
    )  # the parser knows no \\"
    assert {"order": "8"} == parse(replace(EMPTY, families=(plain,)), openmetrics=True)[
        "wait_seconds"
    ].samples[2].exemplar.labels
    assert b"order" not in text.render(replace(EMPTY, families=(wait,)))


def test_types_times_and_units_of_other_libraries_are_those_of_openmetrics() -> None:
    at = 1700000000.5
    shown_ = replace(
        EMPTY,
        families=(
            Family("build_info", "info", "B.", "", (Point(Series((("version", "1"),)), 1),)),
            Family("phase", "stateset", "P.", "", (Point(Series((("phase", "idle"),)), 1),)),
            Family("age_seconds", "unknown", "A.", "seconds", (Point(Series(()), 3, time_unix=at),)),
            Family(
                "sizes",
                "gaugehistogram",
                "S.",
                "",
                (Point(Series(()), Histogram((-1.0,), (2, 3), -9.0, 5), time_unix=at),),
            ),
            Family(
                "jobs_total",
                "counter",
                "J.",
                "",
                (Point(Series(()), 2, Exemplar(1.0, at, "", "", (("a", "b"),)), time_unix=at),),
            ),
        ),
    )
    read = parse(shown_, openmetrics=True)
    assert {
        "build": "info",
        "phase": "stateset",
        "age_seconds": "unknown",
        "sizes": "gaugehistogram",
        "jobs": "counter",
    } == {name: one.type for name, one in read.items()}
    assert "seconds" == read["age_seconds"].unit
    assert [("sizes_bucket", 2), ("sizes_bucket", 5), ("sizes_gsum", -9), ("sizes_gcount", 5)] == [
        (one.name, one.value) for one in read["sizes"].samples
    ]
    assert {at} == {
        float(sample.timestamp) for name in ("age_seconds", "sizes", "jobs") for sample in read[name].samples
    }
    plain = text.render(shown_).decode().splitlines()
    assert {
        "age_seconds 3 1700000000500",
        "sizes_gsum -9 1700000000500",
        'sizes_bucket{le="+Inf"} 5 1700000000500',
        'build_info{version="1"} 1',
    } <= set(plain)
    assert ["# TYPE build_info gauge", "# TYPE phase gauge", "# TYPE age_seconds untyped"] == [
        line for line in plain if line.startswith("# TYPE")
    ][:3]
    parse(shown_, openmetrics=False)
