from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.viewer import Limits, Store
from bext_otel.viewer.app import ViewerApp
from tests.viewer.otlp import counter, line, lines, metrics, span, spans


class Reply:
    """What a WSGI application answered."""

    def __init__(self, app: ViewerApp, method: str, path: str, body: bytes, **environ: str) -> None:
        address, _, query = path.partition("?")
        full: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": address,
            "QUERY_STRING": query,
            "HTTP_HOST": "127.0.0.1:4318",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
        }

        def start(status: str, headers: list[tuple[str, str]]) -> None:
            self.status = int(status.split(maxsplit=1)[0])
            self.headers = dict(headers)

        self.body = b"".join(app({**full, **environ}, start))  # type: ignore[arg-type]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture
def store() -> Store:
    return Store(Limits(body_bytes=2_000, inflated_bytes=4_000))


@pytest.fixture
def app(store: Store) -> Iterator[ViewerApp]:
    return ViewerApp(store)


def get(app: ViewerApp, path: str, **environ: str) -> Reply:
    return Reply(app, "GET", path, b"", **environ)


def post(
    app: ViewerApp, path: str, body: bytes, content_type: str = "application/x-protobuf", **environ: str
) -> Reply:
    return Reply(app, "POST", path, body, CONTENT_TYPE=content_type, **environ)


def test_each_signal_is_taken_where_otlp_sends_it(app: ViewerApp, store: Store) -> None:
    for path, request in (
        ("traces", spans(span(1))),
        ("logs", lines(line("m"))),
        ("metrics", metrics(counter("c", [(2, 1)]))),
    ):
        reply = post(app, f"/v1/{path}", request.SerializeToString())
        assert (200, "application/x-protobuf", b"") == (
            reply.status,
            reply.headers["Content-Type"],
            reply.body,
        )
    assert (1, 1, 1) == (store.spans.held, len(store.logs), len(store.metrics))


def test_what_is_refused_is_told_and_the_rest_is_taken(app: ViewerApp, store: Store) -> None:
    body = {
        "resourceSpans": [
            {
                "scopeSpans": [
                    {
                        "spans": [
                            {"traceId": "00", "spanId": "01"},
                            {"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1"},
                        ]
                    }
                ]
            }
        ]
    }
    reply = post(app, "/v1/traces", json.dumps(body).encode(), "application/json")
    told = reply.json["partialSuccess"]
    assert "1" == told["rejectedSpans"]
    assert "trace ids have 16 bytes, span ids 8" in told["errorMessage"]
    assert 1 == store.spans.held


@pytest.mark.parametrize(
    ("status", "body", "environ"),
    [
        (400, b"\xff\xff", {}),
        (415, b"", {"CONTENT_TYPE": "text/html"}),
        (415, b"", {"HTTP_CONTENT_ENCODING": "br"}),
        (413, b"a" * 2_001, {}),
        (400, b"", {"CONTENT_LENGTH": "-1"}),
        (400, b"", {"CONTENT_LENGTH": "many"}),
        (400, b"", {"CONTENT_LENGTH": "1" * 5_000}),
        (400, b"", {"CONTENT_LENGTH": "\u0661"}),
    ],
)
def test_a_bad_body_is_refused_and_counted(
    app: ViewerApp, store: Store, status: int, body: bytes, environ: dict[str, str]
) -> None:
    reply = Reply(app, "POST", "/v1/traces", body, **{"CONTENT_TYPE": "application/x-protobuf", **environ})
    assert status == reply.status
    assert 1 == store.refused_bodies
    assert 0 == store.spans.received


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:4318", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:4318"]
)
def test_names_of_this_machine_are_answered(app: ViewerApp, host: str) -> None:
    assert 200 == get(app, "/api/summary", HTTP_HOST=host).status


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:4318",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.0.0.1:4318:1",
        "::1",
        "127.0.0.1\n",
        "127.0.0.2",
    ],
)
def test_other_names_are_not_whatever_they_point_at(app: ViewerApp, store: Store, host: str) -> None:
    """A page on a name whose owner points it at 127.0.0.1 (DNS rebinding) must read and write nothing."""
    for path in ("/", "/api/summary", "/api/traces"):
        assert 403 == get(app, path, HTTP_HOST=host).status
    assert 403 == post(app, "/v1/traces", spans(span(1)).SerializeToString(), HTTP_HOST=host).status
    assert 0 == store.spans.received


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:4318", 200),
        ("http://localhost:3000", 200),
        ("https://evil.example", 403),
        ("null", 403),
    ],
)
def test_a_page_elsewhere_cannot_post(app: ViewerApp, origin: str, status: int) -> None:
    assert status == post(app, "/v1/logs", lines(line("m")).SerializeToString(), HTTP_ORIGIN=origin).status


def test_every_answer_carries_the_policy_that_keeps_scripts_out(app: ViewerApp) -> None:
    for path in ("/", "/api/traces", "/nothing", "/static/app.js"):
        headers = get(app, path).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert ("'none'", "'self'", "'none'") == (
            policy["default-src"],
            policy["script-src"],
            policy["frame-ancestors"],
        )
        assert "nosniff" == headers["X-Content-Type-Options"]
        assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/static/app.js", "text/javascript; charset=utf-8"),
        ("/static/viewer.css", "text/css; charset=utf-8"),
    ],
)
def test_pages_are_served(app: ViewerApp, path: str, content_type: str) -> None:
    reply = get(app, path)
    assert (200, content_type) == (reply.status, reply.headers["Content-Type"])
    assert reply.body


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/static/",
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/app.py",
        "/api",
        "/api/traces/nothing",
        "/api/metrics/nothing",
        "/\xff\x00",
        "/v1/profiles",
    ],
)
def test_what_is_not_there_is_not_found(app: ViewerApp, path: str) -> None:
    reply = get(app, path)
    assert 404 == reply.status
    assert "error" in reply.json


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/v1/traces", "POST"), ("POST", "/api/traces", "GET, HEAD"), ("DELETE", "/", "GET, HEAD")],
)
def test_other_methods_are_told_which_ones_work(app: ViewerApp, method: str, path: str, allowed: str) -> None:
    reply = Reply(app, method, path, b"")
    assert (405, allowed) == (reply.status, reply.headers["Allow"])


