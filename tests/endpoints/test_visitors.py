from __future__ import annotations

import os
import threading
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


def test_scrapes_that_follow_each_other_without_a_pause_get_a_share_of_the_time() -> None:
    now = [0.0]
    visitors = Visitors(endpoints(), Pace(burst=2, clock=lambda: now[0]))
    statuses = [ask(visitors).status for _ in range(5)]
    assert [200, 200, 503, 503, 503] == statuses
    assert 200 == ask(visitors, "/health").status
    now[0] += 60
    assert 200 == ask(visitors).status


def test_whoever_has_the_token_is_served_beside_those_who_loop() -> None:
    visitors = Visitors(endpoints(token="s3cret"), Pace(burst=1, clock=lambda: 0.0))
    assert [200, 503] == [ask(visitors).status for _ in range(2)]
    reply = visitors.reply("GET", "/metrics", "", {"authorization": "Bearer s3cret"})
    assert reply is not None
    assert 200 == reply.status


def test_whoever_is_refused_takes_nobodys_place() -> None:
    closed = endpoints(token="s3cret", settings={"metrics": "token"})
    visitors = Visitors(closed, Pace(burst=1, clock=lambda: 0.0))
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
