"""`engine = "upstream"`: the SDK's metrics by the specification's names, read through the same snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource
from prometheus_client import REGISTRY

from bext_otel.catalogue import METRICS, PLUGIN_FUEL_CONSUMED, Metric
from bext_otel.endpoints.formats import text
from bext_otel.export.upstream_engine import UpstreamReader, build_upstream
from bext_otel.measuring import _Instruments
from bext_otel.metrics.snapshot import Histogram
from tests.fresh import fresh


@pytest.fixture
def engine() -> Iterator[tuple[_Instruments, UpstreamReader]]:
    before = set(REGISTRY._collector_to_names)
    provider, reading = build_upstream(Resource({}), [], 60.0, {}, dict)
    yield _Instruments(provider, units=False), reading
    provider.shutdown()
    for collector in set(REGISTRY._collector_to_names) - before:
        REGISTRY.unregister(collector)


def record(instruments: _Instruments, row: Metric) -> None:
    values = tuple((label.values or ("x",))[0] for label in row.labels)
    instruments.handle(row, values)(3)


@pytest.mark.parametrize(
    "row", [row for row in METRICS if row is not PLUGIN_FUEL_CONSUMED], ids=lambda row: row.exported
)
def test_names_hold(engine: tuple[_Instruments, UpstreamReader], row: Metric) -> None:
    instruments, reading = engine
    record(instruments, row)
    family = reading.snapshot().family(row)
    if row.name.startswith("http."):  # without a unit on the instrument its name is the view's
        family = family or next(f for f in reading.snapshot().families if f.name == row.exported)
    assert family is not None
    (point,) = family.points
    assert 3 == (point.value.sum if isinstance(point.value, Histogram) else point.value)


def test_fuel_gains_a_total_which_is_why_this_engine_is_not_the_default(
    engine: tuple[_Instruments, UpstreamReader],
) -> None:
    instruments, reading = engine
    record(instruments, PLUGIN_FUEL_CONSUMED)
    assert "bext_plugin_fuel_consumed_total" in {family.name for family in reading.snapshot().families}


def test_the_resource_rivals_nobody(
    engine: tuple[_Instruments, UpstreamReader], caplog: pytest.LogCaptureFixture
) -> None:
    """Upstream's page tells of it, and so does ours."""
    text.render(engine[1].snapshot())
    assert "target" not in {family.name for family in engine[1].snapshot().families}
    assert [] == caplog.records


def test_its_text_is_rendered_by_the_same_face(engine: tuple[_Instruments, UpstreamReader]) -> None:
    instruments, reading = engine
    for row in METRICS:
        record(instruments, row)
    lines = text.render(reading.snapshot()).decode().splitlines()
    assert 'bext_requests_total{app="x",method="GET",route="x",status="100"} 3' in {
        line.removesuffix(".0") for line in lines
    }


def test_views_and_readers_of_the_application_are_the_sdks_own_there() -> None:
    before, reader = set(REGISTRY._collector_to_names), InMemoryMetricReader()
    view = View(instrument_name="orders", attribute_keys={"kind"})
    provider, _ = build_upstream(Resource({}), [], 60.0, {}, dict, [view], [reader])
    provider.get_meter("shop").create_counter("orders").add(2, {"kind": "tea", "customer": 7})
    data = reader.get_metrics_data()
    assert data is not None
    (point,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert ({"kind": "tea"}, 2) == (point.attributes, point.value)  # type: ignore[union-attr]  # a number
    provider.shutdown()
    for collector in set(REGISTRY._collector_to_names) - before:
        REGISTRY.unregister(collector)


def test_what_the_sdk_has_not_is_one_line(tmp_path: Path) -> None:
    _, (line,) = fresh(
        """
        import bext_otel
        from bext_otel.metrics.producers import MetricFilter, Verdict
        class All(MetricFilter):
            def test_metric(self, *about):
                return Verdict.ACCEPT
        bext_otel.configure(telemetry={"engine": "upstream"}, metric_filter=All())
        show(None)
        """,
        tmp_path,
    )
    assert "metric_filter are passed over" in line["message"]
