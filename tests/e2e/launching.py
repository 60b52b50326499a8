"""Real programs in processes of their own, on free ports: started, asked, and ended by their ids."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import Any

import httpx
import psutil

from bext_otel.endpoints.notice import Notice
from bext_otel.service.family import relatives_apart
from bext_otel.service.procfs import Proc
from tests.waiting import until

APPS = Path(__file__).parent / "apps"
SCRIPTS = sysconfig.get_path("scripts")

# So that what a request causes is seen soon. Upstream's variables, in milliseconds.
SOON = {
    "OTEL_BSP_SCHEDULE_DELAY": "100",
    "OTEL_BLRP_SCHEDULE_DELAY": "100",
    "OTEL_METRIC_EXPORT_INTERVAL": "300",
}

# A random generator that pytest-randomly does not seed: two test runs at once would take the same ports.
_random = SystemRandom()


def free_port() -> int:
    """A port that nobody listens on, and that the system gives to no outgoing connection meanwhile."""
    for _ in range(100):
        port = _random.randrange(15_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port found")


@dataclass(frozen=True)
class Launched:
    """A program: its process, the address of its application and of its stand-alone endpoints, and the file
    with all that it wrote."""

    process: subprocess.Popen[bytes]
    url: str
    endpoints_url: str
    log: Path

    @property
    def endpoints_port(self) -> int:
        return int(self.endpoints_url.rpartition(":")[2])

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        """Ask the application, over a connection of its own: workers take turns."""
        return httpx.get(self.url + path, trust_env=False, timeout=20, **kwargs)

    def endpoint(self, path: str, **kwargs: Any) -> httpx.Response:
        """Ask the stand-alone endpoints, waiting for them to be there."""

        def ask() -> httpx.Response | None:
            with suppress(httpx.TransportError):
                return httpx.get(self.endpoints_url + path, trust_env=False, timeout=20, **kwargs)
            return None

        return until(ask, why=f"{self.endpoints_url}{path} to answer; the program wrote:\n{self.output()}")

    def metrics(self) -> dict[str, float]:
        """Every sample of the stand-alone /metrics, by its name with labels as they are written."""
        return samples(self.endpoint("/metrics").text)

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def lines(self, **expected: object) -> list[dict[str, Any]]:
        """Log lines that are JSON, with these fields."""
        found = [
            json.loads(line)
            for line in self.output().split("\n")
            if line.startswith("{") and line.endswith("}")
        ]
        return [line for line in found if expected.items() <= line.items()]

    def completion(self, path: str) -> dict[str, Any]:
        """The completion line of the last request for `path`."""
        return until(
            lambda: self.lines(message="request completed", path=path),
            why=f"a line about {path} in:\n{self.output()}",
        )[-1]

    def processes(self) -> list[psutil.Process]:
        """The first process and all below it."""
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def holder(self) -> psutil.Process | None:
        """Which process serves the stand-alone endpoints, as the board of its service says; None while none
        does. Others of the service may have copies of the listening socket."""
        for found in relatives_apart(Proc(), (0, 0)):
            notice = Notice.decode(found.notice)
            if notice is not None and notice.holds and notice.port == self.endpoints_port:
                with suppress(psutil.Error):
                    process = psutil.Process(notice.pid)
                    if self.endpoints_port in listened_on(process):
                        return process
        return None

    def end(self, sent: int = signal.SIGTERM, *, seconds: float = 15) -> int:
        """Ask the program to end; its exit code. An AssertionError if it has not within `seconds`."""
        self.process.send_signal(sent)
        return self.wait(seconds=seconds)

    def wait(self, *, seconds: float = 15) -> int:
        """The exit code, once the program ends."""
        until(
            lambda: self.process.poll() is not None,
            seconds=seconds,
            why=f"the program to end; it wrote:\n{self.output()}",
        )
        return self.process.returncode


def listened_on(process: psutil.Process) -> set[int]:
    """The ports that a process listens on."""
    return {found.laddr.port for found in process.net_connections() if found.status == psutil.CONN_LISTEN}


def samples(text: str) -> dict[str, float]:
    """The samples of a page in Prometheus text format."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


@contextmanager
def launched(
    folder: Path,
    command: str,
    *,
    env: Mapping[str, str] | None = None,
    instrument: bool = True,
    path: str = "/items/0",
    first: tuple[str, ...] = (),
) -> Iterator[Launched]:
    """`command` under `opentelemetry-instrument` (unless not `instrument`), in `folder`, with the
    applications of `apps/` importable.

    `{port}` in it stands for the application's port; where it does, the body begins when the application
    answers `path`. `first` stands before everything on PYTHONPATH. Whatever the body leaves running is
    killed, with the processes below it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, endpoints_port = free_port(), free_port()
    words = command.format(port=port).split()
    program = (
        [sys.executable, *words[1:]] if words[0] == "python" else [str(Path(SCRIPTS) / words[0]), *words[1:]]
    )
    log = folder / "log"
    environ = environment(folder, endpoints_port, env or {}, first)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(Path(SCRIPTS) / "opentelemetry-instrument"), *program] if instrument else program,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environ,
            cwd=folder,
            start_new_session=True,
        )
    running = Launched(process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{endpoints_port}", log)
    try:
        if "{port}" in command:
            until(
                lambda: process.poll() is not None or _answers(running.url + path),
                why=f"an answer; see {log}",
            )
            assert process.poll() is None, running.output()
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def environment(
    folder: Path, endpoints_port: int, env: Mapping[str, str], first: tuple[str, ...] = ()
) -> dict[str, str]:
    """The environment of a program: this one's without any setting of telemetry, and what is given."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "BEXT_"))}
    return {
        **kept,
        "PATH": os.pathsep.join((SCRIPTS, kept.get("PATH", os.defpath))),
        "PYTHONPATH": os.pathsep.join(
            path for path in (*first, str(APPS), kept.get("PYTHONPATH", "")) if path
        ),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(folder),  # gunicorn keeps a control socket there
        "TMPDIR": str(folder),
        "NO_PROXY": "127.0.0.1,localhost",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(endpoints_port),
        **env,
    }


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=10).status_code < 500
    except httpx.TransportError:
        return False
