from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bext_otel.catalogue import LOG_DROP_REASON, LOG_LINES_DROPPED, LOG_SINK
from bext_otel.config import LoggingSettings
from bext_otel.logs.install import install
from bext_otel.logs.losses import Losses, reason_of
from tests.logs.conftest import Start, provider_without_disk
from tests.waiting import until


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Iterator[Clock]:
    return Clock()


def test_losses_are_told_again_after_a_while(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    losses = Losses("stdout", clock=clock)
    for _ in range(10):
        losses.add(OSError("full"))
    clock.seconds += 300
    losses.add(OSError("full"))
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("dropped and counted: 1 so far")
    assert second.endswith("dropped and counted: 11 so far")


def test_trouble_without_a_stderr_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    losses = Losses("stdout")
    losses.add(OSError("full"))
    assert 1 == losses.count


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BlockingIOError("the reader is behind"), "stuck"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "closed"),
        (OSError(errno.EBADF, "Bad file descriptor"), "closed"),
        (ValueError("I/O operation on closed file"), "closed"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk_full"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "missing"),
        (PermissionError(errno.EACCES, "Permission denied"), "denied"),
        (OSError(errno.EROFS, "Read-only file system"), "denied"),
        (OSError("there is no sys.stdout"), "error"),
        (UnicodeEncodeError("ascii", "x", 0, 1, "no"), "error"),
    ],
)
def test_a_loss_has_a_reason_of_the_catalogue_s(error: Exception, reason: str) -> None:
    assert reason == reason_of(error)
    assert reason in (LOG_DROP_REASON.values or ())


def test_losses_are_counted_by_reason() -> None:
    losses = Losses("/var/log/app.log", "file")
    for error in (BlockingIOError(), OSError(errno.ENOSPC, "full"), BlockingIOError()):
        losses.add(error)
    assert [(2, {"sink": "file", "reason": "stuck"}), (1, {"sink": "file", "reason": "disk_full"})] == list(
        losses.by_reason()
    )
    assert "file" in (LOG_SINK.values or ())


def test_the_end_of_an_outage_is_one_line_with_the_number(
    caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    losses = Losses("stdout", clock=clock)
    for _ in range(3):
        losses.add(BlockingIOError("stuck"))
    losses.end()
    clock.seconds += 1
    for _ in range(3):
        if losses.pending:
            losses.end()
    losses.add(BlockingIOError("stuck"))
    clock.seconds += 1
    losses.end()
    assert [
        "log lines are written to stdout again; dropped meanwhile: 3",
        "log lines are written to stdout again; dropped meanwhile: 1",
    ] == [record.getMessage() for record in caplog.records]


def test_a_directory_that_is_back_is_told_in_the_file_itself(tmp_path: Path) -> None:
    provider = provider_without_disk(tmp_path)
    installed = install(LoggingSettings(), provider, apps={})
    path = tmp_path / "logs" / "app.log"
    try:
        for _ in range(7):
            logging.getLogger("shop").error("hello")
        path.parent.mkdir()

        def is_told() -> bool:
            logging.getLogger("shop").error("again")
            return "dropped meanwhile: 7" in path.read_text()

        until(is_told)
        logging.getLogger("shop").error("again")
        assert 1 == path.read_text().count("dropped meanwhile")
        assert [(7, {"sink": "file", "reason": "missing"})] == list(provider.dropped())
    finally:
        installed.remove()
        provider.shutdown()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_counts_its_own() -> None:
    losses = Losses("stdout")
    losses.add(OSError("full"))
    if not (child := os.fork()):
        os._exit(losses.count + losses.pending)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert 1 == losses.count


def test_a_reader_that_has_gone_is_closed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    logs = start()
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        for _ in range(3):
            logging.getLogger("shop").info("hello")
        monkeypatch.undo()
    (count, labels), *others = logs.provider.dropped()
    assert ({"sink": "stdout", "reason": "closed"}, []) == (labels, others)
    assert logs.provider.losing()
    assert 1 <= count <= 3


def test_a_reader_that_is_stuck_and_reads_again_gets_the_number(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes nothing until memory that is set aside for it is full, and more; nobody waits for it."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        logs = start()
        monkeypatch.setattr(sys, "stdout", stream)
        logger = logging.getLogger("shop")
        number = 0
        until(lambda: bool(list(logs.provider.dropped())) or bool(logger.info("x" * 8000)))
        for number in range(5):
            logger.info("lost %d", number)
        os.set_blocking(reader, False)
        got = b""

        def is_told() -> bool:
            nonlocal got
            try:
                got += os.read(reader, 1 << 20)
            except BlockingIOError:
                logger.info("again")
            return b"dropped meanwhile" in got

        until(is_told)
        monkeypatch.undo()
    ((count, labels),) = logs.provider.dropped()
    assert {"sink": "stdout", "reason": "stuck"} == labels
    assert f"stdout again; dropped meanwhile: {count}" in got.decode()
    assert "bext_otel_log_lines_dropped_total" == LOG_LINES_DROPPED.exported
    os.close(reader)
