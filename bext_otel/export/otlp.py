"""Exporters by name, each wrapped so that what it delivers, and what it loses, is counted."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any, Generic, Protocol, TypeVar

from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter, SpanExportResult

from bext_otel._compat import (
    Failure,
    equipped,
    explain_exports,
    export_bytes,
    limit_exports,
    otlp_exporter,
    pin_certificate,
    preferred_aggregation,
    preferred_temporality,
    speak_json,
    take_bytes,
    try_once,
)
from bext_otel.config import Exporters, Signal
from bext_otel.export.delivery import Delivery
from bext_otel.export.encodable import encodable_records, encodable_spans
from bext_otel.export.entry_points import named_exporter
from bext_otel.export.metric_encoder import MetricEncoder
from bext_otel.export.origins import Encoded, Origins
from bext_otel.export.temporality import otlp_aggregation, otlp_temporality
from bext_otel.process import late_imports
from bext_otel.redaction import redact_url
from bext_otel.threads import GRPC_THREADS, has_room_for

__all__ = [
    "CountedMetricExporter",
    "EncodedExporter",
    "import_otlp",
    "log_exporters",
    "metric_exporters",
    "span_exporters",
]

_log = logging.getLogger("bext_otel.export")

E = TypeVar("E")


class _Own(Generic[E]):
    """An exporter that each process has for itself, made at its first export: a process that sends nothing
    imports none. A forked child makes another, because two processes that speak over one connection
    understand nothing; what it inherited is kept as it is, for to close it might end the parent's connection.

    One that cannot be made, for want of threads or of a file, is tried again at each export, which fails
    until then.
    """

    def __init__(self, make: Callable[[], E], delivery: Delivery) -> None:
        self._make = make
        self._delivery = delivery
        self._inherited: list[E] = []
        self._made: E | None = None
        self._pid = os.getpid()

    def get(self) -> E:
        """This process's."""
        if self._pid != os.getpid():
            if self._made is not None:
                self._inherited.append(self._made)
            self._made = None
            self._pid = os.getpid()
        if self._made is None:
            with late_imports():
                self._made = self._make()
        return self._made

    def ready(self) -> E | None:
        """The same for an export that is in progress, which is told why there is none."""
        try:
            return self.get()
        except _Later as error:
            self._delivery.explain("no_thread", str(error), may_pass=True)
            return None

    def attempt(self, items: int, export: Callable[[E], bool]) -> bool:
        """Have `items` exported, and counted; whether they arrived."""
        return self._delivery.attempt(
            items, lambda: (exporter := self.ready()) is not None and export(exporter)
        )

    def flush(self, timeout_millis: float) -> bool:
        """Have this process's send what it holds, if it can hold anything; whether it says so."""
        flush = getattr(self._made, "force_flush", None)
        if flush is None or self._pid != os.getpid():
            return True
        try:
            with suppress_instrumentation():
                return flush(timeout_millis) is not False
        except Exception:  # of the application's own exporter
            return False

    def end(self, shutdown: Callable[[E], object]) -> None:
        """Shut this process's down, if it has any."""
        if self._made is not None and self._pid == os.getpid():
            with suppress_instrumentation():
                shutdown(self._made)


class _Sends(Protocol):
    """Sends requests of OTLP that are encoded already."""

    def send(self, content: bytes, items: int, /) -> bool:
        """Send a request of so many items; whether it arrived."""

    def shutdown(self) -> None:
        """Let go of the connection."""


