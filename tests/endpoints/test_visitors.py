from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from bext_otel.endpoints.endpoints import Reply
from bext_otel.endpoints.visitors import Visitors
from bext_otel.listener.pace import Pace
from bext_otel.metrics.snapshot import Snapshot
from tests.endpoints.parts import endpoints
from tests.endpoints.snapshots import SPECIFICATION
from tests.waiting import until


class Reading:
    """Is under way until it may end."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = threading.Event()

    def __call__(self) -> Snapshot:
        self.begun += 1
        assert self.go.wait(20)
        return SPECIFICATION


def ask(visitors: Visitors, path: str = "/metrics") -> Reply:
    reply = visitors.reply("GET", path, "", {})
    assert reply is not None
    return reply


def test_few_wait_for_a_scrape_and_the_others_are_told_to_come_back() -> None:
    reading = Reading()
    visitors = Visitors(endpoints(read=reading))
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(ask, visitors) for _ in range(16)]
        until(lambda: sum(one.done() for one in asked) == 12)
        assert [200, 200] == [ask(visitors, path).status for path in ("/health/ready", "/health/live")]
        reading.go.set()
        replies = [one.result(20) for one in asked]
    assert [200] * 4 + [503] * 12 == sorted(reply.status for reply in replies)
    assert {"1"} == {dict(reply.headers)["retry-after"] for reply in replies if reply.status == 503}
    assert reading.begun <= 2


class Spent(Pace):
    """Has no time left until `left`."""

    def __init__(self, *, left: float = 60.0) -> None:
        super().__init__()
        self.left = left

    def wait_seconds(self) -> float:
        return self.left


def test_of_scrapes_beyond_their_share_of_the_time_one_waits_and_the_others_are_told_to_come_back() -> None:
    sleeping, wake = threading.Event(), threading.Event()

    def sleep(seconds: float) -> None:
        assert 2.0 == seconds
        sleeping.set()
        assert wake.wait(20)

    visitors = Visitors(endpoints(), Spent(), sleep=sleep)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, visitors)
        assert sleeping.wait(10)
        assert [503] * 3 == [ask(visitors).status for _ in range(3)]
        assert 200 == ask(visitors, "/health").status
        wake.set()
        assert 200 == first.result(20).status


def test_the_only_thread_of_an_application_waits_for_no_share() -> None:
    visitors = Visitors(endpoints(), Spent())
    for _ in range(3):
        reply = visitors.reply("GET", "/metrics", "", {}, by_turns=True)
        assert reply is not None
        assert 200 == reply.status


def test_scrapes_spend_what_they_take_of_the_processor_and_not_what_they_wait() -> None:
    spent: list[float] = []
    pace = Pace()
    pace.spend = spent.append  # type: ignore[method-assign]

    def work() -> Snapshot:
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            pass
        return SPECIFICATION

    def wait() -> Snapshot:
        time.sleep(0.5)
        return SPECIFICATION

    assert [200, 200] == [ask(Visitors(endpoints(read=read), pace)).status for read in (work, wait)]
    assert spent[0] >= 0.1 > spent[1]


def test_a_short_pause_is_waited_for_by_few() -> None:
    slept: list[float] = []
    assert 200 == ask(Visitors(endpoints(), Spent(left=0.3), sleep=slept.append)).status
    assert [0.3] == slept


def test_whoever_has_the_token_is_served_beside_those_who_loop() -> None:
    reading = Reading()
    visitors = Visitors(endpoints(read=reading, token="s3cret"))
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, visitors) for _ in range(4)]
        until(lambda: ask(visitors).status == 503)
        mine = pool.submit(visitors.reply, "GET", "/metrics", "", {"authorization": "Bearer s3cret"})
        reading.go.set()
        assert [200] * 4 == [one.result(20).status for one in asked]
        reply = mine.result(20)
    assert reply is not None
    assert 200 == reply.status


def test_whoever_is_refused_takes_nobodys_place() -> None:
    closed = endpoints(token="s3cret", settings={"metrics": "token"})
    visitors = Visitors(closed, Spent())
    assert [401] * 3 == [ask(visitors).status for _ in range(3)]
    assert None is closed.lane("/metrics", {})
    assert "scrapes" == closed.lane("/metrics", {"authorization": "Bearer s3cret"})


def test_another_path_is_not_ours() -> None:
    assert Visitors(endpoints()).reply("GET", "/elsewhere", "", {}) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_while_some_wait_has_room_for_its_own() -> None:
    reading = Reading()
    visitors = Visitors(endpoints(read=reading))
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, visitors) for _ in range(4)]
        until(lambda: ask(visitors).status == 503)
        child = os.fork()
        if not child:
            reading.go.set()
            os._exit(0 if ask(visitors).status == 200 else 1)
        assert 0 == os.waitpid(child, 0)[1]
        reading.go.set()
        assert [200] * 4 == [one.result(20).status for one in asked]
