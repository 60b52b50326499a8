"""The specification's rows on traces: a program that uses every part of the API, and what a collector gets of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.specification.programs import Run, attributes, running

PROGRAM = """
import json
import threading
import bext_otel
from bext_otel.catalogue import RENDER
from opentelemetry import context, trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

heard = {"started": [], "ending": [], "scopes": [], "down": 0, "flushed": 0}

class Hears(SpanProcessor):
    def on_start(self, span, parent_context=None):
        if span.name == "with context":
            heard["started"].append([context.get_value("colour", parent_context), trace.get_current_span(parent_context).name])
    def on_ending(self, span):
        if span.name != "ending":
            return
        span.set_attribute("late", True)
        span.add_event("last")
        span.add_link(span.get_span_context())
        span.set_status(StatusCode.ERROR, "late")
        span.update_name("ended")
        other = threading.Thread(target=span.set_attribute, args=("other", True))
        other.start()
        other.join()
        heard["ending"].append([span.end_time, span.is_recording(), "other" in span.attributes])
    def on_end(self, span):
        if span.name == "scoped":
            scope = span.instrumentation_scope
            heard["scopes"].append([scope.name, scope.version, scope.schema_url, dict(scope.attributes), span.resource.attributes["service.name"]])
    def shutdown(self):
        heard["down"] += 1
    def force_flush(self, timeout_millis=30000):
        heard["flushed"] += 1
        return True

runs = bext_otel.configure(span_processors=[Hears()])
provider = trace.get_tracer_provider()
tracer = provider.get_tracer("shop", "1.2", "https://schema/2", {"team": "web"})
facts = {"provider": isinstance(provider, trace.TracerProvider), "another": type(TracerProvider().get_tracer("x")).__name__}

with tracer.start_as_current_span("scoped"):
    pass

# Active, parents
facts["none active"] = trace.get_current_span().get_span_context().is_valid
root = tracer.start_span("root")
facts["not active by itself"] = trace.get_current_span() is not root
with trace.use_span(root):
    facts["active"] = trace.get_current_span() is root
    with tracer.start_as_current_span("child") as child:
        facts["marked"] = trace.get_current_span() is child
    tracer.start_span("root beside", context=context.Context()).end()
remote = SpanContext(0x11111111111111111111111111111111, 0x2222222222222222, True, TraceFlags(3), TraceState([("v", "1")]))
outside = trace.set_span_in_context(trace.NonRecordingSpan(remote))
tracer.start_span("below remote", outside).end()
with tracer.start_as_current_span("around"):
    around = context.set_value("colour", "blue")
    tracer.start_span("with context", around).end()
try:
    tracer.start_span("no parent", parent=remote)
except Exception as error:
    facts["explicit"] = type(error).__name__
facts["remote"] = [remote.is_remote, root.get_span_context().is_remote, remote.is_valid, SpanContext(0, 0, False).is_valid]
facts["random"] = bool(root.get_span_context().trace_flags & 2)

# A span's life
with tracer.start_as_current_span("named") as named:
    named.update_name("renamed")
tracer.start_span("times", start_time=1_000_000_000).end(3_000_000_000)
facts["recording"] = [root.is_recording()]
root.end()
facts["recording"].append(root.is_recording())
root.set_attribute("after", 1)
for name, status in (("unset", None), ("ok", StatusCode.OK), ("error", Status(StatusCode.ERROR, "why"))):
    with tracer.start_as_current_span(name) as span:
        if status is not None:
            span.set_status(status)
            span.set_status(StatusCode.UNSET)
tracer.start_span("ending").end()

# Attributes
span = tracer.start_span("attributes", attributes={"first": 1})
for key, value in {"text": "a", "flag": True, "double": 1.5, "whole": (1 << 63) - 1, "least": -(1 << 63), "texts": ["a", "b"],
                   "flags": [True, False], "doubles": [1.5, 2.5], "wholes": [1, 2], "none": None, "\\u540d": "\\u524d\\U0001f6d2"}.items():
    span.set_attribute(key, value)
span.set_attributes({"first": 2})
span.end()

# Links and events
other = SpanContext(5, 6, False, TraceFlags(1), TraceState([("k", "v")]))
span = tracer.start_span("links", links=[Link(other, {"n": 1}), Link(remote, {"n": 2})])
span.add_link(SpanContext(7, 8, False), {"n": 3})
span.end()
span = tracer.start_span("events")
for number in range(3):
    span.add_event("event", {"n": number}, timestamp=number + 1)
