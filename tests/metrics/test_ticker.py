"""The ticker works while there is work, and sleeps otherwise."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import pytest

from bext_otel.metrics.ticker import Ticker
from tests.waiting import until


@pytest.fixture
def new_threads() -> Callable[[], list[str]]:
    """Names of the threads that were started in this test: other tests' may take a moment to end."""
    before = set(threading.enumerate())
    return lambda: [thread.name for thread in threading.enumerate() if thread not in before]


def test_no_thread_before_the_first_measurement(new_threads: Callable[[], list[str]]) -> None:
    ticker = Ticker(lambda: False, 0.01)
    assert "bext-otel-ticker" not in new_threads()
    ticker.stop()


def test_it_ticks_again_after_each_wake_and_not_while_idle(new_threads: Callable[[], list[str]]) -> None:
    ticks = 0

    def tick() -> bool:
        nonlocal ticks
        ticks += 1
        return False

    ticker = Ticker(tick, 0.001)
    for expected in (1, 2, 3):
        ticker.wake()
        until(lambda expected=expected: ticks == expected, why=f"{expected} ticks")  # type: ignore[misc]
        until(lambda: ticker._asleep, why="asleep")
    ticker.stop()
    until(lambda: "bext-otel-ticker" not in new_threads(), why="the thread has ended")


def test_it_tells_once_that_it_has_started(new_threads: Callable[[], list[str]]) -> None:
    started: list[str] = []
    ticker = Ticker(lambda: False, 0.001, lambda: started.append(threading.current_thread().name))
    for _ in range(5):
        ticker.wake()
    until(lambda: started)
    ticker.stop()
    until(lambda: "bext-otel-ticker" not in new_threads(), why="the thread has ended")
    assert ["bext-otel-ticker"] == started


def test_nothing_starts_after_it_was_stopped(new_threads: Callable[[], list[str]]) -> None:
    ticker = Ticker(lambda: False, 0.001)
    ticker.stop()
    ticker.wake()
    assert "bext-otel-ticker" not in new_threads()


def test_it_waits_with_what_its_modules_offer_when_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A greenlet that waited for a queue of the system's would hold up all others: gevent patches modules
    after a worker was forked."""

    class Queue(queue.SimpleQueue):  # type: ignore[type-arg]  # of None
        pass

    ticker = Ticker(lambda: False, 0.01)
    monkeypatch.setattr(queue, "SimpleQueue", Queue)
    ticker.wake()
    assert Queue is type(ticker._alarm)
    ticker.stop()


def test_a_tick_that_raises_is_counted_and_told_once_and_ticks_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcomes: list[Callable[[], bool]] = [
        lambda: bool(1 / 0),
        lambda: bool(1 / 0),
        lambda: bool({}["x"]),
        lambda: True,
    ]
    failing: list[bool] = []

    def tick() -> bool:
        failing.append(ticker.failing)
        return outcomes.pop(0)() if outcomes else False

    ticker = Ticker(tick, 0.001)
    ticker.wake()
    until(lambda: ticker._asleep, why="all of them")
    assert ([False, True, True, True, False], 3, False) == (failing, ticker.failures, ticker.failing)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert ["ZeroDivisionError", "KeyError"] == [message.partition("(")[0].split()[-1] for message in told]
    ticker.stop()


def test_what_fails_at_the_start_does_not_end_the_ticker() -> None:
    ticks: list[bool] = []
    ticker = Ticker(lambda: bool(ticks.append(True)), 0.001, lambda: 1 / 0)
    ticker.wake()
    until(lambda: ticks, why="a tick")
    ticker.stop()


def test_it_does_something_else_awake_or_asleep_and_goes_on() -> None:
    ticks: list[bool] = []
    ticker = Ticker(lambda: bool(ticks.append(True)), 0.001)
    assert not ticker.do(lambda: None), "it has not started"
    ticker.wake()
    for _ in range(2):
        until(lambda: ticker._asleep, why="asleep")
        done = threading.Event()
        assert ticker.do(lambda: 1 / 0)
        assert ticker.do(done.set)
        assert done.wait(20)
        before = len(ticks)
        ticker.wake()
        until(lambda before=before: len(ticks) > before, why="a tick")  # type: ignore[misc]
    ticker.stop()
    assert not ticker.do(lambda: None)


def test_one_that_hangs_in_a_tick_does_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bext_otel.metrics.ticker._HANGS_SECONDS", 0.0)
    begun, release = threading.Event(), threading.Event()
    ticker = Ticker(lambda: bool(begun.set() or release.wait(20)) and False, 0.001)
    ticker.wake()
    assert begun.wait(20)
    until(lambda: not ticker.do(lambda: None))
    release.set()
    until(lambda: ticker.do(lambda: None))
    ticker.stop()
