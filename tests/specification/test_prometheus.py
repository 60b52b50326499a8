"""The specification's rows on Prometheus that hold whatever the page's scopes and resource labels are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fresh import fresh

PROGRAM = """
import bext_otel
from opentelemetry import metrics
from opentelemetry.metrics import Observation
runs = bext_otel.configure()
meter = metrics.get_meter("shop")
meter.create_counter("shop.sold.things", "{thing}", "What was\\\\sold,\\nof all shelves").add(3, {"shop.shelf": "4"})
meter.create_counter("shop.moved", "m").add(2)
meter.create_counter("shop.speed", "m/s").add(2)
meter.create_counter("shop/odd-__name.total").add(1)
meter.create_up_down_counter("shop.left").add(-2, {"a.b": "x", "a_b": "y", "a/c d": "z"})
meter.create_gauge("shop.heat", "Cel").set(21.5)
meter.create_observable_gauge("shop.seen", [lambda _: [Observation(7)]])
meter.create_histogram("shop.size", "By", explicit_bucket_boundaries_advisory=[1.0, 5.0]).record(3)
metrics.get_meter("other").create_counter("shop.sold.things", "{thing}", "Something else").add(1, {"shop.shelf": "5"})
show([runs.endpoints.reply("GET", "/metrics", query, {}, trusted=True).body.decode() for query in ("", "format=openmetrics")])
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    shown, _ = fresh(PROGRAM, tmp_path_factory.mktemp("prometheus"))
    found: list[str] = shown
    return found


def samples(page: str, name: str) -> dict[str, float]:
    """Values by labels, scopes left out."""
    found = {}
    for line in page.splitlines():
        match = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)(?: .*)?", line)
        if match:
            labels = re.findall(r'(\w+)="([^"]*)"', match[1] or "")
            told = [f"{key}={value}" for key, value in labels if not key.startswith("otel_scope_")]
            found[",".join(told)] = float(match[2])
    return found


@pytest.mark.specification(
    "Exporters", "Prometheus: Name Sanitization", "Prometheus: Attributes Keys are Sanitized"
)
def test_characters_that_names_may_not_have_become_one_underscore(pages: list[str]) -> None:
    assert {"shop_shelf=4": 3.0}.items() <= samples(pages[0], "shop_sold_things_total").items()
    assert {"": 1.0} == samples(pages[0], "shop_odd_name_total")


@pytest.mark.specification("Exporters", "Prometheus: Colliding sanitized attribute keys are merged")
def test_keys_that_become_one_are_joined_in_the_order_of_their_own(pages: list[str]) -> None:
    assert {"a_b=x;y,a_c_d=z": -2.0} == samples(pages[0], "shop_left")


@pytest.mark.specification("Exporters", "Prometheus: HELP Metadata", "Prometheus: TYPE Metadata")
def test_each_family_has_its_help_and_its_type(pages: list[str]) -> None:
    lines = pages[0].splitlines()
    assert r"# HELP shop_sold_things_total What was\\sold,\nof all shelves" in lines
    types = (
        "shop_sold_things_total counter",
        "shop_left gauge",
        "shop_heat_celsius gauge",
        "shop_size_bytes histogram",
    )
    assert all(f"# TYPE {each}" in lines for each in types)


@pytest.mark.specification("Exporters", "Prometheus: Metadata Deduplication")
def test_one_name_from_two_scopes_has_its_comments_once(pages: list[str]) -> None:
    for page in pages:
        family = re.findall(r"^# (?:HELP|TYPE) shop_sold_things(?:_total)? ", page, re.MULTILINE)
        assert 2 == len(family)


@pytest.mark.specification(
    "Exporters",
    "Prometheus: Gauges become Prometheus Gauges",
    "Prometheus: Cumulative Monotonic Sums become Prometheus Counters",
    "Prometheus: Prometheus Counters have _total suffix by default",
    "Prometheus: Cumulative Non-Monotonic Sums become Prometheus Gauges",
    "Prometheus: Cumulative Histograms become Prometheus Histograms",
    "Prometheus: Unit Suffixes",
)
def test_each_kind_becomes_what_the_specification_says_with_its_unit_in_words(pages: list[str]) -> None:
    page = pages[0]
    assert {"": 2.0} == samples(page, "shop_moved_meters_total")
    assert {"": 2.0} == samples(page, "shop_speed_meters_per_second_total")
    assert {"": 21.5} == samples(page, "shop_heat_celsius")
    assert {"": 7.0} == samples(page, "shop_seen")
    assert {"le=1.0": 0.0, "le=5.0": 1.0, "le=+Inf": 1.0} == samples(page, "shop_size_bytes_bucket")
    assert ({"": 3.0}, {"": 1.0}) == (
        samples(page, "shop_size_bytes_sum"),
        samples(page, "shop_size_bytes_count"),
    )


