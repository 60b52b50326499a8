"""Runs and steps of DBOS: what is begun, goes on after a restart, is done and has ended in this process.

A run's carrier is kept with its workflow, in the attributes that DBOS has for its callers, who do not see it
there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from inspect import iscoroutinefunction
from time import perf_counter
from typing import Any

from opentelemetry import context, trace

from bext_otel.apps import clean
from bext_otel.catalogue import FLOW_STEP_DURATION, UNKNOWN
from bext_otel.flows import Run, count_runs, log_run_failed
from bext_otel.operation import measure
from bext_otel.runs import Hold, hold
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Original
from bext_otel_instrumentors.dbos.polling import working

__all__ = [
    "assembling",
    "claiming",
    "ending",
    "executing",
    "listing",
    "making",
    "outcome",
    "recording",
    "starting",
]

KEY = "bext_otel"
"""The attribute of a workflow that holds the carrier."""

# The runs in progress here, by the id of their workflow.
_runs: dict[str, Run] = {}

_claimed: ContextVar[Any] = ContextVar("bext_dbos_claimed", default=None)
"""The row of the workflow that was taken from a queue, to be executed or to be recovered."""


class _Begun:
    """What is undone when a workflow's execution leaves this process."""

    def __init__(self, run: Run) -> None:
        self.held: Hold = hold()
        self.token = context.attach(run.context)


def _traced_by_dbos() -> bool:
    """Whether DBOS makes spans itself, which it does with `enable_otlp`; ours would be the second ones."""
    tracer = sys.modules.get("dbos._tracer")
    return tracer is not None and not tracer.dbos_tracer.disable_otlp


def claiming(original: Original, /, dbos: Any, status: Any, *args: Any, **kwargs: Any) -> Any:
    """`execute_dequeued_workflow`."""
    token = _claimed.set(status)
    try:
        with working():
            return original(dbos, status, *args, **kwargs)
    finally:
        _claimed.reset(token)


def making(original: Callable[..., Any]) -> Any:
    """`DBOSContext.create_start_workflow_child`, which makes the context of a workflow that is about to
    begin."""

    @wraps(original)
    def create_start_workflow_child(*args: Any, **kwargs: Any) -> Any:
        made = original(*args, **kwargs)
        status = _claimed.get()
        if status is not None and made.id_assigned_for_next_workflow == status.get("workflow_uuid"):
            made.bext_claimed = status
        return made

    return staticmethod(create_start_workflow_child)


def assembling(original: Original, /, dbos: Any, ctx: Any, *args: Any, **kwargs: Any) -> Any:
    """`_assemble_workflow_status`, which makes the row of a new workflow: it gets the carrier."""
    status = original(dbos, ctx, *args, **kwargs)
    try:
        if getattr(ctx, "bext_run", None) is None:
            ctx.bext_run = Run(clean(status["name"]))
        if ctx.bext_run.carrier:
            status["attributes"] = {**(status["attributes"] or {}), KEY: ctx.bext_run.carrier}
    except Exception as error:  # the workflow begins all the same
        report("the beginning of a workflow", error)
    return status


def starting(original: Original, self: Any, /, wfid: Any, attributes: Any) -> Any:
    """`DBOSContext.start_workflow`: a workflow is executed here from now on."""
    run = None
    try:
        run = self.bext_run = getattr(self, "bext_run", None) or _run(self, clean(attributes["name"]))
        self.bext_begun = _Begun(run)
    except Exception as error:  # as above
        report("the beginning of a workflow", error)
    try:
        original(self, wfid, attributes)
    except BaseException:
        _leave(self)
        raise
    if run is not None:
        _runs[self.workflow_id] = run


def _run(ctx: Any, name: str) -> Run:
    status: Any = getattr(ctx, "bext_claimed", None) or {}
    attributes = status.get("attributes")
    carrier = attributes.get(KEY) if isinstance(attributes, dict) else None
    if not isinstance(carrier, str):
        return Run(name)
    # Each time that it is taken from a queue counts as an attempt; what was begun at once, and is taken from
    # one, is taken up again.
    return Run(name, carrier, again=";" in carrier or (status.get("recovery_attempts") or 0) > 1)


