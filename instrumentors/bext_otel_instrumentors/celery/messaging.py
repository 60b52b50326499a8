"""Messages as OpenTelemetry's semantic conventions have them: the span of who processes one, and the metrics
of both sides. What the platform tells of flows stands below and beside."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind
from opentelemetry.util.types import AttributeValue

from bext_otel.apps import clean
from bext_otel.operation import show_failure, tracer
from bext_otel.scope import meter_of
from bext_otel.timing import anchor_of
from bext_otel_instrumentors._kit.guard import report

__all__ = ["DESTINATION", "Processing", "destination_of", "sent", "titled"]

DESTINATION = "messaging.destination.name"
_SYSTEM = {"messaging.system": "celery"}
# The conventions' own, in seconds.
_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


def destination_of(delivery: Mapping[str, Any] | None) -> dict[str, str]:
    """`messaging.destination.name`: the routing key, which is the queue's name unless routes say otherwise;
    else the exchange."""
    delivery = delivery or {}
    for given in (delivery.get("routing_key"), delivery.get("exchange")):
        name = getattr(given, "name", given)
        if isinstance(name, str) and name:
            return {DESTINATION: clean(name)}
    return {}


def titled(operation: str, destination: Mapping[str, str]) -> str:
    """The name of a span: what is done, and where."""
    name = destination.get(DESTINATION)
    return f"{operation} {name}" if name else operation


class _Instruments:
    """At one provider."""

    def __init__(self, provider: metrics.MeterProvider) -> None:
        meter = meter_of(provider)
        self.sent = meter.create_counter(
            "messaging.client.sent.messages", "{message}", "Messages that were to be sent."
        )
        self.consumed = meter.create_counter(
            "messaging.client.consumed.messages", "{message}", "Messages that were delivered."
        )
        self.sending = meter.create_histogram(
            "messaging.client.operation.duration",
            "s",
            "Time that sending took.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        )
        self.processing = meter.create_histogram(
            "messaging.process.duration",
            "s",
            "Time that processing took.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        )


_made: tuple[metrics.MeterProvider, _Instruments] | None = None


def _instruments() -> _Instruments:
    global _made
    provider = metrics.get_meter_provider()
    made = _made
    if made is None or made[0] is not provider:
        made = _made = (provider, _Instruments(provider))
    return made[1]


def sent(destination: Mapping[str, str], seconds: float, failure: str | None) -> None:
    """A message was sent, or was to be. Never raises."""
    try:
        told = {**_SYSTEM, "messaging.operation.name": "send", **destination}
        if failure is not None:
            told["error.type"] = failure
        instruments = _instruments()
        instruments.sent.add(1, told)
        instruments.sending.record(seconds, {**told, "messaging.operation.type": "send"})
    except Exception as error:  # it has been sent all the same
        report("the count of a message", error)


class Processing:
    """A message that is being processed: a span, whose context is `context`."""

    def __init__(self, task_id: str, delivery: Mapping[str, Any] | None, above: Context) -> None:
        self._destination = destination_of(delivery)
        shown: dict[str, AttributeValue] = {
            **_SYSTEM,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.message.id": task_id,
            **self._destination,
        }
        name = titled("process", self._destination)
        self._span: Span = tracer().start_span(name, above, SpanKind.CONSUMER, shown)
        self._anchor, self._began = anchor_of(self._span), perf_counter()
        self.context = trace.set_span_in_context(self._span, above)

    def end(self, failure: str | None = None, error: BaseException | None = None) -> None:
        """It has been processed; `failure` says in a word why that failed, `error` what was raised, if
        anything was."""
        if failure is not None:
            show_failure(self._span, failure, error)
        told = {**_SYSTEM, "messaging.operation.name": "process", **self._destination}
        if failure is not None:
            told["error.type"] = failure
        instruments = _instruments()
        instruments.consumed.add(1, told, self.context)
        instruments.processing.record(perf_counter() - self._began, told, self.context)
        self._span.end(self._anchor.now())
