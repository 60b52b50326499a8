"""Every private upstream name that bext-otel relies on; tests/test_compat.py fails when upstream changes one.

Nothing else imports a name with a leading underscore from OpenTelemetry, but for `opentelemetry._logs`, which
is the public logs API.
"""

from __future__ import annotations

import concurrent.futures
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from inspect import signature
from threading import Lock, RLock
from types import SimpleNamespace
from typing import Any, Literal, Protocol

import msgspec
from opentelemetry import _logs, metrics, trace
from opentelemetry import context as contexts
from opentelemetry._logs._internal import ProxyLoggerProvider
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.metrics import _Gauge as Gauge
from opentelemetry.metrics._internal import _ProxyMeterProvider
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk import metrics as sdk_metrics
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.exponent_mapping import ExponentMapping
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.logarithm_mapping import (
    LogarithmMapping,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, StaticSampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import DEFAULT_TRACE_STATE, SpanContext, TraceFlags, TraceState

__all__ = [
    "SPAN_KEY",
    "Failure",
    "Gauge",
    "SdkTracer",
    "admit_measurements",
    "already_installed",
    "attach",
    "become",
    "cardinality_limits",
    "collecting_in_turn",
    "counts_record",
    "decision_of",
    "delegates_of",
    "detach",
    "export_bytes",
    "get_current",
    "hear_measurements",
    "on_ending",
    "otlp_exporter",
    "own_resource",
    "parts_of_propagator",
    "preferred_temporality",
    "processor_of",
    "prometheus_name",
    "span_context",
    "start_metrics_over",
    "take_bytes",
    "trace_state",
]

_OTLP = {
    "traces": ("trace_exporter", "OTLPSpanExporter"),
    "metrics": ("metric_exporter", "OTLPMetricExporter"),
    "logs": ("_log_exporter", "OTLPLogExporter"),
}

# By the word of upstream's HTTP client for what it sends.
_REPLIES = {
    "spans": ("trace", "ExportTraceServiceResponse"),
    "metrics": ("metrics", "ExportMetricsServiceResponse"),
    "logs": ("logs", "ExportLogsServiceResponse"),
}


@cache
def _prometheus_mapping() -> Any:
    """The module with upstream's translation alone: its package imports `prometheus_client`, which then shows
    metrics of its own."""
    package = find_spec("opentelemetry.exporter.prometheus")
    if package is None or not package.submodule_search_locations:
        raise ImportError("opentelemetry-exporter-prometheus is not installed: reinstall bext-otel")
    spec = _found_below(package.name, "_mapping", package.submodule_search_locations)
    if spec is None or spec.loader is None:
        raise ImportError("opentelemetry-exporter-prometheus has no _mapping: reinstall it")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _found_below(package: str, name: str, places: Sequence[str]) -> ModuleSpec | None:
    """A module of a package that is not imported for it, wherever packages come from: a folder, an archive,
    a frozen program."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find(f"{package}.{name}", places) if find is not None else None
        if spec is not None:
            return spec
    return None


class _Executor(ThreadPoolExecutor):
    """Does at once, in the thread that asks, what it has no thread for."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        try:
            return super().submit(fn, *args, **kwargs)
        except RuntimeError:  # no thread can be started
            future: Future[Any] = Future()
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:  # as an executor does
                future.set_exception(error)
            return future


def detect_resources_anywhere() -> None:
    """Let the SDK detect resources where no thread can be started. It does that while it is imported, and
    raises there otherwise."""
    resources: Any = import_module("opentelemetry.sdk.resources")
    if getattr(resources, "concurrent", None) is concurrent:
        resources.concurrent = SimpleNamespace(
            futures=SimpleNamespace(
                ThreadPoolExecutor=_Executor, TimeoutError=concurrent.futures.TimeoutError
            )
        )


def check_requirements_once(checks_later: Callable[[Any], bool]) -> None:
    """Have the launcher read the requirements of a distribution once, and not for each of its instrumentors,
    since each time parses its whole description; and not at all where its instrumentors do that themselves
    when they are activated, as `checks_later` says of a distribution."""
    loader: Any = import_module("opentelemetry.instrumentation.auto_instrumentation._load")
    check: Callable[[Any], Any] | None = getattr(loader, "get_dist_dependency_conflicts", None)
    if check is None or getattr(check, "__module__", "") == __name__:
        return
    known: dict[int, tuple[Any, Any]] = {}

    def conflicts(distribution: Any) -> Any:
        if id(distribution) not in known:
            known[id(distribution)] = (
                distribution,
                None if checks_later(distribution) else check(distribution),
            )
        return known[id(distribution)][1]

    loader.get_dist_dependency_conflicts = conflicts


# Imported by `requests` and `socket` within their first request. A child that is forked meanwhile waits for
# these imports for good: Python renews no module's import lock.
_LATE = ("encodings.idna", "netrc")


def prometheus_name(name: str, unit: str, *, counter: bool) -> str:
    """The standard translation of an instrument's name and unit to Prometheus (OpenTelemetry compatibility
    specification).

    Ratios of unit `1` end in `_ratio` when they are gauges; a counter ends in `_total`.
    """
    mapping = _prometheus_mapping()
    legal: str = mapping.sanitize_full_name(name)
    suffix: str = mapping.map_unit(unit)
    if unit == "1" and not counter:
        suffix = "ratio"
    if suffix and not legal.endswith(f"_{suffix}"):
        legal = f"{legal}_{suffix}"
    return f"{legal}_total" if counter and not legal.endswith("_total") else legal


def already_installed() -> tuple[str, ...]:
    """The signals whose provider the application has set by itself."""
    proxies = {
        "traces": (trace.get_tracer_provider(), trace.ProxyTracerProvider),
        "metrics": (metrics.get_meter_provider(), _ProxyMeterProvider),
        "logs": (_logs.get_logger_provider(), ProxyLoggerProvider),
    }
    return tuple(signal for signal, (provider, proxy) in proxies.items() if not isinstance(provider, proxy))


def otlp_exporter(
    protocol: Literal["http/protobuf", "grpc"], signal: Literal["traces", "metrics", "logs"]
) -> Any:
    """The class of upstream's OTLP exporter; imported when asked for, since gRPC takes longer to import than
    everything else together."""
    module, name = _OTLP[signal]
    transport = protocol.partition("/")[0]
    for late in _LATE if transport == "http" else ():
        import_module(late)
    return getattr(import_module(f"opentelemetry.exporter.otlp.proto.{transport}.{module}"), name)


def preferred_temporality(exporter: MetricExporter) -> Mapping[type, AggregationTemporality]:
    """What an exporter prefers, by the SDK's classes of instruments; empty for one that has no preference."""
    return getattr(exporter, "_preferred_temporality", None) or {}


def hear_measurements(provider: Any, heard: Callable[[], None]) -> None:
    """Have a meter provider's instruments call `heard` after each measurement that the SDK has taken."""
    consumer = provider._measurement_consumer
    consume: Callable[[Any], None] = consumer.consume_measurement

    def consume_measurement(measurement: Any) -> None:
        consume(measurement)
        heard()

    consumer.consume_measurement = consume_measurement


def admit_measurements(provider: Any, reader: Any, admit: Callable[[Any], Any]) -> None:
    """Have `admit` see each measurement before what a provider keeps for `reader` takes it; its answer is
    taken instead.

    Those of callbacks too, which `hear_measurements` does not hear.
    """
    storage = provider._measurement_consumer._reader_storages[reader]
    consume: Callable[..., None] = storage.consume_measurement

    def consume_measurement(measurement: Any, *args: Any) -> None:
        consume(admit(measurement), *args)

    storage.consume_measurement = consume_measurement


def cardinality_limits(limit: int) -> dict[str, Any]:
    """What tells a metric reader's constructor how many attribute sets an instrument may have; nothing to an
    SDK before 1.45.2."""
    if "cardinality_limits" not in signature(MetricReader.__init__).parameters:
        return {}
    kinds = (
        "Counter",
        "UpDownCounter",
        "Histogram",
        "_Gauge",
        "ObservableCounter",
        "ObservableUpDownCounter",
        "ObservableGauge",
    )
    return {"cardinality_limits": {getattr(sdk_metrics, kind): limit for kind in kinds}}


def collecting_in_turn(provider: Any) -> RLock:
    """The lock under which a meter provider runs the callbacks of its instruments, made reentrant: one that
    collects hangs otherwise."""
    turns = provider._measurement_consumer._lock = RLock()
    return turns


def parts_of_propagator(propagator: TextMapPropagator) -> tuple[TextMapPropagator, ...]:
    """The propagators that a composite asks, however deep; any other one is its own only part."""
    if type(propagator) is not CompositePropagator:
        return (propagator,)
    return tuple(part for each in propagator._propagators for part in parts_of_propagator(each))


class _TraceState(TraceState):
    """By the grammar of W3C Trace Context, level 2: upstream's knows level 1's, and drops what it does not
    know when it makes another."""

    def add(self, key: str, value: str) -> TraceState:
        fits = key not in self and len(self) < _MAX_MEMBERS and key in TraceState([(key, value)])
        return trace_state([(key, value), *self.items()]) if fits else self

    def update(self, key: str, value: str) -> TraceState:
        rest = [item for item in self.items() if item[0] != key]
        fits = len(rest) < _MAX_MEMBERS and (key in self or key in TraceState([(key, value)]))
        return trace_state([(key, value), *rest]) if fits else self

    def delete(self, key: str) -> TraceState:
        return trace_state([item for item in self.items() if item[0] != key])


_MAX_MEMBERS = 32


def trace_state(members: Sequence[tuple[str, str]]) -> TraceState:
    """A tracestate with these members, which are known to be well-formed."""
    state = _TraceState()
    state._dict = dict(members)
    return state


def own_resource(provider: Any) -> Callable[[Resource], None]:
    """Keep a tracer, meter or logger provider from changing its resource after a fork; what it answers with
    merges a resource into it."""
    update: Callable[[Resource], None] = provider._update_resource
    provider._update_resource = lambda _: None
    return update


class _LoggerMetrics(Protocol):
    def emit_log(self) -> None: ...


class SdkTracer(Tracer):
    """An SDK tracer, and what is to be known of it to make a span."""

    @property
    def enabled(self) -> bool:
        """Whether its spans may be recorded (tracer configurator)."""
        return self._tracer_config.is_enabled

    @property
    def scope(self) -> InstrumentationScope:
        """Whose tracer it is."""
        return self._instrumentation_scope


def counts_record(logger: Any) -> bool:
    """Whether an SDK's logger emits (logger configurator); one more record of its is counted then."""
    if not logger._logger_config.is_enabled:
        return False
    logger._logger_metrics.emit_log()
    return True


def _contexts_of_spans() -> Callable[[int, int, TraceFlags, TraceState], SpanContext]:
    """Makes the context of a local span whose ids are known to be valid, without looking at them again, as
    long as a `SpanContext` is the tuple of its fields."""
    flags = TraceFlags(1)
    made = SpanContext(1, 2, False, flags, DEFAULT_TRACE_STATE)
    if not isinstance(made, tuple) or tuple(made) != (1, 2, False, flags, DEFAULT_TRACE_STATE, True):
        return lambda trace_id, span_id, flags, state: SpanContext(trace_id, span_id, False, flags, state)
    new = tuple.__new__
    return lambda trace_id, span_id, flags, state: new(
        SpanContext, (trace_id, span_id, False, flags, state, True)
    )


span_context = _contexts_of_spans()


def _context_functions() -> tuple[
    Callable[[], Context], Callable[[Context], Token[Context]], Callable[[Token[Context]], None]
]:
    """What the API's functions of these names do, without the three calls that each takes: where the context
    is kept in a context variable, those of that variable."""
    runtime = getattr(contexts, "_RUNTIME_CONTEXT", None)
    variable = getattr(runtime, "_current_context", None)
    if type(runtime) is ContextVarsRuntimeContext and isinstance(variable, ContextVar):
        return variable.get, variable.set, variable.reset
    return contexts.get_current, contexts.attach, contexts.detach


get_current, attach, detach = _context_functions()
"""As the API's, but that `detach` may raise ValueError: a token belongs to the task that it was made in."""

SPAN_KEY = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, Context())))
"""Under which a context holds its span, found by putting one there."""


