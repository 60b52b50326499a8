from __future__ import annotations

import fcntl
import gzip
import os
import threading
from pathlib import Path

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk.resources import Resource

from bext_otel.config import LoggingSettings
from bext_otel.logs.files import RotatingFile
from bext_otel.logs.generations import rotation_lock
from bext_otel.logs.install import build_provider
from tests.waiting import until


def lines_in(directory: Path) -> list[str]:
    """All lines of all files of a log, rotated and compressed ones included."""
    found: list[str] = []
    for path in directory.glob("app.log*"):
        if path.suffix not in {".lock", ".tmp"}:
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            found += data.decode().splitlines()
    return found


class Clock:
    """Seconds; what is looked at once is looked at again with each line, unless `stopped`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.stopped = False

    def __call__(self) -> float:
        if not self.stopped:
            self.seconds += 1
        return self.seconds


def numbered(count: int) -> list[bytes]:
    return [f"{number:07}\n".encode() for number in range(count)]


def test_lines_are_appended_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"before\n")
    file = RotatingFile(path)
    file.write(b"after\n")
    file.close()
    assert b"before\nafter\n" == path.read_bytes()


def test_a_file_rotates_before_it_outgrows_its_size_and_old_ones_go(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "app.log", max_bytes=16, keep=2)
    for line in numbered(9):
        file.write(line)
    file.close()
    assert {
        "app.log": b"0000008\n",
        "app.log.1": b"0000006\n0000007\n",
        "app.log.2": b"0000004\n0000005\n",
        "app.log.lock": b"",
    } == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_line_longer_than_the_size_gets_a_file_of_its_own(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "app.log", max_bytes=4, keep=3)
    file.write(b"a long line\n")
    file.write(b"another one\n")
    file.close()
    assert ["a long line", "another one"] == [
        (tmp_path / name).read_text().strip() for name in ("app.log.1", "app.log")
    ]


def test_without_a_size_nothing_rotates(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "app.log")
    for line in numbered(1000):
        file.write(line)
    file.close()
    assert ["app.log"] == [path.name for path in tmp_path.iterdir()]


def test_a_file_that_somebody_else_moved_away_is_made_anew(tmp_path: Path) -> None:
    """As logrotate does."""
    path = tmp_path / "app.log"
    file = RotatingFile(path, clock=Clock())
    file.write(b"one\n")
    path.rename(tmp_path / "moved")
    file.write(b"two\n")
    file.close()
    assert (b"one\n", b"two\n") == ((tmp_path / "moved").read_bytes(), path.read_bytes())


def test_lines_of_the_same_moment_go_where_the_first_one_went(tmp_path: Path) -> None:
    """For 5 ms a file that was in its place is not looked for again; no line is lost, whoever moves it."""
    clock, path = Clock(), tmp_path / "app.log"
    file = RotatingFile(path, clock=clock)
    file.write(b"one\n")
    clock.stopped = True
    file.write(b"two\n")
    path.rename(tmp_path / "moved")
    for seconds, line in ((0, b"three\n"), (0.004, b"four\n"), (0.0011, b"five\n")):
        clock.seconds += seconds
        file.write(line)
    file.close()
    assert (b"one\ntwo\nthree\nfour\n", b"five\n") == (
        (tmp_path / "moved").read_bytes(),
        path.read_bytes(),
    )


def test_much_that_is_written_at_once_does_not_outgrow_the_size(tmp_path: Path) -> None:
    clock, line = Clock(), b"x" * 999 + b"\n"
    clock.stopped = True
    file = RotatingFile(tmp_path / "app.log", max_bytes=300_000, keep=9, clock=clock)
    for _ in range(1000):
        file.write(line)
    file.close()
    sizes = [path.stat().st_size for path in tmp_path.glob("app.log*")]
    assert (1_000_000, 300_000) == (sum(sizes), max(sizes))


def test_a_forked_child_looks_for_the_file_itself(tmp_path: Path) -> None:
    """Its parent may have been about to give its descriptors up."""
    clock, path = Clock(), tmp_path / "app.log"
    file = RotatingFile(path, clock=clock)
    clock.stopped = True
    file.write(b"parent\n")
    path.rename(tmp_path / "moved")
    if (child := os.fork()) == 0:
        file.write(b"child\n")
        os._exit(0)
    os.waitpid(child, 0)
    file.close()
    assert (b"parent\n", b"child\n") == ((tmp_path / "moved").read_bytes(), path.read_bytes())


def test_rotated_files_are_compressed_at_once(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "app.log", max_bytes=8, keep=9, compress=True)
    for line in numbered(4):
        file.write(line)
    expected = {"app.log", "app.log.1.gz", "app.log.2.gz", "app.log.3.gz", "app.log.lock"}
    until(lambda: expected == {path.name for path in tmp_path.iterdir()})
    file.close()
    assert [line.decode().strip() for line in numbered(4)] == sorted(lines_in(tmp_path))


def test_a_process_that_was_interrupted_before_it_wrote_finds_its_file_gone(tmp_path: Path) -> None:
    """Between finding it in place and writing to it, others have rotated and compressed it."""
    clock = Clock()
    late = RotatingFile(tmp_path / "app.log", clock=clock)
    clock.stopped = True
    late.write(b"early\n")
    file = RotatingFile(tmp_path / "app.log", max_bytes=8, keep=9, compress=True)
    file.write(b"0000001\n")
    until((tmp_path / "app.log.1.gz").exists)
    until(lambda: not (tmp_path / "app.log.1").exists())
    # It looks at the clock, is interrupted, and writes.
    times = iter([clock.seconds, clock.seconds + 1, clock.seconds + 1])
    late._clock = lambda: next(times)
    late.write(b"late\n")
    file.close()
    assert ["0000001", "early", "late"] == sorted(lines_in(tmp_path))


def test_a_compressed_file_is_as_old_as_what_is_in_it(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "app.log", max_bytes=8, keep=9, compress=True)
    (tmp_path / "app.log.1").write_bytes(b"old\n")
    os.utime(tmp_path / "app.log.1", (1000, 1000))
    file.write(b"0000000\n")
    file.write(b"0000001\n")
    until((tmp_path / "app.log.2.gz").exists)
    file.close()
    assert 1000 == (tmp_path / "app.log.2.gz").stat().st_mtime


def test_whoever_opens_a_file_can_fork_without_a_thread(tmp_path: Path) -> None:
    """As a server's master does."""
    (tmp_path / "app.log.1").write_bytes(b"old\n")
    before = set(threading.enumerate())
    RotatingFile(tmp_path / "app.log", max_bytes=8, compress=True).open()
    assert set() == set(threading.enumerate()) - before


