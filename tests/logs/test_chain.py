from __future__ import annotations

import logging
import logging.handlers
import pickle
import queue
import sys
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk.trace import TracerProvider

from bext_otel.apps import with_app
from bext_otel.entries import MAX_STACKTRACE
from bext_otel.logs.chain import MAX_ATTRIBUTES, MAX_LOGGERS, Chain
from bext_otel.logs.limits import MAX_FIELD_BYTES
from tests.logs.conftest import Start


def test_an_event_is_one_line_and_one_exported_record(start: Start, logger: logging.Logger) -> None:
    logs = start()
    logger.warning("cache %s", "full", extra={"layer": "isr", "entries": 3})
    (line,), (record,) = logs.lines(), logs.exported()
    assert ("warn", logger.name, "cache full", "isr", 3) == tuple(
        line[key] for key in ("level", "target", "message", "layer", "entries")
    )
    assert (SeverityNumber.WARN, "WARN", "cache full", {"layer": "isr", "entries": 3}) == (
        record.severity_number,
        record.severity_text,
        record.body,
        dict(record.attributes or {}),
    )


def test_trace_ids_on_the_line_are_those_of_the_current_span(start: Start, logger: logging.Logger) -> None:
    logs = start()
    with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("work") as span:
        logger.info("inside")
    logger.info("outside")
    inside, outside = logs.lines()
    ids = span.get_span_context()
    assert (trace.format_trace_id(ids.trace_id), trace.format_span_id(ids.span_id)) == (
        inside["trace_id"],
        inside["span_id"],
    )
    assert not {"trace_id", "span_id"} & outside.keys()
    assert ids.trace_id == logs.exported()[0].trace_id


def test_the_app_at_work_is_on_the_line_and_on_the_record(start: Start, logger: logging.Logger) -> None:
    logs = start()
    token = context.attach(with_app("marketing", context.get_current()))
    logger.info("inside")
    logger.info("stated", extra={"app": "api"})
    context.detach(token)
    logger.info("outside")
    assert ["marketing", "api", None] == [line.get("app") for line in logs.lines()]
    assert ["marketing", "api", None] == [(record.attributes or {}).get("app") for record in logs.exported()]


def test_an_exception_is_told_by_the_semantic_conventions(start: Start, logger: logging.Logger) -> None:
    logs = start()
    try:
        raise logging.handlers.queue.Empty("nothing here")
    except queue.Empty:
        logger.exception("failed")
    (line,) = logs.lines()
    assert ("_queue.Empty", "nothing here") == (line["exception.type"], line["exception.message"])
    assert line["exception.stacktrace"].startswith("Traceback (most recent call last)")
    assert line["exception.stacktrace"].rstrip().endswith("_queue.Empty: nothing here")


def test_asking_for_an_exception_where_there_is_none_is_harmless(
    start: Start, logger: logging.Logger
) -> None:
    logs = start()
    logger.error("nothing", exc_info=True)
    assert ["nothing"] == [line["message"] for line in logs.lines()]


def test_an_exception_that_cannot_be_printed_does_not_cost_the_event(
    start: Start, logger: logging.Logger
) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    logs = start()
    logger.error("failed", exc_info=Mute())
    (line,) = logs.lines()
    assert line["exception.type"].endswith("Mute")
    assert line["exception.message"]


def test_a_long_stack_trace_keeps_its_end(start: Start, logger: logging.Logger) -> None:
    logs = start()
    logger.error("failed", exc_info=ValueError("x" * 100_000 + "the end"))
    (line,) = logs.lines()
    assert MAX_FIELD_BYTES == len(line["exception.stacktrace"])
    assert 100_000 < line["exception.stacktrace.length"] < 101_000
    assert line["exception.stacktrace"].rstrip().endswith("the end")
    assert MAX_STACKTRACE == len((logs.exported()[0].attributes or {})["exception.stacktrace"])  # type: ignore[arg-type]


def test_a_stack_that_was_asked_for_is_shown(start: Start, logger: logging.Logger) -> None:
    logs = start()
    logger.info("here", stack_info=True)
    assert "test_a_stack_that_was_asked_for_is_shown" in logs.lines()[0]["code.stacktrace"]


def test_arguments_that_do_not_fit_the_message_do_not_cost_the_event(start: Start) -> None:
    logs = start()
    Chain(logs.provider, start_gate()).python(
        logging.LogRecord("shop", logging.INFO, "", 0, "one %s two %s", ("only",), None)
    )
    (line,) = logs.lines()
    assert ("one %s two %s", ["only"]) == (line["message"], line["args"])