def feeds(handler: logging.Handler, provider: _logs.LoggerProvider) -> bool:
    """Is it one of upstream's `LoggingHandler`s (the SDK's, or the instrumentation's) that emits at this
    provider?"""
    found = getattr(handler, "_logger_provider", None)
    return found is not None and (
        found is provider
        or (isinstance(found, ProxyLoggerProvider) and _logs.get_logger_provider() is provider)
    )


def become(made: object, base: type, kind: type, **fields: Any) -> None:
    """Have what an SDK's provider made, a tracer or logger of class `base`, be of a class of ours, with these
    fields; the provider knows no other way to make one, and keeps it as its own."""
    if type(made) is base:
        made.__class__ = kind
        for name, value in fields.items():
            setattr(made, name, value)


def processor_of(provider: TracerProvider) -> SpanProcessor:
    """What calls all the span processors of a provider."""
    return provider._active_span_processor


def on_ending(processor: SpanProcessor, span: Span) -> None:
    """Tell a processor that a span is about to be over (experimental; older SDKs have no such thing)."""
    if (hear := getattr(processor, "_on_ending", None)) is not None:
        hear(span)


def delegates_of(sampler: ParentBased) -> tuple[Sampler, ...]:
    """The samplers that a parent-based one asks: for roots; for remote parents, sampled and not; for local
    ones likewise."""
    return (
        sampler._root,
        sampler._remote_parent_sampled,
        sampler._remote_parent_not_sampled,
        sampler._local_parent_sampled,
        sampler._local_parent_not_sampled,
    )


