"""Requests over HTTP against real servers: connections that are kept, deadlines, proxies."""

from __future__ import annotations

import base64
import http.client
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bext_otel.export.http_client import MAX_ANSWER, HttpClient, UnsentError
from tests.export.certificates import certificate, needs_openssl, over_tls
from tests.serving import serving
from tests.waiting import until

Answering = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@dataclass
class Server:
    """Answers each request by `answer`, and remembers what it was asked."""

    url: str = ""
    answer: Answering = lambda request: reply(request)
    targets: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)


def reply(request: BaseHTTPRequestHandler, status: int = 200, body: bytes = b"", **headers: str) -> None:
    request.send_response(status)
    for name, value in {"content-length": str(len(body)), **headers}.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)


@contextmanager
def answering(answer: Answering = lambda request: reply(request)) -> Iterator[Server]:
    state = Server(answer=answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            state.connections.add(self.client_address)
            state.targets.append(self.path)
            state.headers.append({name.lower(): value for name, value in self.headers.items()})
            state.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            state.answer(self)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with serving(server) as state.url:
        yield state


def post(client: HttpClient, content: bytes = b"x", seconds: float = 20.0, **headers: str) -> Any:
    return client.post(
        content, {name.replace("_", "-"): value for name, value in headers.items()}, seconds=seconds
    )


def test_a_connection_is_kept_and_made_again_where_the_server_has_closed_it() -> None:
    with answering() as server:
        client = HttpClient(f"{server.url}/v1/traces?k=v")
        assert [200, 200] == [post(client, content).status for content in (b"one", b"two")]
        assert 1 == len(server.connections)
        server.answer = lambda request: (reply(request), setattr(request, "close_connection", True))[0]
        assert [200, 200] == [post(client, content).status for content in (b"three", b"four")]
        client.close()
    assert [b"one", b"two", b"three", b"four"] == server.bodies
    assert {"/v1/traces?k=v"} == set(server.targets)


def test_headers_are_the_operator_s_and_the_credentials_those_of_the_url() -> None:
    with answering() as server:
        client = HttpClient(server.url.replace("//", "//me:p%40ss@"))
        post(client, tenant="café", host="collector.example")
        client.close()
    (headers,) = server.headers
    assert f"Basic {base64.b64encode(b'me:p@ss').decode()}" == headers["authorization"]
    assert "collector.example" == headers["host"]
    assert "café" == headers["tenant"].encode("latin-1").decode()
    assert "me" not in server.targets[0]


def test_a_redirect_is_an_answer() -> None:
    with answering() as other, answering(lambda request: reply(request, 307, location=other.url)) as server:
        client = HttpClient(server.url)
        answer = post(client)
        client.close()
    assert (307, other.url, []) == (answer.status, answer.headers["location"], other.bodies)


@pytest.mark.parametrize("chunked", [False, True])
def test_of_a_long_answer_no_more_is_read_than_the_specification_has(chunked: bool) -> None:
    sent: list[int] = []

    def long(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header(
            *(("transfer-encoding", "chunked") if chunked else ("content-length", str(64 << 20)))
        )
        request.end_headers()
        piece = b"10000\r\n" + bytes(65_536) + b"\r\n" if chunked else bytes(65_536)
        try:
            for _ in range(1024):
                request.wfile.write(piece)
                sent.append(65_536)
        except OSError:
            request.close_connection = True

    with answering(long) as server:
        client = HttpClient(server.url)
        assert (200, b"") == ((answer := post(client)).status, answer.body)
        server.answer = lambda request: reply(request, body=b"short")
        assert b"short" == post(client).body
        client.close()
        until(lambda: sum(sent) < 8 * MAX_ANSWER)


def test_a_server_that_refuses_before_it_has_read_all_is_heard() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            connection, _ = listening.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 20):
                pass
            connection.close()

        thread = threading.Thread(target=refuse)
        thread.start()
        client = HttpClient(f"http://127.0.0.1:{listening.getsockname()[1]}")
        assert 413 == post(client, bytes(8 << 20)).status
        thread.join()


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_deadline_holds_for_all_of_an_answer(begin: bytes) -> None:
    """A server that is silent, and one that sends a byte now and then, neither of which ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = threading.Event()

        def drip() -> None:
            connection, _ = listening.accept()
            connection.sendall(begin)
            while not done.wait(0.05):
                if begin:
                    connection.sendall(b"x")
            connection.close()

        thread = threading.Thread(target=drip)
        thread.start()
        client = HttpClient(f"http://127.0.0.1:{listening.getsockname()[1]}")
        with pytest.raises(UnsentError) as raised:
            post(client, seconds=0.5)
        done.set()
        thread.join()
    assert ("ReadTimeout", "no answer in time") == (raised.value.cause, str(raised.value))


def test_a_status_says_what_became_of_a_request_whose_answer_breaks_off() -> None:
    def broken(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("content-length", "100")
        request.end_headers()
        request.close_connection = True

    with answering(broken) as server:
        answer = post(HttpClient(server.url))
    assert (200, b"", 1) == (answer.status, answer.body, len(server.bodies))


def test_what_no_server_takes_is_told_in_the_system_s_words() -> None:
    with pytest.raises(UnsentError) as raised:
        post(HttpClient("http://127.0.0.1:1"))
    assert "ConnectionError" == raised.value.cause
    assert "Connection refused" in str(raised.value)


def test_what_answers_in_another_protocol_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            connection.recv(1000)
            connection.sendall(b"SSH-2.0-OpenSSH\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(UnsentError) as raised:
            post(HttpClient(f"http://127.0.0.1:{listening.getsockname()[1]}"))
        thread.join()
    assert "ConnectionError" == raised.value.cause


def test_every_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering() as server:
        port = int(server.url.rpartition(":")[2])
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        assert 200 == post(HttpClient("http://collector.example")).status
    assert ["collector.example"] == [each["host"] for each in server.headers]


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_an_address_of_ipv6_works() -> None:
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    heard: list[bytes] = []

    def answer() -> None:
        connection, _ = listening.accept()
        heard.append(connection.recv(1000))
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        connection.close()

    with listening:
        thread = threading.Thread(target=answer)
        thread.start()
        port = listening.getsockname()[1]
        assert 204 == post(HttpClient(f"http://[::1]:{port}"), b"").status
        thread.join()
    assert f"Host: [::1]:{port}".encode() in heard[0]


def test_an_application_that_debugs_its_own_requests_sees_none_of_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    with answering() as server:
        assert 200 == post(HttpClient(server.url), api_key="secret").status
    assert "" == capsys.readouterr().out


@contextmanager
def proxying(*, wants: str = "") -> Iterator[tuple[str, list[str]]]:
    """A proxy that hands bytes on, for who shows what it `wants`, and the first lines that it was sent."""
    seen: list[str] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def pipe(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65_536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve(client: socket.socket) -> None:
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65_536)
            line, _, rest = head.partition(b"\r\n")
            seen.append(line.decode())
            said = rest.partition(b"\r\n\r\n")[0].decode().lower()
            if wants and f"proxy-authorization: {wants}".lower() not in said:
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            method, target, _ = line.decode().split()
            place = target if method == "CONNECT" else target.split("/")[2]
            host, _, port = place.rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    server.sendall(head)
                back = threading.Thread(target=pipe, args=(server, client), daemon=True)
                back.start()
                pipe(client, server)
                back.join()

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}", seen
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


WORDS = f"Basic {base64.b64encode(b'me:secret').decode()}"


def test_http_goes_through_the_proxy_of_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering() as server, proxying(wants=WORDS) as (proxy, seen):
        monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@{proxy}")
        client = HttpClient(f"{server.url}/v1/logs")
        assert [200, 200] == [post(client).status for _ in range(2)]
        client.close()
        monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
        assert 200 == post(HttpClient(f"{server.url}/v1/logs")).status
    assert [f"POST {server.url}/v1/logs HTTP/1.1"] == seen
    assert f"{server.url}/v1/logs" == server.targets[0]
    assert "/v1/logs" == server.targets[-1]


@needs_openssl
def test_https_goes_through_a_tunnel_that_the_proxy_cannot_look_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, key = certificate(tmp_path, "collector")
    with over_tls(made, key) as collector, proxying(wants=WORDS) as (proxy, seen):
        url = f"https://localhost:{collector.port}/v1/traces"
        monkeypatch.setenv("https_proxy", f"me:secret@{proxy}")
        client = HttpClient(url, trusted=str(made))
        assert [200, 200] == [post(client).status for _ in range(2)]
        client.close()
        assert [f"CONNECT localhost:{collector.port} HTTP/1.1"] == seen
        assert ["/v1/traces"] * 2 == collector.targets
        assert "proxy-authorization" not in collector.headers[0]
        monkeypatch.setenv("https_proxy", f"me:wrong@{proxy}")
        with pytest.raises(UnsentError) as raised:
            post(HttpClient(url, trusted=str(made)))
    assert ("ProxyError", "the proxy answers 407 Proxy Authentication Required") == (
        raised.value.cause,
        str(raised.value),
    )


@needs_openssl
def test_certificates_that_change_are_read_again(tmp_path: Path) -> None:
    """Those that live for hours are written anew in their place."""
    made, key = certificate(tmp_path, "collector")
    other, _ = certificate(tmp_path, "other")
    place = tmp_path / "trusted.pem"
    place.write_bytes(other.read_bytes())
    with over_tls(made, key) as collector:
        client = HttpClient(f"https://localhost:{collector.port}", trusted=str(place))
        with pytest.raises(UnsentError):
            post(client)
        place.write_bytes(made.read_bytes())
        os.utime(place, (time.time() + 10, time.time() + 10))
        assert 200 == post(client).status
        client.close()
