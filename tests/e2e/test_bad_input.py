"""Wrong settings, broken collectors, hostile clients: the application starts, serves and stops, and one clear
line says what and where."""

from __future__ import annotations

import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.e2e.launching import SOON, Launched, free_port, launched
from tests.e2e.otlp import Receiver, receiving
from tests.waiting import until

pytestmark = pytest.mark.e2e

UVICORN = "uvicorn --port {port} starlette_app:app"
SCRIPT = "python -m script"
PLAIN = "bext-otel: "


def warnings(program: Launched) -> list[str]:
    """What bext-otel has to say: lines of its own, and in a program that does not serve, plain ones."""
    said = [line["message"] for line in program.lines(level="warn") if line["target"].startswith("bext_otel")]
    return said or [
        line.removeprefix(PLAIN) for line in program.output().splitlines() if line.startswith(PLAIN)
    ]


def printed(program: Launched) -> list[str]:
    """What the program prints itself."""
    return [line for line in program.output().splitlines() if not line.startswith((PLAIN, "{"))]


# --- Settings ---


def test_every_wrong_setting_is_a_line_and_the_application_serves(tmp_path: Path) -> None:
    content = """
        [metrics]
        port = "many"
        windw_seconds = 3
        mount = "perhaps"
        [logging]
        level = "loud"
        [telemetry]
        otlp_endpoint = "collector 4318"
        [waf]
        rules = "none of our business"
    """
    (tmp_path / "bext.config.toml").write_text(content)
    with launched(tmp_path, UVICORN) as program:
        assert 200 == program.get("/items/1").status_code
        assert program.completion("/items/1")
        assert 200 == program.endpoint("/health/ready").status_code
        said = warnings(program)
        expected = [
            "[metrics] port",
            "windw_seconds",
            "[metrics] mount",
            "[logging] level",
            "[telemetry] otlp_endpoint",
        ]
        assert len(expected) == len(said), said
        for setting in expected:
            assert 1 == sum(setting in line for line in said), (setting, said)
        assert "window_seconds" in next(line for line in said if "windw" in line), "the nearest known key"
        assert program.end() in {0, -signal.SIGTERM}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, []),
        (b"", []),
        (b"[metrics\nport = 1", ["not TOML"]),
        (b"\xff\xfe\x00", ["not UTF-8"]),
        ("directory", ["directory"]),
    ],
    ids=["missing", "empty", "malformed", "not-utf8", "unreadable"],
)
def test_a_file_that_cannot_be_used_is_one_line(
    tmp_path: Path, content: bytes | str | None, expected: list[str]
) -> None:
    file = tmp_path / "bext.config.toml"
    if content == "directory":
        file.mkdir()
    elif isinstance(content, bytes):
        file.write_bytes(content)
    with launched(tmp_path, SCRIPT) as program:
        assert 3 == program.wait()
        said = warnings(program)
        assert len(expected) == len(said), program.output()
        assert all(
            "bext.config.toml" in line and word in line for line, word in zip(said, expected, strict=True)
        )
        assert ["job begins", "plain output"] == printed(program)


def test_every_wrong_variable_is_one_line(tmp_path: Path) -> None:
    wrong = {
        "BEXT_CONFIG": "/nowhere/bext.config.toml",
        "BEXT_LOGGING_LEVEL": "loud",
        "BEXT_TELEMETRY_APP_RESOLVER": "no_such_module:resolve",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "collector 4318",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "carrier/pigeon",
        "OTEL_EXPORTER_PROMETHEUS_PORT": "many",
        "OTEL_METRICS_EXPORTER": "statsd",
        "OTEL_METRIC_EXPORT_INTERVAL": "often",
        "OTEL_SDK_DISABLED": "perhaps",
    }
    with launched(tmp_path, SCRIPT, env=wrong) as program:
        assert 3 == program.wait()
        said = warnings(program)
        assert len(wrong) == len(said), said
        for value in wrong.values():
            assert 1 == sum(value in line for line in said), (value, said)
        assert ["job begins", "plain output"] == printed(program)


