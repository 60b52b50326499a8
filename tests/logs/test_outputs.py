from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from textwrap import dedent

import pytest

from bext_otel.logs.outputs import StandardStream, WholeLines, write_stderr


def run(script: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=60, check=False, **options
    )  # type: ignore[call-overload,no-any-return]


def test_the_stream_is_looked_up_at_each_write(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, first, second = StandardStream("stdout"), io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", first)
    stream.write(b"one\n")
    monkeypatch.setattr(sys, "stdout", second)
    stream.write(b"two\n")
    assert ("one\n", "two\n") == (first.getvalue(), second.getvalue())


def test_a_program_without_stdout_is_told_apart_from_a_broken_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OSError, match=r"there is no sys\.stdout"):
        StandardStream("stdout").write(b"x\n")


def test_lines_come_after_what_the_program_printed_before() -> None:
    script = """
import sys
from bext_otel.logs.outputs import StandardStream
print("printed")
StandardStream("stdout").write(b"logged\\n")
print("printed again")
"""
    assert b"printed\nlogged\nprinted again\n" == run(script).stdout


def test_a_terminal_that_knows_only_ascii_gets_json_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    StandardStream("stdout").write('{"message":"café 🎉"}\n'.encode())
    assert {"message": "café 🎉"} == json.loads(raw.getvalue().decode("ascii"))
    monkeypatch.undo()


def test_a_reader_that_has_gone_costs_lines_not_the_exit_code() -> None:
    """Python's own buffer would fail again at the end, and end a healthy program with 120."""
    script = """
import logging
from bext_otel.config import LoggingSettings
from bext_otel.logs.install import build_provider, install
from opentelemetry.sdk.resources import Resource
config = LoggingSettings(level="info", output="stdout")
provider = build_provider(config, Resource({}), None)
install(config, provider, apps={})
for _ in range(1000):
    logging.getLogger("shop").info("hello")
assert provider.lost()["log_lines_lost"] == 1000, provider.lost()
"""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writer)
    assert 0 == done.returncode, done.stderr
    assert 1 == done.stderr.count(b"\n")
    assert b"can't be written to stdout (BrokenPipeError" in done.stderr


def test_a_reader_that_has_gone_fails_nobody_who_logs_by_structlog(tmp_path: Path) -> None:
    """structlog's own logger prints, which would raise in a request; the file goes on."""
    script = """
import sys, structlog
from bext_otel.config import LoggingSettings
from bext_otel.logs.install import build_provider, install
from opentelemetry.sdk.resources import Resource
config = LoggingSettings(level="info", output="stdout,file", file_path=sys.argv[1])
provider = build_provider(config, Resource({}), None)
install(config, provider, apps={})
for number in range(10):
    structlog.get_logger().info("hello", number=number)
    structlog.get_logger().bind(n=1).warning("bound", exc_info=ValueError("x"))
assert provider.lost()["log_lines_lost"] == 20, provider.lost()
"""
    reader, writer = os.pipe()
    os.close(reader)
    file = tmp_path / "app.log"
    command = [sys.executable, "-c", script, str(file)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writer)
    assert 0 == done.returncode, done.stderr
    assert 20 == len(file.read_bytes().splitlines())


def test_several_processes_on_one_pipe_keep_lines_whole() -> None:
    script = """
import os
from bext_otel.logs.outputs import StandardStream
stream = StandardStream("stdout")
children = []
for child in range(4):
    pid = os.fork()
    if not pid:
        for _ in range(300):
            stream.write(str(child).encode() * 1000 + b"\\n")
        os._exit(0 if stream.finish(30) else 1)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
"""
    lines = run(script).stdout.decode().splitlines()
    assert sorted(str(child) * 1000 for child in range(4) for _ in range(300)) == sorted(lines)


