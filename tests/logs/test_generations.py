"""Rotation by size and by time, by several processes at once, some of which die, on disks that fill up."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bext_otel.logs.files import RotatingFile
from bext_otel.logs.generations import Generations, When, next_period, period
from tests.waiting import until

LINE = re.compile(rb"\d \d{6} x{40}")


def written(directory: Path) -> list[bytes]:
    """All lines of all files of a log, but for blank ones; each as it is, torn or not."""
    found: list[bytes] = []
    for path in directory.glob("app.log*"):
        if path.suffix not in {".lock", ".tmp"}:
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            assert not data or data.endswith(b"\n"), path
            found += [line for line in data.split(b"\n") if line.strip()]
    return found


class Writers:
    """Processes that write numbered lines to a log until they have written `count`, or are told to end; each
    tells by a pipe how many."""

    def __init__(
        self, make: Callable[[], RotatingFile], *, count: int, processes: int = 4, pause_seconds: float = 0.0
    ) -> None:
        self.pids: list[int] = []
        self._pipes: list[int] = []
        self._heard = [b""] * processes
        for number in range(processes):
            reader, writer = os.pipe()
            pid = os.fork()
            if not pid:
                os.close(reader)
                _write(make(), number, count, writer, pause_seconds)
            os.close(writer)
            os.set_blocking(reader, False)
            self.pids.append(pid)
            self._pipes.append(reader)

    def told(self) -> set[bytes]:
        """The lines that the processes know to be written."""
        for number, pipe in enumerate(self._pipes):
            with contextlib.suppress(BlockingIOError):
                while data := os.read(pipe, 65536):
                    self._heard[number] = (self._heard[number] + data)[-7:]
        counts = [int(heard[-7:] or b"-1") for heard in self._heard]
        return {line(number, each) for number, last in enumerate(counts) for each in range(last + 1)}

    def kill(self, number: int) -> None:
        os.kill(self.pids[number], signal.SIGKILL)

    def join(self) -> list[int]:
        """How they ended."""
        ended: dict[int, int] = {}

        def are_done() -> bool:
            self.told()
            for pid in set(self.pids) - set(ended):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    ended[pid] = 0
            return len(ended) == len(self.pids)

        until(are_done)
        self.told()
        for pipe in self._pipes:
            os.close(pipe)
        self._pipes = []
        return [ended[pid] for pid in self.pids]


def line(writer: int, number: int) -> bytes:
    return b"%d %06d %s" % (writer, number, b"x" * 40)


def _write(file: RotatingFile, writer: int, count: int, tell: int, pause_seconds: float) -> None:
    try:
        for number in range(count):
            file.write(line(writer, number) + b"\n")
            os.write(tell, b"%06d\n" % number)
            if pause_seconds:
                time.sleep(pause_seconds)
        os._exit(0 if file.finish(30.0) else 3)
    except BaseException as error:
        os.write(2, repr(error).encode())
        os._exit(2)


@pytest.mark.parametrize("compress", [False, True])
def test_four_processes_through_rotations_by_size_lose_and_tear_nothing(
    tmp_path: Path, *, compress: bool
) -> None:
    writers = Writers(
        lambda: RotatingFile(tmp_path / "app.log", max_bytes=20_000, keep=1000, compress=compress), count=2000
    )
    writers.join()
    found = written(tmp_path)
    # Who was interrupted while his file was compressed writes once more.
    assert sorted(writers.told()) == sorted(set(found) if compress else found)
    assert 8000 == len(writers.told())
    assert 10 <= len(list(tmp_path.glob("app.log.[0-9]*")))


@pytest.mark.slow
@pytest.mark.parametrize("when", ["hourly", "midnight"])
def test_four_processes_through_rotations_by_time_lose_and_tear_nothing(tmp_path: Path, when: When) -> None:
    began = time.time()
    speed = {"hourly": 3600.0, "midnight": 86_400.0}[when] * 5
    writers = Writers(
        lambda: RotatingFile(
            tmp_path / "app.log",
            when=when,
            keep=1000,
            compress=True,
            wall=lambda: began + (time.time() - began) * speed,
        ),
        count=1000,
        pause_seconds=0.0025,
    )
    writers.join()
    assert sorted(writers.told()) == sorted(set(written(tmp_path)))
    assert 4000 == len(writers.told())
    assert 10 <= len(list(tmp_path.glob("app.log.[0-9]*")))


def test_four_processes_lose_nothing_while_somebody_moves_their_file(tmp_path: Path) -> None:
    """As logrotate does, ten times."""
    path = tmp_path / "app.log"
    writers = Writers(lambda: RotatingFile(path), count=3000, pause_seconds=0.0001)
    for number in range(1, 11):
        until(lambda: path.exists() and path.stat().st_size > 2000)
        path.rename(tmp_path / f"app.log.{number}")
    writers.join()
    assert sorted(writers.told()) == sorted(written(tmp_path))


def test_four_processes_tear_nothing_while_somebody_copies_and_truncates_their_file(tmp_path: Path) -> None:
    """As logrotate does with `copytruncate`, ten times. What is written between the copy and the truncation
    is in neither, whoever writes; all else is whole, and no file has a hole."""
    path = tmp_path / "app.log"
    writers = Writers(lambda: RotatingFile(path), count=3000, pause_seconds=0.0001)
    for number in range(1, 11):
        until(lambda: path.exists() and path.stat().st_size > 2000)
        shutil.copyfile(path, tmp_path / "copy")
        copied = (tmp_path / "copy").read_bytes()
        # Nobody tells between the copy and here where a line ends.
        (tmp_path / f"app.log.{number}").write_bytes(copied[: copied.rfind(b"\n") + 1])
        os.truncate(path, 0)
    writers.join()
    found = written(tmp_path)
    assert [] == [each for each in found if not LINE.fullmatch(each)]
    assert set(found) <= writers.told()
    assert len(found) == len(set(found))
    assert path.stat().st_size == len(path.read_bytes().replace(b"\0", b""))


def test_processes_that_are_killed_while_they_rotate_cost_no_line(tmp_path: Path) -> None:
    """Each line that a process had written, and had told so, is there; once, or, if it was killed before it
    could tell, perhaps."""
    for number in range(12):
        writers = Writers(
            lambda: RotatingFile(tmp_path / "app.log", max_bytes=500, keep=100_000, compress=True), count=300
        )
        until(lambda: len(writers.told()) > 100 + number * 30)  # noqa: B023  # it is called here
        writers.kill(number % 4)
        writers.kill((number + 1) % 4)
        writers.join()
        found = written(tmp_path)
        assert [] == [each for each in found if not LINE.fullmatch(each)]
        assert set() == writers.told() - set(found)
        assert len(set(found)) - len(writers.told()) <= 2
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode or sys.platform != "linux":
        pytest.skip("to mount a file system one has to be root, and allowed to")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_is_full_in_the_middle_costs_nothing_and_tears_nothing(small_disk: Path) -> None:
    """Four processes rotate until it is full, keep what they have to say meanwhile, and go on when somebody
    has made room."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 120_000)
    writers = Writers(lambda: RotatingFile(small_disk / "app.log", max_bytes=8_000, keep=1000), count=900)
    until(lambda: not shutil.disk_usage(small_disk).free)
    until(lambda: len(writers.told()) > 3000)  # more than has room
    time.sleep(0.1)
    ballast.unlink()
    writers.join()
    found = written(small_disk)
    assert [] == [each for each in found if not LINE.fullmatch(each)]
    assert sorted(writers.told()) == sorted(found)
    assert 3600 == len(found)


