from __future__ import annotations

import pytest

from bext_otel.viewer import Limits, Store, documents
from bext_otel.viewer.fitting import as_number_or_text, as_text
from bext_otel.viewer.values import Plain
from tests.viewer.otlp import counter, line, lines, metrics, span, spans


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("/x", "/x"),
        (7, "7"),
        (True, "true"),
        ({"a": [1]}, '{"a":[1]}'),
        ("x" * 400, "x" * 300 + "… (100 more characters)"),
    ],
)
def test_whatever_stands_where_a_text_is_expected_is_one(value: Plain, text: str) -> None:
    assert text == as_text(value)


def test_a_number_stays_one() -> None:
    assert (None, 200, 0.5, "200", "[1]", "true") == tuple(
        map(as_number_or_text, (None, 200, 0.5, "200", [1], True))
    )


def test_an_answer_has_every_span_and_of_the_last_ones_no_more_than_their_outline() -> None:
    store = Store(Limits(answer_bytes=20_000))
    store.add_spans(spans(*(span(number, start=number, blob="x" * 4_000) for number in range(1, 11))))
    document = documents.trace(store, f"{1:032x}")
    assert document is not None
    told = [bool(one["attributes"]) for one in document["spans"]]
    assert 10 == len(told)
    assert told == sorted(told, reverse=True)
    assert 3 <= sum(told) <= 5
    assert {True: 0, False: 1} == {bool(one["attributes"]): one["omitted"] for one in document["spans"]}


def test_lists_end_where_an_answer_does() -> None:
    store = Store(Limits(answer_bytes=20_000))
    store.add_logs(lines(*(line("x" * 4_000, time=number, app="a") for number in range(1, 11))))
    assert 3 <= len(documents.log_lines(store)["logs"]) <= 6
    store.add_metrics(metrics(*(counter("c", [(2, 1)], a=f"{number}" + "x" * 500) for number in range(40))))
    found = documents.metric(store, "c", limit=100)
    assert found is not None
    assert (40, True) == (found["series_count"], 3 <= len(found["series"]) < 40)
