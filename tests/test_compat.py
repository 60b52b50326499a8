"""Each private upstream name still is what bext-otel takes it for."""

from __future__ import annotations

import asyncio
import inspect
import logging
import socket
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
from opentelemetry import metrics, trace
from opentelemetry._logs._internal import ProxyLoggerProvider
from opentelemetry.context import Context
from opentelemetry.sdk import metrics as sdk_metrics
from opentelemetry.sdk._logs import Logger, LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import (
    AlignedHistogramBucketExemplarReservoir,
    Counter,
    Histogram,
    MeterProvider,
    ObservableCounter,
    view,
)
from opentelemetry.sdk.metrics import Meter as SdkMeterClass
from opentelemetry.sdk.metrics._internal.view import _default_reservoir_factory
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ConsoleMetricExporter,
    InMemoryMetricReader,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, ParentBased, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel import _compat
from bext_otel.export.temporality import otlp_temporality
from bext_otel.metrics.instruments.identity import Identity
from bext_otel.traces.provider import BextTracerProvider
from tests.fresh import fresh
from tests.versions import SDK, since


def test_the_synchronous_gauge_has_set() -> None:
    assert ["self", "amount", "attributes", "context"] == list(
        inspect.signature(_compat.Gauge.set).parameters
    )
    assert isinstance(metrics.NoOpMeter("x").create_gauge("g"), _compat.Gauge)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_every_otlp_exporter_is_where_we_look_for_it(protocol: str, signal: str) -> None:
    exporter = _compat.otlp_exporter(protocol, signal)  # type: ignore[arg-type]
    assert {"endpoint", "headers", "timeout"} <= set(inspect.signature(exporter.__init__).parameters)


def test_a_first_request_imports_nothing_that_is_not_there_already(tmp_path: Path) -> None:
    """A fork in the middle of an import leaves its lock held in the child."""
    shown, _ = fresh(
        """
        import sys
        from contextlib import suppress
        from bext_otel import _compat
        exporter = _compat.otlp_exporter("http/protobuf", "logs")(endpoint="http://localhost:9/v1/logs", timeout=0.2)
        before = set(sys.modules)
        with suppress(OSError):  # of older ones
            exporter.export([])
        exporter.shutdown()
        show(sorted(set(sys.modules) - before))
        """,
        tmp_path,
    )
    assert [] == shown


