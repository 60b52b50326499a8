"""Faults tried for real: workers killed at any moment, forks in the middle of everything, files full."""

from __future__ import annotations

import mmap
import os
import random
import signal
import threading

import pytest

from bext_otel.service.board import Board
from bext_otel.service.shared_file import SharedFile
from tests.waiting import until

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memory files here"),
    pytest.mark.slow,
]

KILLS = 60
WORKERS = 4


class Truth:
    """What each life has counted, in memory that the test shares with it: begun before it publishes, done
    after."""

    def __init__(self, lives: int) -> None:
        # Assigning to a view writes each figure at once; struct.pack_into writes zeros before, where a kill
        # would leave them.
        self._figures = memoryview(mmap.mmap(-1, 16 * lives)).cast("q")

    def begin(self, life: int, count: int) -> None:
        self._figures[2 * life] = count

    def done(self, life: int, count: int) -> None:
        self._figures[2 * life + 1] = count

    def begun_and_done(self) -> tuple[int, int]:
        return sum(self._figures[::2]), sum(self._figures[1::2])


def counting(ledger: Board, truth: Truth, life: int) -> None:
    """Count and publish until killed. Payloads have sizes that cross pages and regions."""
    chance = random.Random(life)
    base, count = int((ledger.take() or b"0").split()[0]), 0
    while True:
        count += chance.randint(1, 3)
        truth.begin(life, count)
        if ledger.publish(b"%d " % (base + count) * chance.choice((1, 500, 2_000, 6_000))):
            truth.done(life, count)


def begin(ledger: Board, truth: Truth, life: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            counting(ledger, truth, life)
        finally:
            os._exit(1)
    return pid


def test_sixty_kills_lose_at_most_what_was_being_said() -> None:
    """And no reading is less than the one before."""
    arena, reason = SharedFile.create("storm")
    assert arena is not None, reason
    ledger, truth, chance = Board(arena), Truth(KILLS + WORKERS), random.Random()
    alive = {life: begin(ledger, truth, life) for life in range(WORKERS)}
    known: dict[int, int] = {}
    totals: dict[int, int] = {}
    former = readings = 0
    try:
        for kill in range(KILLS + 1):
            for _ in range(chance.randint(1, 60)):
                _, at_least = truth.begun_and_done()
                for peer in ledger.peers(known):
                    if known.get(peer.slot) != peer.sequence:
                        (said,) = set(
                            peer.payload.split()
                        )  # one figure all through: none of it is of another payload
                        known[peer.slot], totals[peer.slot] = peer.sequence, int(said)
                at_most, _ = truth.begun_and_done()
                total = sum(totals.values())
                assert max(at_least, former) <= total <= at_most
                former, readings = total, readings + 1
            life = chance.choice(list(alive))
            os.kill(alive[life], signal.SIGKILL)
            os.waitpid(alive.pop(life), 0)
            if kill < KILLS:
                alive[WORKERS + kill] = begin(ledger, truth, WORKERS + kill)
        assert len(totals) <= WORKERS + 1, "a worker that starts takes a dead one's slot"
        assert former > KILLS
        assert readings > KILLS
    finally:
        for pid in alive.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        ledger.close()


def test_forty_forks_in_the_middle_of_publishing_and_reading() -> None:
    """Each child lives, takes part and ends, whatever its parent's threads were doing."""
    arena, reason = SharedFile.create("forks")
    assert arena is not None, reason
    ledger, ended = Board(arena), threading.Event()
    published = [0]

    def publish() -> None:
        while not ended.is_set():
            published[0] += ledger.publish(b"p" * 50_000)

    def read() -> None:
        while not ended.is_set():
            ledger.peers()

    threads = [
        threading.Thread(target=publish),
        threading.Thread(target=read),
        threading.Thread(target=publish),
    ]
    for thread in threads:
        thread.start()
    try:
        children = [fork_once(ledger) for _ in range(40)]
        assert [0] * 40 == [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        so_far = published[0]
        until(lambda: published[0] > so_far, why="the parent to go on")
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert 40 == sum(int(peer.payload) for peer in ledger.peers())
    ledger.close()


def fork_once(ledger: Board) -> int:
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # a child that hangs ends by this, and not with 0
        said = False
        try:
            base = int(ledger.take() or b"0")
            said = ledger.publish(str(base + 1).encode()) and isinstance(ledger.peers(), list)
        finally:
            os._exit(0 if said else 1)
    return child
