"""Starlette's and FastAPI's background tasks: a span each, as upstream's instrumentation of FastAPI makes
them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.trace import Span

from bext_otel.operation import show_failure, tracer
from bext_otel.text import encodable
from bext_otel.timing import anchor_of
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.exchange import current

__all__ = ["running"]

_FASTAPIS = "fastapi.background_task"
_MAX_NAME = 128


def running(original: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    """`BackgroundTask.__call__`, inside of a span; a list of tasks calls each."""

    @wraps(original)
    async def __call__(self: Any) -> None:  # noqa: N807  # it becomes that method
        span = _begin(self)
        if span is None:
            await original(self)
            return
        anchor = anchor_of(span)
        token = attach(trace.set_span_in_context(span))
        try:
            await original(self)
        except BaseException as error:
            show_failure(span, type(error).__qualname__, error)
            raise
        finally:
            detach(token)
            span.end(anchor.now())

    return __call__


def _begin(task: Any) -> Span | None:
    """The task's span; None where its request is not measured, or somebody else has made one."""
    try:
        # Upstream's wrapper, and FastAPI (0.137 and newer) for tasks that its routes have added.
        if current() is None or hasattr(type(task), "_otel_original_call"):
            return None
        if getattr(trace.get_current_span(), "name", None) == _FASTAPIS:
            return None
        function = task.func
        name = getattr(function, "__name__", type(function).__name__)
        whole = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', name)}"
        return tracer().start_span(
            f"BackgroundTask {encodable(str(name)[:_MAX_NAME])}",
            attributes={"code.function.name": encodable(whole[:_MAX_NAME])},
        )
    except Exception as error:  # the task runs all the same
        report("a background task", error)
        return None