def test_a_message_that_is_no_text_is_shown(start: Start, logger: logging.Logger) -> None:
    logs = start()
    logger.info({"a": 1})
    logger.info(ValueError("x"))
    logger.info(None)
    assert ["{'a': 1}", "x", "None"] == [line["message"] for line in logs.lines()]


def test_an_event_that_came_over_a_socket_keeps_its_traceback(start: Start) -> None:
    """`SocketHandler` sends the text of the traceback, not the exception."""
    logs = start()
    try:
        raise KeyError("k")
    except KeyError:
        record = logging.LogRecord("shop", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    sent = logging.handlers.SocketHandler("127.0.0.1", None).makePickle(record)
    Chain(logs.provider, start_gate()).python(logging.makeLogRecord(pickle.loads(sent[4:])))
    (line,) = logs.lines()
    assert ("failed", True) == (line["message"], "KeyError" in line["exception.stacktrace"])


def test_more_fields_than_a_record_holds_are_counted(start: Start, logger: logging.Logger) -> None:
    logs = start()
    logger.info("many", extra={f"field{number}": number for number in range(MAX_ATTRIBUTES + 5)})
    (line,) = logs.lines()
    assert 5 == line["fields_dropped"] == logs.whole()[0].dropped_attributes
    assert MAX_ATTRIBUTES == sum(name.startswith("field") for name in line) - 1


def test_lone_surrogates_reach_neither_the_line_nor_the_exporter(
    start: Start, logger: logging.Logger
) -> None:
    logs = start()
    logger.info("path \ud800", extra={"\ud801": "\ud802"})
    (line,), (record,) = logs.lines(), logs.exported()
    assert ("path �", "�") == (line["message"], line["�"])
    assert ("path �", {"�": "�"}) == (record.body, dict(record.attributes or {}))


def test_a_value_whose_repr_logs_is_not_endless(start: Start, logger: logging.Logger) -> None:
    class Chatty:
        def __repr__(self) -> str:
            logger.info("shown", extra={"thing": self})
            return "chatty"

    logs = start()
    logger.info("event", extra={"thing": Chatty()})
    assert "event" == logs.lines()[-1]["message"]


def test_loggers_without_end_do_not_fill_the_memory(start: Start) -> None:
    logs = start()
    chain = Chain(logs.provider, start_gate())
    for number in range(MAX_LOGGERS + 10):
        chain.emit(f"request.{number}", logging.INFO, "hello", {})
    assert MAX_LOGGERS == len(chain._loggers)
    assert f"request.{MAX_LOGGERS + 9}" == logs.lines()[-1]["target"]


def start_gate() -> Any:
    from bext_otel.logs.levels import Gate

    return Gate(logging.INFO, {})


def test_a_logger_s_name_can_be_anything(start: Start) -> None:
    logs = start()
    Chain(logs.provider, start_gate()).emit("\ud800", logging.INFO, "hello", {})
    assert "�" == logs.lines()[0]["target"]
    assert 1 == len(logs.exported())


@pytest.mark.parametrize("name", [None, 7, ["shop"], b"shop"])
def test_a_logger_whose_name_is_no_text_loses_nothing(start: Start, name: Any) -> None:
    """Made by hand: `getLogger` takes text only."""
    logs = start(apps={"api": "debug"})
    own = logging.Logger(name)
    own.parent = logging.root
    own.info("hello")
    logging.root.handle(logging.makeLogRecord({"name": name, "msg": "made", "levelno": logging.INFO}))
    Chain(logs.provider, start_gate()).emit(name, logging.INFO, "emitted", {})
    expected = ["hello", "made", "emitted"]
    assert (
        expected == [line["message"] for line in logs.lines()] == [record.body for record in logs.exported()]
    )
    assert {repr(name)} == {record.instrumentation_scope.name for record in logs.whole()}


def limited(start: Start, monkeypatch: pytest.MonkeyPatch, **limits: str) -> Any:
    for variable, value in limits.items():
        monkeypatch.setenv(variable, value)
    return start()


@pytest.mark.parametrize("variable", ["OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"])
def test_a_limit_of_attributes_holds_and_what_it_drops_is_counted(
    start: Start, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    logs = limited(start, monkeypatch, **{variable: "3"})
    token = context.attach(with_app("api", context.get_current()))
    logger.info("many", extra={f"field{number}": number for number in range(10)})
    logs.provider.get_logger("other").emit(
        LogRecord(body="more", attributes={str(number): number for number in range(5)})
    )
    context.detach(token)
    many, more = logs.whole()
    assert ({"field0": 0, "field1": 1, "app": "api"}, 8) == (
        dict(many.log_record.attributes or {}),
        many.dropped_attributes,
    )
    assert ({"0": 0, "1": 1, "app": "api"}, 3) == (
        dict(more.log_record.attributes or {}),
        more.dropped_attributes,
    )


def test_an_exception_has_room_before_fields_do(
    start: Start, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = limited(start, monkeypatch, OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT="5")
    logger.error("failed", exc_info=ValueError("x"), extra={"one": 1, "two": 2})
    (record,) = logs.whole()
    assert ["one", "exception.type", "exception.message", "exception.stacktrace", "exceptions"] == list(
        record.log_record.attributes or {}
    )
    assert 1 == record.dropped_attributes


def test_a_limit_above_the_standard_one_holds_and_none_at_all(
    start: Start, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {f"field{number}": number for number in range(300)}
    logs = limited(start, monkeypatch, OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT="200")
    logger.info("many", extra=fields)
    assert (200, 100) == (len(logs.exported()[0].attributes or {}), logs.whole()[0].dropped_attributes)
    logs = limited(start, monkeypatch, OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT="")
    logger.info("many", extra=fields)
    assert (300, 0) == (len(logs.exported()[0].attributes or {}), logs.whole()[0].dropped_attributes)


@pytest.mark.parametrize(
    "variable", ["OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"]
)
def test_a_limit_of_a_value_s_length_holds(
    start: Start, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    logs = limited(start, monkeypatch, **{variable: "4"})
    logger.info("a long message", extra={"long": "abcdefgh", "listed": ["abcdefgh"]})
    (record,) = logs.exported()
    assert ("a long message", "abcd", ("abcd",)) == (
        record.body,
        (record.attributes or {})["long"],
        (record.attributes or {})["listed"],
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "GET https://user:hunter2@shop.example/a?token=abc&page=2",
            "GET https://REDACTED:REDACTED@shop.example/a?token=REDACTED&page=2",
        ),
        (
            'HTTP Request: GET https://h/?sig=abc "HTTP/1.1 200 OK"',
            'HTTP Request: GET https://h/?sig=REDACTED "HTTP/1.1 200 OK"',
        ),
        (
            'https://h:443 "GET /a?api_key=abc HTTP/1.1" 200 2',
            'https://h:443 "GET /a?api_key=REDACTED HTTP/1.1" 200 2',
        ),
        (
            "postgres://u:p@db/x and redis://:secret@cache/0",
            "postgres://REDACTED:REDACTED@db/x and redis://REDACTED:REDACTED@cache/0",
        ),
        ("is that right? a = b, mail to me@shop.example", "is that right? a = b, mail to me@shop.example"),
    ],
)
def test_secrets_in_urls_get_into_no_line(
    start: Start, logger: logging.Logger, said: str, expected: str
) -> None:
    logs = start()
    logger.info("%s", said, extra={"field": said, "listed": [said]})
    logger.error("failed", exc_info=ValueError(said))
    logs.provider.get_logger("bext.other").emit(LogRecord(body=said, attributes={"field": said}))
    first, second, third = logs.lines()
    assert (expected, expected, [expected]) == (first["message"], first["field"], first["listed"])
    assert expected == second["exception.message"]
    assert expected in second["exception.stacktrace"]
    assert (expected, expected) == (third["message"], third["field"])
    assert expected == logs.exported()[0].body


def test_a_handed_over_event_of_structlog_s_formatter_is_taken_apart(
    start: Start, logger: logging.Logger
) -> None:
    """`ProcessorFormatter.wrap_for_formatter` gives the event dictionary as the message, and helpers as
    extras."""
    logs = start()
    logger.info({"event": "render.slow", "elapsed_ms": 3}, extra={"_logger": logger, "_name": "info"})
    (line,) = logs.lines()
    assert ("render.slow", 3) == (line["message"], line["elapsed_ms"])
    assert not {"_logger", "_name"} & line.keys()


def test_what_the_chain_cannot_make_a_record_of_is_counted(start: Start) -> None:
    class Refusing:
        def get_logger(self, *names: object, **more: object) -> None:
            raise RuntimeError

    chain = Chain(Refusing(), start_gate())  # type: ignore[arg-type]
    chain.emit("shop", logging.INFO, "hello", {})
    chain.python(logging.LogRecord("shop", logging.INFO, "", 0, "hello", (), None))
    assert 2 == chain.failures
    assert sys.exc_info() == (None, None, None)
