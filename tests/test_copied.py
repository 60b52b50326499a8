"""bext-otel that no installer has put there: copied beside a program, zipped, all of it without metadata; and
on a system that tells nothing of its processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import bext_otel
import bext_otel_instrumentors
from bext_otel.distribution import VERSION
from tests.e2e.launching import free_port

OURS = [Path(package.__path__[0]) for package in (bext_otel, bext_otel_instrumentors)]
LIBRARIES = Path(sysconfig.get_path("purelib"))

# One request, and what /metrics says of it; by a process without threads of its own that would serve it.
PROGRAM = """
import json, sys
from wsgiref.util import setup_testing_defaults
sys.path[:0] = {paths!r}
import bext_otel
runs = bext_otel.configure(metrics={{"mount": True}})
from flask import Flask
app = Flask("shop")
app.get("/items/<item>")(lambda item: item)
def ask(path, query=""):
    # Not Flask's own client, which wants metadata of Werkzeug's.
    environ, said = {{"PATH_INFO": path, "QUERY_STRING": query}}, []
    setup_testing_defaults(environ)
    answer = app(environ, lambda status, headers: said.append(status))
    body = b"".join(answer).decode()
    getattr(answer, "close", lambda: None)()
    assert ["200 OK"] == said
    return body
ask("/items/1")
print([line for line in ask("/metrics").splitlines() if line.startswith("bext_requests_total")])
print("version", runs.tracer_provider.resource.attributes["telemetry.distro.version"])
print("memory", json.loads(ask("/metrics", "format=json"))["system"]["memory_mb"] is not None)
"""
COUNTED = """['bext_requests_total{app="unknown",method="GET",status="200",route="/items/<item>"} 1']"""


def libraries(folder: Path, *, metadata: bool) -> Path:
    """The installed libraries, but for ours and what the installer wrote of it; without any `metadata`."""
    folder.mkdir()
    for entry in LIBRARIES.iterdir():
        told = entry.suffix == ".dist-info"
        if "bext" not in entry.name.lower() and entry.suffix != ".pth" and (metadata or not told):
            (folder / entry.name).symlink_to(entry)
    return folder


def copied(folder: Path) -> Path:
    folder.mkdir()
    for package in OURS:
        shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def zipped(folder: Path) -> Path:
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as into:
        for package in OURS:
            for path in package.rglob("*"):
                if path.suffix not in (".pyc", ""):
                    into.write(path, path.relative_to(package.parent))
    return archive


def ran(tmp_path: Path, paths: list[Path], *before: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "BEXT_"))}
    return subprocess.run(
        [*before, sys.executable, "-I", "-S", "-c", PROGRAM.format(paths=[str(path) for path in paths])],
        env={**kept, "OTEL_EXPORTER_PROMETHEUS_PORT": str(free_port()), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("put", [copied, zipped])
@pytest.mark.parametrize("metadata", [True, False], ids=["theirs", "no"])
def test_without_its_metadata_it_measures_and_one_line_says_what_is_missing(
    tmp_path: Path, put, metadata: bool
) -> None:
    told = ran(tmp_path, [put(tmp_path / "ours"), libraries(tmp_path / "theirs", metadata=metadata)])
    assert 0 == told.returncode, told.stderr
    assert [COUNTED, f"version {VERSION}", "memory True"] == told.stdout.splitlines()
    (line,) = [line for line in told.stderr.splitlines() if line.startswith("bext-otel")]
    assert "metadata are not here" in line


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts over /proc")
def test_without_proc_only_what_it_tells_is_missing(tmp_path: Path) -> None:
    """As in a chroot or a jail: the process's own figures, and who the other workers are."""
    covered = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")
    if subprocess.run([*covered, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mounts")
    told = ran(tmp_path, [*(path.parent for path in OURS), LIBRARIES], *covered)
    assert 0 == told.returncode, told.stderr
    assert [COUNTED, f"version {VERSION}", "memory False"] == told.stdout.splitlines()
    (line,) = told.stderr.splitlines()
    assert "can't share its metrics with other workers" in line
