"""WSGI requests: what is measured, whatever happens to them."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from bext_otel.apps import current_app
from bext_otel.catalogue import HTTP_SERVER_REQUEST_DURATION, REQUEST_DURATION, REQUEST_SIZE, REQUESTS
from bext_otel_instrumentors.http.bodies import read_in_process
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.fresh import fresh
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import ask_wsgi, environ_of


def answering(
    status: str = "200 OK", chunks: Any = (b"hello",), headers: list[tuple[str, str]] | None = None
) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, headers or [("Content-Type", "text/plain")])
        return chunks

    return app


def test_a_request_is_one_server_span_with_stable_conventions(telemetry: Telemetry) -> None:
    ask_wsgi(
        WSGIMiddleware(answering()),
        "/about/caf\u00e9",
        query="page=2&token=abc",
        headers=[("user-agent", "curl/8")],
        SCRIPT_NAME="/under",
    )
    assert 1 == len(telemetry.spans())
    assert "GET" == telemetry.server().name
    assert {
        "http.request.method": "GET",
        "url.path": "/under/about/caf\u00e9",
        "url.scheme": "http",
        "url.query": "page=2&token=REDACTED",
        "server.address": "shop.example",
        "server.port": 8000,
        "client.address": "192.0.2.7",
        "client.port": 4711,
        "network.peer.address": "192.0.2.7",
        "network.peer.port": 4711,
        "network.protocol.version": "1.1",
        "user_agent.original": "curl/8",
        "http.response.status_code": 200,
        "bext.app": "shop",
    } == telemetry.attributes()


def test_a_request_is_counted_once_in_every_request_metric(telemetry: Telemetry) -> None:
    ask_wsgi(
        WSGIMiddleware(answering(chunks=[b"12", b"345"])),
        method="POST",
        headers=[("content-length", "7")],
        body=b"1234567",
    )
    assert {("shop", "POST", "200", "unmatched"): 1} == telemetry.counts(REQUESTS)
    assert {("shop", "unmatched"): 1} == telemetry.counts(REQUEST_DURATION)
    assert {("shop", "request"): 7, ("shop", "response"): 5} == telemetry.sums(REQUEST_SIZE)
    assert {("POST", "http", 200, None, "1.1", None): 1} == telemetry.counts(HTTP_SERVER_REQUEST_DURATION)
    assert {"app": "shop", "method": "POST", "path": "/", "status": 200} == {
        key: value for key, value in telemetry.completion().items() if key != "duration_ms"
    }


def test_a_stream_is_measured_until_it_is_closed_with_its_span_current(telemetry: Telemetry) -> None:
    seen: list[Any] = []

    def stream() -> Iterator[bytes]:
        for _ in range(3):
            seen.append((len(telemetry.spans()), trace.get_current_span().is_recording(), current_app()))
            yield b"12345"

    ask_wsgi(WSGIMiddleware(answering(chunks=stream())))
    assert [(0, True, "shop")] * 3 == seen
    assert 15 == telemetry.sums(REQUEST_SIZE)["shop", "response"]
    assert not trace.get_current_span().is_recording()


def test_a_client_that_leaves_ends_the_request_with_what_it_got(telemetry: Telemetry) -> None:
    closed: list[bool] = []

    def stream() -> Iterator[bytes]:
        try:
            while True:
                yield b"12345"
        finally:
            closed.append(True)

    ask_wsgi(WSGIMiddleware(answering(chunks=stream())), read=2)
    assert [True] == closed
    assert StatusCode.UNSET is telemetry.server().status.status_code
    assert {("shop", "GET", "200", "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_an_answer_that_is_let_go_without_a_close_ends_the_request(telemetry: Telemetry) -> None:
    for number, chunks in enumerate((iter([b"12", b"345"]), [b"12345"], (b"12" for _ in range(9))), 1):
        answer = WSGIMiddleware(answering(chunks=chunks))(environ_of(), lambda *_: None)
        assert b"12" == next(iter(answer))[:2]
        assert number - 1 == len(telemetry.servers())
        del answer
        assert (
            number
            == len(telemetry.servers())
            == telemetry.counts(REQUESTS)["shop", "GET", "200", "unmatched"]
        )


def test_an_answer_that_has_nothing_to_close_is_over_when_it_has_been_read(telemetry: Telemetry) -> None:
    answer = WSGIMiddleware(answering(chunks=iter([b"12", b"345"])))(environ_of(), lambda *_: None)
    assert [b"12", b"345"] == list(answer)
    assert 5 == telemetry.sums(REQUEST_SIZE)["shop", "response"]
    assert telemetry.server()


def test_a_failure_after_the_request_is_over_is_a_record_of_its_own(telemetry: Telemetry) -> None:
    class Failing:
        def __iter__(self) -> Iterator[bytes]:
            yield b"12345"
            raise LookupError

        def close(self) -> None:
            """Nothing."""

    with read_in_process():
        answer = WSGIMiddleware(answering(chunks=Failing(), headers=[("Content-Length", "9")]))(
            environ_of(), lambda *_: None
        )
    assert telemetry.server()
    with pytest.raises(LookupError):
        list(answer)
    answer.close()  # type: ignore[attr-defined]
    assert ["request completed", "request failed after its answer"] == [
        data.log_record.body for data in telemetry.records()
    ]


def test_an_exception_without_an_answer_counts_as_500_and_passes_on(telemetry: Telemetry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        raise LookupError("gone")

    with pytest.raises(LookupError):
        ask_wsgi(WSGIMiddleware(app))
    assert ("LookupError", 500) == (
        telemetry.attributes()["error.type"],
        telemetry.attributes()["http.response.status_code"],
    )
    assert ("LookupError", "gone") == (
        telemetry.completion()["exception.type"],
        telemetry.completion()["exception.message"],
    )
    assert {("shop", "GET", "500", "unmatched"): 1} == telemetry.counts(REQUESTS)
    assert "ERROR" == telemetry.completions()[0].log_record.severity_text


@pytest.mark.parametrize("where", ["in the middle", "at the close"])
def test_an_exception_while_answering_keeps_the_status_that_was_sent(
    telemetry: Telemetry, where: str
) -> None:
    class Failing:
        def __iter__(self) -> Iterator[bytes]:
            yield b"12"
            if where == "in the middle":
                raise LookupError

        def close(self) -> None:
            if where == "at the close":
                raise LookupError

    with pytest.raises(LookupError):
        ask_wsgi(WSGIMiddleware(answering(chunks=Failing())))
    assert (200, "LookupError") == (
        telemetry.attributes()["http.response.status_code"],
        telemetry.attributes()["error.type"],
    )
    assert {("shop", "GET", "500", "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_an_answer_that_starts_with_its_first_chunk_has_its_status(telemetry: Telemetry) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("201 Created", [])
        yield b"x"

    ask_wsgi(WSGIMiddleware(app))
    assert 201 == telemetry.attributes()["http.response.status_code"]


def test_bytes_that_are_written_are_counted(telemetry: Telemetry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        write(b"123")
        return [b"45"]

    assert b"12345" == ask_wsgi(WSGIMiddleware(app)).body
    assert 5 == telemetry.sums(REQUEST_SIZE)["shop", "response"]


def test_a_complete_answer_keeps_its_length_for_the_server(telemetry: Telemetry) -> None:
    """From which wsgiref and others make a Content-Length."""
    chunks = WSGIMiddleware(answering(chunks=[b"12", b"3"]))(environ_of(), lambda *_: None)
    assert 2 == len(chunks)  # type: ignore[arg-type]
    chunks.close()  # type: ignore[attr-defined]
    assert telemetry.server()


@pytest.mark.parametrize("kind", [list, tuple, deque, type("Chunks", (list,), {})])
def test_whatever_has_a_length_keeps_it_and_what_has_none_gets_none(telemetry: Telemetry, kind: Any) -> None:
    chunks: Any = WSGIMiddleware(answering(chunks=kind([b"12", b"3"])))(environ_of(), lambda *_: None)
    assert (2, True, [b"12", b"3"]) == (len(chunks), bool(chunks), list(chunks))
    chunks.close()
    empty: Any = WSGIMiddleware(answering(chunks=kind([])))(environ_of(), lambda *_: None)
    assert (0, False, []) == (len(empty), bool(empty), list(empty))
    empty.close()
    stream = WSGIMiddleware(answering(chunks=iter([b"12345"])))(environ_of(), lambda *_: None)
    assert not hasattr(stream, "__len__")
    stream.close()  # type: ignore[attr-defined]
    assert 3 == telemetry.sums(REQUEST_SIZE)["shop", "response"]


def test_bytes_that_are_no_answer_are_the_server_s_to_judge(telemetry: Telemetry) -> None:
    """uWSGI sends them."""
    assert b"12345" == WSGIMiddleware(answering(chunks=b"12345"))(environ_of(), lambda *_: None)
    assert 5 == telemetry.sums(REQUEST_SIZE)["shop", "response"]


def test_a_file_wrapper_reaches_the_server_as_it_is(telemetry: Telemetry) -> None:
    """So that the server can leave sending to the kernel; the size is what was declared."""
    file = FileWrapper(io.BytesIO(b"12345"))
    app = WSGIMiddleware(answering(chunks=file, headers=[("Content-Length", "5")]))
    environ = environ_of(**{"wsgi.file_wrapper": FileWrapper})
    assert file is app(environ, lambda *_: None)
    assert 5 == telemetry.sums(REQUEST_SIZE)["shop", "response"]


@pytest.mark.parametrize("chunks", [(b"ignored",), iter([b"ignored"])])
def test_an_answer_to_head_has_no_size(telemetry: Telemetry, chunks: Any) -> None:
    ask_wsgi(WSGIMiddleware(answering(chunks=chunks)), method="HEAD")
    assert 0 == telemetry.sums(REQUEST_SIZE)["shop", "response"]


def test_request_bytes_are_counted_where_no_length_is_declared(telemetry: Telemetry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        stream = environ["wsgi.input"]
        assert b"12\n" == stream.readline()
        assert [b"34\n"] == stream.readlines(1)
        assert [b"5\n"] == [next(iter(stream))]
        assert b"67" == stream.read()
        return answering()(environ, start_response)

    ask_wsgi(
        WSGIMiddleware(app), method="POST", headers=[("transfer-encoding", "chunked")], body=b"12\n34\n5\n67"
    )
    assert 10 == telemetry.sums(REQUEST_SIZE)["shop", "request"]


def test_methods_that_are_none_share_one_value(telemetry: Telemetry) -> None:
    ask_wsgi(WSGIMiddleware(answering()), method="get")
    assert "HTTP" == telemetry.server().name
    assert {("shop", "_OTHER", "200", "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_invalid_utf_8_in_a_path_is_replaced(telemetry: Telemetry) -> None:
    """A lone surrogate could not be exported."""
    ask_wsgi(WSGIMiddleware(answering()), PATH_INFO="/\xff")
    assert "/\ufffd" == telemetry.attributes()["url.path"]


def test_the_middleware_is_a_valid_wsgi_application(telemetry: Telemetry) -> None:
    answer = ask_wsgi(validator(WSGIMiddleware(validator(answering(chunks=[b"hello"])))), CONTENT_LENGTH="0")
    assert (200, b"hello") == (answer.status, answer.body)
    assert telemetry.server()


def test_the_middleware_twice_measures_once(telemetry: Telemetry) -> None:
    ask_wsgi(WSGIMiddleware(WSGIMiddleware(answering())))
    assert telemetry.server()


def test_a_failure_of_ours_leaves_the_application_alone(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    calls: list[int] = []

    def app(environ: Any, start_response: Callable[..., Any]) -> Any:
        calls.append(1)
        return answering()(environ, start_response)

    for place in ("incoming.open_request", "exchange.record_request", "exchange.Exchange.begin_answer"):
        with monkeypatch.context() as patch:
            patch.setattr(f"bext_otel_instrumentors.http.{place}", broken)
            assert b"hello" == ask_wsgi(WSGIMiddleware(app)).body
    assert 3 == len(calls)


def test_the_known_methods_are_those_that_the_variable_names_instead(tmp_path: Path) -> None:
    """HTTP semantic conventions: a full override, and case-sensitive."""
    shown, _ = fresh(
        """
        from wsgiref.util import setup_testing_defaults
        import bext_otel
        from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        runs = bext_otel.configure()
        spans = InMemorySpanExporter()
        runs.tracer_provider.add_span_processor(SimpleSpanProcessor(spans))
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b""]
        for method in ("PURGE", "purge", "get", "GET"):
            environ = {"REQUEST_METHOD": method}
            setup_testing_defaults(environ)
            answer = WSGIMiddleware(app)(environ, lambda *_: None)
            list(answer), answer.close()
        text = runs.endpoints.reply("GET", "/metrics", "", {}, trusted=True).body.decode()
        counted = [line.partition('method="')[2].partition('"')[0] for line in text.splitlines() if line.startswith("bext_requests_total")]
        show([[span.attributes["http.request.method"] for span in spans.get_finished_spans()], sorted(counted)])
        """,
        tmp_path,
        OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS="PURGE, get,",
    )
    assert [["PURGE", "_OTHER", "get", "_OTHER"], ["PURGE", "_OTHER", "get"]] == shown
