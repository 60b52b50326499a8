"""Parts that a program hands to `configure()`: each where it belongs, and what is none is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from bext_otel.errors import ConfigError
from bext_otel.export.given import given
from tests.fresh import fresh
from tests.versions import since


def test_exporters_go_to_their_signals() -> None:
    spans, logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
    found = given(exporters=iter([logs, spans]))
    assert ((spans,), (), (logs,)) == (found.span_exporters, found.metrics.exporters, found.log_exporters)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"span_processors": [InMemorySpanExporter()]},
            "span_processors: a InMemorySpanExporter is no SpanProcessor",
        ),
        (
            {"log_record_processors": [SpanProcessor()]},
            "log_record_processors: a SpanProcessor is no LogRecordProcessor",
        ),
        ({"views": ["orders"]}, "views: a str is no View of opentelemetry.sdk"),
        ({"metric_readers": [print]}, "metric_readers: a builtin_function_or_method is no MetricReader"),
        ({"sampler": "always_on"}, "sampler: a str is no Sampler"),
        ({"id_generator": ALWAYS_ON}, "id_generator: a StaticSampler is no IdGenerator"),
        (
            {"exporters": [InMemorySpanExporter]},
            "exporters: the class InMemorySpanExporter is no SpanExporter or a",
        ),
        ({"tracer_configurator": 5}, "tracer_configurator=a int: expected a function"),
    ],
)
def test_what_is_no_such_part_is_refused(parts: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        given(**parts)


def test_a_part_that_is_refused_sets_nothing_up(tmp_path: Path) -> None:
    shown, lines = fresh(
        """
        import bext_otel
        from bext_otel.errors import ConfigError
        try:
            bext_otel.configure(sampler="always_on")
        except ConfigError as error:
            show([str(error), bext_otel.running() is None])
        """,
        tmp_path,
    )
    assert ["sampler: a str is no Sampler of opentelemetry.sdk", True] == shown
    assert [] == lines


LATER = """
import bext_otel
from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.trace import SpanProcessor

heard = []

class Spans(SpanProcessor):
    def on_end(self, span): heard.append(span.name)
    def force_flush(self, timeout_millis=30000): heard.append("flush spans")
    def shutdown(self): heard.append("end spans")

class Records(LogRecordProcessor):
    def on_emit(self, log_record): heard.append(log_record.log_record.body)
    def force_flush(self, timeout_millis=30000): heard.append("flush records")
    def shutdown(self): heard.append("end records")

runs = bext_otel.configure()
tracer = trace.get_tracer("shop")
trace.get_tracer_provider().add_span_processor(Spans())
_logs.get_logger_provider().add_log_record_processor(Records())
tracer.start_span("work").end()
_logs.get_logger("shop").emit(body="sold")
flushed = runs.flush()
runs.shutdown()
tracer.start_span("too late").end()
show([flushed, sorted(heard)])
"""


@since(42, "an order of its own in which processors end")
@pytest.mark.parametrize("engine", ["bext", "upstream"])
@pytest.mark.specification(
    "Beyond the rows",
    "Trace SDK: processors that are added later are flushed and shut down with the provider",
)
def test_processors_that_are_added_later_are_flushed_and_shut_down_once(tmp_path: Path, engine: str) -> None:
    shown, _ = fresh(LATER, tmp_path, BEXT_TELEMETRY_ENGINE=engine, BEXT_LOGGING_OUTPUT="none")
    flushed, heard = shown
    assert flushed is True
    expected = ["end records", "end spans", "flush records", "flush spans", "sold", "work"]
    assert expected == [each for each in heard if each != "too late" or engine == "bext"]


HANGING = """
import threading, time
import bext_otel
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor

heard = []

class Hangs(SpanProcessor):
    def force_flush(self, timeout_millis=30000): threading.Event().wait(60)
    def shutdown(self): threading.Event().wait(60)

class Hears(SpanProcessor):
    def shutdown(self): heard.append("end")

runs = bext_otel.configure(span_processors=[Hangs(), Hears()], telemetry={"shutdown_timeout_seconds": 1})
began = time.monotonic()
flushed = trace.get_tracer_provider().force_flush(200)
runs.shutdown()
show([flushed, heard, time.monotonic() - began < 20])
"""


@pytest.mark.specification(
    "Beyond the rows",
    "Trace SDK: ForceFlush and Shutdown of processors and exporters do not block indefinitely",
)
def test_a_processor_that_hangs_keeps_no_other_from_its_end(tmp_path: Path) -> None:
    shown, _ = fresh(HANGING, tmp_path)
    assert [False, ["end"], True] == shown


RAISING = """
import bext_otel
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor

