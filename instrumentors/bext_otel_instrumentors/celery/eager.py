"""Canvases that are executed at once, where they are called: `apply`, and `apply_async` where
`task_always_eager` is set.

No message carries which run a task belongs to, so the canvas does: what it calls are steps of one run, in one
trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import wraps
from typing import Any

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext

from bext_otel.apps import clean
from bext_otel.flows import count_runs, log_run_failed
from bext_otel.runs import hold
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.celery.messages import FLOW, RunIdentity, TaskStep, alone, current_step

__all__ = ["at_once", "at_once_together", "canvas_of", "ended_in", "join"]


class _Run:
    """One run: what is common to the canvases of a canvas."""

    def __init__(self, flow: str) -> None:
        self.flow = flow
        self.identity: RunIdentity | None = None
        self.held = hold()
        # Below which steps are spans where nobody has begun a trace: the first of them.
        self.above: Context | None = None
        self.last: Context | None = None
        self.failures: list[tuple[str, Context]] = []
        self.going_on: set[str] = set()


class Canvas:
    """A chain, a group or a chord that is being executed. `outer` is the task that does so, None outside of
    any."""

    def __init__(self, run: _Run, outer: TaskStep | None, *, together: bool, above: Canvas | None) -> None:
        self.run = run
        self.outer = outer
        self.above = above
        # Tasks of a group do not come after each other.
        self._together = together
        self.before: SpanContext | None = above.before if above is not None else None
        self._reached = self.before

    def passed(self, span: SpanContext | None) -> None:
        """A step of it with that span, or a canvas that ended with it, has ended."""
        if span is not None and span.is_valid:
            self._reached = span
            if not self._together:
                self.before = span

    def leave(self) -> None:
        if self.above is not None:
            self.above.passed(self._reached)


_current: ContextVar[Canvas | None] = ContextVar("bext_celery_eager", default=None)


def canvas_of(request: Any) -> Canvas | None:
    """The canvas that calls a task which is about to begin; None for a task that is called by itself, also by
    one of a canvas."""
    canvas = _current.get()
    if canvas is None or not getattr(request, "is_eager", False) or canvas.outer is not current_step.get():
        return None
    return canvas


def join(canvas: Canvas, task_id: str, name: str) -> RunIdentity:
    """Which run its task belongs to. A run is named by the caller, or after its first task."""
    run = canvas.run
    if run.identity is None:
        run.identity = RunIdentity(run.flow or clean(name), task_id)
    return run.identity


def ended_in(canvas: Canvas, step: TaskStep, failure: str | None, here: Context) -> None:
    """A step of `canvas` has ended, for good if it failed; `here` has its span."""
    run, span = canvas.run, trace.get_current_span(here).get_span_context()
    run.last = here
    run.above = run.above or here
    if failure is not None:
        run.failures.append((failure, here))
    if step.request.callbacks:  # they tell of the end themselves
        run.going_on.add(step.task_id)
    if step.operation is not None:
        canvas.passed(span)


def at_once(original: Callable[..., Any]) -> Callable[..., Any]:
    """`apply` of a chain or a chord."""
    return _applying(original, together=False)


def at_once_together(original: Callable[..., Any]) -> Callable[..., Any]:
    """`apply` of a group."""
    return _applying(original, together=True)


def _applying(original: Callable[..., Any], *, together: bool) -> Callable[..., Any]:
    @wraps(original)
    def apply(self: Any, *args: Any, **kwargs: Any) -> Any:
        canvas = _enter(self, kwargs, together=together)
        if canvas is None:
            return original(self, *args, **kwargs)
        token = _current.set(canvas)
        try:
            with alone():
                result = original(self, *args, **kwargs)
        except BaseException as error:
            _leave(canvas, None, error)
            raise
        finally:
            _current.reset(token)
        _leave(canvas, result, None)
        return result

    return apply


def _enter(signature: Any, options: dict[str, Any], *, together: bool) -> Canvas | None:
    try:
        above, outer = _current.get(), current_step.get()
        if above is not None and above.outer is outer:
            return Canvas(above.run, outer, together=together, above=above)
        headers = {**(signature.options.get("headers") or {}), **(options.get("headers") or {})}
        given = headers.get(FLOW)
        return Canvas(_Run(clean(given) if given else ""), outer, together=together, above=None)
    except Exception as error:  # it is executed all the same
        report("the start of a canvas", error)
        return None


def _leave(canvas: Canvas, result: Any, error: BaseException | None) -> None:
    try:
        canvas.leave()
        run = canvas.run
        if canvas.above is not None:
            return
        run.held.release()
        if run.identity is None:
            return
        states = [(leaf.id, leaf.state) for leaf in _leaves(result)] if error is None else []
        completed = sum(state == "SUCCESS" and task_id not in run.going_on for task_id, state in states)
        if completed:
            count_runs(run.identity.flow, failed=False, here=run.last, runs=completed)
        failed = sum(state == "FAILURE" for _, state in states) if error is None else 1
        here = run.last or context.get_current()
        failures = run.failures or [(type(error).__qualname__, here)]
        for reason, where in failures[-failed:] if failed else ():
            count_runs(run.identity.flow, failed=True, here=where)
            log_run_failed(run.identity.flow, reason, where)
    except Exception as failure:  # it has been executed all the same
        report("the end of a canvas", failure)


def _leaves(result: Any) -> Iterator[Any]:
    """Results of tasks that were executed, of a result that may be that of a group. Others would ask the
    backend for their state."""
    from celery.result import EagerResult

    if isinstance(result, EagerResult):
        yield result
    for one in getattr(result, "results", None) or ():
        yield from _leaves(one)
