from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordLimits, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context

from bext_otel.export.record import Record, record_of
from bext_otel.logs.formats import json_line, pretty_line

NANOSECONDS = 1_774_711_842_123_999_999
SPAN = set_span_in_context(NonRecordingSpan(SpanContext(0xABC123DEF456, 0x789, is_remote=False)), Context())


def record(
    body: Any = "request completed",
    attributes: dict[str, Any] | None = None,
    context: Context | None = None,
    **log: Any,
) -> Record:
    made = LogRecord(
        **{"timestamp": NANOSECONDS, "severity_number": SeverityNumber.INFO, **log},
        body=body,
        attributes=attributes or {},
        context=context,
    )
    found = record_of(
        ReadWriteLogRecord(made, Resource({}), InstrumentationScope("bext.request"), LogRecordLimits())
    )
    found.app = found.attributes.pop("app", None)
    return found


def test_the_line_is_the_specification_s() -> None:
    attributes = {
        "app": "marketing",
        "method": "GET",
        "path": "/about",
        "status": 200,
        "duration_ms": 2.1,
        "cache": "hit",
    }
    expected = (
        b'{"timestamp":"2026-03-28T15:30:42.123Z","level":"info","target":"bext.request","message":"request '
        b'completed",'
        b'"app":"marketing","method":"GET","path":"/about","status":200,"duration_ms":2.1,"cache":"hit",'
        b'"trace_id":"00000000000000000000abc123def456","span_id":"0000000000000789"}\n'
    )
    assert expected == json_line(record(attributes=attributes, context=SPAN))


def test_the_app_stands_before_the_other_fields_and_no_trace_leaves_no_ids() -> None:
    line = msgspec.json.decode(json_line(record(attributes={"status": 200, "app": "api"})))
    assert ["timestamp", "level", "target", "message", "app", "status"] == list(line)


def test_fields_cannot_take_the_place_of_fixed_keys() -> None:
    fields = {
        "timestamp": 1,
        "level": 2,
        "target": 3,
        "message": 4,
        "trace_id": 5,
        "span_id": 6,
        "fields.level": 7,
    }
    line = msgspec.json.decode(json_line(record(attributes=fields, context=SPAN)))
    assert ("info", "request completed", "00000000000000000000abc123def456") == (
        line["level"],
        line["message"],
        line["trace_id"],
    )
    assert {1, 2, 3, 4, 5, 6, 7} <= {value for value in line.values() if isinstance(value, int)}


def test_a_moment_outside_the_calendar_becomes_now() -> None:
    line = msgspec.json.decode(json_line(record(timestamp=10**30)))
    assert line["timestamp"].startswith("20")


def test_an_event_without_a_body_is_called_by_its_name() -> None:
    assert "deploy" == msgspec.json.decode(json_line(record(body=None, event_name="deploy")))["message"]


def test_a_body_with_a_structure_stays_one() -> None:
    assert {"a": [1, 2]} == msgspec.json.decode(json_line(record(body={"a": [1, 2]})))["message"]


@given(
    st.text(st.characters()),
    st.dictionaries(
        st.text(st.characters(), min_size=1), st.text(st.characters()) | st.floats() | st.integers()
    ),
)
def test_whatever_a_record_holds_the_line_is_one_line_of_json(body: str, fields: dict[str, Any]) -> None:
    """Also for records that other libraries emit, which never went through our cleaning."""
    line = json_line(record(body=body, attributes=fields))
    assert 1 == line.count(b"\n")
    msgspec.json.decode(line)


@given(
    st.text(st.characters()), st.dictionaries(st.text(st.characters(), min_size=1), st.text(st.characters()))
)
def test_a_pretty_line_can_neither_break_nor_move_the_cursor(body: str, fields: dict[str, str]) -> None:
    line = pretty_line(record(body=body, attributes=fields)).decode()
    assert 1 == len(line.splitlines())
    assert "\x1b" not in line


UNSEEN = "\u061c\u200e\u200f\x7f\x80\x85\x9f\u2028\u2029\u202a\u202e\u2066\u2069"


