"""What a process weighs with us: start, memory, threads, what a worker spends on telling others, a scrape of
many workers, exit.

`python -m benchmarks.weight`. Bare, upstream's SDK (three signals, its own batches, exported) and ours take
turns in one run; all that is exported goes to a sink of this program's. CPU times, but for the seconds that
an exit takes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_PROGRAMS = Path(sysconfig.get_path("scripts"))
_SIDES = ("bare", "upstream", "ours")
_SERIES, _MEASUREMENTS = 1200, 400


class _Sink(BaseHTTPRequestHandler):
    """Takes whatever is exported."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def sink() -> Iterator[str]:
    """The address of a collector."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def set_up_upstream() -> None:
    """Upstream's SDK as its distribution sets it up, and its instrumentation of Flask."""
    from opentelemetry import _logs, metrics, trace
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    tracers, loggers = TracerProvider(), LoggerProvider()
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
    _logs.set_logger_provider(loggers)
    FlaskInstrumentor().instrument()


def application() -> Any:
    """A Flask application of one route, also for a server to import."""
    if os.environ.get("WEIGHT_SIDE") == "upstream":
        set_up_upstream()
    import flask

    app = flask.Flask("weight")
    app.get("/")(lambda: "hello")
    return app


def _environment(endpoint: str, side: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "BEXT_")) and name != "PYTHONDONTWRITEBYTECODE"
    }
    return {
        **kept,
        "WEIGHT_SIDE": side,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_PROMETHEUS_PORT": "0",
        "BEXT_LOGGING_OUTPUT": "none",
    }


def _launched(side: str, *command: str) -> list[str]:
    launcher = [str(_PROGRAMS / "opentelemetry-instrument")] if side == "ours" else []
    return [*launcher, *command]


def _child(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.weight", "--child", name, *arguments]


# --- Start --------------------------------------------------------------------------------------------------

# A worker's sitecustomize is what the launcher leaves to it; the launcher's own process is not timed.
_LAUNCHED = "import opentelemetry.instrumentation.auto_instrumentation as a; a.initialize()"
_UPSTREAM = "from benchmarks.weight import set_up_upstream; set_up_upstream()"
_API = "from opentelemetry import _logs, metrics, propagate, trace; trace.get_tracer('weight')"
_NOTHING = {
    "OTEL_PYTHON_DISTRO": "nobody",
    "OTEL_PYTHON_CONFIGURATOR": "nobody",
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*",
}
_OURS = {"OTEL_PYTHON_DISTRO": "bext", "OTEL_PYTHON_CONFIGURATOR": "bext"}
_THEIRS = {"OTEL_PYTHON_DISTRO": "distro", "OTEL_PYTHON_CONFIGURATOR": "configurator"}
_NOWHERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}
_SPAN = "from opentelemetry import trace; trace.get_tracer('weight').start_span('weight').end()"
# What runs before `import flask`, and its environment. Whoever has an endpoint exports a span.
_STARTS = {
    "bare": ("pass", {}),
    "API only": (_API, {}),
    "launcher with nothing to launch": (_LAUNCHED, _NOTHING),
    "upstream, wired by hand": (f"{_UPSTREAM}; {_SPAN}", {}),
    "ours": (_LAUNCHED, _OURS | _NOWHERE),
    "ours, exporting": (f"{_LAUNCHED}; {_SPAN}", _OURS),
}
_PEER = "upstream's distribution"


def _cpu_of(command: list[str], env: dict[str, str]) -> float:
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    return used.ru_utime + used.ru_stime


def starts(endpoint: str, rounds: int) -> None:
    """CPU of a whole process that imports Flask and ends, above a bare one of the same round."""
    sides: dict[str, tuple[str, dict[str, str]]] = dict(_STARTS)
    if find_spec("opentelemetry.distro") is not None:
        sides[_PEER] = (f"{_LAUNCHED}; {_SPAN}", _THEIRS)
    took: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, (code, settings) in sides.items():
            env = {**_environment(endpoint, name), **settings}
            used = _cpu_of([sys.executable, "-c", f"{code}; import flask"], env)
            if turn:  # the first one writes what was not compiled yet
                took[name].append(used * 1e3)
    print(f"start and exit with Flask, bare: {statistics.median(took['bare']):.0f} ms of CPU; above that")
    for name in (name for name in sides if name != "bare"):
        above = sorted(mine - bare for mine, bare in zip(took[name], took["bare"], strict=True))
        share = statistics.median(mine / bare for mine, bare in zip(took[name], took["bare"], strict=True))
        print(f"  {name:31} {statistics.median(above):5.0f} ms (min {above[0]:.0f}), {share:.2f} x bare")


# --- Memory and threads -------------------------------------------------------------------------------------


