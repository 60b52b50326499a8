"""The specification's rows on telemetry about telemetry: each metric by the semantic conventions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.specification.programs import Run, attributes, running

PROGRAM = """
import bext_otel
from opentelemetry import _logs, metrics, trace
runs = bext_otel.configure()
with trace.get_tracer("shop").start_as_current_span("work"):
    _logs.get_logger("shop").emit(body="sold")
    metrics.get_meter("shop").create_counter("sold").add(1)
    runs.flush()
    runs.flush()
runs.shutdown()
show(None)
"""

PROCESSOR = {"otel.component.name", "otel.component.type"}
EXPORTER = PROCESSOR | {"server.address", "server.port"}
# Kind (a sum that only grows, one that also shrinks, a histogram), unit, and attributes that are always there.
EXPECTED: dict[str, tuple[str, str, set[str]]] = {
    "otel.sdk.span.live": ("updown", "{span}", {"otel.span.sampling_result"}),
    "otel.sdk.span.started": ("counter", "{span}", {"otel.span.sampling_result", "otel.span.parent.origin"}),
    "otel.sdk.processor.span.queue.size": ("updown", "{span}", PROCESSOR),
    "otel.sdk.processor.span.queue.capacity": ("updown", "{span}", PROCESSOR),
    "otel.sdk.processor.span.processed": ("counter", "{span}", PROCESSOR),
    "otel.sdk.exporter.span.inflight": ("updown", "{span}", EXPORTER),
    "otel.sdk.exporter.span.exported": ("counter", "{span}", EXPORTER),
    "otel.sdk.log.created": ("counter", "{log_record}", set()),
    "otel.sdk.processor.log.queue.size": ("updown", "{log_record}", PROCESSOR),
    "otel.sdk.processor.log.queue.capacity": ("updown", "{log_record}", PROCESSOR),
    "otel.sdk.processor.log.processed": ("counter", "{log_record}", PROCESSOR),
    "otel.sdk.exporter.log.inflight": ("updown", "{log_record}", EXPORTER),
    "otel.sdk.exporter.log.exported": ("counter", "{log_record}", EXPORTER),
    "otel.sdk.exporter.metric_data_point.inflight": ("updown", "{data_point}", EXPORTER),
    "otel.sdk.exporter.metric_data_point.exported": ("counter", "{data_point}", EXPORTER),
    "otel.sdk.metric_reader.collection.duration": ("histogram", "s", PROCESSOR),
    "otel.sdk.exporter.operation.duration": ("histogram", "s", EXPORTER | {"http.response.status_code"}),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[str, str, set[str]]]]:
    with running(PROGRAM, tmp_path_factory.mktemp("own")) as run:
        yield {metric.name: described(metric) for metric in metrics_of(run) if metric.name in EXPECTED}


def metrics_of(run: Run) -> Iterator[Any]:
    for message in run.messages:
        for resource in getattr(message, "resource_metrics", ()):
            for scope in resource.scope_metrics:
                yield from scope.metrics


def described(metric: Any) -> tuple[str, str, set[str]]:
    data = getattr(metric, metric.WhichOneof("data"))
    kind = "histogram" if metric.WhichOneof("data") != "sum" else "counter" if data.is_monotonic else "updown"
    always = [set(attributes(point.attributes)) for point in data.data_points]
    return kind, metric.unit, set.intersection(*always) if always else set()


@pytest.mark.specification(
    "Self-observability",
    "otel.sdk.span.live",
    "otel.sdk.span.started",
    "otel.sdk.processor.span.queue.size",
    "otel.sdk.processor.span.queue.capacity",
    "otel.sdk.processor.span.processed",
    "otel.sdk.exporter.span.inflight",
    "otel.sdk.exporter.span.exported",
    "otel.sdk.log.created",
    "otel.sdk.processor.log.queue.size",
    "otel.sdk.processor.log.queue.capacity",
    "otel.sdk.processor.log.processed",
    "otel.sdk.exporter.log.inflight",
    "otel.sdk.exporter.log.exported",
    "otel.sdk.exporter.metric_data_point.inflight",
    "otel.sdk.exporter.metric_data_point.exported",
    "otel.sdk.metric_reader.collection.duration",
    "otel.sdk.exporter.operation.duration",
)
@pytest.mark.parametrize("name", EXPECTED)
def test_each_metric_has_the_kind_the_unit_and_the_attributes_of_the_conventions(
    found: dict[str, tuple[str, str, set[str]]], name: str
) -> None:
    assert EXPECTED[name] == found[name]
