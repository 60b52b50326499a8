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
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint
from importlib.util import find_spec, module_from_spec
from types import SimpleNamespace
from typing import Any, Literal, Protocol, TypeAlias

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
from opentelemetry.sdk.metrics import view as sdk_views
from opentelemetry.sdk.metrics._internal import aggregation as sdk_aggregations
from opentelemetry.sdk.metrics._internal import instrument as sdk_instruments
from opentelemetry.sdk.metrics._internal.view import _default_reservoir_factory
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, StaticSampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import DEFAULT_TRACE_STATE, SpanContext, TraceFlags, TraceState

__all__ = [
    "SDK_INSTRUMENTS",
    "SIGNAL_LOOPS",
    "SPAN_KEY",
    "Aggregated",
    "Failure",
    "Form",
    "Gauge",
    "InstrumentKind",
    "MeasurementConsumer",
    "ReaderPreferences",
    "SdkMeter",
    "SdkTracer",
    "ViewParts",
    "aggregation_of",
    "already_installed",
    "attach",
    "become",
    "configure_loggers",
    "configure_meters",
    "configure_tracers",
    "consume_by",
    "counts_record",
    "decision_of",
    "declared_part",
    "delegates_of",
    "detach",
    "export_bytes",
    "get_current",
    "instrument_classes",
    "logger_config",
    "make_reservoir",
    "matches",
    "offered",
    "on_ending",
    "otlp_exporter",
    "own_resource",
    "parts_of_propagator",
    "parts_of_view",
    "preferences_of",
    "preferred_temporality",
    "prometheus_name",
    "resource_of",
    "signal_loop",
    "span_context",
    "span_processors",
    "speak_json",
    "take_bytes",
    "trace_state",
    "unit_word",
]

_OTLP = {
    "traces": ("trace_exporter", "OTLPSpanExporter"),
    "metrics": ("metric_exporter", "OTLPMetricExporter"),
    "logs": ("_log_exporter", "OTLPLogExporter"),
}

MAX_ANSWER = 4 << 20
"""Bytes of an answer that are read at most (OTLP specification; gRPC has this limit by itself)."""

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
    """Does at once, in the thread that asks, what needs no thread, and what it has none for."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        # The SDK's own detectors wait for nobody, and are quicker than a thread.
        if not type(getattr(fn, "__self__", None)).__module__.startswith("opentelemetry.sdk."):
            with suppress(RuntimeError):  # no thread can be started
                return super().submit(fn, *args, **kwargs)
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


def offered(group: str) -> Sequence[EntryPoint]:
    """What packages offer under this name. The launcher has looked at every package already, and the API
    keeps what it found: to look once more opens a file of each."""
    known: Any = import_module("opentelemetry.util._importlib_metadata")
    return tuple(known.entry_points(group=group))


SIGNAL_LOOPS = "asyncio.unix_events"
"""Where asyncio keeps the event loops that hear of signals, and the handler that it sets for them."""


def signal_loop(module: Any) -> Any:
    """The class of asyncio's event loops whose `add_signal_handler` they all have; None where it is another
    one."""
    return getattr(module, "_UnixSelectorEventLoop", None)


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


def prometheus_name(name: str, unit: str, *, counter: bool, total: bool = True) -> str:
    """The standard translation of an instrument's name and unit to Prometheus (OpenTelemetry compatibility
    specification).

    Ratios of unit `1` end in `_ratio` when they are gauges; a counter ends in `_total`, unless `total` says
    otherwise.
    """
    mapping = _prometheus_mapping()
    legal: str = mapping.sanitize_full_name(name)
    suffix = unit_word(unit)
    if unit == "1" and not counter:
        suffix = "ratio"
    if suffix and not legal.endswith(f"_{suffix}"):
        legal = f"{legal}_{suffix}"
    return f"{legal}_total" if counter and total and not legal.endswith("_total") else legal


def unit_word(unit: str) -> str:
    """A UCUM unit as the word that names of Prometheus end in; empty for one that is told nowhere."""
    # UCUM's kilo is a small letter; upstream's table, which is the collector's, has it large.
    word: str = _prometheus_mapping().map_unit(f"K{unit[1:]}" if unit.startswith("kBy") else unit)
    return word


def already_installed() -> tuple[str, ...]:
    """The signals whose provider the application has set by itself."""
    proxies = {
        "traces": (trace.get_tracer_provider(), trace.ProxyTracerProvider),
        "metrics": (metrics.get_meter_provider(), _ProxyMeterProvider),
        "logs": (_logs.get_logger_provider(), ProxyLoggerProvider),
    }
    return tuple(signal for signal, (provider, proxy) in proxies.items() if not isinstance(provider, proxy))


def otlp_exporter(
    protocol: Literal["http/protobuf", "http/json", "grpc"], signal: Literal["traces", "metrics", "logs"]
) -> Any:
    """The class of upstream's OTLP exporter (for JSON, see `speak_json`); imported when asked for, since gRPC
    takes longer to import than everything else together."""
    module, name = _OTLP[signal]
    transport = protocol.partition("/")[0]
    for late in _LATE if transport == "http" else ():
        import_module(late)
    return getattr(import_module(f"opentelemetry.exporter.otlp.proto.{transport}.{module}"), name)


def preferred_temporality(exporter: MetricExporter) -> Mapping[type, AggregationTemporality]:
    """What an exporter prefers, by the SDK's classes of instruments; empty for one that has no preference."""
    return getattr(exporter, "_preferred_temporality", None) or {}


