"""Log entries of ours: each one OpenTelemetry log record, at whatever logger provider is set, in the context
of its work.

Knows the OpenTelemetry API only, so that an entry costs nothing while no provider is set.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from contextlib import suppress
from time import time_ns

from opentelemetry import _logs
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context, get_current
from opentelemetry.semconv.attributes import exception_attributes
from opentelemetry.util.types import AttributeValue

from bext_otel.redaction import redact_text
from bext_otel.scope import logger_of
from bext_otel.text import encodable

__all__ = ["MAX_STACKTRACE", "describe_exception", "emit", "logger", "message_of", "type_of", "write"]

MAX_STACKTRACE = 32_768
"""Characters that a stack trace, or an exception's message, may have."""

# By scope, of which there are as many as subsystems.
_loggers: dict[str, tuple[_logs.LoggerProvider, _logs.Logger]] = {}


def logger(scope: str) -> _logs.Logger:
    """The logger named `scope` of the current logger provider."""
    provider = _logs.get_logger_provider()
    found = _loggers.get(scope)
    if found is None or found[0] is not provider:
        found = _loggers[scope] = (provider, logger_of(provider, scope))
    return found[1]


def emit(
    scope: str,
    severity: SeverityNumber,
    body: str,
    fields: Mapping[str, AttributeValue],
    *,
    here: Context | None = None,
    error: BaseException | None = None,
) -> None:
    """An entry of the subsystem `scope`, if anybody wants entries of this severity.

    `here` has the span that it belongs to (None: the current context), `error` is the exception that it tells
    of.
    """
    here = get_current() if here is None else here
    found = logger(scope)
    if found.enabled(severity_number=severity, context=here):
        write(found, severity, body, fields, here=here, error=error)


def write(
    to: _logs.Logger,
    severity: SeverityNumber,
    body: str,
    fields: Mapping[str, AttributeValue],
    *,
    here: Context | None = None,
    error: BaseException | None = None,
) -> None:
    """As `emit`, without asking whether anybody wants it."""
    if error is not None:
        fields = {**fields, **describe_exception(error)}
    now = time_ns()
    to.emit(
        LogRecord(
            timestamp=now,
            observed_timestamp=now,
            context=get_current() if here is None else here,
            severity_number=severity,
            severity_text=severity.name,
            body=body,
            attributes=fields,
        )
    )


def describe_exception(error: BaseException) -> dict[str, str]:
    """The exception attributes of OpenTelemetry's semantic conventions. Never raises, always bounded, always
    encodable, and without secrets that say that they are some.

    A long stack trace keeps its end, which names the cause.
    """
    return {
        exception_attributes.EXCEPTION_TYPE: type_of(error),
        exception_attributes.EXCEPTION_MESSAGE: message_of(error),
        exception_attributes.EXCEPTION_STACKTRACE: redact_text(
            encodable(_stacktrace(error)[-MAX_STACKTRACE:])
        ),
    }


def type_of(error: BaseException) -> str:
    """An exception's class by its whole name, as the conventions have it in `exception.type` and
    `error.type`; one of Python's own needs no module."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def message_of(error: BaseException) -> str:
    """What an exception says, under the same conditions."""
    return redact_text(encodable(_message(error)[:MAX_STACKTRACE]))


def _message(error: BaseException) -> str:
    for say in (str, repr):
        with suppress(Exception):  # what it raises is the application's business, the entry is ours
            return say(error)
    return f"<unprintable {type(error).__qualname__}>"


def _stacktrace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # likewise
        return "".join(traceback.format_tb(error.__traceback__))
