"""Lookups in caches and what is stored there, whichever library they are from: counted, timed, and lookups
told at debug.

Nothing here raises, and nothing is told where instrumentation is suppressed (`suppress_instrumentation`).
"""

from __future__ import annotations

from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from bext_otel.apps import current_app
from bext_otel.catalogue import CACHE_DURATION, CACHE_HITS, CACHE_MISSES, UNKNOWN
from bext_otel.operation import recorder
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.cache.log import log_lookup

__all__ = ["app_here", "looked_up", "looked_up_many", "stored"]

_count_hits = recorder(CACHE_HITS, "app", "layer")
_count_misses = recorder(CACHE_MISSES, "app", "layer")
_record_duration = recorder(CACHE_DURATION, "app", "layer", "operation")


def app_here() -> str:
    """The app whose work is being done."""
    return current_app() or UNKNOWN


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