def test_what_moves_the_cursor_or_turns_text_around_is_escaped() -> None:
    made = record(f"a{UNSEEN}b", {f"n{UNSEEN}": f"v{UNSEEN}é"})
    line = json_line(made).decode()
    assert [] == [
        character for character in UNSEEN if character in line or character in pretty_line(made).decode()
    ]
    read = msgspec.json.decode(line)
    assert (f"a{UNSEEN}b", f"v{UNSEEN}é") == (read["message"], read[f"n{UNSEEN}"])
    assert "é" in line


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("user", 'x" admin="true', r'user="x\" admin=\"true"'),
        ("user", "x admin=true", 'user="x admin=true"'),
        ("user", 'x\\" admin=true', r'user="x\\\" admin=true"'),
        ("user", "x\\", r'user="x\\"'),
        ("user", "", 'user=""'),
        ("x admin", "true", '"x admin"=true'),
        ('"', "true", r'"\""=true'),
    ],
)
def test_a_value_can_t_end_its_quotes(name: str, value: str, expected: str) -> None:
    """A user's text must not look like another field."""
    assert pretty_line(record("hi", {name: value})).decode().endswith(f" bext.request: hi {expected}\n")


def test_a_pretty_line_reads_well() -> None:
    expected = '2026-03-28T15:30:42.123Z WARN  bext.request: slow app=api path=/a text="two words"\n'
    attributes = {"app": "api", "path": "/a", "text": "two words"}
    assert expected == pretty_line(record("slow", attributes, severity_number=SeverityNumber.WARN)).decode()


def test_a_pretty_line_shows_the_stack_trace_below() -> None:
    attributes = {"exception.type": "KeyError", "exception.stacktrace": "Traceback:\n  here\n"}
    assert ["    Traceback:", "      here"] == pretty_line(record("boom", attributes)).decode().splitlines()[
        1:
    ]


@pytest.mark.parametrize(
    "level", [SeverityNumber.TRACE, SeverityNumber.DEBUG, SeverityNumber.INFO, SeverityNumber.ERROR, None]
)
def test_color_is_around_the_level_only(level: SeverityNumber | None) -> None:
    colored = pretty_line(record(severity_number=level), color=True).decode()
    plain = pretty_line(record(severity_number=level)).decode()
    assert 2 == colored.count("\x1b[")
    assert len(plain) + len("\x1b[31m\x1b[0m") == len(colored)


@pytest.mark.parametrize("cache", [(), ("cache",)])
@pytest.mark.parametrize(
    ("bound", "after"),
    [
        ((), []),
        (("tenant", "code"), ["tenant", "code"]),
        (("tenant", "code.line.number"), ["code.line.number", "tenant"]),
        (("tenant", "error_type"), ["error_type", "tenant"]),
        (("timestamp", "tenant"), ["fields.timestamp", "tenant"]),
    ],
)
def test_a_request_s_own_keys_come_first_then_ids_and_at_last_what_was_bound_to_it(
    cache: tuple[str, ...], bound: tuple[str, ...], after: list[str]
) -> None:
    told = ("method", "path", "status", "duration_ms", *cache)
    made = record("request completed", dict.fromkeys((*told, *bound), "x"), context=SPAN)
    made.app, made.route, made.request_id = "shop", "/carts/{id}", "r-1"
    line = msgspec.json.decode(json_line(made))
    ids = ["trace_id", "span_id", "route", "request_id"]
    assert ["timestamp", "level", "target", "message", "app", *told, *ids, *after] == list(line)
    assert ("/carts/{id}", "r-1") == (line["route"], line["request_id"])


def test_lines_of_one_span_tell_each_of_its_own_route_and_request() -> None:
    facts = [(None, None), ("/a", "r-1"), ("/b", "r-1"), ("/b", "r-2"), ("/b", "r-2"), (None, None)]
    shown = []
    for route, request_id in facts:
        made = record("hello", {}, context=SPAN)
        made.route, made.request_id = route, request_id
        line = msgspec.json.decode(json_line(made))
        shown.append((line.get("route"), line.get("request_id")))
    assert facts == shown
