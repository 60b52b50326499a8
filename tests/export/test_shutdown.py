"""The end takes one deadline, whatever hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from bext_otel import threads
from bext_otel.export.delivery import Delivery
from bext_otel.export.shutdown import Ending, Hand, ShutdownBudget, Undelivered, end_all
from bext_otel.metrics.ticker import Ticker


def test_endings_run_side_by_side_and_learn_their_time() -> None:
    meet, given = threading.Barrier(3, timeout=5), []

    def ending(seconds: float) -> None:
        given.append(seconds)
        meet.wait()

    assert end_all([ending, ending, ending], 5.0)
    assert [5.0] * 3 == given


def test_one_that_hangs_is_left_behind() -> None:
    release = threading.Event()
    started = time.monotonic()
    assert not end_all([lambda _: release.wait(60), lambda _: None], 0.2)
    assert time.monotonic() - started < 30
    release.set()


def test_what_is_lost_or_still_waits_is_one_line_that_says_what_where_and_why() -> None:
    traces, logs, metrics = (
        Delivery("traces", "there"),
        Delivery("logs", "there too"),
        Delivery("metrics", "elsewhere"),
    )
    traces.lost(100)
    undelivered = Undelivered([traces, logs, metrics])
    assert "" == undelivered.line(), "what was lost before has been told"
    traces.hear("Transient error refused encountered while exporting traces batch, retrying in 1.00s.")
    traces.lost(2)
    logs.queue.attach(lambda: 3, 10)
    logs.queue.drop_items(1, "already_shutdown")
    metrics.lost(7, "any")
    assert (
        "not delivered at the end: 2 spans to there (refused); "
        "not delivered at the end: 4 log records to there too, 7 metric points to elsewhere (no answer in "
        "time)"
    ) == undelivered.line()


def test_one_that_raises_stops_no_other() -> None:
    ended = threading.Event()

    def broken(_: float) -> None:
        raise RuntimeError

    assert end_all([broken, lambda _: ended.set()], 5.0)
    assert ended.is_set()


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hand]:
    """A thread that was started when that was possible still; now it is not, as in an exit handler of Python
    3.12."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    ticker = Ticker(lambda: False, 60)
    ticker.wake()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(threads, "_gate", threads.RetryGate())
    yield ticker.do
    ticker.stop()


def test_where_no_thread_starts_any_more_one_that_runs_ends_and_is_left_behind_too(hand: Hand) -> None:
    release, names = threading.Event(), []
    began = time.monotonic()
    assert not end_all(
        [lambda _: names.append(threading.current_thread().name), lambda _: release.wait(60)],
        0.2,
        lambda _: False,
        hand,
    )
    assert time.monotonic() - began < 30
    assert ["bext-otel-ticker"] == names
    release.set()


@pytest.mark.parametrize("hands", [0, 1])
def test_without_any_further_thread_each_gets_its_share_of_the_time(hand: Hand, hands: int) -> None:
    """And one that has begun in a thread of its own all that is left."""
    given: list[float] = []
    begun: list[float] = []

    def begin(seconds: float) -> bool:
        begun.append(seconds)
        return True

    assert end_all([given.append, given.append, Ending(given.append, begin)], 6.0, *[hand][:hands])
    assert [6.0] == begun
    assert [2, 3, 6] == [round(seconds) for seconds in given]


def test_who_waits_for_a_server_that_fails_waits_less() -> None:
    """Also with what has not been tried yet; with what goes to another server, or got through, the whole
    time."""
    traces, metrics = (
        Delivery("traces", "http://there:4318/v1/traces"),
        Delivery("metrics", "http://there:4318/v1/metrics"),
    )
    patience = ShutdownBudget(3.0, [traces, metrics])
    assert 3.0 == patience.seconds()
    traces.lost(1, "refused")
    assert 1.0 == patience.seconds()
    assert (
        3.0
        == ShutdownBudget(3.0, [traces, Delivery("metrics", "http://elsewhere:4318/v1/metrics")]).seconds()
    )
    assert 3.0 == ShutdownBudget(3.0, [traces, Delivery("metrics", "console")]).seconds()
    metrics.succeeded(1)
    assert 3.0 == patience.seconds()


def test_an_export_that_waits_already_is_not_waited_for_as_long_again() -> None:
    now = [0.0]
    logs = Delivery("logs", "http://there:4318/v1/logs", clock=lambda: now[0])
    patience = ShutdownBudget(3.0, [logs])

    def export() -> bool:
        now[0] += 2.0
        assert 3.0 == patience.seconds()
        now[0] += 2.0
        assert 1.0 == patience.seconds()
        return True

    assert logs.attempt(1, export)
    assert 3.0 == patience.seconds()


def test_what_was_waited_in_vain_a_moment_ago_is_not_waited_again() -> None:
    patience = ShutdownBudget(3.0, [])
    patience.spend(0.5)
    assert 2.5 == patience.seconds()
    patience.spend(3.1)
    assert 0.2 == patience.seconds()
