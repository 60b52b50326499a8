"""Workers say, read, die, and take over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bext_otel.service import file_format as layout
from bext_otel.service import memfd as memory
from bext_otel.service.board import Board, Peer
from bext_otel.service.shared_file import Copy, SharedFile, TornError
from tests.service.people import Worker, crew

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memory files here")


@pytest.fixture
def hire():
    with crew() as hiring:
        yield hiring


def descriptor_of(ledger: Board) -> int:
    assert ledger._arena is not None
    return ledger._arena._descriptor


def close(ledger: Board) -> None:
    os.close(descriptor_of(ledger))


def replace(ledger: Board, path: str) -> None:
    foreign = os.open(path, os.O_RDWR | os.O_CREAT)
    os.dup2(foreign, descriptor_of(ledger))


def close_a_copy(ledger: Board) -> None:
    os.close(os.dup(descriptor_of(ledger)))


def scribble(ledger: Board, offset: int, data: bytes) -> None:
    os.pwrite(descriptor_of(ledger), data, offset)


def has_peers(ledger: Board) -> bool:
    return ledger.has_peers()


def size_in_blocks(ledger: Board) -> int:
    return os.fstat(descriptor_of(ledger)).st_blocks


def test_each_reads_what_the_others_said_last(hire) -> None:
    one, two = hire(), hire()
    assert one.publish(b"first")
    assert one.publish(b"second")
    assert two.publish(b"")
    assert [Peer(0, 2, b"second", True)] == two.peers()
    assert [Peer(1, 1, b"", True)] == one.peers()


def members(ledger: Board) -> list[int]:
    return ledger.members()


def close_and_ask(ledger: Board) -> list[int]:
    close(ledger)
    return ledger.members()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc here")
def test_all_that_have_the_file_are_members_also_those_that_say_nothing(hire) -> None:
    one, two, three = hire(), hire(), hire()
    expected = {os.getpid(), one.pid, two.pid, three.pid}
    assert expected == set(one.do(members)) == set(three.do(members))
    two.kill()
    assert [] == three.do(close_and_ask)
    assert {os.getpid(), one.pid} == set(one.do(members))


@pytest.mark.parametrize("size", [1, 16 * 1024, 16 * 1024 + 1, 100_000, 1_000_000, 30_000_000])
def test_payloads_of_any_size_arrive_whole(hire, size: int) -> None:
    one, two = hire(), hire()
    for fill in (b"ab", b"xyz"):
        payload = (fill * size)[:size]
        assert one.publish(payload)
        assert [payload] == [peer.payload for peer in two.peers()]


def test_a_payload_that_the_reader_knows_is_not_read_again(hire) -> None:
    one, two = hire(), hire()
    one.publish(b"said")
    assert [Peer(0, 1, b"", True)] == two.peers({0: 1})
    one.publish(b"more")
    assert [Peer(0, 2, b"more", True)] == two.peers({0: 1})


def test_what_the_dead_said_counts_until_somebody_answers_for_it(hire) -> None:
    one, two, three = hire(), hire(), hire()
    one.publish(b"legacy")
    one.kill()
    assert [Peer(0, 1, b"legacy", False)] == two.peers()
    assert b"legacy" == two.take()
    assert [] == two.peers()
    assert two.take() is None
    assert [Peer(0, 1, b"legacy", True)] == three.peers()
    assert two.publish(b"legacy and more")
    assert [Peer(0, 2, b"legacy and more", True)] == three.peers()


def test_killed_between_taking_and_publishing_loses_nothing(hire) -> None:
    one, two, three = hire(), hire(), hire()
    one.publish(b"legacy")
    one.kill()
    two.take()
    two.kill()
    assert b"legacy" == three.take()


def test_who_did_not_ask_for_a_legacy_leaves_it_alone(hire) -> None:
    one, two = hire(), hire()
    one.publish(b"legacy")
    one.kill()
    assert two.publish(b"mine")
    assert [Peer(0, 1, b"legacy", False)] == two.peers()


def test_short_lives_one_after_another_use_one_slot(hire) -> None:
    reader = hire()
    for life in range(1, 31):
        worker = hire()
        assert (str(life - 1).encode() if life > 1 else None) == worker.take()
        worker.publish(str(life).encode())
        worker.kill()
    assert [Peer(0, 30, b"30", False)] == reader.peers()


def fork_and_speak(ledger: Board) -> tuple[list[Peer], int]:
    child = os.fork()
    if child == 0:
        ledger.take()
        ledger.publish(b"child's")
        os._exit(0)
    os.waitpid(child, 0)
    return ledger.peers(), len(ledger._owners)


def test_a_fork_has_a_slot_of_its_own(hire) -> None:
    """Also where nobody tells it that it is one: this crew's ledger does not listen to forks, as under
    uWSGI."""
    one, two = hire(), hire()
    one.publish(b"parent's")
    assert ([Peer(1, 1, b"child's", False)], 1) == one.do(fork_and_speak)
    assert one.publish(b"parent's again")
    assert [b"parent's again", b"child's"] == [peer.payload for peer in two.peers()]


def test_company_is_known_to_both_as_soon_as_there_is_any() -> None:
    arena, _ = SharedFile.create("company")
    ledger = Board(arena)
    try:
        assert not ledger.has_peers()
        worker = Worker(ledger)
        try:
            assert worker.do(has_peers)
            assert ledger.has_peers()
        finally:
            worker.kill()
        assert ledger.has_peers()
    finally:
        ledger.close()


def test_a_stopped_worker_is_in_nobodys_way(hire) -> None:
    one, two = hire(), hire()
    one.publish(b"stopped")
    one.stop()
    assert two.take() is None
    assert two.publish(b"moving")
    assert [Peer(0, 1, b"stopped", True)] == two.peers()


def test_a_closed_descriptor_leaves_the_worker_alone(hire) -> None:
    one, two = hire(), hire()
    one.publish(b"before")
    one.do(close)
    assert not one.publish(b"after")
    alone, reason = one.state()
    assert alone
    assert "closed or replaced descriptor" in reason
    assert [] == one.peers()
    assert [Peer(0, 1, b"before", False)] == two.peers()


def test_a_replaced_descriptor_is_never_written_to(hire, tmp_path: Path) -> None:
    one = hire()
    one.publish(b"before")
    foreign = tmp_path / "foreign"
    one.do(replace, str(foreign))
    assert not one.publish(b"after")
    assert one.take() is None
    assert [] == one.peers()
    assert one.state()[0]
    assert b"" == foreign.read_bytes()


def test_a_dropped_lock_is_taken_again(hire) -> None:
    """Closing any descriptor of a file drops all locks that the process has on it."""
    one, two = hire(), hire()
    one.publish(b"before")
    one.do(close_a_copy)
    assert [Peer(0, 1, b"before", False)] == two.peers()
    assert one.publish(b"after")
    assert [Peer(0, 2, b"after", True)] == two.peers()


def test_who_lost_its_slot_does_not_count_twice(hire) -> None:
    one, two, three = hire(), hire(), hire()
    one.publish(b"before")
    one.do(close_a_copy)
    assert b"before" == two.take()
    assert not one.publish(b"after")
    assert one.state()[0]
    assert [Peer(0, 1, b"before", True)] == three.peers()


def test_who_lost_its_slot_to_one_that_died_since_does_not_count_twice(hire) -> None:
    one, two, three = hire(), hire(), hire()
    one.publish(b"before")
    one.do(close_a_copy)
    two.take()
    two.publish(b"before and more")
    two.kill()
    assert not one.publish(b"after")
    assert [Peer(0, 2, b"before and more", False)] == three.peers()


def test_a_damaged_slot_is_skipped(hire) -> None:
    one, two, three = hire(), hire(), hire()
    one.publish(b"fine")
    two.publish(b"damaged")
    three.do(scribble, 8192 + 64, b"\xff" * 64)
    assert [Peer(0, 1, b"fine", True)] == three.peers()


def test_a_damaged_payload_is_skipped(hire) -> None:
    one, two = hire(), hire()
    one.publish(b"first")
    offset, _ = next(layout.extents(0, 1, 5))
    two.do(scribble, offset, b"worst")
    assert [] == two.peers()


class Overtaken(SharedFile):
    """Is overwritten that many times between reading a header and what it says."""

    times = 0

    def _entry(self, slot: int) -> bytes:
        entry = super()._entry(slot)
        for _ in range(min(self.times, 1)):
            self.times -= 1
            sequence = self.sequence_of(entry)
            for following in (sequence + 1, sequence + 2):
                self.write(slot, following, b"%d" % following)
        return entry

    @staticmethod
    def sequence_of(entry: bytes) -> int:
        header = layout.newest(entry)
        assert header is not None
        return header.sequence


def test_what_is_overwritten_while_it_is_read_is_read_again() -> None:
    descriptor, _ = memory.create(layout.beginning("overtaken"))
    assert descriptor is not None
    arena = Overtaken(descriptor)
    try:
        arena.write(0, 1, b"1")
        arena.times = 3
        assert Copy(7, b"7") == arena.read(0)
        arena.times = 1000
        with pytest.raises(TornError):
            arena.read(0)
    finally:
        arena.close()


def test_of_a_damaged_slot_the_reader_keeps_what_it_knows(hire) -> None:
    """So a sum does not go backwards."""
    one, two = hire(), hire()
    one.publish(b"known")
    two.do(scribble, 8192, b"\xff" * 64)
    assert [Peer(0, 1, b"", True)] == two.peers({0: 1})


def test_the_file_takes_twice_the_largest_payload(hire) -> None:
    """However often it is published, and in whatever sizes."""
    one = hire()
    for size in (1_000_000, 10, 500_000, 1_000_000, 999_999, 70_000):
        for _ in range(3):
            assert one.publish(b"x" * size)
    assert one.do(size_in_blocks) * 512 < 2 * 1_000_000 + 128 * 1024


def test_too_large_is_refused_and_the_former_stands(hire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bext_otel.service.file_format.LARGEST", 1000)
    one, two = hire(), hire()
    assert one.publish(b"small")
    assert not one.publish(b"x" * 1001)
    assert (False, "1001 bytes to share, and at most 1000 fit") == one.state()
    assert [b"small"] == [peer.payload for peer in two.peers()]
    assert one.publish(b"small again")
    assert (False, "") == one.state()


def test_when_all_slots_are_taken_one_is_told(hire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bext_otel.service.board.SLOTS", 2)
    one, two, three = hire(), hire(), hire()
    assert one.publish(b"1")
    assert two.publish(b"2")
    assert not three.publish(b"3")
    assert three.take() is None
    assert (False, "2 workers take part already") == three.state()
    assert [b"1", b"2"] == [peer.payload for peer in three.peers()]
    one.kill()
    assert b"1" == three.take()


def test_alone_it_does_nothing_and_says_why() -> None:
    ledger = Board(None, "no memory")
    assert ledger.alone
    assert ledger.take() is None
    assert not ledger.publish(b"said")
    assert [] == ledger.peers()
    assert not ledger.has_peers()
    assert b"" == ledger.read(0)
    ledger.close()
    assert "no memory" == ledger.reason


def test_closing_gives_the_slot_up(hire) -> None:
    one, two = hire(), hire()
    one.publish(b"said")
    one.do(Board.close)
    assert not one.publish(b"more")
    assert b"said" == two.take()
