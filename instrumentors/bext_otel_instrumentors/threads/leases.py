"""For how long a thread that a request has started works for that request.

Nobody can tell a thread that does one piece of work, perhaps long after the answer, from one that loops and
serves others: both are started alike. So what it is given ends: some time after the request, when it has told
of nothing meanwhile, or has gone on for very long.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, INVALID_SPAN_CONTEXT, Span, SpanContext, Status, StatusCode
from opentelemetry.util.types import Attributes, AttributeValue

from bext_otel_instrumentors.http.exchange import current

__all__ = ["leased"]

# Without any span or log record of its own, once the request is over.
_IDLE_SECONDS = 60.0
# Since it was started, once the request is over.
_LONGEST_SECONDS = 900.0


def leased(here: Context) -> Context:
    """`here` for a thread, which does not keep its span for good; as it is where it has none that ends."""
    span = trace.get_current_span(here)
    known = span.get_span_context()
    if not known.is_valid or (current(here) is None and not span.is_recording()):
        return here
    return trace.set_span_in_context(LeasedSpan(span, known, here), here)


class LeasedSpan(Span):
    """A span, until what began in it is not its work any more: then it is none."""

    _span: Span = INVALID_SPAN  # for whoever makes one without `__init__`, as copies are

    def __init__(self, span: Span, known: SpanContext, here: Context) -> None:
        self._span = span
        self._known = known
        self._request = current(here)
        self._began = self._told = monotonic()

    def get_span_context(self) -> SpanContext:
        """That of the span. Whoever begins a span below it, or logs within it, asks."""
        if self._known is INVALID_SPAN_CONTEXT:
            return self._known
        now = monotonic()
        if (now - self._told > _IDLE_SECONDS or now - self._began > _LONGEST_SECONDS) and self._is_over():
            self._known, self._span, self._request = INVALID_SPAN_CONTEXT, INVALID_SPAN, None
        self._told = now
        return self._known

    def _is_over(self) -> bool:
        return not self._span.is_recording() if self._request is None else self._request.finished

    def __getattr__(self, name: str) -> Any:
        return getattr(self._span, name)

    def is_recording(self) -> bool:
        return self._span.is_recording()

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        self._span.set_attribute(key, value)

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        self._span.set_attributes(attributes)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        self._span.add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        self._span.add_link(context, attributes)

    def update_name(self, name: str) -> None:
        self._span.update_name(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        self._span.set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        self._span.record_exception(exception, attributes, timestamp, escaped)

    def end(self, end_time: int | None = None) -> None:
        self._span.end(end_time)
