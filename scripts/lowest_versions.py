"""Part of the test suite with the lowest versions that pyproject.toml says it supports.

`scripts/lowest_versions.py [PYTEST...]` makes an environment in a temporary folder, runs in it the tests that
say most about other people's versions (or those that PYTEST... names), and removes it. Ends with what pytest
ended with.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")
# What imports, reads settings, declares metrics and meets the insides of frameworks, Celery, caches and
# plugins, in about five minutes; servers and backends are for the whole suite.
TESTS = [
    "tests/test_distro.py",
    "tests/test_compat.py",
    "tests/test_catalogue.py",
    "tests/config",
    "tests/instrumentors/cache",
    "tests/instrumentors/celery",
    "tests/instrumentors/http",
    "tests/instrumentors/isolates",
    "tests/instrumentors/plugins",
    "tests/instrumentors/compression",
    "tests/instrumentors/_kit",
]

# They start servers of any kind in this process.
SERVERS = [
    "tests/instrumentors/http/servers/test_embedded.py",
    "tests/instrumentors/http/servers/test_served.py",
]


def make(folder: Path) -> Path:
    """The interpreter of an environment with the lowest versions."""
    pins, venv = folder / "lowest.txt", folder / "venv"
    python = venv / "bin" / "python"
    compile_pins = [
        "pip",
        "compile",
        "--python",
        sys.executable,
        "--resolution",
        "lowest-direct",
        "--extra",
        "test",
    ]
    for arguments in (
        ["venv", "--python", sys.executable, venv],
        [*compile_pins, "--output-file", pins, ROOT / "pyproject.toml"],
        ["pip", "install", "--python", python, "--requirement", pins],
        ["pip", "install", "--python", python, "--no-deps", "--editable", ROOT],
    ):
        subprocess.run([UV, "--quiet", *arguments], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return python


def main(arguments: list[str]) -> int:
    """Makes the environment and runs the tests in it; their exit code."""
    with tempfile.TemporaryDirectory(prefix="bext-lowest-") as folder:
        python = make(Path(folder))
        selection = arguments or [
            "-m",
            "not e2e and not backends",
            *TESTS,
            *(f"--ignore={each}" for each in SERVERS),
        ]
        return subprocess.run([python, "-m", "pytest", "-q", *selection], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
