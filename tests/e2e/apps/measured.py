"""What the applications of the service tests measure for each request of `/work`, always the same."""

import os
import subprocess
import sys
from pathlib import Path

from opentelemetry import metrics

from bext_otel.catalogue import (
    CACHE_BYTES,
    CACHE_ENTRIES,
    CACHE_HITS,
    CACHE_MISSES,
    ISOLATE_COUNT,
    ISOLATE_MEMORY,
    ISOLATE_RENDER_DURATION,
    PLUGIN_DURATION,
)
from bext_otel.operation import count, gauge, measure

things = metrics.get_meter("shop").create_counter("shop.things")
stalls = metrics.get_meter("shop").create_histogram("shop.stalls", unit="ms")


def work() -> dict[str, int]:
    """Three hits, a miss, a render of 4 ms, two calls of a plugin (10 and 20 us), two things of the
    application's own."""
    count(CACHE_HITS, app="shop", layer="isr", by=3)
    count(CACHE_MISSES, app="shop", layer="fragment")
    gauge(CACHE_ENTRIES, 7, app="shop", layer="isr")
    gauge(CACHE_BYTES, 1000, app="shop", layer="isr")
    gauge(ISOLATE_COUNT, 2, app="shop")
    gauge(ISOLATE_MEMORY, 8 * 2**20, app="shop")
    measure(ISOLATE_RENDER_DURATION, 4.0, app="shop")
    measure(PLUGIN_DURATION, 10.0, plugin="analytics", hook="on_request")
    measure(PLUGIN_DURATION, 20.0, plugin="analytics", hook="on_response")
    things.add(2, {"kind": "tea"})
    stalls.record(3.0)
    return {"pid": os.getpid()}


def nested() -> dict[str, object]:
    """Run a script that counts for itself: not ours to count."""
    script = Path(__file__).parent / "nested_job.py"
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    return {
        "pid": os.getpid(),
        "exit": done.returncode,
        "said": done.stdout.strip(),
        "error": done.stderr[-500:],
    }
