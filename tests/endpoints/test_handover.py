"""How a listening socket goes from a leader to others, and who gets none."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from bext_otel.endpoints.handover import KEEP, MOVED, SILENT, WAIT, YOURS, Link, Offer
from bext_otel.endpoints.kept_open import KeptOpen
from bext_otel.endpoints.notice import Notice, Rank
from bext_otel.endpoints.passing import receive, send
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract sockets")
SECRET = b"s" * 32


class Leader:
    """An offer, and how its process ranks."""

    def __init__(self) -> None:
        self.rank = Rank.CANDIDATE
        self.gave_way = threading.Event()
        self.offer = Offer(SECRET, lambda: self.rank, self.gave_way.set)
        self.notice = Notice(os.getpid(), os.geteuid(), self.offer.name, "127.0.0.1", 9464, holds=True)

    def link(self, rank: Rank = Rank.CANDIDATE, *, sibling: bool = True, keeps: bool = False) -> Link:
        made = Link.to(self.notice, SECRET, rank=rank, sibling=sibling, keeps=keeps)
        assert made is not None
        return made


@pytest.fixture
def leader() -> Iterator[Leader]:
    made = Leader()
    assert made.offer.start()
    yield made
    made.offer.close()
    until(lambda: "bext-otel-port" not in {thread.name for thread in threading.enumerate()})


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def heard(link: Link) -> tuple[bytes, tuple[str, int] | None]:
    """The next answer, and the address of the socket that came with it."""
    answer, sock = link.hear()
    if sock is None:
        return answer, None
    with sock:
        assert not sock.get_inheritable()
        return answer, sock.getsockname()


def test_a_sibling_keeps_the_socket_as_soon_as_there_is_one(leader: Leader, listener: socket.socket) -> None:
    link = leader.link()
    assert (WAIT, None) == heard(link)
    leader.offer.share(listener)
    assert (KEEP, listener.getsockname()) == heard(link)
    leader.offer.close()
    assert (b"", None) == heard(link)
    link.close()


def test_a_sibling_that_ranks_higher_gets_it_and_the_others_are_told(
    leader: Leader, listener: socket.socket
) -> None:
    leader.offer.share(listener)
    first, other = leader.link(), leader.link()
    assert [KEEP, KEEP] == [heard(first)[0], heard(other)[0]]
    leader.rank = Rank.MEASURES
    first.say(Rank.MEASURES)
    first.say(Rank.SERVES)
    assert (YOURS, listener.getsockname()) == heard(first), "not at the rank that the leader has"
    assert first.was_told_at(Rank.SERVES)
    assert (MOVED, None) == heard(other)
    assert leader.gave_way.is_set()
    for link in (first, other):
        assert b"" == heard(link)[0]
        link.close()


def test_a_relative_gets_it_only_if_it_ranks_higher(leader: Leader, listener: socket.socket) -> None:
    leader.offer.share(listener)
    link = leader.link(sibling=False)
    assert (WAIT, None) == heard(link)
    assert link.was_told_at(Rank.CANDIDATE)
    link.say(Rank.SERVES)
    assert (YOURS, listener.getsockname()) == heard(link)
    link.close()


def test_a_leader_without_the_socket_gives_way_to_who_keeps_it(leader: Leader) -> None:
    link = leader.link(keeps=True)
    assert (YOURS, None) == heard(link)
    assert leader.gave_way.is_set()
    link.close()


def test_who_does_not_know_the_secret_gets_nothing(leader: Leader, listener: socket.socket) -> None:
    leader.offer.share(listener)
    for proof in (b"", b"x" * 32, SECRET[:-1], SECRET + b"s"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
            stranger.connect(f"\0{leader.offer.name}")
            stranger.settimeout(5)
            stranger.send(b"s2" + proof)
            assert (b"", None) == receive(stranger)
    assert not leader.gave_way.is_set()


def test_strangers_that_say_nothing_are_let_go_and_keep_nobody_out(
    leader: Leader, listener: socket.socket
) -> None:
    leader.offer.share(listener)
    strangers = []
    for _ in range(40):
        strangers.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        strangers[-1].connect(f"\0{leader.offer.name}")
    link = leader.link()
    assert (KEEP, listener.getsockname()) == heard(link)
    for stranger in strangers:
        stranger.settimeout(10)
        assert (b"", None) == receive(stranger)
        stranger.close()
    link.close()


def test_a_name_that_somebody_else_has_taken_is_told_no_secret(leader: Leader) -> None:
    """Names can be seen by anybody. The kernel says who listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as squatter:
        squatter.bind("\0bext-otel-squatted")
        squatter.listen()
        for pid, uid in ((os.getpid() + 1, os.geteuid()), (os.getpid(), os.geteuid() + 1)):
            notice = Notice(pid, uid, "bext-otel-squatted", "127.0.0.1", 9464, holds=True)
            assert None is Link.to(notice, SECRET, rank=2, sibling=True)
            connection, _ = squatter.accept()
            with connection:
                assert b"" == connection.recv(64)


def test_a_leader_that_is_gone_has_no_link() -> None:
    made = Leader()
    made.offer.close()
    assert None is Link.to(made.notice, SECRET, rank=0, sibling=True)


def test_a_leader_that_was_stopped_is_silent() -> None:
    """It is not asked for ever."""
    made = Leader()  # its thread never starts
    link = made.link()
    assert (SILENT, None) == heard(link)
    link.close()
    made.offer.close()


def test_what_is_posted_by_others_is_no_notice() -> None:
    assert None is Notice.decode(b"")
    assert None is Notice.decode(b'{"pid":1}')
    assert None is Notice.decode(b'{"pid":"x","uid":0,"name":"","host":"","port":0,"holds":true}')
    notice = Notice(1, 2, "name", "::1", 9464, holds=False)
    assert notice == Notice.decode(notice.encode())


def test_a_copy_is_kept_open_for_those_that_are_forked_later(listener: socket.socket) -> None:
    kept = KeptOpen()
    assert kept.get() is None
    with socket.create_server(("127.0.0.1", 0)) as former:
        kept.put(former)
    kept.put(listener)
    for _ in range(2):
        copy = kept.get()
        assert copy is not None
        with copy:
            assert (listener.getsockname(), False) == (copy.getsockname(), copy.get_inheritable())
    address = listener.getsockname()
    listener.close()
    with socket.create_connection(address):
        kept.clear()
    assert kept.get() is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    kept.close()


def test_descriptors_that_the_application_has_taken_are_left_alone(listener: socket.socket) -> None:
    kept = KeptOpen()
    kept.put(listener)
    [*numbers] = [one.fileno() for one in (kept._into, kept._out)]
    for number in numbers:
        os.close(number)
    theirs = os.pipe()
    assert set(numbers) == set(theirs)
    kept.put(listener)
    assert kept.get() is None
    kept.close()
    os.write(theirs[1], b"x")
    assert b"x" == os.read(theirs[0], 1)
    for number in theirs:
        os.close(number)


def test_a_message_comes_with_its_socket_or_without(listener: socket.socket) -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other:
        send(one, b"with", listener)
        send(one, b"without", None)
        message, copy = receive(other)
        assert copy is not None
        with copy:
            assert (b"with", listener.getsockname()) == (message, copy.getsockname())
        assert (b"without", None) == receive(other)
