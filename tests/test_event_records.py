"""Events at the Logs API, in few words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import _logs
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import set_span_in_context

from bext_otel.event_records import Events
from bext_otel.scope import with_enabled
from tests.fresh import fresh


class At(Events):
    """Of a provider that is not the process's."""

    def __init__(self, provider: LoggerProvider) -> None:
        self._logger = with_enabled(provider.get_logger("shop.orders", "3", "https://schema/1"))


@pytest.fixture
def kept() -> InMemoryLogRecordExporter:
    return InMemoryLogRecordExporter()


@pytest.fixture
def log(kept: InMemoryLogRecordExporter) -> Iterator[Events]:
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    yield At(provider)
    provider.shutdown()


@pytest.mark.parametrize("severity", ["trace", "debug", "info", "warn", "error", "fatal"])
def test_each_method_is_a_severity(log: Events, kept: InMemoryLogRecordExporter, severity: str) -> None:
    getattr(log, severity)("order.placed", {"order.id": 7, "items": [1, 2]}, body="placed")
    (record,) = (each.log_record for each in kept.get_finished_logs())
    assert (SeverityNumber[severity.upper()], severity.upper()) == (
        record.severity_number,
        record.severity_text,
    )
    assert ("order.placed", "placed") == (record.event_name, record.body)
    assert {"order.id": 7, "items": (1, 2)} == dict(record.attributes or {})
    assert record.timestamp == record.observed_timestamp


def test_an_exception_and_a_span_are_told(log: Events, kept: InMemoryLogRecordExporter) -> None:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("t").start_span("work")
    error = OSError("no card")
    log.emit(SeverityNumber.ERROR2, "payment.failed", exception=error, context=set_span_in_context(span))
    (record,) = (each.log_record for each in kept.get_finished_logs())
    assert SeverityNumber.ERROR2 is record.severity_number
    assert span.get_span_context().span_id == record.span_id
    assert ("OSError", "no card") == tuple(
        (record.attributes or {})[f"exception.{fact}"] for fact in ("type", "message")
    )


def test_what_nobody_wants_is_not_made() -> None:
    class Nobody(LogRecordProcessor):
        def on_emit(self, log_record: Any) -> None:
            raise AssertionError

        def enabled(self, **_: Any) -> bool:
            return False

        def shutdown(self) -> None:
            pass

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return True

    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(Nobody())
    log = At(provider)
    assert not log.enabled("order.priced", severity=SeverityNumber.DEBUG)
    log.info("order.placed")


def test_without_a_provider_it_costs_nothing_and_says_nothing() -> None:
    log = Events("shop.orders")
    if isinstance(_logs.get_logger_provider(), LoggerProvider):
        pytest.skip("another test has set a provider")
    log.info("order.placed")
    assert isinstance(log.enabled("order.placed"), bool)


def test_the_name_is_a_function_however_often_it_is_asked_for(tmp_path: Path) -> None:
    shown, _ = fresh(
        """
        import bext_otel
        show([bext_otel.events(name).enabled() for name in ("shop", "shop", "other")])
        """,
        tmp_path,
    )
    assert 3 == len(shown)
