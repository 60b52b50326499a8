"""Parts of a span without secrets, for processors and exporters of the SDK's interfaces; OTLP's encoder has
its own way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanKind, Status
from opentelemetry.util.types import Attributes

from bext_otel.redaction.policy import redact_attribute, redact_attributes
from bext_otel.traces.completing import complete_attributes

__all__ = ["hide", "safe_events", "safe_links", "safe_span", "safe_status"]

T = TypeVar("T")


def hide(attributes: dict[str, Any]) -> dict[str, Any]:
    """A span's own attributes, redacted in place: processors that take some out of a span reach into them."""
    for name, value in list(attributes.items()):
        safe = redact_attribute(name, value)
        if safe is not value:
            attributes[name] = safe
    return attributes


def safe_events(events: Sequence[Event]) -> Sequence[Event]:
    """Events, by their names and attributes."""
    return _each(
        events,
        lambda event: Event(
            redact_attribute("", event.name), _safe(event.attributes, event), event.timestamp
        ),
    )


def safe_links(links: Sequence[Link]) -> Sequence[Link]:
    """Links, by their attributes."""
    return _each(links, lambda link: Link(link.context, _safe(link.attributes, link)))


def safe_status(status: Status) -> Status:
    """A status, by its description."""
    said = status.description
    safe = redact_attribute("", said) if said else said
    return status if safe == said else Status(status.status_code, safe)


def safe_span(span: ReadableSpan) -> ReadableSpan:
    """A span of the SDK's that has ended; one of an outgoing call has what `completing` tells."""
    kept = redact_attributes(span.attributes or {})
    if span.kind is SpanKind.CLIENT:
        kept = dict(kept)
        complete_attributes(kept, span.instrumentation_scope, span.status, span.events)
    attributes = BoundedAttributes(None, kept)
    attributes.dropped = span.dropped_attributes
    return ReadableSpan(
        redact_attribute("", span.name),
        span.context,
        span.parent,
        span.resource,
        attributes,
        safe_events(span.events),
        safe_links(span.links),
        span.kind,
        status=safe_status(span.status),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _safe(attributes: Attributes, of: Any) -> Attributes:
    """As many as there were, with the count of those that there was no room for."""
    kept = BoundedAttributes(None, redact_attributes(attributes or {}))
    kept.dropped = of.dropped_attributes
    return kept


def _each(items: Sequence[T], safe: Callable[[T], T]) -> Sequence[T]:
    if not items:
        return items
    made: BoundedList[T] = BoundedList.from_seq(None, [safe(each) for each in items])
    made.dropped = getattr(items, "dropped", 0)
    return made
