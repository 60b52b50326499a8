"""The board's one notice, its secret, and whose turn it is to replace it."""

from __future__ import annotations

import os

import pytest

from bext_otel.service import file_format as layout
from bext_otel.service.board import Board
from bext_otel.service.shared_file import SharedFile

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no memory files")


def made() -> Board:
    arena, reason = SharedFile.create("shop")
    assert arena is not None, reason
    return Board(arena)


def test_the_last_notice_stands_and_one_that_is_too_long_changes_nothing() -> None:
    board = made()
    assert b"" == board.notice()
    board.post(b"first")
    board.post(b"2nd")
    board.post(b"x" * (layout.LONGEST_NOTICE + 1))
    assert b"2nd" == board.notice()
    board.close()


def test_each_service_has_a_secret_and_who_is_alone_has_none() -> None:
    one, other = made(), made()
    assert layout.SECRET_BYTES == len(one.secret) == len(other.secret)
    assert one.secret != other.secret
    one.close()
    other.close()
    assert (b"", b"", (0, 0)) == (one.secret, one.notice(), one.identity)


def test_a_notice_that_is_half_written_is_none() -> None:
    header = layout.NOTICE_HEADER.pack(5, 1)
    assert [b"", b"", b""] == [layout.notice_in(found) for found in (b"", header[:3], header + b"hello")]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_one_process_at_a_time_has_its_turn() -> None:
    board = made()

    def asked_by_child() -> bytes:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            with board.turn() as ours:
                os.write(writer, b"y" if ours else b"n")
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writer)
        with os.fdopen(reader, "rb") as told:
            return told.read()

    with board.turn() as ours:
        assert (True, b"n") == (ours, asked_by_child())
    assert b"y" == asked_by_child()
    board.close()
