from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bext_otel.viewer.limits import Limits
from bext_otel.viewer.spans import Spans
from tests.viewer.otlp import span, spans


def ids(held: Spans) -> list[int]:
    return [int(trace_id, 16) for trace_id, _ in held.newest()]


def test_the_newest_traces_stay_and_the_dropped_are_counted() -> None:
    held = Spans(Limits(traces=2))
    for number in (1, 2, 3):
        held.add(spans(span(1, trace=number), span(2, trace=number)))
    assert [3, 2] == ids(held)
    assert (4, 2, 6) == (held.held, held.dropped, held.received)


def test_a_span_that_comes_twice_is_held_once() -> None:
    """An exporter whose answer got lost sends its batch again."""
    held = Spans(Limits())
    held.add(spans(span(1, name="first")))
    held.add(spans(span(1, name="again")))
    trace = held.get(f"{1:032x}")
    assert trace is not None
    assert ["again"] == [one.name for one in trace.spans.values()]
    assert (1, 0) == (held.held, held.dropped)


def test_one_endless_trace_keeps_its_newest_spans() -> None:
    held = Spans(Limits(spans_per_trace=3))
    held.add(spans(*(span(number) for number in range(1, 11))))
    trace = held.get(f"{1:032x}")
    assert trace is not None
    assert ["span 8", "span 9", "span 10"] == [one.name for one in trace.spans.values()]
    assert (3, 7) == (held.held, held.dropped)


def test_few_huge_spans_do_not_do_what_many_small_ones_may_not() -> None:
    held = Spans(Limits(span_bytes=8_000))
    for number in range(1, 11):
        held.add(spans(span(1, trace=number, blob="x" * 2_000)))
    assert [10, 9] == ids(held)
    assert held.size <= 8_000


def test_ids_that_are_none_are_refused() -> None:
    bad = span(1)
    bad.span_id = b"short"
    worse = span(2)
    worse.trace_id = b""
    held = Spans(Limits())
    assert 2 == held.add(spans(bad, worse, span(3)))
    assert 1 == held.held


def test_enumerations_of_the_future_do_no_harm() -> None:
    strange = span(1)
    strange.kind = 77  # type: ignore[assignment]
    strange.status.code = -5  # type: ignore[assignment]
    held = Spans(Limits())
    held.add(spans(strange))
    trace = held.get(f"{1:032x}")
    assert trace is not None
    assert [("unspecified", "unset")] == [(one.kind, one.status) for one in trace.spans.values()]


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 8), st.integers(0, 300)), max_size=60))
def test_the_books_balance(arrivals: list[tuple[int, int, int]]) -> None:
    """Whatever comes in whatever order: limits hold, and what is counted is what is there."""
    limits = Limits(traces=3, spans=8, spans_per_trace=4, span_bytes=5_000)
    held = Spans(limits)
    for trace, number, size in arrivals:
        held.add(spans(span(number, trace=trace, blob="x" * size)))
        traces = [trace for _, trace in held.newest()]
        assert held.held == sum(len(trace.spans) for trace in traces) <= limits.spans
        assert (
            held.size
            == sum(one.size for trace in traces for one in trace.spans.values())
            <= limits.span_bytes
        )
        assert len(traces) == len(held) <= limits.traces
        assert held.received >= held.held + held.dropped


def test_of_a_span_as_much_is_kept_as_there_is_room_for_and_the_rest_is_counted() -> None:
    full = span(1, **{f"a{number}": number for number in range(10)})
    for number in range(10):
        full.events.add(name=f"event {number}")
        full.links.add(trace_id=b"\1" * 16, span_id=b"\1" * 8)
    held = Spans(Limits(attributes=3, events=4, links=5))
    held.add(spans(full))
    trace = held.get(f"{1:032x}")
    assert trace is not None
    (one,) = trace.spans.values()
    assert (3, 4, 5) == (len(one.attributes), len(one.events), len(one.links))
    assert 7 + 6 + 5 == one.omitted


def test_texts_are_counted_as_they_are_kept_and_not_as_they_came() -> None:
    """Python keeps a text with one letter from beyond the basic plane in four bytes a letter."""
    thin, wide = "x" * 4_000, "\N{GRINNING FACE}" + "x" * 3_999
    held = Spans(Limits())
    held.add(spans(span(1, blob=thin)))
    thin_bytes = held.size
    held.add(spans(span(2, blob=wide)))
    assert 3 * 4_000 <= held.size - 2 * thin_bytes


def test_the_oldest_trace_that_is_sent_again_does_not_keep_the_others_beyond_the_limit() -> None:
    held = Spans(Limits(span_bytes=10_000))
    for number in (1, 2, 3):
        held.add(spans(span(1, trace=number, blob="x" * 1_000)))
    held.add(spans(span(1, trace=1, blob="x" * 6_000)))
    assert held.size <= 10_000
    assert 1 in ids(held)
