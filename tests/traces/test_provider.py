"""What is a user's own, and wrong, never reaches the application; and what programs do with spans that no
specification names."""

from __future__ import annotations

import copy
import os
import threading
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import StatusCode

from bext_otel.described import Shared
from bext_otel.traces.provider import BextTracerProvider
from bext_otel.traces.span import Span


class Ended:
    """A sink and outlet that keeps what comes."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def flush(self, _seconds: float, /) -> bool:
        return True

    def end(self, _seconds: float, /) -> bool:
        return True


def provider_with(ended: Ended, **parts: Any) -> BextTracerProvider:
    provider = BextTracerProvider(Resource({}), **parts)
    provider.add_sink(ended.spans.append, ended)
    return provider


class Raising(SpanProcessor, IdGenerator, Sampler):
    """Everything that a user may give, each of which raises."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise RuntimeError("start")

    def on_end(self, span: Any) -> None:
        raise RuntimeError("end")

    def generate_span_id(self) -> int:
        raise RuntimeError("id")

    generate_trace_id = generate_span_id

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        raise RuntimeError("sample")

    def get_description(self) -> str:
        return "raises"


def test_parts_that_raise_are_told_and_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    ended, raising = Ended(), Raising()
    provider = provider_with(ended, sampler=raising, id_generator=raising)
    provider.add_span_processor(raising)
    for _ in range(3):
        with provider.get_tracer("t").start_as_current_span("s", attributes={"a": 1}):
            pass
    assert ["s"] * 3 == [span.name for span in ended.spans]
    assert all(span.get_span_context().is_valid for span in ended.spans)
    assert 12 == provider.core.failures
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == len(set(lines)) == 4