def decision_of(sampler: StaticSampler) -> Decision:
    """What a sampler decides that always decides the same."""
    return sampler._decision


def count_logs(provider: Any, counts: _LoggerMetrics) -> None:
    """Have the loggers that a provider makes from now on tell `counts` of each record."""
    provider._logger_metrics = counts


@dataclass
class _Outcome:
    """What upstream's exporters write down of an export: `ExportResult` of their own telemetry."""

    error: Exception | None = None
    error_attrs: Mapping[str, object] | None = None


class Failure(msgspec.Struct, frozen=True):
    """Why an export failed: `cause` in a word, `reason` for people where it adds something to what upstream
    logs.

    `may_pass` says that the same may arrive another time (OTLP specification, "Failures"), `pause_seconds`
    how long the other side asks to be left alone before.
    """

    cause: str
    reason: str = ""
    may_pass: bool = False
    pause_seconds: float = 0.0


class _Explaining:
    """Stands where upstream's exporters write down how an export went. `judge` makes a failure of what they
    wrote."""

    def __init__(
        self,
        tell: Callable[[Failure], None],
        judge: Callable[[_Outcome], Failure | None],
        begin: Callable[[], None],
    ) -> None:
        self._tell = tell
        self._judge = judge
        self._begin = begin

    @contextmanager
    def export_operation(self, num_items: int) -> Iterator[_Outcome]:
        self._begin()
        outcome = _Outcome()
        try:
            yield outcome
        finally:
            failure = self._judge(outcome)
            if failure is not None:
                self._tell(failure)


