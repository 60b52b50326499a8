"""Real backends for end-to-end tests: programs on free loopback ports, each ended by its process id."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "collector-config"


def unavailable(reason: str) -> NoReturn:
    """Skips with the reason; where BEXT_REQUIRE_BACKENDS=1 promises that everything is installed, fails with
    it."""
    if os.environ.get("BEXT_REQUIRE_BACKENDS") == "1":
        pytest.fail(f"BEXT_REQUIRE_BACKENDS=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def program(name: str) -> str:
    """Path of collector, jaeger, prometheus, alertmanager, promtool, podman or redis-server."""
    found = subprocess.run(
        [ROOT / "scripts" / "backends.sh", "path", name],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    if found.returncode != 0:
        unavailable(found.stderr.strip())
    return found.stdout.strip()


def free_port() -> int:
    """A TCP port on loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(url: str, *, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body of a GET; status 0 where nobody answers."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=dict(headers or {})), timeout=10
        ) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except (OSError, urllib.error.URLError):
        return 0, b""


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    return fetch(url)[0] == 200


@contextmanager
def running(
    argv: Sequence[str],
    *,
    ready: str,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[int]:
    """The process id of a program that answers at `ready`; it is asked to end afterwards, and killed if it
    does not within 15 s."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=cwd,
            env={**os.environ, **(env or {})},
        )

    def up() -> bool:
        if process.poll() is not None:
            pytest.fail(f"{argv[0]} ended with {process.returncode}:\n{tail(log)}", pytrace=False)
        return answers(ready)

    try:
        until(up, every=0.1, why=f"{argv[0]} answers at {ready}; its log is {log}")
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def tail(log: Path, *, size: int = 3000) -> str:
    """The end of a log file."""
    return log.read_text(errors="replace")[-size:]


# --- Jaeger -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Jaeger:
    """A running Jaeger: where it takes OTLP, and what it knows."""

    grpc: str
    http: str
    query: str

    def spans(self, trace_id: str) -> list[dict[str, Any]]:
        """The spans of a trace as Jaeger's query API gives them; empty while it knows none."""
        status, body = fetch(f"{self.query}/api/traces/{trace_id}")
        return list(json.loads(body)["data"][0]["spans"]) if status == 200 else []

    def span_ids(self, trace_id: str) -> set[str]:
        """Ids of the trace's spans, in hexadecimal."""
        return {span["spanID"] for span in self.spans(trace_id)}


def tags(span: dict[str, Any]) -> dict[str, Any]:
    """Attributes of a span, as Jaeger shows them."""
    return {tag["key"]: tag["value"] for tag in span["tags"]}


def _jaeger_config(ports: Mapping[str, int]) -> dict[str, Any]:
    """What `jaeger` runs with no configuration, less the receivers that nobody uses, on ports of our own."""
    return {
        "extensions": {
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 10000}}}},
            "jaeger_query": {
                "storage": {"traces": "memory"},
                "http": {"endpoint": f"127.0.0.1:{ports['query']}"},
                "grpc": {"endpoint": f"127.0.0.1:{ports['query_grpc']}"},
            },
        },
        "receivers": {
            "otlp": {
                "protocols": {
                    "grpc": {"endpoint": f"127.0.0.1:{ports['grpc']}"},
                    "http": {"endpoint": f"127.0.0.1:{ports['http']}"},
                }
            }
        },
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
    }


@contextmanager
def jaeger(folder: Path) -> Iterator[Jaeger]:
    """A Jaeger with an in-memory store."""
    ports = {name: free_port() for name in ("grpc", "http", "query", "query_grpc")}
    config = folder / "jaeger.yaml"
    config.write_text(yaml.safe_dump(_jaeger_config(ports)))
    query = f"http://127.0.0.1:{ports['query']}"
    # Jaeger traces itself, and waits ten seconds at its end for somebody who takes that.
    quiet = {"OTEL_TRACES_SAMPLER": "always_off"}
    with running(
        [program("jaeger"), "--config", str(config)],
        ready=f"{query}/api/services",
        log=folder / "jaeger.log",
        env=quiet,
    ):
        yield Jaeger(grpc=f"127.0.0.1:{ports['grpc']}", http=f"http://127.0.0.1:{ports['http']}", query=query)