class _ByUpstream:
    """One of upstream's exporters that has taken bytes (`take_bytes`): gRPC's, and over HTTP one whose
    credentials another package makes."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter

    def send(self, content: bytes, items: int) -> bool:
        return export_bytes(self._exporter, content, items)

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Later(Exception):  # noqa: N818  # no error yet
    """An exporter cannot be made now."""


class _Spans(SpanExporter):
    def __init__(self, own: _Own[SpanExporter], delivery: Delivery) -> None:
        self._own = own
        self.delivery = delivery

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        def export(exporter: SpanExporter) -> bool:
            # What cannot be encoded fails before anything is sent, or raises, by version.
            with suppress(UnicodeEncodeError):
                if exporter.export(spans) is SpanExportResult.SUCCESS:
                    return True
            others = encodable_spans(spans)
            return others is not None and exporter.export(others) is SpanExportResult.SUCCESS

        arrived = self._own.attempt(len(spans), export)
        return SpanExportResult.SUCCESS if arrived else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self._own.end(lambda exporter: exporter.shutdown())

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._own.flush(timeout_millis)


class EncodedExporter:
    """Sends items that are encoded where they ended, as OTLP."""

    def __init__(self, own: _Own[_Sends], delivery: Delivery) -> None:
        self._own = own
        self.delivery = delivery
        self.origins = Origins()

    def export(self, batch: Sequence[Encoded]) -> bool:
        """Send a batch; whether it arrived."""
        return self._own.attempt(
            len(batch),
            lambda exporter: exporter.send(self.origins.request(batch), len(batch)),
        )

    def shutdown(self) -> None:
        """Let go of the connection."""
        self._own.end(lambda exporter: exporter.shutdown())


class _Logs(LogRecordExporter):
    def __init__(self, own: _Own[LogRecordExporter], delivery: Delivery) -> None:
        self._own = own
        self.delivery = delivery

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        def export(exporter: LogRecordExporter) -> bool:
            with suppress(UnicodeEncodeError):
                if exporter.export(batch) is LogRecordExportResult.SUCCESS:
                    return True
            others = encodable_records(batch)
            return others is not None and exporter.export(others) is LogRecordExportResult.SUCCESS

        arrived = self._own.attempt(len(batch), export)
        return LogRecordExportResult.SUCCESS if arrived else LogRecordExportResult.FAILURE

    def shutdown(self) -> None:
        self._own.end(lambda exporter: exporter.shutdown())  # type: ignore[no-untyped-call]  # upstream left it untyped

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._own.flush(timeout_millis)


class _Metrics(MetricExporter):
    def __init__(self, own: _Own[MetricExporter], *, is_otlp: bool) -> None:
        super().__init__(
            preferred_temporality=otlp_temporality() if is_otlp else _asked(own, preferred_temporality),
            preferred_aggregation=otlp_aggregation() if is_otlp else _asked(own, preferred_aggregation),
        )
        self._own = own

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        exporter = self._own.ready()
        if exporter is None:
            return MetricExportResult.FAILURE
        with suppress_instrumentation():  # a client that is instrumented may be what it sends with
            return exporter.export(metrics_data, timeout_millis, **kwargs)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self._own.end(lambda exporter: exporter.shutdown(timeout_millis, **kwargs))

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self._own.flush(timeout_millis)


class _EncodedMetrics(MetricExporter):
    """Encodes metrics itself, and has them sent as OTLP."""

    def __init__(self, own: _Own[_Sends]) -> None:
        super().__init__(preferred_temporality=otlp_temporality())
        self._own = own
        self._encoder = MetricEncoder()

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        exporter = self._own.ready()
        if exporter is None:
            return MetricExportResult.FAILURE
        points = sum(
            len(metric.data.data_points)
            for resource in metrics_data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        )
        arrived = exporter.send(self._encoder.encode(metrics_data), points)
        return MetricExportResult.SUCCESS if arrived else MetricExportResult.FAILURE

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self._own.end(lambda exporter: exporter.shutdown())

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True  # it holds nothing back


def _asked(own: _Own[MetricExporter], preferred: Callable[[MetricExporter], Any]) -> dict[type, Any]:
    """What an exporter of somebody else's prefers, by the SDK's classes of instruments."""
    try:
        return dict(preferred(own.get()))
    except Exception:  # the first export tells
        return {}


class CountedMetricExporter(MetricExporter):
    """A metric exporter for the SDK's own reader, which counts nothing itself."""

    def __init__(self, exporter: MetricExporter, delivery: Delivery) -> None:
        super().__init__(
            preferred_temporality=dict(preferred_temporality(exporter)),
            preferred_aggregation=dict(preferred_aggregation(exporter)),
        )
        self._exporter = exporter
        self._delivery = delivery

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """See `MetricExporter`."""
        points = sum(
            len(m.data.data_points)
            for r in metrics_data.resource_metrics
            for s in r.scope_metrics
            for m in s.metrics
        )
        arrived = self._delivery.attempt(
            points,
            lambda: (
                self._exporter.export(metrics_data, timeout_millis, **kwargs) is MetricExportResult.SUCCESS
            ),
        )
        return MetricExportResult.SUCCESS if arrived else MetricExportResult.FAILURE

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """See `MetricExporter`."""
        self._exporter.shutdown(timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """See `MetricExporter`."""
        return self._exporter.force_flush(timeout_millis)


def span_exporters(
    exporters: Exporters, *, encoded: bool = True, given: Sequence[SpanExporter] = ()
) -> list[tuple[SpanExporter | EncodedExporter, Delivery]]:
    """The exporters that `OTEL_TRACES_EXPORTER` and the endpoints ask for, and those that are `given`;
    `encoded`: those of OTLP take spans that are encoded already."""
    made: list[tuple[SpanExporter | EncodedExporter, Delivery]] = []
    for number, name in enumerate(exporters.traces):
        delivery = _delivery(name, exporters, "traces", number)
        make: Callable[[], Any] = (
            ConsoleSpanExporter
            if name == "console"
            else _maker(name, exporters, "traces", delivery, encoded=encoded)
        )
        kind = EncodedExporter if encoded and name == "otlp" else _Spans
        made.append((kind(_Own(make, delivery), delivery), delivery))
    for each in given:
        own, delivery = _given(each, "traces", len(made))
        made.append((_Spans(own, delivery), delivery))
    return made


def _given(exporter: E, signal: Signal, number: int) -> tuple[_Own[E], Delivery]:
    """An exporter that a program has made itself."""
    name = type(exporter).__name__
    delivery = Delivery(signal, name, component=f"{name}_{_KINDS[signal]}_exporter", number=number)
    return _Own(lambda: exporter, delivery), delivery


def log_exporters(
    exporters: Exporters, *, given: Sequence[LogRecordExporter] = ()
) -> list[tuple[LogRecordExporter | EncodedExporter, Delivery]]:
    """The exporters that `OTEL_LOGS_EXPORTER` and the endpoints ask for, and those that are `given`; those of
    OTLP take records that are encoded already."""
    made: list[tuple[LogRecordExporter | EncodedExporter, Delivery]] = []
    for number, name in enumerate(exporters.logs):
        delivery = _delivery(name, exporters, "logs", number)
        if name == "otlp":
            own = _Own(_maker(name, exporters, "logs", delivery, encoded=True), delivery)
            made.append((EncodedExporter(own, delivery), delivery))
        else:
            make = (
                ConsoleLogRecordExporter if name == "console" else _maker(name, exporters, "logs", delivery)
            )
            made.append((_Logs(_Own(make, delivery), delivery), delivery))
    for each in given:
        theirs, delivery = _given(each, "logs", len(made))
        made.append((_Logs(theirs, delivery), delivery))
    return made


def metric_exporters(
    exporters: Exporters, *, once: bool = True, given: Sequence[MetricExporter] = ()
) -> list[tuple[MetricExporter, Delivery]]:
    """The push exporters that `OTEL_METRICS_EXPORTER` and the endpoints ask for, and those that are `given`;
    `prometheus` pulls and is not among them.

    Each tries `once`, for who tries again himself; otherwise until its timeout.
    """
    made: list[tuple[MetricExporter, Delivery]] = []
    for number, name in enumerate(exporters.metrics):
        if name == "prometheus":
            continue
        delivery = _delivery(name, exporters, "metrics", number)
        if name == "otlp" and once:  # who tries again himself is ours, and takes what we encode
            own = _Own(_otlp(exporters, "metrics", delivery, once=True, encoded=True), delivery)
            made.append((_EncodedMetrics(own), delivery))
            continue
        make = (
            ConsoleMetricExporter
            if name == "console"
            else _maker(name, exporters, "metrics", delivery, once=once)
        )
        made.append((_Metrics(_Own(make, delivery), is_otlp=name == "otlp"), delivery))
    for each in given:
        own, delivery = _given(each, "metrics", len(made))
        made.append((_Metrics(own, is_otlp=False), delivery))
    return made


def import_otlp(exporters: Exporters, *, encoded: bool = True) -> None:
    """Import what the exporters over OTLP will need: for a process that forks many which will. `encoded`: by
    our engine."""
    asked = {"traces": exporters.traces, "logs": exporters.logs, "metrics": exporters.metrics}
    for signal, target in exporters.targets.items():
        if "otlp" not in asked[signal]:
            continue
        if not encoded or target.protocol == "grpc" or _has_credential_provider(signal):
            otlp_exporter(target.protocol, signal)
        else:
            from bext_otel.export import otlp_http  # noqa: F401

            if target.protocol == "http/json":
                _json_of(signal)
            import_module("encodings.idna")  # as the first connection does


# As the semantic conventions name them (`otel.component.type`).
_KINDS = {"traces": "span", "logs": "log", "metrics": "metric"}
_TYPES = {"grpc": "otlp_grpc", "http/protobuf": "otlp_http", "http/json": "otlp_http_json"}


def _delivery(name: str, exporters: Exporters, signal: Signal, number: int) -> Delivery:
    if name != "otlp":
        # The conventions name no type for an exporter of somebody else's.
        return Delivery(
            signal,
            name,
            component="" if name == "console" else f"{name}_{_KINDS[signal]}_exporter",
            number=number,
        )
    target = exporters.targets[signal]
    component = f"{_TYPES[target.protocol]}_{_KINDS[signal]}_exporter"
    return Delivery(signal, redact_url(target.endpoint), component=component, number=number)


def _maker(
    name: str,
    exporters: Exporters,
    signal: Signal,
    delivery: Delivery,
    *,
    once: bool = True,
    encoded: bool = False,
) -> Callable[[], Any]:
    if name != "otlp":
        return named_exporter(signal, name)
    return _otlp(exporters, signal, delivery, once=once, encoded=encoded)


def _otlp(
    exporters: Exporters, signal: Signal, delivery: Delivery, *, once: bool, encoded: bool
) -> Callable[[], Any]:
    target = exporters.targets[signal]

    def failed(failure: Failure) -> None:
        delivery.explain(
            failure.cause, failure.reason, may_pass=failure.may_pass, pause_seconds=failure.pause_seconds
        )

    def make() -> Any:
        if target.protocol == "grpc" and not has_room_for(GRPC_THREADS):
            # Its core aborts the process.
            raise _Later(
                "gRPC needs threads, and none can be started; OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf "
                "needs none"
            )
        json_of = _json_of(signal) if target.protocol == "http/json" else None
        if encoded and target.protocol != "grpc" and not _has_credential_provider(signal):
            from bext_otel.export.otlp_http import OtlpHttp

            return OtlpHttp(signal, target.endpoint, delivery, json_of=json_of)
        options = {"compression": _grpc_compression(signal)} if target.protocol == "grpc" else {}
        exporter = equipped(otlp_exporter(target.protocol, signal)(endpoint=target.endpoint, **options))
        pin_certificate(exporter)
        if encoded:
            take_bytes(exporter, signal)
        if json_of is not None:
            speak_json(exporter, json_of)
        explain_exports(exporter, failed, delivery.rejected, delivery.answered)
        if once:
            try_once(exporter)
        delivery.limits(limit_exports(exporter))
        return _ByUpstream(exporter) if encoded else exporter

    return make


def _has_credential_provider(signal: Signal) -> bool:
    from bext_otel.export.http_settings import has_credential_provider

    return has_credential_provider(signal)


def _json_of(signal: Signal) -> Callable[[bytes], bytes]:
    from bext_otel.export.otlp_json import json_of

    return partial(json_of, signal)


def _grpc_compression(signal: Signal) -> Any:
    """What the variables say, of which upstream's exporters over gRPC take `gzip` alone, and raise for
    `none`."""
    from grpc import Compression

    general = os.environ.get("OTEL_EXPORTER_OTLP_COMPRESSION", "")
    word = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_COMPRESSION", "") or general
    return {"gzip": Compression.Gzip, "deflate": Compression.Deflate}.get(
        word.strip().lower(), Compression.NoCompression
    )
