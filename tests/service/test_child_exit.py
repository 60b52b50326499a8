"""Workers of gunicorn end when they have run, whatever their class."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from bext_otel.service.child_exit import at_end_of_workers
from tests.e2e.launching import launched
from tests.e2e.otlp import receiving


class Arbiter:
    """As gunicorn's: forks within, and a worker leaves by SystemExit."""

    flushed = threading.Event()

    def spawn_worker(self) -> int:
        pid = os.fork()
        if pid == 0:
            sys.exit(3)
        return pid

    def stop(self, graceful: bool = True) -> bool:
        """Whether somebody flushes beside it, while it waits for the workers."""
        return graceful and self.flushed.wait(10)


def test_the_arbiter_makes_it_while_it_ends_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends that wait in vain, one after the other, would take the deadline twice."""
    arbiter = pytest.importorskip("gunicorn.arbiter")
    monkeypatch.setattr(arbiter, "Arbiter", Arbiter)
    original = Arbiter.stop
    undo = at_end_of_workers(Arbiter.flushed.set)
    assert Arbiter().stop()
    undo()
    assert original is Arbiter.stop


def test_the_call_is_made_in_the_worker_and_not_in_the_arbiter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arbiter = pytest.importorskip("gunicorn.arbiter")
    monkeypatch.setattr(arbiter, "Arbiter", Arbiter)
    original = Arbiter.spawn_worker
    told, prepared = tmp_path / "told", []
    undo = at_end_of_workers(
        lambda: told.write_text(f"{os.getpid()} {prepared}"), before=lambda: prepared.append(1)
    )
    try:
        pid = Arbiter().spawn_worker()
    except SystemExit as left:  # the worker
        os._exit(int(str(left.code)))
    assert 3 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert f"{pid} [1]" == told.read_text()
    undo()
    assert original is Arbiter.spawn_worker


@pytest.mark.parametrize("is_frozen", [False, True])
def test_a_worker_takes_nothing_apart_that_the_arbiter_has_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_frozen: bool
) -> None:
    """And what the application has frozen stays frozen."""
    arbiter = pytest.importorskip("gunicorn.arbiter")
    monkeypatch.setattr(arbiter, "Arbiter", Arbiter)
    told = tmp_path / "told"
    undo = at_end_of_workers(lambda: told.write_text(str(gc.get_freeze_count() > 0)))
    gc.unfreeze()
    if is_frozen:
        gc.freeze()
    try:
        pid = Arbiter().spawn_worker()
    except SystemExit as left:  # the worker
        os._exit(int(str(left.code)))
    assert 3 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert "True" == told.read_text()
    assert is_frozen == (gc.get_freeze_count() > 0)
    gc.unfreeze()
    undo()


@pytest.mark.e2e
@pytest.mark.parametrize("worker", ["sync", "gevent"])
def test_gunicorn_delivers_what_is_queued_and_its_last_lines(tmp_path: Path, worker: str) -> None:
    """Under Python 3.12 too, where no thread can be started once the interpreter ends."""
    if worker == "gevent":
        pytest.importorskip("gevent")
    with receiving() as received:
        later = {
            "OTEL_BSP_SCHEDULE_DELAY": "60000",
            "OTEL_BLRP_SCHEDULE_DELAY": "60000",
            "OTEL_METRIC_EXPORT_INTERVAL": "60000",
        }
        # By a name, which under gevent takes a thread of the system's to look up.
        env = {**later, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint.replace("127.0.0.1", "localhost")}
        command = f"gunicorn -k {worker} -w 1 -b 127.0.0.1:{{port}} flask_app:app"
        with launched(tmp_path, command, env=env) as program:
            assert 0 == program.end(signal.SIGTERM)
            output = program.output()
        assert "new thread" not in output
        assert "not delivered" not in output
        assert received.spans(kind="server")
        assert received.metrics("http.server.request.duration")
        said = [line.body for line in received.lines()]
        assert any("Worker exiting" in text for text in said), said
        assert any("Shutting down: Master" in text for text in said), said
