"""One line when a backend goes away, one when it is back, and every item counted."""

from __future__ import annotations

import logging

import pytest
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from bext_otel.export.delivery import Delivery, listen_to_exporters
from bext_otel.testing import Clock


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "bext_otel.export"]


def test_an_outage_is_one_line_that_says_what_and_where(caplog: pytest.LogCaptureFixture) -> None:
    delivery = Delivery("traces", "http://127.0.0.1:4318/v1/traces")
    for _ in range(5):
        delivery.lost(10, "connection refused")
    (line,) = lines(caplog)
    assert "traces to http://127.0.0.1:4318/v1/traces fails: connection refused" in line
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in line
    assert {
        "spans_queued": 0,
        "spans_exported": 0,
        "spans_dropped": 0,
        "spans_failed": 50,
        "spans_export": "failing",
    } == delivery.figures()


def test_the_end_of_an_outage_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bext_otel.export")
    delivery = Delivery("logs", "here")
    delivery.succeeded(1)
    delivery.lost(1, "gone")
    delivery.succeeded(1)
    delivery.succeeded(1)
    assert 2 == len(lines(caplog))
    assert "export of logs to here works again; log records dropped meanwhile: 1" in lines(caplog)[1]
    figures = delivery.figures()
    assert (3, 1, "ok") == (
        figures["log_records_exported"],
        figures["log_records_failed"],
        figures["log_records_export"],
    )


EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            ["Failed to export traces batch code: 400, reason: Bad Request"],
            "Failed to export traces batch code: 400, reason: Bad Request",
        ),
        (
            [
                (
                    "Transient error Service Unavailable encountered while exporting traces batch, retrying in "
                    "1.02s."
                ),
                "Failed to export traces batch due to timeout, max retries or shutdown.",
            ],
            "Service Unavailable",
        ),
        (
            [
                (
                    "Transient error Max retries exceeded with url: /v1/traces (Caused by NewConnectionError("
                    '"Failed to establish a new connection: [Errno 111] Connection refused")) '
                    "encountered while exporting traces batch, retrying in 1.02s."
                )
            ],
            "Connection refused",
        ),
        (
            [
                (
                    "Transient error StatusCode.UNAVAILABLE encountered while exporting traces to a:1, retrying "
                    "in 1s. Error details: refused"
                ),
                "Shutdown in progress, aborting retry.",
            ],
            "StatusCode.UNAVAILABLE: refused",
        ),
    ],
)
def test_what_upstreams_exporter_said_is_the_reason(
    caplog: pytest.LogCaptureFixture, said: list[str], expected: str
) -> None:
    """Above all why it had to try again."""
    listen_to_exporters()
    delivery = Delivery("traces", "here")

    def export() -> bool:
        for text in said:
            logging.getLogger(EXPORTER).warning("%s", text)
        return False

    assert not delivery.attempt(1, export)
    (line,) = lines(caplog)
    assert f"fails: {expected}; the application goes on" in line
    assert [] == [record for record in caplog.records if record.name == EXPORTER]
    assert not delivery.attempt(1, lambda: False)
    assert "" == delivery.reason, "each export has its own"


def test_an_attempt_counts_what_is_on_its_way_and_how_long_it_took() -> None:
    delivery = Delivery("metrics", "here")
    seen = []

    def export() -> bool:
        seen.append(
            (delivery.inflight, delivery.figures()["metric_points_queued"], is_instrumentation_enabled())
        )
        return True

    assert delivery.attempt(7, export)
    assert [(7, 7, False)] == seen
    assert (0, 7, 0) == (delivery.inflight, delivery.exported, delivery.failed)
    ((seconds, cause, _),) = delivery.durations
    assert (True, "") == (seconds >= 0, cause)


