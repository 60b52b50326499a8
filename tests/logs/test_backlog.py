"""A reader of our lines that is slow, stuck or gone, and what it costs: lines, never time."""

from __future__ import annotations

import asyncio
import os
import pty
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bext_otel.logs import backlog
from bext_otel.logs.backlog import MAX_BYTES, NonBlockingWriter, identity, is_full
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes are other things there")

LINE = b"x" * 999 + b"\n"
# More than a pipe and what is kept take.
MANY = 3 * MAX_BYTES // len(LINE)

Ends = tuple[int, int]


def pipe() -> Ends:
    return os.pipe()


def terminal() -> Ends:
    reader, writer = pty.openpty()
    return reader, writer


def sockets() -> Ends:
    one, other = socket.socketpair()
    return one.detach(), other.detach()


@pytest.fixture(params=[pipe, terminal, sockets])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    """A reader's end and a writer's."""
    made = request.param()
    yield made
    for fd in made:
        os.close(fd)


class Lost:
    lines = 0

    def add(self, error: OSError, lines: int) -> None:
        self.lines += lines


def opened(fd: int) -> tuple[NonBlockingWriter, threading.RLock, Lost]:  # a factory before Python 3.13
    lock, lost = threading.RLock(), Lost()
    return NonBlockingWriter(fd, lock, lost.add), lock, lost


def write_many(unwaiting: NonBlockingWriter, lock: threading.RLock, *, count: int = MANY) -> list[int]:
    """The numbers of the lines that were taken."""
    taken = []
    for number in range(count):
        with lock:
            try:
                unwaiting.write(b"%06d%s" % (number, LINE[6:]))
            except BlockingIOError:
                continue
        taken.append(number)
    return taken


def read_all(fd: int, count: int) -> list[int]:
    """The numbers of that many lines, each of which must be whole."""
    text = b""
    while text.count(b"\n") < count:
        text += os.read(fd, 65536).replace(b"\r", b"")  # a terminal's
    lines = text.splitlines(keepends=True)
    assert {len(LINE)} == {len(line) for line in lines}
    return [int(line[:6]) for line in lines]


def test_nobody_waits_for_a_stuck_reader_and_what_it_reads_later_is_whole_and_in_order(ends: Ends) -> None:
    reader, writer = ends
    unwaiting, lock, lost = opened(writer)
    taken = write_many(unwaiting, lock)
    assert 0 < len(taken) < MANY
    assert taken == read_all(reader, len(taken))
    until(lambda: not unwaiting.is_behind, why="all to be written")
    with lock:
        unwaiting.write(b"%06d%s" % (MANY, LINE[6:]))
    assert ([MANY], 0) == (read_all(reader, 1), lost.lines)
    unwaiting.close()


def test_the_descriptor_stays_as_it_is_for_everybody_else(ends: Ends) -> None:
    unwaiting, lock, _ = opened(ends[1])
    with lock:
        unwaiting.write(LINE)
    assert os.get_blocking(ends[1])
    unwaiting.close()


def test_a_healthy_reader_costs_no_thread() -> None:
    reader, writer = pipe()
    unwaiting, lock, _ = opened(writer)
    for number in range(10):
        with lock:
            unwaiting.write(b"%06d%s" % (number, LINE[6:]))
    assert (list(range(10)), False) == (read_all(reader, 10), unwaiting.has_thread)
    unwaiting.close()
    for fd in (reader, writer):
        os.close(fd)


def test_the_thread_ends_when_the_reader_has_all() -> None:
    reader, writer = pipe()
    unwaiting, lock, _ = opened(writer)
    taken = write_many(unwaiting, lock, count=100)
    assert 100 == len(taken)
    assert unwaiting.has_thread
    read_all(reader, 100)
    until(lambda: not unwaiting.has_thread, why="the thread to end")
    unwaiting.close()
    for fd in (reader, writer):
        os.close(fd)


def test_lines_that_were_kept_for_a_reader_that_goes_are_counted() -> None:
    reader, writer = pipe()
    unwaiting, lock, lost = opened(writer)
    taken = write_many(unwaiting, lock, count=100)
    os.close(reader)
    until(lambda: not unwaiting.is_behind, why="the thread to notice")
    assert 0 < lost.lines < len(taken)
    with lock, pytest.raises(BrokenPipeError):
        unwaiting.write(LINE)
    unwaiting.close()
    os.close(writer)


def test_where_a_pipe_can_be_opened_no_second_time_each_write_asks_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: object) -> int:
        raise PermissionError

    reader, writer = pipe()
    monkeypatch.setattr(backlog.os, "open", refuse)
    unwaiting, lock, _ = opened(writer)
    monkeypatch.undo()
    taken = write_many(unwaiting, lock)
    assert 0 < len(taken) < MANY
    assert taken == read_all(reader, len(taken))
    unwaiting.close()
    for fd in (reader, writer):
        os.close(fd)