def test_a_proxy_is_no_provider_that_the_application_has_set() -> None:
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        assert "traces" not in _compat.already_installed()
    assert set(_compat.already_installed()) <= {"traces", "metrics", "logs"}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize(
    ("value", "deltas"),
    [
        ("cumulative", set()),
        ("delta", {Counter, ObservableCounter, Histogram}),
        ("lowmemory", {Counter, Histogram}),
        ("DELTA", {Counter, ObservableCounter, Histogram}),
        ("sometimes", set()),
    ],
)
def test_an_exporter_prefers_the_temporality_of_the_standard_variable(
    monkeypatch: pytest.MonkeyPatch, protocol: str, value: str, deltas: set[type]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", value)
    exporter = _compat.otlp_exporter(protocol, "metrics")(endpoint="http://127.0.0.1:1")  # type: ignore[arg-type]
    found = {
        kind
        for kind, prefers in _compat.preferred_temporality(exporter).items()
        if prefers is AggregationTemporality.DELTA
    }
    exporter.shutdown()
    assert deltas == found
    assert dict(_compat.preferred_temporality(exporter)) == otlp_temporality(), "known without one"


class Asked:
    """Takes the place of what an SDK's meter provider collects from."""

    def __init__(self) -> None:
        self.said: list[tuple[str, object]] = []

    def add_metric_reader(self, metric_reader: object) -> None:
        self.said.append(("add", metric_reader))

    def remove_metric_reader(self, metric_reader: object) -> None:
        self.said.append(("remove", metric_reader))

    def collect(self, metric_reader: object, timeout_millis: float = 10_000) -> MetricsData:
        self.said.append(("collect", metric_reader))
        return MetricsData(resource_metrics=[])


def test_readers_of_a_provider_ask_who_takes_its_place() -> None:
    provider, reader, asked = MeterProvider(shutdown_on_exit=False), InMemoryMetricReader(), Asked()
    _compat.consume_by(provider, asked)
    _compat.add_reader(provider, reader)
    assert MetricsData(resource_metrics=[]) == reader.get_metrics_data()
    _compat.remove_reader(provider, reader)
    assert [("add", reader), ("collect", reader), ("remove", reader)] == asked.said
    provider.shutdown()


def test_the_resource_of_a_meter_provider_is_the_one_that_it_has_now() -> None:
    provider = MeterProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    _compat.own_resource(provider)(Resource({"service.instance.id": "1"}))
    assert {"service.name": "shop", "service.instance.id": "1"} == dict(
        _compat.resource_of(provider).attributes
    )


class ConfiguredMeter(_compat.SdkMeter):
    told: list[bool]

    def on_configured(self) -> None:
        self.told.append(self.enabled)


@since(42, "meter configurators")
def test_a_meter_hears_of_another_configurator() -> None:
    provider = MeterProvider(shutdown_on_exit=False)
    meter = provider.get_meter("some.library", "1.0")
    _compat.become(meter, SdkMeterClass, ConfiguredMeter, told=[])
    assert isinstance(meter, ConfiguredMeter)
    assert ("some.library", "1.0", True) == (meter.scope.name, meter.scope.version, meter.enabled)
    provider._set_meter_configurator(meter_configurator=lambda _: SimpleNamespace(is_enabled=False))  # type: ignore[arg-type,return-value]  # what is asked of it
    assert [False] == meter.told
    provider.shutdown()


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        (view.DefaultAggregation(), _compat.Aggregated()),
        (view.DropAggregation(), _compat.Aggregated("drop")),
        (view.SumAggregation(), _compat.Aggregated("sum")),
        (view.LastValueAggregation(), _compat.Aggregated("last_value")),
        (view.ExplicitBucketHistogramAggregation(), _compat.Aggregated("explicit")),
        (
            view.ExplicitBucketHistogramAggregation([1, 2], record_min_max=False),
            _compat.Aggregated("explicit", (1, 2), min_max=False),
        ),
        (
            view.ExponentialBucketHistogramAggregation(max_size=20, max_scale=3),
            _compat.Aggregated("exponential", None, 20, 3),
        ),
    ],
)
def test_an_aggregation_says_what_it_asks_for(aggregation: object, expected: _compat.Aggregated) -> None:
    assert expected == _compat.aggregation_of(aggregation)


def test_a_view_says_what_it_makes_of_an_instrument() -> None:
    plain = _compat.parts_of_view(view.View(instrument_name="a"))
    assert _compat.ViewParts(None, None, None, _compat.Aggregated(), None, None) == plain

    def factory(_: object) -> object:
        return AlignedHistogramBucketExemplarReservoir

    full = view.View(
        instrument_name="a",
        name="b",
        description="d",
        attribute_keys={"k"},
        aggregation=view.DropAggregation(),
        exemplar_reservoir_factory=factory,  # type: ignore[arg-type]  # a class builds one
    )
    assert _compat.ViewParts(
        "b", "d", frozenset({"k"}), _compat.Aggregated("drop"), factory, None
    ) == _compat.parts_of_view(full)


@pytest.mark.parametrize("kind", _compat.SDK_INSTRUMENTS)
def test_a_view_matches_what_looks_like_an_instrument_of_the_sdks(kind: _compat.InstrumentKind) -> None:
    scope = InstrumentationScope("lib", "1.0", "https://schema")
    probe = Identity(scope, kind, "Jobs.done", "s", "").probe()
    public = getattr(sdk_metrics, "_Gauge" if kind == "gauge" else kind.title().replace("_", ""))
    assert _compat.matches(view.View(instrument_type=public), probe)
    assert _compat.matches(
        view.View(
            instrument_name="jobs.*",
            instrument_unit="s",
            meter_name="lib",
            meter_version="1.0",
            meter_schema_url="https://schema",
        ),
        probe,
    )
    for wrong in (
        view.View(instrument_name="tasks.*"),
        view.View(instrument_unit="ms"),
        view.View(meter_name="other"),
        view.View(meter_version="2.0"),
        view.View(meter_schema_url="https://other"),
        view.View(instrument_type=Counter if kind != "counter" else Histogram),
    ):
        assert not _compat.matches(wrong, probe)