class SdkMeter(sdk_metrics.Meter):
    """An SDK meter, and what is to be known of it to make an instrument."""

    @property
    def enabled(self) -> bool:
        """Whether its instruments measure (meter configurator)."""
        return self._meter_config.is_enabled

    @property
    def scope(self) -> InstrumentationScope:
        """Whose meter it is."""
        return self._instrumentation_scope

    def _set_meter_config(self, meter_config: Any) -> None:
        super()._set_meter_config(meter_config)
        self.on_configured()

    def on_configured(self) -> None:
        """Somebody has set another meter configurator."""


class MeasurementConsumer(Protocol):
    """What an SDK's meter provider hands its readers to, and they ask."""

    def add_metric_reader(self, metric_reader: MetricReader) -> None:
        """A reader joins."""

    def remove_metric_reader(self, metric_reader: MetricReader) -> None:
        """A reader leaves."""

    def collect(self, metric_reader: MetricReader, timeout_millis: float = 10_000) -> Any:
        """The data for a reader; None if there is nothing."""


def consume_by(provider: Any, consumer: MeasurementConsumer) -> None:
    """Have a meter provider's readers ask `consumer`."""
    provider._measurement_consumer = consumer


def resource_of(provider: Any) -> Resource:
    """The resource of a meter provider, as a fork may have changed it."""
    found: Resource = provider._sdk_config.resource
    return found


InstrumentKind: TypeAlias = Literal[
    "counter",
    "up_down_counter",
    "gauge",
    "histogram",
    "observable_counter",
    "observable_up_down_counter",
    "observable_gauge",
]

SDK_INSTRUMENTS: Mapping[InstrumentKind, Any] = {
    "counter": sdk_instruments._Counter,
    "up_down_counter": sdk_instruments._UpDownCounter,
    "gauge": sdk_instruments._Gauge,
    "histogram": sdk_instruments._Histogram,
    "observable_counter": sdk_instruments._ObservableCounter,
    "observable_up_down_counter": sdk_instruments._ObservableUpDownCounter,
    "observable_gauge": sdk_instruments._ObservableGauge,
}
"""The classes that readers and views know instruments by."""

Form: TypeAlias = Literal["default", "drop", "sum", "last_value", "explicit", "exponential"]


class Aggregated(msgspec.Struct, frozen=True):
    """An SDK's aggregation, as data. `bounds` are None where the instrument, or the default, says them."""

    form: Form = "default"
    bounds: tuple[float, ...] | None = None
    max_size: int = 160
    max_scale: int = 20
    min_max: bool = True


def aggregation_of(aggregation: Any) -> Aggregated:
    """What an aggregation of the SDK's asks for."""
    if isinstance(aggregation, sdk_views.DropAggregation):
        return Aggregated("drop")
    if isinstance(aggregation, sdk_views.SumAggregation):
        return Aggregated("sum")
    if isinstance(aggregation, sdk_views.LastValueAggregation):
        return Aggregated("last_value")
    if isinstance(aggregation, sdk_views.ExplicitBucketHistogramAggregation):
        bounds = aggregation._boundaries
        return Aggregated(
            "explicit", None if bounds is None else tuple(bounds), min_max=aggregation._record_min_max
        )
    if isinstance(aggregation, sdk_views.ExponentialBucketHistogramAggregation):
        return Aggregated(
            "exponential",
            None,
            aggregation._max_size,
            aggregation._max_scale,
            min_max=getattr(aggregation, "_record_min_max", True),
        )
    return Aggregated()


class ViewParts(msgspec.Struct, frozen=True):
    """What a view makes of the instruments that it matches; None leaves it as it is."""

    name: str | None
    description: str | None
    keys: frozenset[str] | None
    aggregation: Aggregated
    reservoirs: Callable[[Any], Any] | None
    limit: int | None
    excluded: frozenset[str] = frozenset()


