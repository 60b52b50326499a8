"""What is to be exported waits for a collector that is away, as long as there is room, and for nobody at the
end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from bext_otel import threads
from bext_otel.export.batching import Batches, Pauses, QueueLimits
from bext_otel.export.delivery import Delivery
from bext_otel.export.sender import Sender
from tests.waiting import until


class Collector:
    """Takes items unless it is away; keeps what it got, and how long each attempt was allowed to take."""

    def __init__(self, *, pause_seconds: float = 0.0) -> None:
        self.delivery = Delivery("traces", "here")
        self.delivery.limit = self.limits_seen = _Seen()
        self.away = False
        self.refuses = False
        self.pause_seconds = pause_seconds
        self.attempts: list[float] = []
        self.got: list[int] = []
        self.closings = 0

    def export(self, batch: Sequence[int]) -> bool:
        def send() -> bool:
            self.attempts.append(time.monotonic())
            if self.away:
                self.delivery.explain(
                    "503", "503 Service Unavailable", may_pass=True, pause_seconds=self.pause_seconds
                )
                return False
            if self.refuses:
                self.delivery.explain("400")
                return False
            self.got += batch
            return True

        return self.delivery.attempt(len(batch), send)

    def shutdown(self) -> None:
        self.closings += 1


class _Seen(list[float | None]):
    def __call__(self, seconds: float | None) -> None:
        self.append(seconds)


Make = Callable[..., Batches[int]]


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr("bext_otel.export.batching._FIRST_PAUSE_SECONDS", 0.01)
    made: list[Batches[int]] = []

    def build(
        collector: Collector, *, queue_size: int = 100, batch_size: int = 10, delay_seconds: float = 0.01
    ) -> Batches[int]:
        batches: Batches[int] = Batches(
            collector,
            collector.delivery.queue,
            QueueLimits(queue_size, batch_size, delay_seconds),
            through=Sender(),
        )
        batches._pauses = Pauses(0.01, 0.05)
        made.append(batches)
        return batches

    yield build
    for batches in made:
        batches.end(0.0)


@pytest.fixture
def threadless(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(threads, "_gate", threads.RetryGate())


def test_an_outage_costs_nothing_while_there_is_room_and_order_is_kept(
    collector: Collector, make: Make
) -> None:
    collector.away = True
    batches = make(collector)
    for number in range(100):
        batches.add(number)
    until(lambda: len(collector.attempts) >= 4, why="it is tried again and again", every=0.005)
    assert (100, 0, True) == (
        collector.delivery.waiting,
        collector.delivery.lost_so_far,
        collector.delivery.failing,
    )
    collector.away = False
    until(lambda: len(collector.got) == 100, why="all arrive")
    assert list(range(100)) == collector.got
    assert (0, 100, False) == (
        collector.delivery.waiting,
        collector.delivery.exported,
        collector.delivery.failing,
    )


def test_where_there_is_no_room_the_oldest_in_the_queue_go_and_are_counted(
    collector: Collector, make: Make
) -> None:
    collector.away = True
    batches = make(collector, queue_size=20)
    for number in range(10):
        batches.add(number)
    until(lambda: collector.attempts and not collector.delivery.inflight, every=0.001)
    for number in range(10, 60):
        batches.add(number)
    until(
        lambda: collector.delivery.queue.size == 30 and not collector.delivery.inflight,
        every=0.001,
        why="the held batch and a full queue",
    )
    assert {"queue_full": 30, "already_shutdown": 0, "_OTHER": 0} == collector.delivery.queue.dropped
    collector.away = False
    assert until(lambda: batches.flush(5.0))
    assert [*range(10), *range(40, 60)] == collector.got, "what was tried is kept, and the newest"


@pytest.mark.specification("Beyond the rows", "OTLP: what is not retryable is given up at once")
def test_what_the_collector_refuses_is_given_up_at_once(collector: Collector, make: Make) -> None:
    collector.refuses = True
    batches = make(collector)
    batches.add(1)
    until(lambda: collector.delivery.failures)
    collector.refuses = False
    batches.add(2)
    until(lambda: collector.got)
    assert ([2], {"400": 1}) == (collector.got, collector.delivery.failures)


def test_a_collector_that_asks_for_a_pause_gets_it(make: Make) -> None:
    collector = Collector(pause_seconds=0.3)
    collector.away = True
    make(collector).add(1)
    until(lambda: len(collector.attempts) == 2)
    assert collector.attempts[1] - collector.attempts[0] >= 0.3


@pytest.mark.specification("Beyond the rows", "OTLP: pauses between attempts grow, with jitter")
def test_pauses_grow_within_bounds() -> None:
    pauses = Pauses(1.0, 4.0)
    for expected in (1, 2, 4, 4):
        assert expected * 0.8 <= pauses.next() <= expected * 1.2
    assert 7.0 == pauses.next(7.0)
    assert 600.0 == pauses.next(1e9), "a clock may be wrong"
    pauses.reset()
    assert pauses.next() <= 1.2


def test_the_end_tries_again_as_long_as_it_may_and_no_longer(collector: Collector, make: Make) -> None:
    collector.away = True
    batches = make(collector, delay_seconds=60)
    batches.add(1)
    began = time.monotonic()
    assert not batches.end(0.5)
    assert 0.4 < time.monotonic() - began < 5
    assert len(collector.attempts) > 1
    assert (1, []) == (collector.delivery.waiting, collector.got), "still counted as waiting"
    batches.add(2)
    assert 1 == collector.delivery.queue.dropped["already_shutdown"]


def test_a_collector_that_comes_back_meanwhile_gets_all_at_the_end(collector: Collector, make: Make) -> None:
    collector.away = True
    batches = make(collector, delay_seconds=60)
    for number in range(30):
        batches.add(number)
    timer = threading.Timer(0.2, lambda: setattr(collector, "away", False))
    timer.start()
    assert batches.end(10.0)
    assert list(range(30)) == collector.got
    timer.join()


def test_a_flush_waits_for_one_attempt_and_not_for_the_collector_to_come_back(
    collector: Collector, make: Make
) -> None:
    batches = make(collector, delay_seconds=60)
    assert batches.flush(5.0), "nothing to send"
    batches.add(1)
    assert batches.flush(5.0)
    collector.away = True
    batches.add(2)
    began = time.monotonic()
    assert not batches.flush(5.0)
    assert time.monotonic() - began < 4


def test_without_a_thread_it_sends_now_and_then_for_a_moment(
    collector: Collector, make: Make, threadless: None
) -> None:
    batches = make(collector, delay_seconds=0.05)
    batches.add(1)
    assert [] == collector.got, "not at each item"
    time.sleep(0.06)
    batches.add(2)
    assert [1, 2] == collector.got
    assert [0.25] == list(collector.limits_seen), "and not for long"


def test_without_a_thread_a_collector_that_is_away_is_asked_ever_more_seldom(
    collector: Collector, make: Make, threadless: None
) -> None:
    collector.away = True
    batches = make(collector, delay_seconds=0.01)
    for number in range(20):
        batches.add(number)
        time.sleep(0.01)
    assert 1 == len(collector.attempts)
    collector.away = False
    assert batches.end(5.0)
    assert list(range(20)) == collector.got


def test_a_thread_that_could_not_start_starts_later(
    collector: Collector, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, tries = threading.Thread.start, []

    def refuse_once(thread: threading.Thread) -> None:
        tries.append(thread.name)
        if len(tries) == 1:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_once)
    monkeypatch.setattr(threads, "_gate", threads.RetryGate(0.05))
    batches = make(collector, delay_seconds=60, batch_size=3)
    batches.add(1)
    batches.add(2)
    assert 1 == len(tries), "not at each item"
    time.sleep(0.06)
    batches.add(3)
    until(lambda: collector.got == [1, 2, 3])


def test_the_exporter_is_closed_once_however_soon_the_rest_is_sent(collector: Collector, make: Make) -> None:
    batches = make(collector, delay_seconds=60)
    batches.add(1)
    assert batches.begin_end(5.0)
    until(lambda: collector.got)
    assert batches.end(5.0)
    assert batches.end(5.0)
    assert ([1], 1) == (collector.got, collector.closings)


def test_a_forked_child_sends_none_of_its_parents(collector: Collector, make: Make) -> None:
    batches = make(collector, delay_seconds=60)
    batches.add(1)
    batches.reset()
    batches.add(2)
    assert batches.flush(5.0)
    assert [2] == collector.got
