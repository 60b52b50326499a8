"""Business facts: told in one module, under the catalogue's names, and to nobody while nobody listens."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

import bext_demo
from bext_demo.traffic import KINDS, plan

Labels = tuple[tuple[str, str], ...]


def imports(path: Path) -> set[str]:
    """Top-level packages that a module imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return {name.partition(".")[0] for name in plain | {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}}


def test_only_one_module_knows_of_telemetry() -> None:
    modules = list(Path(bext_demo.__file__).parent.glob("*.py"))
    assert {"facts.py"} == {
        module.name for module in modules if imports(module) & {"bext_otel", "bext_otel_instrumentors", "opentelemetry"}
    }


class Heard:
    """Metrics and spans told while this listens."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._exporter = InMemorySpanExporter()
        self.meters = MeterProvider([self._reader])
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))

    def values(self) -> dict[str, dict[Labels, float]]:
        """Instrument name -> attributes -> a counter's or gauge's value, a histogram's count."""
        data = self._reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: {
                tuple(sorted((point.attributes or {}).items())): getattr(point, "value", getattr(point, "count", 0))
                for point in metric.data.data_points
            }
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def spans(self) -> set[str]:
        return {span.name for span in self._exporter.get_finished_spans()}

    def close(self) -> None:
        self.meters.shutdown()
        self.tracers.shutdown()


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    listener = Heard()
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: listener.meters)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: listener.tracers)
    return listener


def test_the_shortest_full_plan_tells_every_fact(heard: Heard, platform: TestClient) -> None:
    for request in plan(len(KINDS) + 80, seed=7):
        if "/price" not in request.path:
            platform.request(request.method, request.path, headers=dict(request.headers), content=request.body)
    values, spans = heard.values(), heard.spans()
    heard.close()

    assert {"bext.render", "bext.plugin.hook"} <= spans
    assert values["bext.isolate.count"][(("app", "marketing"),)] in {1, 2}
    assert values["bext.isolate.memory"][(("app", "marketing"),)] > 100_000
    assert values["bext.isolate.render.duration"][(("app", "marketing"),)] > 0
    errors = {dict(labels)["error_type"] for labels in values["bext.isolate.errors"]}
    assert {"RenderTimeoutError", "RenderOutOfMemoryError", "RenderScriptError"} == errors
    hooks = {(("hook", hook), ("plugin", "fingerprint")) for hook in ("on_request", "on_response")}
    assert hooks == set(values["bext.plugin.duration"])
    assert {(("hook", "on_request"), ("plugin", "fingerprint"))} == set(values["bext.plugin.errors"])
    assert values["bext.plugin.fuel.consumed"][(("plugin", "fingerprint"),)] > 20_000
