"""Programs that set telemetry up as a user does, and what arrives of them at a collector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.otlp import Receiver, receiving
from tests.fresh import fresh

__all__ = ["Run", "attributes", "running"]


@dataclass
class Run:
    """What a program has shown, the log lines that it wrote, and every message that the collector got."""

    shown: Any
    lines: list[dict[str, Any]]
    messages: list[Any] = field(default_factory=list)

    def spans(self) -> Iterator[tuple[Any, Any, Any]]:
        """Each span with its scope's message and its resource's."""
        for message in self.messages:
            for resource in getattr(message, "resource_spans", ()):
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        yield span, scope, resource

    def span(self, name: str) -> Any:
        """The one span of this name."""
        (found,) = (span for span, _, _ in self.spans() if span.name == name)
        return found

    def records(self) -> Iterator[tuple[Any, Any, Any]]:
        """Each log record with its scope's message and its resource's."""
        for message in self.messages:
            for resource in getattr(message, "resource_logs", ()):
                for scope in resource.scope_logs:
                    for record in scope.log_records:
                        yield record, scope, resource

    def record(self, body: str) -> Any:
        """The one log record that says this."""
        (found,) = (record for record, _, _ in self.records() if record.body.string_value == body)
        return found


def attributes(pairs: Any) -> dict[str, Any]:
    """Attributes as they came, lists included."""
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return attributes(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


@contextmanager
def running(program: str, folder: Path, *, protocol: str = "http/protobuf", **env: str) -> Iterator[Run]:
    """What comes of a program that exports to a collector of its own."""
    with receiving() as receiver:
        yield _run(program, folder, receiver, OTEL_EXPORTER_OTLP_PROTOCOL=protocol, **env)


def _run(program: str, folder: Path, receiver: Receiver, **env: str) -> Run:
    shown, lines = fresh(program, folder, **{"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, **env})
    return Run(shown, lines, list(receiver.messages))
