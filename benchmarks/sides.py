"""What the contestants of the benchmarks set up: ours, upstream's, and what only counts requests.

Spans become requests of OTLP on both sides, and are thrown away then: nothing waits for a network.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["Nowhere", "counted", "dropping_exporter", "encoding_processor", "ours", "peer_of", "upstream"]

_PEERS = {"asgi": "prometheus_fastapi_instrumentator", "flask": "prometheus_flask_exporter"}


class Nowhere:
    """Takes requests, and counts what is in them."""

    def __init__(self) -> None:
        self.items = 0

    def take(self, content: bytes, items: int) -> bool:
        assert content
        self.items += items
        return True


def dropping_exporter(signal: str, nowhere: Nowhere) -> Any:
    """Our exporter of `traces` or `logs` with nobody at the other end."""
    from bext_otel.export.delivery import Delivery
    from bext_otel.export.origins import Encoded, Origins
    from bext_otel.export.otlp import EncodedExporter

    class Dropping(EncodedExporter):
        def __init__(self) -> None:
            self.delivery, self.origins = Delivery(signal, "nowhere"), Origins()  # type: ignore[arg-type]  # one of the two

        def export(self, batch: Sequence[Encoded]) -> bool:
            return nowhere.take(self.origins.request(batch), len(batch))

        def shutdown(self) -> None:
            pass

    return Dropping()


def encoding_processor(nowhere: Nowhere) -> Any:
    """Upstream's batch processor with upstream's encoder, and nobody at the other end."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Encoding(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            nowhere.take(encode_spans(spans).SerializeToString(), len(spans))
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None:
            pass

    return BatchSpanProcessor(Encoding())


def ours(*, lines: bool = False, sampled: bool = True, export: bool = True) -> Any:
    """Set bext-otel up, as a service has it that is scraped; its lines go to a file. The runtime."""
    from bext_otel import configure
    from bext_otel.export.traces import encoded_batches

    if not sampled:
        os.environ["OTEL_TRACES_SAMPLER"] = "always_off"
    runtime = configure(
        instrument=False,
        metrics={"host": "127.0.0.1", "port": 0, "mount": True},
        logging={
            "requests": lines,
            "output": "file",
            "file_path": str(Path(tempfile.mkdtemp(prefix="bext-otel-bench-")) / "lines.log"),
        },
        telemetry={"service_name": "shop"},
    )
    if export:
        batches, sink = encoded_batches(dropping_exporter("traces", Nowhere()))
        provider: Any = runtime.tracer_provider
        provider.add_sink(sink, batches)
    return runtime


def upstream() -> None:
    """The SDK's providers, with a batch processor and a reader for Prometheus."""
    from opentelemetry import metrics, trace
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider()
    provider.add_span_processor(encoding_processor(Nowhere()))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider(metric_readers=[PrometheusMetricReader()]))


def peer_of(framework: str) -> str | None:
    """The package that counts requests of `asgi` or `flask` applications and does nothing else; None where it
    is not installed."""
    return _PEERS[framework] if find_spec(_PEERS[framework]) is not None else None


def counted(framework: str, app: Any) -> Any:
    """`app` with its requests counted by that package."""
    package: Any = import_module(_PEERS[framework])
    if framework == "asgi":
        package.Instrumentator().instrument(app)
    else:
        package.PrometheusMetrics(app)
    return app
