"""What a process uses, as the operating system counts it."""

from __future__ import annotations

import psutil
import pytest

from bext_otel.metrics.usage import ProcessUsage
from bext_otel.testing import Clock
from tests.waiting import until

pytestmark = pytest.mark.quiet


def work(seconds: float) -> float:
    """Use so much processor time, or a little more; how much it was."""
    began = used()
    until(lambda: used() - began >= seconds, every=0)
    return used() - began


def used() -> float:
    times = psutil.Process().cpu_times()
    return times.user + times.system


def test_processor_time_is_a_share_of_the_time_since_it_was_asked_for() -> None:
    clock = Clock(100.0)
    system = ProcessUsage(clock)
    worked = work(0.2)
    clock.advance(2)
    assert 100 * worked / 2 == pytest.approx(system.figures()["cpu_percent"], abs=5)
    clock.advance(2)
    assert 0 == pytest.approx(system.figures()["cpu_percent"], abs=5)


def test_who_asks_twice_at_once_gets_the_same_share() -> None:
    clock = Clock(100.0)
    system = ProcessUsage(clock)
    work(0.2)
    clock.advance(2)
    first = system.figures()["cpu_percent"]
    work(0.05)
    clock.advance(0.001)
    assert first == system.figures()["cpu_percent"]


def test_the_first_second_is_no_share_of_nothing() -> None:
    clock = Clock(100.0)
    system = ProcessUsage(clock)
    worked = work(0.1)
    clock.advance(0.001)
    assert 100 * worked == pytest.approx(system.figures()["cpu_percent"], abs=5)


def test_memory_and_descriptors_are_what_psutil_says() -> None:
    figures = ProcessUsage().figures()
    process = psutil.Process()
    assert process.memory_info().rss / 2**20 == pytest.approx(figures["memory_mb"], rel=0.1)
    assert process.num_fds() == figures["open_fds"]


def test_where_nobody_tells_of_this_process_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux without /proc: a chroot, a jail."""
    monkeypatch.setattr("bext_otel.service.procfs.Proc.stat", lambda *_: None)
    usage = ProcessUsage()
    assert ({}, False) == (usage.figures(), usage.runs())
    with pytest.raises(OSError, match="1"):
        ProcessUsage(pid=1)