@pytest.mark.parametrize("form", ["sum", "last_value", "explicit", "exponential"])
def test_a_reservoir_is_made_as_the_sdk_makes_it(form: _compat.Form) -> None:
    reservoir = _compat.make_reservoir(_default_reservoir_factory, form, (1.0, 2.0), 160)
    reservoir.offer(1.5, 1, {"k": "v", "dropped": "w"}, Context())
    (exemplar,) = reservoir.collect({"k": "v"})
    assert (1.5, {"dropped": "w"}) == (exemplar.value, exemplar.filtered_attributes)


def test_a_reader_says_what_it_prefers_by_kind_of_instrument() -> None:
    reader = InMemoryMetricReader(
        {Counter: AggregationTemporality.DELTA}, {Histogram: view.ExponentialBucketHistogramAggregation()}
    )
    found = _compat.preferences_of(reader)
    assert {"counter"} == {
        kind for kind, prefers in found.temporality.items() if prefers is AggregationTemporality.DELTA
    }
    assert {"histogram"} == {
        kind for kind, prefers in found.aggregation.items() if prefers != _compat.Aggregated()
    }
    assert {} == found.limits


def test_a_reader_is_limited_by_kind_of_instrument() -> None:
    reader = InMemoryMetricReader()
    assert _compat.limit_series(reader, {Counter: 5, Histogram: 7}) is None
    assert {"counter": 5, "histogram": 7} == _compat.preferences_of(reader).limits
    assert int is _compat.limit_series(reader, {int: 5})


def test_an_exporter_without_a_preference_has_none() -> None:
    assert not _compat.preferred_temporality(ConsoleMetricExporter())
    assert not _compat.preferred_aggregation(ConsoleMetricExporter())


def test_an_exporter_tells_which_aggregation_it_prefers() -> None:
    wanted: dict[type, view.Aggregation] = {Histogram: view.ExponentialBucketHistogramAggregation()}
    assert wanted == _compat.preferred_aggregation(ConsoleMetricExporter(preferred_aggregation=wanted))


def resource_of(provider: object) -> Mapping[str, object]:
    """As its signal would be exported."""
    if isinstance(provider, TracerProvider):
        exporter = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        provider.get_tracer("t").start_span("s").end()
        return exporter.get_finished_spans()[0].resource.attributes
    if isinstance(provider, MeterProvider):
        provider.get_meter("t").create_counter("c").add(1)
        (reader,) = provider._metric_readers
        assert isinstance(reader, InMemoryMetricReader)
        data = reader.get_metrics_data()
        assert data is not None
        return data.resource_metrics[0].resource.attributes
    assert isinstance(provider, LoggerProvider)
    logs = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # upstream left it untyped
    provider.add_log_record_processor(SimpleLogRecordProcessor(logs))
    provider.get_logger("t").emit(body="b")
    return logs.get_finished_logs()[0].resource.attributes


@since(45, "providers that change their resource after a fork")
@pytest.mark.parametrize(
    "make", [TracerProvider, lambda **given: MeterProvider([InMemoryMetricReader()], **given), LoggerProvider]
)
def test_a_provider_keeps_its_resource_over_a_fork_and_takes_what_it_is_told(
    make: Callable[..., object],
) -> None:
    given = Resource({"service.instance.id": "mine", "service.name": "shop"})
    provider = make(resource=given, shutdown_on_exit=False)
    update = _compat.own_resource(provider)
    forked = getattr(provider, "_handle_fork", lambda: None)  # what newer SDKs have called in a child
    forked()
    assert "mine" == resource_of(provider)["service.instance.id"]
    update(Resource({"service.instance.id": "mine-2"}))
    forked()
    assert {"service.instance.id": "mine-2", "service.name": "shop"} == dict(resource_of(provider))


