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
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint
from inspect import signature
from threading import Event
from time import time
from types import SimpleNamespace
from typing import Any, Literal, Protocol, TypeAlias
from weakref import WeakSet

import msgspec
from opentelemetry import _logs, metrics, trace
from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk import metrics as sdk_metrics
from opentelemetry.sdk.metrics import view as sdk_views
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricReader, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, StaticSampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.sdk.version import __version__ as sdk_version
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
    "SdkLogger",
    "SdkMeter",
    "SdkTracer",
    "ViewParts",
    "add_reader",
    "aggregation_of",
    "already_installed",
    "attach",
    "become",
    "configure_loggers",
    "configure_meters",
    "configure_tracers",
    "consume_by",
    "decision_of",
    "declared_part",
    "delegates_of",
    "detach",
    "equipped",
    "export_bytes",
    "get_current",
    "instrument_classes",
    "is_heard",
    "keep_scope",
    "logger_provider_options",
    "make_reservoir",
    "matches",
    "missing",
    "offered",
    "on_ending",
    "otlp_exporter",
    "own_resource",
    "parts_of_propagator",
    "parts_of_view",
    "preferences_of",
    "preferred_aggregation",
    "preferred_temporality",
    "remove_reader",
    "resource_of",
    "signal_loop",
    "span_context",
    "span_processors",
    "speak_json",
    "take_bytes",
    "trace_state",
]

_log = logging.getLogger("bext_otel")

_missing: dict[str, str] = {}
_told: list[Callable[[str], object]] = []


def _lacks(name: str, instead: str) -> None:
    """Upstream has no such name: what happens `instead` is told at the start, or now if that is over."""
    if _missing.setdefault(name, instead) is instead and _told:
        _told[0](missing() or "")


def missing(tell: Callable[[str], object] | None = None) -> str | None:
    """One line about what upstream lacks of what is taken from its inside, since the last time; None if it
    lacks nothing. `tell` hears of what turns out later."""
    if tell is not None:
        _told[:] = [tell]
    found = dict(_missing)
    new = {name: instead for name, instead in found.items() if instead}
    _missing.update(dict.fromkeys(new, ""))
    if not new:
        return None
    said = "; ".join(dict.fromkeys(new.values()))
    return f"OpenTelemetry {sdk_version} has no {', '.join(new)}: {said}. The rest of telemetry works as ever"


def _looked_up(module: str, name: str, instead: str) -> Any:
    """What upstream has under a private name; None, noted, where it has not."""
    try:
        return getattr(import_module(module), name)
    except Exception:  # moved, renamed, or broken
        _lacks(f"{module}.{name}", instead)
        return None


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
    try:
        loader: Any = import_module("opentelemetry.instrumentation.auto_instrumentation._load")
    except ImportError:  # each checks as it does by itself
        return
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


def already_installed() -> tuple[str, ...]:
    """The signals whose provider the application has set by itself."""
    providers = {
        "traces": trace.get_tracer_provider(),
        "metrics": metrics.get_meter_provider(),
        "logs": _logs.get_logger_provider(),
    }
    return tuple(signal for signal, provider in providers.items() if not _is_proxy(provider))


_NO_OPS = (trace.NoOpTracerProvider, metrics.NoOpMeterProvider, _logs.NoOpLoggerProvider)
_API = tuple(f"{module.__name__}." for module in (trace, metrics, _logs))


def _is_proxy(provider: object) -> bool:
    """Does it stand in, in the API, for a provider that nobody has set yet?"""
    return f"{type(provider).__module__}.".startswith(_API) and not isinstance(provider, _NO_OPS)


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


def equipped(exporter: Any) -> Any:
    """An OTLP exporter that sends bytes. Upstream's over HTTP have a client for that from 1.45 on; others get
    one, which goes by their public `export` and by their session."""
    if _transport(exporter) is None and ".http." in f"{type(exporter).__module__}.":
        if not hasattr(exporter, "_session"):
            _lacks(
                f"{type(exporter).__name__}._client",
                "what OTEL_EXPORTER_OTLP_* says of certificates is asked anew",
            )
            exporter = type(exporter)(
                endpoint=getattr(exporter, "_endpoint", None), session=import_module("requests").Session()
            )
        exporter._client = _SessionClient(exporter)
    return exporter