def ending(original: Original, self: Any, /, exc_value: Any) -> Any:
    """`DBOSContext.end_workflow`: it is executed here no longer."""
    _runs.pop(self.workflow_id, None)
    try:
        return original(self, exc_value)
    finally:
        _leave(self)


def _leave(ctx: Any) -> None:
    begun, ctx.bext_begun, ctx.bext_run = getattr(ctx, "bext_begun", None), None, None
    if begun is not None:
        begun.held.release()
        context.detach(begun.token)


def outcome(original: Original, self: Any, /, workflow_id: str, status: str, **kwargs: Any) -> Any:
    """`SystemDatabase.update_workflow_outcome`, which answers whether this execution was the one to end the
    workflow."""
    landed = original(self, workflow_id, status, **kwargs)
    try:
        run = _runs.get(workflow_id)
        if landed:
            here = run.context if run is not None else context.get_current()
            name = run.name if run is not None else UNKNOWN
            count_runs(name, failed=status != "SUCCESS", here=here)
            if status != "SUCCESS" and run is not None:
                error = sys.exc_info()[1]
                log_run_failed(
                    run.name, type(error).__qualname__ if error is not None else status.lower(), here
                )
    except Exception as error:  # the workflow has ended all the same
        report("the end of a workflow", error)
    return landed


def executing(
    original: Original,
    /,
    dbos: Any,
    step_ctx: Any,
    func: Callable[..., Any],
    *args: Any,
    step_name: str,
    **kwargs: Any,
) -> Any:
    """`invoke_step`. What it is given to call is called for each attempt, and not where the result is known
    from before a restart."""
    run = _runs.get(step_ctx.workflow_id)
    if run is not None:
        func = _stepping(func, run, step_name)
    return original(dbos, step_ctx, func, *args, step_name=step_name, **kwargs)


def _stepping(func: Callable[..., Any], run: Run, name: str) -> Callable[..., Any]:
    attempt = 0

    @contextmanager
    def step() -> Iterator[None]:
        nonlocal attempt
        attempt += 1
        if not _traced_by_dbos():
            with run.step(name, attempt=attempt):
                yield
            return
        span, started = trace.get_current_span(), perf_counter()
        if (before := run.take_link()) is not None:
            span.add_link(before)
        try:
            yield
        finally:
            measure(FLOW_STEP_DURATION, (perf_counter() - started) * 1e3, flow_name=run.name)
            run.passed(span.get_span_context())

    if iscoroutinefunction(func):

        @wraps(func)
        async def call(*args: Any, **kwargs: Any) -> Any:
            with step():
                return await func(*args, **kwargs)

        return call

    @wraps(func)
    def call_now(*args: Any, **kwargs: Any) -> Any:
        with step():
            return func(*args, **kwargs)

    return call_now


def recording(original: Original, self: Any, /, result: Any, **kwargs: Any) -> Any:
    """`SystemDatabase.record_operation_result`: a step is done for good, and so is what a restart would link
    to."""
    answer = original(self, result, **kwargs)
    try:
        run = _runs.get(result["workflow_uuid"])
        if run is not None and (carrier := run.unsaved()):
            self.update_workflow_attributes(result["workflow_uuid"], {KEY: carrier}, merge=True)
    except Exception as error:  # the step is done all the same
        report("the end of a step", error)
    return answer


def listing(original: Original, /, *args: Any, **kwargs: Any) -> Any:
    """`SystemDatabase.list_workflows`, from which callers get the status of workflows: without what we keep
    there."""
    found = original(*args, **kwargs)
    for info in found:
        attributes = info.attributes
        if isinstance(attributes, dict) and KEY in attributes:
            info.attributes = {key: value for key, value in attributes.items() if key != KEY} or None
    return found