def test_head_says_the_same_without_the_body(app: ViewerApp) -> None:
    asked, told = Reply(app, "HEAD", "/", b""), get(app, "/")
    assert (200, b"") == (asked.status, asked.body)
    assert told.headers["Content-Length"] == asked.headers["Content-Length"] == str(len(told.body))


@pytest.mark.parametrize(
    "query",
    [
        "traces?limit=x",
        "traces?limit=0",
        "traces?limit=nan",
        "traces?min_ms=-1",
        "logs?level=loud",
        "traces?limit=1e99",
    ],
)
def test_a_wrong_question_is_told_what_would_be_right(app: ViewerApp, query: str) -> None:
    reply = get(app, f"/api/{query}")
    assert 400 == reply.status
    assert "expected" in reply.json["error"]


@pytest.mark.parametrize("path", ["/", "/api/traces", "/api/nothing", "/static/app.js"])
def test_too_many_parameters_are_a_wrong_question(
    app: ViewerApp, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert get(app, f"{path}?{'&'.join(f'a{n}=1' for n in range(20))}").status in {200, 404}
    reply = get(app, f"{path}?{'&'.join(f'a{n}=1' for n in range(21))}")
    assert 400 == reply.status
    assert "expected at most 20" in reply.json["error"]
    assert "" == caplog.text


_odd = st.text(st.characters(codec="latin-1"), max_size=40)


@given(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "\xff"]),
    st.sampled_from(["/", "/api/traces", "/api/logs", "/api/metrics/", "/v1/traces", "/v1/logs"]) | _odd,
    st.fixed_dictionaries(
        {},
        optional={
            "QUERY_STRING": _odd | st.integers(0, 30).map(lambda n: "a=1&" * n),
            "CONTENT_LENGTH": _odd | st.integers(0, 5_000).map(lambda n: "9" * n),
            "CONTENT_TYPE": _odd | st.sampled_from(["application/json", "application/x-protobuf"]),
            "HTTP_CONTENT_ENCODING": _odd | st.sampled_from(["gzip", "deflate"]),
            "HTTP_ORIGIN": _odd,
            "HTTP_COOKIE": _odd,
            "HTTP_AUTHORIZATION": _odd | _odd.map("Bearer {}".format),
        },
    ),
    st.binary(max_size=40),
)
def test_nothing_that_a_client_sends_makes_the_viewer_fail(
    method: str, path: str, environ: dict[str, str], body: bytes
) -> None:
    for token in ("", "secret"):
        reply = Reply(ViewerApp(Store(), token=token), method, path, body, **environ)
        assert reply.status in {200, 400, 401, 403, 404, 405, 413, 415}
        assert b"Traceback" not in reply.body


def test_who_comes_while_a_large_body_is_taken_is_told_to_come_again() -> None:
    store = Store(Limits(large_bytes=100, wait_seconds=0.01))
    app = ViewerApp(store)
    large = spans(span(1, blob="x" * 500)).SerializeToString()

    class Slow(io.BytesIO):
        """A body during which others come."""

        def read(self, size: int | None = -1) -> bytes:
            refused.append(post(app, "/v1/traces", large))
            taken.append(post(app, "/v1/traces", spans(span(2)).SerializeToString()[:90]))
            return super().read(size)

    refused: list[Reply] = []
    taken: list[Reply] = []
    reply = Reply(
        app,
        "POST",
        "/v1/traces",
        large,
        CONTENT_TYPE="application/x-protobuf",
        **{"wsgi.input": Slow(large)},  # type: ignore[arg-type]
    )
    assert 200 == reply.status
    assert [(503, "1")] == [(one.status, one.headers["Retry-After"]) for one in refused]
    assert [400] == [one.status for one in taken], "a small one is looked at at once"
    assert 200 == post(app, "/v1/traces", large).status


def test_questions_reach_the_documents(app: ViewerApp, store: Store) -> None:
    store.add_spans(spans(span(1, trace=1, name="one"), span(1, trace=2, name="two", error=True)))
    store.add_logs(lines(line("calm"), line("loud", severity=17)))
    store.add_metrics(metrics(counter("a.b/c", [(2, 1)], app="a"), counter("a.b/c", [(2, 1)], app="b")))
    assert ["two"] == [row["name"] for row in get(app, "/api/traces?errors=1").json["traces"]]
    assert ["one"] == [row["name"] for row in get(app, "/api/traces?q=ONE").json["traces"]]
    assert ["loud"] == [row["message"] for row in get(app, "/api/logs?level=error").json["logs"]]
    assert "one" == get(app, f"/api/traces/{1:032X}").json["name"]
    assert 1 == len(get(app, "/api/metrics/a.b/c?series=1").json["series"])
    assert ["a.b/c"] == [row["name"] for row in get(app, "/api/metrics").json["metrics"]]


def test_a_fault_of_the_viewer_is_an_answer_too(
    app: ViewerApp, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store, "spans", None)
    assert 500 == get(app, "/api/traces").status
    assert "viewer.failed" in caplog.text