def _cause(outcome: _Outcome) -> str:
    status = next(iter((outcome.error_attrs or {}).values()), None)
    return str(status) if status is not None else type(outcome.error).__qualname__


def explain_exports(
    exporter: Any, failed: Callable[[Failure], None], rejected: Callable[[int, str], None]
) -> None:
    """Have one of upstream's OTLP exporters tell why an export failed, and what the backend rejected of one
    it took.

    Upstream reads neither the reply nor, over HTTP, the status of a refusal.
    """

    def look(reply: Any) -> None:
        partial = reply.partial_success
        counts = [value for field, value in partial.ListFields() if field.name.startswith("rejected_")]
        if counts:
            rejected(counts[0], partial.error_message)

    if (transport := _transport(exporter)) is not None:
        _explain_http(exporter, transport, failed, look)
    else:
        _explain_grpc(exporter, failed, look)


def _transport(exporter: Any) -> Any:
    """What an exporter sends HTTP with; None for one of gRPC."""
    return getattr(getattr(exporter, "_client", None), "_transport", None)


def _explain_http(
    exporter: Any, transport: Any, failed: Callable[[Failure], None], look: Callable[[Any], None]
) -> None:
    package, name = _REPLIES[exporter._client._kind]
    kind = getattr(import_module(f"opentelemetry.proto.collector.{package}.v1.{package}_service_pb2"), name)
    http = import_module("opentelemetry.exporter.otlp.common.http")
    send = transport.request
    answers: list[Any] = []

    def request(*args: Any, **kwargs: Any) -> Any:
        result = send(*args, **kwargs)
        answers[:] = [result]
        if result.status_code is not None and 200 <= result.status_code < 300:
            with suppress(Exception):  # a reply that cannot be read rejects nothing
                if content := result.content():
                    look(kind.FromString(content))
        return result

    def judge(outcome: _Outcome) -> Failure | None:
        if outcome.error is None and not outcome.error_attrs:
            return None
        status, error = (answers[0].status_code, answers[0].error) if answers else (None, None)
        if status is not None and http._is_retryable(status):
            return Failure(
                _cause(outcome),
                f"{status} {answers[0].reason or ''}",
                True,
                http._extract_retry_after(answers[0]) or 0.0,
            )
        if error is not None:
            return Failure(_cause(outcome), str(error), transport.is_connection_error(error))
        return Failure(_cause(outcome))

    transport.request = request
    exporter._metrics = _Explaining(failed, judge, answers.clear)


