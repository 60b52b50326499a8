"""Loggers of the provider: a record of plain attributes, which nearly all are, is looked at once, and goes to
the sinks as one object; the rest becomes what the SDK makes of it, first."""

from __future__ import annotations

from collections.abc import Mapping
from time import time_ns
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context, get_current
from opentelemetry.sdk._logs import Logger, LogRecordLimits
from opentelemetry.trace import INVALID_SPAN, Span, set_span_in_context

from bext_otel._compat import SdkLogger
from bext_otel.export.record import Record, severity_of
from bext_otel.logs.configurator import LoggerConfig
from bext_otel.logs.pipeline import Pipeline
from bext_otel.logs.values import plain_fields, plain_text
from bext_otel.logs.written import written
from bext_otel.traces.limits import has_plain_names

__all__ = ["BextLogger"]

# Under which a context has its span.
(_SPAN,) = set_span_in_context(INVALID_SPAN, Context())
_PLAIN: frozenset[type] = frozenset({str, int, bool, float, type(None)})


class BextLogger(Logger, SdkLogger):
    """See `opentelemetry._logs.Logger`; `limits` are those of its provider, `pipeline` has its sinks."""

    limits: LogRecordLimits
    pipeline: Pipeline
    _logger_config: Any  # of upstream's, or of an application's configurator

    def enabled(
        self,
        *,
        context: Context | None = None,
        severity_number: SeverityNumber | None = None,
        event_name: str | None = None,
    ) -> bool:
        """See `opentelemetry._logs.Logger`."""
        config = self._logger_config
        if type(config) is LoggerConfig and not config.passes(severity_number, context):
            return False
        return bool(config.is_enabled) and self.pipeline.enabled(
            context=context,
            instrumentation_scope=self._instrumentation_scope,
            severity_number=severity_number,
            event_name=event_name,
        )

    def emit(self, record: LogRecord | None = None, **of: Any) -> None:
        """See `opentelemetry._logs.Logger`."""
        try:
            self._emit(record, of)
        except Exception as error:  # logging must not fail the work that is logged
            self.pipeline.failed(error)

    def _emit(self, record: LogRecord | None, of: dict[str, Any]) -> None:
        config = self._logger_config
        if type(config) is LoggerConfig and not config.passes(*_of_whom(record, of)):
            return
        if record is None or type(record) is not LogRecord or not self._is_plain(record):
            if self.counts_record():
                made = written(record, of, self.resource, self.instrumentation_scope, self.limits)
                self.pipeline.on_emit(made)
            return
        if not self.counts_record():
            return
        plain = Record(
            self.resource,
            self.instrumentation_scope,
            record.context or get_current(),
            record.timestamp,
            record.observed_timestamp,
            severity_of(record.severity_number, record.severity_text),
            plain_text(record.body) if type(record.body) is str else record.body,
            plain_fields(record.attributes) if record.attributes else {},
        )
        plain.event_name = record.event_name
        plain.trace_id, plain.span_id = record.trace_id or 0, record.span_id or 0
        plain.trace_flags = record.trace_flags or 0
        self.pipeline.take(plain)

    def entry(
        self,
        severity: SeverityNumber,
        body: str,
        fields: Mapping[str, Any],
        here: Context,
        event: str | None = None,
        are_plain: bool = False,
    ) -> None:
        """An entry of ours, now, as `emit` would have it of a record; see `entries.write`."""
        now = time_ns()
        record = Record(
            self.resource,
            self.instrumentation_scope,
            here,
            now,
            now,
            _own_severities.get(id(severity)) or severity_of(severity, severity.name),
            body,
            fields if are_plain else plain_fields(fields),  # type: ignore[arg-type]  # then it is a dict
        )
        record.event_name = event
        self.send(record)

    def send(self, record: Record) -> None:
        """Have the sinks take a record of ours, with the ids of its context."""
        config = self._logger_config
        if type(config) is LoggerConfig and not config.passes(record.severity.number, record.context):
            return
        if not self.counts_record():
            return
        span: Span | None = record.context.get(_SPAN)  # type: ignore[assignment]  # as the API has it
        if span is not None and (ids := span.get_span_context())[0]:
            # By place: the names of a context's fields are properties, each of which is a call.
            record.trace_id, record.span_id, record.trace_flags = ids[0], ids[1], ids[3]
        if self.limits.max_log_record_attribute_length is not None:
            record.attributes = self._shortened(record.attributes)
        self.pipeline.take(record)

    def is_heard(self) -> bool:
        """Would a record that passes the levels be written, or handed on?"""
        return self.pipeline.is_open()

    def _is_plain(self, record: LogRecord) -> bool:
        """Whether there is nothing that the SDK would change."""
        attributes, body = record.attributes, record.body
        if getattr(record, "exception", None) is not None or (body is not None and type(body) is not str):
            return False
        return attributes is None or (
            type(attributes) is dict
            and self.limits.max_log_record_attribute_length is None
            and has_plain_names(attributes)
            and _PLAIN.issuperset(map(type, attributes.values()))
        )

    def _shortened(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """With texts no longer than the limits say."""
        return dict(
            BoundedAttributes(
                None,
                attributes,
                immutable=False,
                extended_attributes=True,
                max_value_len=self.limits.max_log_record_attribute_length,
            ).copy()
        )


def _of_whom(record: Any, of: dict[str, Any]) -> tuple[SeverityNumber | None, Context | None]:
    """The severity and the context of a record, or of its parts."""
    if record is None:
        return of.get("severity_number"), of.get("context")
    log = getattr(record, "log_record", record)
    return log.severity_number, log.context


# Of entries of ours, whose text is the number's name.
_own_severities = {id(number): severity_of(number, number.name) for number in SeverityNumber}
