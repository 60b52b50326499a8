"""What becomes of a log record of the provider's: it is completed once, and goes to each of the sinks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias, cast

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context, get_current
from opentelemetry.sdk._logs import LogRecordLimits, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel import fields
from bext_otel.apps import APP_KEY, current_app
from bext_otel.bounded import within
from bext_otel.export.record import Record, record_of
from bext_otel.logs.levels import Gate
from bext_otel.logs.processors import Processors
from bext_otel.logs.values import plain, text
from bext_otel.redaction import redact_value
from bext_otel.redaction.policy import is_ours_named, redact_attribute, redact_whole
from bext_otel.request_facts import REQUEST_KEY
from bext_otel.scope import is_own

__all__ = ["Pipeline", "Sink"]

Fields: TypeAlias = "BoundedAttributes | dict[str, Any]"
"""The attributes of a record of the SDK's; both have a `copy` that needs no lock."""


class Sink(Protocol):
    """Where records go. Where it is not `levelled`, the levels of lines are none of what others emit at the
    Logs API; whoever wants less of that has a logger configurator."""

    levelled: bool

    def take(self, record: Record) -> None:
        """Have a record, which nobody changes any more. Never raises."""

    def is_open(self) -> bool:
        """Would records have somewhere to go now?"""

    def shutdown(self) -> None:
        """Let go of what is left, and end."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Let go of what is left; whether that was done in time."""


