from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.listener.requests import BadRequestError, Body, Head, parse


def head(*fields: str, line: str = "GET /a%20b?c=d HTTP/1.1") -> Head:
    return parse("\r\n".join([line, *fields]).encode("latin-1"))


def refused(*fields: str, line: str = "POST / HTTP/1.1") -> int:
    with pytest.raises(BadRequestError) as caught:
        Body(head("Host: x", *fields, line=line), 100)
    return caught.value.status


def test_a_head_is_a_method_a_path_a_query_and_fields() -> None:
    found = head("Host: a", "ACCEPT:  text/plain ", "accept: b")
    assert ("GET", "/a b", "c=d", 1) == (found.method, found.path, found.query, found.minor)
    assert {"host": "a", "accept": "text/plain, b"} == found.fields


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("GET http://other/a?b HTTP/1.1", "/a"),
        ("GET http://other HTTP/1.1", "/"),
        ("OPTIONS * HTTP/1.1", "*"),
        ("GET /caf%C3%A9 HTTP/1.1", "/caf\u00c3\u00a9"),
        ("GET /a#b?c HTTP/1.1", "/a"),
    ],
)
def test_the_path_is_found_in_any_form_of_the_target(line: str, path: str) -> None:
    assert path == head("Host: x", line=line).path


@pytest.mark.parametrize(
    ("line", "host"),
    [
        ("GET http://Other:80/a HTTP/1.1", "Other:80"),
        ("GET http://other HTTP/1.0", "other"),
        ("GET http://a@b/ HTTP/1.1", "a@b"),
        ("GET http:/// HTTP/1.1", ""),
        ("GET //other/a HTTP/1.1", "x"),
    ],
)
def test_a_target_that_names_a_host_is_the_one_that_counts(line: str, host: str) -> None:
    assert host == head("Host: x", line=line).fields["host"]


@pytest.mark.parametrize(
    ("status", "raw"),
    [
        (400, b""),
        (400, b"GET /"),
        (400, b"GET  / HTTP/1.1\r\nHost: x"),
        (400, b"GET / HTTP/1.1"),
        (400, b"GET a HTTP/1.1\r\nHost: x"),
        (505, b"GET / HTTP/2.0\r\nHost: x"),
        (400, b"GET / HTTP/1.1\r\nHost : x"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\n folded"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\nA: b\nC: d"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\nHost: y"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nAuthorization: b"),
        (431, b"GET / HTTP/1.1\r\nHost: x" + b"\r\nA: b" * 100),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(status: int, raw: bytes) -> None:
    with pytest.raises(BadRequestError) as caught:
        parse(raw)
    assert status == caught.value.status


def test_a_name_with_an_underscore_is_none_that_could_pass_for_another() -> None:
    assert {"host": "x"} == head("Host: x", "X_Forwarded_For: y").fields


@pytest.mark.parametrize(
    ("line", "field", "stays"),
    [
        ("GET / HTTP/1.1", "X: y", True),
        ("GET / HTTP/1.1", "Connection: Close", False),
        ("GET / HTTP/1.0", "X: y", False),
        ("GET / HTTP/1.0", "Connection: keep-alive", True),
    ],
)
def test_the_version_and_the_client_say_whether_a_connection_stays(
    line: str, field: str, stays: bool
) -> None:
    assert stays == head("Host: x", field, line=line).stays


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (400, ("Content-Length: 1", "Transfer-Encoding: chunked")),
        (400, ("Content-Length: 1", "Content-Length: 1")),
        (400, ("Content-Length: +1",)),
        (400, (f"Content-Length: {'9' * 5000}",)),
        (413, ("Content-Length: 101",)),
        (501, ("Transfer-Encoding: gzip, chunked",)),
    ],
)
def test_a_body_has_one_length(status: int, fields: tuple[str, ...]) -> None:
    assert status == refused(*fields)


def test_http_1_0_has_no_chunks() -> None:
    assert 400 == refused("Transfer-Encoding: chunked", line="POST / HTTP/1.0")


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.integers(1, 7))
def test_a_body_in_chunks_is_the_same_however_it_arrives(parts: list[bytes], step: int) -> None:
    sent = b"".join(b"%x;e=1\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nT: u\r\n\r\nNEXT"
    body, received, done = Body(head("Host: x", "Transfer-Encoding: chunked"), 100), bytearray(), False
    position = 0
    while not done:
        received += sent[position : position + step]
        position += step
        done = body.feed(received)
    assert b"".join(parts) == bytes(body.content)
    assert b"NEXT".startswith(bytes(received))


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (400, b"x\r\n"),
        (400, b"-1\r\n"),
        (400, b"2\r\nabc\r\n"),
        (400, b"1" * 2000),
        (413, b"65\r\n"),
        (413, b"60\r\n" + b"a" * 96 + b"\r\n5\r\n"),
    ],
)
def test_a_malformed_chunk_or_one_too_many_is_refused(status: int, sent: bytes) -> None:
    body = Body(head("Host: x", "Transfer-Encoding: chunked"), 100)
    with pytest.raises(BadRequestError) as caught:
        body.feed(bytearray(sent))
    assert status == caught.value.status


@pytest.mark.parametrize("sent", [b"1\r\nx\r\n" * 10_000, b"0\r\n" + b"a: b\r\n" * 10_000])
def test_a_body_that_is_hardly_more_than_lengths_of_chunks_or_trailers_is_refused(sent: bytes) -> None:
    """Each costs time to read, and a flood of them the others' time."""
    body, received = Body(head("Host: x", "Transfer-Encoding: chunked"), 10**6), bytearray(sent)
    with pytest.raises(BadRequestError) as caught:
        body.feed(received)
    assert 400 == caught.value.status
    assert len(received) > len(sent) // 3


@pytest.mark.parametrize("size", [80, 4096])
def test_chunks_of_a_usual_size_are_as_many_as_the_body_takes(size: int) -> None:
    chunk = b"%x\r\n%s\r\n" % (size, b"x" * size)
    body = Body(head("Host: x", "Transfer-Encoding: chunked"), 10**6)
    assert body.feed(bytearray(chunk * (10**6 // size) + b"0\r\n\r\n"))
    assert 10**6 // size * size == len(body.content)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_parser(raw: bytes) -> None:
    for tried in (raw, b"GET / HTTP/1.1\r\nHost: x\r\n" + raw, b"GET /" + raw + b" HTTP/1.1\r\nHost: x"):
        assert result(tried) in {200, 400, 431, 505}


def result(raw: bytes) -> int:
    try:
        parse(raw)
    except BadRequestError as error:
        return error.status
    return 200