class _Sent:
    """How a request of HTTP went, as newer exporters' transports tell it."""

    def __init__(self, response: Any = None, error: Exception | None = None) -> None:
        self.response = response
        self.error = error

    @property
    def status_code(self) -> int | None:
        return None if self.response is None else int(self.response.status_code)

    @property
    def reason(self) -> str | None:
        return None if self.response is None else str(self.response.reason)

    @property
    def success(self) -> bool:
        return self.response is not None and 200 <= self.response.status_code < 300

    def headers(self) -> Mapping[str, str]:
        return {} if self.response is None else self.response.headers


_ITEMS = {"OTLPSpanExporter": "spans", "OTLPMetricExporter": "metrics", "OTLPLogExporter": "logs"}


class _SessionClient:
    """Sends bytes by an exporter that encodes by itself: has it export nothing, and puts them in the place of
    what it hands its session. So its own certificates, headers and compression hold, whatever it calls
    them."""

    def __init__(self, exporter: Any) -> None:
        self._session = exporter._session
        self._send = self._session.request
        self._session.request = self._request
        self._exporter = exporter
        self._kind = _ITEMS[type(exporter).__name__]
        self._headers = self._session.headers
        self._timeout: float = exporter._timeout
        self._shutdown_event = Event()
        self._transport = self
        self._content: bytes | None = None
        self._sent = _Sent()

    def export(self, content: bytes) -> _Sent:
        self._sent, self._content = _Sent(), content
        try:
            self._exporter.export(MetricsData([]) if self._kind == "metrics" else [])
        finally:
            self._content = None
        return self._sent

    def _request(self, method: str, url: str, **options: Any) -> Any:
        if self._content is None:  # it encodes by itself
            return self._send(method, url, **{**options, "stream": False})
        encoding = self._headers.get("Content-Encoding")
        packer = {"gzip": "gzip", "deflate": "zlib"}.get(str(encoding))
        # Late, as whatever only sending needs.
        options["data"] = import_module(packer).compress(self._content) if packer else self._content
        self._sent = self.request(method, url, **options)
        done = import_module("requests").Response()
        done.status_code, done._content = 200, b""  # what became of it is known, and tried again by others
        return done

    def request(self, method: str, url: str, **options: Any) -> _Sent:
        options["timeout"] = self._timeout
        try:
            try:
                return _Sent(self._send(method, url, **options))
            except Exception as error:
                if not self.is_connection_error(error):
                    raise
            # One that was kept open may have been closed meanwhile.
            return _Sent(self._send(method, url, **options))
        except Exception as error:  # told as the newer ones tell it
            return _Sent(error=error)

    @staticmethod
    def is_connection_error(error: Exception) -> bool:
        return isinstance(error, import_module("requests").exceptions.ConnectionError)


def preferred_temporality(exporter: MetricExporter) -> Mapping[type, AggregationTemporality]:
    """What an exporter prefers, by the SDK's classes of instruments; empty for one that has no preference."""
    return getattr(exporter, "_preferred_temporality", None) or {}


class _Enabled:
    is_enabled = True


_ENABLED = _Enabled()


def preferred_aggregation(exporter: MetricExporter) -> Mapping[type, Any]:
    """The same for the aggregation of each class."""
    return getattr(exporter, "_preferred_aggregation", None) or {}


class SdkMeter(sdk_metrics.Meter):
    """An SDK meter, and what is to be known of it to make an instrument."""

    _meter_config: Any = _ENABLED  # of SDKs without configurators

    @property
    def enabled(self) -> bool:
        """Whether its instruments measure (meter configurator)."""
        return self._meter_config.is_enabled  # type: ignore[no-any-return]  # a bool, by whomever

    @property
    def scope(self) -> InstrumentationScope:
        """Whose meter it is."""
        return self._instrumentation_scope

    def _set_meter_config(self, meter_config: Any) -> None:
        super()._set_meter_config(meter_config)  # nobody calls it where there is none
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


def add_reader(provider: Any, reader: MetricReader) -> None:
    """Have a reader ask a meter provider's consumer; SDKs before 1.41 have readers added by nobody later."""
    add = getattr(sdk_metrics.MeterProvider, "add_metric_reader", None)
    if add is not None:
        add(provider, reader)
        return
    consumer = provider._measurement_consumer
    connect = getattr(reader, "_set_collect_callback", None)
    if connect is None:
        _lacks("MetricReader._set_collect_callback", "metric readers of the application's see nothing")
        return
    consumer.add_metric_reader(reader)
    connect(consumer.collect)


