"""Signal handlers that raise, as a time limit's do: no completed measurement is lost, none counts twice, and
the lock is free after it."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from types import FrameType
from typing import Any, ParamSpec

import pytest

from bext_otel.apps import Budgets
from bext_otel.catalogue import (
    CACHE_ENTRIES,
    CACHE_HITS,
    FLOW_ACTIVE_RUNS,
    HTTP_SERVER_REQUEST_DURATION,
    REQUEST_DURATION,
    Metric,
)
from bext_otel.metrics.numbers import exact
from bext_otel.metrics.store import cells
from bext_otel.metrics.store.cell import Cell
from bext_otel.metrics.store.cells import GaugeCell, HistogramCell, NumberCell, SummaryCell
from bext_otel.metrics.store.streams import Streams
from bext_otel.testing import Clock

LABELS = {"app": "shop", "layer": "isr", "route": "/", "http.request.method": "GET"}
METRICS = [CACHE_HITS, FLOW_ACTIVE_RUNS, CACHE_ENTRIES, REQUEST_DURATION, HTTP_SERVER_REQUEST_DURATION]


P = ParamSpec("P")


class Late(Exception):
    """The time limit."""


class Interrupt:
    """Raises before one step of our own code, the `at`-th: Python 3.10 handles signals between any two."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if "/bext_otel/metrics/" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.left -= 1
            if self.left == 0:
                raise Late
        return self


def interrupted(at: int, work: Callable[[], None]) -> bool:
    """Whether `work` was long enough to be interrupted there."""
    before = sys.gettrace()
    # Python 3.12 traces opcodes from the second time on that a function of tracing is set.
    sys.settrace(Interrupt(sys.maxsize))
    exact(0)
    sys.settrace(Interrupt(at))
    try:
        work()
    except Late:
        return True
    finally:
        sys.settrace(before)
    return False


def in_a_thread(test: Callable[P, None]) -> Callable[P, None]:
    """Run a test in a thread of its own. What is raised in the middle of Python's own handling of an exception
    stays with the thread as the one that is being handled: every later exception there would have it as its
    context."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(test, *args, **kwargs).result()

    return run


def held(cell: Cell) -> tuple[float, ...]:
    """Whatever has to agree in a cell: the sum, and how many were counted, in all places where that is
    kept."""
    if isinstance(cell, SummaryCell):
        window = cell.window.recent(cell.stream.clock())
        return cell.sum, cell.count, sum(cell.life.counts), sum(window.buckets.counts)
    if isinstance(cell, HistogramCell):
        return cell.sum, cell.count, sum(cell.counts)
    assert isinstance(cell, NumberCell)
    return (cell.value,)


def expected(cell: Cell, amounts: list[int]) -> tuple[float, ...]:
    if isinstance(cell, GaugeCell):
        return (amounts[-1],)
    places = {SummaryCell: 3, HistogramCell: 2}.get(type(cell), 0)
    return (sum(amounts), *[len(amounts)] * places)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.kind)
@in_a_thread
def test_nothing_is_lost_wherever_a_handler_raises(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step in turn."""
    monkeypatch.setattr(cells, "_STEADY", False)  # as on Python 3.10
    at = 0
    while True:
        at += 1
        streams = Streams(Budgets({}), clock=Clock(1000.0), monotonic=Clock(1000.0))
        cell, other = streams.stream(metric).cell(LABELS), streams.stream(CACHE_HITS).cell({"app": "other"})
        begun: list[int] = []
        completed: list[int] = []

        def work(
            cell: Cell = cell,
            other: Cell = other,
            streams: Streams = streams,
            begun: Any = begun,
            completed: Any = completed,
        ) -> None:
            for amounts in ((1, 2), (4,)):
                for amount in amounts:
                    begun.append(amount)
                    cell.add(amount)
                    completed.append(amount)
                other.add(1)
                streams.drain()

        if not interrupted(at, work):
            break
        free: list[bool] = []
        thread = threading.Thread(
            target=lambda streams=streams, free=free: free.append(streams.lock.acquire(timeout=5))
        )  # type: ignore[misc]
        thread.start()
        thread.join()
        assert [True] == free, f"the lock after step {at}"
        # The thread is gone with it; a drain needs another.
        streams.lock = type(streams.lock)()
        cell.add(8)
        streams.drain()
        assert held(cell) in {expected(cell, [*completed, 8]), expected(cell, [*begun, 8])}, (
            f"at step {at}, after {completed}"
        )
        assert ([], [], False) == (cell.pending, streams._dirty, cell.dirty)
    assert at > 100


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.parametrize("ticking", [False, True], ids=["drained here", "drained in another thread"])
def test_nothing_is_lost_under_a_storm_of_signals(streams: Streams, ticking: bool) -> None:
    gc.collect()  # what other tests have left behind must not be finalized under the storm
    cell = streams.stream(CACHE_HITS).cell(LABELS)
    took = streams.stream(REQUEST_DURATION).cell(LABELS)
    armed, stop = False, threading.Event()

    def handler(*_: Any) -> None:
        if armed:
            raise Late

    before = signal.signal(signal.SIGALRM, handler)
    ticker = threading.Thread(target=lambda: [streams.drain() for _ in iter(lambda: stop.wait(0.001), True)])
    turn = sys.getswitchinterval()
    if ticking:
        sys.setswitchinterval(turn / 10)  # it drains when it gets its turn
        ticker.start()
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    completed = raised = longest = 0
    try:
        end = time.monotonic() + 20
        while raised < 300 and time.monotonic() < end:
            try:
                try:
                    armed = True
                    for _ in range(20):
                        cell.add(1)
                        took.add(1.0)
                        completed += 1
                    if not ticking:
                        streams.drain()
                finally:
                    armed = False
            except Late:
                raised += 1
            longest = max(longest, len(cell.pending), len(streams._dirty))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        stop.set()
        if ticking:
            ticker.join()
        sys.setswitchinterval(turn)
    streams.drain()
    assert isinstance(cell, NumberCell)
    assert isinstance(took, SummaryCell)
    for kept in (cell.value, took.count):
        assert completed <= kept <= completed + raised
    assert took.count == took.sum == sum(took.life.counts)
    assert raised >= 100
    assert longest < 50_000
    assert ([], []) == (cell.pending, streams._dirty)


def test_a_cell_that_nobody_was_told_of_is_told_of_again_before_its_list_grows(streams: Streams) -> None:
    cell = streams.stream(CACHE_HITS).cell(LABELS)
    cell.dirty = True
    for _ in range(5000):
        cell.add(1)
    assert len(cell.pending) < 5000
