"""`bext-otel demo` and `bext-otel view` as a person runs them: real processes, real sockets, a real
Ctrl-C."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from types import MappingProxyType

import msgspec
import psutil
import pytest
import redis
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.instrumentors.redis_server import redis_server
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

BEXT_OTEL = str(Path(sysconfig.get_path("scripts")) / "bext-otel")
CHECKOUT = Path(__file__).parents[2]


class Running:
    """A command of ours, what it has printed so far, and what it started."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def printed(self) -> str:
        return self._output.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, words: str, *, seconds: float = 120) -> str:
        """The first match of `words` in what it printed."""

        def found() -> re.Match[str] | None:
            assert self.process.poll() is None, self.printed
            return re.search(words, self.printed)

        return until(found, seconds=seconds, why=f"{words!r} printed").group(0)  # type: ignore[union-attr]

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def ended(self, *, seconds: float = 60) -> int:
        return self.process.wait(seconds)


@contextmanager
def running(
    tmp_path: Path,
    *arguments: str,
    cwd: Path = CHECKOUT,
    redis_url: str = "",
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Running]:
    output = tmp_path / "printed"
    # One that runs on this machine is somebody's.
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        "BEXT_DEMO_REDIS": redis_url,
        **variables,
    }
    with output.open("wb") as stdout:
        process = subprocess.Popen(
            [BEXT_OTEL, *arguments], stdout=stdout, stderr=subprocess.STDOUT, cwd=cwd, env=env
        )
    command = Running(process, output)
    try:
        yield command
    finally:
        left = command.children() if process.poll() is None else []
        for one in (*left, process):
            if one.poll() is None if isinstance(one, subprocess.Popen) else one.is_running():
                one.kill()
        process.wait()


