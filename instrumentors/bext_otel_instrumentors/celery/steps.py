"""What a Celery worker does: each task is a step of a run, which ends with the last of its canvas, or with
the first that fails."""

from __future__ import annotations

import sys
from collections import OrderedDict
from time import perf_counter
from typing import Any

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context, set_value
from opentelemetry.trace import SpanContext
from opentelemetry.util.types import AttributeValue

from bext_otel.apps import clean, with_app
from bext_otel.catalogue import FLOW_STEP, FLOW_STEP_DURATION, UNKNOWN
from bext_otel.entries import type_of
from bext_otel.fields import HOLDER, restored
from bext_otel.flows import count_runs, count_step, log_run_failed
from bext_otel.operation import finish, measure, settings, show_failure, start, tracer
from bext_otel.request_facts import with_facts
from bext_otel.runs import hold
from bext_otel.text import parse_traceparent
from bext_otel_instrumentors._kit.carrying import rooted
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.celery.active import received
from bext_otel_instrumentors.celery.eager import canvas_of, ended_in, join
from bext_otel_instrumentors.celery.messages import (
    APP,
    BEFORE,
    CARRIER,
    FIELDS,
    FLOW,
    MACHINERY,
    REQUEST_ID,
    ROUTE,
    RUN,
    RunIdentity,
    TaskStep,
    current_step,
    upstream_traces,
)
from bext_otel_instrumentors.celery.messaging import Processing

__all__ = ["after_run", "before_run", "failed_elsewhere", "in_child", "revoked"]


# Ids of tasks that were lost, the newest of them.
_told: OrderedDict[str, None] = OrderedDict()
_MAX_TOLD = 1000

# Whether this process is one of a pool, below the main process of a worker.
_child = False


def in_child(**_: Any) -> None:
    """The signal `worker_process_init`."""
    global _child
    _child = True


def before_run(task_id: str = "", task: Any = None, **_: Any) -> None:
    """The signal `task_prerun`."""
    try:
        request = task.request
        canvas = canvas_of(request)
        identity = join(canvas, task_id, task.name) if canvas is not None else _identity(request, task.name)
        step = TaskStep(request, task.name, task_id, identity, outer=current_step.get(), canvas=canvas)
        if not upstream_traces():
            step.fields.fields = restored(getattr(request, FIELDS, "")) or None
            here = set_value(HOLDER, step.fields, _context(step))
            if task.name not in MACHINERY:
                here = _open(step, task.name, here)
            step.token, step.context = context.attach(here), here
        if getattr(request, "is_eager", False) and canvas is None:
            # In a worker, its main process knows which runs are active: it outlives those that execute them.
            step.held = hold()
        current_step.set(step)
    except Exception as error:  # the task runs all the same
        report("the start of a task", error)


def _open(step: TaskStep, name: str, above: Context) -> Context:
    """Begin the step's span below `above`, within that of the message; the context inside of it."""
    if not getattr(step.request, "is_eager", False):
        step.processing = Processing(step.task_id, getattr(step.request, "delivery_info", None), above)
        above = step.processing.context
    attempt = int(step.request.retries or 0) + 1
    step.operation = start(
        FLOW_STEP,
        name=_title(name),
        context=above,
        attributes={"bext.step": clean(name), "bext.attempt": attempt},
        flow_name=step.identity.flow,
    )
    if (before := step.canvas.before if step.canvas is not None else _before(step.request)) is not None:
        step.operation.span.add_link(before)
    return trace.set_span_in_context(step.operation.span, above)


def _title(name: str) -> str:
    return f"{FLOW_STEP.name} {clean(name)}"


def after_run(
    task_id: str = "", task: Any = None, retval: Any = None, state: str | None = None, **_: Any
) -> None:
    """The signal `task_postrun`. It has no state where something beyond an exception ends the task, or an
    eager one raises."""
    step = current_step.get()
    if step is None or step.task_id != task_id:
        return
    current_step.set(step.outer)
    state, error = _outcome(retval, state)
    try:
        if step.held is not None:
            step.held.release()
        if step.token is not None:
            context.detach(step.token)
        if task.name in MACHINERY or (state is None and not step.request.is_eager and _child):
            # The child is asked to end in the middle of it, or does so by itself: the main process will tell,
            # whichever way it ends.
            return
        here = _end(step, state, error)
        _end_run(step, state, type(error).__qualname__ if state in {"FAILURE", None} else None, here)
    except Exception as failure:  # the task has run all the same
        report("the end of a task", failure)


def _end(step: TaskStep, state: str | None, error: BaseException | None) -> Context:
    """End a step, by its span if it has one; the context of what is told of it."""
    status = "retried" if state == "RETRY" else "success" if error is None else "failed"
    count_step(step.identity.flow, step.name, status)
    if step.operation is None:
        measure(FLOW_STEP_DURATION, (perf_counter() - step.started) * 1e3, flow_name=step.identity.flow)
        return context.get_current()
    if state == "RETRY":
        step.operation.span.set_attribute("bext.retried", True)
    finish(step.operation, error)
    if step.processing is not None:
        step.processing.end(None if error is None else type_of(error), error)
    here = trace.set_span_in_context(step.operation.span, step.context)
    return set_value(HOLDER, step.fields, here)


