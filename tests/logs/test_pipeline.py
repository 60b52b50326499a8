"""A record on its way to the sinks, and to processors that an application adds."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from opentelemetry import _logs, context, trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from bext_otel.apps import with_app
from bext_otel.entries import emit
from bext_otel.request_facts import REQUEST_KEY, with_facts
from tests.logs.conftest import Start
from tests.versions import since


class Kept(LogRecordProcessor):
    def __init__(self) -> None:
        self.records: list[ReadWriteLogRecord] = []

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        self.records.append(log_record)

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


SPAN = SpanContext(7, 9, is_remote=False, trace_flags=TraceFlags(1))


def test_a_processor_of_the_application_s_gets_the_sdk_s_record_whole(
    start: Start, logger: logging.Logger
) -> None:
    logs, kept = start(), Kept()
    logs.provider.add_log_record_processor(kept)
    here = with_app("api", trace.set_span_in_context(NonRecordingSpan(SPAN)))
    token = context.attach(here)
    try:
        logger.warning("hello", extra={"n": 1, "listed": [1, {"a": None}]})
        logs.provider.get_logger("theirs", "2").emit(
            LogRecord(body={"a": 1}, attributes={"b": b"\xff"}, severity_number=SeverityNumber.INFO)
        )
    finally:
        context.detach(token)
    ours, theirs = kept.records
    log = ours.log_record
    assert ("hello", {"n": 1, "listed": [1, {"a": None}], "app": "api"}) == (
        log.body,
        dict(log.attributes or {}),
    )
    assert (7, 9, 1) == (log.trace_id, log.span_id, log.trace_flags)
    assert (SeverityNumber.WARN, "WARN", here) == (log.severity_number, log.severity_text, log.context)
    assert (logs.provider.resource, logger.name) == (ours.resource, ours.instrumentation_scope.name)  # type: ignore[union-attr]
    assert ({"a": 1}, {"b": b"\xff", "app": "api"}, "2") == (
        theirs.log_record.body,
        dict(theirs.log_record.attributes or {}),
        theirs.instrumentation_scope.version,  # type: ignore[union-attr]
    )


class Changing(Kept):
    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        log = log_record.log_record
        attributes: Any = log.attributes
        attributes |= {"changed": True, "app": "other", "lone": "\ud800", "huge": 2**70}
        log.body = f"{log.body}, changed"
        log.severity_number, log.severity_text = SeverityNumber.ERROR2, "ERROR2"


def test_what_such_a_processor_changes_is_in_the_line_and_in_what_is_exported(
    start: Start, logger: logging.Logger
) -> None:
    logs, kept = start(), Kept()
    logs.provider.add_log_record_processor(Changing())
    logs.provider.add_log_record_processor(kept)
    logger.info("hello")
    logs.provider.get_logger("theirs").emit(LogRecord(body={"a": 1}, severity_number=SeverityNumber.INFO))
    said = logs.lines()[0]
    assert (True, "other", "error") == (said["changed"], said["app"], said["level"])
    for body, exported, seen in zip(
        ("hello, changed", "{'a': 1}, changed"), logs.exported(), kept.records, strict=True
    ):
        attributes = dict(exported.attributes or {})
        assert (body, SeverityNumber.ERROR2) == (exported.body, exported.severity_number)
        assert (True, "other") == (attributes["changed"], attributes["app"])
        assert (str, str) == (type(attributes["lone"]), type(attributes["huge"]))
        assert (seen.log_record.attributes or {})["changed"]


def test_a_processor_that_leaves_no_attributes_or_fails_is_counted_and_the_record_goes_on(
    start: Start, logger: logging.Logger
) -> None:
    class Odd(Kept):
        def on_emit(self, log_record: ReadWriteLogRecord) -> None:
            log_record.log_record.attributes = 5  # type: ignore[assignment]  # as a program may
            raise ValueError("no")

    logs = start()
    logs.provider.add_log_record_processor(Odd())
    logger.info("hello", extra={"n": 1})
    found = next(each for each in logs.lines() if each["message"] == "hello")
    assert 1 == found["n"]
    assert logs.provider.lost()["log_events_failed"] >= 2


def test_what_the_caller_gave_stays_as_it_was(start: Start, logger: logging.Logger) -> None:
    start()
    fields: dict[str, Any] = {"url": "https://user:secret@h/", "app": "api"}
    record = LogRecord(body="b", attributes=fields, severity_number=SeverityNumber.INFO)
    provider = start().provider
    provider.get_logger("theirs").emit(record)
    logger.info("hello", extra=fields)
    assert {"url": "https://user:secret@h/", "app": "api"} == fields
    assert fields == record.attributes


def test_an_entry_of_ours_has_the_ids_of_its_work_and_what_led_to_its_exception(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = start()
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: logs.provider)
    try:
        try:
            raise KeyError("token=abc")
        except KeyError as error:
            raise ValueError("outer") from error
    except ValueError as error:
        emit(
            "bext.test",
            SeverityNumber.ERROR,
            "failed",
            {"app": "api"},
            here=trace.set_span_in_context(NonRecordingSpan(SPAN)),
            error=error,
            event="bext.flow.failed",
        )
    assert "bext.flow.failed" == logs.exported()[0].event_name
    (line,) = logs.lines()
    assert ("api", f"{7:032x}", f"{9:016x}") == (line["app"], line["trace_id"], line["span_id"])
    outer, inner = line["exceptions"]
    assert {"type": "ValueError", "message": "outer"} == outer
    assert ("KeyError", "cause", 0) == (inner["type"], inner["relation"], inner["of"])
    assert "abc" not in inner["message"]


def test_ours_come_before_what_the_application_adds(start: Start, logger: logging.Logger) -> None:
    logs = start()
    token = context.attach(with_app("api", trace.set_span_in_context(NonRecordingSpan(SPAN))))
    try:
        logger.error("failed", exc_info=ValueError("x"), extra={"zebra": 1, "status": 200, "route": "/a"})
    finally:
        context.detach(token)
    assert [
        "timestamp",
        "level",
        "target",
        "message",
        "app",
        "status",
        "trace_id",
        "span_id",
        "route",
        "exception.type",
        "exception.message",
        "exception.stacktrace",
        "exceptions",
        "zebra",
    ] == list(logs.lines()[0])


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("str")

    __repr__ = __str__


def nested(depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(depth):
        made = {"deeper": made}
    return made


@pytest.mark.parametrize(
    "odd",
    [
        {"attributes": {"k": nested(3000)}},
        {"attributes": {"k": Unprintable()}},
        {"attributes": 5},
        {"attributes": [("a", 1)]},
        pytest.param({"exception": Unprintable()}, marks=since(42, "exceptions of records")),
        pytest.param({"exception": 5}, marks=since(42, "exceptions of records")),
    ],
    ids=["deep", "unprintable", "a number", "a list", "an exception", "no exception"],
)
def test_a_record_that_cannot_be_made_is_counted_and_raises_nothing(start: Start, odd: Any) -> None:
    logs, kept = start(), Kept()
    logs.provider.add_log_record_processor(kept)
    api = logs.provider.get_logger("theirs")
    api.emit(LogRecord(body="odd", **odd))
    api.emit(body="odd", **odd)
    assert 2 <= len(kept.records) + logs.provider.lost()["log_events_failed"]
    api.emit(LogRecord(body="the next one"))
    assert "the next one" == kept.records[-1].log_record.body


def test_an_entry_of_a_request_tells_its_route_and_id_on_every_way(
    start: Start, logger: logging.Logger
) -> None:
    """What the application says itself under these names stands for itself."""
    logs = start()
    token = context.attach(with_facts("/items/{item}", "42", Context()))
    try:
        logger.warning("hello")
        logger.warning("own", extra={"request_id": "mine", "n": 1})
        emit("bext.request", SeverityNumber.INFO, "ours", {"n": 2})
        logs.provider.get_logger("theirs").emit(LogRecord(body={"a": 1}))
    finally:
        context.detach(token)
    expected = [("/items/{item}", "42"), ("/items/{item}", "mine"), ("/items/{item}", "42")]
    assert expected[:2] == [(line["route"], line["request_id"]) for line in logs.lines()][:2]
    exported = [dict(each.attributes or {}) for each in logs.exported()]
    assert {("/items/{item}", "42"), ("/items/{item}", "mine")} == {
        (each["route"], each["request_id"]) for each in exported
    }


def test_a_request_whose_facts_cannot_be_had_costs_no_entry(start: Start, logger: logging.Logger) -> None:
    class Broken:
        def facts(self) -> None:
            raise RuntimeError

    logs = start()
    token = context.attach(context.set_value(REQUEST_KEY, Broken(), Context()))
    logger.warning("hello")
    context.detach(token)
    assert ["hello"] == [line["message"] for line in logs.lines()]


def test_a_processor_sees_them_and_may_take_them_away(start: Start, logger: logging.Logger) -> None:
    class Taking(Kept):
        def on_emit(self, log_record: ReadWriteLogRecord) -> None:
            super().on_emit(log_record)
            attributes = dict(log_record.log_record.attributes or {})
            attributes.pop("request_id")
            log_record.log_record.attributes = attributes

    logs, taking = start(), Taking()
    logs.provider.add_log_record_processor(taking)
    token = context.attach(with_facts("/x", "42", Context()))
    logger.warning("hello")
    context.detach(token)
    (line,) = logs.lines()
    assert ("/x", None) == (line["route"], line.get("request_id"))