def remove_reader(provider: Any, reader: MetricReader) -> None:
    """Have a reader ask nobody any more."""
    remove = getattr(sdk_metrics.MeterProvider, "remove_metric_reader", None)
    if remove is not None:
        remove(provider, reader)
        return
    provider._measurement_consumer.remove_metric_reader(reader)


def resource_of(provider: Any) -> Resource:
    """The resource of a meter provider, as a fork may have changed it."""
    try:
        found: Resource = provider._sdk_config.resource
    except AttributeError:
        _lacks("MeterProvider._sdk_config", "metric readers see a resource of their own")
        return Resource.create({})
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

_INSTRUMENTS = "opentelemetry.sdk.metrics._internal.instrument"
_NAMES: Mapping[InstrumentKind, str] = {
    "counter": "_Counter",
    "up_down_counter": "_UpDownCounter",
    "gauge": "_Gauge",
    "histogram": "_Histogram",
    "observable_counter": "_ObservableCounter",
    "observable_up_down_counter": "_ObservableUpDownCounter",
    "observable_gauge": "_ObservableGauge",
}


def _made_instrument(kind: InstrumentKind) -> Any:
    """The class of what an SDK's meter makes."""
    provider = sdk_metrics.MeterProvider(resource=Resource({}), shutdown_on_exit=False)
    meter: Any = provider.get_meter("bext_otel")
    if isinstance(meter, metrics.NoOpMeter):  # the SDK is disabled, and nothing will be measured
        meter = metrics.NoOpMeter("bext_otel")
    made = getattr(meter, f"create_{kind}")("probe")
    provider.shutdown()
    return type(made)


SDK_INSTRUMENTS: Mapping[InstrumentKind, Any] = {
    kind: _looked_up(_INSTRUMENTS, name, "instruments are known by what a meter makes")
    or _made_instrument(kind)
    for kind, name in _NAMES.items()
}
"""The classes that readers and views know instruments by."""