def _explain_grpc(exporter: Any, failed: Callable[[Failure], None], look: Callable[[Any], None]) -> None:
    make, passing = exporter._stub, {code.name for code in exporter._retryable_error_codes}

    def stub(channel: Any) -> Any:
        made = make(channel)
        export = made.Export

        def call(*args: Any, **kwargs: Any) -> Any:
            reply = export(*args, **kwargs)
            look(reply)
            return reply

        made.Export = call
        return made

    def judge(outcome: _Outcome) -> Failure | None:
        error: Any = outcome.error
        if error is None:
            return None
        cause = _cause(outcome)
        if not hasattr(error, "code"):
            return Failure(cause, str(error))
        asked = _retry_info(error)
        # What is too large for a message exhausts a resource too, each time: such a failure passes if the
        # other side says so.
        may_pass = cause in passing and (cause != "RESOURCE_EXHAUSTED" or asked is not None)
        return Failure(cause, f"{cause}: {error.details()}", may_pass, asked or 0.0)

    exporter._stub = stub
    exporter._client = stub(exporter._channel)
    exporter._metrics = _Explaining(failed, judge, lambda: None)


class _Content(msgspec.Struct, frozen=True):
    """A request that is encoded already, of so many items."""

    content: bytes
    items: int


def take_bytes(exporter: Any, signal: Literal["traces", "metrics", "logs"]) -> None:
    """Have one of upstream's OTLP exporters be ready for `export_bytes`. To be called before
    `explain_exports`."""
    if _transport(exporter) is not None:
        return
    package, name = _REPLIES[_KINDS_OF_REPLIES[signal]]
    service = f"/opentelemetry.proto.collector.{package}.v1.{package.capitalize()}Service/Export"
    reply = getattr(import_module(f"opentelemetry.proto.collector.{package}.v1.{package}_service_pb2"), name)

    def stub(channel: Any) -> Any:
        # No serializer: bytes go as they are.
        return SimpleNamespace(Export=channel.unary_unary(service, response_deserializer=reply.FromString))

    exporter._stub = stub
    exporter._translate_data = lambda data: data.content
    exporter._count_data = lambda data: data.items