def test_what_a_full_disk_has_no_room_for_is_bounded_and_told(small_disk: Path) -> None:
    file = RotatingFile(small_disk / "app.log")
    each = b"x" * 999 + b"\n"
    refused = 0
    for _ in range(1000):
        try:
            file.write(each)
        except OSError:
            refused += 1
    assert 262 == 1000 - refused - (small_disk / "app.log").stat().st_size // 1000
    lost: list[int] = []
    file.on_lost = lambda _, lines: lost.append(lines)
    (small_disk / "app.log").unlink()
    file.close()
    assert file.finish(10.0)
    assert (262_000, []) == ((small_disk / "app.log").stat().st_size, lost)


def test_a_line_that_got_through_in_part_leaves_blanks(small_disk: Path) -> None:
    file = RotatingFile(small_disk / "app.log")
    each = b"y" * 997 + b"z\n"
    for _ in range(300):
        file.write(each)
    found = (small_disk / "app.log").read_bytes().split(b"\n")
    assert {998, 0} == {len(line.strip()) for line in found}
    file.close()


@pytest.mark.parametrize(
    ("when", "moment", "began", "next_begins"),
    [
        ("hourly", "2026-11-30 13:59:59", "2026-11-30 13:00:00", "2026-11-30 14:00:00"),
        ("hourly", "2026-11-30 14:00:00", "2026-11-30 14:00:00", "2026-11-30 15:00:00"),
        ("midnight", "2026-12-31 23:59:59", "2026-12-31 00:00:00", "2027-01-01 00:00:00"),
        # An hour longer, and one shorter, where clocks are changed.
        ("midnight", "2026-10-25 12:00:00", "2026-10-25 00:00:00", "2026-10-26 00:00:00"),
        ("midnight", "2026-03-29 12:00:00", "2026-03-29 00:00:00", "2026-03-30 00:00:00"),
    ],
)
def test_hours_and_days_are_those_of_the_local_clock(
    monkeypatch: pytest.MonkeyPatch, when: When, moment: str, began: str, next_begins: str
) -> None:
    monkeypatch.setenv("TZ", "Europe/Vienna")
    time.tzset()
    try:
        seconds = [
            time.mktime(time.strptime(each, "%Y-%m-%d %H:%M:%S")) for each in (moment, began, next_begins)
        ]
        assert seconds[1:] == [period(when, seconds[0]), next_period(when, seconds[0])]
    finally:
        monkeypatch.undo()
        time.tzset()