class Told:
    """Takes what upstream's hooks say."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def start_span(self, parent: object, decision: object) -> Callable[[], object]:
        self.said.append(("start", parent, decision))
        return lambda: self.said.append("end")

    def emit_log(self) -> None:
        self.said.append("log")

    def finish_items(self, count: int) -> None:
        self.said.append(("finish", count))

    def drop_items(self, count: int, error_type: str = "queue_full") -> None:
        self.said.append(("drop", count, error_type))


def test_a_tracer_becomes_one_of_ours_which_its_provider_keeps() -> None:
    class Ours(_compat.SdkTracer):
        core: str

    provider = TracerProvider(shutdown_on_exit=False)
    tracer = provider.get_tracer("t", "1")
    _compat.become(tracer, Tracer, Ours, core="core")
    assert isinstance(tracer, Ours)
    assert ("core", True, "t", "1") == (tracer.core, tracer.enabled, tracer.scope.name, tracer.scope.version)
    assert SDK < (1, 42) or tracer is provider.get_tracer("t", "1")


def test_a_tracer_of_nobody_s_stays_what_it_is() -> None:
    tracer = trace.NoOpTracer()
    _compat.become(tracer, Tracer, _compat.SdkTracer)
    assert type(tracer) is trace.NoOpTracer


class OwnLogger(Logger, _compat.SdkLogger):
    pass


def test_a_logger_that_emits_counts_a_record_and_one_that_does_not_says_so() -> None:
    told, provider = Told(), LoggerProvider(shutdown_on_exit=False)
    logger = provider.get_logger("t", "1")
    _compat.keep_scope(provider, logger, lambda: InstrumentationScope("t", "1"))
    _compat.become(logger, Logger, OwnLogger, counts=told)
    assert isinstance(logger, OwnLogger)
    assert ("t", "1") == (logger.instrumentation_scope.name, logger.instrumentation_scope.version)
    assert (True, ["log"]) == (logger.counts_record(), told.said)
    _compat.configure_loggers(provider, lambda _: SimpleNamespace(is_enabled=False))
    assert (False, ["log"]) == (logger.counts_record(), told.said)


def test_a_configurator_holds_for_tracers_that_there_are_and_that_come() -> None:
    provider = BextTracerProvider(Resource({}))
    early = provider.get_tracer("early")
    _compat.configure_tracers(provider, lambda scope: SimpleNamespace(is_enabled=scope.name == "kept"))
    late, kept = provider.get_tracer("late"), provider.get_tracer("kept")
    assert [False, False, True] == [each.start_span("s").is_recording() for each in (early, late, kept)]


def test_upstream_s_logging_handlers_say_where_they_emit(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.sdk import _logs as sdk_logs

    instrumentation = pytest.importorskip("opentelemetry.instrumentation.logging.handler")

    provider, other = LoggerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(_compat._logs, "get_logger_provider", lambda: provider)
    for kind in (instrumentation.LoggingHandler, sdk_logs.LoggingHandler):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            early, ours, theirs = (
                kind(logger_provider=each) for each in (ProxyLoggerProvider(), provider, other)
            )
        assert [True, True, False] == [_compat.feeds(each, provider) for each in (early, ours, theirs)]
    assert not _compat.feeds(logging.StreamHandler(), provider)


def test_the_processors_of_a_provider_are_known() -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    added = [SimpleSpanProcessor(InMemorySpanExporter()) for _ in range(2)]
    for processor in added:
        provider.add_span_processor(processor)
    assert added == list(_compat.span_processors(provider))
    span = provider.get_tracer("t").start_span("s")
    assert isinstance(span, Span)
    _compat.on_ending(added[0], span)


def test_a_processor_s_last_look_is_at_a_span_that_ends() -> None:
    looked = []

    class Looks(SpanProcessor):
        def _on_ending(self, span: Span) -> None:
            looked.append(span.name)

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Looks())
    span = provider.get_tracer("t").start_span("s")
    assert isinstance(span, Span)
    for processor in _compat.span_processors(provider):
        _compat.on_ending(processor, span)
    assert ["s"] == looked


def test_samplers_show_whom_they_ask_and_what_they_decide() -> None:
    root, others = TraceIdRatioBased(0.5), (ALWAYS_ON, ALWAYS_OFF, ALWAYS_ON, ALWAYS_OFF)
    assert (root, *others) == _compat.delegates_of(ParentBased(root))
    assert Decision.RECORD_AND_SAMPLE is _compat.decision_of(ALWAYS_ON)
    assert Decision.DROP is _compat.decision_of(ALWAYS_OFF)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_every_otlp_exporter_can_be_asked_why_it_failed(
    monkeypatch: pytest.MonkeyPatch,
    protocol: Literal["http/protobuf", "grpc"],
    signal: Literal["traces", "metrics", "logs"],
) -> None:
    """Nobody listens there."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    exporter = _compat.equipped(_compat.otlp_exporter(protocol, signal)(endpoint="http://127.0.0.1:1"))
    _compat.take_bytes(exporter, signal)
    why: list[_compat.Failure] = []
    _compat.explain_exports(exporter, why.append, lambda count, message: None, lambda status: None)
    assert not _compat.export_bytes(exporter, b"", 0)
    exporter.shutdown()
    (failure,) = why
    assert failure.cause in {"ConnectionError", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
    assert failure.may_pass
    assert failure.reason


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_every_otlp_exporter_can_be_had_to_try_once_and_for_a_time(
    protocol: Literal["http/protobuf", "grpc"], signal: Literal["traces", "metrics", "logs"]
) -> None:
    """With a timeout of its own of ten seconds, it would try three times, for seven."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        exporter = _compat.equipped(
            _compat.otlp_exporter(protocol, signal)(
                endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=10
            )
        )
        _compat.take_bytes(exporter, signal)
        _compat.explain_exports(
            exporter, lambda failure: None, lambda count, message: None, lambda status: None
        )
        _compat.try_once(exporter)
        _compat.limit_exports(exporter)(0.2)
        began = time.monotonic()
        assert not _compat.export_bytes(exporter, b"", 0)
        assert time.monotonic() - began < 5
        exporter.shutdown()


@since(45, "sessions that are told of a certificate")
def test_a_pinned_certificate_is_said_with_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """What only the session was told gives way to `REQUESTS_CA_BUNDLE`."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/pinned.pem")
    exporter = _compat.otlp_exporter("http/protobuf", "traces")(endpoint="https://localhost:1/v1/traces")
    said: list[object] = []
    exporter._client._transport._session.request = lambda **kwargs: said.append(kwargs.get("verify"))
    _compat.pin_certificate(exporter)
    with suppress(AttributeError):
        exporter._client._transport.request("POST", "https://localhost:1/")
    assert ["/pinned.pem"] == said


