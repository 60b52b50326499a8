"""What of the names of our own the whole suite has made: each is in the model (docs/semantic-conventions).

Spans and log records are looked at where an exporter in the suite's own process gets them, and in what
programs of the suite have sent to its receiver. `tests/conftest.py` asks at the end.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv import attributes as stable
from opentelemetry.semconv._incubating import attributes as incubating

from bext_otel.catalogue import METRICS
from bext_otel.scope import SCHEMA_URL, VERSION, is_own

__all__ = ["look_at", "unknown", "vague_scopes", "watch_exporters"]

MODEL = Path(__file__).parent.parent / "docs" / "semantic-conventions"
_OWN = "bext."

_attributes: set[str] = set()
_metrics: set[str] = set()
_events: set[str] = set()
# Of programs of the suite: name, version and schema URL.
_scopes: set[tuple[str, str, str]] = set()
# Of events: the name, and a field.
_fields: set[tuple[str, str]] = set()


def watch_exporters() -> Callable[[], None]:
    """Note the attributes of spans of ours, and the names of events, that an exporter in this process gets;
    what is returned ends that."""
    export, export_logs = InMemorySpanExporter.export, InMemoryLogRecordExporter.export

    def note(self: InMemorySpanExporter, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            if span.instrumentation_scope is not None and span.instrumentation_scope.name == "bext_otel":
                _note(span.attributes or ())
        return export(self, spans)

    def note_logs(
        self: InMemoryLogRecordExporter, batch: Sequence[ReadableLogRecord]
    ) -> LogRecordExportResult:
        for each in batch:
            if each.instrumentation_scope is not None:
                _note_event(
                    each.instrumentation_scope.name,
                    each.log_record.event_name,
                    each.log_record.attributes or (),
                )
        return export_logs(self, batch)

    InMemorySpanExporter.export = note  # type: ignore[method-assign]
    InMemoryLogRecordExporter.export = note_logs  # type: ignore[method-assign]

    def undo() -> None:
        InMemorySpanExporter.export = export  # type: ignore[method-assign]
        InMemoryLogRecordExporter.export = export_logs  # type: ignore[method-assign]

    return undo


def look_at(message: Any) -> None:
    """Note what an OTLP request has of ours."""
    for kind in ("resource_spans", "resource_logs", "resource_metrics"):
        for resource in getattr(message, kind, ()):
            _note(pair.key for pair in resource.resource.attributes)
            for scope in getattr(resource, kind.replace("resource", "scope")):
                if is_own(scope.scope):
                    _scopes.add((scope.scope.name, scope.scope.version, scope.schema_url))
                if scope.scope.name == "bext_otel":
                    _look_at_scope(scope)
                for record in getattr(scope, "log_records", ()):
                    names = [pair.key for pair in record.attributes]
                    _note_event(scope.scope.name, record.event_name, names)


def _look_at_scope(scope: Any) -> None:
    for span in getattr(scope, "spans", ()):
        _note(pair.key for pair in span.attributes)
    for metric in getattr(scope, "metrics", ()):
        if metric.name.startswith("bext"):
            _metrics.add(metric.name)


def _note_event(scope: str, name: str | None, fields: Iterable[str]) -> None:
    """One of another scope is somebody else's."""
    if scope.startswith(_OWN) and name and name.startswith(_OWN):
        _events.add(name)
        _fields.update((name, field) for field in fields)


def _note(names: Iterable[object]) -> None:
    _attributes.update(name for name in names if isinstance(name, str) and name.startswith(_OWN))


def unknown() -> Iterator[str]:
    """What has been made and the model does not have."""
    (group,) = yaml.safe_load((MODEL / "attributes.yaml").read_text())["groups"]
    modelled = {each["id"] for each in group["attributes"]}
    # What an application says of its own work has a name of its own: `op.set(cache="miss")`.
    yield from sorted(name for name in _attributes - modelled if name not in _OF_TESTS)
    groups = yaml.safe_load((MODEL / "events.yaml").read_text())["groups"]
    yield from sorted(_events - {each["name"] for each in groups})
    fields = {
        each["id"] for each in yaml.safe_load((MODEL / "fields.yaml").read_text())["groups"][0]["attributes"]
    }
    labels = {
        each["id"] for each in yaml.safe_load((MODEL / "metrics.yaml").read_text())["groups"][0]["attributes"]
    }
    known = fields | labels | modelled | registered_names()
    known |= _BOUND
    yield from sorted(f"{field} of {event}" for event, field in _fields if field not in known)
    groups = yaml.safe_load((MODEL / "metrics.yaml").read_text())["groups"]
    streams = {each.get("metric_name") for each in groups} | {row.streamed for row in METRICS}
    # With `engine = "upstream"`, whose Prometheus reader appends it.
    streams |= {row.streamed.removesuffix("_total") for row in METRICS}
    # Through providers of somebody else's, instruments keep their own.
    streams |= {row.name for row in METRICS}
    yield from sorted(_metrics - streams)


def vague_scopes() -> Iterator[str]:
    """Scopes of ours that do not tell their version, or by which schema their attributes are named."""
    for name, version, schema in sorted(_scopes):
        if (version, schema) != (VERSION, SCHEMA_URL):
            yield f"{name}: version {version!r}, schema {schema!r}"


def registered_names() -> frozenset[str]:
    """What upstream's package has of the conventions' registry."""
    found: set[str] = set()
    for package in (stable, incubating):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            found.update(
                value for value in vars(import_module(module.name)).values() if isinstance(value, str)
            )
    return frozenset(found)


# Fields that tests give to `Operation.set`.
_OF_TESTS: frozenset[str] = frozenset()
# What applications of tests bind (`bext_otel.bind`) is theirs, and has no place in a model of ours.
_BOUND = frozenset({"tenant", "step"})
