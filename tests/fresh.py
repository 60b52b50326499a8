"""Code in an interpreter of its own: providers can be set once for a process, and what is not imported can be
looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

__all__ = ["fresh", "printed"]


def fresh(code: str, folder: Path, **env: str) -> tuple[Any, list[dict[str, Any]]]:
    """Run `code` in `folder`, where `show(value)` ends what it shows; the value, and the log lines that are
    JSON.

    Its environment has no setting of telemetry but `env`; metrics are served on any free port, and log lines go
    to standard output although it does not serve.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "BEXT_"))}
    head = "import json\nshow = lambda value: print('shown:', json.dumps(value))\n"
    done = subprocess.run(
        [sys.executable, "-c", head + dedent(code)],
        env={**kept, "OTEL_EXPORTER_PROMETHEUS_PORT": "0", "BEXT_LOGGING_OUTPUT": "stdout", **env},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    lines = done.stdout.splitlines()
    shown = [line.removeprefix("shown: ") for line in lines if line.startswith("shown: ")]
    assert 1 == len(shown), done.stdout + done.stderr
    return json.loads(shown[0]), [json.loads(line) for line in lines if line.startswith("{")]


def printed(code: str, *flags: str) -> str:
    """What `code` prints in an interpreter that is given `flags` and ends well."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()
