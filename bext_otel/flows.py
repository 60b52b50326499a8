"""Flows of one's own engine: runs that are counted, steps that are timed and traced, one trace also after a
restart.

    with flow("checkout", resume=saved) as run:
        with run.step("charge"):
            ...
        save(run.carrier)

`flow` and `step` are decorators too, of functions and of coroutine functions, and `async with` does as well.
Needs the OpenTelemetry API only.

A run may outlive its process, so no span lasts as long as it: it is a span that ends at once, and below that
one for each step. Those that ended are exported, whatever happens to the process, and no span ever misses its
parent.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from contextvars import Token
from functools import wraps
from types import TracebackType
from typing import Any, TypeVar, cast, overload

from opentelemetry import context, trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context, create_key, get_value, set_value
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext
from opentelemetry.util.types import AttributeValue

from bext_otel.apps import clean
from bext_otel.catalogue import FLOW_COMPLETED, FLOW_FAILED, FLOW_RUNS, FLOW_STEP, FLOW_STEPS, UNKNOWN
from bext_otel.entries import emit
from bext_otel.operation import Operation, finish, measure, settings, start, tracer
from bext_otel.runs import Hold, hold
from bext_otel.text import parse_traceparent, traceparent

__all__ = ["Flow", "Run", "Step", "current_run", "flow", "step"]

F = TypeVar("F", bound=Callable[..., Any])

_RUN = create_key("bext-otel-flow-run")
_FLOW = "bext.flow"

# What follows the traceparent in a carrier: the id of the step before.
_BEFORE = re.compile(r";([0-9a-f]{16})")


class Run:
    """A run of a flow, in this process.

    `carrier` is a short text (at most 72 characters of ASCII) that a later `flow(name, resume=carrier)`, in
    any process, goes on from: in the same trace, with a link to the last step that ended. Persist it with
    what the engine persists after a step. It is empty while nothing is traced.
    """

    def __init__(self, name: str, resume: str = "", *, again: bool = True) -> None:
        """`again` is False where `resume` comes from who asked for the run, and nothing of it has been done
        yet."""
        self.name = name
        self._resume = resume
        parent, self._before = _parse(resume)
        links = [Link(self._before)] if self._before is not None else []
        current = trace.get_current_span().get_span_context()
        if parent is not None and current.is_valid and current.trace_id != parent.trace_id:
            links.append(Link(current))  # what had it resumed
        above = (
            trace.set_span_in_context(NonRecordingSpan(parent))
            if parent is not None
            else context.get_current()
        )
        shown: dict[str, AttributeValue] = {
            "bext.flow_name": name,
            **({"bext.resumed": True} if again and parent is not None else {}),
        }
        span = tracer().start_span(f"{_FLOW} {name}", above, attributes=shown, links=links)
        span.end()
        self._span = span.get_span_context()
        # The first step after a restart shows what it goes on from; later ones stand in order by themselves.
        self._link = self._before
        self.context = set_value(_RUN, self, trace.set_span_in_context(NonRecordingSpan(self._span), above))
        self._suspended = False
        self._saved: SpanContext | None = self._before

    @property
    def carrier(self) -> str:
        """See the class."""
        if not self._span.is_valid:
            return self._resume
        parent = traceparent(self._span)
        return f"{parent};{self._before.span_id:016x}" if self._before is not None else parent

    def step(self, name: str, *, attempt: int = 1) -> Step:
        """`with run.step("charge") as op`: a step of this run, also in another thread. `attempt` counts from
        1 where it is tried again."""
        return Step(name, run=self, attempt=attempt)

    def suspended(self) -> None:
        """The run does not end with its body: it waits, and is resumed later, maybe elsewhere. It is neither
        completed nor failed."""
        self._suspended = True

    def _parent(self) -> Context:
        """The current context where it is this run's; in a thread, which begins without one, the run's
        own."""
        return context.get_current() if get_value(_RUN) is self else self.context

    def take_link(self) -> SpanContext | None:
        """What the span of a step that begins should link to: the step before, for the first one after a
        restart."""
        link, self._link = self._link, None
        return link

    def passed(self, span: SpanContext) -> None:
        """A step with that span has ended."""
        if span.is_valid:
            self._before = span

    def unsaved(self) -> str:
        """The carrier if a step has passed since it was asked for here; else "", for nothing would be new
        about it."""
        if self._before is self._saved:
            return ""
        self._saved = self._before
        return self.carrier

    def _end(self, held: Hold, error: BaseException | None) -> None:
        held.release()
        if self._suspended:
            return
        count_runs(self.name, failed=error is not None, here=self.context)
        if error is not None:
            log_run_failed(self.name, type(error).__qualname__, self.context)


class Step:
    """A step: a context manager, plain or `async`, that gives its `Operation`. What the body raises passes
    on, and is its outcome."""

    def __init__(self, name: str, *, run: Run | None = None, attempt: int = 1) -> None:
        self._name = name
        self._run = run
        self._attempt = attempt
        self._operation: Operation | None = None
        self._token: Token[Context] | None = None

    def __enter__(self) -> Operation:
        run = self._run = self._run or current_run()
        shown: dict[str, AttributeValue] = {"bext.step": clean(self._name)}
        if self._attempt > 1:
            shown["bext.attempt"] = self._attempt
        above = context.get_current() if run is None else run._parent()
        flow_name = UNKNOWN if run is None else run.name
        made = start(
            FLOW_STEP,
            name=f"{FLOW_STEP.name} {clean(self._name)}",
            context=above,
            attributes=shown,
            flow_name=flow_name,
        )
        if run is not None and (before := run.take_link()) is not None:
            made.span.add_link(before)
        self._operation = made
        self._token = context.attach(trace.set_span_in_context(made.span, above))
        return made

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._operation is None or self._token is None:
            return
        context.detach(self._token)
        finish(self._operation, error)
        flow_name = UNKNOWN if self._run is None else self._run.name
        count_step(flow_name, self._name, "success" if error is None else "failed")
        if self._run is not None:
            self._run.passed(self._operation.span.get_span_context())

    async def __aenter__(self) -> Operation:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: F) -> F:
        return _around(function, lambda: Step(self._name))


class Flow:
    """A flow: a context manager, plain or `async`, that gives the `Run`. It completed if its body ends, and
    failed if it raises."""

    def __init__(self, name: str, resume: str | None = None) -> None:
        self._name = clean(name) or UNKNOWN
        self._resume = resume or ""
        self._opened: tuple[Run, Hold, Token[Context]] | None = None

    def __enter__(self) -> Run:
        run = Run(self._name, self._resume)
        self._opened = (run, hold(), context.attach(run.context))
        return run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._opened is None:
            return
        run, held, token = self._opened
        self._opened = None
        context.detach(token)
        run._end(held, error)

    async def __aenter__(self) -> Run:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: F) -> F:
        return _around(function, lambda: Flow(self._name, self._resume))


@overload
def flow(name: str, *, resume: str | None = None) -> Flow: ...
@overload
def flow(name: F) -> F: ...
def flow(name: str | F, *, resume: str | None = None) -> Flow | F:
    """A run of the flow `name`, around a `with` body, or around each call of the function that it decorates;
    bare, the function names it.

    `resume` is the `carrier` of a run that this one goes on from; None or "" begins a new one, and so does a
    text that is no carrier. The run is a child of the current span, or, resumed, of itself. Raises TypeError
    for a generator function, whose body others interrupt.
    """
    return Flow(name, resume) if isinstance(name, str) else Flow(_name_of(name))(name)


@overload
def step(name: str) -> Step: ...
@overload
def step(name: F) -> F: ...
def step(name: str | F) -> Step | F:
    """A step of the current run, around a `with` body, or around each call of the function that it decorates;
    bare, the function names it.

    Outside of any run it is a step of the flow `unknown`. Raises TypeError for a generator function.
    """
    return Step(name) if isinstance(name, str) else Step(_name_of(name))(name)


def current_run() -> Run | None:
    """The run whose work is being done in the current context; None outside of any."""
    run = get_value(_RUN)
    return run if isinstance(run, Run) else None


def count_runs(flow_name: str, *, failed: bool, here: Context | None, runs: int = 1) -> None:
    """Runs of a flow have ended; by name where the operator wants that."""
    measure(FLOW_FAILED if failed else FLOW_COMPLETED, runs, context=here)
    if settings().flow_names:
        status = "failed" if failed else "success"
        measure(FLOW_RUNS, runs, context=here, flow_name=flow_name, status=status)


def count_step(flow_name: str, name: str, status: str, here: Context | None = None) -> None:
    """A step, or a task, has ended: `success`, `failed` or `retried`; counted where the operator wants
    that."""
    if settings().flow_names:
        measure(FLOW_STEPS, 1, context=here, flow_name=flow_name, step=clean(name), status=status)


def log_run_failed(flow_name: str, error_type: str, here: Context) -> None:
    """A log entry, at error, that a run of a flow failed."""
    emit(
        _FLOW,
        SeverityNumber.ERROR,
        "flow failed",
        {"flow_name": flow_name, "error_type": error_type},
        here=here,
        event="bext.flow.failed",
    )


def _parse(carrier: str) -> tuple[SpanContext | None, SpanContext | None]:
    """The span of the run and that of the step before; None for what the carrier does not hold."""
    head, separator, _ = carrier.partition(";")
    parent, rest = parse_traceparent(head), carrier[len(head) :]
    if parent is None or not separator:
        return parent, None
    before = _BEFORE.fullmatch(rest)
    if before is None:
        return None, None
    return parent, SpanContext(
        parent.trace_id, int(before[1], 16), is_remote=True, trace_flags=parent.trace_flags
    )


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _around(function: F, make: Callable[[], Flow | Step]) -> F:
    """`function` with each of its calls inside of what `make` makes."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{_name_of(function)} is a generator, and its caller decides when it goes on: use `with` "
            "inside of it"
        )
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            with make():
                return await function(*args, **kwargs)

        return cast("F", call)

    @wraps(function)
    def call_now(*args: Any, **kwargs: Any) -> Any:
        with make():
            return function(*args, **kwargs)

    return cast("F", call_now)
