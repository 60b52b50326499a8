from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bext_otel.viewer.limits import Limits
from bext_otel.viewer.spans import Span, Spans
from bext_otel.viewer.waterfall import nested, root_of
from tests.viewer.otlp import span, spans


def trace(*held: object) -> dict[str, Span]:
    kept = Spans(Limits(spans_per_trace=10_000))
    kept.add(spans(*held))  # type: ignore[arg-type]
    (found,) = [trace for _, trace in kept.newest()]
    return found.spans


def shown(held: dict[str, Span]) -> list[tuple[int, str]]:
    return [(depth, one.name) for depth, one in nested(held)]


def test_children_stand_under_their_parents_by_start() -> None:
    held = trace(
        span(4, parent=2, start=15, name="inner"),
        span(3, parent=1, start=30, name="second"),
        span(2, parent=1, start=10, name="first"),
        span(1, name="root"),
    )
    assert [(0, "root"), (1, "first"), (2, "inner"), (1, "second")] == shown(held)


def test_a_span_whose_parent_is_elsewhere_stands_at_the_margin() -> None:
    assert [(0, "lost"), (0, "later")] == shown(
        trace(span(2, parent=99, start=1, name="lost"), span(3, start=2, name="later"))
    )


def test_the_trace_is_called_after_its_first_span_without_a_parent() -> None:
    assert (
        "root"
        == root_of(
            trace(span(2, parent=99, start=1, name="lost"), span(3, start=2, name="root"), span(4, start=3))
        ).name
    )
    assert "lost" == root_of(trace(span(2, parent=99, start=1, name="lost"), span(3, parent=2, start=0))).name


def test_a_trace_deeper_than_the_stack_is_shown() -> None:
    found = nested(trace(*(span(number, parent=number - 1, start=number) for number in range(1, 5_001))))
    assert list(range(5_000)) == [depth for depth, _ in found]


@given(st.dictionaries(st.integers(1, 12), st.tuples(st.integers(0, 14), st.integers(0, 5)), min_size=1))
def test_every_span_is_shown_once_whatever_its_parent(parents: dict[int, tuple[int, int]]) -> None:
    """Also when spans are each other's parents, or their own."""
    held = trace(*(span(number, parent=parent, start=start) for number, (parent, start) in parents.items()))
    found = nested(held)
    assert sorted(held) == sorted(one.span_id for _, one in found)
    assert root_of(held).span_id in held
    above: list[str] = []
    for depth, one in found:
        assert depth <= len(above)
        assert depth == 0 or above[depth - 1] == one.parent_id
        above = [*above[:depth], one.span_id]
