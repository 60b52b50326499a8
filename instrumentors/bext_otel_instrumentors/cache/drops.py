"""Entries that caches drop, whichever library they are from: evictions and invalidations, each counted, a
span and told.

Nothing here raises, and nothing is told where instrumentation is suppressed (`suppress_instrumentation`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Literal

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.util.types import AttributeValue

from bext_otel.catalogue import CACHE, CACHE_DURATION, CACHE_EVICTIONS, CACHE_INVALIDATIONS, UNKNOWN
from bext_otel.operation import Operation, count, finish, recorder, start, trace_past
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.cache.log import log_dropped
from bext_otel_instrumentors.cache.lookups import app_here

__all__ = ["Selector", "evicted", "invalidated", "invalidating", "invalidation"]

Selector = Literal["tag", "path", "gc"]
"""What selected entries that were dropped on purpose: `path` is a key, `tag` whatever selects many, `gc`
their age."""

_record_duration = recorder(CACHE_DURATION, "app", "layer", "operation")


def evicted(layer: str, cache: str, *, started_ns: int, entries: int = 1) -> None:
    """`entries` were dropped to make room; `started_ns` is when that began, by `time.perf_counter_ns`."""
    try:
        if not is_instrumentation_enabled():
            return
        app = app_here()
        count(CACHE_EVICTIONS, app=app, layer=layer, by=entries)
        _span("bext.cache.evict", app, layer, started_ns, entries)
        log_dropped(app, layer, entries, cache=cache)
    except Exception as error:  # the guard's only purpose
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


class Dropping:
    """What is being dropped on purpose: how many `entries` so far, unless that is not `known`, and of which
    layers."""

    __slots__ = ("entries", "known", "layers")

    def __init__(self, layer: str) -> None:
        self.entries = 0
        self.known = True
        self.layers = {layer} - {UNKNOWN}

    @property
    def layer(self) -> str:
        """The layer, where there is one only."""
        return next(iter(self.layers)) if len(self.layers) == 1 else UNKNOWN


_around: ContextVar[Dropping | None] = ContextVar("bext_otel_invalidating", default=None)


@contextmanager
def invalidating(by: Selector) -> Iterator[None]:
    """Whatever the body drops from caches is one invalidation `by` a tag, a path or age, which the library
    could not know.

    One span and one log line stand for all of it; each entry counts. Raises ValueError for another selector.
    """
    if by not in {"tag", "path", "gc"}:
        raise ValueError(f"invalidating({by!r}): expected 'tag', 'path' or 'gc'")
    with _measured(UNKNOWN, by, "") as dropping:
        token = _around.set(dropping)
        try:
            yield
        finally:
            _around.reset(token)


@contextmanager
def invalidation(layer: str, by: Selector, cache: str) -> Iterator[Dropping]:
    """The body drops entries on purpose, and says how many; what `invalidating` surrounds is part of that."""
    around = _around.get()
    if around is None and is_instrumentation_enabled():
        with _measured(layer, by, cache) as dropping:
            yield dropping
        return
    dropping = Dropping(layer)
    yield dropping
    if around is not None and is_instrumentation_enabled():
        around.entries += dropping.entries
        around.layers.add(layer)


@contextmanager
def _measured(layer: str, by: Selector, cache: str) -> Iterator[Dropping]:
    """The body is an invalidation: a span, the current one there, and a log line."""
    app, dropping = app_here(), Dropping(layer)
    work, token = _begin(app, layer, by)
    failure: BaseException | None = None
    try:
        yield dropping
    except BaseException as error:
        failure = error
        raise
    finally:
        _end(work, token, dropping, failure)
        _tell(app, dropping, by, cache, failure)


def _begin(app: str, layer: str, by: str) -> tuple[Operation | None, Token[Context] | None]:
    try:
        if not is_instrumentation_enabled():
            return None, None
        name, attributes = "bext.cache.invalidate", {"bext.method": by}
        work = start(CACHE, name=name, attributes=attributes, app=app, layer=layer, operation="invalidate")
        return work, context.attach(trace.set_span_in_context(work.span))
    except Exception as error:  # the guard's only purpose
        report("a cache invalidation", error)
        return None, None


def _end(
    work: Operation | None,
    token: Token[Context] | None,
    dropping: Dropping,
    failure: BaseException | None,
) -> None:
    try:
        if token is not None:
            context.detach(token)
        if work is not None:
            work.set(layer=dropping.layer)
            if dropping.entries or (dropping.known and failure is None):
                work.span.set_attribute("bext.entries", dropping.entries)
            finish(work, failure)
    except Exception as error:  # as above
        report("a cache invalidation", error)


def _tell(app: str, dropping: Dropping, by: Selector, cache: str, failure: BaseException | None) -> None:
    """Count what was dropped, before `failure` came if one did, and log it."""
    try:
        entries, known = dropping.entries, dropping.known
        if entries:
            count(CACHE_INVALIDATIONS, app=app, method=by, by=entries)
        if entries or (not known and failure is None):
            log_dropped(app, dropping.layer, entries if known else None, by, cache=cache)
    except Exception as error:  # as above
        report("a cache invalidation", error)