_KINDS_OF_REPLIES = {"traces": "spans", "metrics": "metrics", "logs": "logs"}


def export_bytes(exporter: Any, content: bytes, items: int) -> bool:
    """Have an exporter send a request that is encoded already, of so many items; whether it arrived."""
    if _transport(exporter) is None:
        return bool(exporter._export(_Content(content, items)).name == "SUCCESS")
    with exporter._metrics.export_operation(items) as outcome:
        result = exporter._client.export(content)
        outcome.error = result.error
        if result.status_code is not None and not result.success:
            outcome.error_attrs = {"http.response.status_code": result.status_code}
        return bool(result.success)


def _retry_info(error: Any) -> float | None:
    """How many seconds a gRPC status asks to wait; None if it does not."""
    packed = dict(error.trailing_metadata() or ()).get("google.rpc.retryinfo-bin")
    if packed is None:
        return None
    with suppress(Exception):  # who sends what cannot be read asks for nothing
        info = import_module("google.rpc.error_details_pb2").RetryInfo.FromString(packed)
        return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
    return None


def try_once(exporter: Any) -> None:
    """Have one of upstream's OTLP exporters try once, and not again and again until its timeout. To be called
    after `explain_exports`."""
    if _transport(exporter) is not None:
        # It gives up as if it had been shut down, which it looks at after a failure only.
        exporter._client._shutdown_event.set()
    else:
        exporter._retryable_error_codes = frozenset()


def limit_exports(exporter: Any) -> Callable[[float | None], None]:
    """How to set the seconds that an export by one of upstream's OTLP exporters may take; None: its own
    timeout, which is the most."""
    timed = exporter._client if _transport(exporter) is not None else exporter
    own = timed._timeout

    def limit(seconds: float | None) -> None:
        timed._timeout = own if seconds is None else max(min(own, seconds), 0.001)

    return limit


def pin_certificate(exporter: Any) -> None:
    """Have a certificate that was given to an exporter hold over `REQUESTS_CA_BUNDLE` and `CURL_CA_BUNDLE`.

    `requests` prefers these variables to what its session was given, but not to what a single request was.
    """
    session = getattr(_transport(exporter), "_session", None)
    verify = getattr(session, "verify", True)
    if session is not None and verify is not True:
        send = session.request
        session.request = lambda *args, **kwargs: send(*args, **{"verify": verify, **kwargs})


def start_metrics_over(provider: Any, reader: Any) -> None:
    """In a forked child: renew the locks that a thread of the parent may have held, and have `reader` forget
    what the parent measured.

    Upstream renews the provider's own two locks only. Nothing is collected for this, since that would call
    the application's callbacks in the middle of a fork.
    """
    consumer = provider._measurement_consumer
    consumer._lock = Lock()
    for meter in provider._meters.values():
        meter._instrument_registration_lock = Lock()
    for each, storage in consumer._reader_storages.items():
        storage._lock = RLock()
        if each is reader:
            storage._instrument_view_instrument_matches = {}
            continue
        for match in [
            match for matches in storage._instrument_view_instrument_matches.values() for match in matches
        ]:
            match._lock = Lock()
            for aggregation in match._attributes_aggregation.values():
                aggregation._lock = Lock()
    for mapping in (ExponentMapping, LogarithmMapping):
        mapping._mappings_lock = Lock()
