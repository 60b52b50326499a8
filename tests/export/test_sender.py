"""One thread exports for all, and nobody waits for somebody else's collector."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from math import inf

import pytest

from bext_otel import threads
from bext_otel.export.sender import Sender
from tests.waiting import until


class Work:
    """Does one piece of work for each `due`; `hold` keeps it from coming back."""

    def __init__(self) -> None:
        self.due = 0
        self.hold = threading.Event()
        self.hold.set()
        self.by: list[str] = []

    def pause(self) -> float:
        return 0.0 if self.due else inf

    def work(self) -> None:
        while self.due:
            self.due -= 1
            self.by.append(threading.current_thread().name)
            self.hold.wait(20)


@pytest.fixture
def sender() -> Sender:
    return Sender()


@pytest.fixture
def hanging(sender: Sender) -> Iterator[Work]:
    """One that the thread of `sender` is busy with."""
    work = Work()
    work.hold.clear()
    work.due = 1
    sender.join(work)
    until(lambda: work.by)
    yield work
    work.hold.set()


def test_all_share_one_thread(sender: Sender) -> None:
    works = [Work() for _ in range(3)]
    for work in works:
        work.due = 2
        assert sender.join(work)
    until(lambda: not any(work.due for work in works))
    assert {"bext-otel-export"} == {name for work in works for name in work.by}


def test_who_rings_is_served_again(sender: Sender) -> None:
    work = Work()
    sender.join(work)
    for count in range(1, 4):
        work.due = 1
        sender.ring(work)
        until(lambda count=count: len(work.by) == count)


def test_one_that_hangs_keeps_nobody_else_waiting(
    sender: Sender, hanging: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bext_otel.export.sender._PATIENCE_SECONDS", 0.0)
    other = Work()
    sender.join(other)
    other.due = 1
    sender.ring(other)
    until(lambda: other.by)
    assert ["bext-otel-export-more"] == other.by
    hanging.hold.set()
    until(lambda: "bext-otel-export-more" not in {thread.name for thread in threading.enumerate()})
    monkeypatch.undo()
    other.due = 1
    sender.ring(other)
    until(lambda: len(other.by) == 2)
    assert "bext-otel-export" == other.by[1], "it goes on as before"


def test_who_must_be_served_at_once_is_though_all_is_busy(sender: Sender, hanging: Work) -> None:
    other = Work()
    sender.join(other)
    other.due = 1
    assert sender.take(other)
    until(lambda: other.by)


def test_where_no_further_thread_can_be_had_that_is_the_answer(
    sender: Sender, hanging: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(threads, "_gate", threads.RetryGate())
    other = Work()
    sender.join(other)
    other.due = 1
    assert not sender.take(other)
    assert not sender.do(lambda: None), "it is busy"
    assert not Sender().join(other)
    assert not Sender().take(other)


def test_work_that_raises_ends_nothing(sender: Sender) -> None:
    class Odd(Work):
        def pause(self) -> float:
            raise KeyError("odd")

        def work(self) -> None:
            raise KeyError("odd")

    other = Work()
    for work in (Odd(), other):
        sender.join(work)
    other.due = 1
    sender.ring(other)
    until(lambda: other.by)


def test_who_has_left_is_served_no_more_and_any_work_can_be_done(sender: Sender) -> None:
    work, done = Work(), threading.Event()
    sender.join(work)
    sender.leave(work)
    work.due = 1
    sender.ring(work)
    until(lambda: sender.do(done.set))
    assert done.wait(20)
    assert [] == work.by


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_starts_a_thread_of_its_own(sender: Sender) -> None:
    sender.join(Work())
    child = os.fork()
    if child == 0:
        sender.reset()
        work = Work()
        work.due = 1
        sender.join(work)
        until(lambda: work.by)
        os._exit(7)
    assert 7 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