def parts_of_view(view: Any) -> ViewParts:
    """What a view says."""
    factory, keys = view._exemplar_reservoir_factory, view._attribute_keys
    # Our own views' (`metrics/views.py`).
    excluded: frozenset[str] = getattr(view, "excluded_attribute_keys", frozenset())
    limit = getattr(view, "aggregation_cardinality_limit", None)
    return ViewParts(
        view._name,
        view._description,
        None if keys is None else frozenset(keys) - excluded,
        aggregation_of(view._aggregation),
        None if factory is _default_reservoir_factory else factory,
        getattr(view, "_aggregation_cardinality_limit", None) if limit is None else limit,
        excluded if keys is None else frozenset(),
    )


def matches(view: Any, instrument: Any) -> bool:
    """Whether a view is about an instrument, which has a `name` in lower case, a `unit`, an
    `instrumentation_scope`, and is of one of `SDK_INSTRUMENTS`."""
    return bool(view._match(instrument))


_RESERVOIR_KINDS: Mapping[Form, Any] = {
    "sum": sdk_aggregations._SumAggregation,
    "last_value": sdk_aggregations._LastValueAggregation,
    "explicit": sdk_aggregations._ExplicitBucketHistogramAggregation,
    "exponential": sdk_aggregations._ExponentialBucketHistogramAggregation,
}


def make_reservoir(factory: Callable[[Any], Any], form: Form, bounds: Sequence[float], max_size: int) -> Any:
    """An exemplar reservoir for one series, by a view's factory."""
    options: dict[str, Any] = {}
    if form == "explicit":
        options["boundaries"] = bounds
    elif form == "exponential":
        options["size"] = min(20, max_size)
    return factory(_RESERVOIR_KINDS[form])(**options)


class ReaderPreferences(msgspec.Struct, frozen=True):
    """What a metric reader asks for, by kind of instrument. `limits` has those that are not the SDK's
    default."""

    temporality: Mapping[InstrumentKind, AggregationTemporality]
    aggregation: Mapping[InstrumentKind, Aggregated]
    limits: Mapping[InstrumentKind, int]


# The SDK's own, from 1.45.2 on.
_DEFAULT_LIMIT = 2000


def preferences_of(reader: MetricReader) -> ReaderPreferences:
    """What a reader of the SDK's interface prefers."""
    limits: Mapping[Any, int] = getattr(reader, "_instrument_class_cardinality_limit", {})
    found = {kind: limits.get(made, _DEFAULT_LIMIT) for kind, made in SDK_INSTRUMENTS.items()}
    return ReaderPreferences(
        {kind: reader._instrument_class_temporality[made] for kind, made in SDK_INSTRUMENTS.items()},
        {
            kind: aggregation_of(reader._instrument_class_aggregation[made])
            for kind, made in SDK_INSTRUMENTS.items()
        },
        {kind: limit for kind, limit in found.items() if limit != _DEFAULT_LIMIT},
    )


def limit_series(reader: MetricReader, limits: Mapping[Any, int]) -> object | None:
    """Have a reader show no more attribute sets than that, by the SDK's public classes of instruments; the
    first that is none of them, None if all are."""
    kinds = {public: made for made in SDK_INSTRUMENTS.values() for public in (made, made.__base__)}
    for kind in limits:
        if kind not in kinds:
            return kind  # type: ignore[no-any-return]  # whatever it is
    theirs: Mapping[Any, int] = getattr(reader, "_instrument_class_cardinality_limit", {})
    given = {kinds[kind]: limit for kind, limit in limits.items()}
    reader._instrument_class_cardinality_limit = {**theirs, **given}  # type: ignore[attr-defined]  # from 1.45.2 on
    return None


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


def logger_config(logger: Any) -> Any:
    """What a logger configurator has said of an SDK's logger."""
    return logger._logger_config


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


def configure_tracers(provider: TracerProvider, configurator: Callable[[Any], Any]) -> None:
    """Have a provider ask, for each tracer that it has made and will make, whether its spans are recorded (in
    development: a private name of upstream's, which older SDKs don't have)."""
    if (configure := getattr(provider, "_set_tracer_configurator", None)) is not None:
        configure(tracer_configurator=configurator)


# Factories of upstream's package of the declarative configuration, by what they make; in public it offers
# whole providers of the SDK's only.
_FACTORIES: Mapping[str, tuple[str, str]] = {
    "sampler": ("_tracer_provider", "_create_sampler"),
    "span_processor": ("_tracer_provider", "_create_span_processor"),
    "traces_exporter": ("_tracer_provider", "_create_span_exporter"),
    "log_record_processor": ("_logger_provider", "_create_log_record_processor"),
    "logs_exporter": ("_logger_provider", "_create_log_record_exporter"),
    "metrics_exporter": ("_meter_provider", "_create_push_metric_exporter"),
    "metric_reader": ("_meter_provider", "_create_metric_reader"),
    "aggregation": ("_meter_provider", "_create_aggregation"),
}