def _service() -> None:
    """Serve a few requests, and say what the process holds."""
    app = application()
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, app)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for _ in range(30):
        urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/").read()
    time.sleep(3)
    held = dict(line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    threads = len(list(Path("/proc/self/task").iterdir()))
    print(json.dumps([int(held["Rss"].split()[0]), int(held["Pss"].split()[0]), threads]), flush=True)


def holdings(endpoint: str, rounds: int) -> None:
    """Memory and threads of a service that exports all signals."""
    found: dict[str, list[list[int]]] = {side: [] for side in _SIDES}
    for _ in range(rounds):
        for side in _SIDES:
            done = subprocess.run(
                _launched(side, *_child("service")),
                env=_environment(endpoint, side),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                timeout=120,
                check=True,
            )
            found[side].append(json.loads(done.stdout.splitlines()[-1]))
    bare = [statistics.median(figures) for figures in zip(*found["bare"], strict=True)]
    for side in _SIDES[1:]:
        rss, pss, threads = (
            statistics.median(figures) - base
            for figures, base in zip(zip(*found[side], strict=True), bare, strict=True)
        )
        print(
            f"{side:9} above bare: {rss / 1024:5.1f} MB resident, {pss / 1024:5.1f} MB proportional, "
            f"{threads:+.0f} threads"
        )


# --- Workers ------------------------------------------------------------------------------------------------


def _changes(seed: int) -> tuple[list[Callable[[], None]], random.Random]:
    """What changes each of the series, once done: three quarters counters, the rest histograms."""
    from opentelemetry import metrics

    draw, meter = random.Random(seed), metrics.get_meter("weight")
    counter, histogram = meter.create_counter("weight.things"), meter.create_histogram("weight.seconds")
    changes: list[Callable[[], None]] = []
    for index in range(_SERIES):
        labels = {"customer": f"c{index % 60}", "kind": f"k{index // 60}"}
        if index % 4:
            changes.append(lambda labels=labels: counter.add(1, labels))  # type: ignore[misc]
        else:
            changes.append(lambda labels=labels: histogram.record(draw.random(), labels))  # type: ignore[misc]
    for change in changes:
        change()
    return changes, draw


def _measure(changes: list[Callable[[], None]], draw: random.Random, seconds: float) -> float:
    """Measure at an even pace; the CPU milliseconds a second that this process spent."""
    began, spent = time.monotonic(), time.process_time()
    while time.monotonic() - began < seconds:
        due = time.monotonic() + 0.1
        for _ in range(_MEASUREMENTS // 10):
            draw.choice(changes)()
        time.sleep(max(due - time.monotonic(), 0.0))
    return (time.process_time() - spent) * 1e3 / (time.monotonic() - began)


def _workers(count: int, seconds: float) -> None:
    """One of `count` workers of a service, which one other joins in measuring: its CPU, and that of a
    scrape."""
    import bext_otel

    runs = bext_otel.configure(telemetry={"service_name": "weight"}, logging={"enabled": False})
    others = [os.fork() for _ in range(1)] if count > 1 else []
    while others and others[-1] and len(others) < count - 1:
        others.append(os.fork())
    if others and not others[-1]:
        changes, draw = _changes(len(others))
        if len(others) > 1:
            time.sleep(600)
        _measure(changes, draw, 600)
    try:
        changes, draw = _changes(0)
        time.sleep(3)
        telling = _measure(changes, draw, seconds)
        took = []
        for _ in range(6):
            _measure(changes, draw, 1.0)
            before = time.process_time()
            reply = runs.endpoints.reply("GET", "/metrics", "", {}, trusted=True)
            took.append((time.process_time() - before) * 1e3)
            assert reply is not None
            assert 200 == reply.status
        print(json.dumps([telling, statistics.median(took[1:])]), flush=True)
    finally:
        for other in others:
            os.kill(other, signal.SIGKILL)
        os._exit(0)


def workers(seconds: float) -> None:
    """What workers spend on each other; alone, a worker tells nobody."""
    alone = 0.0
    for count in (1, 4, 16, 64):
        env = {**_environment("", "ours"), "OTEL_METRICS_EXPORTER": "prometheus"}
        env.pop("OTEL_EXPORTER_OTLP_ENDPOINT")
        done = subprocess.run(
            _child("workers", str(count), str(seconds)),
            env=env,
            stdout=subprocess.PIPE,
            text=True,
            timeout=300,
            check=True,
        )
        spent, scrape = json.loads(done.stdout.splitlines()[-1])
        alone = alone or spent
        told = f", {spent - alone:4.1f} more than alone" if count > 1 else ""
        print(
            f"{count:3} workers, {_SERIES} series of the application's own, {_MEASUREMENTS} measurements a "
            f"second: {spent:4.1f} ms of CPU a second{told}; a scrape {scrape:5.1f} ms"
        )


# --- Exit ---------------------------------------------------------------------------------------------------


def _exit_of(side: str, count: int, endpoint: str) -> float:
    """Seconds from SIGTERM to the end of gunicorn with so many workers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(_PROGRAMS / "gunicorn"), "-w", str(count), "-b", f"127.0.0.1:{port}"]
    server = subprocess.Popen(
        _launched(side, *command, "benchmarks.weight:application()"),
        env=_environment(endpoint, side),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        answered, deadline = 0, time.monotonic() + 60
        while answered < 20 * count and time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read()
                answered += 1
            except OSError:
                time.sleep(0.1)
        time.sleep(2)
        began = time.monotonic()
        server.terminate()
        server.wait(60)
        return time.monotonic() - began
    finally:
        server.kill()
        server.wait()


def exits(endpoint: str, rounds: int) -> None:
    """How long a server takes to stop."""
    for count in (1, 4, 16):
        took: dict[str, list[float]] = {side: [] for side in _SIDES}
        for _ in range(rounds):
            for side in _SIDES:
                took[side].append(_exit_of(side, count, endpoint))
        bare = statistics.median(took["bare"])
        told = ", ".join(
            f"{side} {statistics.median(took[side]) - bare:+.2f} s" for side in _SIDES if side != "bare"
        )
        print(f"gunicorn with {count:2} workers stops in {bare:.2f} s; {told}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--starts", action="store_true", help="measure the start alone")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, *rest = arguments.child
        if name == "service":
            _service()
        else:
            _workers(int(rest[0]), float(rest[1]))
        return
    with sink() as endpoint:
        starts(endpoint, arguments.rounds)
        if arguments.starts:
            return
        holdings(endpoint, arguments.rounds)
        workers(arguments.seconds)
        exits(endpoint, arguments.rounds)


if __name__ == "__main__":
    main()