heard = []

class Raises(SpanProcessor):
    def on_start(self, span, parent_context=None): raise RuntimeError("start")
    def on_ending(self, span): raise RuntimeError("ending")
    def on_end(self, span): raise RuntimeError("end")

class Hears(SpanProcessor):
    def on_start(self, span, parent_context=None): heard.append("start")
    def _on_ending(self, span): heard.append("ending")
    def on_end(self, span): heard.append("end")

bext_otel.configure(span_processors=[Raises(), Hears()])
trace.get_tracer("shop").start_span("work").end()
show(heard)
"""


@pytest.mark.specification(
    "Beyond the rows",
    "Error handling: nothing that a user's part raises reaches the application",
)
def test_a_processor_that_raises_keeps_no_other_from_being_called(tmp_path: Path) -> None:
    shown, lines = fresh(RAISING, tmp_path)
    assert ["start", "ending", "end"] == shown
    assert ["start", "ending", "end"] == [line["message"].split(": ")[-1].split(";")[0] for line in lines]


def test_a_second_call_that_brings_parts_is_told(tmp_path: Path) -> None:
    _, (line,) = fresh(
        """
        import bext_otel
        from opentelemetry.sdk.trace import SpanProcessor
        bext_otel.configure()
        bext_otel.configure(span_processors=[SpanProcessor()])
        show(None)
        """,
        tmp_path,
    )
    assert "these settings are ignored" in line["message"]


HOLDING = """
import bext_otel, time
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

answers = {"value": True}

def flush(self, timeout_millis=30000):
    self.flushed = getattr(self, "flushed", 0) + 1
    if answers["value"] is None:
        time.sleep(30)
    if answers["value"] == "raise":
        raise OSError("the disk is away")
    return answers["value"]

class Spans(InMemorySpanExporter): force_flush = flush
class Logs(InMemoryLogRecordExporter): force_flush = flush
class Metrics(MetricExporter):
    def export(self, metrics_data, timeout_millis=10000, **kwargs): return MetricExportResult.SUCCESS
    def shutdown(self, timeout_millis=30000, **kwargs): pass
    force_flush = flush

held = [Spans(), Metrics(), Logs()]
bext_otel.configure(exporters=held)
trace.get_tracer("shop").start_span("work").end()
metrics.get_meter("shop").create_counter("orders").add(1)
_logs.get_logger("shop").emit(body="work")
providers = trace.get_tracer_provider(), metrics.get_meter_provider(), _logs.get_logger_provider()
told = []
# The SDK's periodic reader waits for as long as its exporter takes.
hanging = () if bext_otel.running().config.telemetry.engine == "upstream" else (None,)
for answers["value"] in (True, False, "raise", *hanging):
    told.append([bool(provider.force_flush(1000)) for provider in providers])
show([told, [exporter.flushed for exporter in held]])
import os, sys
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.parametrize(
    "engine", ["bext", pytest.param("upstream", marks=since(42, "processors that flush their exporters"))]
)
def test_what_an_exporter_holds_back_is_flushed_with_its_provider(tmp_path: Path, engine: str) -> None:
    """Once all is sent, too; one that says no, raises or hangs is told of, in time."""
    (told, flushed), _ = fresh(HOLDING, tmp_path, BEXT_TELEMETRY_ENGINE=engine)
    # The SDK's periodic reader does not look at what an exporter's flush says.
    by_metrics = [False, False, False] if engine == "bext" else [True, True]
    assert [[True] * 3, *[[False, metrics, False] for metrics in by_metrics]] == told
    assert [1 + len(by_metrics)] * 3 == flushed


def test_an_aggregation_that_an_exporter_alone_prefers_is_one_line(tmp_path: Path) -> None:
    _, lines = fresh(
        """
        import bext_otel
        from opentelemetry.sdk.metrics import Histogram
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
        from opentelemetry.sdk.metrics.view import SumAggregation
        summing = ConsoleMetricExporter(preferred_aggregation={Histogram: SumAggregation()})
        bext_otel.configure(exporters=[summing])
        show(None)
        """,
        tmp_path,
    )
    (told,) = [line["message"] for line in lines if "prefers is passed over" in line["message"]]
    assert "metric_readers=[PeriodicExportingMetricReader(...)]" in told
