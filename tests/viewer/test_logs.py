from __future__ import annotations

import pytest

from bext_otel.viewer.limits import Limits
from bext_otel.viewer.logs import Logs
from tests.viewer.otlp import line, lines


def test_the_newest_lines_stay_and_the_dropped_are_counted() -> None:
    held = Logs(Limits(logs=2))
    held.add(lines(line("one"), line("two"), line("three")))
    assert ["three", "two"] == [entry.message for entry in held.newest()]
    assert (3, 1) == (held.received, held.dropped)


def test_lines_are_bounded_by_size_too() -> None:
    held = Logs(Limits(log_bytes=4_000))
    held.add(lines(*(line("x" * 1_000) for _ in range(10))))
    assert 2 == len(held)
    assert held.size <= 4_000


@pytest.mark.parametrize(
    ("severity", "level"),
    [
        (0, ""),
        (1, "trace"),
        (5, "debug"),
        (8, "debug"),
        (9, "info"),
        (13, "warn"),
        (17, "error"),
        (24, "fatal"),
        (99, ""),
    ],
)
def test_levels_follow_the_severity_number(severity: int, level: str) -> None:
    held = Logs(Limits())
    held.add(lines(line("m", severity=severity)))
    assert level == next(held.newest()).level


def test_a_record_without_a_number_keeps_its_own_words() -> None:
    record = line("m", severity=0)
    record.severity_text = "NOTICE"
    held = Logs(Limits())
    held.add(lines(record))
    assert "notice" == next(held.newest()).level


def test_a_record_without_a_time_has_the_one_when_it_was_seen() -> None:
    record = line("m", time=0)
    record.observed_time_unix_nano = 77
    held = Logs(Limits())
    held.add(lines(record))
    assert 77 == next(held.newest()).time_ns
