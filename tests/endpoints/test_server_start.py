"""When the stand-alone server opens: what counts as evidence, and what a fork changes."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from bext_otel.endpoints.notice import Rank
from bext_otel.endpoints.server_start import ServerStart
from tests.waiting import until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@dataclass
class Recorded:
    """Stands for the server, which has tests of its own; keeps what it was asked for."""

    rank: Rank = Rank.CANDIDATE
    calls: list[str] = field(default_factory=list)

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")

    def forget(self) -> None:
        self.rank = Rank.CANDIDATE
        self.calls.append("forget")

    def keep_open(self) -> None:
        self.calls.append("keep_open")

    def close(self) -> None:
        self.calls.append("close")

    def raise_rank(self, rank: Rank) -> None:
        self.rank = rank


@pytest.fixture(autouse=True)
def no_master(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another test may have imported gunicorn's into this process."""
    monkeypatch.delitem(sys.modules, "gunicorn.arbiter", raising=False)


@pytest.fixture
def server() -> Recorded:
    return Recorded()


@pytest.fixture
def serving(server: Recorded) -> Iterator[ServerStart]:
    made = ServerStart(server)
    yield made
    made.close()


def told_by_child(server: Recorded, awaited: int) -> list[str]:
    """What a forked child asked of the server, before the fork included, once there are `awaited` calls."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            until(lambda: len(server.calls) >= awaited)
        finally:
            os.write(writer, ",".join(server.calls).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        text = told.read()
    os.waitpid(child, 0)
    return text.split(",")


def opening() -> list[threading.Thread]:
    """Threads that are about to open a server."""
    return [thread for thread in threading.enumerate() if thread.name == "bext-otel-serving"]


def test_nothing_opens_without_evidence(serving: ServerStart, server: Recorded) -> None:
    assert ([], []) == (server.calls, opening())


def test_evidence_opens_it_once(serving: ServerStart, server: Recorded) -> None:
    serving.on_serving()
    serving.on_serving()
    until(lambda: server.calls and not opening())
    assert ["start"] == server.calls


def test_the_first_request_opens_it_at_once(
    serving: ServerStart, server: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a second later than an application is asked first, however long a master may take to fork."""
    monkeypatch.setattr(ServerStart._schedule, "__kwdefaults__", {"delay_seconds": 86_400.0})
    serving.on_serving()
    assert ([], 1) == (server.calls, len(opening()))
    serving.on_request()
    until(lambda: server.calls and not opening())
    assert (["start"], Rank.SERVES) == (server.calls, server.rank)


def test_a_worker_of_gunicorns_waits_for_no_fork_of_its_own(
    serving: ServerStart, server: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServerStart._schedule, "__kwdefaults__", {"delay_seconds": 86_400.0})
    monkeypatch.setitem(sys.modules, "gunicorn.arbiter", types.ModuleType("gunicorn.arbiter"))
    serving.on_serving()
    assert ["keep_open", "stop", "forget", "start"] == told_by_child(server, 4)


def test_a_master_closes_before_it_forks_and_every_child_opens(
    serving: ServerStart, server: Recorded
) -> None:
    """Also the second one, which is forked when the master serves no more."""
    serving.on_serving()
    assert ["stop", "forget", "start"] == told_by_child(server, 3)
    assert ["stop", "forget", "start"] == told_by_child(server, 3)
    assert (["stop"], []) == (server.calls, opening())


@pytest.mark.parametrize("patching", ["patch_all", "patch_thread"])
@pytest.mark.parametrize("opened", [False, True], ids=["about to open", "open"])
def test_where_gevent_patches_threads_that_run_it_closes_before_and_opens_after(
    patching: str, *, opened: bool
) -> None:
    """In a process of its own: nothing takes gevent's patches back."""
    pytest.importorskip("gevent")
    program = f"""
import threading
from tests.endpoints.test_server_start import Recorded, ServerStart, opening
from tests.waiting import until
server = Recorded()
serving = ServerStart(server)
from gevent import monkey  # which may take longer than the server waits
import gevent
serving.on_serving()
if {opened}:
    until(lambda: server.calls and not opening())
monkey.{patching}()
with gevent.Timeout(20):
    while server.calls[-1] != "start" or opening():
        gevent.sleep(0.01)
print(server.calls)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (f"{['start'] * opened + ['stop', 'start']}\n", "") == (done.stdout, done.stderr)


def test_a_process_that_works_keeps_its_server_when_it_forks(serving: ServerStart, server: Recorded) -> None:
    serving.on_measuring()
    until(lambda: server.calls and not opening())
    assert ["start", "forget", "start"] == told_by_child(server, 3)
    assert (["start"], Rank.MEASURES) == (server.calls, server.rank)


def test_new_evidence_after_a_fork_opens_it_again(serving: ServerStart, server: Recorded) -> None:
    serving.on_serving()
    told_by_child(server, 3)
    serving.on_measuring()
    until(lambda: not opening())
    assert ["stop", "start"] == server.calls


def test_a_helper_of_multiprocessing_opens_nothing_by_itself(serving: ServerStart, server: Recorded) -> None:
    serving.on_measuring()
    until(lambda: server.calls and not opening())
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)

    def helper() -> None:
        until(lambda: not opening())
        quiet = list(server.calls)
        serving.on_measuring()
        until(lambda: not opening())
        writer.send((quiet, server.calls))

    process = context.Process(target=helper)
    process.start()
    assert (["start", "forget"], ["start", "forget", "start"]) == reader.recv(), (
        "evidence of its own opens it"
    )
    process.join()
    process.close()
    reader.close()
    writer.close()


def test_closed_is_closed(serving: ServerStart, server: Recorded) -> None:
    serving.on_serving()
    serving.close()
    serving.on_measuring()
    assert (["stop", "close"], []) == (server.calls, opening())


def test_a_master_of_gunicorns_keeps_the_port_open_for_its_workers(
    serving: ServerStart, server: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each fork: also when it has no application itself."""
    monkeypatch.setitem(sys.modules, "gunicorn.arbiter", types.ModuleType("gunicorn.arbiter"))
    assert ["keep_open", "forget"] == told_by_child(server, 2)
    serving.close()
    assert ["keep_open", "stop", "close"] == told_by_child(server, 3)


def test_evidence_may_come_from_many_threads_while_it_closes(server: Recorded) -> None:
    for _ in range(50):
        serving = ServerStart(server)
        threads = [threading.Thread(target=serving.on_measuring) for _ in range(4)]
        for thread in threads:
            thread.start()
        serving.close()
        for thread in threads:
            thread.join()
        assert [] == opening()
