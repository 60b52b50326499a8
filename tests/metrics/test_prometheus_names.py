"""The standard translation of names and units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.prometheus import _mapping

from bext_otel.metrics.prometheus_names import prometheus_name, unit_word


@pytest.mark.parametrize(
    ("name", "unit", "counter", "expected"),
    [
        ("http.server.active_requests", "{request}", False, "http_server_active_requests"),
        ("process.cpu.time", "s", True, "process_cpu_time_seconds_total"),
        ("memory.used", "By", False, "memory_used_bytes"),
        ("cache.hit.ratio", "1", False, "cache_hit_ratio"),
        ("speed", "m/s", False, "speed_meters_per_second"),
        ("1st.thing", "", False, "_st_thing"),
    ],
)
def test_the_standard_translation_to_prometheus(name: str, unit: str, counter: bool, expected: str) -> None:
    assert expected == prometheus_name(name, unit, counter=counter)


def test_a_unit_has_a_word_in_prometheus() -> None:
    units = ("s", "By", "{job}", "", "kBy", "kBy/s")
    words = ["seconds", "bytes", "", "", "kilobytes", "kilobytes_per_second"]
    assert words == list(map(unit_word, units))


@given(st.one_of(st.text(max_size=12), st.from_regex(r"[a-zA-Z]{1,4}(/[a-z]{1,3})?", fullmatch=True)))
def test_a_unit_reads_as_upstream_s_exporter_has_it(unit: str) -> None:
    """But for UCUM's kilo."""
    if unit != "kBy":
        assert _mapping.map_unit(unit) == unit_word(unit)


@given(st.text(max_size=12))
def test_a_name_reads_as_upstream_s_exporter_has_it(name: str) -> None:
    assert _mapping.sanitize_full_name(name) == prometheus_name(name, "", counter=False)
