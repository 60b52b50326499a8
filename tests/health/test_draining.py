from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from bext_otel.health.draining import Draining, hold_termination
from bext_otel.service.board import Board
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="this system has no signals")


class Server:
    """Handles SIGTERM, and counts how often."""

    def __init__(self) -> None:
        self.told = 0

    def handle(self, *_: object) -> None:
        self.told += 1


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def held(seconds: float, drained: list[int], *, serves: bool = True) -> Draining:
    return Draining(seconds, lambda: drained.append(1), Board(None), serves=lambda: serves)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_handler_is_called_when_the_time_is_over() -> None:
    server, drained = Server(), list[int]()
    undo = hold_termination(held(0.05, drained))
    try:
        signal.signal(signal.SIGTERM, server.handle)
        terminate()
        assert ([1], 0) == (drained, server.told)
        until(lambda: server.told)
        terminate()
        assert ([1], 2) == (drained, server.told)
    finally:
        undo()


def test_nobody_sees_that_their_handler_is_held() -> None:
    server, handle = Server(), signal.default_int_handler
    undo = hold_termination(held(60, []))
    try:
        assert signal.SIG_DFL == signal.signal(signal.SIGTERM, server.handle)
        assert server.handle == signal.getsignal(signal.SIGTERM)
        assert server.handle == signal.signal(signal.SIGTERM, handle)
        assert handle is signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.SIG_IGN == signal.getsignal(signal.SIGTERM)
    finally:
        undo()


def test_who_asks_twice_does_not_wait() -> None:
    server = Server()
    undo = hold_termination(held(60, []))
    try:
        signal.signal(signal.SIGTERM, server.handle)
        terminate()
        terminate()
        assert 1 == server.told
    finally:
        undo()


def test_a_process_that_does_not_serve_ends_at_once() -> None:
    server, drained = Server(), list[int]()
    undo = hold_termination(held(60, drained, serves=False))
    try:
        signal.signal(signal.SIGTERM, server.handle)
        terminate()
        assert ([], 1) == (drained, server.told)
    finally:
        undo()


def test_what_was_held_is_called_at_once_when_that_is_undone() -> None:
    server = Server()
    undo = hold_termination(held(60, []))
    signal.signal(signal.SIGTERM, server.handle)
    undo()
    terminate()
    assert 1 == server.told


def test_a_handler_that_is_gone_is_not_called_and_its_successor_neither() -> None:
    """The server ended for another reason meanwhile: the signal would end the process."""
    server, after = Server(), Server()
    draining = held(0.05, [])
    undo = hold_termination(draining)
    try:
        signal.signal(signal.SIGTERM, server.handle)
        terminate()
    finally:
        undo()
    signal.signal(signal.SIGTERM, after.handle)
    passed: list[int] = []
    assert draining.hold(lambda: passed.append(1)) is False
    assert ([], 0, 0) == (passed, server.told, after.told)


def test_an_event_loop_s_handler_is_held_too() -> None:
    drained: list[int] = []

    async def served() -> int:
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
        terminate()
        await asyncio.sleep(0)
        before = told.is_set()
        await told.wait()
        return before

    undo = hold_termination(held(0.05, drained))
    try:
        assert False is asyncio.run(served())
        assert [1] == drained
    finally:
        undo()
