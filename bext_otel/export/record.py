"""A log record on its way, from who says something to the line and to OTLP: one object, which nothing is
copied from but for processors and exporters of the SDK's interfaces."""

from __future__ import annotations

from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordLimits, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

__all__ = ["Record", "Severity", "record_of", "severity_of"]

# Texts are the applications' own.
_MAX_SEVERITIES = 1000
_NO_CONTEXT = Context()

_new = object.__new__


class Severity:
    """How grave a record is: OpenTelemetry's number, and the text beside it. There is one object for each
    such pair, so that what goes by it is found by identity."""

    __slots__ = ("number", "text")

    def __init__(self, number: SeverityNumber | None, text: str | None) -> None:
        self.number = number
        self.text = text


_severities: dict[tuple[int, str | None], Severity] = {}


def severity_of(number: SeverityNumber | None, text: str | None) -> Severity:
    """The severity of this number and text."""
    key = (0 if number is None else id(number), text)  # an enumeration's members live for ever
    found = _severities.get(key)
    if found is None:
        found = Severity(number, text)
        if len(_severities) < _MAX_SEVERITIES:
            _severities[key] = found
    return found


class Record:
    """A log record, as the data model of OpenTelemetry's logs has it; `attributes` are its own, of values
    that OTLP and JSON hold, and so are `app`, and `route` and `request_id` of its request, each of which is
    one of them (None: it has none).

    `checked` says that its level has been looked at; `printed` that the application has printed it itself,
    where our lines go too; `heard` that the terminal was ours a moment ago; `waits` that it is no reason to
    begin exporting; `dropped` how many attributes it has not, because there are too many. Times are
    nanoseconds since the epoch; ids are 0 where there is no span.
    """

    __slots__ = (
        "app",
        "attributes",
        "body",
        "checked",
        "context",
        "dropped",
        "event_name",
        "heard",
        "observed",
        "printed",
        "request_id",
        "resource",
        "route",
        "scope",
        "severity",
        "span_id",
        "timestamp",
        "trace_flags",
        "trace_id",
        "waits",
    )

    def __init__(
        self,
        resource: Resource | None,
        scope: InstrumentationScope | None,
        context: Context,
        timestamp: int | None,
        observed: int | None,
        severity: Severity,
        body: Any,
        attributes: dict[str, Any],
        dropped: int = 0,
        checked: bool = False,
        printed: bool = False,
        waits: bool = False,
        heard: bool = False,
    ) -> None:
        """Its ids are for whoever makes it to set."""
        self.resource = resource
        self.scope = scope
        self.context = context
        self.timestamp = timestamp
        self.observed = observed
        self.severity = severity
        self.body = body
        self.attributes = attributes
        self.dropped = dropped
        self.app: Any = None
        self.route: str | None = None
        self.request_id: str | None = None
        self.event_name: str | None = None
        self.trace_id = self.span_id = self.trace_flags = 0
        self.checked = checked
        self.printed = printed
        self.waits = waits
        self.heard = heard

    def writable(self, limits: LogRecordLimits) -> ReadWriteLogRecord:
        """As the SDK's processors know records."""
        made = _new(ReadWriteLogRecord)
        made.log_record, made.limits = self._logged(self.context), limits
        made.resource, made.instrumentation_scope = self.resource, self.scope
        return made

    def readable(self) -> ReadableLogRecord:
        """As the SDK's exporters know records; without the context, which may hold a whole request."""
        return ReadableLogRecord(
            log_record=self._logged(_NO_CONTEXT),
            resource=self.resource if self.resource is not None else Resource.create({}),
            instrumentation_scope=self.scope,
        )

    def all_attributes(self) -> dict[str, Any] | BoundedAttributes:
        """Its attributes, the app's and those of its request among them, as the SDK keeps them where there
        were more."""
        attributes = dict(self.attributes)
        if self.app is not None:
            attributes["app"] = self.app
        if self.route is not None:
            attributes["route"] = self.route
        if self.request_id is not None:
            attributes["request_id"] = self.request_id
        if not self.dropped:
            return attributes
        # Also such values as only records have, lists of mappings for instance.
        bounded = BoundedAttributes(attributes=attributes, immutable=False, extended_attributes=True)
        bounded.dropped = self.dropped
        return bounded

    def _logged(self, context: Context) -> LogRecord:
        made = LogRecord(
            timestamp=self.timestamp,
            observed_timestamp=self.observed if self.observed is not None else 0,
            context=context,
            severity_number=self.severity.number,
            severity_text=self.severity.text,
            body=self.body,
            attributes=self.all_attributes(),
            event_name=self.event_name,
        )
        made.observed_timestamp = self.observed  # type: ignore[assignment]  # there may be none
        made.trace_id, made.span_id = self.trace_id, self.span_id
        made.trace_flags = self.trace_flags  # type: ignore[assignment]  # kept as it came
        return made


def record_of(given: ReadWriteLogRecord | ReadableLogRecord) -> Record:
    """A record of the SDK's, as ours."""
    log = given.log_record
    attributes = log.attributes
    made = Record(
        given.resource,
        given.instrumentation_scope,
        log.context or _NO_CONTEXT,
        log.timestamp,
        log.observed_timestamp,
        severity_of(log.severity_number, log.severity_text),
        log.body,
        # The SDK's own mapping locks at each step of an iteration, and has a copy that doesn't.
        dict(attributes.copy() if isinstance(attributes, BoundedAttributes) else attributes or {}),
        given.dropped_attributes,
    )
    made.event_name = log.event_name
    made.trace_id, made.span_id = log.trace_id or 0, log.span_id or 0
    made.trace_flags = log.trace_flags or 0
    return made