def test_files_make_nobody_wait() -> None:
    with open(os.devnull, "wb") as file:
        assert identity(file.fileno()) is None
        assert not is_full(file.fileno())
    assert not is_full(-1)


PROGRAM = """
import logging, os, sys
from bext_otel.config import LoggingSettings
from bext_otel.logs.install import build_provider, install
from opentelemetry.sdk.resources import Resource
config = LoggingSettings(level="info", output="stdout")
provider = build_provider(config, Resource({}), None)
install(config, provider, apps={})
log = logging.getLogger("shop")
"""


def start(script: str, **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM + script], stdout=subprocess.PIPE, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_program_ends_although_nobody_reads_its_output_and_knows_what_is_lost(unbuffered: str) -> None:
    """Standard error is the same pipe: what is said about the loss must not wait either."""
    script = (
        "for _ in range(5000): log.info('x' * 1000)\nos._exit(0 if provider.lost()['log_lines_lost'] > "
        "1000 else 1)"
    )
    process = start(script, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONUNBUFFERED": unbuffered})
    with process:
        assert 0 == process.wait(timeout=30)


def test_a_pipe_that_takes_the_place_of_a_file_is_noticed_before_it_is_full(tmp_path: Path) -> None:
    """What nobody reads is not looked at for each line."""
    script = (
        "log.info('first')\nreader, writer = os.pipe()\nos.dup2(writer, 1)\n"
        "for _ in range(2000): log.info('x' * 1000)\n"
        "os._exit(0 if provider.lost()['log_lines_lost'] > 1000 else 1)"
    )
    with (tmp_path / "out").open("wb") as file:
        process = subprocess.run(
            [sys.executable, "-c", PROGRAM + script], stdout=file, timeout=60, check=False
        )
    assert 0 == process.returncode
    assert 1 == (tmp_path / "out").read_text().count("\n")


def test_a_slow_reader_gets_all_that_was_written_before_the_end() -> None:
    with start("print('printed')\nfor n in range(200): log.info('%d' % n + 'x' * 1000)") as process:
        assert process.stdout is not None
        lines = process.stdout.readlines()
    assert (0, b"printed\n", 201) == (process.returncode, lines[0], len(lines))
    assert all(b'"message":"%dx' % number in line for number, line in enumerate(lines[1:]))


def test_a_script_that_writes_faster_than_its_reader_reads_loses_nothing() -> None:
    count = 5000
    with start(f"for n in range({count}): log.info('%d' % n + 'x' * 1000)") as process:
        assert process.stdout is not None
        assert count == len(process.stdout.readlines())
    assert 0 == process.returncode


def test_nobody_waits_on_an_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = pipe()
    unwaiting, lock, _ = opened(writer)
    asked: list[float] = []
    monkeypatch.setattr(
        backlog, "is_full", lambda _, patience_seconds=0.0: asked.append(patience_seconds) or True
    )

    async def work() -> None:
        write_many(unwaiting, lock)

    asyncio.run(work())
    assert [] == asked
    write_many(unwaiting, lock)
    assert [backlog.PATIENCE_SECONDS] == asked, "a reader that is stuck is waited for once"
    unwaiting.close()
    for fd in (reader, writer):
        os.close(fd)


def test_a_child_does_not_write_what_its_parent_keeps() -> None:
    script = """
for n in range(100): log.info("parent " + "x" * 1000)
pid = os.fork()
if not pid:
    log.info("child")
    provider.shutdown()
    os._exit(0)
sys.stderr.write("forked\\n")
sys.stderr.flush()
os.waitpid(pid, 0)
"""
    with start(script, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert b"forked\n" in iter(
            process.stderr.readline, b""
        )  # Python 3.12 warns first, of a fork beside threads
        lines = process.stdout.readlines()
    assert (0, 100, 1) == (
        process.returncode,
        sum(b"parent" in line for line in lines),
        sum(b'"child"' in line for line in lines),
    )


def test_nothing_waits_under_gevent() -> None:
    pytest.importorskip("gevent")
    script = """
from gevent import monkey; monkey.patch_all()
import gevent
ran = []
gevent.spawn(ran.append, 1)
for n in range(100): log.info("x" * 1000)
assert not ran, "a line gave another greenlet a turn"
gevent.sleep(0.01)
assert ran
os.write(2, b"written\\n")
"""
    with start(script, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert b"written\n" == process.stderr.readline()
        assert 100 == len(process.stdout.readlines())
    assert 0 == process.returncode
