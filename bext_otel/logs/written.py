"""What is emitted at the Logs API, as the SDK's processors know records: the same with every SDK, of
which the older ones have neither limits of records nor a record's exception."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from typing import Any

from opentelemetry._logs import LogRecord
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk._logs import LogRecordLimits, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

__all__ = ["RecordLimits", "written"]

_DEFAULT_COUNT = 128


class RecordLimits(LogRecordLimits):
    """How many attributes a record keeps, and how much of their texts (OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT,
    OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT, and those for everything); None: all.

    Raises ValueError for a variable that is no such number.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        count = _limit(environ, "ATTRIBUTE_COUNT_LIMIT", _DEFAULT_COUNT)
        length = _limit(environ, "ATTRIBUTE_VALUE_LENGTH_LIMIT", None)
        # By the names that older SDKs and newer ones have for them.
        self.max_attributes: int | None = count  # type: ignore[assignment]  # None as for the others
        self.max_log_record_attributes = count
        self.max_attribute_length = self.max_log_record_attribute_length = length

    def all_attributes(self) -> RecordLimits:
        """From now on with as many attributes as there are: the SDK would drop the first ones, with a line
        for each."""
        self.max_attributes = self.max_log_record_attributes = None
        return self


def _limit(environ: Mapping[str, str], name: str, default: int | None) -> int | None:
    found = default
    for variable in (f"OTEL_{name}", f"OTEL_LOGRECORD_{name}"):
        if (given := environ.get(variable)) is None:
            continue
        text = given.strip()
        if not text:
            # One for everything that says nothing is not there; one of records lets everything through.
            found = default if variable == f"OTEL_{name}" else None
            continue
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"{variable} must be a non-negative integer but got {text.lower()}")
        found = int(text)
    return found


def written(
    record: LogRecord | ReadWriteLogRecord | None,
    of: Mapping[str, Any],
    resource: Resource,
    scope: InstrumentationScope,
    limits: LogRecordLimits,
) -> ReadWriteLogRecord:
    """A record that was given, or its parts `of`, as a `Logger` of the SDK hands it to processors.
    What was given stays as it is, but for one of the SDK's own kind."""
    if isinstance(record, ReadWriteLogRecord):
        log = record.log_record
        log.attributes = _with_exception(log.attributes, getattr(log, "exception", None))
        return record
    if record is None:
        parts = dict(of)
        exception = parts.pop("exception", None)
        attributes = parts.pop("attributes", None)
        made = LogRecord(**parts, attributes=_with_exception(attributes, exception))
    else:
        exception = getattr(record, "exception", None)
        made = _copy(record, _with_exception(record.attributes, exception))
    if exception is not None:
        made.exception = exception
    return ReadWriteLogRecord(log_record=made, resource=resource, instrumentation_scope=scope, limits=limits)


def _copy(record: LogRecord, attributes: Any) -> LogRecord:
    made = LogRecord(
        timestamp=record.timestamp,
        observed_timestamp=record.observed_timestamp,
        context=record.context,
        severity_text=record.severity_text,
        severity_number=record.severity_number,
        body=record.body,
        attributes=attributes,
        event_name=record.event_name,
    )
    made.trace_id, made.span_id, made.trace_flags = record.trace_id, record.span_id, record.trace_flags
    return made


def _with_exception(attributes: Any, exception: BaseException | None) -> Any:
    """With what the semantic conventions tell of an exception, where it is not told already."""
    if exception is None:
        return attributes
    kind = type(exception)
    is_builtin = kind.__module__ in ("builtins", "", None)
    told = {
        "exception.type": kind.__qualname__ if is_builtin else f"{kind.__module__}.{kind.__qualname__}",
        "exception.message": str(exception),
        "exception.stacktrace": "".join(
            traceback.format_exception(kind, value=exception, tb=exception.__traceback__)
        ),
    }
    if isinstance(attributes, BoundedAttributes):
        merged = BoundedAttributes(
            maxlen=attributes.maxlen,
            attributes=attributes,
            immutable=False,
            max_value_len=attributes.max_value_len,
            extended_attributes=True,
        )
        merged.dropped = attributes.dropped
        for name, value in told.items():
            if name not in merged:
                merged[name] = value
        return merged
    return {**told, **dict(attributes or {})}
