from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import context
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource

from bext_otel.apps import with_app
from bext_otel.config import LoggingSettings
from bext_otel.logs.install import BextLoggerProvider, build_provider, install
from tests.logs.conftest import Start, provider_without_disk
from tests.versions import since


def test_records_of_opentelemetry_s_own_loggers_are_lines_and_never_exported(start: Start) -> None:
    logs = start()
    for name in ("opentelemetry", "opentelemetry.sdk.trace.export", "opentelemetry_demo"):
        logging.getLogger(name).warning(name)
    assert ["opentelemetry", "opentelemetry.sdk.trace.export", "opentelemetry_demo"] == [
        line["message"] for line in logs.lines()
    ]
    assert ["opentelemetry_demo"] == [record.body for record in logs.exported()]


class Talkative(LogRecordExporter):
    """Logs with an HTTP client's name while it exports, as such clients do at debug level."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        logging.getLogger("urllib3.connectionpool").warning("POST /v1/logs")
        self.bodies += [record.log_record.body for record in batch]
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing to end."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


def test_what_the_exporter_itself_logs_does_not_feed_it(capsys: pytest.CaptureFixture[str]) -> None:
    exporter = Talkative()
    provider = build_provider(LoggingSettings(output="stdout"), Resource({}), exporter)
    installed = install(LoggingSettings(level="info"), provider, apps={})
    try:
        logging.getLogger("shop").info("hello")
        provider.force_flush()
        provider.force_flush()
    finally:
        installed.remove()
        provider.shutdown()
    assert ["hello"] == exporter.bodies
    assert 1 == capsys.readouterr().out.count("POST /v1/logs")


def test_the_provider_s_shutdown_exports_what_is_left_within_its_time() -> None:
    """With an exporter that hangs, too."""
    released, asked = threading.Event(), threading.Event()

    class Hung(InMemoryLogRecordExporter):
        def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
            asked.set()
            released.wait(60)
            return super().export(batch)

    exporter = Hung()
    provider = build_provider(
        LoggingSettings(output="none"), Resource({}), exporter, shutdown_timeout_seconds=0.05
    )
    provider.get_logger("shop").emit(LogRecord(body="last words"))
    ended = threading.Thread(target=provider.shutdown)
    ended.start()
    ended.join(30)
    assert not ended.is_alive()
    assert asked.is_set()
    released.set()


def emit(provider: BextLoggerProvider, **fields: Any) -> None:
    provider.get_logger("bext.request").emit(
        LogRecord(**{"severity_number": SeverityNumber.INFO, "body": "request completed", **fields})
    )


def test_a_record_emitted_past_logging_gets_its_app_and_is_made_exportable(start: Start) -> None:
    logs = start()
    token = context.attach(with_app("marketing", context.get_current()))
    emit(logs.provider, attributes={"path": "/\ud800", "n": 2**70, "status": 200})
    context.detach(token)
    (line,), (record,) = logs.lines(), logs.exported()
    assert ("marketing", "/�", str(2**70), 200) == (line["app"], line["path"], line["n"], line["status"])
    assert {"app": "marketing", "path": "/�", "n": str(2**70), "status": 200} == dict(record.attributes or {})


@since(42, "exceptions of records")
def test_what_others_emit_past_logging_is_exported_and_stands_on_no_terminal(start: Start) -> None:
    """FastAPI tells of each unhandled exception at the Logs API, and uvicorn of the same in its log."""
    logs = start()
    for name in ("fastapi", "bext.request", "bextra"):
        logs.provider.get_logger(name).emit(
            LogRecord(severity_number=SeverityNumber.ERROR, body=name, exception=ValueError("x"))
        )
    logging.getLogger("fastapi").error("logged", exc_info=ValueError("x"))
    assert ["bext.request", "logged"] == [line["message"] for line in logs.lines()]
    assert ["fastapi", "bext.request", "bextra", "logged"] == [record.body for record in logs.exported()]


def test_a_file_has_what_others_emit_past_logging(start: Start, tmp_path: Path) -> None:
    logs = start(output="file", file_path=str(tmp_path / "app.log"))
    logs.provider.get_logger("fastapi").emit(LogRecord(body="hello"))
    assert '"hello"' in (tmp_path / "app.log").read_text()


def test_a_record_emitted_past_logging_obeys_the_levels(start: Start) -> None:
    logs = start(level="warn", filters={"bext.quiet": "error"}, apps={"api": "info"})
    emit(logs.provider)
    emit(logs.provider, attributes={"app": "api"})
    emit(logs.provider, severity_number=SeverityNumber.WARN)
    emit(logs.provider, severity_number=None, body="no severity")
    logs.provider.get_logger("bext.quiet").emit(
        LogRecord(severity_number=SeverityNumber.WARN, body="filtered")
    )
    expected = [("request completed", "api"), ("request completed", None), ("no severity", None)]
    assert expected == [(line["message"], line.get("app")) for line in logs.lines()]
    assert 3 == len(logs.exported())


def test_entries_of_ours_pass_no_root_logger(start: Start) -> None:
    """An application that puts it to warnings, as Django's documentation does, keeps the traces of its
    requests."""
    logs = start(level="")
    assert logging.WARNING == logging.root.level
    emit(logs.provider)
    emit(logs.provider, severity_number=SeverityNumber.DEBUG, body="detail")
    assert (
        ["request completed"]
        == [line["message"] for line in logs.lines()]
        == [record.body for record in logs.exported()]
    )


def test_a_record_too_odd_to_be_completed_goes_on_and_is_counted(start: Start) -> None:
    class Odd(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError

    logs = start()
    emit(logs.provider, body=Odd())
    assert 1 == len(logs.lines())
    assert 1 == logs.provider.lost()["log_events_failed"]


def test_whoever_makes_records_can_ask_whether_they_are_wanted(start: Start) -> None:
    """So that a disabled completion line costs nothing."""
    logger = start(level="warn").provider.get_logger("bext.request")
    assert (False, True) == (
        logger.enabled(severity_number=SeverityNumber.INFO),
        logger.enabled(severity_number=SeverityNumber.WARN),
    )


def test_a_lost_disk_makes_one_line_on_stderr_and_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provider = provider_without_disk(tmp_path)
    config = LoggingSettings()
    installed = install(config, provider, apps={})
    try:
        for _ in range(100):
            logging.getLogger("shop").error("hello")
    finally:
        installed.remove()
        provider.shutdown()
    told = capsys.readouterr()
    assert "" == told.out
    assert 1 == told.err.count("\n")
    assert str(tmp_path / "logs" / "app.log") in told.err
    assert "No such file" in told.err
    assert {"log_events_failed": 0, "log_lines_lost": 100, "log_records_lost": 0} == provider.lost()


def test_a_sink_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    exporter = InMemoryLogRecordExporter()
    provider = provider_without_disk(tmp_path, exporter)
    emit(provider)
    provider.shutdown()
    assert 1 == len(exporter.get_finished_logs())


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_writes_lines_while_the_parent_was_writing_one(start: Start) -> None:
    """A lock that a thread of the parent holds at the fork must not stop the child."""
    logs = start()
    (sink, _) = logs.provider.sinks
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with sink.output._lock:  # type: ignore[union-attr]
            held.set()
            release.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    pid = os.fork()
    if pid == 0:
        logging.getLogger("shop").info("child")
        os._exit(0)
    assert 0 == os.waitpid(pid, 0)[1]
    release.set()
    thread.join()