def test_the_launcher_checks_the_requirements_of_a_distribution_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.instrumentation.auto_instrumentation import _load

    asked: list[object] = []
    monkeypatch.setattr(_load, "get_dist_dependency_conflicts", asked.append)
    first, second, waiting = object(), object(), object()
    _compat.check_requirements_once(lambda distribution: distribution is waiting)
    _compat.check_requirements_once(lambda distribution: True)
    for each in (first, second, waiting, first, first):
        assert _load.get_dist_dependency_conflicts(each) is None  # type: ignore[arg-type]
    assert [first, second] == asked
    assert "get_dist_dependency_conflicts" in inspect.getsource(_load._load_instrumentors)


def test_the_context_of_a_span_is_the_tuple_of_its_fields() -> None:
    flags, state = trace.TraceFlags(1), trace.TraceState([("a", "b")])
    made = _compat.span_context(1 << 100, 7, flags, state)
    expected = trace.SpanContext(1 << 100, 7, False, flags, state)
    assert type(expected) is type(made)
    assert tuple(expected) == tuple(made)
    assert made.is_valid
    assert (expected.trace_id, expected.span_id, repr(expected)) == (made.trace_id, made.span_id, repr(made))


def test_the_current_context_is_in_a_context_variable() -> None:
    """What is attached without the API is what the API sees, and the other way round."""
    from opentelemetry import context

    assert isinstance(_compat.get_current.__self__, ContextVar)  # type: ignore[attr-defined]  # a built-in method
    here = context.set_value("bext", 1, context.Context())
    token = _compat.attach(here)
    assert here is context.get_current() is _compat.get_current()
    _compat.detach(token)
    other = context.attach(here)
    assert here is _compat.get_current()
    context.detach(other)
    assert context.get_current() is _compat.get_current() is not here


def test_what_is_kept_with_the_root_logger_s_levels_is_gone_with_each_level_that_is_set() -> None:
    logger, mark = logging.getLogger("shop.compat"), object()
    for change in (
        lambda: logger.setLevel(logging.DEBUG),
        lambda: logger.setLevel(logging.NOTSET),
        lambda: logging.root.setLevel(logging.root.level),
        lambda: logging.disable(logging.root.manager.disable),
    ):
        _compat.levels_cache[mark] = True
        assert mark in _compat.levels_cache
        change()
        assert mark not in _compat.levels_cache


