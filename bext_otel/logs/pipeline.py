"""What becomes of a log record of the provider's: it is completed once, and goes to each of the sinks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, cast

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordLimits, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel.apps import current_app
from bext_otel.export.record import Record, record_of
from bext_otel.logs.levels import Gate
from bext_otel.logs.values import plain, text
from bext_otel.redaction import redact_urls

__all__ = ["Pipeline", "Sink"]

Fields: TypeAlias = "BoundedAttributes | dict[str, Any]"
"""The attributes of a record of the SDK's; both have a `copy` that needs no lock."""


class Sink(Protocol):
    """Where records go."""

    def take(self, record: Record) -> None:
        """Have a record, which nobody changes any more. Never raises."""

    def is_open(self) -> bool:
        """Would records have somewhere to go now?"""

    def shutdown(self) -> None:
        """Let go of what is left, and end."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Let go of what is left; whether that was done in time."""


class Pipeline(LogRecordProcessor):
    """First in line of a provider's processors: adds the app at work, sees to it that any sink can write the
    record, and hands it to `sinks`. Processors of the application's come after, and get the SDK's record,
    made for them.

    A record keeps at most `max_attributes`, the first ones and the app (None: all). `gate` keeps back records
    below its levels whose level nobody has looked at. `failures` counts records too odd for all that; they go
    on as they are.
    """

    def __init__(self, sinks: Sequence[Sink], limits: LogRecordLimits, max_attributes: int | None) -> None:
        self.sinks = tuple(sinks)
        self.others: tuple[LogRecordProcessor, ...] = ()
        self.gate: Gate | None = None
        self.failures = 0
        self._limits = limits
        self._max_attributes = max_attributes

    def take(self, record: Record) -> None:
        """A record of our own making, whose attributes any sink can write."""
        self.hand_out(record)
        if self.others:
            written = record.writable(self._limits)
            for processor in self.others:
                processor.on_emit(written)

    def hand_out(self, record: Record) -> None:
        """As `take`, but not to processors of the application's."""
        attributes, most = record.attributes, self._max_attributes
        record.app = attributes.pop("app") if "app" in attributes else current_app(record.context)
        if most is not None and len(attributes) >= most:
            self._cut(record, most)
        gate = self.gate
        if not record.checked and gate is not None and (scope := record.scope) is not None:
            app = record.app
            if not gate.wants(scope.name, record.severity.number, app if type(app) is str else None):
                return
        for sink in self.sinks:
            sink.take(record)

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """See `LogRecordProcessor`."""
        log = log_record.log_record
        try:
            _make_plain(log, cast("Fields", log.attributes))
        except Exception:  # an odd record is better than none
            self.failures += 1
        record = record_of(log_record)
        self.hand_out(record)
        if self.others:
            log.attributes = record.all_attributes()

    @staticmethod
    def _cut(record: Record, most: int) -> None:
        """Leave out the last, but for the app."""
        kept = max(0, most - (record.app is not None))
        for name in list(record.attributes)[kept:]:
            del record.attributes[name]
            record.dropped += 1
        if not most and record.app is not None:
            record.app = None
            record.dropped += 1

    def is_open(self) -> bool:
        """Would a record be written, or handed on?"""
        for sink in self.sinks:  # written out, since this is asked for every record
            if sink.is_open():
                return True
        return bool(self.others)

    def enabled(
        self,
        *,
        context: Context | None = None,
        instrumentation_scope: InstrumentationScope | None = None,
        severity_number: SeverityNumber | None = None,
        event_name: str | None = None,
    ) -> bool:
        """Would such a record be written, or handed on, by one of the sinks?"""
        if self.gate is not None and instrumentation_scope is not None:
            app = current_app(context)
            if not self.gate.wants(instrumentation_scope.name, severity_number, app):
                return False
        return any(sink.is_open() for sink in self.sinks)

    def shutdown(self) -> None:
        """See `LogRecordProcessor`."""
        for sink in self.sinks:
            sink.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See `LogRecordProcessor`."""
        until, flushed = time.monotonic() + timeout_millis / 1e3, True
        for sink in self.sinks:
            flushed &= sink.force_flush(max(0, int((until - time.monotonic()) * 1e3)))
        return flushed


def _make_plain(log: LogRecord, attributes: Fields) -> None:
    for name, value in attributes.copy().items():
        if _refused(value):
            attributes[name] = plain(value)
        elif type(value) is str and (safe := redact_urls(value)) is not value:
            attributes[name] = safe
        if _refused(name):
            attributes[text(name)] = attributes.pop(name)
    if _refused(log.body):
        log.body = plain(log.body)
    elif type(log.body) is str:
        log.body = redact_urls(log.body)


def _refused(value: object) -> bool:
    """Is there something in `value` that protobuf refuses: a lone surrogate, or an int outside 64 bits?"""
    if isinstance(value, str):
        return not value.isascii() and text(value) is not value
    if isinstance(value, int):
        return not -(2**63) <= value < 2**63
    if isinstance(value, Mapping):
        return any(_refused(name) or _refused(item) for name, item in value.items())
    return isinstance(value, Sequence) and not isinstance(value, bytes) and any(map(_refused, value))
