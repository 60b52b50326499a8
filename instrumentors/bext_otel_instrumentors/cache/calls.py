"""Calls to a cache's backend, which may make others, and the loads that a lookup leads to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from functools import wraps
from typing import Any

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from bext_otel.catalogue import CACHE
from bext_otel.operation import Operation, finish, start
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Original
from bext_otel_instrumentors.cache.drops import Selector, evicted, invalidated, invalidation
from bext_otel_instrumentors.cache.lookups import app_here

__all__ = ["Call", "calling", "dropping", "during", "loading", "outermost"]


class Call:
    """A call to a cache's backend. What it calls in turn, of the same library or of the next one below, is
    part of it and not counted.

    `what` it does; whether the first lookup inside was `found`, None if there was none; how many `entries` it
    dropped on purpose, unless that is not `known`, how many were `evicted` for it and how many it found
    `expired`; what the commands of a pipeline were answered that does not return their `replies`.
    """

    __slots__ = (
        "entries",
        "evicted",
        "expired",
        "found",
        "known",
        "replies",
        "seconds",
        "started_ns",
        "what",
    )

    def __init__(self, what: str = "") -> None:
        self.what = what
        self.found: bool | None = None
        self.replies: Sequence[Any] | None = None
        self.entries = self.evicted = self.expired = 0
        self.known = True
        self.started_ns = time.perf_counter_ns()
        self.seconds = 0.0

    def settle(self, layer: str, cache: str) -> None:
        """Tell what it dropped by the way. Only now, as it may have held a lock that an exporter wants."""
        if self.evicted:
            evicted(layer, cache, started_ns=self.started_ns, entries=self.evicted)
        if self.expired:
            invalidated(layer, "gc", cache, started_ns=self.started_ns, entries=self.expired)


_call: ContextVar[Call | None] = ContextVar("bext_otel_cache_call", default=None)


def calling() -> Call | None:
    """The call that is being made; None outside of any."""
    return _call.get()


@contextmanager
def during(what: str = "") -> Iterator[Call]:
    """What is done in the body is one call to a backend, which takes `call.seconds`."""
    call = Call(what)
    token = _call.set(call)
    started = time.perf_counter()
    try:
        yield call
    finally:
        call.seconds = time.perf_counter() - started
        _call.reset(token)


def outermost(watched: Original, record: str = "") -> Callable[[Original], Original]:
    """Replaces a method by `watched`, which is given the original, the object and the arguments; within
    another call the original is called. So it is on an object without the attribute `record`, if that has a
    name."""

    def make(original: Original) -> Original:
        @wraps(original)
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            if _call.get() is not None or (record and not hasattr(self, record)):
                return original(self, *args, **kwargs)
            return watched(original, self, *args, **kwargs)

        return method

    return make


@contextmanager
def dropping(layer: str, by: Selector, cache: str) -> Iterator[Call]:
    """The body, a call to a backend, drops entries on purpose, and says how many: `call.entries`."""
    with invalidation(layer, by, cache) as told, during("invalidate") as call:
        yield call
        told.entries, told.known = call.entries, call.known


_Load = tuple[Operation, "Token[Context]", "Token[Call | None]"]


@contextmanager
def loading(layer: str, function: str) -> Iterator[None]:
    """In the body the value is made that a lookup did not find; whatever is done there is part of that."""
    load, failure = _begin_load(layer, function), None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        _end_load(load, failure)


def _begin_load(layer: str, function: str) -> _Load | None:
    try:
        if not is_instrumentation_enabled():
            return None
        called = {"code.function.name": function}
        work = start(
            CACHE, name="bext.cache.load", attributes=called, app=app_here(), layer=layer, operation="store"
        )
        return work, context.attach(trace.set_span_in_context(work.span)), _call.set(None)
    except Exception as error:  # the guard's only purpose
        report("a cache load", error)
        return None


def _end_load(load: _Load | None, error: BaseException | None) -> None:
    if load is None:
        return
    try:
        work, token, call = load
        _call.reset(call)
        context.detach(token)
        finish(work, error)
    except Exception as failure:  # as above
        report("a cache load", failure)