def test_the_name_of_a_level_is_the_one_that_it_has_now() -> None:
    before = logging.getLevelName(logging.INFO)
    try:
        logging.addLevelName(logging.INFO, "NOTE")
        assert "NOTE" == _compat.level_names[logging.INFO] == logging.getLevelName(logging.INFO)
    finally:
        logging.addLevelName(logging.INFO, before)


def test_a_context_holds_its_span_under_one_key() -> None:
    from opentelemetry.context import Context

    span = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))
    assert span is trace.get_current_span(Context({_compat.SPAN_KEY: span}))


def test_upstream_makes_parts_of_a_declarative_configuration() -> None:
    models = pytest.importorskip("opentelemetry.configuration.models")
    exporter = {"exporter": models.LogRecordExporter(console={})}
    made = {
        "sampler": _compat.declared_part("sampler", models.Sampler(always_off={})),
        "span_processor": _compat.declared_part(
            "span_processor",
            models.SpanProcessor(simple=models.SimpleSpanProcessor(models.SpanExporter(console={}))),
        ),
        "traces_exporter": _compat.declared_part("traces_exporter", models.SpanExporter(console={})),
        "log_record_processor": _compat.declared_part(
            "log_record_processor",
            models.LogRecordProcessor(simple=models.SimpleLogRecordProcessor(**exporter)),
        ),
        "logs_exporter": _compat.declared_part("logs_exporter", models.LogRecordExporter(console={})),
        "metrics_exporter": _compat.declared_part(
            "metrics_exporter", models.PushMetricExporter(console=models.ConsoleMetricExporter())
        ),
        "aggregation": _compat.declared_part("aggregation", models.Aggregation(drop={})),
    }
    assert {
        "sampler": "StaticSampler",
        "span_processor": "SimpleSpanProcessor",
        "traces_exporter": "ConsoleSpanExporter",
        "log_record_processor": "SimpleLogRecordProcessor",
        "logs_exporter": "ConsoleLogRecordExporter",
        "metrics_exporter": "ConsoleMetricExporter",
        "aggregation": "DropAggregation",
    } == {kind: type(part).__name__ for kind, part in made.items()}
    assert {each.value for each in models.InstrumentType} == _compat.instrument_classes().keys()


def test_a_pattern_is_parsed_into_pairs_of_an_operation_and_what_it_is_given() -> None:
    assert [("LITERAL", 97), ("MAX_REPEAT", 1)] == [
        (str(kind), given if isinstance(given, int) else given[0])
        for kind, given in _compat.parse_pattern("ab+")
    ]


def test_what_packages_offer_is_what_their_metadata_say_and_looked_up_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = {(each.name, each.value) for each in entry_points(group="opentelemetry_instrumentor")}
    assert expected == {(each.name, each.value) for each in _compat.offered("opentelemetry_instrumentor")}
    monkeypatch.setattr("importlib.metadata.distributions", lambda **_: pytest.fail("looked again"))
    assert () == _compat.offered("bext_otel_nothing")


def test_the_sdk_s_own_detectors_need_no_thread_and_those_of_others_get_one(tmp_path: Path) -> None:
    """Theirs may take long, and have five seconds each."""
    shown, _ = fresh(
        """
        import threading
        started = []
        start = threading.Thread.start
        threading.Thread.start = lambda thread: (started.append(thread.name), start(thread))[1]
        from bext_otel import _compat
        _compat.detect_resources_anywhere()
        from opentelemetry.sdk import resources
        own = resources.get_aggregated_resources(
            [resources.OTELResourceDetector(), resources.ProcessResourceDetector()], resources.Resource.get_empty()
        )
        before = len(started)

        class Theirs(resources.ResourceDetector):
            def detect(self):
                return resources.Resource({"thread": threading.current_thread() is threading.main_thread()})

        theirs = resources.get_aggregated_resources([Theirs()], resources.Resource.get_empty())
        show([before, "process.pid" in own.attributes, theirs.attributes["thread"]])
        """,
        tmp_path,
    )
    assert [0, True, False] == shown


def test_asyncio_has_its_loops_that_hear_of_signals_where_we_cover_them() -> None:
    loop = asyncio.new_event_loop()
    try:
        assert isinstance(loop, _compat.signal_loop(sys.modules[_compat.SIGNAL_LOOPS]))
    finally:
        loop.close()
