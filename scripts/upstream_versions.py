"""Part of the test suite with OpenTelemetry's SDK from the oldest version that we name to the newest.

`scripts/upstream_versions.py make|test [VERSION]` makes an environment for each version (or for VERSION),
once, outside the checkout, and runs in it the tests that say most about the SDK. `newest` takes pre-releases
of OpenTelemetry too. Ends with 1 if tests failed anywhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bext-otel" / "upstream"
FAILED = 1  # pytest's code
# The oldest first, and those whose insides differ most from their neighbours'.
VERSIONS = ("1.39.0", "1.42.1", "1.43.0", "1.44.0", "newest")
# What there is of newer SDKs only, or asks for one.
LEFT_OUT = {
    "dbos",
    "opentelemetry-configuration",
    "opentelemetry-exporter-otlp-json-file",
    "opentelemetry-exporter-otlp-json-http",
    "streamlit",
}
TESTS = (
    "tests/test_compat.py",
    "tests/test_missing_names.py",
    "tests/test_distro.py",
    "tests/traces",
    "tests/export",
    "tests/logs/test_chain.py",
    "tests/logs/test_install.py",
    "tests/logs/test_limits.py",
    "tests/logs/test_pipeline.py",
    "tests/logs/test_sinks.py",
    "tests/logs/test_stdlib.py",
    "tests/metrics/instruments",
)


def requirements(version: str) -> list[str]:
    """What the tests want, with the SDK of a version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]

    def whole(wanted: list[str]) -> Iterator[str]:
        for one in wanted:
            if found := re.match(r"bext-otel\[(.*?)\]", one):
                for extra in found[1].split(","):
                    yield from whole(extras[extra])
            else:
                yield one

    wanted = dict.fromkeys([*project["dependencies"], *whole(extras["test"])])
    kept = [one for one in wanted if re.split(r"[^\w.-]", one)[0] not in LEFT_OUT]
    # Whoever names a pre-release takes them: of OpenTelemetry, and of nobody else.
    sdk = ">=1.39.dev0" if version == "newest" else f"=={version}"
    return [*kept, f"opentelemetry-api{sdk}", f"opentelemetry-sdk{sdk}"]


def make(version: str) -> Path:
    """The interpreter of an environment, which is made if it is not there."""
    wanted = requirements(version)
    name = hashlib.sha256("\n".join([sys.version, *wanted]).encode()).hexdigest()[:12]
    venv = CACHE / f"{version}-{name}"
    python = venv / "bin" / "python"
    if not (venv / "done").exists():
        for old in CACHE.glob(f"{version}-*"):
            shutil.rmtree(old, ignore_errors=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        only = ["--prerelease", "if-necessary-or-explicit"]
        for arguments in (
            ["venv", "--python", sys.executable, venv],
            ["pip", "install", "--python", python, *only, *wanted],
            ["pip", "install", "--python", python, "--no-deps", "--editable", ROOT],
        ):
            subprocess.run([UV, "--quiet", *arguments], check=True, cwd=ROOT)
        (venv / "done").touch()
    return python


def test(version: str) -> int:
    """What pytest ended with."""
    print(f"OpenTelemetry {version}:", flush=True)
    # Between the oldest and the newest, only what starts no program.
    between = "" if version in (VERSIONS[0], VERSIONS[-1]) else " and not slow"
    selection = [
        "-m",
        f"not e2e and not backends{between}",
        "--hypothesis-profile=quick",
        "-o",
        f"cache_dir={make(version).parents[1] / 'pytest'}",
        *TESTS,
    ]
    # The environment is the cache's, and serves whichever checkout runs it.
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "instrumentors")])}
    command = [make(version), "-m", "pytest", "-q"]
    ended = subprocess.run([*command, "-n", "2", *selection], cwd=ROOT, env=env, check=False).returncode
    if ended != FAILED:
        return ended
    print("What failed side by side is run once more by itself; that decides.", flush=True)
    again = ["--last-failed", "--last-failed-no-failures=none"]
    return subprocess.run([*command, *again, *selection], cwd=ROOT, env=env, check=False).returncode


def main(arguments: list[str]) -> int:
    """Makes, or makes and tests; 1 if anything failed."""
    command, *chosen = arguments or ["test"]
    if command not in ("make", "test"):
        print(__doc__)
        return 2
    versions = chosen or VERSIONS
    if command == "make":
        for version in versions:
            make(version)
        return 0
    return max(map(bool, list(map(test, versions))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
