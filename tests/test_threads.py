"""Where no thread can be started, whoever asks is told no."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from bext_otel import threads
from bext_otel.testing import Clock
from tests.e2e.otlp import receiving
from tests.fresh import fresh

# In a process of its own: from here on, the system gives no more threads. As a user's `RLIMIT_NPROC` does,
# which binds no root.
NO_MORE = """
import _thread, threading
def refuse(*args, **kwargs):
    raise RuntimeError("can't start new thread")
_thread.start_new_thread = refuse
for name in ("_start_new_thread", "_start_joinable_thread"):
    if hasattr(threading, name):
        setattr(threading, name, refuse)
"""
WORK = """
import logging, time
import bext_otel
from bext_otel.catalogue import RENDER
runs = bext_otel.configure()
for _ in range(10):
    with bext_otel.operation(RENDER, app="shop"):
        logging.getLogger("shop").warning("rendering")
    time.sleep(0.02)
"""


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of threads that were refused."""
    names: list[str] = []

    def refuse(thread: threading.Thread) -> None:
        names.append(thread.name)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(threads, "_gate", threads.RetryGate())
    monkeypatch.setattr(threads, "_told", False)
    return names


def test_a_thread_runs() -> None:
    done = threading.Event()
    thread = threads.start(done.set, name="bext-otel-test")
    assert thread is not None
    assert done.wait(10)
    thread.join()
    assert threads.has_room_for(3)


def test_a_refusal_is_one_line_and_is_not_asked_for_again_at_once(
    refused: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert threads.start(lambda: None, name="bext-otel-test") is None
    assert not threads.has_room_for(1)
    assert ["bext-otel-test"] == refused
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "no thread can be started (can't start new thread)" in line


def test_a_gate_opens_again() -> None:
    clock = Clock(0.0)
    gate = threads.RetryGate(10.0, clock=clock)
    assert gate.is_open
    gate.close()
    clock.advance(9.9)
    assert not gate.is_open
    clock.advance(0.1)
    assert gate.is_open


def test_a_process_without_threads_works_and_delivers(tmp_path: Path) -> None:
    with receiving() as received:
        shown, lines = fresh(
            NO_MORE
            + WORK
            + 'show([runs.endpoints.reply("GET", "/health/ready", "", {}, trusted=True).status, '
            "threading.active_count()])",
            tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
        )
        assert [200, 1] == shown
        assert 1 == len([line for line in lines if "no thread can be started" in line["message"]])
        assert (10, 10) == (len(received.spans()), len(received.lines("rendering")))
        assert received.metrics("bext_isolate_render_duration_ms")


def test_metrics_go_out_on_the_way_of_work(tmp_path: Path) -> None:
    """Before the end, that is."""
    with receiving() as received:
        fresh(
            NO_MORE + WORK + "import os, sys\nshow(1)\nsys.stdout.flush()\nos._exit(0)",
            tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
            OTEL_METRIC_EXPORT_INTERVAL="50",
            OTEL_BSP_SCHEDULE_DELAY="50",
            BEXT_METRICS_TICK_SECONDS="0.05",
        )
        assert received.metrics("bext_isolate_render_duration_ms")
        assert received.spans()


def test_grpc_which_would_abort_the_process_is_left_out(tmp_path: Path) -> None:
    shown, lines = fresh(
        NO_MORE + WORK + 'import sys\nshow("grpc" in sys.modules)',
        tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_BSP_SCHEDULE_DELAY="10",
    )
    assert not shown
    assert any("gRPC needs threads" in line["message"] for line in lines)
