"""An application starts, and tells of itself, whatever upstream has renamed of its inside; one line says what is not as
it was."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.fresh import fresh

# What hides instances' fields, once upstream's own `__init__` has set them.
_HIDE = """
def hide(kind, name):
    made = kind.__init__
    def __init__(self, *args, **kwargs):
        made(self, *args, **kwargs)
        self.__dict__.pop(name, None)
    kind.__init__ = __init__
from opentelemetry.sdk import _logs as sdk_logs, metrics as sdk_metrics, trace as sdk_trace
"""
_SHOP = """
import bext_otel, logging
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
spans, records, reader = InMemorySpanExporter(), InMemoryLogRecordExporter(), InMemoryMetricReader()
runs = bext_otel.configure(exporters=[spans, records], metric_readers=[reader], logging={"level": "info"})
metrics.get_meter("shop").create_counter("sold").add(1)
with trace.get_tracer("shop").start_as_current_span("sell"):
    _logs.get_logger("shop").emit(body="sold one")
    logging.getLogger("shop").info("sold two")
data = reader.get_metrics_data()
sold = [m.name for r in (data.resource_metrics if data else ()) for s in r.scope_metrics for m in s.metrics]
runs.flush()
show({
    "spans": [span.name for span in spans.get_finished_spans()],
    "records": sorted(record.log_record.body for record in records.get_finished_logs() if "sold" in record.log_record.body),
    "sold": "sold" in sold,
})
runs.shutdown()
"""
_INSTRUMENT = "opentelemetry.sdk.metrics._internal.instrument"
_AGGREGATION = "opentelemetry.sdk.metrics._internal.aggregation"


def run(removal: str, folder: Path) -> tuple[dict[str, object], list[str]]:
    """What a shop shows of itself, and what is said of upstream."""
    shown, lines = fresh(_HIDE + dedent(removal) + _SHOP, folder)
    return shown, [str(line["message"]) for line in lines if " has no " in str(line.get("message"))]


ALL = {"spans": ["sell"], "records": ["sold one", "sold two"], "sold": True}


def test_nothing_is_said_where_nothing_is_missing(tmp_path: Path) -> None:
    assert (ALL, []) == run("", tmp_path)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        *((_INSTRUMENT, name) for name in ("_Counter", "_Gauge", "_Histogram", "_ObservableCounter")),
        *((_AGGREGATION, name) for name in ("_SumAggregation", "_ExplicitBucketHistogramAggregation")),
    ],
)
def test_a_name_that_a_module_has_no_more_is_one_line(module: str, name: str, tmp_path: Path) -> None:
    shown, said = run(
        f"import {module} as module\nimport opentelemetry.sdk.metrics\ndel module.{name}\n", tmp_path
    )
    assert ALL == shown
    (line,) = said
    assert f"{module}.{name}" in line


def test_several_that_are_missing_are_one_line(tmp_path: Path) -> None:
    removal = f"import {_INSTRUMENT} as module\ndel module._Counter, module._Histogram\ndel sdk_metrics.view.View._match"
    shown, said = run(
        removal.replace("sdk_metrics.view", "__import__('opentelemetry.sdk.metrics.view').sdk.metrics.view"),
        tmp_path,
    )
    assert ALL == shown
    (line,) = said
    assert all(name in line for name in ("_Counter", "_Histogram", "View._match"))


@pytest.mark.parametrize(
    ("removal", "name"),
    [
        ("del metrics._Gauge", ""),
        ("hide(sdk_trace.Tracer, '_tracer_config')", ""),
        ("hide(sdk_trace.Tracer, '_instrumentation_scope')", ""),
        ("hide(sdk_logs.Logger, '_logger_config')", ""),
        ("hide(sdk_logs.Logger, '_instrumentation_scope')", ""),
        ("hide(sdk_logs.Logger, '_logger_metrics')", ""),
        ("hide(sdk_metrics.Meter, '_meter_config')", ""),
        ("hide(sdk_metrics.Meter, '_instrumentation_scope')", ""),
        ("hide(sdk_metrics.view.View, '_exemplar_reservoir_factory')", ""),
        ("hide(sdk_metrics.view.View, '_attribute_keys')", "View._attribute_keys"),
        ("hide(sdk_metrics.view.View, '_aggregation')", "View._aggregation"),
        (
            "hide(sdk_metrics.export.MetricReader, '_instrument_class_temporality')",
            "_instrument_class_temporality",
        ),
        (
            "hide(sdk_metrics.export.MetricReader, '_instrument_class_aggregation')",
            "_instrument_class_aggregation",
        ),
        ("absent(sdk_trace.TracerProvider, '_update_resource')", ""),
        ("absent(sdk_trace.TracerProvider, '_set_tracer_configurator')", ""),
        ("absent(sdk_logs.LoggerProvider, '_set_logger_configurator')", ""),
        ("absent(sdk_logs.LoggerProvider, '_update_resource')", ""),
        ("absent(sdk_metrics.MeterProvider, '_update_resource')", ""),
        ("absent(__import__('opentelemetry.context').context, '_RUNTIME_CONTEXT', soft=True)", ""),
    ],
)
def test_what_a_class_has_no_more_costs_no_telemetry(removal: str, name: str, tmp_path: Path) -> None:
    """Where everything is as before, nothing is said."""
    removal = (
        "from opentelemetry import metrics\nimport opentelemetry.sdk.metrics.view, opentelemetry.sdk.metrics.export\n"
        "def absent(kind, name, soft=False):\n    if not soft and name in vars(kind): delattr(kind, name)\n"
        + removal
        + "\n"
    )
    shown, said = run(removal, tmp_path)
    assert ALL == shown
    assert [bool(name)] * bool(name) == [name in line for line in said]
