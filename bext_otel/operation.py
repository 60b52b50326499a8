"""How work is measured: one span, one duration, one outcome for anything that takes time.

Knows the OpenTelemetry API only, so that instrumentors and applications that use it cost nothing while no
provider is set, and reach any provider that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import Any

import msgspec
from opentelemetry import context, trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from bext_otel.apps import current_app
from bext_otel.catalogue import UNKNOWN, Metric, Work
from bext_otel.entries import describe_exception, emit, type_of
from bext_otel.measuring import (
    SCOPE,
    SHARED,
    LabelValue,
    Measure,
    Recorder,
    joint,
    name_units,
    observe,
    recorder,
)
from bext_otel.recording import count, gauge, measure, record, refuse
from bext_otel.redaction import describe
from bext_otel.scope import tracer_of
from bext_otel.timing import anchor_of, child_anchor

__all__ = [
    "SCOPE",
    "SHARED",
    "Measure",
    "Operation",
    "Settings",
    "app_of_request",
    "count",
    "finish",
    "gauge",
    "is_request_left_out",
    "is_request_logged",
    "joint",
    "leave_request_out",
    "measure",
    "observe",
    "operation",
    "record",
    "recorder",
    "set_request_logged",
    "settings",
    "show_failure",
    "start",
    "trace_past",
    "tracer",
    "use",
]


class Settings(msgspec.Struct, frozen=True):
    """What the composition root decided for the whole process.

    `resolver` maps a request's host and path to its app; `log_requests` asks for a log record at the end of
    each request; `slow_request_ms` is from where that record is a warning, for all or by app and route;
    `units` says whether instruments carry their unit, or leave it to the name; `route_of` knows the route
    template of a request of an app, by its path and its scope or environ, where no framework tells one;
    `trusts` says whether the trace context and baggage of a request count, by its app and the address that
    its connection comes from ("": not known), None that all do; `proxies` says by an address whether it is a
    proxy's whose word about the client counts, None that nobody's does; `sends_request_id` asks for
    `X-Request-Id` in each answer; `quiet` says by a request's path, status and trace that none is made of it
    if it was neither slow nor failed; `bodies` are the apps whose requests' bodies are logged at trace;
    `body_sizes` asks for the conventions' metrics of bodies; `flow_names` has runs and steps counted by name.
    """

    resolver: Callable[[str, str], str] | None = None
    log_requests: bool = True
    slow_request_ms: float | Callable[[str, str | None], float] = 500.0
    units: bool = True
    flow_names: bool = False
    route_of: Callable[[str, str, Mapping[str, Any]], str | None] | None = None
    trusts: Callable[[str, str], bool] | None = None
    proxies: Callable[[str], bool] | None = None
    bodies: frozenset[str] = frozenset()
    sends_request_id: bool = False
    quiet: Callable[[str, int, int], bool] | None = None
    body_sizes: bool = False


_settings = Settings()


def settings() -> Settings:
    """The settings in force."""
    return _settings


def use(new: Settings) -> None:
    """Put settings in force."""
    global _settings
    _settings = new
    name_units(on_instruments=new.units)


_tracer: tuple[trace.TracerProvider, trace.Tracer] | None = None


def tracer() -> trace.Tracer:
    """The tracer of the current tracer provider."""
    global _tracer
    provider = trace.get_tracer_provider()
    if _tracer is None or _tracer[0] is not provider:
        _tracer = (provider, tracer_of(provider))
    return _tracer[1]


# A server tells of a request when the request's own context has been left.
_request: ContextVar[tuple[bool, str] | None] = ContextVar("bext_otel_request", default=None)
_LEFT_OUT = (False, UNKNOWN)  # told from another such pair by its identity


def set_request_logged(*, told: bool, app: str = UNKNOWN) -> None:
    """A request of `app` begins here, and a record will tell (or not) of its completion."""
    _request.set((told, app))


def leave_request_out() -> None:
    """A request begins here that the operator has excluded: nothing tells of it, not even its server."""
    _request.set(_LEFT_OUT)


def is_request_left_out() -> bool:
    """Whether the last request that began here is one of those."""
    return _request.get() is _LEFT_OUT


def is_request_logged() -> bool | None:
    """Whether a record tells of the last request that began here; None where there was none yet."""
    request = _request.get()
    return None if request is None else request[0]


def app_of_request() -> str:
    """The app of the last request that began here."""
    request = _request.get()
    return request[1] if request is not None else UNKNOWN


class Operation:
    """A piece of work in progress: its span, and the label values known so far.

    `labels` maps label names to values and may be written until the end; `set` also shows a value on the
    span.
    """

    __slots__ = ("_anchor", "_ended", "elapsed_ms", "labels", "span", "started", "work")

    def __init__(self, work: Work, span: Span, labels: dict[str, str], started: float) -> None:
        self.work = work
        self.span = span
        self.labels = labels
        self.started = started
        self.elapsed_ms = 0.0
        self._anchor = anchor_of(span)
        self._ended = False

    def set(self, **fields: AttributeValue) -> None:
        """State facts: each becomes the span attribute `bext.<field>`, and the label's value where the work's
        metrics have one."""
        for name, value in fields.items():
            self.span.set_attribute(f"bext.{name}", value)
            self.labels[name] = str(value)

    def measure(self, metric: Metric, value: float, /, **labels: LabelValue) -> None:
        """Record a measurement that belongs to this work, with its span as the exemplar; labels as for
        `measure`."""
        measure(metric, value, context=trace.set_span_in_context(self.span), **labels)

    def end(self, error: BaseException | str | None = None) -> None:
        """See `finish`."""
        finish(self, error)


# Seconds to the unit of a duration.
_PER_SECOND: Mapping[str, float] = {"s": 1.0, "ms": 1e3, "us": 1e6}


def start(
    work: Work,
    *,
    name: str | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    context: Context | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
    **labels: str,
) -> Operation:
    """Begin a piece of work: a span named `name` (default: the work's name), child of `context` (default: the
    current one).

    `labels` are the work's labels; each is also the span attribute `bext.<label>`. The span is not made
    current: `operation` does that.
    """
    return _start(work, labels, name, kind, context, attributes)


def _start(
    work: Work,
    labels: dict[str, str],
    name: str | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    context: Context | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> Operation:
    shown: dict[str, AttributeValue] = {f"bext.{label}": value for label, value in labels.items()}
    if attributes:
        shown.update(attributes)
    span = tracer().start_span(name or work.name, context, kind, shown)
    return Operation(work, span, labels, perf_counter())


def finish(operation: Operation, error: BaseException | str | None = None) -> None:
    """End a piece of work, once: its duration, its outcome and its span. `error` is what it failed with;
    None: it succeeded."""
    if operation._ended:
        return
    operation._ended = True
    elapsed = perf_counter() - operation.started
    operation.elapsed_ms = elapsed * 1e3
    work, labels = operation.work, operation.labels
    if error is not None:
        _failed(operation, error)
    here = trace.set_span_in_context(operation.span)
    _record(work.duration, elapsed * _PER_SECOND[work.duration.unit], labels, here)
    if work.completed is not None:
        labels.setdefault("status", "success" if error is None else "failed")
        _record(work.completed, 1, labels, here)
    if work.failed is not None and error is not None:
        _record(work.failed, 1, labels, here)
    if work.slow_ms is not None and operation.elapsed_ms > work.slow_ms:
        _slow(operation, here)
    operation.span.end(operation._anchor.now())


def trace_past(
    name: str,
    started_ns: int,
    *,
    context: Context | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
    failed: bool = False,
) -> Span:
    """The span of work that is over now, and began at `started_ns` of `time.perf_counter_ns`; for what is
    known only at its end."""
    anchor = child_anchor(trace.get_current_span(context))
    span = tracer().start_span(name, context, attributes=attributes, start_time=anchor.at(started_ns))
    if failed:
        span.set_status(StatusCode.ERROR)
    span.end(anchor.now())
    return span


# What records the metrics of works, which have the labels of their rows whatever those are.
_recorders: dict[Metric, Recorder] = {}


def _record(metric: Metric, value: float, labels: Mapping[str, str], here: Context) -> None:
    record = _recorders.get(metric)
    if record is None:
        record = _recorders[metric] = recorder(metric, *metric.label_names)
    try:
        values = [labels[name] for name in metric.label_names]
    except KeyError:
        values = [_value_of(metric, labels, name, here) for name in metric.label_names]
    record(value, *values, context=here)


def _value_of(metric: Metric, labels: Mapping[str, str], name: str, here: Context) -> str:
    if name in labels:
        return labels[name]
    if name == "app" and (app := current_app(here)):
        return app
    named = ", ".join(metric.keywords)
    refuse(
        f"{metric.name} has the labels ({named}): {name!r} was not named before the end, and is "
        f"{UNKNOWN!r} now"
    )
    return UNKNOWN


def _failed(operation: Operation, error: BaseException | str) -> None:
    raised = error if isinstance(error, BaseException) else None
    operation.labels.setdefault("error_type", str(error) if raised is None else type(raised).__qualname__)
    show_failure(operation.span, operation.labels["error_type"], raised)


def show_failure(span: Span, error_type: str, error: BaseException | None = None) -> None:
    """Show on a span that its work failed, by the conventions: `error.type`, and the exception, whose message
    describes the status.

    What an exception says is redacted there, and bounded. Nothing is said twice: without an exception there
    is no description.
    """
    if error is None:
        span.set_attribute("error.type", error_type)
        span.set_status(StatusCode.ERROR)
        return
    # A label of a metric has a class by its short name, a span by its whole one, as the conventions have it.
    span.set_attribute("error.type", type_of(error) if error_type == type(error).__qualname__ else error_type)
    span.set_status(StatusCode.ERROR, describe(error))
    if span.is_recording():
        span.add_event("exception", describe_exception(error))


def _slow(operation: Operation, here: Context) -> None:
    """A warning that a piece of work took longer than its threshold."""
    fields: dict[str, Any] = {
        **operation.labels,
        "duration_ms": round(operation.elapsed_ms, 3),
        "threshold_ms": operation.work.slow_ms,
    }
    name = operation.work.name
    emit(name, SeverityNumber.WARN, f"{name} slow", fields, here=here, event=f"{name}.slow")


# By work, the labels of its metrics.
_labels_of: dict[Work, frozenset[str]] = {}


def _known_labels(work: Work) -> frozenset[str]:
    found = _labels_of.get(work)
    if found is None:
        metrics = [metric for metric in (work.duration, work.completed, work.failed) if metric is not None]
        found = frozenset([label.name for metric in metrics for label in metric.labels])
        found = _labels_of[work] = found | {label.name for label in work.labels}
    return found


@contextmanager
def operation(work: Work, /, **labels: str) -> Iterator[Operation]:
    """Measure and trace the body: `with operation(CHECKOUT, plan="pro") as op`. What it raises passes on, and
    is its outcome.

    A decorator of plain functions, too. `app` is the app at work where it is not named. A label that the work
    does not have is one line in the log; the span shows it all the same.
    """
    if not labels.keys() <= (known := _known_labels(work)):
        wrong = ", ".join(repr(name) for name in labels if name not in known)
        refuse(
            f"{work.name} has the labels ({', '.join(label.name for label in work.labels)}): {wrong} is not "
            "one of them; add it to the declaration, or show it on the span alone, by op.set()"
        )
    current = _start(work, labels)
    token = context.attach(trace.set_span_in_context(current.span))
    try:
        yield current
    except BaseException as error:
        finish(current, error)
        raise
    finally:
        context.detach(token)
        finish(current)