Gauge: Any = getattr(metrics, "_Gauge", None) or type(metrics.NoOpMeter("m").create_gauge("g")).__mro__[1]
"""The API's class of synchronous gauges, which has no public name."""

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
        bounds = getattr(aggregation, "_boundaries", None)
        return Aggregated(
            "explicit",
            None if bounds is None else tuple(bounds),
            min_max=getattr(aggregation, "_record_min_max", True),
        )
    if isinstance(aggregation, sdk_views.ExponentialBucketHistogramAggregation):
        return Aggregated(
            "exponential",
            None,
            getattr(aggregation, "_max_size", 160),
            getattr(aggregation, "_max_scale", 20),
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
    factory = getattr(view, "_exemplar_reservoir_factory", _default_reservoirs)
    keys = getattr(view, "_attribute_keys", None)
    # Our own views' (`metrics/views.py`).
    excluded: frozenset[str] = getattr(view, "excluded_attribute_keys", frozenset())
    limit = getattr(view, "aggregation_cardinality_limit", None)
    return ViewParts(
        getattr(view, "_name", None),
        getattr(view, "_description", None),
        None if keys is None else frozenset(keys) - excluded,
        aggregation_of(getattr(view, "_aggregation", None)),
        None if factory is _default_reservoirs else factory,
        getattr(view, "_aggregation_cardinality_limit", None) if limit is None else limit,
        excluded if keys is None else frozenset(),
    )


def matches(view: Any, instrument: Any) -> bool:
    """Whether a view is about an instrument, which has a `name` in lower case, a `unit`, an
    `instrumentation_scope`, and is of one of `SDK_INSTRUMENTS`."""
    match = getattr(view, "_match", None)
    return match is not None and bool(match(instrument))


def _look_at_views() -> Any:
    """The SDK's factory of exemplar reservoirs. What a view keeps to itself is known by having one."""
    view = sdk_views.View(instrument_name="probe")
    for name in ("_match", "_name", "_description", "_attribute_keys", "_aggregation"):
        if not hasattr(view, name):
            _lacks(f"View.{name}", "views change nothing, or less than they say")
    return getattr(view, "_exemplar_reservoir_factory", None)


_default_reservoirs = _look_at_views()


_RESERVOIRS: Mapping[Form, str] = {
    "sum": "_SumAggregation",
    "last_value": "_LastValueAggregation",
    "explicit": "_ExplicitBucketHistogramAggregation",
    "exponential": "_ExponentialBucketHistogramAggregation",
}
_RESERVOIR_KINDS: Mapping[Form, Any] = {
    form: _looked_up(
        "opentelemetry.sdk.metrics._internal.aggregation",
        name,
        "the simplest reservoir keeps exemplars",
    )
    for form, name in _RESERVOIRS.items()
}


def make_reservoir(factory: Callable[[Any], Any], form: Form, bounds: Sequence[float], max_size: int) -> Any:
    """An exemplar reservoir for one series, by a view's factory."""
    kind = _RESERVOIR_KINDS[form]
    if kind is None:
        return sdk_metrics.SimpleFixedSizeExemplarReservoir()
    options: dict[str, Any] = {}
    if form == "explicit":
        options["boundaries"] = bounds
    elif form == "exponential":
        options["size"] = min(20, max_size)
    return factory(kind)(**options)


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
    for name in ("_instrument_class_temporality", "_instrument_class_aggregation"):
        if not hasattr(reader, name):
            _lacks(f"MetricReader.{name}", "metric readers get cumulative values, in default aggregations")
    temporality = getattr(reader, "_instrument_class_temporality", {})
    aggregation = getattr(reader, "_instrument_class_aggregation", {})
    return ReaderPreferences(
        {
            kind: temporality.get(made, AggregationTemporality.CUMULATIVE)
            for kind, made in SDK_INSTRUMENTS.items()
        },
        {kind: aggregation_of(aggregation.get(made)) for kind, made in SDK_INSTRUMENTS.items()},
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
    parts = getattr(propagator, "_propagators", None)
    if parts is None:
        _lacks("CompositePropagator._propagators", "a composite propagator is taken for one")
        return (propagator,)
    return tuple(part for each in parts for part in parts_of_propagator(each))


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
_KEEPS_MEMBERS = hasattr(TraceState(), "_dict")
if not _KEEPS_MEMBERS:
    _lacks("TraceState._dict", "a tracestate keeps what level 1 of W3C Trace Context has")


def trace_state(members: Sequence[tuple[str, str]]) -> TraceState:
    """A tracestate with these members, which are known to be well-formed."""
    state = _TraceState()
    if not _KEEPS_MEMBERS:
        return TraceState(members)
    state._dict = dict(members)
    return state


def own_resource(provider: Any) -> Callable[[Resource], None]:
    """Keep a tracer, meter or logger provider from changing its resource after a fork; what it answers with
    merges a resource into it."""
    update: Callable[[Resource], None] | None = getattr(provider, "_update_resource", None)
    if update is None:  # of an SDK that changes nothing after a fork
        return partial(_merge_resource, provider)
    provider._update_resource = lambda _: None
    return update


def _merge_resource(provider: Any, resource: Resource) -> None:
    if (shared := getattr(provider, "_sdk_config", None)) is not None:
        shared.resource = shared.resource.merge(resource)
        return
    merged = provider._resource = provider.resource.merge(resource)
    for made in tuple(_made_by(provider)):
        # A tracer's is a field, a logger's a property.
        setattr(made, "_resource" if hasattr(made, "_resource") else "resource", merged)


def _made_by(provider: Any) -> WeakSet[Any]:
    """The tracers or loggers of a provider, which SDKs before 1.40 don't remember."""
    found: WeakSet[Any] | None = getattr(provider, "bext_made", None)
    if found is None:
        found = provider.bext_made = WeakSet()
    return found


def keep_scope(provider: Any, made: Any, scope: Callable[[], InstrumentationScope]) -> None:
    """What an SDK's provider has just made knows its scope, and its provider knows it. Upstream's do, by
    private names and from some version on."""
    if not hasattr(made, "_instrumentation_scope"):
        made._instrumentation_scope = scope()
    if not hasattr(provider, "_update_resource"):
        _made_by(provider).add(made)
        configured = getattr(provider, "bext_configured", None)
        if configured is not None:
            configured(made)


class _LoggerMetrics(Protocol):
    def emit_log(self) -> None: ...


class SdkTracer(Tracer):
    """An SDK tracer, and what is to be known of it to make a span."""

    _tracer_config: Any = _ENABLED  # of SDKs without configurators

    @property
    def enabled(self) -> bool:
        """Whether its spans may be recorded (tracer configurator)."""
        return self._tracer_config.is_enabled  # type: ignore[no-any-return]  # as above

    @property
    def scope(self) -> InstrumentationScope:
        """Whose tracer it is."""
        return self._instrumentation_scope


class SdkLogger:
    """What is to be known of an SDK logger to make a record, for a class that is one too: to import the SDK's
    logs detects resources (see `detect_resources_anywhere`). `counts` is told of each record."""

    __slots__ = ()  # what the SDK has made becomes one

    counts: _LoggerMetrics
    _instrumentation_scope: InstrumentationScope
    _logger_config: Any = _ENABLED  # of SDKs without configurators

    @property
    def instrumentation_scope(self) -> InstrumentationScope:
        """Whose logger it is."""
        return self._instrumentation_scope

    @property
    def config(self) -> Any:
        """What a logger configurator has said of it."""
        return self._logger_config

    def counts_record(self) -> bool:
        """Whether it emits (logger configurator); one more record of its is counted then."""
        if not self._logger_config.is_enabled:
            return False
        self.counts.emit_log()
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


def _levels_cache() -> dict[Any, bool]:
    known = getattr(logging.root, "_cache", None)
    return known if type(known) is dict else _NeverKnown()


class _NeverKnown(dict[Any, bool]):
    """Where Python has no such cache."""

    def __setitem__(self, key: Any, value: bool) -> None:
        """Nothing is kept."""


levels_cache = _levels_cache()
"""What `logging` has found out of the root logger's levels, and forgets with every `setLevel` and `disable`:
what else is put there tells by its being gone that a level was set somewhere."""


level_names: Mapping[int, str] = getattr(logging, "_levelToName", {})
"""The names of levels, by number, as `logging.getLevelName` looks them up first."""


def feeds(handler: logging.Handler, provider: _logs.LoggerProvider) -> bool:
    """Is it one of upstream's `LoggingHandler`s (the SDK's, or the instrumentation's) that emits at this
    provider?"""
    found = getattr(handler, "_logger_provider", None)
    return found is not None and (
        found is provider or (_is_proxy(found) and _logs.get_logger_provider() is provider)
    )


def become(made: object, base: type, kind: type, **fields: Any) -> None:
    """Have what an SDK's provider made, a tracer or logger of class `base`, be of a class of ours, with these
    fields; the provider knows no other way to make one, and keeps it as its own."""
    if type(made) is base:
        made.__class__ = kind
        for name, value in fields.items():
            setattr(made, name, value)


def is_heard(logger: Any) -> bool:
    """Would a logger of the Logs API have somebody take its records? Older APIs don't say."""
    enabled = getattr(logger, "enabled", None)
    return enabled is None or bool(enabled())


def logger_provider_options(limits: Any) -> dict[str, Any]:
    """What a logger provider of the SDK's is made with so that it reads no limits itself."""
    from opentelemetry.sdk._logs import LoggerProvider  # late, as `SdkLogger` says

    return (
        {"log_record_limits": limits} if "log_record_limits" in signature(LoggerProvider).parameters else {}
    )


def configure_tracers(provider: TracerProvider, configurator: Callable[[Any], Any]) -> None:
    """Have a provider ask, for each tracer that it has made and will make, whether its spans are recorded (in
    development: a private name of upstream's, which older SDKs don't have)."""
    if (configure := getattr(provider, "_set_tracer_configurator", None)) is not None:
        configure(tracer_configurator=configurator)
    else:
        _configure(provider, "_tracer_config", configurator)


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
    else:
        _configure(provider, "_logger_config", configurator)


def _configure(provider: Any, field: str, configurator: Callable[[Any], Any]) -> None:
    """For SDKs that have no configurators themselves."""

    def configure(made: Any) -> None:
        try:
            setattr(made, field, configurator(made._instrumentation_scope))
        except Exception:  # the application's
            _log.exception("a configurator failed for %r, which is as it would be without", made)

    provider.bext_configured = configure
    for made in tuple(_made_by(provider)):
        configure(made)


def span_processors(provider: TracerProvider) -> tuple[SpanProcessor, ...]:
    """All the span processors of a provider, in the order in which they were added. Programs change them by
    this name."""
    active = getattr(provider, "_active_span_processor", None)
    if active is None:
        return tuple(getattr(provider, "added", ()))
    return getattr(active, "_span_processors", None) or (active,)


def on_ending(processor: SpanProcessor, span: Span) -> None:
    """Tell a processor that a span is about to be over (in development: upstream's name is a private one, and
    older SDKs have none)."""
    hear = getattr(processor, "on_ending", None) or getattr(processor, "_on_ending", None)
    if hear is not None:
        hear(span)


def delegates_of(sampler: ParentBased) -> tuple[Sampler | None, ...]:
    """The samplers that a parent-based one asks: for roots; for remote parents, sampled and not; for local
    ones likewise. None where that is not to be known: such a sampler is asked itself."""
    names = ("_root", *(f"_{whose}_parent_{what}" for whose in ("remote", "local") for what in _SAMPLED))
    return tuple(getattr(sampler, name, None) for name in names)


_SAMPLED = ("sampled", "not_sampled")


def decision_of(sampler: StaticSampler) -> Decision | None:
    """What a sampler decides that always decides the same; None where that is not to be known."""
    return getattr(sampler, "_decision", None)


class _Outcome:
    """What upstream's exporters write down of an export: `ExportResult` of their own telemetry."""

    error_attrs: Mapping[str, object] | None = None

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


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
        if status in _MAY_PASS:
            return Failure(
                _cause(outcome),
                f"{status} {answers[0].reason or ''}",
                True,
                _retry_after(answers[0].headers()),
            )
        if error is not None:
            return Failure(_cause(outcome), str(error), transport.is_connection_error(error))
        return Failure(_cause(outcome))

    transport.request = request
    exporter._metrics = _Explaining(failed, judge, answers.clear)


# OTLP specification, "Retryable Response Codes".
_MAY_PASS = frozenset({429, 502, 503, 504})


def _retry_after(headers: Mapping[str, str]) -> float:
    """How many seconds an answer asks to wait, in seconds or until a date; 0.0 if it does not."""
    asked = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    with suppress(TypeError, ValueError, OverflowError):
        if asked.isascii() and asked.isdigit():
            return float(asked)
        return (
            max(import_module("email.utils").parsedate_to_datetime(asked).timestamp() - time(), 0.0)
            if asked
            else 0.0
        )
    return 0.0


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
    make, passing = exporter._stub, {code.name for code in _retryable(exporter)}
    tells = hasattr(exporter, "_metrics")

    def stub(channel: Any) -> Any:
        made = make(channel)
        export = made.Export

        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                reply = export(*args, **kwargs)
            except Exception as error:
                if not tells and (failure := judge(_Outcome(error))) is not None:
                    failed(failure)
                raise
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
        cause = error.code().name
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
    exporter.sends_bytes = not hasattr(exporter, "_count_data")
    exporter._translate_data = lambda data: data.content
    exporter._count_data = lambda data: data.items


_KINDS_OF_REPLIES = {"traces": "spans", "metrics": "metrics", "logs": "logs"}


def export_bytes(exporter: Any, content: bytes, items: int) -> bool:
    """Have an exporter send a request that is encoded already, of so many items; whether it arrived."""
    if getattr(exporter, "sends_bytes", False):  # before 1.42, it tries again whatever one says
        with suppress(Exception):  # `explain_exports` has told
            exporter._client.Export(request=content, metadata=exporter._headers, timeout=exporter._timeout)
            return True
        return False
    if _transport(exporter) is None:
        return bool(exporter._export(_Content(content, items)).name == "SUCCESS")
    with exporter._metrics.export_operation(items) as outcome:
        result = exporter._client.export(content)
        outcome.error = result.error
        if result.status_code is not None and not result.success:
            outcome.error_attrs = {"http.response.status_code": result.status_code}
        return bool(result.success)


def _retryable(exporter: Any) -> Any:
    """The statuses of gRPC at which an exporter tries again."""
    found = getattr(exporter, "_retryable_error_codes", None)
    if found is None:
        module = import_module("opentelemetry.exporter.otlp.proto.grpc.exporter")
        found = getattr(module, "_RETRYABLE_ERROR_CODES", ())
    return found


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