def free_ports(count: int) -> Sequence[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    numbers = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return numbers


def get(url: str) -> tuple[int, bytes]:
    host, _, path = url.removeprefix("http://").partition("/")
    connection = HTTPConnection(host, timeout=10)
    try:
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def after_exports(view_port: int, exports: int) -> list[dict[str, object]]:
    """The traces once metrics were exported that many more times: an export must not make a trace itself."""

    def ask(path: str) -> dict[str, object]:
        answer: dict[str, object] = msgspec.json.decode(get(f"http://127.0.0.1:{view_port}/api/{path}")[1])
        return answer

    def updates() -> float:
        return max(metric["updated_unix_ms"] for metric in ask("metrics")["metrics"])  # type: ignore[attr-defined]

    for _ in range(exports):
        before = updates()
        until(lambda: updates() > before)  # noqa: B023 - called at once
    return ask("traces?limit=1000")["traces"]  # type: ignore[return-value]


def test_ports_are_those_that_the_variables_name(tmp_path: Path) -> None:
    port, view_port, metrics_port = free_ports(3)
    variables = {
        "PORT": str(port),
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{view_port}",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(metrics_port),
    }
    with running(tmp_path, "demo", "--once", "--requests", "5", variables=variables) as demo:
        assert 0 == demo.ended(seconds=180), demo.printed
        for address in (f"127.0.0.1:{port}/", f"127.0.0.1:{view_port}/", f"127.0.0.1:{metrics_port}/metrics"):
            assert address in demo.printed


def test_once_ends_well_when_everything_arrived(tmp_path: Path) -> None:
    port, view_port = free_ports(2)
    with running(
        tmp_path, "demo", "--once", "--requests", "60", "--port", str(port), "--view-port", str(view_port)
    ) as demo:
        assert 0 == demo.ended(seconds=180), demo.printed
        printed = demo.printed
    assert "Sent 60 of 60 requests" in printed
    assert re.search(r"^trace [0-9a-f]{32}  \d+\.\d ms, \d+ spans$", printed, re.MULTILINE)
    assert re.search(r"^└── (GET|POST) /", printed, re.MULTILINE)
    assert re.search("(info|warn): request completed", printed), (
        printed
    )  # a warning, where the machine was slow
    for address in (
        f"127.0.0.1:{port}/dashboard/",
        f"127.0.0.1:{view_port}/",
        "/metrics?format=json",
        "/health",
    ):
        assert address in printed
    assert "All of it arrived" in printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_up_until_ctrl_c_and_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    port, view_port = free_ports(2)
    with running(
        tmp_path,
        "demo",
        "--no-token",
        "--requests",
        "40",
        "--port",
        str(port),
        "--view-port",
        str(view_port),
    ) as demo:
        demo.wait_for("Stop it with Ctrl-C")
        started = demo.children()
        assert started
        metrics = re.search(r"http://\S+/metrics(?=\s)", demo.printed)
        assert metrics is not None
        status, text = get(metrics[0])
        assert (200, True) == (status, b"bext_requests_total{" in text)
        assert 200 == get(f"http://127.0.0.1:{port}/")[0]
        status, body = get(f"http://127.0.0.1:{view_port}/api/summary")
        held = msgspec.json.decode(body)["held"]
        assert (200, True) == (status, min(held["traces"], held["logs"], held["metrics"]) > 0)

        traces = after_exports(view_port, 3)
        assert {"marketing", "dashboard", "api"} <= {trace["app"] for trace in traces}
        assert [] == [trace for trace in traces if trace["method"] and not trace["app"]]

        demo.process.send_signal(number)

        assert 0 == demo.ended(), demo.printed
        assert demo.printed.endswith("Stopped.\n")
    assert [] == [one for one in started if one.is_running()]
    for taken in (port, view_port):
        socket.create_server(("127.0.0.1", taken)).close()


def test_where_a_redis_answers_a_second_process_executes_the_tasks_and_leaves_nothing_there(
    tmp_path: Path,
) -> None:
    """It is a service of its own, in the same traces."""
    port, view_port = free_ports(2)
    options = ("--no-token", "--requests", "60", "--port", str(port), "--view-port", str(view_port))
    with redis_server() as redis_port, redis.Redis(port=redis_port) as client:
        with running(tmp_path, "demo", *options, redis_url=f"redis://127.0.0.1:{redis_port}/0") as demo:
            demo.wait_for("Stop it with Ctrl-C")
            assert "celery -A bext_demo.worker worker" in demo.printed

            def through_both() -> list[dict[str, object]]:
                traces = msgspec.json.decode(get(f"http://127.0.0.1:{view_port}/api/traces?limit=1000")[1])[
                    "traces"
                ]
                return [
                    trace for trace in traces if {"bext-demo", "bext-demo-worker"} == set(trace["services"])
                ]

            assert {"/api/orders/{order_id:int}/payment"} == {
                trace["route"] for trace in until(through_both, why="a task in the worker")
            }
            metrics = re.search(r"http://\S+/metrics(?=\s)", demo.printed)
            assert metrics is not None
            status, text = get(metrics[0])
            assert (200, False, False) == (status, b"fulfilment.pick" in text, b'layer="unknown"' in text)
            started = demo.children()
            assert 1 == len([one for one in started if "bext_demo.worker" in command_of(one)])
            demo.process.send_signal(signal.SIGINT)
            assert 0 == demo.ended(), demo.printed
        assert [] == [one for one in started if one.is_running()]
        assert [] == [key for key in client.scan_iter("*") if b":fragment:" not in key], (
            "fragments are gone after five seconds"
        )


def test_a_second_instance_finds_other_ports_by_itself(tmp_path: Path) -> None:
    """The usual ports are taken: by the first of the two, if by nobody else."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    with running(one, "demo", "--requests", "5") as first:
        first.wait_for("Stop it with Ctrl-C")
        with running(two, "demo", "--once", "--requests", "5") as second:
            assert 0 == second.ended(seconds=180), second.printed
            assert re.search(r"Port 4318 is taken: the viewer uses \d+", second.printed)
        first.process.send_signal(signal.SIGINT)
        assert 0 == first.ended(), first.printed


def demo_like(tmp_path: Path, app: str) -> Path:
    """An examples folder whose platform is `app`, with the real one's plan of traffic."""
    folder = tmp_path / "examples"
    shutil.copytree(
        CHECKOUT / "examples" / "bext_demo",
        folder / "bext_demo",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (folder / "bext_demo" / "asgi.py").write_text(app)
    (folder / "bext.config.toml").write_text("")
    return folder


def test_a_demo_that_cannot_start_shows_its_last_words(tmp_path: Path) -> None:
    examples = demo_like(tmp_path, "raise RuntimeError('the roaster is cold')\n")
    with running(tmp_path, "demo", "--once", "--requests", "5", "--examples", str(examples)) as demo:
        assert 1 == demo.ended(seconds=120)
        assert "The demo failed: the demo ended with code 1." in demo.printed
        assert "RuntimeError: the roaster is cold" in demo.printed


DYING = """
import os
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive(); await send({"type": "lifespan.startup.complete"}); await receive(); return
    if scope["path"] not in ("/static/site.css", "/health/ready"):
        print("the beans are on fire", flush=True)
        os._exit(7)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"""


def test_a_demo_that_dies_in_its_traffic_is_a_failure(tmp_path: Path) -> None:
    examples = demo_like(tmp_path, DYING)
    with running(tmp_path, "demo", "--requests", "50", "--examples", str(examples)) as demo:
        assert 1 == demo.ended(seconds=120)
        assert "the demo ended with code 7" in demo.printed
        assert "the beans are on fire" in demo.printed


SILENT = """
from opentelemetry import trace
trace.get_tracer_provider().shutdown()
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive(); await send({"type": "lifespan.startup.complete"}); await receive()
        await send({"type": "lifespan.shutdown.complete"}); return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
"""


def test_once_fails_and_says_what_is_missing(tmp_path: Path) -> None:
    examples = demo_like(tmp_path, SILENT)
    with running(tmp_path, "demo", "--once", "--requests", "5", "--examples", str(examples)) as demo:
        assert 1 == demo.ended(seconds=120)
        assert "Missing: spans: 0 of 5 requests have a trace" in demo.printed
        assert "The demo failed: not everything arrived." in demo.printed


def test_without_the_examples_it_says_where_they_are(tmp_path: Path) -> None:
    with running(tmp_path, "demo", "--examples", str(tmp_path)) as demo:
        assert 1 == demo.ended()
        assert "Clone the repository and run `make demo` there" in demo.printed


def test_view_receives_shows_and_stops(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with running(tmp_path, "view", "--no-token", "--port", str(port)) as view:
        view.wait_for("Stop it with Ctrl-C")
        assert f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{port} " in view.printed
        provider = TracerProvider()
        provider.add_span_processor(
            SimpleSpanProcessor(OTLPSpanExporter(f"http://127.0.0.1:{port}/v1/traces"))
        )
        provider.get_tracer("t").start_span("seen").end()
        provider.shutdown()
        assert ["seen"] == [
            trace["name"]
            for trace in msgspec.json.decode(get(f"http://127.0.0.1:{port}/api/traces")[1])["traces"]
        ]
        assert b"<title>bext viewer</title>" in get(f"http://127.0.0.1:{port}/")[1]
        view.process.send_signal(signal.SIGINT)
        assert 0 == view.ended(), view.printed


def test_view_with_a_token_shows_it_to_who_started_it_and_to_nobody_else(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with running(tmp_path, "view", "--token", "--port", str(port)) as view:
        view.wait_for("Stop it with Ctrl-C")
        page = re.search(rf"Viewer   (http://127.0.0.1:{port}/\?token=\S{{20,}})\n", view.printed)
        assert page is not None
        assert 401 == get(f"http://127.0.0.1:{port}/")[0]
        assert 401 == get(f"http://127.0.0.1:{port}/api/traces")[0]
        assert 303 == get(page[1])[0]
        provider = TracerProvider()
        exporter = OTLPSpanExporter(f"http://127.0.0.1:{port}/v1/traces")
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        provider.get_tracer("t").start_span("seen").end()
        assert provider.force_flush()
        provider.shutdown()
        asked = HTTPConnection("127.0.0.1", port, timeout=10)
        asked.request(
            "GET", "/api/traces", headers={"Authorization": f"Bearer {page[1].partition('token=')[2]}"}
        )
        names = [trace["name"] for trace in msgspec.json.decode(asked.getresponse().read())["traces"]]
        asked.close()
        assert ["seen"] == names
        # Nor does a line of its own tell it: it stands there once, where it was printed.
        assert 1 == view.printed.count("token=")


def command_of(process: psutil.Process) -> list[str]:
    """Empty for one that has ended meanwhile."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []
