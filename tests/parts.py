"""A package that offers parts by entry points, put into a folder: what a variable may name."""

from __future__ import annotations

from pathlib import Path

__all__ = ["offer"]

MODULE = '''
from opentelemetry import _logs, metrics, trace
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExporter, MetricExportResult
from opentelemetry.sdk.resources import Resource, ResourceDetector
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

made = []

class Spans(InMemorySpanExporter):
    def __init__(self):
        super().__init__()
        made.append(self)

class Logs(InMemoryLogRecordExporter):
    def __init__(self):
        super().__init__()
        made.append(self)

class Metrics(MetricExporter):
    def __init__(self):
        super().__init__()
        self.names = []
        made.append(self)
    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        self.names += [m.name for r in metrics_data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        return MetricExportResult.SUCCESS
    def shutdown(self, timeout_millis=30_000, **kwargs): pass
    def force_flush(self, timeout_millis=10_000): return True

class Count(IdGenerator):
    spans, traces = 0, 0
    def generate_span_id(self):
        self.spans += 1
        return self.spans
    def generate_trace_id(self):
        self.traces += 1
        return self.traces

class Named(Sampler):
    """Keeps spans whose name begins with the argument."""
    def __init__(self, argument):
        self.beginning = argument or ""
    def should_sample(self, parent_context, trace_id, name, *args, **kwargs):
        inner = ALWAYS_ON if name.startswith(self.beginning) else ALWAYS_OFF
        return inner.should_sample(parent_context, trace_id, name, *args, **kwargs)
    def get_description(self): return "named"

class Tracers(trace.NoOpTracerProvider): pass
class Meters(metrics.NoOpMeterProvider): pass
class Loggers(_logs.NoOpLoggerProvider): pass

class Own(TextMapPropagator):
    fields = set()
    def extract(self, carrier, context=None, getter=None): return context
    def inject(self, carrier, context=None, setter=None): carrier["own"] = "1"

class Detector(ResourceDetector):
    def detect(self): return Resource({"shop.shelf": "4"})

class Quiet:
    is_enabled = False

class Heard:
    is_enabled = True

def quiet_shop(scope):
    return Quiet() if scope.name == "shop" else Heard()

def fails(*args):
    raise OSError("no licence")
'''

ENTRY_POINTS = """
[opentelemetry_traces_exporter]
shop = shop_parts:Spans
shop_broken = shop_parts:fails
shop_wrong = shop_parts:Own
[opentelemetry_metrics_exporter]
shop = shop_parts:Metrics
shop_reader = shop_parts:InMemoryMetricReader
[opentelemetry_logs_exporter]
shop = shop_parts:Logs
[opentelemetry_id_generator]
shop = shop_parts:Count
shop_wrong = shop_parts:Own
[opentelemetry_traces_sampler]
shop = shop_parts:Named
shop_broken = shop_parts:fails
[opentelemetry_tracer_provider]
shop = shop_parts:Tracers
shop_broken = shop_parts:fails
[opentelemetry_meter_provider]
shop = shop_parts:Meters
[opentelemetry_logger_provider]
shop = shop_parts:Loggers
[opentelemetry_propagator]
shop = shop_parts:Own
shop_broken = shop_parts:fails
xray = shop_parts:Own
[_opentelemetry_tracer_configurator]
shop = shop_parts:quiet_shop
shop_broken = shop_parts:no_such_thing
[_opentelemetry_meter_configurator]
shop = shop_parts:quiet_shop

[_opentelemetry_logger_configurator]
shop = shop_parts:quiet_shop
[opentelemetry_resource_detector]
shop = shop_parts:Detector
shop_broken = shop_parts:fails
"""


def offer(folder: Path) -> None:
    """Install the package into `folder`, which a program that runs there has on its path."""
    (folder / "shop_parts.py").write_text(MODULE)
    info = folder / "shop_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-parts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