def test_every_wrong_variable_of_upstreams_is_one_line_and_costs_no_telemetry(tmp_path: Path) -> None:
    """Upstream raises for some of these when its SDK is imported, for some when the first span ends, and is
    silent about others."""
    wrong = {
        "OTEL_TRACES_SAMPLER": "sometimes",
        "OTEL_BSP_MAX_QUEUE_SIZE": "-1",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "few",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "soon",
        "OTEL_EXPORTER_OTLP_HEADERS": "no pair",
        "OTEL_METRICS_EXEMPLAR_FILTER": "always",
    }
    with receiving() as received, launched(tmp_path / "server", UVICORN, instrument=False) as server:
        env = {
            **SOON,
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
            "DOWNSTREAM": f"{server.url}/headers",
        }
        with launched(tmp_path / "script", SCRIPT, env={**env, **wrong}) as program:
            assert 3 == program.wait()
            assert sorted(wrong) == sorted(re.split("[=:]", line)[0] for line in warnings(program))
            assert received.span(kind="client")
            assert ["job begins", "plain output", "200"] == printed(program)


# --- Collectors ---


@contextmanager
def closed() -> Iterator[str]:
    """Nobody listens."""
    yield f"http://127.0.0.1:{free_port()}"


@contextmanager
def black_hole() -> Iterator[str]:
    """Takes every connection and never reads nor answers."""
    taken: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                taken.append(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()


@contextmanager
def full_backlog() -> Iterator[str]:
    """Listens, accepts nobody, and its queue is full: a connection attempt hangs."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"


@contextmanager
def refusing() -> Iterator[str]:
    """Answers 503."""
    with receiving(503) as received:
        yield received.endpoint


BROKEN = [closed, black_hole, full_backlog, refusing]


@pytest.mark.parametrize("collector", BROKEN)
def test_a_broken_collector_holds_up_nothing_and_is_one_line_a_signal(
    tmp_path: Path, collector: type[Iterator[str]]
) -> None:
    with collector() as endpoint:
        env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
        with launched(tmp_path, UVICORN, env=env) as program:

            def told() -> set[str]:
                program.get("/items/1")
                return {line for line in warnings(program) if endpoint in line}

            until(lambda: len(told()) >= 3, why=f"a line for each signal in:\n{program.output()}")
            degraded = until(
                lambda: (report := program.endpoint("/health").json())["status"] == "degraded" and report,
            )
            assert "degraded" == degraded["checks"]["telemetry"]["status"]
            assert 200 == program.endpoint("/health/ready").status_code, (
                "a collector is nothing that requests need"
            )
            # Ctrl-C: a normal end, that waits for what can be delivered.
            assert program.end(signal.SIGINT) in {0, -signal.SIGINT}
            said = warnings(program)
            assert 3 == len(said), said
            for signal_name in ("traces", "metrics", "logs"):
                (line,) = (line for line in said if line.startswith(f"export of {signal_name} to {endpoint}"))
                assert "OTEL_EXPORTER_OTLP_ENDPOINT" in line
            assert "Traceback" not in program.output()


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_script_ends_in_time_with_its_own_exit_code(tmp_path: Path, protocol: str) -> None:
    """With upstream's own timeouts: ten seconds for an export. One script for each broken collector, side by
    side."""
    with ExitStack() as stack:
        server = stack.enter_context(launched(tmp_path / "server", UVICORN, instrument=False))
        programs = []
        for collector in BROKEN:
            endpoint = stack.enter_context(collector())
            env = {
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
                "DOWNSTREAM": f"{server.url}/headers",
            }
            programs.append(stack.enter_context(launched(tmp_path / collector.__name__, SCRIPT, env=env)))
        assert [3] * len(BROKEN) == [program.wait() for program in programs]
        for program in programs:
            assert "Traceback" not in program.output()
            assert "200" in program.output().splitlines(), "it did its work"


@pytest.mark.parametrize("collector", [closed, black_hole, refusing])
def test_what_a_short_life_could_not_deliver_is_one_line_at_its_end(
    tmp_path: Path, collector: type[Iterator[str]]
) -> None:
    with collector() as endpoint, launched(tmp_path / "server", UVICORN, instrument=False) as server:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "DOWNSTREAM": f"{server.url}/headers",
            "BEXT_TELEMETRY_SHUTDOWN_TIMEOUT_SECONDS": "1",
        }
        with launched(tmp_path / "script", SCRIPT, env=env) as program:
            assert 3 == program.wait()
            (line,) = (line for line in program.output().splitlines() if line.startswith("bext-otel: "))
            assert re.search(
                rf"not delivered at the end: \d+ spans to {endpoint}/v1/traces, .*log records to .* \(.+\)$",
                line,
            ), line
            assert {"closed": "(Connection refused)", "refusing": "Service Unavailable"}.get(
                collector.__name__, "no answer in time"
            ) in line


@pytest.mark.parametrize("code", ["pass", "import uvicorn"])
def test_a_process_that_has_nothing_to_deliver_does_not_wait_for_a_collector_that_is_down(
    tmp_path: Path, code: str
) -> None:
    """With a deadline that would be noticed."""
    (tmp_path / "nothing.py").write_text(code)
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "BEXT_TELEMETRY_SHUTDOWN_TIMEOUT_SECONDS": "60",
    }
    with launched(tmp_path, "python nothing.py", env=env) as program:
        assert 0 == program.wait()
        assert "" == program.output()


def test_a_collector_that_comes_back_is_told_and_gets_what_comes_then(tmp_path: Path) -> None:
    with receiving(503) as received:
        env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
        with launched(tmp_path, UVICORN, env=env) as program:
            until(lambda: any("export of traces" in line for line in warnings(program)))
            received.status = 200

            def arrived() -> bool:
                program.get("/items/back")
                return bool(received.spans(kind="server", url_path="/items/back"))

            until(arrived)
            until(
                lambda: any("works again" in line["message"] for line in program.lines(level="info")),
            )


# --- Clients ---

ATTACKED = {
    "asgi": UVICORN,
    "flask": "gunicorn -b 127.0.0.1:{port} flask_app:app",
    "django": "gunicorn -b 127.0.0.1:{port} django_app:application",
    "werkzeug": "flask --app flask_app run --port {port}",
}


@pytest.fixture(scope="module", params=ATTACKED.values(), ids=ATTACKED)
def attacked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Launched, Receiver]]:
    with receiving() as received:
        env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint}
        folder = tmp_path_factory.mktemp("attacked")
        (folder / "bext.config.toml").write_text(
            '[apps.shop]\nhosts = ["shop.example"]\npaths = ["/items"]\n'
        )
        with launched(folder, request.param, env=env) as program:
            yield program, received


def send(program: Launched, *requests: bytes) -> list[bytes]:
    """Requests as bytes, each over a connection of its own; the status lines of the answers."""
    port = int(program.url.rpartition(":")[2])
    answers = []
    for request in requests:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(request)
            answer = b""
            with suppress(ConnectionResetError):
                while received := connection.recv(65536):
                    answer += received
            answers.append(answer.partition(b"\r\n")[0])
    return answers


def get(path: bytes, *headers: bytes, method: bytes = b"GET", host: bytes = b"shop.example") -> bytes:
    return b"\r\n".join(
        [method + b" " + path + b" HTTP/1.1", b"Host: " + host, b"Connection: close", *headers, b"", b""]
    )


TRACE = "0af7651916cd43dd8448eb211c80319c"
MALFORMED = {
    "empty": [b""],
    "upper-case": [b"00-" + TRACE.upper().encode() + b"-b7ad6b7169203331-01"],
    "zeros": [b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01"],
    "version-ff": [b"ff-" + TRACE.encode() + b"-b7ad6b7169203331-01"],
    "too-long": [b"00-" + TRACE.encode() + b"-b7ad6b7169203331-01-more"],
    "no-hex": [b"00-" + b"zz" * 16 + b"-b7ad6b7169203331-01"],
    "not-ascii": [b"00-" + TRACE.encode() + b"-b7ad6b716920333\xe9-01"],
    "duplicated": [
        b"00-" + TRACE.encode() + b"-b7ad6b7169203331-01",
        b"00-" + TRACE.encode() + b"-c7ad6b7169203331-01",
    ],
    "duplicated-exactly": [b"00-" + TRACE.encode() + b"-b7ad6b7169203331-01"] * 2,
    "huge": [b"00-" + TRACE.encode() + b"-" + b"a" * 10_000],
}


@pytest.mark.parametrize("values", MALFORMED.values(), ids=MALFORMED)
def test_a_traceparent_that_is_none_starts_a_new_trace(
    attacked: tuple[Launched, Receiver], values: list[bytes], request: pytest.FixtureRequest
) -> None:
    program, received = attacked
    path = f"/items/{re.sub('[^a-z]', '', request.node.name)}"
    (status,) = send(program, get(path.encode(), *(b"traceparent: " + value for value in values)))
    if b" 400 " in status or b" 431 " in status:
        assert not received.spans(url_path=path), "the server refuses such a header by itself"
        return
    assert b" 200 " in status
    span = received.span(kind="server", url_path=path)
    assert ("", True) == (span.parent_id, span.trace_id != TRACE)
    assert span.trace_id == program.completion(path)["trace_id"]
    output = program.output()
    assert not [value for value in values if value and value.decode("latin-1")[:60] in output]
    assert TRACE not in output.lower()


def test_a_traceparent_that_is_one_is_continued(attacked: tuple[Launched, Receiver]) -> None:
    """Or the tests above would pass for an application that looks at none."""
    program, received = attacked
    send(
        program,
        get(b"/items/continued", b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    )
    span = received.span(kind="server", url_path="/items/continued")
    assert ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7") == (span.trace_id, span.parent_id)


def attack(wave: int) -> list[bytes]:
    """Hundreds of hosts, paths, methods, header values and protocol versions that no other wave has."""
    odd = [b"%00", b"%ff", b"%ed%a0%80", b"%22", b"%0a", b"%5c", b"\xff", b"%7B", b"..%2f"]
    requests = [get(b"/items/1", host=b"h%d-%d.example" % (wave, n)) for n in range(100)]
    requests += [get(b"/nowhere/%d/%d" % (wave, n)) for n in range(100)]
    requests += [get(b"/items/%d" % n + odd[n % len(odd)] + b"%d" % wave) for n in range(100)]
    requests += [get(b"/items/1", method=b"M%dX%d" % (wave, n)) for n in range(100)]
    requests += [
        get(b"/items/1", b"x-forwarded-proto: p%d-%d" % (wave, n), b"x-forwarded-host: f%d" % n)
        for n in range(30)
    ]
    requests += [get(b"/items/1", b"baggage: bext.app=b%d-%d" % (wave, n)) for n in range(30)]
    requests += [get(b"/items/1", b"user-agent: u%d-%d" % (wave, n)) for n in range(30)]
    requests += [
        b"GET /items/1 HTTP/1.%d%d\r\nHost: shop.example\r\nConnection: close\r\n\r\n" % (wave + 2, n)
        for n in range(30)
    ]
    requests += [
        b"GET http://a%d.example:%d/items/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % (wave, n)
        for n in range(1, 30)
    ]
    return requests


def test_hostile_clients_leave_the_number_of_series_flat(
    attacked: tuple[Launched, Receiver], request: pytest.FixtureRequest
) -> None:
    program, _ = attacked
    # Werkzeug waits ten milliseconds for more at the end of each connection.
    every = 6 if "werkzeug" in request.node.name else 1
    answers = send(program, *attack(1)[::every])
    assert sum(b" 200 " in answer for answer in answers) > 150 / every, "the application serves"
    before = program.metrics()
    send(program, *attack(2)[::every])
    after = program.metrics()
    assert before.keys() == after.keys()
    assert sum(after.values()) > sum(before.values())
    assert len(after) < 400, "and it is a small number"
    for text in ("h1-1.example", "M1X1", "nowhere", "b1-1", "p1-1", "a1.example"):
        assert not [name for name in after if text in name]
    list(parse(program.endpoint("/metrics").text))
    assert 200 == program.get("/items/1").status_code


def test_no_text_breaks_the_pages_or_a_line(tmp_path: Path) -> None:
    values = [
        "plain",
        'quo"te',
        "new\nline",
        "back\\slash",
        "nul\x00",
        "tab\t",
        "\x1b[31m",
        "\u2028",
        "\x85",
        "🧨",
        '{a="b"}',
        "",
        " ",
        "x" * 5000,
    ]
    bodies = [value.encode() for value in values] + [
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"caf\xe9",
        b"\xf0\x9f\xa7",
    ]
    with receiving() as received:
        env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint}
        with launched(tmp_path, "uvicorn --port {port} odd_app:app", env=env) as program:
            requests = [
                b"POST /odd HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                % len(body)
                + body
                for body in bodies
            ]
            assert {b"HTTP/1.1 204 No Content"} == set(send(program, *requests))
            text = program.endpoint("/metrics").text
            families = {family.name: family for family in parse(text)}
            for name in ("shop_things", "bext_cache_hits"):
                assert len(bodies) == sum(sample.value for sample in families[name].samples)
                assert all(
                    len(value) <= 256 for sample in families[name].samples for value in sample.labels.values()
                )
            openmetrics = program.endpoint(
                "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
            ).text
            assert {"shop_things", "bext_cache_hits"} <= {
                family.name for family in parse_openmetrics(openmetrics)
            }
            assert (
                len(bodies)
                == program.endpoint("/metrics?format=json").json()["apps"]["unknown"]["requests"]["total"] - 1
            )
            written = program.lines(target="shop")
            assert len(bodies) == len(written)
            assert "new\nline" in {line["value"] for line in written}
            until(lambda: len(received.spans(kind="server", url_path="/odd")) == len(bodies))
            until(lambda: received.metrics("shop.things"))
            assert program.end() in {0, -signal.SIGTERM}
