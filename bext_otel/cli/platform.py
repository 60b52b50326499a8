"""The demo platform of examples/: where it is, what it needs, how it is launched."""

from __future__ import annotations

import os
import re
import secrets
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Protocol

import click

from bext_otel.cli.examples import examples_folder, places
from bext_otel.cli.ports import free_port

__all__ = [
    "Platform",
    "Request",
    "find_broker",
    "find_examples",
    "missing_requirements",
    "status_of",
    "traffic",
]

_APP = "bext_demo.asgi:app"
_WORKER = (
    "--pool",
    "threads",
    "--concurrency",
    "2",
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
    "--loglevel",
    "INFO",
)
# One with a further condition, e.g. on the version of Python, is left to the installer: it may rightly be
# absent.
_REQUIREMENT = re.compile(r"""([A-Za-z0-9._-]+)[^;]*;\s*extra\s*==\s*["']demo["']\s*""")


# How long a program on this machine may take to answer.
_ANSWER_SECONDS = 5.0


class Request(Protocol):
    """What `bext_demo.traffic` plans."""

    @property
    def method(self) -> str:
        """The method."""

    @property
    def path(self) -> str:
        """The path, with its query."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers, without Host."""

    @property
    def body(self) -> bytes:
        """The body, maybe empty."""


@dataclass(frozen=True)
class Platform:
    """How to launch the platform of `examples`: its pages on `port`, its endpoints on `endpoints_port`, its
    telemetry to `otlp_url`.

    `broker` is a Redis for tasks, which a worker executes; None: there is none, and the platform executes
    them itself.
    """

    examples: Path
    port: int
    endpoints_port: int
    otlp_url: str
    broker: str | None = None

    def argv(self) -> list[str]:
        """What a user would type, with the checkout's own interpreter."""
        return _instrumented(
            "uvicorn", "--app-dir", str(self.examples), "--host", "127.0.0.1", "--port", str(self.port), _APP
        )

    def worker_argv(self) -> list[str]:
        """The same for Celery's worker, with a broker: it is a service of its own."""
        return _instrumented(
            "celery", "--workdir", str(self.examples), "-A", "bext_demo.worker", "worker", *_WORKER
        )

    def worker_environ(self, shared: Mapping[str, str]) -> dict[str, str]:
        """The environment for the worker; nobody is told where its endpoints are, since its metrics come by
        OTLP."""
        own = {
            "OTEL_SERVICE_NAME": "bext-demo-worker",
            "OTEL_EXPORTER_PROMETHEUS_PORT": str(free_port(None, usual=9465, option="")),
        }
        return {**self.environ(), **shared, **own}

    def shared(self, folder: Path) -> dict[str, str]:
        """What platform and worker need to find each other, with a broker: a queue of their own, and a
        database in `folder`."""
        if self.broker is None:
            return {}
        data_dir = os.environ.get("DEMO_DATA_DIR") or str(folder / "data")
        return {
            "DEMO_BROKER": self.broker,
            "DEMO_QUEUE": f"bext-demo:{secrets.token_hex(4)}",
            "DEMO_DATA_DIR": data_dir,
        }

    def environ(self, outer: Mapping[str, str] = os.environ) -> dict[str, str]:
        """`outer` without its OTEL_* settings, which may send telemetry to somewhere serious, and with
        ours."""
        kept = {name: value for name, value in outer.items() if not name.startswith("OTEL_")}
        local = ",".join(filter(None, (outer.get("NO_PROXY", ""), "127.0.0.1,localhost")))
        return {
            **kept,
            # uvicorn is looked for in PATH, and a virtual environment need not be activated.
            "PATH": os.pathsep.join((sysconfig.get_path("scripts"), outer.get("PATH", os.defpath))),
            "NO_PROXY": local,
            "no_proxy": local,
            "PYTHONUNBUFFERED": "1",
            "BEXT_CONFIG": str(self.examples / "bext.config.toml"),
            "OTEL_PYTHON_DISTRO": "bext",
            "OTEL_PYTHON_CONFIGURATOR": "bext",
            "OTEL_SERVICE_NAME": "bext-demo",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp_url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
            "OTEL_EXPORTER_PROMETHEUS_PORT": str(self.endpoints_port),
            # Milliseconds, all three: a person is waiting for what they just did.
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
            "OTEL_BLRP_SCHEDULE_DELAY": "500",
        }

    def endpoints(self) -> int | None:
        """The port that says that the platform is ready, or None while none does.

        It serves once its own port answers; the endpoints are on a port of their own, or on the same one with
        `[metrics] mount`.
        """
        if status_of(self.port, "/static/site.css") is None:
            return None
        return next(
            (port for port in (self.endpoints_port, self.port) if status_of(port, "/health/ready") == 200),
            None,
        )


def status_of(port: int, path: str) -> int | None:
    """The status of a GET to this machine, or None if nothing answers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def find_examples(given: Path | None) -> Path:
    """The folder that holds the demo: `given`, or the one beside the working directory's files or the
    package's. Raises a usage error."""
    if (folder := examples_folder(given)) is not None:
        return folder
    raise click.ClickException(
        f"the demo is not in {' or '.join(map(str, places(given)))}: it comes with the source, not "
        "with the package. "
        "Clone the repository and run `make demo` there, or give --examples"
    )


def missing_requirements() -> list[str]:
    """Distributions of the extra `demo` that are not installed."""
    return [name for name in _requirements() if not _installed(name)]


def traffic(examples: Path, requests: int, seed: int) -> list[Request]:
    """The demo's own plan of what to send."""
    return list(_demo(examples, "traffic").plan(requests, seed))


def find_broker(examples: Path) -> str | None:
    """The Redis that the demo uses for fragments, None if none answers."""
    try:
        url: str | None = _demo(examples, "settings").Settings.from_environment().redis_url
    except ValueError:  # the platform itself says what is wrong
        return None
    fragments = _demo(examples, "fragments").Fragments(url)
    fragments.start()
    found = url if fragments.kept else None
    fragments.close()
    return found


def _demo(examples: Path, module: str) -> Any:
    if str(examples) not in sys.path:
        sys.path.insert(0, str(examples))
    return import_module(f"bext_demo.{module}")


def _instrumented(*command: str) -> list[str]:
    return [str(Path(sysconfig.get_path("scripts")) / "bext-otel"), "run", *command]


def _requirements() -> Iterator[str]:
    for line in metadata.requires("bext-otel") or ():
        if match := _REQUIREMENT.fullmatch(line):
            yield match[1]


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
