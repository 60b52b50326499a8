from __future__ import annotations

import threading

import pytest

from bext_otel.listener import lanes
from bext_otel.listener.lanes import Lane, Together
from tests.waiting import until


def threads_of(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


def test_jobs_are_done_one_at_a_time_and_in_order() -> None:
    lane, done, busy = Lane("lane-order"), [], threading.Lock()

    def job(number: int) -> lanes.Job:
        def run(_: Together) -> None:
            assert busy.acquire(blocking=False)
            done.append(number)
            busy.release()

        return run

    for number in range(50):
        lane.add(job(number))
    until(lambda: len(done) == 50)
    assert list(range(50)) == done
    assert 1 == threads_of("lane-order")
    lane.close()
    until(lambda: threads_of("lane-order") == 0)


def test_those_who_wait_are_answered_from_one_thing_and_the_next_from_another() -> None:
    lane, made, got = Lane("lane-together"), [], []
    go, first = threading.Event(), threading.Event()

    def make() -> int:
        made.append(1)
        return len(made)

    def hold(_: Together) -> None:
        first.set()
        assert go.wait(10)

    lane.add(hold)
    assert first.wait(10)
    for _ in range(5):
        lane.add(lambda together: got.append(together.share(make)))
    go.set()
    until(lambda: len(got) == 5)
    lane.add(lambda together: got.append(together.share(make)))
    until(lambda: len(got) == 6)
    assert [1, 1, 1, 1, 1, 2] == got
    lane.close()


def test_a_failure_is_shared_as_well() -> None:
    together, tried = Together(), []

    def make() -> int:
        tried.append(1)
        raise OSError("no")

    for _ in range(3):
        with pytest.raises(OSError, match="no"):
            together.share(make)
    assert [1] == tried


def test_what_was_discarded_is_not_done() -> None:
    lane, done = Lane("lane-discarded"), []
    go, first = threading.Event(), threading.Event()

    def hold(_: Together) -> None:
        first.set()
        assert go.wait(10)

    def given_up(_: Together) -> None:
        done.append("given up")

    lane.add(hold)
    assert first.wait(10)
    lane.add(given_up)
    lane.add(lambda _: done.append("kept"))
    lane.discard(given_up)
    go.set()
    until(lambda: done)
    assert ["kept"] == done
    lane.close()


def test_without_threads_whoever_has_a_job_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "start", lambda *_, name: None)
    lane, done = Lane("lane-none"), []
    for number in range(2):
        lane.add(lambda _, number=number: done.append((number, threading.current_thread())))  # type: ignore[misc]
    assert [(number, threading.current_thread()) for number in range(2)] == done
