"""Bodies at trace, for the apps that ask for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bext_otel.operation import settings
from bext_otel_instrumentors.http import body_log
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import Answer, ask, ask_wsgi

JSON = "application/json"


@pytest.fixture
def told(use_telemetry: Callable[..., Telemetry]) -> Telemetry:
    return use_telemetry(bodies=frozenset({"shop"}))


def bodies(telemetry: Telemetry) -> list[dict[str, Any]]:
    found = [data.log_record for data in telemetry.records() if data.log_record.body == "request bodies"]
    assert ["TRACE"] * len(found) == [record.severity_text for record in found]
    return [{k: v for k, v in record.attributes.items() if "body" in k} for record in found]


def over_asgi(
    body: bytes, answer: list[bytes], *, kind: str, reads: bool = True, answers: str = ""
) -> Answer:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while reads and (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", (answers or kind).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for chunk in answer:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    chunks = [body[at : at + 1000] for at in range(0, len(body), 1000)] or [b""]
    return ask(ASGIMiddleware(app), method="POST", headers=[("content-type", kind)], body=chunks)


def over_wsgi(body: bytes, answer: Any, *, kind: str, reads: bool = True, answers: str = "") -> Answer:
    def app(environ: Any, start_response: Any) -> Any:
        if reads:
            while environ["wsgi.input"].read(1000):
                pass
        start_response("200 OK", [("Content-Type", answers or kind)])
        return answer

    return ask_wsgi(WSGIMiddleware(app), method="POST", headers=[("content-type", kind)], body=body)


either = pytest.mark.parametrize("send", [over_asgi, over_wsgi])


@either
def test_what_was_read_and_answered_is_one_record_and_passes_unchanged(told: Telemetry, send: Any) -> None:
    answer = send(b'{"a": 1}', [b'{"b":', b" 2}"], kind=JSON)
    assert b'{"b": 2}' == answer.body
    assert [{"request_body": '{"a": 1}', "response_body": '{"b": 2}'}] == bodies(told)


@either
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, '{"password": "hunter2", "deep": [{"card": "hunter2"}], "n": 1}'),
        (JSON, '{"password": "hunter2", "cut'),
        ("application/x-www-form-urlencoded", "user=ada&password=hunter2&code=hunter2"),
        ("text/plain; charset=latin-1", "password=hunter2"),
        ("application/vnd.api+json", '{"token": "hunter2"}'),
        ("text/xml", "<login><password>hunter2</password></login>"),
    ],
)
def test_secrets_in_bodies_stay(told: Telemetry, send: Any, kind: str, body: str) -> None:
    send(body.encode(), [body.encode()], kind=kind)
    (found,) = bodies(told)
    assert {"request_body", "response_body"} == set(found)
    assert "hunter2" not in str(found)
    assert "REDACTED" in found["request_body"]


@either
def test_a_body_is_shown_up_to_4_kib_and_redacted_before_it_is_cut(told: Telemetry, send: Any) -> None:
    begin = "x" * 4090
    token = "eyJ" + "hbGciOiJIUzI1NiJ9" * 20 + ".eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
    body = f"{begin} {token} {'y' * 9000}".encode()
    send(body, [body], kind="text/plain")
    (found,) = bodies(told)
    assert f"{begin} REDAC" == found["request_body"][:4096] == found["response_body"]
    assert len(body) == found["request_body.length"] == found["response_body.length"]


@either
@pytest.mark.parametrize(
    "kind", ["image/png", "multipart/form-data; boundary=x", "", "application/octet-stream"]
)
def test_what_is_no_text_is_not_told(told: Telemetry, send: Any, kind: str) -> None:
    send(b"\x89PNG", [b"\x89PNG"], kind=kind)
    assert [] == bodies(told)


@either
def test_nothing_is_read_that_the_application_does_not_read(told: Telemetry, send: Any) -> None:
    send(b'{"a": 1}', [b"ok"], kind=JSON, reads=False, answers="text/plain")
    assert [{"response_body": "ok"}] == bodies(told)


@either
def test_other_apps_have_nothing_in_their_way(
    use_telemetry: Callable[..., Telemetry], send: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry = use_telemetry(bodies=frozenset({"other"}))
    monkeypatch.setattr(body_log, "Bodies", None)  # whoever made one would fail
    send(b'{"a": 1}', [b"ok"], kind=JSON)
    assert [] == bodies(telemetry)
    assert frozenset({"other"}) == settings().bodies


def test_a_generator_keeps_its_close_and_a_list_its_length(told: Telemetry) -> None:
    closed: list[bool] = []

    def chunks() -> Any:
        try:
            yield b"one "
            yield b"two"
        finally:
            closed.append(True)

    answer = over_wsgi(b"", chunks(), kind="text/plain")
    assert (b"one two", [True]) == (answer.body, closed)
    assert [{"response_body": "one two"}] == bodies(told)


def test_what_is_read_by_lines_is_noted_too(told: Telemetry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        stream = environ["wsgi.input"]
        stream.readline()
        list(stream)
        start_response("204 No Content", [])
        return []

    body = b"a=1\nb=2\nc=3\n"
    ask_wsgi(WSGIMiddleware(app), method="POST", headers=[("content-type", "text/plain")], body=body)
    assert [{"request_body": body.decode()}] == bodies(told)


def test_a_compressed_body_is_not_told(told: Telemetry) -> None:
    async def app(scope: Any, receive: Any, sends: Any) -> None:
        headers = [(b"content-type", b"text/plain"), (b"content-encoding", b"gzip")]
        await sends({"type": "http.response.start", "status": 200, "headers": headers})
        await sends({"type": "http.response.body", "body": b"\x1f\x8b"})

    ask(ASGIMiddleware(app))
    assert [] == bodies(told)


@either
def test_chunks_that_are_none_are_the_servers_affair(told: Telemetry, send: Any) -> None:
    send(json.dumps({"a": "x" * 9000}).encode(), [b"abc", bytearray(b"d")], kind=JSON)
    (found,) = bodies(told)
    assert "abcd" == found["response_body"]
