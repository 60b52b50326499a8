"""Text that is no UTF-8, in what is to be exported: one such name, which an application makes of a file's or
of what it was sent, would cost a whole batch. Attributes are the encoder's business, which leaves out the bad
ones.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace.status import Status

from bext_otel.text import encodable

__all__ = ["encodable_records", "encodable_spans"]


def encodable_spans(spans: Sequence[ReadableSpan]) -> list[ReadableSpan] | None:
    """The spans, with each lone surrogate replaced; None where there is none."""
    made = [_span(span) for span in spans]
    return made if any(one is not other for one, other in zip(made, spans, strict=True)) else None


def encodable_records(records: Sequence[ReadableLogRecord]) -> list[ReadableLogRecord] | None:
    """Likewise for log records."""
    made = [_record(record) for record in records]
    return made if any(one is not other for one, other in zip(made, records, strict=True)) else None


def _span(span: ReadableSpan) -> ReadableSpan:
    scope = span.instrumentation_scope
    said = (span.name, span.status.description, scope and scope.name, scope and scope.version)
    if not any(map(_is_bad, said)) and not any(_is_bad(event.name) for event in span.events):
        return span
    return ReadableSpan(
        name=encodable(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        events=[Event(encodable(event.name), event.attributes, event.timestamp) for event in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, encodable(span.status.description))
        if span.status.description
        else span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=_scope(scope),
    )


def _record(record: ReadableLogRecord) -> ReadableLogRecord:
    log, scope = record.log_record, record.instrumentation_scope
    event = getattr(log, "event_name", None)
    if not any(
        map(_is_bad, (log.severity_text, log.body, event, scope and scope.name, scope and scope.version))
    ):
        return record
    made = copy.copy(log)
    for name in ("severity_text", "body", "event_name"):
        if isinstance(text := getattr(made, name, None), str):
            setattr(made, name, encodable(text))
    return ReadableLogRecord(
        log_record=made, resource=record.resource, instrumentation_scope=_scope(scope), limits=record.limits
    )


def _scope(scope: InstrumentationScope | None) -> InstrumentationScope | None:
    if scope is None or not (_is_bad(scope.name) or _is_bad(scope.version)):
        return scope
    version = encodable(scope.version) if scope.version else scope.version
    return InstrumentationScope(encodable(scope.name), version, scope.schema_url, scope.attributes)


def _is_bad(text: object) -> bool:
    return isinstance(text, str) and not text.isascii() and encodable(text) != text
