"""The specification's rows on exporters of metrics that hang, and on what an export may take."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fresh import fresh

HANGING = """
import threading
import bext_otel
from opentelemetry import metrics
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExporter, MetricExportResult

never = threading.Event()
limits = []

class Hangs(MetricExporter):
    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        limits.append(timeout_millis)
        never.wait()
        return MetricExportResult.SUCCESS
    def force_flush(self, timeout_millis=10_000):
        return True
    def shutdown(self, timeout_millis=30_000, **kwargs):
        never.wait()

class Answers(MetricExporter):
    told, ended = [], 0
    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        Answers.told += [metric.name for resource in metrics_data.resource_metrics for scope in resource.scope_metrics
                         for metric in scope.metrics]
        return MetricExportResult.SUCCESS
    def force_flush(self, timeout_millis=10_000):
        return True
    def shutdown(self, timeout_millis=30_000, **kwargs):
        Answers.ended += 1

class HangingReader(InMemoryMetricReader):
    def force_flush(self, timeout_millis=10_000):
        never.wait()

bext_otel.configure(exporters=[Hangs(), Answers()] if MODE != "reader" else [Answers()],
                    metric_readers=[HangingReader()] if MODE == "reader" else [],
                    telemetry={"shutdown_timeout_seconds": 1})
metrics.get_meter("shop").create_counter("shop.sold").add(1)
provider = metrics.get_meter_provider()
flushed = [provider.force_flush(400), provider.force_flush(100)]
told = "shop.sold" in Answers.told
provider.shutdown(400)
show([flushed, told, Answers.ended, sorted(limits)[:1]])
import os, sys
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.specification(
    "Beyond the rows", "Metrics SDK: ForceFlush tells that an export failed or timed out"
)
@pytest.mark.specification(
    "Metrics",
    "The metrics Exporter `ForceFlush` can inform the caller whether it succeeded, failed or timed out.",
    "The metrics Exporter `shutdown` function do not block indefinitely.",
)
@pytest.mark.parametrize(("hangs", "limits"), [("exporter", [400.0]), ("reader", [])])
def test_what_hangs_keeps_neither_the_caller_nor_others_from_their_end(
    tmp_path: Path, hangs: str, limits: list[float]
) -> None:
    shown, _ = fresh(HANGING.replace("MODE", repr(hangs)), tmp_path, OTEL_METRICS_EXPORTER="none")
    assert [[False, False], True, 1, limits] == shown


PATIENT = """
import time
import bext_otel
from opentelemetry import metrics
runs = bext_otel.configure()
metrics.get_meter("shop").create_counter("shop.sold").add(1)
(delivery,) = [each for each in runs._deliveries if each.signal == "metrics"]
# Whoever sends by itself comes to an end, and so does who asks for it.
while not delivery.failing:
    time.sleep(0.02)
show([metrics.get_meter_provider().force_flush(120_000), delivery.exported])
import os, sys
sys.stdout.flush()
os._exit(0)
"""


@contextmanager
def silent() -> Iterator[str]:
    """A backend that takes requests and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.specification("Environment Variables", "OTEL_METRIC_EXPORT_TIMEOUT")
@pytest.mark.specification("Metrics", "The metrics Exporter `export` function does not block indefinitely.")
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_an_export_takes_no_longer_than_the_variable_says(tmp_path: Path, protocol: str) -> None:
    """Though the exporter itself would try for two minutes, and the caller wait for as long: a program that
    does is ended after one."""
    variables: dict[str, Any] = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "120",
        "OTEL_METRIC_EXPORT_INTERVAL": "100",
        "OTEL_METRIC_EXPORT_TIMEOUT": "200",
    }
    with silent() as address:
        shown, _ = fresh(PATIENT, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{address}", **variables)
    assert [False, 0] == shown
