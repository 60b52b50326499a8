"""What travels with Celery's messages: the trace, and which run of which flow a task belongs to."""

from __future__ import annotations

import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Span, SpanKind

from bext_otel.apps import clean, current_app
from bext_otel.entries import type_of
from bext_otel.fields import Holder, carried
from bext_otel.operation import Operation, show_failure, tracer
from bext_otel.request_facts import facts_of
from bext_otel.runs import Hold
from bext_otel.text import traceparent
from bext_otel.timing import Anchor, anchor_of
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Original
from bext_otel_instrumentors.celery.messaging import destination_of, sent, titled

if TYPE_CHECKING:
    from bext_otel_instrumentors.celery.eager import Canvas
    from bext_otel_instrumentors.celery.messaging import Processing

__all__ = [
    "APP",
    "BEFORE",
    "CARRIER",
    "FIELDS",
    "FLOW",
    "MACHINERY",
    "REQUEST_ID",
    "ROUTE",
    "RUN",
    "RunIdentity",
    "TaskStep",
    "alone",
    "before_publish",
    "current_step",
    "publishing",
    "sending",
    "upstream_traces",
]

FLOW, RUN, BEFORE = "bext_flow", "bext_run", "bext_before"
"""Headers of a message: the flow's name (a caller may give it), its run, and the span of the step before."""

APP, ROUTE, REQUEST_ID = "bext_app", "bext_route", "bext_request_id"
"""Headers of a message: whose work its task is, and of which request."""
FIELDS = "bext_fields"
"""Header of a message: fields that a task's lines have from who starts it."""

MACHINERY = frozenset({"celery.chord_unlock"})
"""Tasks by which Celery looks again and again whether a chord is ready. They are no steps, and nobody's
end."""

# A signature is data from a message; nobody nests or lists more than this by hand.
_MAX_SIGNATURES = 10_000


@dataclass(frozen=True)
class RunIdentity:
    """Which run of which flow."""

    flow: str
    run: str


@dataclass
class TaskStep:
    """A task that is being executed. `operation` is None where upstream's instrumentation makes the span.

    `canvas` is what executes it at once, with others of its run; `processing` is the message that asked for
    it, if one did.
    """

    request: Any
    name: str
    task_id: str
    identity: RunIdentity
    operation: Operation | None = None
    processing: Processing | None = None
    held: Hold | None = None
    token: Any = None
    context: Context | None = None
    outer: TaskStep | None = None
    canvas: Canvas | None = None
    started: float = 0.0
    fields: Holder = field(default_factory=Holder)
    _next: Any = None
    _has_continued: bool = False
    _successors: frozenset[str] | None = None

    def __post_init__(self) -> None:
        self.started = perf_counter()
        # Before 5.6.3, Celery takes it out of the list before it publishes it.
        self._next = self.request.chain[-1] if self.request.chain else None

    def is_last(self) -> bool:
        """Whether nothing comes after it in its run."""
        return not (self._has_continued or self.request.chain or self.request.callbacks or self.request.chord)

    def continues_with(self, task_id: str) -> bool:
        """Whether the task `task_id` is one that the canvas has after this one: Celery gave them their ids
        when it was published."""
        if self._successors is None:
            chain = self.request.chain
            last = chain[-1] if chain else None
            later = [*(self.request.callbacks or ()), self.request.chord, self._next, last]
            self._successors = frozenset(_ids(later))
        if task_id not in self._successors:
            return False
        self._has_continued = True
        return True


def _ids(signatures: list[Any]) -> Iterator[str]:
    """Ids of the tasks of canvas signatures, which are dicts (so are their objects), nested in groups, chords
    and chains."""
    left = _MAX_SIGNATURES
    while signatures and left:
        left -= 1
        signature = signatures.pop()
        if not isinstance(signature, dict):
            continue
        options, nested = signature.get("options") or {}, signature.get("kwargs") or {}
        if isinstance(options.get("task_id"), str):
            yield options["task_id"]
        signatures += [options.get("chord"), *(options.get("link") or ())]
        if signature.get("subtask_type"):
            tasks = nested.get("tasks") or ()
            signatures += [
                nested.get("header"),
                nested.get("body"),
                *(tasks if isinstance(tasks, (list, tuple)) else ()),
            ]


current_step: ContextVar[TaskStep | None] = ContextVar("bext_celery_step", default=None)
"""The task that is being executed here. No OpenTelemetry context: upstream's instrumentation begins a fresh
one of those."""

_canvas: ContextVar[list[RunIdentity] | None] = ContextVar("bext_celery_canvas", default=None)


class _Carrier(Getter[Any]):
    """Headers of a message, as attributes of a request."""

    def get(self, carrier: Any, key: str) -> list[str] | None:
        value = getattr(carrier, key, None)
        return [value] if isinstance(value, str) else None

    def keys(self, carrier: Any) -> list[str]:
        return []


