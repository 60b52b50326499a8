"""Who has the port of the endpoints: of all processes of a service one leads, and serves there or waits for
it; the others follow, each with a copy of the listening socket, and go on with it as soon as the leader ends.
A leader gives way to a process that ranks higher.

Who leads is on the board of the service, and whoever wants to look there or lead has its turn. Without a
board each process is on its own.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from bext_otel.endpoints.handover import KEEP, MOVED, SILENT, WAIT, YOURS, Link, Offer
from bext_otel.endpoints.http_server import HTTPServer
from bext_otel.endpoints.kept_open import KeptOpen
from bext_otel.endpoints.notice import Notice, Rank
from bext_otel.endpoints.port import listen
from bext_otel.endpoints.relatives import link_to_holder, told_apart
from bext_otel.endpoints.taken_port import RETRY_SECONDS, TakenPort
from bext_otel.service.board import Board

__all__ = ["PortHolding"]

_TURN_SECONDS = 0.02
"""How long another process's turn takes, and more than a new leader needs to say who it is."""
_MOST_TURNS = 25


class PortHolding:
    """From a start to its end: gets the port, and has `make(socket)` serve there. All is done by `run`, in
    one thread; the other methods may be called from any. `server` is what serves, while it does; `make`
    answers None where it can't be now, and has said why. `kept_open` has a copy of the socket for processes
    that are forked later.

    `tell(about, line)` logs a line, once for each `about`. `rank` is how this process ranks.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        board: Board | None,
        make: Callable[[socket.socket], HTTPServer | None],
        tell: Callable[[str, str], None],
        rank: Callable[[], Rank],
        kept_open: KeptOpen | None = None,
    ) -> None:
        self._address = (host, port)
        self._board = board if port and board is not None and board.secret else None
        self._make = make
        self._tell = tell
        self._rank = rank
        self._kept_open = kept_open
        self._ending = self._yielded = False
        self._stirred = threading.Event()
        self._offer: Offer | None = None
        self._link: Link | None = None
        self._kept: socket.socket | None = None
        self._taken = TakenPort(host, port, tell)
        self.server: HTTPServer | None = None

    def run(self) -> None:
        """Until the end: lead, or follow whoever does."""
        while not self._ending:
            try:
                self._round()
            except Exception as exc:  # never an exception into the application, and the endpoints come back
                self._pause(self._taken.failed(exc))
        self._keep(None)

    def rank_rises(self) -> None:
        """This process ranks higher now: whoever has the port is told."""
        if (link := self._link) is not None:
            link.say(self._rank())

    def end(self) -> None:
        """Have `run` end. Followers go on at once."""
        self._ending = True
        if (offer := self._offer) is not None:
            offer.close()
        self._stir()

    def forget(self) -> None:
        """In a forked child: close what came along."""
        for one in (self._link, self._kept):
            if one is not None:
                one.close()
        for part in (self._offer, self.server):
            if part is not None:
                part.forget()

    def _round(self) -> None:
        if self._board is None:
            self._lead(None)
            return
        offer = None
        with self._board.turn() as ours:
            link = self._link_to_leader(self._board)
            if link is None and ours:
                offer = self._offered()
        if link is not None:
            if not self._follow(link):
                return
            offer = self._offered(waits=True)
        elif not ours:
            self._pause(_TURN_SECONDS)
            return
        self._lead(offer)

    def _link_to_leader(self, board: Board) -> Link | None:
        notice = Notice.decode(board.notice())
        if notice is None or (notice.host, notice.port) != self._address or notice.pid == os.getpid():
            return None
        return Link.to(notice, board.secret, rank=self._rank(), sibling=True, keeps=self._kept is not None)

    def _follow(self, link: Link) -> bool:
        """Wait with the leader; True if this process leads now."""
        self._use(link)
        try:
            while not self._ending:
                answer, sock = link.hear()
                if answer in (KEEP, YOURS):
                    # Without one, a leader gives way to whoever keeps it.
                    self._taken.over()
                    if sock is not None or answer == KEEP:
                        self._keep(sock)
                    if answer == YOURS:
                        return True
                elif answer == MOVED:
                    self._keep(None)
                    self._pause(_TURN_SECONDS * 2)
                    return False
                elif answer == SILENT:
                    self._wait("silent", "a worker of this service has it and does not answer")
                    return False
                elif answer != WAIT:
                    return False
            return False
        finally:
            self._link = None
            link.close()

    def _use(self, link: Link) -> None:
        """From here on it hears of a rise; there may have been one since it was made."""
        self._link = link
        link.say(self._rank())

    def _lead(self, offer: Offer | None) -> None:
        self._offer = offer
        try:
            while not (self._ending or self._yielded):
                sock = self._kept or self._bound()
                self._kept = None
                if sock is None:
                    if offer is not None and self._is_replaced(offer):
                        return
                    continue
                self._taken.over()
                if offer is not None:
                    offer.share(sock)
                    self._post(offer, holds=True)
                    if self._kept_open is not None:
                        self._kept_open.put(sock)
                self._serve(sock)
                if offer is not None:  # if the socket was lost, a follower has it still
                    return
        finally:
            self._offer, self._yielded = None, False
            if offer is not None:
                offer.close()
                self._give_up(offer)
            self._pause(_TURN_SECONDS)  # for somebody else to lead

    def _serve(self, sock: socket.socket) -> None:
        server = self._make(sock)
        if server is None:
            sock.close()
            self._pause(RETRY_SECONDS)
            return
        self.server = server
        try:
            while not (self._ending or self._yielded) and server.turn():
                pass
        finally:
            server.close()
            self.server = None

    def _offered(self, *, waits: bool = False) -> Offer | None:
        """This process leads; `waits` if it has still to wait for its turn to say so."""
        board = self._board
        if board is None:
            return None
        try:
            offer = Offer(board.secret, self._rank, self._yield)
        except OSError:
            return None
        for _ in range(_MOST_TURNS if waits else 0):
            with board.turn() as ours:
                if ours:
                    self._post(offer, holds=self._kept is not None)
                    break
            time.sleep(_TURN_SECONDS)
        else:
            self._post(offer, holds=self._kept is not None)
        offer.share(self._kept)
        offer.start()
        return offer

    def _post(self, offer: Offer, *, holds: bool) -> None:
        if self._board is not None:
            notice = Notice(os.getpid(), os.geteuid(), offer.name, *self._address, holds)
            self._board.post(notice.encode())

    def _give_up(self, offer: Offer) -> None:
        """Take back that this process has the port, unless another one has said so of itself."""
        if self._board is not None:
            with self._board.turn() as ours:
                if ours and not self._is_replaced(offer):
                    self._post(offer, holds=False)

    def _is_replaced(self, offer: Offer) -> bool:
        """Whether another process of the service says that it leads."""
        notice = Notice.decode(self._board.notice()) if self._board is not None else None
        return notice is not None and notice.name != offer.name

    def _yield(self) -> None:
        if self._kept_open is not None:
            self._kept_open.clear()
        self._yielded = True
        self._stir()

    def _bound(self) -> socket.socket | None:
        """A listening socket; None, after a while, where there is none to be had yet."""
        if self._kept_open is not None and (sock := self._kept_open.get()) is not None:
            return sock
        try:
            return listen(*self._address)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                self._pause(self._taken.is_refused(exc.strerror or str(exc)))
                return None
        if self._offer is not None and self._is_replaced(self._offer):
            return None
        if self._taken.is_worth_a_look and self._board is not None:
            found = link_to_holder(self._board, *self._address, self._rank())
            if found is not None:
                return self._wait_for_relative(*found)
        self._wait("taken", "another program holds it")
        return None

    def _wait_for_relative(self, link: Link, notice: Notice) -> socket.socket | None:
        """The socket, if this process ranks higher; None once the other one has it no more."""
        self._use(link)
        try:
            while not (self._ending or self._yielded):
                answer, sock = link.hear()
                if answer == YOURS:
                    return sock
                if answer == SILENT:
                    self._wait("silent", f"process {notice.pid} has it and does not answer")
                    return None
                if answer != WAIT:
                    self._pause(_TURN_SECONDS)
                    return None
                self._taken.over()
                if link.was_told_at(Rank.SERVES):
                    self._tell("apart", told_apart(self._taken.address, notice))
            return None
        finally:
            self._link = None
            link.close()

    def _wait(self, about: str, why: str) -> None:
        self._pause(self._taken.again(about, why))

    def _keep(self, sock: socket.socket | None) -> None:
        former, self._kept = self._kept, sock
        if former is not None:
            former.close()

    def _pause(self, seconds: float) -> None:
        self._stirred.wait(seconds)
        if not (self._ending or self._yielded):
            self._stirred.clear()

    def _stir(self) -> None:
        """Have `run` look again, whatever it waits for."""
        self._stirred.set()
        link, server = self._link, self.server
        if link is not None:
            link.wake()
        if server is not None:
            with suppress(Exception):  # it is being closed
                server.wake()
