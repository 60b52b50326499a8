"""A worker is stopped, all die at once, the clock jumps: scrapes go on, and tell what happened."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.clocks import WallClock
from tests.e2e.services import FLASK, GUNICORN, ON_LINUX, both_answer, port_of, serving
from tests.e2e.traffic import Scrapes, Traffic, document, items_of, page, settled
from tests.waiting import until

pytestmark = [pytest.mark.e2e, ON_LINUX]

HOUR = 3600


def test_scrapes_go_on_while_a_worker_is_stopped_and_hold_its_counts(tmp_path: Path) -> None:
    with serving(tmp_path, f"{GUNICORN} --threads 2 {FLASK}") as program:
        port = port_of(program)
        traffic = Traffic(port)
        with traffic.flowing(2):
            both_answer(traffic)
        total = settled(port, *traffic.bounds)
        stopped = psutil.Process(traffic.answers[-1].pid)
        stopped.suspend()
        try:
            until(lambda: stopped.status() == psutil.STATUS_STOPPED)
            assert [total] * 100 == [items_of(page(port)) for _ in range(100)]
            assert total == document(port)["apps"]["shop"]["requests"]["total"]
        finally:
            stopped.resume()
        with traffic.flowing(2):
            both_answer(traffic)
        settled(port, *traffic.bounds)


def test_when_all_workers_die_at_once_those_that_follow_answer_for_them(tmp_path: Path) -> None:
    """Again and again; each time only the last second may be lost."""
    with serving(tmp_path, f"{GUNICORN} {FLASK}") as program:
        port = port_of(program)
        traffic = Traffic(port)
        former = 0
        for _ in range(3):
            before = traffic.answered
            began = time.monotonic()
            with traffic.flowing(2):
                both_answer(traffic)
                until(lambda began=began: time.monotonic() - began > 2)  # type: ignore[misc]
                victims = [process.pid for process in psutil.Process(program.process.pid).children()]
                for victim in victims:
                    os.kill(victim, signal.SIGKILL)
                killed = time.monotonic()
                both_answer(traffic, without=set(victims))
            new = traffic.answered - before
            lost = sum(traffic.last_second(victim, killed) for victim in victims)
            assert 0 < lost < new, "some of it was counted before the last second"
            former = settled(port, former + new - lost, traffic.bounds[1])


def test_a_clock_that_jumps_back_an_hour_takes_nothing_back(tmp_path: Path) -> None:
    """The wall clock of all workers does, while they serve; what is recent goes by the clock that never
    jumps."""
    clock = WallClock(tmp_path)
    with serving(tmp_path, f"{GUNICORN} {FLASK}", **clock.env) as program:
        port = port_of(program)
        traffic = Traffic(port)
        scrapes = Scrapes(port, traffic)
        with scrapes.going_on(1):
            with traffic.flowing(2):
                both_answer(traffic)
            settled(port, *traffic.bounds)
            before = document(port)
            clock.turn(-HOUR)
            with traffic.flowing(2):
                both_answer(traffic)
            settled(port, *traffic.bounds)
        after = document(port)
    assert before["timestamp"] > after["timestamp"], "the clock was turned back, or this shows nothing"
    assert before["uptime_secs"] <= after["uptime_secs"] < 60
    assert after["apps"]["shop"]["requests"]["rps"] > 0
    assert [] == scrapes.wrong