def test_an_exporter_that_raises_is_a_failure_of_that_kind() -> None:
    delivery = Delivery("traces", "here")
    assert not delivery.attempt(3, lambda: bool(1 // 0))
    assert {"ZeroDivisionError": 3} == delivery.failures
    assert ["ZeroDivisionError"] == [cause for _, cause, _ in delivery.durations]


def test_a_failure_without_a_name_is_other() -> None:
    delivery = Delivery("traces", "here")
    assert not delivery.attempt(3, lambda: False)
    assert {"_OTHER": 3} == delivery.failures


def test_causes_of_failure_are_bounded() -> None:
    delivery = Delivery("traces", "here")
    for number in range(100):

        def export(cause: str = f"cause-{number}") -> bool:
            delivery.explain(cause)
            return False

        delivery.attempt(1, export)
    assert 33 == len(delivery.failures)
    assert (100, 68) == (delivery.failed, delivery.failures["_OTHER"])


def test_what_the_backend_rejects_is_failed_and_the_rest_exported(caplog: pytest.LogCaptureFixture) -> None:
    delivery = Delivery("traces", "here")

    def export() -> bool:
        delivery.rejected(2, "too old")
        return True

    assert delivery.attempt(5, export)
    assert delivery.attempt(5, export)
    assert (6, {"rejected": 4}, False) == (delivery.exported, delivery.failures, delivery.failing)
    (line,) = lines(caplog)
    assert "too old" in line


def test_a_loss_is_recent_for_its_time() -> None:
    clock = Clock(1000.0)
    delivery = Delivery("traces", "here", clock=clock)
    assert not delivery.lost_within(60)
    delivery.lost(1, "gone")
    clock.advance(59)
    assert delivery.lost_within(60)
    clock.advance(2)
    assert not delivery.lost_within(60)
    delivery.queue.drop_items(1)
    assert delivery.lost_within(60)


@pytest.mark.parametrize(
    ("endpoint", "component", "expected"),
    [
        ("http://collector:4318/v1/traces", "otlp_http_span_exporter", ("collector", 4318)),
        ("https://collector/v1/traces", "otlp_http_span_exporter", ("collector", 443)),
        ("http://collector", "otlp_http_span_exporter", ("collector", 80)),
        ("http://collector", "otlp_grpc_span_exporter", ("collector", 443)),
        ("collector:4317", "otlp_grpc_span_exporter", ("collector", 4317)),
        ("http://[::1]:4318/v1/traces", "otlp_http_span_exporter", ("::1", 4318)),
        ("console", "", ("", None)),
        ("http://[::1", "otlp_http_span_exporter", ("", None)),
    ],
)
def test_where_it_goes_is_an_address_and_a_port(
    endpoint: str, component: str, expected: tuple[str, int | None]
) -> None:
    delivery = Delivery("traces", endpoint, component=component)
    assert expected == (delivery.address, delivery.port)


def test_a_forked_child_has_delivered_nothing_yet() -> None:
    delivery = Delivery("traces", "here")
    delivery.attempt(2, lambda: True)
    delivery.attempt(2, lambda: False)
    delivery.queue.drop_items(1)
    delivery.reset()
    assert {
        "spans_queued": 0,
        "spans_exported": 0,
        "spans_dropped": 0,
        "spans_failed": 0,
        "spans_export": "trying",
    } == delivery.figures()
    assert not delivery.lost_within(60)


@pytest.mark.parametrize(
    ("said", "component", "expected"),
    [
        (
            "('Connection aborted.', BadStatusLine('\\x00\\x00\\x18\\x04\\x00'))",
            "",
            "this port speaks gRPC: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or use port 4318",
        ),
        # What `http.client` says, which has the line itself for its text.
        ("\x00\x00\x18\x04\x00", "", "this port speaks gRPC"),
        ("\x15\x03\x03\x00\x02\x02F", "", "this port speaks TLS"),
        (
            "UNAVAILABLE: Failed parsing HTTP/2 (Expected SETTINGS frame as the first frame, got frame type 79)",
            "",
            "this port speaks HTTP: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or use port 4317",
        ),
        ("('Connection aborted.', BadStatusLine('\\x15\\x03\\x01\\x00'))", "", "this port speaks TLS"),
        (
            "SSLError(1, '[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)')",
            "",
            "speaks no TLS",
        ),
        ("", "otlp_grpc_span_exporter", "no answer; if this port speaks HTTP, set"),
        ("", "otlp_http_span_exporter", "no reason given"),
    ],
)
def test_a_wrong_protocol_is_told_in_words(
    caplog: pytest.LogCaptureFixture, said: str, component: str, expected: str
) -> None:
    delivery = Delivery("traces", "http://127.0.0.1:4317", component=component)

    def export() -> bool:
        if said:
            delivery.hear(said)
        return False

    delivery.attempt(1, export)
    (line,) = lines(caplog)
    assert expected in line
    assert "x00" not in line


def test_nobody_knows_until_the_first_answer() -> None:
    delivery = Delivery("traces", "here")
    assert "trying" == delivery.figures()["spans_export"]
    delivery.attempt(1, lambda: True)
    assert "ok" == delivery.figures()["spans_export"]
    delivery.attempt(1, lambda: False)
    assert "failing" == delivery.figures()["spans_export"]
