from __future__ import annotations

import logging
import logging.handlers
import pickle
import queue
import sys
from typing import Any

from opentelemetry import context, trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk.trace import TracerProvider

from bext_otel.apps import with_app
from bext_otel.entries import MAX_STACKTRACE
from bext_otel.logs.chain import MAX_FIELDS, MAX_LOGGERS, Chain
from tests.logs.conftest import Start


def test_an_event_is_one_line_and_one_exported_record(start: Start, logger: logging.Logger) -> None:
    logs = start()
    logger.warning("cache %s", "full", extra={"layer": "isr", "entries": 3})
    (line,), (record,) = logs.lines(), logs.exported()
    assert ("warn", logger.name, "cache full", "isr", 3) == tuple(line[key] for key in ("level", "target", "message", "layer", "entries"))
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
    assert (trace.format_trace_id(ids.trace_id), trace.format_span_id(ids.span_id)) == (inside["trace_id"], inside["span_id"])
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


def test_asking_for_an_exception_where_there_is_none_is_harmless(start: Start, logger: logging.Logger) -> None:
    logs = start()
    logger.error("nothing", exc_info=True)
    assert ["nothing"] == [line["message"] for line in logs.lines()]


def test_an_exception_that_cannot_be_printed_does_not_cost_the_event(start: Start, logger: logging.Logger) -> None:
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
    stacktrace = logs.lines()[0]["exception.stacktrace"]
    assert MAX_STACKTRACE == len(stacktrace)
    assert stacktrace.rstrip().endswith("the end")


def test_a_stack_that_was_asked_for_is_shown(start: Start, logger: logging.Logger) -> None:
    logs = start()
    logger.info("here", stack_info=True)
    assert "test_a_stack_that_was_asked_for_is_shown" in logs.lines()[0]["code.stacktrace"]


def test_arguments_that_do_not_fit_the_message_do_not_cost_the_event(start: Start) -> None:
    logs = start()
    Chain(logs.provider, start_gate()).python(logging.LogRecord("shop", logging.INFO, "", 0, "one %s two %s", ("only",), None))
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
    logger.info("many", extra={f"field{number}": number for number in range(MAX_FIELDS + 5)})
    (line,) = logs.lines()
    assert 5 == line["fields_dropped"]
    assert MAX_FIELDS == sum(name.startswith("field") for name in line) - 1


def test_lone_surrogates_reach_neither_the_line_nor_the_exporter(start: Start, logger: logging.Logger) -> None:
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


def test_a_handed_over_event_of_structlog_s_formatter_is_taken_apart(start: Start, logger: logging.Logger) -> None:
    """`ProcessorFormatter.wrap_for_formatter` gives the event dictionary as the message, and helpers as extras."""
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
