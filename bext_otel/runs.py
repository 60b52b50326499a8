"""How many flow runs this process has in progress: those begun in it, and what an instrumented engine knows
of.

One number, observed when metrics are read; the service's is the sum of its processes'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import RLock

from bext_otel.catalogue import FLOW_ACTIVE_RUNS
from bext_otel.operation import observe
from bext_otel.process import catch_up, on_fork

__all__ = ["Hold", "also_active", "hold"]

# Reentrant, since a signal handler may begin a run too.
_lock = RLock()
_active = 0
_forks = 0
_sources: list[Callable[[], int]] = []


class Hold:
    """A run in progress in this process, until it is released, once."""

    def __init__(self, forks: int) -> None:
        self._forks: int | None = forks

    def release(self) -> None:
        """The run is over here: it has ended, or goes on elsewhere."""
        global _active
        with _lock:
            # In a child that was forked in the middle of a run, the run is still the parent's.
            if self._forks == _forks:
                _active -= 1
            self._forks = None


def hold() -> Hold:
    """Count a run as active in this process."""
    global _active
    catch_up()
    observe(FLOW_ACTIVE_RUNS, _counted)
    with _lock:
        _active += 1
        return Hold(_forks)


def also_active(source: Callable[[], int]) -> Callable[[], None]:
    """Count what `source` answers, at each reading, as active runs too, until the answer is called."""
    catch_up()
    observe(FLOW_ACTIVE_RUNS, _counted)
    _sources.append(source)

    def forget() -> None:
        if source in _sources:
            _sources.remove(source)

    return forget


def _counted() -> Iterable[tuple[float, tuple[str, ...]]]:
    yield _active + sum(source() for source in tuple(_sources)), ()


def _in_child() -> None:
    global _lock, _active, _forks
    _lock = RLock()
    _active = 0
    _forks += 1


on_fork(in_child=_in_child)