# --- Collector ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Collector:
    """A running collector: where it takes OTLP, and where Prometheus fetches what it got (`metrics`) and how
    it fares (`telemetry`)."""

    pid: int
    grpc: str
    http: str
    metrics: str
    telemetry: str

    def families(self) -> dict[str, str]:
        """Metric name -> type, of what its Prometheus exporter shows."""
        return families(fetch(f"http://{self.metrics}/metrics")[1].decode())


@contextmanager
def collector(
    folder: Path, name: str, *, env: Mapping[str, str], overlay: Mapping[str, Any] | None = None
) -> Iterator[Collector]:
    """A collector that runs the shipped file `collector-config/<name>.yaml`, merged with `overlay`, on free
    loopback ports.

    `env` holds the file's variables; one that says where to listen replaces a free port. The queue is kept in
    `folder`.
    """
    argv = [program("collector"), "--config", str(CONFIG / f"{name}.yaml")]
    if overlay is not None:
        extra = folder / f"{name}-overlay.yaml"
        extra.write_text(yaml.safe_dump(dict(overlay)))
        argv += ["--config", str(extra)]
    listening = ("OTLP_GRPC_ENDPOINT", "OTLP_HTTP_ENDPOINT", "PROMETHEUS_ENDPOINT", "HEALTH_ENDPOINT")
    own = {variable: f"127.0.0.1:{free_port()}" for variable in listening}
    own |= {
        "TELEMETRY_HOST": "127.0.0.1",
        "TELEMETRY_PORT": str(free_port()),
        "STORAGE_DIRECTORY": str(folder / f"{name}-storage"),
        **env,
    }
    with running(argv, ready=f"http://{own['HEALTH_ENDPOINT']}/", log=folder / f"{name}.log", env=own) as pid:
        yield Collector(
            pid=pid,
            grpc=own["OTLP_GRPC_ENDPOINT"],
            http=f"http://{own['OTLP_HTTP_ENDPOINT']}",
            metrics=own["PROMETHEUS_ENDPOINT"],
            telemetry=f"127.0.0.1:{own['TELEMETRY_PORT']}",
        )


def families(text: str) -> dict[str, str]:
    """Metric name -> type, of a Prometheus text."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


# --- Prometheus ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus and its query API."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector of an expression; an AssertionError with Prometheus' own words if it refuses
        it."""
        status, body = fetch(f"{self.url}/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        assert status == 200, f"{expression}: {status} {body.decode()}"
        return list(json.loads(body)["data"]["result"])

    def targets(self) -> dict[str, str]:
        """Scrape job -> health of its target."""
        active = json.loads(fetch(f"{self.url}/api/v1/targets")[1])["data"]["activeTargets"]
        return {target["scrapePool"]: target["health"] for target in active}


@contextmanager
def prometheus(folder: Path, config: Mapping[str, Any], *, native: bool = False) -> Iterator[Prometheus]:
    """A Prometheus with this configuration and the shipped alert rules beside it.

    `native` has it ask for protobuf and keep native histograms, which then stand in the place of quantiles.
    """
    (folder / "prometheus.yml").write_text(yaml.safe_dump(dict(config)))
    for rules in ("collector-alerts.yml", "bext-alerts.yml"):
        (folder / rules).write_text((CONFIG / rules).read_text())
    address = f"127.0.0.1:{free_port()}"
    argv = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address={address}",
        f"--enable-feature=exemplar-storage{',native-histograms' if native else ''}",
        "--log.level=warn",
    ]
    with running(argv, ready=f"http://{address}/-/ready", log=folder / "prometheus.log"):
        yield Prometheus(f"http://{address}")


# --- Alertmanager -------------------------------------------------------------------------------------------


@contextmanager
def alertmanager(folder: Path) -> Iterator[str]:
    """The address of an Alertmanager that groups by all labels, and notifies nobody."""
    config = {"route": {"receiver": "nobody", "group_by": ["..."]}, "receivers": [{"name": "nobody"}]}
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    argv = [
        program("alertmanager"),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with running(argv, ready=f"http://{address}/-/ready", log=folder / "alertmanager.log"):
        yield f"http://{address}"