def test_several_threads_keep_lines_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out"
    with path.open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        stream = StandardStream("stdout")
        threads = [
            threading.Thread(target=lambda name=name: [stream.write(name * 9000 + b"\n") for _ in range(50)])
            for name in (b"a", b"b", b"c")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        monkeypatch.undo()
    assert sorted(name * 9000 for name in "abc" for _ in range(50)) == sorted(path.read_text().splitlines())


def test_a_stdout_that_feeds_logging_does_not_feed_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some replace `sys.stdout` by an object that logs what is printed; the lines then go to the real one."""
    stream, real = StandardStream("stdout"), io.StringIO()

    class Redirected(io.StringIO):
        seen = 0

        def write(self, text: str) -> int:
            Redirected.seen += 1
            stream.write(b"as a log line: " + text.encode())
            return len(text)

    monkeypatch.setattr(sys, "__stdout__", real)
    monkeypatch.setattr(sys, "stdout", Redirected())
    stream.write(b"one\n")
    stream.write(b"two\n")
    assert ("one\ntwo\n", 1) == (real.getvalue(), Redirected.seen)


@pytest.mark.parametrize("level", ["loglevel", "log_level", "level"])
def test_nothing_is_written_to_a_stdout_that_shows_that_it_logs(
    monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    stream, real, proxy = StandardStream("stdout"), io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "__stdout__", real)
    monkeypatch.setattr(sys, "stdout", proxy)
    proxy.logger = logging.getLogger("printed")  # type: ignore[attr-defined]
    stream.write(b"has a logger for itself\n")
    setattr(proxy, level, logging.WARNING)
    stream.write(b"one\n")
    assert ("one\n", "has a logger for itself\n") == (real.getvalue(), proxy.getvalue())


def test_trouble_with_logging_is_not_told_to_a_stderr_that_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    real, proxy = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", real)
    monkeypatch.setattr(sys, "stderr", proxy)
    write_stderr("one")
    proxy.logger, proxy.loglevel = logging.getLogger("printed"), logging.WARNING  # type: ignore[attr-defined]
    write_stderr("two")
    assert ("bext-otel: one\n", "bext-otel: two\n") == (proxy.getvalue(), real.getvalue())


def test_a_line_after_a_torn_one_starts_on_a_line_of_its_own() -> None:
    lines, out = WholeLines(), io.BytesIO()
    room = [3]

    def write(data: bytes) -> int | None:
        if not room[0]:
            return None
        taken = min(room[0], len(data))
        room[0] -= taken
        return out.write(data[:taken])

    with pytest.raises(BlockingIOError):
        lines.write(write, b"first\n")
    with pytest.raises(BlockingIOError):
        lines.write(write, b"lost\n")
    room[0] = 100
    lines.write(write, b"second\n")
    lines.write(write, b"third\n")
    assert b"fir\nsecond\nthird\n" == out.getvalue()


def test_lines_follow_a_descriptor_that_is_redirected_between_two_of_them() -> None:
    """Those that somebody reads, from pipe to pipe and to a file and back, with what was printed in between."""
    code = """
        import os, sys, tempfile
        from bext_otel.logs.outputs import StandardStream
        out = StandardStream("stdout")
        first, second = os.pipe(), os.pipe()
        file = tempfile.TemporaryFile()
        for number, fd in enumerate((first[1], first[1], second[1], second[1], file.fileno(), first[1])):
            os.dup2(fd, 1)
            out.write(b"line %d\\n" % number)
            print("printed", number)
            out.write(b"again %d\\n" % number)
        file.seek(0)
        found = [os.read(first[0], 1000), os.read(second[0], 1000), file.read()]
        sys.stderr.write(repr([[int(line.split()[1]) for line in each.splitlines()] for each in found]))

        os.dup2(2, 1)
        """
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "[[0, 0, 0, 1, 1, 1, 5, 5, 5], [2, 2, 2, 3, 3, 3], [4, 4, 4]]" == done.stderr


def test_a_signal_handler_that_logs_in_the_middle_of_a_line_loses_neither() -> None:
    code = """
        import os, signal, sys, threading
        from bext_otel.logs.outputs import StandardStream
        out, said = StandardStream("stdout"), 0
        def handler(*_):
            global said
            said += 1
            out.write(b"handler\\n")
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for _ in range(20_000):
            out.write(b"line\\n")
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stderr.write(str(said))
        """
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    lines = done.stdout.splitlines()
    assert (20_000, int(done.stderr)) == (lines.count("line"), lines.count("handler"))
    assert lines.count("handler") > 0
