"""What waits for long is one piece of memory, and is the same, in the same order, when it goes."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.export.batching import Batches, Pauses, QueueLimits
from bext_otel.export.delivery import Delivery
from bext_otel.export.origins import Encoded, size_of
from bext_otel.export.packs import EncodedPack
from bext_otel.export.sender import Sender
from tests.fresh import printed
from tests.waiting import until

ITEMS = [(number % 3, b"%d" % number * 20) for number in range(1000)]


@given(st.lists(st.tuples(st.integers(0, 2**40), st.binary(max_size=300))))
def test_a_pack_holds_what_it_was_made_of(items: list[Encoded]) -> None:
    pack = EncodedPack(items)
    assert (items, len(items), sum(map(size_of, items))) == (pack.items(), pack.count, pack.weight)


class Collector:
    """Away, until it is there."""

    def __init__(self) -> None:
        self.delivery = Delivery("traces", "here")
        self.away = True
        self.got: list[Encoded] = []

    def export(self, batch: Sequence[Encoded]) -> bool:
        def send() -> bool:
            if self.away:
                self.delivery.explain("503", "503 Service Unavailable", may_pass=True)
                return False
            self.got += batch
            return True

        return self.delivery.attempt(len(batch), send)

    def shutdown(self) -> None:
        pass


def batches(collector: Collector, pause_seconds: float, **limits: int) -> Batches[Encoded]:
    made: Batches[Encoded] = Batches(
        collector,
        collector.delivery.queue,
        QueueLimits(**{"queue_size": 2000, "batch_size": 10, **limits}, delay_seconds=0.01),
        weigh=size_of,
        pack=EncodedPack,
        through=Sender(),
    )
    made._pauses = Pauses(pause_seconds, pause_seconds)
    return made


@pytest.mark.parametrize("pause_seconds", [0.01, 30.0], ids=["tried all the time", "tried seldom"])
def test_what_queues_up_in_an_outage_arrives_in_its_order(pause_seconds: float) -> None:
    collector = Collector()
    sending = batches(collector, pause_seconds)
    for item in ITEMS[:10]:
        sending.add(item)
    until(lambda: collector.delivery.failing, every=0.001)
    for item in ITEMS[10:]:
        sending.add(item)
    until(lambda: sending._packs, every=0.001, why="what waits to be packed")
    assert (1000, 0) == (collector.delivery.waiting, collector.delivery.lost_so_far)
    collector.away = False
    assert sending.flush(20.0)
    assert collector.got == ITEMS
    assert (0, 1000) == (collector.delivery.waiting, collector.delivery.exported)
    sending.end(1.0)


@pytest.mark.parametrize("limit", [{"queue_size": 200}, {"queue_bytes": 10_000}], ids=["items", "bytes"])
def test_where_there_is_no_room_the_oldest_packs_go_and_are_counted(limit: dict[str, int]) -> None:
    collector = Collector()
    sending = batches(collector, 30.0, **limit)
    for item in ITEMS[:10]:
        sending.add(item)
    until(lambda: collector.delivery.failing, every=0.001)
    for at, item in enumerate(ITEMS[10:]):
        sending.add(item)
        if at == 100:
            until(lambda: sending._packs, every=0.001, why="what waits to be packed")
    waiting, dropped = collector.delivery.waiting, collector.delivery.queue.dropped["queue_full"]
    assert 1000 == waiting + dropped
    assert 0 < dropped < 1000
    collector.away = False
    assert sending.flush(20.0)
    assert [*ITEMS[:10], *ITEMS[1000 - (waiting - 10) :]] == collector.got, "what was tried, and the newest"
    sending.end(1.0)


@pytest.mark.skipif(
    not hasattr(os, "confstr") or "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""),
    reason="glibc's allocator",
)
def test_the_memory_of_an_outage_goes_back_to_the_system() -> None:
    """Measured beside what the same items take as they are."""
    measured = printed(
        """
import psutil
from bext_otel.export.packs import EncodedPack, give_freed_memory_back
used = lambda: psutil.Process().memory_info().rss / 2**20
kept = []
def outage(hold):
    before, held = used(), []
    for batch in range(120):
        held.append(hold([(0, bytes(300)) for _ in range(512)]))
        kept.append([object() for _ in range(50)])
    full = used()
    del held
    give_freed_memory_back()
    return full - before, used() - before
outage(EncodedPack)
print(*outage(EncodedPack))
"""
    )
    full, left = map(float, measured.split())
    assert full > 15
    assert left < 3