def test_who_was_killed_while_compressing_leaves_nothing_and_nothing_twice(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "app.log", max_bytes=8, keep=9, compress=True)
    (tmp_path / "app.log.1").write_bytes(b"whole\nlate\n")
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(b"whole\n"))
    (tmp_path / "app.log.4711.gz.tmp").write_bytes(b"half")
    os.utime(tmp_path / "app.log.4711.gz.tmp", (1000, 1000))
    file.write(b"0000000\n")
    file.write(b"0000001\n")
    expected = {"app.log", "app.log.1.gz", "app.log.2.gz", "app.log.lock"}
    until(lambda: expected == {path.name for path in tmp_path.iterdir()})
    file.close()
    assert ["0000000", "0000001", "late", "whole"] == sorted(lines_in(tmp_path))


def test_a_disk_without_room_for_compression_keeps_the_file(tmp_path: Path) -> None:
    """The compressed file can't be made, because a directory is in its place."""
    file = RotatingFile(tmp_path / "app.log", max_bytes=8, keep=9, compress=True)
    file.write(b"0000000\n")
    unfinished = tmp_path / f"app.log.{(tmp_path / 'app.log').stat().st_ino}.gz.tmp"
    unfinished.mkdir()
    file.write(b"0000001\n")
    compression = file._compression
    assert compression is not None
    until(lambda: compression.is_idle)
    file.close()
    unfinished.rmdir()
    assert ["0000000", "0000001"] == sorted(lines_in(tmp_path))


