from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from bext_otel.endpoints.sharing import Sharing
from tests.waiting import until

GENEROUS = 0.3  # seconds to gather: nobody measures it, and 16 threads need some time to start


class Collections:
    """Counts, and lets a test hold them."""

    def __init__(self) -> None:
        self.begun = 0
        self.held = threading.Event()
        self.held.set()
        self.at_once = self.most_at_once = 0

    def __call__(self) -> int:
        self.begun += 1
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        number = self.begun
        assert self.held.wait(10)
        self.at_once -= 1
        return number


def in_threads(count: int, call: Callable[[], int]) -> list[int]:
    together = threading.Barrier(count)

    def one() -> int:
        together.wait(10)
        return call()

    with ThreadPoolExecutor(count) as pool:
        return [made.result(20) for made in [pool.submit(one) for _ in range(count)]]


def test_sixteen_that_come_together_are_served_from_one_collection() -> None:
    collect = Collections()
    assert [1] * 16 == in_threads(16, Sharing(collect, gather_seconds=GENEROUS).get)
    assert 1 == collect.begun


def test_a_crowd_costs_few_collections_also_with_no_time_to_gather() -> None:
    """And never two of them at the same time."""
    collect = Collections()
    sharing = Sharing(collect, gather_seconds=0)
    collect.held.clear()
    with ThreadPoolExecutor(16) as pool:
        first = pool.submit(sharing.get)
        until(lambda: collect.begun)
        others = [pool.submit(sharing.get) for _ in range(15)]
        until(lambda: sharing._rounds.open)
        collect.held.set()
        numbers = {made.result(20) for made in others}
        assert 1 == first.result(20)
    assert 1 not in numbers, "begun before they asked"
    assert 1 == collect.most_at_once


def test_who_asks_one_after_the_other_gets_a_collection_each() -> None:
    sharing = Sharing(Collections(), gather_seconds=0)
    assert [1, 2, 3] == [sharing.get() for _ in range(3)]


def test_an_answer_holds_everything_counted_before_it_was_asked_for() -> None:
    """Whoever counts and then asks sees that count, whatever others ask at the same time."""
    counted = [0] * 8
    sharing = Sharing(lambda: list(counted), gather_seconds=0)

    def count_and_ask(mine: int) -> None:
        for _ in range(200):
            counted[mine] += 1
            assert counted[mine] == sharing.get()[mine]

    with ThreadPoolExecutor(8) as pool:
        for made in [pool.submit(count_and_ask, mine) for mine in range(8)]:
            made.result(60)


def test_a_failure_is_everybodys_and_the_next_one_asks_anew() -> None:
    answers = [OSError("no"), 5]

    def collect() -> int:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    sharing = Sharing(collect, gather_seconds=GENEROUS)

    def ask() -> int:
        with pytest.raises(OSError, match="no"):
            sharing.get()
        return 0

    in_threads(4, ask)
    assert 5 == sharing.get()


def test_a_callback_that_scrapes_does_not_wait_for_itself() -> None:
    depth = []

    def collect() -> int:
        depth.append(1)
        return 1 + (sharing.get() if len(depth) < 3 else 0)

    sharing = Sharing(collect, gather_seconds=0)
    assert 3 == sharing.get()


def test_a_collection_that_hangs_is_not_waited_for_without_end() -> None:
    """And when it has ended after all, the next one is answered."""
    collect = Collections()
    sharing = Sharing(collect, gather_seconds=0, patience_seconds=0.1)
    collect.held.clear()
    with ThreadPoolExecutor(2) as pool:
        hanging = pool.submit(sharing.get)
        until(lambda: collect.begun)
        with pytest.raises(TimeoutError, match="a callback of the application hangs"):
            sharing.get()
        collect.held.set()
        assert 1 == hanging.result(10)
    assert 2 == sharing.get()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_in_the_middle_of_a_collection_collects() -> None:
    collect = Collections()
    sharing = Sharing(collect, gather_seconds=0)
    collect.held.clear()
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(sharing.get)
        until(lambda: collect.begun)
        child = os.fork()
        if child == 0:
            collect.held = threading.Event()
            collect.held.set()
            os._exit(sharing.get())
        collect.held.set()
        hanging.result(10)
    assert 2 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
