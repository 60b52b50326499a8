"""What happens in caches, whichever library they are from: lookups, loads, evictions and invalidations,
counted, traced and told.

Nothing here raises, and nothing is told where instrumentation is suppressed (`suppress_instrumentation`).

A lookup is a counter and, at debug, a log line; loads, evictions and invalidations are spans as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from functools import wraps
from typing import Any, Literal

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.util.types import AttributeValue

from bext_otel.apps import current_app
from bext_otel.catalogue import (
    CACHE,
    CACHE_DURATION,
    CACHE_EVICTIONS,
    CACHE_HITS,
    CACHE_INVALIDATIONS,
    CACHE_MISSES,
    UNKNOWN,
)
from bext_otel.operation import Operation, count, finish, recorder, start, trace_past
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.cache.log import log_dropped, log_lookup

__all__ = [
    "Call",
    "Method",
    "Selector",
    "app_here",
    "calling",
    "during",
    "evicted",
    "invalidated",
    "invalidating",
    "invalidation",
    "loading",
    "looked_up",
    "looked_up_many",
    "outermost",
    "stored",
]

Method = Callable[..., Any]
"""A method of a cache's class."""

Selector = Literal["tag", "path", "gc"]
"""What selected entries that were dropped on purpose: `path` is a key, `tag` whatever selects many, `gc`
their age."""

_count_hits = recorder(CACHE_HITS, "app", "layer")
_count_misses = recorder(CACHE_MISSES, "app", "layer")
_record_duration = recorder(CACHE_DURATION, "app", "layer", "operation")


def app_here() -> str:
    """The app whose work is being done."""
    return current_app() or UNKNOWN


# --- Lookups and stores -------------------------------------------------------------------------------------


def looked_up(layer: str, found: bool, cache: str, *, times: int = 1, seconds: float | None = None) -> None:
    """`times` lookups were answered by the cache, or were not, and took `seconds` together; None: not worth
    measuring."""
    try:
        if not is_instrumentation_enabled():
            return
        app = app_here()
        (_count_hits if found else _count_misses)(times, app, layer)
        if seconds is not None:
            _record_duration(seconds * 1e6, app, layer, "lookup")
        log_lookup(found, app, layer, cache, times)
    except Exception as error:  # the guard's only purpose
        report("a cache lookup", error)


def looked_up_many(layer: str, hits: int, misses: int, cache: str, seconds: float) -> None:
    """Lookups that were made at once, and took `seconds` together."""
    if hits:
        looked_up(layer, True, cache, times=hits, seconds=seconds)
    if misses > 0:
        looked_up(layer, False, cache, times=misses, seconds=None if hits else seconds)


def stored(layer: str, seconds: float) -> None:
    """A value was stored."""
    try:
        if is_instrumentation_enabled():
            _record_duration(seconds * 1e6, app_here(), layer, "store")
    except Exception as error:  # as above
        report("a cache store", error)


# --- Loads --------------------------------------------------------------------------------------------------

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
    except Exception as error:  # as above
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


# --- Evictions and invalidations that have happened already -------------------------------------------------


def evicted(layer: str, cache: str, *, started_ns: int, entries: int = 1) -> None:
    """`entries` were dropped to make room; `started_ns` is when that began, by `time.perf_counter_ns`."""
    try:
        if not is_instrumentation_enabled():
            return
        app = app_here()
        count(CACHE_EVICTIONS, app=app, layer=layer, by=entries)
        _span("bext.cache.evict", app, layer, started_ns, entries)
        log_dropped(app, layer, entries, cache=cache)
    except Exception as error:  # as above
        report("a cache eviction", error)


def invalidated(
    layer: str,
    by: Selector,
    cache: str,
    *,
    started_ns: int,
    entries: int | None = 1,
    seconds: float | None = None,
) -> None:
    """`entries` were dropped on purpose, None: nobody knows how many. What `invalidating` surrounds is part
    of that."""
    try:
        if not is_instrumentation_enabled():
            return
        around = _around.get()
        if around is not None and by != "gc":
            around.entries += entries or 0
            around.layers.add(layer)
            return
        app = app_here()
        if entries:
            count(CACHE_INVALIDATIONS, app=app, method=by, by=entries)
        span = _span("bext.cache.invalidate", app, layer, started_ns, entries, by)
        if seconds is not None:
            _record_duration(seconds * 1e6, app, layer, "invalidate", context=span)
        log_dropped(app, layer, entries, by, cache=cache)
    except Exception as error:  # as above
        report("a cache invalidation", error)


