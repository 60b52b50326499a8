"""What watching costs while nothing happens: a process with every instrumented library imported, beside one
that nobody watches.

`python -m benchmarks.idle`. Both sleep, side by side; counted are the CPU time that they spend meanwhile, and
switches to them.
"""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import subprocess
import sys
import sysconfig
import time
import warnings
from pathlib import Path

_LIBRARIES = (
    "brotli_asgi",
    "cachetools",
    "celery",
    "dbos",
    "django.core.cache",
    "fastapi",
    "flask_caching",
    "flask_compress",
    "pluggy",
    "py_mini_racer",
    "quickjs",
    "redis",
    "starlette.middleware.gzip",
    "wasmtime",
)


def child(seconds: float) -> None:
    """Import what there is, sleep, and print milliseconds of CPU time, switches, and the number of
    threads."""
    imported = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in _LIBRARIES:
            try:
                importlib.import_module(name)
                imported += 1
            except ImportError:
                continue
    time.sleep(2)
    before, switched = time.process_time(), resource.getrusage(resource.RUSAGE_SELF)
    time.sleep(seconds)
    spent, after = time.process_time() - before, resource.getrusage(resource.RUSAGE_SELF)
    switches = after.ru_nvcsw + after.ru_nivcsw - switched.ru_nvcsw - switched.ru_nivcsw
    print(f"idle {spent * 1e3:.2f} {switches} {len(os.listdir('/proc/self/task'))} {imported}", flush=True)  # noqa: PTH208  names are enough


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.seconds)
        return
    plain = [sys.executable, "-m", "benchmarks.idle", "--child", "--seconds", str(arguments.seconds)]
    watched = [str(Path(sysconfig.get_path("scripts")) / "opentelemetry-instrument"), *plain]
    env = {**os.environ, "BEXT_LOGGING_OUTPUT": "none", "OTEL_EXPORTER_PROMETHEUS_PORT": "0"}
    started = {
        name: subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        for name, command in (("bare", plain), ("watched", watched))
    }
    for name, process in started.items():
        output, _ = process.communicate(timeout=arguments.seconds + 120)
        spent, switches, threads, imported = next(
            line for line in output.splitlines() if line.startswith("idle ")
        ).split()[1:]
        told = (
            f"{spent:>7} ms of CPU in {arguments.seconds:g} s, {switches} switches, {threads} threads, "
            f"{imported} libraries imported"
        )
        print(f"{name:8} {told}")


if __name__ == "__main__":
    main()
