"""What other libraries register with `prometheus_client` itself: read from its registry into the same
snapshot.

Its default collectors (`process_*`, `python_*`) are among them: whoever has imported the library is used to
seeing them. A process in which nobody has is left without: nothing here imports it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

from bext_otel.metrics.snapshot import (
    Family,
)
from bext_otel.metrics.third_party.prometheus_families import families
from bext_otel.metrics.third_party.prometheus_forks import has_forked, since_fork
from bext_otel.once import Once

__all__ = ["names_of_others", "registered", "unread", "watched", "within_reading"]

_log = logging.getLogger(__name__)

# True while the registry is read from here: our own collector, which is in it, then has nothing to say. A
# context variable is right for threads, tasks and greenlets alike.
_reading: ContextVar[bool] = ContextVar("bext_otel_reading_registry", default=False)

_names: frozenset[tuple[str, str]] = frozenset()
# Whose collecting has failed, and how; and how much could not be read in all.
_once = Once(200)
_unread = 0

# Those that are there as soon as the library is imported, and ours.
_NOT_WATCHED = {
    "prometheus_client.process_collector",
    "prometheus_client.platform_collector",
    "prometheus_client.gc_collector",
    "bext_otel.endpoints.prometheus_registry",
}


def within_reading() -> bool:
    """Whether the registry is being read for a snapshot."""
    return _reading.get()


def names_of_others() -> frozenset[tuple[str, str]]:
    """Name and type, as the library has them, of all that the registry showed when it was read last, without
    ours."""
    return _names


def watched() -> bool:
    """Whether somebody may count with the library, which tells nobody of it: then it is worth looking again
    and again.

    Not in a process that forks: a child forked while we look would inherit a lock of the library's that
    nobody gives back.
    """
    registry = getattr(sys.modules.get("prometheus_client.registry"), "REGISTRY", None)
    if registry is None or has_forked():
        return False
    # A tuple of all at once: others may register meanwhile.
    return any(
        type(collector).__module__ not in _NOT_WATCHED
        for collector in tuple(getattr(registry, "_collector_to_names", ()))
    )


def unread() -> int:
    """How many collectors, and series of theirs, could not be read so far."""
    return _unread


def registered() -> list[Family]:
    """What is in `prometheus_client.REGISTRY` now, but for our own metrics; nothing if nobody has imported
    the library.

    A forked child counts from the fork, as far as the library itself does the counting. Calls collectors of
    the application, so no lock may be held. Each stands alone: what one fails to tell is left out and
    counted, and one line names it.
    """
    global _names
    registry = getattr(sys.modules.get("prometheus_client.registry"), "REGISTRY", None)
    if registry is None:
        return []
    found: list[Family] = []
    names: set[tuple[str, str]] = set()
    token = _reading.set(True)
    try:
        # A tuple of all at once: others may register meanwhile. A registry of another kind is asked as a
        # whole.
        for collector in (_Target(registry), *tuple(getattr(registry, "_collector_to_names", (registry,)))):
            _read(collector, names, found)
    finally:
        _reading.reset(token)
    _names = frozenset(names)
    return since_fork(found)


class _Target:
    """What the application says of itself (`set_target_info`)."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Any]:
        if getattr(self._registry, "_target_info", None):
            yield self._registry._target_info_metric()


def _read(collector: Any, names: set[tuple[str, str]], found: list[Family]) -> None:
    """Add what one collector tells."""
    whose = f"{type(collector).__module__}.{type(collector).__qualname__}"
    failures: list[tuple[str, BaseException]] = []

    def failed(what: str, error: BaseException) -> None:
        failures.append((what, error))

    try:
        for metric in collector.collect():
            try:
                names.add((str(metric.name), str(metric.type)))
                found.extend(families(metric, collector, partial(failed, str(metric.name))))
            except Exception as error:
                failed(f"a {type(metric).__qualname__}", error)
    # A collector of the application is broken: the others are still worth showing. One that exits would end a
    # thread that answers.
    except (Exception, SystemExit) as error:
        failed("what it collects", error)
    if failures:
        _tell(whose, failures)


def _tell(whose: str, failures: list[tuple[str, BaseException]]) -> None:
    """Count what failed; one line for each collector and way of failing."""
    global _unread
    _unread += len(failures)
    for what, error in failures:
        if _once.is_first((whose, what, type(error).__name__)):
            _log.warning(
                "prometheus_client: %s of collector %s could not be read and is left out: %r",
                what,
                whose,
                error,
            )
            return  # of many series that fail alike one line is enough
