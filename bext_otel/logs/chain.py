"""Where the standard library's logging and structlog meet: an event becomes one OpenTelemetry log record."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from logging import LogRecord as PythonRecord
from typing import Any

from opentelemetry._logs import Logger, LoggerProvider, LogRecord
from opentelemetry.semconv.attributes import code_attributes, exception_attributes

from bext_otel.entries import describe_exception
from bext_otel.logs.levels import Gate, number_of, severity, severity_text
from bext_otel.logs.values import Plain, plain, shown, text
from bext_otel.scope import SCOPE, logger_of

__all__ = ["Chain", "Passed"]

# Colours for a terminal (ECMA-48, "select graphic rendition"), which mean nothing in a record.
_COLORS = re.compile(r"\x1b\[[0-9;]*m")

MAX_FIELDS = 100
MAX_LOGGERS = 1000
MAX_DEPTH = 3

# What every record of the standard library has; the rest of its attributes are what the caller gave as `extra`.
_STANDARD = frozenset(vars(PythonRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}


# How many events this one is nested in. Not a thread's variable, because greenlets share a thread.
_depth: ContextVar[int] = ContextVar("bext_otel_logs_depth", default=0)


class Passed(LogRecord):
    """A record whose level has been checked.

    `printed` says that the application has printed it itself, where our lines go too; `waits` that it is no reason to begin exporting.
    """

    printed = False
    waits = False


class Chain:
    """Emits events at `provider`; `gate` drops those below the level of the app at work. Never raises; counts what fails in `failures`."""

    def __init__(self, provider: LoggerProvider, gate: Gate) -> None:
        self.gate = gate
        self.failures = 0
        self._provider = provider
        self._loggers: dict[str, Logger] = {}

    def python(self, record: PythonRecord, *, printed: bool = False, waits: bool = False) -> None:
        """An event of the standard library's logging; `printed` and `waits` as `Passed` has them."""
        try:
            body, fields = _said(record)
            given = fields.pop("exc_info", None)
            exc_info = record.exc_info or given or None
            if exc_info is None and record.exc_text:
                # It came through a queue, which keeps the text only.
                fields[exception_attributes.EXCEPTION_STACKTRACE] = record.exc_text
            self.emit(
                record.name,
                record.levelno,
                body,
                fields,
                exc_info,
                record.stack_info,
                timestamp=int(record.created * 1e9),
                printed=printed,
                waits=waits,
            )
        except Exception:  # logging must not fail the work that is logged
            self.failures += 1

    def emit(
        self,
        logger: str,
        level: int,
        body: object,
        fields: Mapping[str, object],
        exc_info: object = None,
        stack: str | None = None,
        *,
        timestamp: int | None = None,
        printed: bool = False,
        waits: bool = False,
    ) -> None:
        """An event: who says it, how grave, what, with which facts, caused by which exception, at which nanosecond (None: now).

        `printed` and `waits` as `Passed` has them.
        """
        depth = _depth.get()
        if depth >= MAX_DEPTH:
            # A value whose repr logs that value again.
            self.failures += 1
            return
        token = _depth.set(depth + 1)
        try:
            attributes = _attributes(fields)
            if exc_info:
                attributes.update(_exception(exc_info))
            if stack:
                attributes[code_attributes.CODE_STACKTRACE] = text(str(stack))
            record = Passed(
                timestamp=timestamp,
                severity_number=severity(level),
                severity_text=severity_text(level),
                body=text(body) if type(body) is str else plain(body),
                attributes=attributes,
            )
            if timestamp is None:
                record.timestamp = record.observed_timestamp
            if printed:
                record.printed = True
            if waits:
                record.waits = True
            self._logger(logger).emit(record)
        except Exception:  # logging must not fail the work that is logged
            self.failures += 1
        finally:
            _depth.reset(token)

    def _logger(self, name: str) -> Logger:
        found = self._loggers.get(name)
        if found is None:
            if len(self._loggers) < MAX_LOGGERS:
                ours = name.partition(".")[0] == SCOPE
                found = self._loggers[name] = logger_of(self._provider, name) if ours else self._provider.get_logger(text(name))
            else:
                # The provider keeps loggers for ever, except those that have attributes.
                found = self._provider.get_logger(text(name), attributes={})
        return found


def _said(record: PythonRecord) -> tuple[object, dict[str, Any]]:
    """The message, and the fields that came with it."""
    fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if record.name.startswith("uvicorn") and "color_message" in fields:
        # The message once more, with codes for a terminal.
        del fields["color_message"]
    message = record.msg
    if type(message) is str and not record.args:
        return (_COLORS.sub("", message) if "\x1b" in message else message), fields
    if isinstance(message, Mapping) and not record.args and "event" in message:
        # structlog's ProcessorFormatter.wrap_for_formatter hands the event over like this, with helpers of its own.
        given = {str(name): value for name, value in message.items()}
        fields = {name: value for name, value in fields.items() if not name.startswith("_")}
        if number_of(given.get("level")) == record.levelno:
            del given["level"]
        return given.pop("event"), {**fields, **given}
    try:
        said = record.getMessage()
        return (_COLORS.sub("", said) if "\x1b" in said else said), fields
    except Exception:  # the arguments don't fit the message: show both rather than lose the event
        return shown(message) if not isinstance(message, str) else message, {**fields, "args": record.args}


def _attributes(fields: Mapping[str, object]) -> dict[str, Any]:
    attributes: dict[str, Plain] = {}
    for name, value in fields.items():
        if len(attributes) >= MAX_FIELDS:
            attributes["fields_dropped"] = len(fields) - MAX_FIELDS
            break
        # OpenTelemetry has no empty names, and warns about each.
        attributes[text(name if type(name) is str else str(name)) or '""'] = plain(value)
    return attributes


def _exception(given: object) -> dict[str, Any]:
    """The exception attributes of OpenTelemetry's semantic conventions; `given` is whatever `exc_info` may be."""
    value = _exception_of(given)
    return {} if value is None else describe_exception(value)


def _exception_of(given: object) -> BaseException | None:
    if isinstance(given, tuple):
        given = given[1] if len(given) == 3 else None
    elif not isinstance(given, BaseException):
        given = sys.exc_info()[1]
    return given if isinstance(given, BaseException) else None
