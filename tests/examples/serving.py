"""The platform in a process of its own, on free ports, with or without telemetry."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.waiting import until

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Served:
    """A running platform: its process, its address, that of its stand-alone endpoints, and what it wrote."""

    process: subprocess.Popen[bytes]
    url: str
    endpoints_url: str
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        """Log lines that are JSON."""
        return [
            json.loads(line)
            for line in self.log.read_text(encoding="utf-8").splitlines()
            if line.startswith("{")
        ]


@contextmanager
def served(
    folder: Path, *, telemetry: bool = False, env: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """The platform under uvicorn, which keeps its files in `folder`; killed by its own id if the body did not
    end it.

    Without an `env` that names one, it has no Redis: one that runs on this machine is somebody's.
    """
    port, endpoints_port = _free_port(), _free_port()
    serve = ["uvicorn", "--app-dir", str(EXAMPLES), "--port", str(port), "bext_demo.asgi:app"]
    scripts = sysconfig.get_path("scripts")
    command = (
        [str(Path(scripts) / "bext-otel"), "run", *serve] if telemetry else [sys.executable, "-m", *serve]
    )
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            env={**_environ(folder, scripts, endpoints_port), **(env or {})},
            cwd=folder,
        )
    running = Served(process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{endpoints_port}", log)
    try:
        until(
            lambda: process.poll() is not None or _answers(running.url),
            why="the server to answer",
        )
        assert process.poll() is None, log.read_text(encoding="utf-8")
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _environ(folder: Path, scripts: str, endpoints_port: int) -> Mapping[str, str]:
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "BEXT_", "DEMO_"))
    }
    return {
        **kept,
        # The launcher looks for uvicorn in PATH.
        "PATH": os.pathsep.join((scripts, kept.get("PATH", os.defpath))),
        "TMPDIR": str(folder),
        "NO_PROXY": "127.0.0.1",
        "BEXT_CONFIG": str(EXAMPLES / "bext.config.toml"),
        "BEXT_DEMO_REDIS": "",
        "OTEL_PYTHON_DISTRO": "bext",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(endpoints_port),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/about", trust_env=False, timeout=10).status_code == 200
    except httpx.TransportError:
        return False
