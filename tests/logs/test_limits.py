"""What is too long for a line: cut, with its length beside it, and never longer than it may be."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bext_otel.logs.formats import json_line, pretty_line
from bext_otel.logs.limits import MAX_FIELD_BYTES, MAX_LINE_BYTES
from tests.logs.conftest import Start
from tests.logs.test_formats import SPAN, record


def line_of(*args: Any, max_bytes: int = MAX_LINE_BYTES, **more: Any) -> dict[str, Any]:
    written = json_line(record(*args, **more), max_bytes=max_bytes)
    assert len(written) <= max_bytes
    read: dict[str, Any] = msgspec.json.decode(written)
    return read


def test_a_message_of_16_kib_is_whole_and_a_longer_one_is_cut_with_its_length_beside() -> None:
    whole, cut = line_of("x" * MAX_FIELD_BYTES), line_of("x" * 1_000_000)
    assert ("x" * MAX_FIELD_BYTES, False) == (whole["message"], "message.length" in whole)
    assert ("x" * MAX_FIELD_BYTES, 1_000_000) == (cut["message"], cut["message.length"])


def test_a_stack_trace_keeps_its_end_and_a_field_its_beginning() -> None:
    line = line_of("m", {"exception.stacktrace": "a" * 20_000 + "end", "note": "begin" + "b" * 20_000})
    assert line["exception.stacktrace"].endswith("end")
    assert line["note"].startswith("begin")
    assert (20_003, 20_005) == (line["exception.stacktrace.length"], line["note.length"])


def test_what_has_more_than_one_byte_a_character_is_cut_between_characters() -> None:
    line = line_of("é" * 10_000)
    assert ("é" * (MAX_FIELD_BYTES // 2), 10_000) == (line["message"], line["message.length"])


def test_a_list_that_is_too_long_becomes_its_text() -> None:
    line = line_of("m", {"listed": ["y" * 1000] * 100})
    assert line["listed"].startswith('["yyy')
    assert MAX_FIELD_BYTES == len(line["listed"])
    assert 100_000 < line["listed.length"]


def test_a_length_that_is_known_already_stays() -> None:
    """An exception's text has been cut before it got here."""
    line = line_of("m", {"exception.stacktrace": "s" * 32_768, "exception.stacktrace.length": 90_000})
    assert 90_000 == line["exception.stacktrace.length"]


def test_fields_that_have_no_room_are_counted_and_the_ids_stay() -> None:
    line = line_of("m" * 20_000, {f"field{number}": "z" * 10_000 for number in range(20)}, context=SPAN)
    assert {"timestamp", "level", "target", "message", "trace_id", "span_id", "field0"} <= line.keys()
    shown = sum(name.startswith("field") and name[5:].isdigit() for name in line)
    assert 20 == shown + line["fields_dropped"]


def test_a_name_that_is_too_long_is_left_out() -> None:
    assert 1 == line_of("m", {"n" * 100_000: 1})["fields_dropped"]


hostile = st.text(st.characters(), max_size=40).flatmap(
    lambda text: st.sampled_from([1, 100, 5_000, 30_000]).map(lambda times: text * times)
)


@given(
    hostile,
    st.dictionaries(
        st.text(st.characters(), min_size=1, max_size=5),
        hostile | st.lists(hostile, max_size=3) | st.integers(),
        max_size=4,
    ),
    st.sampled_from([4096, 16_384, MAX_LINE_BYTES]),
)
@settings(max_examples=60, deadline=None)
def test_no_line_is_longer_than_it_may_be(body: str, fields: dict[str, Any], max_bytes: int) -> None:
    """Whatever escapes make of it."""
    made = record(body, fields, context=SPAN)
    line = json_line(made, max_bytes=max_bytes)
    assert len(line) <= max_bytes
    assert "00000000000000000000abc123def456" == msgspec.json.decode(line)["trace_id"]
    assert len(pretty_line(made, max_bytes=max_bytes)) <= max_bytes


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_the_setting_holds(start: Start, capsys: pytest.CaptureFixture[str], form: str) -> None:
    start(format=form, max_line_kb=4)
    logging.getLogger("shop").info("x" * 100_000, extra={"note": "y" * 100_000})
    out = capsys.readouterr().out
    assert 0 < len(out.encode()) <= 4096
    assert "x" * 100 in out
