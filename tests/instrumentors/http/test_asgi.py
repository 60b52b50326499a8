"""ASGI requests: what is measured, whatever happens to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from bext_otel.apps import current_app
from bext_otel.catalogue import HTTP_SERVER_REQUEST_DURATION, REQUEST_DURATION, REQUEST_SIZE, REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import ask, ask_async, http_scope


def answering(
    status: int = 200, body: bytes = b"hello", headers: list[tuple[bytes, bytes]] | None = None
) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers or []})
        await send({"type": "http.response.body", "body": body})

    return app


def test_a_request_is_one_server_span_with_stable_conventions(telemetry: Telemetry) -> None:
    ask(ASGIMiddleware(answering()), "/about", query="page=2&token=abc", headers=[("user-agent", "curl/8")])
    span = telemetry.server()
    assert 1 == len(telemetry.spans())
    assert "GET" == span.name
    assert StatusCode.UNSET is span.status.status_code
    assert {
        "http.request.method": "GET",
        "url.path": "/about",
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
    ask(
        ASGIMiddleware(answering(body=b"12345")),
        method="POST",
        headers=[("content-length", "7")],
        body=[b"1234567"],
    )
    assert {("shop", "POST", "200", "unmatched"): 1} == telemetry.counts(REQUESTS)
    assert {("shop", "unmatched"): 1} == telemetry.counts(REQUEST_DURATION)
    assert {("shop", "request"): 7, ("shop", "response"): 5} == telemetry.sums(REQUEST_SIZE)
    assert {("POST", "http", 200, None, "1.1", None): 1} == telemetry.counts(HTTP_SERVER_REQUEST_DURATION)


def test_a_completion_is_recorded_with_the_ids_of_the_span(telemetry: Telemetry) -> None:
    ask(ASGIMiddleware(answering(headers=[(b"X-Bext-Cache", b"hit")])), "/about")
    found = telemetry.completion()
    assert found.pop("duration_ms") > 0
    assert {"app": "shop", "method": "GET", "path": "/about", "status": 200, "cache": "hit"} == found
    data = telemetry.completions()[0]
    assert telemetry.server().context.span_id == data.log_record.span_id
    assert telemetry.server().context.trace_id == data.log_record.trace_id
    assert ("INFO", "bext.request") == (data.log_record.severity_text, data.instrumentation_scope.name)


def test_completions_can_be_turned_off(use_telemetry: Callable[..., Telemetry]) -> None:
    telemetry = use_telemetry(log_requests=False)
    ask(ASGIMiddleware(answering()))
    assert [] == telemetry.completions()


def test_a_slow_request_completes_at_warn(use_telemetry: Callable[..., Telemetry]) -> None:
    telemetry = use_telemetry(slow_request_ms=0.0)
    ask(ASGIMiddleware(answering()))
    assert "WARN" == telemetry.completions()[0].log_record.severity_text


def test_a_path_is_cut_in_the_completion(telemetry: Telemetry) -> None:
    ask(ASGIMiddleware(answering()), "/" + "x" * 5000)
    assert 1024 == len(telemetry.completion()["path"])


@pytest.mark.parametrize(
    ("status", "error_type", "severity"),
    [(200, None, "INFO"), (404, None, "INFO"), (500, "500", "ERROR"), (503, "503", "ERROR")],
)
def test_only_a_server_error_is_an_error(
    telemetry: Telemetry, status: int, error_type: str | None, severity: str
) -> None:
    ask(ASGIMiddleware(answering(status)))
    span = telemetry.server()
    assert (StatusCode.ERROR if error_type else StatusCode.UNSET) is span.status.status_code
    assert error_type == telemetry.attributes().get("error.type")
    assert severity == telemetry.completions()[0].log_record.severity_text
    assert {("GET", "http", status, None, "1.1", error_type): 1} == telemetry.counts(
        HTTP_SERVER_REQUEST_DURATION
    )


def test_an_exception_without_an_answer_counts_as_500_and_passes_on(telemetry: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError):
        ask(ASGIMiddleware(app))
    span = telemetry.server()
    assert ("LookupError", 500) == (
        telemetry.attributes()["error.type"],
        telemetry.attributes()["http.response.status_code"],
    )
    assert StatusCode.ERROR is span.status.status_code
    assert ["exception"] == [event.name for event in span.events]
    assert {("shop", "GET", "500", "unmatched"): 1} == telemetry.counts(REQUESTS)
    completion = telemetry.completion()
    assert ("LookupError", 500) == (completion["error_type"], completion["status"])
    assert ("LookupError", "gone") == (completion["exception.type"], completion["exception.message"])
    assert completion["exception.stacktrace"].startswith("Traceback")
    assert completion["exception.stacktrace"].endswith("LookupError: gone\n")


def test_an_exception_that_cannot_say_what_it_is_is_told_by_its_type(telemetry: Telemetry) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise Mute

    with pytest.raises(Mute):
        ask(ASGIMiddleware(app))
    completion = telemetry.completion()
    assert (f"{__name__}.{Mute.__qualname__}", "Mute()") == (
        completion["exception.type"],
        completion["exception.message"],
    )
    assert "in app" in completion["exception.stacktrace"]
    assert {("shop", "GET", "500", "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_a_client_that_goes_away_is_no_exception_of_the_application(telemetry: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        ask(ASGIMiddleware(app))
    assert "exception.type" not in telemetry.completion()


def test_an_exception_in_the_middle_of_an_answer_keeps_the_status_that_was_sent(telemetry: Telemetry) -> None:
    """It counts as a 500, since that label is what error rates are made of."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"12", "more_body": True})
        raise LookupError

    with pytest.raises(LookupError):
        ask(ASGIMiddleware(app))
    assert (200, "LookupError") == (
        telemetry.attributes()["http.response.status_code"],
        telemetry.attributes()["error.type"],
    )
    assert {("shop", "GET", "500", "unmatched"): 1} == telemetry.counts(REQUESTS)
    assert 2 == telemetry.sums(REQUEST_SIZE)["shop", "response"]


