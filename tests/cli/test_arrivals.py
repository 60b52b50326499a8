from __future__ import annotations

from bext_otel.cli.arrivals import Arrivals, arrivals, wait_for
from bext_otel.viewer import Store
from tests.viewer.otlp import counter, line, lines, metrics, span, spans


def filled() -> Store:
    """Two visits, one of which made the platform call itself."""
    store = Store()
    store.add_spans(
        spans(
            span(1, trace=1, kind=2),
            span(2, trace=1, parent=1, kind=3),
            span(3, trace=1, parent=2, kind=2),
            span(1, trace=2, kind=2),
        )
    )
    store.add_spans(spans(span(1, trace=3, name="no request")))
    store.add_logs(lines(line("a"), line("b")))
    store.add_metrics(
        metrics(
            counter("bext_requests_total", [(2, 2)], app="a"),
            counter("bext_requests_total", [(2, 1)], app="b"),
        )
    )
    return store


def test_traces_requests_and_counts_are_told_apart() -> None:
    assert Arrivals(traces=2, requests=3, counted=3, logs=2) == arrivals(filled())


def test_nothing_is_missing_when_all_came() -> None:
    assert [] == arrivals(filled()).missing(2)


def test_what_is_missing_is_said_of_each_signal() -> None:
    assert [
        "spans: 0 of 2 requests have a trace",
        "logs: 0 lines for 2 requests",
        "metrics: bext_requests_total counts 0 of 2 requests",
    ] == arrivals(Store()).missing(2)


def test_a_request_that_spans_tell_of_must_be_counted_too() -> None:
    assert ["metrics: bext_requests_total counts 2 of 3 requests"] == Arrivals(
        traces=2, requests=3, counted=2, logs=9
    ).missing(2)


def test_waiting_ends_with_the_last_arrival() -> None:
    store = Store()
    pauses = []

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        if len(pauses) == 2:
            store.add_spans(spans(span(1, kind=2)))
            store.add_logs(lines(line("a")))
            store.add_metrics(metrics(counter("bext_requests_total", [(2, 1)])))
        return False

    assert [] == wait_for(store, 1, wait=wait, tries=10)
    assert 2 == len(pauses)


def test_waiting_ends_when_it_is_hopeless() -> None:
    assert 3 == len(wait_for(Store(), 1, wait=lambda _: True, tries=1_000_000))
    assert 3 == len(wait_for(Store(), 1, wait=lambda _: False, tries=3))