def declared_part(kind: str, model: Any) -> Any:
    """What upstream makes of a part of a declarative configuration. Raises where it makes none."""
    module, name = _FACTORIES[kind]
    return getattr(import_module(f"opentelemetry.configuration.{module}"), name)(model)


def instrument_classes() -> Mapping[str, type]:
    """The SDK's classes of instruments, as the declarative configuration names them."""
    return {
        "counter": sdk_metrics.Counter,
        "gauge": sdk_metrics._Gauge,
        "histogram": sdk_metrics.Histogram,
        "observable_counter": sdk_metrics.ObservableCounter,
        "observable_gauge": sdk_metrics.ObservableGauge,
        "observable_up_down_counter": sdk_metrics.ObservableUpDownCounter,
        "up_down_counter": sdk_metrics.UpDownCounter,
    }


def configure_meters(provider: Any, configurator: Callable[[Any], Any]) -> None:
    """The same for a meter provider, and what the instruments of its meters measure."""
    if (configure := getattr(provider, "_set_meter_configurator", None)) is not None:
        configure(meter_configurator=configurator)


def configure_loggers(provider: Any, configurator: Callable[[Any], Any]) -> None:
    """The same for a logger provider, and the records of its loggers."""
    if (configure := getattr(provider, "_set_logger_configurator", None)) is not None:
        configure(logger_configurator=configurator)


def span_processors(provider: TracerProvider) -> tuple[SpanProcessor, ...]:
    """All the span processors of a provider, in the order in which they were added. Programs change them by
    this name."""
    active = provider._active_span_processor
    return getattr(active, "_span_processors", None) or (active,)


def on_ending(processor: SpanProcessor, span: Span) -> None:
    """Tell a processor that a span is about to be over (in development: upstream's name is a private one, and
    older SDKs have none)."""
    hear = getattr(processor, "on_ending", None) or getattr(processor, "_on_ending", None)
    if hear is not None:
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
    exporter: Any,
    failed: Callable[[Failure], None],
    rejected: Callable[[int, str], None],
    answered: Callable[[int], None],
) -> None:
    """Have one of upstream's OTLP exporters tell why an export failed, what the backend rejected of one it
    took, and with which status it answered over HTTP.

    Upstream reads neither the reply nor, over HTTP, the status of a refusal.
    """

    def look(reply: Any) -> None:
        partial = reply.partial_success
        counts = [value for field, value in partial.ListFields() if field.name.startswith("rejected_")]
        if counts:
            rejected(counts[0], partial.error_message)

    if (transport := _transport(exporter)) is not None:
        _explain_http(exporter, transport, failed, look, answered)
    else:
        _explain_grpc(exporter, failed, look)


def _transport(exporter: Any) -> Any:
    """What an exporter sends HTTP with; None for one of gRPC."""
    return getattr(getattr(exporter, "_client", None), "_transport", None)


def _explain_http(
    exporter: Any,
    transport: Any,
    failed: Callable[[Failure], None],
    look: Callable[[Any], None],
    answered: Callable[[int], None],
) -> None:
    package, name = _REPLIES[exporter._client._kind]
    kind = getattr(import_module(f"opentelemetry.proto.collector.{package}.v1.{package}_service_pb2"), name)
    http = import_module("opentelemetry.exporter.otlp.common.http")
    send = transport.request
    answers: list[Any] = []
    # Bodies are read below.
    transport._session.stream = True

    def request(*args: Any, **kwargs: Any) -> Any:
        result = send(*args, **kwargs)
        answers[:] = [result]
        answered(result.status_code or 0)
        with suppress(Exception):  # a reply that cannot be read rejects nothing
            content = _body(result.response)
            if content and 200 <= result.status_code < 300:
                if "json" in (result.headers().get("content-type") or ""):
                    parse = import_module("google.protobuf.json_format").Parse
                    look(parse(content, kind(), ignore_unknown_fields=True))
                else:
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


def _body(response: Any) -> bytes:
    """The body of an answer; nothing of one that is longer than the specification lets anybody read."""
    body = b""
    try:
        for chunk in response.iter_content(65_536):
            body += chunk
            if len(body) > MAX_ANSWER:
                return b""
        return body
    finally:
        response.close()  # where it was read to its end, the connection is kept


def speak_json(exporter: Any, json_of: Callable[[bytes], bytes]) -> None:
    """Have one of upstream's OTLP exporters over HTTP send what `json_of` makes of each request."""
    client = exporter._client
    client._headers["content-type"] = "application/json"
    export = client.export
    client.export = lambda content: export(json_of(content))


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


def parse_pattern(pattern: str) -> Any:
    """A regular expression as Python's own engine reads it: pairs of an operation and what it is given."""
    parser = import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")
    return parser.parse(pattern)
