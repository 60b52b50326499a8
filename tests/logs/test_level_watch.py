"""Levels of processes that share a board, by real forks and threads."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bext_otel.config import load
from bext_otel.config.watching import ChangedFile
from bext_otel.logs.level_control import LevelControl, SetLevels
from bext_otel.logs.level_orders import order
from bext_otel.logs.level_watch import LevelWatch
from bext_otel.service.board import Board
from bext_otel.service.shared_file import SharedFile
from tests.waiting import until

NOTHING = SetLevels(None, {}, {})
pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memory files here")


@pytest.fixture
def control() -> Iterator[LevelControl]:
    made = LevelControl(NOTHING)
    yield made
    made.remove()


@pytest.fixture
def board() -> Iterator[Board]:
    arena, reason = SharedFile.create("levels")
    made = Board(arena, reason)
    yield made
    made.close()


def test_what_one_process_is_asked_another_obeys_at_once(control: LevelControl, board: Board) -> None:
    """The child waits for its bell: it looks at nothing by itself."""
    watch = LevelWatch(control, board=board, tell=print)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        board.in_child()
        watch.start()
        os.write(write, b"r")
        ends = time.monotonic() + 30
        while time.monotonic() < ends and control.gate.apps.get("api") != logging.DEBUG:
            time.sleep(0.01)
        os._exit(0 if control.gate.apps.get("api") == logging.DEBUG else 1)
    try:
        os.read(read, 1)
        watch.ask(order("debug", "api", "", time.monotonic() + 60))
        _, status = os.waitpid(child, 0)
        assert 0 == os.waitstatus_to_exitcode(status)
    finally:
        watch.close()
        os.close(read)
        os.close(write)


def test_who_comes_later_finds_what_was_asked(control: LevelControl, board: Board) -> None:
    first = LevelWatch(control, board=board, tell=print)
    first.ask(order("debug", "api", "", time.monotonic() + 60))
    first.close()
    second = LevelWatch(control, board=board, tell=print)
    assert logging.DEBUG == control.gate.apps["api"]
    assert 1 == second.take_back("api", "")
    second.close()
    assert {} == control.gate.apps


def test_an_order_ends_by_itself_in_a_process_that_stands_alone(control: LevelControl) -> None:
    watch = LevelWatch(control, tell=print)
    watch.ask(order("debug", "api", "", time.monotonic() + 0.2))
    assert logging.DEBUG == control.gate.apps["api"]
    until(lambda: control.gate.apps == {})
    until(lambda: "bext-otel-levels" not in {thread.name for thread in threading.enumerate()})
    watch.close()


def test_a_file_is_watched_by_a_thread(control: LevelControl, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("")

    def read():
        return load(environ={"BEXT_CONFIG": str(path)})

    watch = LevelWatch(control, file=ChangedFile(read(), read), tell=print)
    watch.start()
    path.write_text('[apps.api]\nlog_level = "trace"\n')
    until(lambda: control.gate.apps == {"api": 5})
    watch.close()
    until(lambda: "bext-otel-levels" not in {thread.name for thread in threading.enumerate()})


def test_without_a_file_and_without_others_there_is_no_thread(control: LevelControl) -> None:
    until(lambda: "bext-otel-levels" not in {thread.name for thread in threading.enumerate()})
    watch = LevelWatch(control, tell=print)
    watch.start()
    assert "bext-otel-levels" not in {thread.name for thread in threading.enumerate()}
    watch.close()


def test_a_board_that_cannot_be_written_changes_this_process_and_says_so(
    control: LevelControl, board: Board
) -> None:
    from bext_otel.logs.level_watch import NotSharedError

    watch = LevelWatch(control, board=board, tell=print)
    board.close()
    with pytest.raises(NotSharedError):
        watch.ask(order("debug", "api", "", time.monotonic() + 60))
    assert logging.DEBUG == control.gate.apps["api"]
    watch.close()


def test_a_bell_that_was_closed_behind_our_back_has_the_board_looked_at_instead(
    control: LevelControl, board: Board
) -> None:
    watch = LevelWatch(control, board=board, tell=print)
    watch.start()
    assert watch._bell is not None
    os.close(watch._bell._socket.detach())
    board.change_orders(lambda _: b'[["debug",1e12,"api",""]]')
    until(lambda: control.gate.apps == {"api": logging.DEBUG})
    watch.close()
