"""One line when a backend goes away, one when it is back, and every item counted."""

from __future__ import annotations

import logging

import pytest

from bext_otel.pipeline.delivery import Delivery, listen_to_exporters


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "bext_otel.export"]


def test_an_outage_is_one_line_that_says_what_and_where(caplog: pytest.LogCaptureFixture) -> None:
    delivery = Delivery("traces", "http://127.0.0.1:4318/v1/traces")
    for _ in range(5):
        delivery.lost(10, "connection refused")
    (line,) = lines(caplog)
    assert "traces to http://127.0.0.1:4318/v1/traces fails: connection refused" in line
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in line
    assert {"traces_exported": 0, "traces_failed": 50, "traces_export": "failing"} == delivery.figures()


def test_the_end_of_an_outage_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bext_otel.export")
    delivery = Delivery("logs", "here")
    delivery.succeeded(1)
    delivery.lost(1, "gone")
    delivery.succeeded(1)
    delivery.succeeded(1)
    assert 2 == len(lines(caplog))
    assert "works again" in lines(caplog)[1]
    assert {"logs_exported": 3, "logs_failed": 1, "logs_export": "ok"} == delivery.figures()


def test_what_upstreams_exporter_said_last_is_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    listen_to_exporters()
    exporter = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    exporter.warning("Transient error %s encountered", "Unavailable")
    Delivery("traces", "here").lost(1)
    (line,) = lines(caplog)
    assert "Transient error Unavailable encountered" in line
    assert [] == [record for record in caplog.records if record.name == exporter.name]
