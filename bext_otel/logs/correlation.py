"""`OTEL_PYTHON_LOG_CORRELATION`: the trace's ids on the standard library's log records, for an application's
own formats.

As upstream's instrumentation of logging has it, documented there: names, values, the format and the level
that go with it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

from opentelemetry import trace

from bext_otel.logs.outputs import write_stderr

__all__ = ["CORRELATION", "Mark", "correlate"]

Mark: TypeAlias = Callable[[logging.LogRecord], None]

CORRELATION = ("otelTraceID", "otelSpanID", "otelTraceSampled", "otelServiceName")
"""What a record is given, for `%(otelTraceID)s` and so on."""

_FORMAT = (
    "%(asctime)s %(levelname)s [%(name)s] [%(filename)s:%(lineno)d] [trace_id=%(otelTraceID)s "
    "span_id=%(otelSpanID)s "
    "resource.service.name=%(otelServiceName)s trace_sampled=%(otelTraceSampled)s] - %(message)s"
)
_NAMES = re.compile(r"%\((\w+)\)")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def correlate(environ: Mapping[str, str], service_name: str) -> tuple[Mark | None, Callable[[], None]]:
    """Do what the variables say, if they say something: what marks a record, and what undoes it.

    The handler and the level are the application's then, and stay.
    """
    if environ.get("OTEL_PYTHON_LOG_CORRELATION", "").strip().lower() != "true":
        return None, lambda: None
    make = logging.getLogRecordFactory()
    active = True

    def mark(record: logging.LogRecord) -> None:
        with suppress(Exception):  # a span, or a record, of the application's own making
            _mark(record, service_name)

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        if active:
            mark(record)
        return record

    def undo() -> None:
        nonlocal active
        active = False
        if logging.getLogRecordFactory() is factory:
            logging.setLogRecordFactory(make)

    logging.setLogRecordFactory(factory)
    _set_format(environ)
    return mark, undo


def _set_format(environ: Mapping[str, str]) -> None:
    level = _LEVELS.get(environ.get("OTEL_PYTHON_LOG_LEVEL", "").strip().lower(), logging.INFO)
    chosen, before = environ.get("OTEL_PYTHON_LOG_FORMAT") or _FORMAT, logging.root.handlers[:]
    try:
        logging.basicConfig(format=chosen, level=level)
        if unknown := _unknown(chosen):
            write_stderr(
                f"OTEL_PYTHON_LOG_FORMAT = {chosen!r}: no log record has {', '.join(unknown)}; empty, "
                "unless the application gives its records that"
            )
            formatter = logging.Formatter(chosen, defaults=dict.fromkeys(unknown, ""))
            for handler in logging.root.handlers:
                if handler not in before:
                    handler.setFormatter(formatter)
    except ValueError as error:
        write_stderr(
            f"OTEL_PYTHON_LOG_FORMAT = {environ['OTEL_PYTHON_LOG_FORMAT']!r}: {error}; upstream's own "
            "format is used"
        )
        logging.basicConfig(format=_FORMAT, level=level)


def _unknown(text: str) -> list[str]:
    """The names in a format that no record has by itself; each line would be a traceback."""
    made = vars(logging.LogRecord("", 0, "", 0, "", (), None))
    known = {*made, *CORRELATION, "message", "asctime", "taskName"}
    return [name for name in dict.fromkeys(_NAMES.findall(text)) if name not in known]


def _mark(record: logging.LogRecord, service_name: str) -> None:
    if CORRELATION[0] in vars(record):
        return
    record.otelTraceID, record.otelSpanID, record.otelTraceSampled = "0", "0", False
    record.otelServiceName = service_name
    ids = trace.get_current_span().get_span_context()
    if ids.is_valid:
        record.otelTraceID = trace.format_trace_id(ids.trace_id)
        record.otelSpanID = trace.format_span_id(ids.span_id)
        record.otelTraceSampled = ids.trace_flags.sampled
