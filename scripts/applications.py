"""Environments for the real applications of tests/applications, each of its own, outside the checkout.

Under ${XDG_CACHE_HOME:-~/.cache}/bext-otel/applications, named after a hash of what is installed in them.
OpenTelemetry has the versions of the Python that runs this; bext-otel itself is not in them: the tests put
the checkout on their path.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import requires, version
from pathlib import Path

PINS = Path(__file__).resolve().parents[1] / "tests" / "applications" / "environments"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bext-otel" / "applications"
UNUSED_DAYS = 14
# A pin of another series than the launcher's would not resolve.
_SERIES = {"0": "opentelemetry-instrumentation", "1": "opentelemetry-api"}


def names() -> list[str]:
    """Every application."""
    return sorted(path.stem for path in PINS.glob("*.in"))


def folder(name: str) -> Path:
    """Where the application's environment is, or would be. Its file `done` is there once it is complete."""
    what = "\n".join([sys.version, sys.base_prefix, *_pins(name), *_telemetry(), *_instrumentors(name)])
    return CACHE / f"{name}-{hashlib.sha256(what.encode()).hexdigest()[:12]}"


def is_installed(name: str) -> bool:
    """Whether the application's environment is complete."""
    return (folder(name) / "done").exists()


def install(name: str) -> None:
    """Make the application's environment, where it is missing."""
    with _alone(name):
        if is_installed(name):
            os.utime(folder(name) / "done")
            return
        started = time.monotonic()
        _remove_unused(name)
        _make(folder(name), [*_pins(name), *_telemetry(), *_instrumentors(name)])
        (folder(name) / "done").touch()
        size = sum(path.lstat().st_size for path in folder(name).rglob("*")) / 1e6
        print(f"{name}: installed in {time.monotonic() - started:.0f} s, {size:.0f} MB", file=sys.stderr)


def lock(name: str) -> None:
    """Write what a fresh environment has installed into the application's list of pins."""
    place = CACHE / f"{name}-lock-{os.getpid()}"
    try:
        own = [line for line in _lines(PINS / f"{name}.in") if not line.startswith("opentelemetry-")]
        _make(place, [*own, *_telemetry(), *_instrumentors(name)])
        found = subprocess.run(
            [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "freeze"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
    finally:
        shutil.rmtree(place, ignore_errors=True)
    pins = [line for line in found if not line.startswith("opentelemetry-")]
    head = (
        f"# Written by `scripts/applications.py lock {name}`. OpenTelemetry has the versions of the tests.\n"
    )
    (PINS / f"{name}.txt").write_text(head + "\n".join(pins) + "\n", encoding="utf-8")


def _lines(path: Path) -> list[str]:
    lines = (line.partition(" #")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _pins(name: str) -> list[str]:
    return _lines(PINS / f"{name}.txt")


def _telemetry() -> list[str]:
    """What bext-otel itself requires; OpenTelemetry's packages in the versions that are here."""
    found = []
    for requirement in requires("bext-otel") or []:
        distribution = re.split(r"[^\w.-]", requirement)[0]
        if "extra ==" in requirement:
            continue
        ours = distribution.startswith("opentelemetry-")
        found.append(f"{distribution}=={version(distribution)}" if ours else requirement)
    return found


def _instrumentors(name: str) -> list[str]:
    """Upstream's instrumentors that `opentelemetry-bootstrap` would add for the application."""
    series = version("opentelemetry-instrumentation")
    wanted = _lines(PINS / f"{name}.in")
    return [f"{line}=={series}" for line in wanted if line.startswith("opentelemetry-")]


def _make(place: Path, requirements: Sequence[str]) -> None:
    shutil.rmtree(place, ignore_errors=True)
    # It has no pip of its own: this one's installs, which saves the time to unpack another.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*pip, "--disable-pip-version-check", *requirements], check=True)


def _remove_unused(name: str) -> None:
    """Those of earlier pins that nobody has used for long."""
    for done in CACHE.glob(f"{name}-*/done"):
        if time.time() - done.stat().st_mtime > UNUSED_DAYS * 86_400:
            shutil.rmtree(done.parent, ignore_errors=True)


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Two that install the same take turns."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["install", "lock", "path"])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names())}; all, if none")
    given = parser.parse_args()
    chosen: list[str] = given.names or names()
    if unknown := set(chosen) - set(names()):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if given.command == "path":
        print(*[folder(name) for name in chosen], sep="\n")
        return
    # Two at a time: one waits for the network while the other unpacks.
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(install if given.command == "install" else lock, chosen):
            pass


if __name__ == "__main__":
    main()
