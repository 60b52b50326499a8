from __future__ import annotations

from typing import Any

from opentelemetry._logs import Logger, LogRecord, NoOpLogger, SeverityNumber

from bext_otel.scope import with_enabled


class Older:
    """A logger as an API before `enabled` has it."""

    def __init__(self) -> None:
        self.emitted: list[Any] = []

    def emit(self, record: LogRecord | None = None, **of: Any) -> None:
        self.emitted.append(record or of)


def test_a_logger_that_cannot_be_asked_takes_what_it_is_given() -> None:
    older, record = Older(), LogRecord(body="whole")
    logger = with_enabled(older)  # type: ignore[arg-type]
    assert logger.enabled(severity_number=SeverityNumber.DEBUG)
    logger.emit(record)
    logger.emit(body="parts")
    assert [record, {"body": "parts"}] == older.emitted


def test_a_logger_that_can_be_asked_is_asked_itself() -> None:
    logger: Logger = NoOpLogger("shop")
    assert logger is with_enabled(logger)
    assert not logger.enabled()