LABELLED = """
import bext_otel
from opentelemetry import metrics, trace
runs = bext_otel.configure(resource={"shop.shelf": "4"}, metrics={"scope_labels": SCOPES})
meter = metrics.get_meter("shop.lib", "1.2", schema_url="https://schema/2", attributes={"team.name": "web"})
units = {"d": "By", "e": "KiBy", "f": "kBy", "g": "MBy", "h": "ms", "i": "m/s", "j": "%", "k": "{thing}", "l": "furlong"}
for name, unit in units.items():
    meter.create_gauge(f"unit.{name}", unit).set(2)
with trace.get_tracer("shop").start_as_current_span("work") as span:
    meter.create_counter("told.counter").add(1)
    meter.create_histogram("told.wait", explicit_bucket_boundaries_advisory=[1.0, 5.0]).record(3)
meter.create_observable_gauge("told.seen", [lambda _: [metrics.Observation(7)]])
context = span.get_span_context()
pages = [runs.endpoints.reply("GET", "/metrics", query, {}, trusted=True).body.decode() for query in ("", "format=openmetrics")]
show([f"{context.trace_id:032x}", f"{context.span_id:016x}", *pages])
"""


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    shown, _ = fresh(LABELLED.replace("SCOPES", "True"), tmp_path_factory.mktemp("labelled"))
    found: list[str] = shown
    return found


SCOPE_LABELS = (
    'otel_scope_name="shop.lib"',
    'otel_scope_version="1.2"',
    'otel_scope_schema_url="https://schema/2"',
    'otel_scope_team_name="web"',
)


@pytest.mark.specification(
    "Exporters",
    "Prometheus: otel_scope_name and otel_scope_version labels on all Metrics",
    "Prometheus: otel_scope_[attribute] labels on all Metrics",
)
def test_every_sample_of_a_meter_tells_its_scope(labelled: list[str]) -> None:
    for page in labelled[2:]:
        told = [line for line in page.splitlines() if line.startswith(("told_", "unit_"))]
        assert 9 + 1 + 5 + 1 == len(told)
        assert all(label in line for line in told for label in SCOPE_LABELS)


@pytest.mark.specification("Exporters", "Prometheus: otel_scope labels can be disabled")
def test_scopes_are_left_out_where_the_setting_says_so(tmp_path: Path) -> None:
    (_, _, text, openmetrics), _ = fresh(LABELLED.replace("SCOPES", "False"), tmp_path)
    for page in (text, openmetrics):
        assert {"": 1.0} == samples(page, "told_counter_total")
        assert "otel_scope_" not in page


@pytest.mark.specification("Exporters", "Prometheus: UNIT Metadata", "Prometheus: Unit Full Words")
def test_a_unit_is_told_in_full_words_where_the_format_has_a_place_for_it(labelled: list[str]) -> None:
    words = {
        "unit_d": "bytes",
        "unit_e": "kibibytes",
        "unit_f": "kilobytes",
        "unit_g": "megabytes",
        "unit_h": "milliseconds",
        "unit_i": "meters_per_second",
        "unit_j": "percent",
        "unit_l": "furlong",
    }
    told = [line for line in labelled[3].splitlines() if line.startswith("# UNIT unit_")]
    assert sorted(f"# UNIT {name}_{word} {word}" for name, word in words.items()) == sorted(told)
    assert "# TYPE unit_k gauge" in labelled[3].splitlines()


@pytest.mark.specification("Exporters", "Prometheus: Exemplars for Histograms and Monotonic sums")
def test_exemplars_stand_at_totals_and_buckets_with_their_span(labelled: list[str]) -> None:
    trace_id, span_id, _, page = labelled
    told = [line for line in page.splitlines() if line.startswith("told_") and " # " in line]
    ids = f'trace_id="{trace_id}",span_id="{span_id}"'
    assert ["told_counter_total", "told_wait_bucket"] == [line.partition("{")[0] for line in told]
    assert all(ids in line.partition(" # ")[2] for line in told)
    assert 'le="5.0"' in told[1]


@pytest.mark.specification("Exporters", "Prometheus: `target_info` metric from Resource")
def test_the_resource_is_one_series_with_all_its_attributes(labelled: list[str]) -> None:
    for page, declared in zip(labelled[2:], ("target_info gauge", "target info"), strict=True):
        (line,) = [each for each in page.splitlines() if each.startswith("target_info{")]
        assert line.endswith("} 1")
        assert f"# TYPE {declared}" in page.splitlines()
        for label in ('shop_shelf="4"', 'service_name="unknown_service:python"', "service_instance_id="):
            assert label in line


UNSUFFIXED = """
import bext_otel
from opentelemetry import metrics
runs = bext_otel.configure(metrics={"total_suffix": False})
meter = metrics.get_meter("shop")
meter.create_counter("shop.sold", "By").add(3)
meter.create_counter("shop.ratio", "1").add(2)
meter.create_counter("shop.grand.total").add(4)
show([runs.endpoints.reply("GET", "/metrics", query, {}, trusted=True).body.decode() for query in ("", "format=openmetrics")])
"""


@pytest.mark.specification("Exporters", "Prometheus: Prometheus Counters _total suffixing can be disabled")
def test_counters_keep_their_names_where_the_setting_says_so(tmp_path: Path) -> None:
    """One name in either format; OpenMetrics has no counter without the suffix."""
    shown, _ = fresh(UNSUFFIXED, tmp_path)
    for page, kind in zip(shown, ("counter", "unknown"), strict=True):
        assert f"# TYPE shop_sold_bytes {kind}" in page.splitlines()
        assert {"": 3.0} == samples(page, "shop_sold_bytes")
        assert {"": 2.0} == samples(page, "shop_ratio")
        assert {"": 4.0} == samples(page, "shop_grand_total")