def _end_run(step: TaskStep, state: str | None, failure: str | None, here: Context) -> None:
    """Tell what the end of a step, which failed with `failure` if it did, makes of its run."""
    if step.canvas is not None:
        ended_in(step.canvas, step, failure, here)
    elif state == "SUCCESS" and step.is_last():
        count_runs(step.identity.flow, failed=False, here=here)
    elif failure is not None:
        _run_failed(step.identity.flow, failure, here)


def _outcome(retval: Any, state: str | None) -> tuple[str | None, BaseException | None]:
    """The state that an attempt ended in, by what Celery says and by what was raised, and what it failed
    with."""
    rejected = _rejected(retval, state)
    if rejected is None:
        return state, _error(retval, state)
    reason = getattr(rejected, "reason", None)
    return (
        ("RETRY", None)
        if rejected.requeue
        else ("FAILURE", reason if isinstance(reason, BaseException) else rejected)
    )


def _rejected(retval: Any, state: str | None) -> Any:
    """The `Reject` by which a task, or what it calls at its end, gave its message back; None where none did.

    One that is to be delivered again is not over, any other has failed for good.
    """
    from celery.exceptions import Reject

    raised = retval if state == "REJECTED" else sys.exc_info()[1]
    return raised if isinstance(raised, Reject) else None


def _error(retval: Any, state: str | None) -> BaseException | None:
    """What an attempt failed with. One that only asks to be called again later has not failed, nor has one
    that was ignored."""
    if state == "RETRY":
        cause = getattr(retval, "exc", None)
        return cause if isinstance(cause, BaseException) else None
    if state == "FAILURE":
        return retval if isinstance(retval, BaseException) else RuntimeError()
    return sys.exc_info()[1] if state is None else None


def failed_elsewhere(
    sender: Any = None, task_id: str = "", exception: BaseException | None = None, **_: Any
) -> None:
    """The signal `task_failure`, in the main process: whoever executed the task was killed, out of time or
    lost, and could not tell."""
    from celery.exceptions import Reject

    step = current_step.get()
    if isinstance(exception, Reject) or (step is not None and step.task_id == task_id):
        return  # whoever executed it has told
    request = getattr(sender, "request", None)
    known = (
        request
        if getattr(request, "id", None) == task_id
        else getattr(received.get(task_id), "_context", None)
    )
    _lost(str(getattr(sender, "name", sender)), task_id, known, type(exception).__qualname__, exception)


def revoked(
    sender: Any = None, request: Any = None, terminated: bool = False, expired: bool = False, **_: Any
) -> None:
    """The signal `task_revoked`, in the main process."""
    reason = "expired" if expired else "terminated" if terminated else "revoked"
    _lost(str(getattr(sender, "name", sender)), str(getattr(request, "id", "")), request, reason)


def _lost(name: str, task_id: str, request: Any, reason: str, error: BaseException | None = None) -> None:
    """Tell of a step whose own span will never come. Celery tells twice of a task that runs out of its
    time."""
    try:
        if name in MACHINERY or task_id in _told:
            return
        _told[task_id] = None
        if len(_told) > _MAX_TOLD:
            _told.popitem(last=False)
        flow = _identity(request, name).flow
        count_step(flow, name, "failed")
        here = _came(request)
        if not upstream_traces():
            processing = Processing(task_id, getattr(request, "delivery_info", None), here)
            shown: dict[str, AttributeValue] = {"bext.step": clean(name), "bext.flow_name": flow}
            span = tracer().start_span(_title(name), processing.context, attributes=shown)
            show_failure(span, reason, error)
            span.end()
            processing.end(reason if error is None else type_of(error), error)
            here = trace.set_span_in_context(span, processing.context)
        _run_failed(flow, reason, here)
    except Exception as failure:  # the worker goes on all the same
        report("the loss of a task", failure)


def _run_failed(flow: str, reason: str, here: Context) -> None:
    count_runs(flow, failed=True, here=here)
    log_run_failed(flow, reason, here)


def _identity(request: Any, name: str) -> RunIdentity:
    """What the message says; a publisher without instrumentation says nothing, and Celery's own root id tells
    runs apart."""
    flow, run = getattr(request, FLOW, None), getattr(request, RUN, None)
    return RunIdentity(
        clean(flow) if flow else clean(name),
        str(run or getattr(request, "root_id", None) or getattr(request, "id", "")),
    )


def _context(step: TaskStep) -> Context:
    """The context that a step begins in."""
    here = _came(step.request)
    if step.canvas is not None and not trace.get_current_span(here).get_span_context().is_valid:
        return step.canvas.run.above or here
    return here


def _came(request: Any) -> Context:
    """The context that came with a message. One that carries none begins a trace, whatever the worker was
    started in, unless the task is called eagerly."""
    came = propagate.extract(request, getter=CARRIER)
    if not trace.get_current_span(came).get_span_context().is_valid:
        here = context.get_current()
        if getattr(request, "is_eager", False):
            return here
        came = rooted(here)
    return _with_request(came, request)


def _with_request(here: Context, request: Any) -> Context:
    """With the app and the request that a message names; else the app of what is none's in particular."""
    app, resolver = getattr(request, APP, None), settings().resolver
    if not isinstance(app, str) or not app:
        app = resolver("", "") if resolver is not None else UNKNOWN
    if app != UNKNOWN:
        here = with_app(app, here)
    return with_facts(getattr(request, ROUTE, None), getattr(request, REQUEST_ID, None), here)


def _before(request: Any) -> SpanContext | None:
    return parse_traceparent(str(getattr(request, BEFORE, "")))
