"""What a service uses is what all its processes use."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from bext_otel.metrics.service_usage import ServiceProcesses, service_usage
from bext_otel.metrics.usage import ProcessUsage
from bext_otel.testing import Clock
from tests.waiting import until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")


@contextmanager
def idle_child() -> Iterator[int]:
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_processes_that_say_nothing_are_counted_too() -> None:
    with idle_child() as pid:
        figures = ServiceProcesses(lambda: [os.getpid(), pid]).figures()
        both = [psutil.Process(), psutil.Process(pid)]
        assert sum(each.memory_info().rss for each in both) / 2**20 == pytest.approx(
            figures["memory_mb"], rel=0.05
        )
        assert sum(each.num_fds() for each in both) == figures["open_fds"]


def test_one_that_is_gone_is_left_out_and_forgotten() -> None:
    clock, asked = Clock(100.0), [os.getpid()]
    processes = ServiceProcesses(lambda: asked, clock)
    with idle_child() as pid:
        asked.append(pid)
        assert psutil.Process(pid).num_fds() + psutil.Process().num_fds() == processes.figures()["open_fds"]
    clock.advance(2)
    assert psutil.Process().num_fds() == processes.figures()["open_fds"]
    assert {os.getpid()} == processes._known.keys()


def test_the_system_is_asked_once_a_second_and_not_before_somebody_looks() -> None:
    clock, asked = Clock(100.0), list[float]()

    def members() -> list[int]:
        asked.append(clock.now)
        return [os.getpid()]

    processes = ServiceProcesses(members, clock)
    service_usage(processes, {})
    assert [] == asked
    for _ in range(30):
        assert service_usage(processes, {})["memory_mb"] > 0
        clock.advance(0.1)
    assert 3 == len(asked)


def test_the_first_share_of_processor_time_is_that_of_its_life_and_the_next_that_since() -> None:
    clock = Clock(100.0)
    process = psutil.Process()
    until(lambda: sum(process.cpu_times()[:2]) > 0.3, every=0)
    system = ProcessUsage(clock, os.getpid())
    lived = process.create_time()
    share = 100 * sum(process.cpu_times()[:2]) / max(time.time() - lived, 1)
    assert share == pytest.approx(system.figures()["cpu_percent"], rel=0.1)
    clock.advance(1000)
    assert 0 == pytest.approx(system.figures()["cpu_percent"], abs=1)


def test_what_workers_have_said_counts_where_the_system_tells_less() -> None:
    said = {"memory_mb": 1e6, "cpu_percent": 250.0, "open_fds": 1}
    assert said == dict(service_usage(ServiceProcesses(list), said))
    told = service_usage(ServiceProcesses(lambda: [os.getpid()]), said)
    assert (1e6, psutil.Process().num_fds()) == (told["memory_mb"], told["open_fds"])
    assert told["cpu_percent"] < 250