class Pipeline(LogRecordProcessor):
    """In the place of the SDK's multi-processor: adds the app at work, has the application's processors
    change the record, sees to it that any sink can write it, and hands it to `sinks`.

    Those processors get the SDK's record, made for them; where there are none, none is made. A record keeps
    at most `max_attributes`, the first ones and the app (None: all). `gate` keeps back records below its
    levels whose level nobody has looked at. `has_users`: there are processors of the application's.
    """

    def __init__(self, sinks: Sequence[Sink], limits: LogRecordLimits, max_attributes: int | None) -> None:
        self.sinks = tuple(sinks)
        self.gate: Gate | None = None
        self._users = Processors()
        self.has_users = False
        self._failures = 0
        self._limits = limits
        self._max_attributes = max_attributes

    @property
    def failures(self) -> int:
        """How many records were too odd to be looked at, and go on as they are; how often a processor of the
        application's failed."""
        return self._failures + self._users.failures

    def failed(self, error: Exception) -> None:
        """A record that could not be made is lost, counted and told."""
        self._users.tell("a log record cannot be made", error)

    def add_log_record_processor(self, log_record_processor: LogRecordProcessor) -> None:
        """One of the application's."""
        self._users.add(log_record_processor)
        self.has_users = True

    def take(self, record: Record, written: ReadWriteLogRecord | None = None) -> None:
        """A record whose attributes any sink can write; `written` is the SDK's, where it was one."""
        attributes, most, here = record.attributes, self._max_attributes, record.context
        if "app" in attributes:
            record.app = attributes.pop("app")
        elif isinstance(app := here.get(APP_KEY), str):  # as `current_app` says, without another call
            record.app = app
        if (request := here.get(REQUEST_KEY)) is not None:
            self._tell_request(record, request)
        if fields.used:
            fields.add_to(attributes, here or get_current())
        if most is not None and len(attributes) >= most:
            self._cut(record, most)
        if is_ours_named():
            record.body, record.app, record.attributes = redact_whole(record.body, record.app, attributes)
        if self.has_users:
            record = self._changed(record, written)
        gate, scope = self.gate, record.scope
        if not record.checked and gate is not None and scope is not None:
            app = record.app
            if not gate.wants(scope.name, record.severity.number, app if type(app) is str else None):
                self._keep_back(record)
                return
        for sink in self.sinks:
            sink.take(record)

    def _keep_back(self, record: Record) -> None:
        """One below its level: what others emit goes to who has no levels."""
        if not is_own(record.scope):
            for sink in self.sinks:
                if not sink.levelled:
                    sink.take(record)

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """See `LogRecordProcessor`."""
        self._check(log_record.log_record)
        self.take(record_of(log_record), log_record)

    def _changed(self, record: Record, written: ReadWriteLogRecord | None) -> Record:
        """What the application's processors make of a record."""
        if written is None:
            written = record.writable(self._limits)
        else:
            written.log_record.attributes = record.all_attributes()
        self._users.on_emit(written)
        self._check(written.log_record)
        try:
            made = record_of(written)
        except Exception:  # what they have put there is no attributes
            self._failures += 1
            return record
        made.app = made.attributes.pop("app", None)
        if record.request_id is not None:
            made.route = made.attributes.pop("route", None)
            made.request_id = made.attributes.pop("request_id", None)
        if is_ours_named():
            made.body, made.app, made.attributes = redact_whole(made.body, made.app, made.attributes)
        made.checked, made.printed, made.waits = record.checked, record.printed, record.waits
        return made

    def _tell_request(self, record: Record, request: Any) -> None:
        """What an application says itself under these names stands for itself."""
        try:
            route, request_id = request.facts()
        except Exception:  # a record tells less of its request, and is one all the same
            self._failures += 1
            return
        attributes = record.attributes
        if "route" not in attributes:
            record.route = route
        if "request_id" not in attributes:
            record.request_id = request_id
        if is_ours_named():
            # What the callback leaves of them need not be text.
            record.route = _text_or_none("route", record.route)
            record.request_id = _text_or_none("request_id", record.request_id)

    def _check(self, log: LogRecord) -> None:
        try:
            _make_plain(log, cast("Fields", log.attributes))
        except Exception:  # an odd record is better than none
            self._failures += 1

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
        return self.has_users

    def enabled(
        self,
        *,
        context: Context | None = None,
        instrumentation_scope: InstrumentationScope | None = None,
        severity_number: SeverityNumber | None = None,
        event_name: str | None = None,
    ) -> bool:
        """Would such a record be written, or handed on, by anybody?"""
        scope, passes = instrumentation_scope, True
        if self.gate is not None and scope is not None:
            passes = self.gate.wants(scope.name, severity_number, current_app(context))
        levelled = not passes and is_own(scope)
        for sink in self.sinks:
            if (passes or not (levelled or sink.levelled)) and sink.is_open():
                return True
        return self.has_users and self._users.enabled(
            context=context,
            instrumentation_scope=scope,
            severity_number=severity_number,
            event_name=event_name,
        )

    def shutdown(self) -> None:
        """See `LogRecordProcessor`."""
        for sink in self.sinks:
            sink.shutdown()
        self._users.shutdown()

    def end_users(self, seconds: float) -> None:
        """End the application's processors, within so many seconds. Once."""
        self.has_users = False
        self._users.end(seconds)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See `LogRecordProcessor`. Side by side, each with all of the time: a sink that takes it all keeps
        nobody else from sending."""
        if len(self.sinks) == 1:  # no thread, where that is all there is
            flushed = self.sinks[0].force_flush(timeout_millis)
        else:
            calls = [partial(sink.force_flush, timeout_millis) for sink in self.sinks]
            answers = within(timeout_millis / 1e3, calls)
            flushed = all(each is not None and each.value is True for each in answers)
        return self._users.force_flush(timeout_millis) and flushed


def _make_plain(log: LogRecord, attributes: Fields) -> None:
    for name, value in attributes.copy().items():
        safe = redact_value(name, plain(value) if _refused(value) else value)
        if safe is not value:
            attributes[name] = safe
        if _refused(name):
            attributes[text(name)] = attributes.pop(name)
    if _refused(log.body):
        log.body = plain(log.body)
    else:
        log.body = redact_value("", log.body)


def _refused(value: object) -> bool:
    """Is there something in `value` that protobuf refuses: a lone surrogate, or an int outside 64 bits?"""
    if isinstance(value, str):
        return not value.isascii() and text(value) is not value
    if isinstance(value, int):
        return not -(2**63) <= value < 2**63
    if isinstance(value, Mapping):
        return any(_refused(name) or _refused(item) for name, item in value.items())
    return isinstance(value, Sequence) and not isinstance(value, bytes) and any(map(_refused, value))


def _text_or_none(name: str, value: str | None) -> str | None:
    safe = None if value is None else redact_attribute(name, value)
    return safe if safe is None or isinstance(safe, str) else str(safe)
