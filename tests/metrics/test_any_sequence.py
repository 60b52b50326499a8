"""Any sequence of measurements, ticks, scrapes, deaths, successions and forks: the totals are what was
measured, and never go back."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bext_otel.catalogue import (
    CACHE_ENTRIES,
    CACHE_HITS,
    FLOW_ACTIVE_RUNS,
    HTTP_SERVER_REQUEST_DURATION,
    REQUEST_DURATION,
)
from bext_otel.metrics.snapshot import Distribution, Histogram, Snapshot
from bext_otel.metrics.store.streams import Streams
from bext_otel.testing import Clock
from tests.metrics.merging.test_sum import PAGE, SHOP, Board, Seat, Worker, number

WHO = st.integers(0, 2)
GET = {"http.request.method": "GET"}


def totals(snapshot: Snapshot) -> dict[str, float]:
    """What only grows, with the counts in buckets beside those that are told."""
    found = {"hits": number(snapshot)}
    for metric in (REQUEST_DURATION, HTTP_SERVER_REQUEST_DURATION):
        family = snapshot.family(metric)
        for point in family.points if family is not None else ():
            value = point.value
            assert isinstance(value, (Distribution, Histogram))
            if isinstance(value, Distribution):
                assert value.count == sum(value.life.counts) + value.zeros
                found |= {"summary count": value.count, "summary sum": value.sum}
            else:
                assert value.count == sum(value.counts)
                found |= {"histogram count": value.count, "histogram sum": value.sum}
    return found


class Service(RuleBasedStateMachine):
    """Three workers at a time, and what they measured: in all, and what each of those alive holds."""

    def __init__(self) -> None:
        super().__init__()
        self.board, self.clock = Board(), Clock(1000.0)
        self.workers = [Worker(self.board, self.clock) for _ in range(3)]
        self.measured: Counter[str] = Counter()
        self.runs, self.entries = [0] * 3, [0] * 3
        self.shown: dict[str, float] = {}
        for worker in self.workers:
            worker.publish()

    @rule(who=WHO, times=st.integers(0, 5))
    def count(self, who: int, times: int) -> None:
        self.workers[who].hit(times)
        self.measured["hits"] += times

    @rule(who=WHO, amount=st.integers(-3, 3))
    def go_up_or_down(self, who: int, amount: int) -> None:
        self.workers[who].streams.stream(FLOW_ACTIVE_RUNS).cell({}).add(amount)
        self.runs[who] += amount

    @rule(who=WHO, entries=st.integers(0, 9))
    def hold(self, who: int, entries: int) -> None:
        self.workers[who].hold(entries)
        self.entries[who] = entries

    @rule(who=WHO, value=st.integers(0, 1000))
    def summarize(self, who: int, value: int) -> None:
        self.workers[who].streams.stream(REQUEST_DURATION).cell(PAGE).add(value)
        self.measured.update({"summary count": 1, "summary sum": value})

    @rule(who=WHO, value=st.integers(0, 20))
    def put_into_a_histogram(self, who: int, value: int) -> None:
        self.workers[who].streams.stream(HTTP_SERVER_REQUEST_DURATION).cell(GET).add(value)
        self.measured.update({"histogram count": 1, "histogram sum": value})

    @rule(who=WHO)
    def tick(self, who: int) -> None:
        self.workers[who].reading.tick()

    @rule(seconds=st.sampled_from([1, 70, 400]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(who=WHO)
    def scrape(self, who: int) -> None:
        found = totals(self.workers[who].reading.snapshot())
        for name, before in self.shown.items():
            assert before <= found[name]
        for name, value in found.items():
            assert value <= self.measured[name]
        self.shown |= found

    @rule(who=WHO)
    def die_and_be_replaced(self, who: int) -> None:
        """What was not published goes with a worker, and that is what the tick is for."""
        self.workers[who].publish()
        self.workers[who].seat.die()
        self.workers[who] = Worker(self.board, self.clock)
        self.runs[who] = self.entries[who] = 0

    @rule(who=WHO)
    def end_and_be_replaced(self, who: int) -> None:
        self.workers[who].reading.stop()
        self.workers[who].seat.die()
        self.workers[who] = Worker(self.board, self.clock)
        self.runs[who] = self.entries[who] = 0

    @rule(who=WHO, unsaid=st.integers(0, 3))
    def fork_in_the_place_of_a_worker(self, who: int, unsaid: int) -> None:
        """A child has its parent's memory, cells and list of what is to drain, and begins anew; the parent
        ends."""
        worker = self.workers[who]
        worker.publish()
        worker.seat.die()
        worker.hit(unsaid)  # by the parent after its last word, as a copy that is the child's memory has it
        self.board.joined += 1
        seat = Seat(self.board)
        assert worker.reading._service is not None
        worker.seat = worker.reading._service._ledger = seat  # type: ignore[assignment]
        worker.reading.reset()
        worker.reading.stop()
        self.runs[who] = self.entries[who] = 0

    @invariant()
    def places_are_taken_over(self) -> None:
        assert len(self.board.places) <= 4

    def teardown(self) -> None:
        for worker in self.workers:
            worker.publish()
        for worker in self.workers:
            snapshot = worker.reading.snapshot()
            assert +self.measured == +Counter(totals(snapshot))
            assert (sum(self.runs), sum(self.entries)) == (
                number(snapshot, FLOW_ACTIVE_RUNS),
                number(snapshot, CACHE_ENTRIES),
            )


TestAnySequence = Service.TestCase
TestAnySequence.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("tasks", [1, 50])
def test_totals_are_exact_from_many_tasks_while_one_drains(streams: Streams, tasks: int) -> None:
    each = 2000 // tasks

    async def measure() -> None:
        for turn in range(each):
            streams.stream(CACHE_HITS).cell(SHOP).add(1)
            streams.stream(REQUEST_DURATION).cell(PAGE).add(turn)
            await asyncio.sleep(0)

    async def drain(stop: asyncio.Event) -> None:
        while not stop.is_set():
            streams.drain()
            await asyncio.to_thread(streams.drain)

    async def main() -> None:
        stop = asyncio.Event()
        drainer = asyncio.create_task(drain(stop))
        await asyncio.gather(*(measure() for _ in range(tasks)))
        stop.set()
        await drainer

    asyncio.run(main())
    streams.drain()
    (hits,), (took,) = streams.stream(CACHE_HITS).cells(), streams.stream(REQUEST_DURATION).cells()
    assert 2000 == hits.value  # type: ignore[attr-defined]
    assert (2000, tasks * sum(range(each))) == (took.count, took.sum)  # type: ignore[attr-defined]