def _span(name: str, app: str, layer: str, started_ns: int, entries: int | None, by: str = "") -> Context:
    attributes: dict[str, AttributeValue] = {"bext.app": app, "bext.layer": layer}
    if entries is not None:
        attributes["bext.entries"] = entries
    if by:
        attributes["bext.method"] = by
    return trace.set_span_in_context(trace_past(name, started_ns, attributes=attributes))


# --- Calls to a backend, which may make others --------------------------------------------------------------


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


def outermost(watched: Method, record: str = "") -> Callable[[Method], Method]:
    """Replaces a method by `watched`, which is given the original, the object and the arguments; within
    another call the original is called. So it is on an object without the attribute `record`, if that has a
    name."""

    def make(original: Method) -> Method:
        @wraps(original)
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            if _call.get() is not None or (record and not hasattr(self, record)):
                return original(self, *args, **kwargs)
            return watched(original, self, *args, **kwargs)

        return method

    return make


@contextmanager
def invalidation(layer: str, by: Selector, cache: str) -> Iterator[Call]:
    """The body, a call to a backend, drops entries on purpose, and says how many: `call.entries`."""
    around = _around.get()
    if around is not None or not is_instrumentation_enabled():
        with during("invalidate") as call:
            yield call
        if around is not None and is_instrumentation_enabled():
            around.entries += call.entries
            around.layers.add(layer)
        return
    app = app_here()
    work, token = _open(app, layer, by)
    failure: BaseException | None = None
    try:
        with during("invalidate") as call:
            yield call
    except BaseException as error:
        failure = error
        raise
    finally:
        _close(token)
        _dropped(
            work, app, layer, by, call.entries if failure is None else 0, cache, failure, known=call.known
        )


def _open(app: str, layer: str, by: str) -> tuple[Operation | None, Token[Context] | None]:
    try:
        if not is_instrumentation_enabled():
            return None, None
        attributes = {"bext.method": by}
        work = start(
            CACHE,
            name="bext.cache.invalidate",
            attributes=attributes,
            app=app,
            layer=layer,
            operation="invalidate",
        )
        return work, context.attach(trace.set_span_in_context(work.span))
    except Exception as error:  # as above
        report("a cache invalidation", error)
        return None, None


def _close(token: Token[Context] | None) -> None:
    try:
        if token is not None:
            context.detach(token)
    except Exception as error:  # as above
        report("a cache invalidation", error)


def _dropped(
    work: Operation | None,
    app: str,
    layer: str,
    by: Selector,
    entries: int,
    cache: str,
    failure: BaseException | None,
    *,
    known: bool = True,
) -> None:
    """`entries` were dropped, unless how many is not known, before `failure` came if one did."""
    try:
        if work is not None:
            if entries or (known and failure is None):
                work.span.set_attribute("bext.entries", entries)
            finish(work, failure)
        if entries:
            count(CACHE_INVALIDATIONS, app=app, method=by, by=entries)
        if entries or (not known and failure is None):
            log_dropped(app, layer, entries if known else None, by, cache=cache)
    except Exception as error:  # as above
        report("a cache invalidation", error)


class _Around:
    """What was dropped inside of `invalidating`."""

    def __init__(self) -> None:
        self.entries = 0
        self.layers: set[str] = set()


_around: ContextVar[_Around | None] = ContextVar("bext_otel_invalidating", default=None)


@contextmanager
def invalidating(by: Selector) -> Iterator[None]:
    """Whatever the body drops from caches is one invalidation `by` a tag, a path or age, which the library
    could not know.

    One span and one log line stand for all of it; each entry counts. Raises ValueError for another selector.
    """
    if by not in {"tag", "path", "gc"}:
        raise ValueError(f"invalidating({by!r}): expected 'tag', 'path' or 'gc'")
    around = _Around()
    app = app_here()
    work, opened = _open(app, UNKNOWN, by)
    token = _around.set(around)
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        _around.reset(token)
        layer = around.layers.pop() if len(around.layers) == 1 else UNKNOWN
        if work is not None:
            work.set(layer=layer)
        _close(opened)
        _dropped(work, app, layer, by, around.entries, "", failure)