def lock_is_free(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def test_who_does_not_get_the_lock_goes_on_writing(tmp_path: Path) -> None:
    """A process that was stopped in the middle of a rotation must not stop the others."""
    file = RotatingFile(tmp_path / "app.log", max_bytes=8)
    with (tmp_path / "app.log.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        for line in numbered(3):
            file.write(line)
    assert b"".join(numbered(3)) == (tmp_path / "app.log").read_bytes()
    file.write(b"free\n")
    file.close()
    assert b"free\n" == (tmp_path / "app.log").read_bytes()


def test_several_processes_that_rotate_one_file_lose_nothing(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "app.log", max_bytes=4000, keep=1000, compress=True)
    file.write(b"parent\n")
    children = []
    for child in range(4):
        pid = os.fork()
        if not pid:
            for number in range(500):
                file.write(f"{child} {number} {'x' * 30}\n".encode())
            os._exit(0)
        children.append(pid)
    for pid in children:
        assert 0 == os.waitpid(pid, 0)[1]
    file.close()
    written = {line.rsplit(" ", 1)[0] for line in lines_in(tmp_path)}
    assert {"parent"} | {f"{child} {number}" for child in range(4) for number in range(500)} == written
    assert len(list(tmp_path.glob("app.log.*"))) > 3


def test_a_child_does_not_keep_the_parent_s_rotation_lock(tmp_path: Path) -> None:
    path = tmp_path / "app.log.lock"
    reader, writer = os.pipe()
    with rotation_lock(tmp_path / "app.log") as lock:
        assert lock is not None
        pid = os.fork()
        if not pid:
            os.read(reader, 1)
            os._exit(0)
    free = until(lambda: lock_is_free(path), why="the child closes its copy")
    os.write(writer, b"x")
    os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)
    assert free


def test_a_file_that_cannot_be_rotated_grows_and_says_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = RotatingFile(tmp_path / "app.log", max_bytes=8)
    (tmp_path / "app.log.lock").mkdir()
    for line in numbered(3):
        file.write(line)
    file.close()
    assert b"".join(numbered(3)) == (tmp_path / "app.log").read_bytes()
    told = capsys.readouterr().err
    assert (1, True) == (told.count("\n"), "can't be rotated" in told)


def test_a_path_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        RotatingFile(tmp_path / "nowhere" / "app.log").open()


def test_compressing_does_not_write_through_a_link(tmp_path: Path) -> None:
    """Whoever may write the directory knows the name of the file that will be made."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    file = RotatingFile(tmp_path / "app.log", max_bytes=8, keep=9, compress=True)
    file.write(b"0000000\n")
    (tmp_path / f"app.log.{(tmp_path / 'app.log').stat().st_ino}.gz.tmp").symlink_to(victim)
    file.write(b"0000001\n")
    until((tmp_path / "app.log.1.gz").is_file)
    file.close()
    assert "precious" == victim.read_text()
    assert ["0000000", "0000001"] == sorted(lines_in(tmp_path))


def test_what_is_linked_in_the_place_of_a_rotated_file_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("precious")
    os.utime(secret, (0, 0))
    (tmp_path / "app.log.1").symlink_to(secret)
    os.utime(tmp_path / "app.log.1", (0, 0), follow_symlinks=False)
    file = RotatingFile(tmp_path / "app.log", max_bytes=8, keep=9, compress=True)
    file.write(b"0000000\n")
    file.write(b"0000001\n")
    until((tmp_path / "app.log.1.gz").exists)
    file.close()
    assert ["app.log.1.gz"] == [path.name for path in tmp_path.glob("*.gz")]
    assert (tmp_path / "app.log.2").is_symlink()


def test_a_lock_that_is_a_link_leaves_its_target_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "app.log.lock").symlink_to(tmp_path / "elsewhere")
    file = RotatingFile(tmp_path / "app.log", max_bytes=8)
    for line in numbered(3):
        file.write(line)
    file.close()
    assert not (tmp_path / "elsewhere").exists()
    assert b"".join(numbered(3)) == (tmp_path / "app.log").read_bytes()
    assert 1 == capsys.readouterr().err.count("is a link")


def test_a_link_put_in_the_place_of_a_log_is_not_written_through(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    file = RotatingFile(path, clock=Clock())
    file.write(b"one\n")
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="is a link"):
        file.write(b"two\n")
    assert not (tmp_path / "elsewhere").exists()


def test_the_null_device_is_an_output_where_it_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    provider = build_provider(
        LoggingSettings(output="file", file_path=os.devnull, rotate=True), Resource({}), None
    )
    provider.get_logger("bext.test").emit(LogRecord(body="hello"))
    assert 0 == provider.lost()["log_lines_lost"]
    provider.shutdown()
    told = capsys.readouterr()
    assert ("", "") == (told.out, told.err)


def test_a_link_to_the_null_device_is_a_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "app.log").symlink_to(os.devnull)
    build_provider(
        LoggingSettings(output="file", file_path=str(tmp_path / "app.log")), Resource({}), None
    ).shutdown()
    assert "is a link" in capsys.readouterr().err
