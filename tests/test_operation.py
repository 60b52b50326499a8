"""Work is measured by one abstraction, through whatever provider is set."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from bext_otel import measuring
from bext_otel.apps import Budgets
from bext_otel.catalogue import (
    CACHE_HITS,
    DEPLOY,
    ISOLATE_ERRORS,
    ISOLATE_MEMORY,
    ISOLATE_RENDER_DURATION,
    PLUGIN_HOOK,
    RENDER,
    REQUEST_SIZE,
)
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.store.streams import Streams
from bext_otel.operation import (
    Settings,
    count,
    finish,
    gauge,
    measure,
    observe,
    operation,
    settings,
    start,
    use,
)
from tests.fresh import fresh


@dataclass
class Told:
    """What the providers were told."""

    spans_out: InMemorySpanExporter
    records_out: InMemoryLogRecordExporter
    reader: InMemoryMetricReader

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.spans_out.get_finished_spans()

    def points(self, name: str) -> dict[tuple[tuple[str, object], ...], object]:
        data = self.reader.get_metrics_data()
        assert data is not None
        found = [
            m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == name
        ]
        return {
            tuple((p.attributes or {}).items()): getattr(p, "value", None) or p
            for m in found
            for p in m.data.data_points
        }


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """The SDK's own providers in the place of the process's, for one test."""
    spans_out, records_out, reader = (
        InMemorySpanExporter(),
        InMemoryLogRecordExporter(),
        InMemoryMetricReader(),
    )
    tracer_provider, meter_provider = (
        TracerProvider(shutdown_on_exit=False),
        MeterProvider([reader], shutdown_on_exit=False),
    )
    logger_provider = LoggerProvider(shutdown_on_exit=False)
    tracer_provider.add_span_processor(SimpleSpanProcessor(spans_out))
    logger_provider.add_log_record_processor(SimpleLogRecordProcessor(records_out))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: tracer_provider)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: meter_provider)
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: logger_provider)
    monkeypatch.setattr(_logs, "get_logger", logger_provider.get_logger)
    yield Told(spans_out, records_out, reader)
    meter_provider.shutdown()


def test_a_piece_of_work_is_a_span_a_duration_and_an_outcome(told: Told) -> None:
    with operation(RENDER, app="shop") as op:
        op.set(cache="miss")
    (span,) = told.spans
    assert ("bext.render", {"bext.app": "shop", "bext.cache": "miss"}) == (
        span.name,
        dict(span.attributes or {}),
    )
    assert StatusCode.UNSET == span.status.status_code
    assert [(("app", "shop"),)] == list(told.points(ISOLATE_RENDER_DURATION.name))
    assert {} == told.points(ISOLATE_ERRORS.name)


def test_work_that_raises_failed_with_what_it_raised_and_the_caller_gets_it(told: Told) -> None:
    with pytest.raises(ZeroDivisionError), operation(RENDER, app="shop"):
        raise ZeroDivisionError
    (span,) = told.spans
    assert StatusCode.ERROR == span.status.status_code
    assert "ZeroDivisionError" == (span.attributes or {})["error.type"]
    assert {(("app", "shop"), ("error_type", "ZeroDivisionError")): 1} == told.points(ISOLATE_ERRORS.name)


def test_a_base_exception_is_an_outcome_too(told: Told) -> None:
    with pytest.raises(KeyboardInterrupt), operation(PLUGIN_HOOK, plugin="seal", hook="on_request"):
        raise KeyboardInterrupt
    assert {(("plugin", "seal"), ("hook", "on_request")): 1} == told.points("bext.plugin.errors")


def test_how_a_deploy_ended_is_its_status(told: Told) -> None:
    with operation(DEPLOY, app="shop"):
        pass
    with operation(DEPLOY, app="shop") as op:
        op.set(status="rolled_back")
    finish(start(DEPLOY, app="shop"), error="timeout")
    assert {"success", "rolled_back", "failed"} == {
        dict(labels)["status"] for labels in told.points("bext.deploys")
    }


def test_it_ends_once(told: Told) -> None:
    op = start(RENDER, app="shop")
    finish(op)
    op.end("late")
    assert 1 == len(told.spans)
    assert {} == told.points(ISOLATE_ERRORS.name)


def test_work_inside_work_is_its_child(told: Told) -> None:
    with operation(RENDER, app="shop"), operation(PLUGIN_HOOK, plugin="seal", hook="on_request"):
        pass
    child, parent = told.spans
    assert child.parent is not None
    assert parent.context is not None
    assert parent.context.span_id == child.parent.span_id


def test_work_that_took_too_long_is_a_warning_with_its_labels(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, 0.25])
    monkeypatch.setattr(sys.modules["bext_otel.operation"], "perf_counter", lambda: next(times))
    with operation(RENDER, app="shop"):
        pass
    (record,) = told.records_out.get_finished_logs()
    assert "bext.render slow" == record.log_record.body
    assert {"app": "shop", "duration_ms": 250.0, "threshold_ms": 100.0} == dict(
        record.log_record.attributes or {}
    )
    (span,) = told.spans
    assert span.context is not None
    assert span.context.trace_id == record.log_record.trace_id


def test_everybody_who_observes_a_metric_is_asked_also_if_one_fails(told: Told) -> None:
    """By the SDK's own provider too, which never asks the callbacks of a second instrument of one name."""

    def fails() -> list[tuple[float, tuple[str, ...]]]:
        raise LookupError

    with ExitStack() as observing:
        for callback in (lambda: [(1, ("one",))], fails, lambda: [(2, ("two",))]):
            observing.callback(observe(ISOLATE_MEMORY, callback, "app"))
        assert {(("app", "one"),): 1, (("app", "two"),): 2} == told.points(ISOLATE_MEMORY.name)