def test_an_application_that_does_not_answer_counts_as_500(telemetry: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        return

    ask(ASGIMiddleware(app))
    assert (500, "500") == (
        telemetry.attributes()["http.response.status_code"],
        telemetry.attributes()["error.type"],
    )


def test_a_client_that_leaves_before_the_answer_is_no_failure(telemetry: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def leave() -> None:
        task = asyncio.create_task(ask_async(ASGIMiddleware(app), http_scope()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert StatusCode.UNSET is telemetry.server().status.status_code
    assert "CancelledError" == telemetry.attributes()["error.type"]
    assert "http.response.status_code" not in telemetry.attributes()
    assert {("shop", "GET", "499", "unmatched"): 1} == telemetry.counts(REQUESTS)


async def finished(telemetry: Telemetry, requests: int = 1) -> None:
    """Waits until this many requests are over, while their applications run."""
    for _ in range(2000):
        if requests == len(telemetry.servers()):
            return
        await asyncio.sleep(0.005)
    raise AssertionError("a request is not over while its application runs")


def test_an_exception_behind_the_last_byte_is_the_requests(telemetry: Telemetry) -> None:
    """Starlette's BaseHTTPMiddleware ends a broken stream as if it were complete, and raises then."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answering()(scope, receive, send)
        await asyncio.sleep(0)
        raise LookupError

    with pytest.raises(LookupError):
        ask(ASGIMiddleware(app))
    assert (200, "LookupError") == (
        telemetry.attributes()["http.response.status_code"],
        telemetry.attributes()["error.type"],
    )
    assert ["exception"] == [event.name for event in telemetry.server().events]
    assert {("shop", "GET", "500", "unmatched"): 1} == telemetry.counts(REQUESTS)
    assert "ERROR" == telemetry.completions()[0].log_record.severity_text


def test_a_client_that_has_its_answer_may_leave(telemetry: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answering()(scope, receive, send)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        ask(ASGIMiddleware(app))
    assert "error.type" not in telemetry.attributes()
    assert {("shop", "GET", "200", "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_work_behind_the_last_byte_does_not_delay_the_request_and_its_late_failure_is_a_record_of_the_trace(
    telemetry: Telemetry,
) -> None:
    at: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"12", "more_body": True})
        at.append(time.time_ns())
        await send({"type": "http.response.body", "body": b"34"})
        at.append(time.time_ns())
        await finished(telemetry)
        raise LookupError("too late")

    with pytest.raises(LookupError):
        ask(ASGIMiddleware(app), "/about")
    assert at[0] <= (telemetry.server().end_time or 0) <= at[1]
    assert "error.type" not in telemetry.attributes()
    assert {("shop", "GET", "200", "unmatched"): 1} == telemetry.counts(REQUESTS)
    late = next(
        data for data in telemetry.records() if data.log_record.body == "request failed after its answer"
    )
    assert telemetry.server().context.span_id == late.log_record.span_id
    found = dict(late.log_record.attributes)
    assert "LookupError: too late" in found.pop("exception.stacktrace")
    assert ({"type": "LookupError", "message": "too late"},) == found.pop("exceptions")
    assert {
        "app": "shop",
        "method": "GET",
        "path": "/about",
        "status": 200,
        "error_type": "LookupError",
        "exception.type": "LookupError",
        "exception.message": "too late",
    } == found
    assert "ERROR" == late.log_record.severity_text


def test_requests_that_are_answered_one_after_the_other_are_each_over_in_their_time(
    telemetry: Telemetry,
) -> None:
    """One timer is for all of them."""

    async def both() -> None:
        answered = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await answering()(scope, receive, send)
            answered.set()
            await asyncio.Event().wait()

        first = asyncio.create_task(ask_async(ASGIMiddleware(app), http_scope("/first")))
        await answered.wait()
        second = asyncio.create_task(ask_async(ASGIMiddleware(app), http_scope("/second")))
        await finished(telemetry, 2)
        first.cancel()
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)

    asyncio.run(both())
    assert ["/first", "/second"] == [(span.attributes or {})["url.path"] for span in telemetry.servers()]
    assert {("shop", "GET", "200", "unmatched"): 2} == telemetry.counts(REQUESTS)


def test_the_next_request_of_a_connection_is_none_of_one_that_is_answered_and_still_runs(
    telemetry: Telemetry,
) -> None:
    app = ASGIMiddleware(answering())

    async def first(scope: Any, receive: Any, send: Any) -> None:
        await answering()(scope, receive, send)
        await asyncio.create_task(ask_async(app, http_scope("/second")))

    ask(ASGIMiddleware(first), "/first")
    assert [None, None] == [span.parent for span in telemetry.servers()]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_without_a_body_have_no_size(telemetry: Telemetry, method: str, status: int) -> None:
    ask(ASGIMiddleware(answering(status, b"ignored by servers")), method=method)
    assert 0 == telemetry.sums(REQUEST_SIZE)["shop", "response"]


def test_request_bytes_are_counted_where_no_length_is_declared(telemetry: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await answering()(scope, receive, send)

    ask(ASGIMiddleware(app), method="POST", headers=[("transfer-encoding", "chunked")], body=[b"123", b"45"])
    assert 5 == telemetry.sums(REQUEST_SIZE)["shop", "request"]


def test_a_file_that_the_server_sends_counts_what_was_declared(telemetry: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"42")]})
        await send({"type": "http.response.pathsend", "path": "/some/file"})

    ask(ASGIMiddleware(app))
    assert 42 == telemetry.sums(REQUEST_SIZE)["shop", "response"]


def test_an_answer_with_trailers_ends_with_them(telemetry: Telemetry) -> None:
    at: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b"x"})
        at.append(time.time_ns())
        await send({"type": "http.response.trailers", "headers": []})
        at.append(time.time_ns())
        await asyncio.sleep(0)

    ask(ASGIMiddleware(app))
    assert at[0] <= (telemetry.server().end_time or 0) <= at[1]


def test_methods_that_are_none_share_one_value(telemetry: Telemetry) -> None:
    ask(ASGIMiddleware(answering()), method="BREW")
    assert "HTTP" == telemetry.server().name
    assert ("_OTHER", "BREW") == (
        telemetry.attributes()["http.request.method"],
        telemetry.attributes()["http.request.method_original"],
    )
    assert {("shop", "_OTHER", "200", "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_paths_and_hosts_make_no_series(telemetry: Telemetry) -> None:
    app = ASGIMiddleware(answering())
    for number in range(20):
        ask(app, f"/{number}", headers=[("host", f"h{number}.example")])
    assert {("shop", "GET", "200", "unmatched"): 20} == telemetry.counts(REQUESTS)
    assert 1 == len(telemetry.points(HTTP_SERVER_REQUEST_DURATION))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("a.example", ("a.example", 80)),
        ("a.example:81", ("a.example", 81)),
        ("[2001:db8::1]:82", ("2001:db8::1", 82)),
        ("[2001:db8::1]", ("2001:db8::1", 80)),
        ("a.example:", ("a.example", 80)),
        ("a_b.example:65535", ("a_b.example", 65535)),
    ],
)
def test_the_server_is_who_the_client_named(
    telemetry: Telemetry, host: str, expected: tuple[str, int]
) -> None:
    for _ in range(2):
        telemetry.clear()
        ask(ASGIMiddleware(answering()), headers=[("host", host)])
        assert expected == (telemetry.attributes()["server.address"], telemetry.attributes()["server.port"])


@pytest.mark.parametrize(
    "host",
    [
        "me:secret@a.example",
        "me@a.example:80",
        "a.example:x",
        "a.example:0",
        "a.example:65536",
        "a.example:99999999999",
        "a.example:-1",
        "a.example:\u00b2",
        "http://a.example/",
        "a.example/x?y",
        "[2001:db8::1",
        "[x]",
        "2001:db8::1",
        "a b",
        ":",
        ":80",
        "a" * 600,
    ],
)
def test_a_host_that_is_none_leaves_the_server_to_its_socket(telemetry: Telemetry, host: str) -> None:
    ask(ASGIMiddleware(answering()), headers=[("host", host)])
    assert ("127.0.0.1", 8000) == (
        telemetry.attributes()["server.address"],
        telemetry.attributes()["server.port"],
    )


def test_an_unknown_scheme_has_no_port_of_its_own(telemetry: Telemetry) -> None:
    asyncio.run(
        ask_async(
            ASGIMiddleware(answering()),
            {**http_scope(), "scheme": "gopher", "headers": [(b"host", b"a.example")]},
        )
    )
    assert ("a.example", None) == (
        telemetry.attributes()["server.address"],
        telemetry.attributes().get("server.port"),
    )


def test_without_a_host_the_server_is_its_socket(telemetry: Telemetry) -> None:
    asyncio.run(
        ask_async(
            ASGIMiddleware(answering()),
            {**http_scope(), "headers": [], "server": ("/run/app.sock", None), "client": None},
        )
    )
    attributes = telemetry.attributes()
    assert "/run/app.sock" == attributes["server.address"]
    assert not {"server.port", "client.address"} & set(attributes)


def test_the_app_is_found_by_the_resolver_and_known_inside(use_telemetry: Callable[..., Telemetry]) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(current_app())
        await answering()(scope, receive, send)

    telemetry = use_telemetry(resolver=lambda host, path: f"{host}{path}")
    ask(ASGIMiddleware(app), "/x")
    assert ["shop.example:8000/x"] == seen
    assert "shop.example:8000/x" == telemetry.attributes()["bext.app"]
    assert None is current_app()


def test_a_request_that_is_not_sampled_is_measured_all_the_same(
    use_telemetry: Callable[..., Telemetry],
) -> None:
    telemetry = use_telemetry(ALWAYS_OFF)
    ask(ASGIMiddleware(answering()))
    assert [] == telemetry.spans()
    assert {("shop", "GET", "200", "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_requests_at_the_same_time_keep_to_themselves(telemetry: Telemetry) -> None:
    barrier: list[asyncio.Event] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        number = int(scope["path"][1:])
        await send({"type": "http.response.start", "status": 200 + number, "headers": []})
        if number < 9:
            await barrier[0].wait()
        barrier[0].set()
        await send({"type": "http.response.body", "body": b"x" * number})

    async def all_at_once() -> None:
        barrier.append(asyncio.Event())
        measured = ASGIMiddleware(app)
        await asyncio.gather(*(ask_async(measured, http_scope(f"/{number}")) for number in range(10)))

    asyncio.run(all_at_once())
    assert {("shop", "GET", str(200 + number), "unmatched"): 1 for number in range(10)} == telemetry.counts(
        REQUESTS
    )
    # 204 has no body.
    assert sum(range(10)) - 4 == telemetry.sums(REQUEST_SIZE)["shop", "response"]


def test_lifespans_and_unknown_scopes_pass_through_untouched(telemetry: Telemetry) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((dict(scope), receive, send))

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}

    async def nothing(*_: Any) -> Any:
        return None

    asyncio.run(ASGIMiddleware(app)(dict(scope), nothing, nothing))
    assert [(scope, nothing, nothing)] == seen
    assert [] == telemetry.spans()


def test_the_middleware_twice_measures_once(telemetry: Telemetry) -> None:
    ask(ASGIMiddleware(ASGIMiddleware(answering())))
    assert telemetry.server()
    assert {("shop", "GET", "200", "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_a_request_to_oneself_is_a_request_of_its_own(telemetry: Telemetry) -> None:
    inner = ASGIMiddleware(answering())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await ask_async(inner, http_scope("/inner"))
        await answering()(scope, receive, send)

    ask(ASGIMiddleware(app), "/outer")
    inside, outside = telemetry.servers()
    assert outside.context.span_id == inside.parent.span_id
    assert {("shop", "GET", "200", "unmatched"): 2} == telemetry.counts(REQUESTS)


def test_a_context_left_over_from_the_last_request_of_a_connection_is_not_a_parent(
    telemetry: Telemetry,
) -> None:
    """A server may read a pipelined request inside the task of the one before."""
    app = ASGIMiddleware(answering())

    async def pipelined() -> None:
        tasks: list[asyncio.Task[Any]] = []

        async def first(scope: Any, receive: Any, send: Any) -> None:
            await answering()(scope, receive, send)
            tasks.append(asyncio.create_task(ask_async(app, http_scope("/second"))))

        await ask_async(ASGIMiddleware(first), http_scope("/first"))
        await tasks[0]

    asyncio.run(pipelined())
    assert [None, None] == [span.parent for span in telemetry.servers()]


def test_a_failure_of_ours_leaves_the_application_alone(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    calls: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        calls.append(1)
        await answering()(scope, receive, send)

    for place in (
        "incoming.open_request",
        "exchange.record_request",
        "routes._guess",
        "exchange.Exchange.begin_answer",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"bext_otel_instrumentors.http.{place}", broken)
            answer = ask(ASGIMiddleware(app))
            assert (200, b"hello") == (answer.status, answer.body)
    assert 4 == len(calls)
    assert "telemetry failed" in caplog.text


def test_nothing_of_a_request_is_left_to_the_garbage_collector(telemetry: Telemetry) -> None:
    """A cycle for each request would make collections, and their pauses, part of every request's cost."""
    import gc
    import weakref

    kept: list[Any] = []

    class Marker:
        """Something that lives as long as the scope."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        marker = scope["marker"] = Marker()
        kept.append(weakref.ref(marker))
        await answering()(scope, receive, send)

    async def once() -> None:
        await ask_async(ASGIMiddleware(app), http_scope())

    gc.disable()
    try:
        asyncio.run(once())
        assert None is kept[0]()
    finally:
        gc.enable()
