from __future__ import annotations

import http.client
import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bext_otel import config
from bext_otel.endpoints.formats import text
from bext_otel.endpoints.server import StandaloneServer
from bext_otel.listener import lanes
from bext_otel.metrics.snapshot import Snapshot
from tests.endpoints.parts import FixedHealth, endpoints
from tests.endpoints.snapshots import SPECIFICATION
from tests.waiting import until

ROOT = Path(__file__).parents[2]
LISTENER = ROOT / "tests" / "listener"
Servers = Callable[..., StandaloneServer]


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def server(lines: list[str]) -> Iterator[Servers]:
    """Makes servers that end with the test."""
    made: list[StandaloneServer] = []

    def make(port: int = 0, *, host: str = "127.0.0.1", **parts: Any) -> StandaloneServer:
        settings = config.EndpointsSettings(**parts.get("settings", {}))
        served = endpoints(**parts)
        made.append(StandaloneServer(served, host, port, board=None, log=lines.append, settings=settings))
        return made[-1]

    yield make
    for one in made:
        one.stop()
    until(lambda: not mine(), why="threads ended")


def mine() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("bext-otel-endpoints")]


def started(one: StandaloneServer) -> int:
    one.start()
    return until(lambda: one.port, why="bound")


def ask(
    port: int, path: str, *, method: str = "GET", host: str = "127.0.0.1", **headers: str
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(
        method,
        path,
        headers={
            "Host": f"{host}:{port}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
    )
    answer = connection.getresponse()
    answer.content = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def test_the_endpoints_are_served(server: Servers) -> None:
    port = started(server())
    answer = ask(port, "/metrics")
    assert 200 == answer.status
    assert text.render(SPECIFICATION) == answer.content
    assert b"/health/ready" in ask(port, "/").content
    assert 404 == ask(port, "/elsewhere").status
    assert 405 == ask(port, "/metrics", method="POST").status


def test_head_has_the_length_of_get(server: Servers) -> None:
    port = started(server())
    for path in ("/metrics", "/", "/elsewhere"):
        head = ask(port, path, method="HEAD")
        assert (b"", head.headers["content-length"]) == (head.content, str(len(ask(port, path).content)))


def test_nothing_runs_before_the_start_and_after_the_stop(server: Servers) -> None:
    one = server()
    assert ([], None) == (mine(), one.port)
    port = started(one)
    one.start()
    assert 1 == mine().count("bext-otel-endpoints")
    one.stop()
    one.stop()
    assert one.port is None
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/metrics")
    until(lambda: not mine(), why="threads ended")


def test_after_a_stop_it_starts_again_on_the_same_port(server: Servers) -> None:
    one = server(free_port())
    for _ in range(3):
        assert 200 == ask(started(one), "/health/live").status
        one.stop()


def test_a_port_of_somebody_else_is_one_line_and_taken_over_when_free(
    server: Servers, lines: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        one = server(port)
        one.start()
        until(lambda: lines, why="the line")
        line = lines[0]
        assert f"127.0.0.1:{port}" in line
        assert "OTEL_EXPORTER_PROMETHEUS_HOST" in line
        assert "OTEL_EXPORTER_PROMETHEUS_PORT" in line
        one.stop()
        one.start()
    until(lambda: one.port, why="taken over")
    assert [line] == lines


@pytest.mark.parametrize("host", ["256.0.0.1", "no-such-host.invalid", "192.0.2.1"])
def test_an_address_that_is_none_is_one_line(server: Servers, lines: list[str], host: str) -> None:
    one = server(9, host=host)
    one.start()
    until(lambda: lines, why="the line")
    assert host in lines[0]
    assert "OTEL_EXPORTER_PROMETHEUS_HOST" in lines[0]
    one.stop()


def test_only_callers_who_mean_this_machine_are_trusted(server: Servers) -> None:
    """Details are for our own loopback listener: not for a proxy before it, nor for a web page whose name
    resolves to it."""
    port = started(server())
    assert b"checks" in ask(port, "/health").content
    assert b"checks" in ask(port, "/health", host="localhost").content
    for headers in (
        {"X_Forwarded_For": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
        {"X-Forwarded-Port": "443"},
        {"X-Real-IP": "192.0.2.7"},
        {"CF-Connecting-IP": "192.0.2.7"},
    ):
        assert b'{"status":"healthy"}' == ask(port, "/health", **headers).content


def test_beyond_loopback_nobody_is_trusted_and_one_line_says_that_no_token_is_set(
    server: Servers, lines: list[str]
) -> None:
    port = started(server(host="0.0.0.0"))
    assert b'{"status":"healthy"}' == ask(port, "/health", host="shop.example").content
    assert 1 == len(lines)
    assert '[endpoints] metrics = "token"' in lines[0]


def test_beyond_loopback_with_a_token_there_is_nothing_to_say(server: Servers, lines: list[str]) -> None:
    port = started(server(host="0.0.0.0", token="s3cret", settings={"metrics": "token"}))
    assert 401 == ask(port, "/metrics").status
    assert 200 == ask(port, "/metrics", authorization="Bearer s3cret").status
    assert [] == lines


def test_loopback_answers_to_its_own_names_only(server: Servers) -> None:
    """A web page whose name was made to resolve to 127.0.0.1 sends its own."""
    port = started(server(settings={"allowed_hosts": ("metrics.shop.example", "*.inner.example")}))
    for path in ("/metrics", "/metrics?format=json", "/health", "/health/live", "/"):
        for host in (
            "evil.example",
            "127.0.0.1.evil.example",
            "inner.example",
            "",
            "[::1]evil.example",
            "127.0.0.1:80:evil.example",
            "localhost:evil.example",
            "evil.example@127.0.0.1",
            "127.0.0.1, evil.example",
            "0.0.0.0",
        ):
            assert 403 == ask(port, path, host=host).status
        assert 403 == ask(port, f"http://evil.example{path}").status
        for host in (
            "LOCALHOST.",
            "127.0.0.7",
            "[::1]",
            "metrics.shop.example",
            "a.inner.example",
        ):
            assert 200 == ask(port, path, host=host).status
    assert b'{"status":"healthy"}' == ask(port, "/health", host="metrics.shop.example").content


def test_it_speaks_tls_with_a_certificate(server: Servers) -> None:
    files = {"certificate_file": str(LISTENER / "certificate.pem"), "key_file": str(LISTENER / "key.pem")}
    port = started(server(settings=files))
    context = ssl.create_default_context(cafile=files["certificate_file"])
    connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
    connection.request("GET", "/health/live")
    assert 200 == connection.getresponse().status
    connection.close()


def test_without_the_certificate_that_was_asked_for_nothing_is_served_in_the_clear(
    server: Servers, lines: list[str]
) -> None:
    one = server(settings={"certificate_file": "/no/such/file"})
    one.start()
    until(lambda: lines, why="the line")
    assert (None, 1, True) == (one.port, len(lines), "certificate_file = '/no/such/file'" in lines[0])


def test_many_scrapers_are_served(server: Servers) -> None:
    port = started(server())
    with ThreadPoolExecutor(16) as pool:
        assert {200} == {answer.status for answer in pool.map(lambda _: ask(port, "/metrics"), range(48))}


def test_liveness_never_waits_behind_what_hangs(server: Servers) -> None:
    finish = threading.Event()
    hanging = threading.Semaphore(0)

    def hang() -> Snapshot:
        hanging.release()
        assert finish.wait(10)
        return SPECIFICATION

    port = started(server(read=hang))
    with ThreadPoolExecutor(8) as pool:
        scrapes = [pool.submit(ask, port, "/metrics") for _ in range(8)]
        assert hanging.acquire(timeout=10)
        assert 200 == ask(port, "/health/live").status
        assert not any(scrape.done() for scrape in scrapes)
        finish.set()
        assert {200} == {scrape.result().status for scrape in scrapes}


def test_a_stop_does_not_wait_for_what_hangs(server: Servers) -> None:
    """The port is free at once, and the answer that hangs is given up."""
    finish, hanging = threading.Event(), threading.Event()

    def hang() -> Snapshot:
        hanging.set()
        assert finish.wait(30)
        return SPECIFICATION

    one = server(read=hang)
    port = started(one)
    scrape = threading.Thread(target=answers, args=(port, "/metrics"))
    scrape.start()
    assert hanging.wait(10)
    one.stop()
    with socket.create_server(("127.0.0.1", port)):
        assert not finish.is_set()
    finish.set()
    scrape.join()


def test_oversized_requests_are_refused_in_silence(
    server: Servers, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    port = started(server())
    assert 431 == ask(port, "/metrics", X_Long="x" * 20_000).status
    assert 413 == ask(port, "/metrics", method="POST", Content_Length="1000000").status
    with socket.create_connection(("127.0.0.1", port)) as garbage:
        garbage.sendall(b"\x00\xff\r\n\r\n")
        assert b"400" in garbage.recv(4096)
    assert [] == caplog.records
    assert ("", "") == capfd.readouterr()


def test_an_application_that_uses_waitress_keeps_its_loggers(server: Servers) -> None:

    def loggers() -> list[tuple[object, ...]]:
        return [
            (logger.handlers, logger.level, logger.propagate)
            for logger in map(logging.getLogger, ("waitress", "waitress.queue"))
        ]

    before = loggers()
    started(server())
    assert before == loggers()


def test_a_descriptor_closed_by_the_application_is_replaced(server: Servers) -> None:
    """A daemon closes everything it did not open; what it opens then under the same number is left alone."""
    one = server(free_port())
    port = started(one)
    [descriptor] = [int(fd) for fd in os.listdir("/proc/self/fd") if listens(int(fd), port)]
    os.close(descriptor)
    replacement, other = os.pipe()
    assert descriptor == replacement
    assert until(lambda: answers(port), why="served again")
    os.write(other, b"x")
    assert b"x" == os.read(replacement, 1)
    os.close(replacement)
    os.close(other)


def listens(fd: int, port: int) -> bool:
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        return False
    try:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1 and sock.getsockname()[1] == port
    finally:
        sock.detach()


def answers(port: int, path: str = "/health/live") -> bool:
    try:
        return ask(port, path).status == 200
    except OSError:
        return False


def test_health_of_a_broken_part_is_answered(server: Servers) -> None:
    port = started(server(health=FixedHealth(broken=True)))
    assert [200, 503] == [ask(port, path).status for path in ("/health/live", "/health")]


WORKER = """
import os, sys, threading
from bext_otel.endpoints.server import StandaloneServer
from tests.endpoints.parts import endpoints
server = StandaloneServer(endpoints(), "127.0.0.1", int(sys.argv[1]), board=None, log=lambda line: print("LINE", line, flush=True))
"""


def worker(script: str, port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER + script, str(port)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ended(one: subprocess.Popen[str]) -> str:
    """What a worker said since its first line, after its end."""
    try:
        output, _ = one.communicate("", timeout=20)
    finally:
        one.kill()
        one.wait()
    return output


FORK = """
server.start()
while not server.port: threading.Event().wait(0.01)
def said(text): os.write(1, text.encode() + b"\\n")
ready, go = os.pipe(), os.pipe()
child = os.fork()
if not child:
    server.forget()
    said(f"child holds {server.port}")
    os.write(ready[1], b"x")
    os.read(go[0], 1)
    server.start()
    while not server.port: threading.Event().wait(0.01)
    said(f"child took {server.port == int(sys.argv[1])}")
    server.stop()
    os._exit(0)
os.read(ready[0], 1)
server.stop()
import socket
socket.create_server(("127.0.0.1", int(sys.argv[1]))).close()
said("free while the child lives")
os.write(go[1], b"x")
os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_forgets_the_parents_server_and_can_start_its_own() -> None:
    parent = worker(FORK, free_port())
    assert ["child holds None", "free while the child lives", "child took True"] == ended(parent).splitlines()


def test_where_no_further_thread_can_be_started_its_own_answers_everything(
    server: Servers, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever could not start the thread has told it; an interpreter that ends has nothing to tell."""
    tried: list[str] = []
    monkeypatch.setattr(lanes, "start", lambda *_, name: tried.append(name))
    port = started(server())
    assert [200] * 3 == [ask(port, path).status for path in ("/metrics", "/health/ready", "/health/live")]
    assert ["bext-otel-endpoints-scrapes", "bext-otel-endpoints-health"] == tried
    assert [] == lines
