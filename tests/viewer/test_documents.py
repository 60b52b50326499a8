from __future__ import annotations

from typing import Any

from bext_otel.viewer import Limits, Store, documents
from tests.viewer.otlp import SECOND, counter, line, lines, metrics, span, spans

MS = SECOND // 1000


def store() -> Store:
    held = Store()
    request: dict[str, Any] = {
        "kind": 2,
        "bext.app": "shop",
        "http.route": "/p/{id}",
        "http.request.method": "GET",
        "http.response.status_code": 200,
    }
    held.add_spans(
        spans(
            span(1, trace=1, name="GET /p/{id}", start=0, end=20 * MS, **request),
            span(2, trace=1, parent=1, name="render", start=5 * MS, end=9 * MS),
        )
    )
    held.add_spans(
        spans(
            span(
                1,
                trace=2,
                name="POST /pay",
                start=0,
                end=90 * MS,
                error=True,
                **{**request, "bext.app": "pay", "http.response.status_code": 500},
            )
        )
    )
    held.add_logs(
        lines(
            line("sold", trace=1, app="shop", sku="guji"),
            line("broken", severity=17, trace=2, app="pay"),
            line("chatter", severity=5),
        )
    )
    return held


def names(found: dict[str, Any]) -> list[str]:
    return [row["name"] for row in found["traces"]]


def test_a_trace_is_listed_with_what_its_request_was() -> None:
    expected = {
        "trace_id": f"{1:032x}",
        "name": "GET /p/{id}",
        "app": "shop",
        "method": "GET",
        "route": "/p/{id}",
        "status": 200,
        "error": False,
        "start_unix_ms": 0.0,
        "duration_ms": 20.0,
        "span_count": 2,
        "services": ["shop"],
    }
    assert expected == documents.traces(store())["traces"][1]


def test_traces_are_found_by_text_app_error_and_duration() -> None:
    held = store()
    assert ["POST /pay", "GET /p/{id}"] == names(documents.traces(held))
    assert ["GET /p/{id}"] == names(documents.traces(held, app="shop"))
    assert ["POST /pay"] == names(documents.traces(held, errors=True))
    assert ["POST /pay"] == names(documents.traces(held, min_ms=50))
    assert ["POST /pay"] == names(documents.traces(held, text="PAY"))
    assert ["POST /pay"] == names(documents.traces(held, text="500"))
    assert ["GET /p/{id}"] == names(documents.traces(held, text=f"{1:032x}"))
    assert ["POST /pay"] == names(documents.traces(held, limit=1))


def test_a_trace_has_its_spans_nested_and_its_log_lines() -> None:
    found = documents.trace(store(), f"{1:032x}")
    assert found is not None
    assert [(0, "GET /p/{id}", 0.0, 20.0), (1, "render", 5.0, 4.0)] == [
        (one["depth"], one["name"], one["offset_ms"], one["duration_ms"]) for one in found["spans"]
    ]
    assert ["sold"] == [entry["message"] for entry in found["logs"]]
    assert documents.trace(store(), "nothing") is None


def test_a_trace_that_a_client_began_shows_what_the_server_made_of_it() -> None:
    held = Store()
    answer = {"kind": 2, "http.response.status_code": 404, "http.route": "/x", "bext.app": "api"}
    held.add_spans(spans(span(1, name="call", kind=3), span(2, parent=1, name="GET /x", **answer)))
    (row,) = documents.traces(held)["traces"]
    assert ("call", 404, "/x", "api") == (row["name"], row["status"], row["route"], row["app"])


def test_log_lines_are_found_by_level_text_trace_and_app() -> None:
    held = store()

    def messages(**query: Any) -> list[str]:
        return [entry["message"] for entry in documents.log_lines(held, **query)["logs"]]

    assert ["chatter", "broken", "sold"] == messages()
    assert ["broken"] == messages(severity=13)
    assert ["sold"] == messages(text="GUJI")
    assert ["broken"] == messages(trace_id=f"{2:032x}")
    assert ["sold"] == messages(app="shop")
    assert ["chatter"] == messages(limit=1)


def test_a_metric_shows_its_busiest_series() -> None:
    held = Store()
    held.add_metrics(
        metrics(
            *(counter("c", [(2, number), (3, number * 2)], app=f"app {number}") for number in range(1, 6))
        )
    )
    found = documents.metric(held, "c", limit=2)
    assert found is not None
    assert (5, ("rate",), "counter") == (found["series_count"], found["columns"], found["kind"])
    assert [({"app": "app 5"}, 10.0), ({"app": "app 4"}, 8.0)] == [
        (one["labels"], one["total"]) for one in found["series"]
    ]
    assert ((2000.0, 3000.0), [(5.0, 5.0)]) == (found["series"][0]["times"], found["series"][0]["values"])
    assert documents.metric(held, "nothing") is None
    assert ["c"] == [row["name"] for row in documents.metrics(held)["metrics"]]


def test_senders_are_told_apart_once_there_are_several() -> None:
    held = Store()
    held.add_metrics(metrics(counter("c", [(2, 1)]), instance="0123456789"))
    assert [{}] == [one["labels"] for one in (documents.metric(held, "c") or {})["series"]]
    held.add_metrics(metrics(counter("c", [(2, 1)]), instance="abcdefghij"))
    labels = [one["labels"] for one in (documents.metric(held, "c") or {})["series"]]
    assert [
        {"service": "shop", "instance": "01234567"},
        {"service": "shop", "instance": "abcdefgh"},
    ] == labels


def test_the_summary_counts_what_came_and_what_went() -> None:
    held = Store(Limits(traces=1, logs=1), clock=lambda: 5.0)
    before = documents.summary(held)["version"]
    held.add_spans(spans(span(1, trace=1), span(1, trace=2)))
    held.add_logs(lines(line("a"), line("b")))
    held.refuse_body()
    found = documents.summary(held)
    assert found["version"] > before
    assert {"spans": 2, "logs": 2, "points": 0} == found["received"]
    assert {"traces": 1, "spans": 1, "logs": 1, "metrics": 0, "series": 0} == found["held"]
    assert {"spans": 1, "logs": 1, "points": 0, "series": 0} == found["dropped"]
    assert {"bodies": 1, "items": 0} == found["refused"]
    assert ["shop"] == found["services"]
