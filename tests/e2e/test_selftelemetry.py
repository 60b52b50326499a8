"""A whole process tells how its telemetry fares: on /metrics, in JSON and in its health."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e.launching import samples
from tests.e2e.otlp import receiving, receiving_grpc

pytestmark = pytest.mark.e2e

# Three spans and a log record, all exported or given up; then what the three faces say.
PROGRAM = """
import json, logging
from opentelemetry import _logs, metrics, trace
from bext_otel import configure

runtime = configure(logging={"output": "none"}, telemetry={"token": "t"})
for _ in range(3):
    trace.get_tracer("t").start_span("s").end()
logging.getLogger("shop").warning("hello")
trace.get_tracer_provider().force_flush()
_logs.get_logger_provider().force_flush()
metrics.get_meter_provider().force_flush()

def said(path, query=""):
    return runtime.endpoints.reply("GET", path, query, {}, trusted=True).body.decode()

telemetry = json.loads(said("/metrics", "format=json"))["telemetry"]
print(json.dumps([said("/metrics"), telemetry, json.loads(said("/health"))]), flush=True)
"""


def said(**environment: str) -> tuple[dict[str, float], dict[str, Any], dict[str, Any]]:
    """Samples of /metrics, `telemetry` of the JSON document, and the telemetry check."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "BEXT_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page, telemetry, health = json.loads(done.stdout.splitlines()[-1])
    return samples(page), telemetry, health["checks"]["telemetry"]


def of(shown: dict[str, float], name: str, label: str = "") -> float:
    """The sum of the samples of that name whose labels hold `label`."""
    return sum(
        value for sample, value in shown.items() if sample.partition("{")[0] == name and label in sample
    )


@pytest.mark.parametrize(
    ("protocol", "receiver"), [("http/protobuf", receiving), ("grpc", receiving_grpc)], ids=["http", "grpc"]
)
def test_what_arrives_is_told_as_exported(protocol: str, receiver: Any) -> None:
    with receiver() as backend:
        shown, telemetry, check = said(
            OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL=protocol
        )
        assert 3 == len(backend.spans())
    assert "healthy" == check["status"]
    states = ("queued", "exported", "dropped", "failed")
    assert (0, 3, 0, 0) == tuple(telemetry[f"spans_{state}"] for state in states)
    assert (0, 1, 0, 0) == tuple(telemetry[f"log_records_{state}"] for state in states)
    assert telemetry["metric_points_exported"] > 0
    assert 3 == of(shown, "otel_sdk_span_started_total", 'otel_span_parent_origin="none"')
    assert 3 == of(
        shown, "otel_sdk_processor_span_processed_total", 'otel_component_type="batching_span_processor"'
    )
    assert 3 == of(shown, "otel_sdk_exporter_span_exported_total", 'server_address="127.0.0.1"')
    assert 1 == of(shown, "otel_sdk_log_created_total")
    assert 1 == of(shown, "otel_sdk_exporter_log_exported_total", 'server_address="127.0.0.1"')
    assert telemetry["metric_points_exported"] == of(
        shown, "otel_sdk_exporter_metric_data_point_exported_total"
    )
    assert 65_536 == of(shown, "otel_sdk_processor_span_queue_capacity")
    assert 3 == of(shown, "otel_sdk_exporter_operation_duration_seconds_count")
    assert 1 == of(shown, "otel_sdk_metric_reader_collection_duration_seconds_count")


def test_what_a_backend_refuses_is_told_as_failed_and_the_check_is_degraded() -> None:
    with receiving(status=400) as backend:
        shown, telemetry, check = said(OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint)
    assert ("degraded", "failing", 3) == (check["status"], check["spans_export"], check["spans_failed"])
    assert (0, 3, "failing") == tuple(telemetry[f"spans_{what}"] for what in ("exported", "failed", "export"))
    assert 3 == of(shown, "otel_sdk_exporter_span_exported_total", 'error_type="400"')
    # That an exporter fails is a log record as well.
    assert (
        1
        <= of(shown, "otel_sdk_exporter_log_exported_total", 'error_type="400"')
        == telemetry["log_records_failed"]
    )


def test_what_waits_for_a_backend_that_is_away_is_told_as_queued_and_the_check_is_degraded() -> None:
    _, telemetry, check = said(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_EXPORTER_OTLP_TIMEOUT="0.2"
    )
    assert ("degraded", "failing") == (check["status"], check["spans_export"])
    assert (3, 0, 0) == tuple(telemetry[f"spans_{state}"] for state in ("queued", "exported", "failed"))


def test_what_finds_no_room_is_told_as_dropped_and_the_check_is_degraded() -> None:
    """A queue of one, emptied only when asked to."""
    small = {
        "OTEL_BSP_MAX_QUEUE_SIZE": "1",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "60000",
    }
    shown, telemetry, check = said(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_EXPORTER_OTLP_TIMEOUT="1", **small
    )
    assert "degraded" == check["status"]
    assert telemetry["spans_dropped"] >= 1
    assert telemetry["spans_dropped"] == of(
        shown, "otel_sdk_processor_span_processed_total", 'error_type="queue_full"'
    )
    assert 3 == telemetry["spans_dropped"] + telemetry["spans_failed"] + telemetry["spans_queued"]


def test_the_sdks_own_engine_tells_the_same() -> None:
    with receiving() as backend:
        shown, telemetry, check = said(
            OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint, BEXT_TELEMETRY_ENGINE="upstream"
        )
    assert ("healthy", 3) == (check["status"], telemetry["spans_exported"])
    assert 3 == of(shown, "otel_sdk_span_started_total")
    assert 3 == of(shown, "otel_sdk_exporter_span_exported_total")