def test_who_observes_twice_is_asked_once_and_after_undoing_no_more(told: Told) -> None:
    def one() -> list[tuple[float, tuple[str, ...]]]:
        return [(1, ("one",))]

    count(CACHE_HITS, app="shop", layer="isr")
    observe(ISOLATE_MEMORY, one, "app")
    forget = observe(ISOLATE_MEMORY, one, "app")
    assert {(("app", "one"),): 1} == told.points(ISOLATE_MEMORY.name)
    forget()
    forget()
    assert {} == told.points(ISOLATE_MEMORY.name)


def test_who_observes_is_asked_by_the_provider_that_is_set_later(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as something is measured there, and by that one only."""
    forget = observe(ISOLATE_MEMORY, lambda: [(1, ("one",))], "app")
    later = InMemoryMetricReader()
    provider = MeterProvider([later], shutdown_on_exit=False)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: provider)
    try:
        count(CACHE_HITS, app="shop", layer="isr")
        assert {(("app", "one"),): 1} == replace(told, reader=later).points(ISOLATE_MEMORY.name)
        assert told.reader.get_metrics_data() is None
    finally:
        forget()
        provider.shutdown()


@pytest.mark.parametrize("provider", ["sdk", "ours"])
def test_who_observed_before_there_was_a_provider_is_asked_once_at_each_reading(
    tmp_path: Path, provider: str
) -> None:
    """The API's stand-in hands its instruments on to the first provider, where the metric is observed once
    more."""
    shown, _ = fresh(
        f"""
        from opentelemetry import metrics
        from bext_otel.catalogue import CACHE_HITS, ISOLATE_MEMORY
        from bext_otel.operation import count, observe
        asked = []
        observe(ISOLATE_MEMORY, lambda: asked.append(1) or [(5, ("shop",))], "app")
        if {provider == "sdk"}:
            from opentelemetry.sdk.metrics import MeterProvider
            from opentelemetry.sdk.metrics.export import InMemoryMetricReader
            reader = InMemoryMetricReader()
            metrics.set_meter_provider(MeterProvider([reader]))
            read = reader.get_metrics_data
        else:
            import bext_otel
            runs = bext_otel.configure()
            read = lambda: runs.endpoints.reply("GET", "/metrics", "", {{}}, trusted=True)
        count(CACHE_HITS, app="shop", layer="isr")
        counts = []
        for _ in range(3):
            del asked[:]
            read()
            counts.append(len(asked))
        show(counts)
        """,
        tmp_path,
    )
    assert [1, 1, 1] == shown


def test_plain_counters_gauges_and_observers(told: Told) -> None:
    count(CACHE_HITS, app="shop", layer="isr")
    count(CACHE_HITS, app="shop", layer="isr", by=2)
    gauge(ISOLATE_MEMORY, 4096, app="shop")
    with ExitStack() as observing:
        observing.callback(observe(ISOLATE_MEMORY, lambda: [(1, ("observed",))], "app"))
        measure(REQUEST_SIZE, 10, app="shop", direction="request")
        assert {(("app", "shop"), ("layer", "isr")): 3} == told.points(CACHE_HITS.name)
        assert {(("app", "shop"),): 4096, (("app", "observed"),): 1} == told.points(ISOLATE_MEMORY.name)


def test_a_label_of_none_is_left_out(told: Told) -> None:
    count(CACHE_HITS, app="shop", layer=None)
    assert {(("app", "shop"),): 1} == told.points(CACHE_HITS.name)


def test_with_no_provider_nothing_happens_and_nothing_fails() -> None:
    with operation(RENDER, app="shop") as op:
        op.measure(REQUEST_SIZE, 1, app="shop", direction="request")
    assert op.elapsed_ms >= 0


def test_an_instrument_that_can_bind_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams(Budgets({}))
    provider = BextMeterProvider(streams, Resource({}))
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: provider)
    count(CACHE_HITS, app="shop", layer="isr", by=4)
    (cell,) = [cell for stream in streams for cell in stream._cells.values()]
    assert [4] == cell.pending
    provider.shutdown()


def test_label_values_without_bounds_do_not_pile_up_characters(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_MAX_CHARACTERS", 10_000)
    for number in range(100):
        count(CACHE_HITS, app="shop", layer=f"/{number}".ljust(1000, "x"))
        count(CACHE_HITS, app="shop", layer=f"/{number}".ljust(5000, "x"))
    kept = [values for handles in measuring.current()._handles.values() for values in handles]
    assert 0 < sum(len(value) for values in kept for value in values if isinstance(value, str)) <= 10_000


def test_label_values_without_bounds_do_not_pile_up_handles(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_MAX_HANDLES", 10)
    for number in range(100):
        count(CACHE_HITS, app=f"app-{number}", layer="isr")
    assert 0 < sum(map(len, measuring.current()._handles.values())) <= 10
    assert 100 == len(told.points(CACHE_HITS.name))


def test_settings_are_put_in_force_as_a_whole() -> None:
    before = settings()
    try:
        use(Settings(log_requests=False))
        assert Settings(log_requests=False) == settings()
    finally:
        use(before)


def test_what_a_failure_says_describes_the_status(told: Told) -> None:
    with pytest.raises(LookupError), operation(RENDER, app="shop"):
        raise LookupError("no page at https://u:hunter2@cms/?token=hunter2")
    status, event = told.spans[0].status, told.spans[0].events[0]
    assert (StatusCode.ERROR, "no page at https://REDACTED:REDACTED@cms/?token=REDACTED") == (
        status.status_code,
        status.description,
    )
    assert ("exception", status.description) == (event.name, (event.attributes or {})["exception.message"])
    assert "hunter2" not in str(event.attributes)


def test_a_failure_that_cannot_say_what_it_is_is_shown_by_its_class(told: Told) -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError("broken")

    with pytest.raises(Silent), operation(RENDER, app="shop"):
        raise Silent
    assert [f"{__name__}.{Silent.__qualname__}"] == [
        (event.attributes or {})["exception.type"] for event in told.spans[0].events
    ]


def test_a_failure_that_is_only_named_is_not_said_twice(told: Told) -> None:
    finish(start(RENDER, app="shop"), "timeout")
    assert (StatusCode.ERROR, None) == (told.spans[0].status.status_code, told.spans[0].status.description)