CARRIER = _Carrier()


def upstream_traces() -> bool:
    """Whether upstream's instrumentation of Celery, where it was turned on by hand, makes the spans; ours
    would be the second ones."""
    module = sys.modules.get("opentelemetry.instrumentation.celery")
    return module is not None and bool(module.CeleryInstrumentor().is_instrumented_by_opentelemetry)


_destination: ContextVar[dict[str, str] | None] = ContextVar("bext_celery_destination", default=None)
"""Where the message goes that is being sent here: known only when it is published."""


def sending(original: Original, self: Any, /, name: str, *args: Any, **kwargs: Any) -> Any:
    """`Celery.send_task`, by which every task is published, inside of a span."""
    span, token = _begin(name)
    anchor, began = anchor_of(span) if span is not None else None, perf_counter()
    destination: dict[str, str] = {}
    known, failure = _destination.set(destination), None
    try:
        return original(self, name, *args, **kwargs)
    except BaseException as error:
        failure = type_of(error)
        _failed(span, error)
        raise
    finally:
        _destination.reset(known)
        if span is not None:
            sent(destination, perf_counter() - began, failure)
        _end(span, token, anchor)


def _begin(name: str) -> tuple[Span | None, Any]:
    try:
        if name in MACHINERY or upstream_traces():
            return None, None
        shown = {
            "messaging.system": "celery",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "bext.task": clean(name),
        }
        # Where to is known only when it is published.
        span = tracer().start_span("send", kind=SpanKind.PRODUCER, attributes=shown)
        return span, context.attach(trace.set_span_in_context(span))
    except Exception as error:  # the task is sent all the same
        report("the publishing of a task", error)
        return None, None


def _failed(span: Span | None, error: BaseException) -> None:
    if span is not None:
        show_failure(span, type(error).__qualname__, error)


def _end(span: Span | None, token: Any, anchor: Anchor | None) -> None:
    if span is not None and anchor is not None:
        context.detach(token)
        span.end(anchor.now())


def publishing(original: Original, /, *args: Any, **kwargs: Any) -> Any:
    """`apply_async` of a group or a chord: the tasks that it publishes are one run."""
    if _canvas.get() is not None:
        return original(*args, **kwargs)
    token = _canvas.set([])
    try:
        return original(*args, **kwargs)
    finally:
        _canvas.reset(token)


@contextmanager
def alone() -> Iterator[None]:
    """Around tasks that are executed at once: what they publish is none of a canvas that is being published
    here."""
    token = _canvas.set(None)
    try:
        yield
    finally:
        _canvas.reset(token)


def before_publish(
    sender: str | None = None,
    headers: MutableMapping[str, Any] | None = None,
    exchange: Any = None,
    routing_key: Any = None,
    **_: Any,
) -> None:
    """The signal `before_task_publish`: put the trace and the identity into the message."""
    # Messages of protocol 1 have none, and carry nothing.
    if not headers or "id" not in headers:
        return
    try:
        step = current_step.get()
        identity = _identify(headers, str(sender), step)
        headers[FLOW], headers[RUN] = identity.flow, identity.run
        headers.pop(BEFORE, None)
        route, request_id = facts_of(context.get_current())
        for name, value in ((APP, current_app()), (ROUTE, route), (REQUEST_ID, request_id)):
            if value:
                headers[name] = value
        if inherited := carried(context.get_current()):
            headers[FIELDS] = inherited
        if step is not None and step.operation is not None and step.identity == identity:
            before = step.operation.span.get_span_context()
            if before.is_valid:
                headers[BEFORE] = traceparent(before)
        if not upstream_traces():
            propagate.inject(headers)
            shown = destination_of({"exchange": exchange, "routing_key": routing_key})
            if (known := _destination.get()) is not None:
                known.update(shown)
            span = trace.get_current_span()
            if getattr(span, "kind", None) is SpanKind.PRODUCER:
                span.set_attributes({"messaging.message.id": str(headers["id"]), **shown})
                span.update_name(titled("send", shown))
    except Exception as error:  # the task is sent all the same
        report("the publishing of a task", error)


def _identify(headers: MutableMapping[str, Any], name: str, step: TaskStep | None) -> RunIdentity:
    if step is not None and (
        headers["id"] == step.task_id or MACHINERY & {name, step.name} or step.continues_with(headers["id"])
    ):
        return step.identity  # tried again, replaced, or what the canvas has next
    given = headers.get(FLOW)
    fresh = RunIdentity(clean(given) if given else clean(name), str(headers["id"]))
    canvas = _canvas.get()
    if canvas is None:
        return fresh
    if not canvas:
        canvas.append(fresh)
    return canvas[0]