span.end()
with tracer.start_as_current_span("exceptions") as span:
    try:
        raise ValueError("no such shelf")
    except ValueError as error:
        span.record_exception(error)
        span.record_exception(error, attributes={"exception.message": "mine", "shelf": 4}, timestamp=7)
try:
    with bext_otel.operation(RENDER, app="shop"):
        json.loads("{")
except ValueError:
    pass

# Threads
shared = tracer.start_span("shared")
def work():
    for number in range(100):
        own = provider.get_tracer("shop", "1.2", "https://schema/2", {"team": "web"}).start_span("threaded")
        own.end()
        shared.add_event("by a thread")
        shared.set_attribute(f"k{number}", number)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
shared.end()

facts["flush"] = [provider.force_flush(10_000), heard["flushed"]]
runs.shutdown()
tracer.start_span("too late").end()
facts["down"] = heard["down"]
show({**facts, **heard})
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with running(PROGRAM, tmp_path_factory.mktemp("traces"), OTEL_SERVICE_NAME="shop") as run:
        yield run


@pytest.fixture
def told(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = run.shown
    return found


@pytest.mark.specification("Traces", "TracerProvider: Create TracerProvider", "TracerProvider: Get a Tracer")
def test_the_provider_is_the_process_s_and_others_can_be_made(told: dict[str, Any]) -> None:
    assert (True, "Tracer") == (told["provider"], told["another"])


@pytest.mark.specification(
    "Traces",
    "TracerProvider: Get a Tracer with schema_url",
    "TracerProvider: Get a Tracer with scope attributes",
    "TracerProvider: Associate Tracer with InstrumentationScope",
)
@pytest.mark.specification("Exporters", "OTLP: SchemaURL in ResourceSpans and ScopeSpans")
def test_a_tracer_s_scope_arrives_whole(run: Run) -> None:
    (scope,) = (scope for span, scope, _ in run.spans() if span.name == "scoped")
    assert ("shop", "1.2", "https://schema/2") == (scope.scope.name, scope.scope.version, scope.schema_url)
    assert {"team": "web"} == attributes(scope.scope.attributes)


@pytest.mark.specification("Traces", "Sampling: Fetch InstrumentationScope from ReadableSpan")
def test_a_processor_reads_scope_and_resource(told: dict[str, Any]) -> None:
    assert [["shop", "1.2", "https://schema/2", {"team": "web"}, "shop"]] == told["scopes"]


@pytest.mark.specification(
    "Traces",
    "TracerProvider: Safe for concurrent calls",
    "Tracer: Safe for concurrent calls",
    "Span: Safe for concurrent calls",
    "Span events: Safe for concurrent calls",
)
def test_eight_threads_lose_nothing(run: Run) -> None:
    assert 800 == sum(span.name == "threaded" for span, _, _ in run.spans())
    shared = run.span("shared")
    assert (128, 800) == (len(shared.events), len(shared.events) + shared.dropped_events_count)
    assert {f"k{number}": number for number in range(100)} == attributes(shared.attributes)


@pytest.mark.specification(
    "Beyond the rows",
    "Trace SDK: Shutdown is called once for each processor, and no span is recorded after it",
)
@pytest.mark.specification("Traces", "TracerProvider: Shutdown (SDK only required)")
def test_shutdown_ends_the_processors_once_and_records_no_more(run: Run) -> None:
    assert 1 == run.shown["down"]
    assert not [span for span, _, _ in run.spans() if span.name == "too late"]


@pytest.mark.specification(
    "Traces",
    "TracerProvider: ForceFlush (SDK only required)",
    "Sampling: Built-in `SpanProcessor`s implement `ForceFlush` spec",
)
def test_flush_reaches_every_processor(run: Run) -> None:
    assert [True, 1] == run.shown["flush"]
    assert run.span("scoped")


@pytest.mark.specification(
    "Traces",
    "Trace / Context interaction: Get active Span",
    "Trace / Context interaction: Set active Span",
    "Tracer: Get active Span",
    "Tracer: Mark Span active",
    "Tracer: Create a new Span",
)
def test_a_span_is_active_where_it_is_made_so(told: dict[str, Any]) -> None:
    assert [False, True, True, True] == [
        told[name] for name in ("none active", "not active by itself", "active", "marked")
    ]


@pytest.mark.specification(
    "Traces",
    "Span: Create root span",
    "Span: Create with default parent (active span)",
    "Span: Create with parent from Context",
)
def test_parents_are_the_active_span_the_given_context_or_nobody(run: Run) -> None:
    root = run.span("root")
    assert (b"", root.span_id, b"") == (
        root.parent_span_id,
        run.span("child").parent_span_id,
        run.span("root beside").parent_span_id,
    )
    below = run.span("below remote")
    assert ("11" * 16, "22" * 8, "v=1") == (
        below.trace_id.hex(),
        below.parent_span_id.hex(),
        below.trace_state,
    )


@pytest.mark.specification("Beyond the rows", "Trace SDK: what is no span in a context is no parent")
@pytest.mark.specification("Traces", "Span: No explicit parent Span/SpanContext allowed")
def test_what_is_no_span_is_no_parent(told: dict[str, Any]) -> None:
    """The API takes a context, and no parent."""
    assert "TypeError" == told["explicit"]


@pytest.mark.specification("Traces", "SpanContext: IsValid", "SpanContext: IsRemote")
def test_a_context_tells_whether_it_is_valid_and_from_elsewhere(told: dict[str, Any]) -> None:
    assert [True, False, True, False] == told["remote"]


@pytest.mark.specification(
    "Traces",
    "SpanContext: Conforms to the W3C TraceContext spec",
    "SpanContext: Support W3C Trace Context Level 2 randomness",
)
def test_ids_are_of_the_right_length_and_random(run: Run) -> None:
    assert run.shown["random"] is True
    root = run.span("root")
    assert (16, 8) == (len(root.trace_id), len(root.span_id))
    traces = {span.trace_id for span, _, _ in run.spans()}
    assert len(traces) > 800, "each root has an id of its own"


@pytest.mark.specification("Traces", "Span: SpanProcessor.OnStart receives parent Context")
def test_a_processor_gets_the_whole_parent_context(told: dict[str, Any]) -> None:
    assert [["blue", "around"]] == told["started"]


@pytest.mark.specification("Traces", "Span: UpdateName")
def test_a_span_is_renamed(run: Run) -> None:
    assert run.span("renamed")


@pytest.mark.specification(
    "Traces", "Span: User-defined start timestamp", "Span: End with timestamp", "Span: End"
)
def test_times_are_those_that_are_given(run: Run) -> None:
    times = run.span("times")
    assert (10**9, 3 * 10**9) == (times.start_time_unix_nano, times.end_time_unix_nano)
    assert 0 < run.span("root").start_time_unix_nano <= run.span("root").end_time_unix_nano


@pytest.mark.specification("Traces", "Span: IsRecording", "Span: IsRecording becomes false after End")
def test_a_span_records_until_it_ends(run: Run) -> None:
    assert [True, False] == run.shown["recording"]
    assert {} == attributes(run.span("root").attributes)


@pytest.mark.specification("Traces", "Span: Set status with StatusCode (Unset, Ok, Error)")
def test_a_status_is_unset_ok_or_an_error_with_a_reason(run: Run) -> None:
    found = [(run.span(name).status.code, run.span(name).status.message) for name in ("unset", "ok", "error")]
    assert [(0, ""), (1, ""), (2, "why")] == found


@pytest.mark.specification(
    "Beyond the rows", "Trace SDK: within OnEnding a span can be changed by the thread that ends it alone"
)
@pytest.mark.specification("Traces", "Span: SpanProcessor.OnEnding")
def test_a_span_that_is_ending_can_be_changed_by_its_thread_alone(run: Run) -> None:
    ended = run.span("ended")
    assert {"late": True} == attributes(ended.attributes)
    assert (["last"], 1, 2) == ([event.name for event in ended.events], len(ended.links), ended.status.code)
    assert [[ended.end_time_unix_nano, True, False]] == run.shown["ending"]


@pytest.mark.specification(
    "Traces",
    "Span attributes: SetAttribute",
    "Span attributes: Set order preserved",
    "Span attributes: String type",
    "Span attributes: Boolean type",
    "Span attributes: Double floating-point type",
    "Span attributes: Signed int64 type",
    "Span attributes: Array of primitives (homogeneous)",
    "Span attributes: `null` values documented as invalid/undefined",
    "Span attributes: Unicode support for keys and string values",
)
def test_attributes_of_each_type_arrive_in_their_order(run: Run) -> None:
    """One without a value is kept, as the specification's common rules have had it since it has such values."""
    found = attributes(run.span("attributes").attributes)
    expected = {
        "text": "a",
        "flag": True,
        "double": 1.5,
        "whole": (1 << 63) - 1,
        "least": -(1 << 63),
        "texts": ["a", "b"],
        "flags": [True, False],
        "doubles": [1.5, 2.5],
        "wholes": [1, 2],
        "none": None,
        "名": "前🛒",
        "first": 2,
    }
    assert list(expected.items()) == list(found.items())


@pytest.mark.specification(
    "Traces",
    "Span linking: Links can be recorded on span creation",
    "Span linking: Links can be recorded after span creation",
    "Span linking: Links order is preserved",
)
def test_links_arrive_in_their_order(run: Run) -> None:
    links = run.span("links").links
    assert [1, 2, 3] == [attributes(link.attributes)["n"] for link in links]
    assert [5, 0x11111111111111111111111111111111, 7] == [int(link.trace_id.hex(), 16) for link in links]


@pytest.mark.specification("Traces", "Span events: AddEvent", "Span events: Add order preserved")
def test_events_arrive_in_their_order(run: Run) -> None:
    events = run.span("events").events
    assert [(0, 1), (1, 2), (2, 3)] == [(attributes(e.attributes)["n"], e.time_unix_nano) for e in events]


@pytest.mark.specification(
    "Traces", "Span exceptions: RecordException", "Span exceptions: RecordException with extra parameters"
)
@pytest.mark.specification(
    "Beyond the rows",
    "Semantic conventions: exceptions on spans have no `exception.escaped`, and `error.type` is a class's whole name",
)
def test_exceptions_are_events_whose_attributes_the_caller_may_set(run: Run) -> None:
    first, second = (attributes(event.attributes) for event in run.span("exceptions").events)
    assert ("ValueError", "no such shelf") == (first["exception.type"], first["exception.message"])
    assert "Traceback (most recent call last)" in first["exception.stacktrace"]
    assert {"exception.type", "exception.message", "exception.stacktrace"} == first.keys()
    assert ("mine", 4) == (second["exception.message"], second["shelf"])
    assert "json.decoder.JSONDecodeError" == attributes(run.span("bext.render").attributes)["error.type"]


LIMITS = """
import bext_otel
from opentelemetry import trace
from opentelemetry.trace import Link, SpanContext
runs = bext_otel.configure()
with trace.get_tracer("shop").start_as_current_span("full", attributes={f"a{n}": "x" * 9 for n in range(5)}) as span:
    for n in range(5):
        span.add_event("e", {f"e{n}": n for n in range(5)})
        span.add_link(SpanContext(1, n + 1, False), {f"l{n}": n for n in range(5)})
    span.set_attribute("list", ["y" * 9, "z"])
runs.shutdown()
show(None)
"""


@pytest.mark.specification(
    "Traces",
    "Span: events collection size limit",
    "Span: attribute collection size limit",
    "Span: links collection size limit",
    "Sampling: SpanLimits",
    "Sampling: Attribute Limits",
)
@pytest.mark.specification(
    "Environment Variables",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
)
@pytest.mark.specification(
    "Beyond the rows",
    "Trace SDK: what was discarded for a limit is told at most once for each span",
)
def test_limits_hold_and_are_one_line(tmp_path: Path) -> None:
    with running(
        LIMITS,
        tmp_path,
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="3",
        OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT="4",
        OTEL_SPAN_EVENT_COUNT_LIMIT="2",
        OTEL_SPAN_LINK_COUNT_LIMIT="1",
        OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT="4",
        OTEL_LINK_ATTRIBUTE_COUNT_LIMIT="2",
    ) as run:
        span = run.span("full")
    assert {"a3": "xxxx", "a4": "xxxx", "list": ["yyyy", "z"]} == attributes(span.attributes)
    assert (3, 3, 4) == (span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count)
    assert [(4, 1)] * 2 == [(len(event.attributes), event.dropped_attributes_count) for event in span.events]
    assert [(2, 3)] == [(len(link.attributes), link.dropped_attributes_count) for link in span.links]
    (line,) = (line for line in run.lines if "lost" in line["message"])
    assert "full lost 3 attributes, 3 events, 4 links" in line["message"]
    assert 1 == len(run.lines)