def names(directory: Path) -> dict[str, str]:
    return {
        path.name: path.read_text()
        for path in directory.iterdir()
        if path.name.startswith("app.log") and path.suffix != ".lock"
    }


def test_the_first_line_of_a_day_rotates_what_is_there(tmp_path: Path) -> None:
    now = [time.mktime((2026, 11, 30, 12, 0, 0, 0, 0, -1))]
    file = RotatingFile(tmp_path / "app.log", when="midnight", wall=lambda: now[0])
    file.write(b"monday\n")
    now[0] += 11 * 3600
    file.close()
    file.write(b"late\n")
    now[0] += 2 * 3600
    file.close()
    file.write(b"tuesday\n")
    file.close()
    file.write(b"again\n")
    file.close()
    assert {"app.log": "tuesday\nagain\n", "app.log.1": "monday\nlate\n"} == names(tmp_path)


def test_a_process_that_starts_on_another_day_rotates_what_is_there_once(tmp_path: Path) -> None:
    then = time.mktime((2026, 11, 30, 12, 0, 0, 0, 0, -1))
    (tmp_path / "app.log").write_text("monday\n")
    os.utime(tmp_path / "app.log", (then, then))
    for number in range(3):
        file = RotatingFile(tmp_path / "app.log", when="midnight", wall=lambda: then + 86_400)
        file.write(b"tuesday %d\n" % number)
        file.close()
    assert {"app.log": "tuesday 0\ntuesday 1\ntuesday 2\n", "app.log.1": "monday\n"} == names(tmp_path)


def test_rotated_files_that_are_too_old_go(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "app.log", max_bytes=4, keep=9, max_days=7)
    for number, days in ((1, 5), (2, 8), (3, 9)):
        (tmp_path / f"app.log.{number}").write_text(f"{days} days\n")
        then = time.time() - days * 86_400
        os.utime(tmp_path / f"app.log.{number}", (then, then))
    file.write(b"now\n")
    file.write(b"then\n")
    file.close()
    assert {"app.log": "then\n", "app.log.1": "now\n", "app.log.2": "5 days\n"} == names(tmp_path)


def test_a_number_that_was_left_free_is_filled(tmp_path: Path) -> None:
    """Who rotated was killed in the middle: nothing is moved on, or out, more than it has to be."""
    for number in (2, 3):
        (tmp_path / f"app.log.{number}").write_text(f"{number}\n")
    (tmp_path / "app.log").write_text("0\n")
    Generations(tmp_path / "app.log", keep=3).shift()
    assert {"app.log.1": "0\n", "app.log.2": "2\n", "app.log.3": "3\n"} == names(tmp_path)


def test_fewer_files_are_kept_when_the_setting_says_so(tmp_path: Path) -> None:
    for number in range(1, 6):
        (tmp_path / f"app.log.{number}").write_text(f"{number}\n")
    (tmp_path / "app.log").write_text("0\n")
    Generations(tmp_path / "app.log", keep=2).shift()
    assert {"app.log.1": "0\n", "app.log.2": "1\n"} == names(tmp_path)
