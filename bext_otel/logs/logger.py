"""Loggers of the provider: a record goes to the processors as it is, without what the SDK makes of it.

Attributes of plain types, which are nearly all, are kept in a plain dict; the rest becomes what the SDK makes
of it.
"""

from __future__ import annotations

from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk._logs import Logger, LogRecordLimits, ReadWriteLogRecord

from bext_otel._compat import deliver, logger_config
from bext_otel.logs.chain import Passed
from bext_otel.logs.configurator import LoggerConfig
from bext_otel.traces.limits import has_plain_names, has_plain_values

__all__ = ["BextLogger", "drop"]

_new = object.__new__


class BextLogger(Logger):
    """See `opentelemetry._logs.Logger`; `limits` are those of its provider."""

    limits: LogRecordLimits

    def enabled(
        self,
        *,
        context: Context | None = None,
        severity_number: SeverityNumber | None = None,
        event_name: str | None = None,
    ) -> bool:
        """See `opentelemetry._logs.Logger`."""
        config = logger_config(self)
        if type(config) is LoggerConfig and not config.passes(severity_number, context):
            return False
        return super().enabled(context=context, severity_number=severity_number, event_name=event_name)

    def emit(self, record: LogRecord | None = None, **of: Any) -> None:
        """See `opentelemetry._logs.Logger`."""
        config = logger_config(self)
        if type(config) is LoggerConfig and not config.passes(*_of_whom(record, of)):
            return
        kind = type(record)
        if (
            record is None
            or (kind is not Passed and kind is not LogRecord)
            or not self._is_plain(record, passed=kind is Passed)
        ):
            super().emit(record, **of)
        else:
            made = _new(ReadWriteLogRecord)
            made.log_record, made.limits = record, self.limits
            made.resource, made.instrumentation_scope = self.resource, self.instrumentation_scope
            deliver(self, made)

    def _is_plain(self, record: LogRecord, *, passed: bool) -> bool:
        """Whether there is nothing that the SDK would change."""
        attributes = record.attributes
        if attributes is None:
            record.attributes = {}
            return record.exception is None
        if (
            type(attributes) is not dict
            or record.exception is not None
            or self.limits.max_log_record_attribute_length is not None
            or not has_plain_names(attributes)
        ):
            return False
        if passed:  # by the chain, which has made its values plain, and shares them with nobody
            return True
        if not has_plain_values(attributes):
            return False
        record.attributes = attributes.copy()
        return True


def _of_whom(record: Any, of: dict[str, Any]) -> tuple[SeverityNumber | None, Context | None]:
    """The severity and the context of a record, or of its parts."""
    if record is None:
        return of.get("severity_number"), of.get("context")
    log = getattr(record, "log_record", record)
    return log.severity_number, log.context


def drop(log: LogRecord, count: int) -> None:
    """Count so many attributes that a record has no place for."""
    if not isinstance(log.attributes, BoundedAttributes):
        log.attributes = BoundedAttributes(attributes=log.attributes or None, immutable=False)
    log.attributes.dropped += count