class Failing(Raising):
    """The same, at a processor's end too."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        raise RuntimeError("flush")

    def shutdown(self) -> None:
        raise RuntimeError("shutdown")


def test_a_processor_that_raises_costs_the_next_ones_nothing() -> None:
    told: list[str] = []

    class Hears(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            told.append("start")

        def on_end(self, span: Any) -> None:
            told.append("end")

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            told.append("flush")
            return True

        def shutdown(self) -> None:
            told.append("shutdown")

    provider = provider_with(Ended())
    provider.add_span_processor(Failing())
    provider.add_span_processor(Hears())
    provider.get_tracer("t").start_span("s").end()
    assert provider.force_flush() is False
    provider.shutdown()
    assert ["start", "end", "flush", "shutdown"] == told
    assert 2 == provider.core.failures  # while it works; its end is bounded, and nobody counts


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("str")

    __repr__ = __str__


def test_an_exception_that_cannot_be_shown_reaches_who_catches_it() -> None:
    ended = Ended()
    tracer = provider_with(ended).get_tracer("t")
    with pytest.raises(Unprintable), tracer.start_as_current_span("block"):
        raise Unprintable
    with pytest.raises(Unprintable), tracer.start_span("span"):
        raise Unprintable
    for span in ended.spans:
        assert span.status.status_code is StatusCode.ERROR
        assert "Unprintable: <unprintable Unprintable>" == span.status.description
        (event,) = span.events
        assert event.attributes is not None
        assert "<unprintable Unprintable>" == event.attributes["exception.message"]


def test_an_exception_on_a_span_has_no_secrets() -> None:
    ended = Ended()
    with pytest.raises(OSError, match="postgres"), provider_with(ended).get_tracer("t").start_span("s"):
        raise OSError("no answer from postgres://shop:hunter2@db/orders")
    (span,) = ended.spans
    assert "hunter2" not in span.to_json()
    assert "postgres://" in span.to_json()


@pytest.mark.parametrize("odd", [5, "text", ["a"], object(), ValueError])
def test_events_links_and_exceptions_of_any_kind_never_reach_the_application(odd: Any) -> None:
    ended = Ended()
    span: Any = provider_with(ended).get_tracer("t").start_span("s", context=odd, links=odd)
    span.add_event(odd, odd, odd)
    span.add_link(odd, odd)
    span.record_exception(odd)
    span.record_exception(ValueError("v"), attributes=odd)
    span.set_status(odd, odd)
    span.end(odd)
    (event, exception) = ended.spans[0].events
    assert {} == event.attributes
    assert "v" == exception.attributes["exception.message"]


class Nonsense(IdGenerator, Sampler):
    def __init__(self, value: Any) -> None:
        self._value = value

    def generate_span_id(self) -> int:
        return self._value  # type: ignore[no-any-return]

    generate_trace_id = generate_span_id

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        return self._value  # type: ignore[no-any-return]

    def get_description(self) -> str:
        return "nonsense"


@pytest.mark.parametrize("value", [None, 0, -1, 1 << 200, "id", 1.5])
def test_nonsense_of_parts_is_replaced(value: object) -> None:
    ended, part = Ended(), Nonsense(value)
    provider_with(ended, sampler=part, id_generator=part).get_tracer("t").start_span("s").end()
    (span,) = ended.spans
    assert span.get_span_context().is_valid


@pytest.mark.parametrize(
    "attributes",
    [5, "text", ["a"], {1: "number"}, {None: 1}, {"": 1}, {"a": object()}, {"deep": {}}, {b"k": 1}],
)
def test_attributes_of_any_kind_never_reach_the_application(attributes: Any) -> None:
    if isinstance(attributes, dict) and "deep" in attributes:
        inner = attributes["deep"]
        for _ in range(3000):
            inner["deep"] = inner = {}
    ended = Ended()
    span: Any = provider_with(ended).get_tracer("t").start_span("s", attributes=attributes)
    span.set_attributes(attributes)
    span.set_attribute(attributes, attributes)
    span.end()
    assert 1 == len(ended.spans)


def test_ten_thousand_attributes_leave_the_newest() -> None:
    ended = Ended()
    span = provider_with(ended).get_tracer("t").start_span("s")
    for number in range(10_000):
        span.set_attribute(f"k{number}", number)
    span.end()
    kept = ended.spans[0].attributes or {}
    assert (128, 9_872) == (len(kept), ended.spans[0].dropped_attributes)
    assert {f"k{number}" for number in range(9_872, 10_000)} == set(kept)


def test_many_threads_end_a_span_once() -> None:
    ended = Ended()
    tracer = provider_with(ended).get_tracer("t")
    for _ in range(50):
        span = tracer.start_span("s")
        start = threading.Barrier(4)

        def end(span: Any = span, start: threading.Barrier = start) -> None:
            start.wait()
            span.end()

        threads = [threading.Thread(target=end) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 50 == len(ended.spans)


@pytest.mark.specification("Beyond the rows", "Trace SDK: a span that has ended is not changed any more")
def test_a_span_that_has_ended_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    ended = Ended()
    span = provider_with(ended).get_tracer("t").start_span("s", attributes={"a": 1})
    span.end(7)
    span.set_attribute("a", 2)
    span.set_attributes({"a": 3})
    span.add_event("late")
    span.add_link(span.get_span_context())
    span.update_name("late")
    span.set_status(StatusCode.ERROR)
    span.end(9)
    (kept,) = ended.spans
    assert (7, "s", {"a": 1}, (), ()) == (kept.end_time, kept.name, kept.attributes, kept.events, kept.links)
    assert StatusCode.UNSET is kept.status.status_code
    assert 7 == len(caplog.records)


def test_a_span_is_copied_as_a_reference_to_the_same_work() -> None:
    span = provider_with(Ended()).get_tracer("t").start_span("s", attributes={"a": 1})
    assert span is copy.copy(span)
    assert {"span": span} == copy.deepcopy({"span": span})


def test_a_span_of_the_parent_s_ends_in_a_forked_child() -> None:
    ended = Ended()
    span = provider_with(ended).get_tracer("t").start_span("s")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            span.end()
            code = 0 if len(ended.spans) == 1 else 2
        finally:
            os._exit(code)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert span.is_recording()


def test_what_a_processor_takes_out_of_a_span_is_not_exported() -> None:
    """Processors that take secrets away reach into the attributes, for lack of anything better."""
    ended = Ended()

    class Cleans(SpanProcessor):
        def on_end(self, span: Any) -> None:
            span._attributes.pop("secret")

    provider = provider_with(ended)
    provider.add_span_processor(Cleans())
    provider.get_tracer("t").start_span("s", attributes={"secret": "x", "a": 1}).end()
    assert {"a": 1} == ended.spans[0].attributes


def test_what_is_recorded_and_not_sampled_goes_to_processors_alone() -> None:
    class Records(Nonsense):
        def __init__(self) -> None:
            super().__init__(SamplingResult(Decision.RECORD_ONLY))

        generate_span_id = None  # type: ignore[assignment]

    heard, ended = [], Ended()

    class Hears(SpanProcessor):
        def on_end(self, span: Any) -> None:
            heard.append(span.name)

    provider = provider_with(ended, sampler=Records())
    provider.add_span_processor(Hears())
    provider.get_tracer("t").start_span("s").end()
    assert (["s"], []) == (heard, ended.spans)


def test_addresses_lose_their_secrets_whenever_they_are_told() -> None:
    ended, secret = Ended(), "https://u:p@x/cb?code=4711&q=1"
    tracer = provider_with(ended).get_tracer("t")
    span = tracer.start_span("call", attributes={"url.full": secret, "other": "code=4711", "url.query": 5})
    span.set_attribute("http.url", secret)
    span.set_attributes({"http.target": "/?ticket=4711"})
    span.end()
    assert {
        "url.full": "https://REDACTED:REDACTED@x/cb?code=REDACTED&q=1",
        "other": "code=4711",
        "url.query": 5,
        "http.url": "https://REDACTED:REDACTED@x/cb?code=REDACTED&q=1",
        "http.target": "/?ticket=REDACTED",
    } == ended.spans[0].attributes


def test_attributes_that_nobody_looks_at_are_not_made() -> None:
    asked: list[str] = []

    def describe() -> dict[str, Any]:
        asked.append("")
        return {"a": 1, "b": "text"}

    asked_itself = ParentBased(ALWAYS_ON, local_parent_sampled=ALWAYS_OFF)
    ended = Ended()
    for sampler, expected in (
        (ALWAYS_OFF, 0),
        (ALWAYS_ON, 1),
        (TraceIdRatioBased(0.0), 1),
        (asked_itself, 2),
    ):
        tracer: Any = provider_with(ended, sampler=sampler).get_tracer("t")
        assert tracer.describes
        tracer.start_span("s", describe=describe).end()
        assert expected == len(asked)
    assert [{"a": 1, "b": "text"}] * 2 == [dict(span.attributes or {}) for span in ended.spans]


@pytest.mark.parametrize("limits", [{"max_span_attributes": 2}, {"max_attribute_length": 3}, {}])
def test_a_span_is_concluded_as_if_each_attribute_had_been_set(limits: dict[str, int]) -> None:
    said = {"http.route": "/a/b", "n": 200, "c": "d"}
    ended = Ended()
    tracer: Any = provider_with(ended, span_limits=SpanLimits(**limits)).get_tracer("t")
    concluded = tracer.start_span("s", describe=lambda: {"n": 1, "first": "word"})
    concluded.conclude("named", Shared(said))
    one_by_one = tracer.start_span("s", attributes={"n": 1, "first": "word"})
    one_by_one.update_name("named")
    for name, value in said.items():
        one_by_one.set_attribute(name, value)
    for span in (concluded, one_by_one):
        span.end()
        span.conclude("late", Shared({"late": 1}))
    first, second = ended.spans
    assert (second.name, second.attributes, second.dropped_attributes) == (
        first.name,
        first.attributes,
        first.dropped_attributes,
    )
