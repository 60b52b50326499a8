"""Celery workers for real: processes of their own that are launched, killed and replaced, over a broker of
files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bext_otel.catalogue import FLOW_ACTIVE_RUNS, FLOW_COMPLETED, FLOW_FAILED
from bext_otel_instrumentors.celery.instrumentor import CeleryInstrumentor
from tests.e2e.launching import APPS, SCRIPTS, Launched, environment, free_port, launched
from tests.e2e.otlp import Receiver, receiving
from tests.instrumentors.celery.test_instrumentor import STEP, spans, working
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.waiting import until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no prefork here"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]

SOON = {
    "OTEL_BSP_SCHEDULE_DELAY": "50",
    "OTEL_BLRP_SCHEDULE_DELAY": "50",
    "OTEL_METRIC_EXPORT_INTERVAL": "500",
}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@contextmanager
def worker(
    folder: Path, receiver: Receiver, *options: str, env: dict[str, str] | None = None
) -> Iterator[Launched]:
    given = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_SERVICE_NAME": "worker",
        **SOON,
        **(env or {}),
    }
    command = (
        "celery -A celery_app worker --pool prefork --concurrency 2 --loglevel INFO --without-gossip "
        f"--without-mingle {' '.join(options)}"
    )
    with launched(folder, command, env=given) as running:
        until(
            lambda: "ready." in running.output(),
            why=f"the worker to be ready; it wrote\n{running.output()}",
        )
        yield running


def ask(folder: Path, receiver: Receiver, what: str) -> str:
    """Publish from a process of its own, launched as applications are."""
    given = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_SERVICE_NAME": "publisher", **SOON}
    command = [
        str(Path(SCRIPTS) / "opentelemetry-instrument"),
        sys.executable,
        str(APPS / "celery_app.py"),
        what,
    ]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder, free_port(), given),
        capture_output=True,
        timeout=90,
        check=False,
    )
    assert 0 == done.returncode, done.stderr.decode()
    return done.stdout.decode()


def ended(running: Launched, completed: int, failed: int = 0) -> None:
    """What the whole service shows on /metrics."""

    def shown() -> bool:
        found = running.metrics()
        return (found.get("bext_flow_completed_total", 0), found.get("bext_flow_failed_total", 0)) == (
            completed,
            failed,
        )

    until(shown, why=f"{completed} completed and {failed} failed in {running.metrics()}")


def whole(receiver: Receiver, count: int) -> None:
    """One trace over both services, with that many steps, in which nobody misses a parent."""
    until(
        lambda: len([span for span in receiver.spans() if span.name.startswith(STEP)]) >= count,
        why="all steps",
    )
    request = receiver.span(name="request")
    (trace_id,) = {span.trace_id for span in receiver.spans()}
    assert request.trace_id == trace_id
    assert {"", *(span.span_id for span in receiver.spans())} >= {span.parent_id for span in receiver.spans()}
    assert {"publisher"} == {span.resource["service.name"] for span in receiver.spans() if not span.parent_id}
    assert count == len([span for span in receiver.spans() if span.name.startswith(STEP)])


def test_a_chain_over_worker_processes_is_one_trace_and_one_run(tmp_path: Path, receiver: Receiver) -> None:
    """Upstream's instrumentation is installed too, and makes no second spans."""
    with worker(tmp_path, receiver) as running:
        assert "result 7" in ask(tmp_path, receiver, "chain")
        ended(running, 1)
        whole(receiver, 3)
        assert [*["process celery"] * 3, "request", *["send celery"] * 3] == sorted(
            span.name for span in receiver.spans() if not span.name.startswith(STEP)
        )
        # Each child says within a second what it has counted.
        until(lambda: 3 == running.metrics()['bext_flow_step_duration_ms_count{flow_name="add"}'])
        until(lambda: 0 == running.metrics()["bext_flow_active_runs"])


def test_a_chord_is_one_run(tmp_path: Path, receiver: Receiver) -> None:
    with worker(tmp_path, receiver) as running:
        assert "result 5" in ask(tmp_path, receiver, "chord")
        ended(running, 1)
        whole(receiver, 3)


def test_nothing_is_lost_when_children_are_replaced_and_when_the_worker_ends(
    tmp_path: Path, receiver: Receiver
) -> None:
    """Each child executes five tasks and is replaced: it leaves without running exit handlers."""
    with worker(tmp_path, receiver, "--max-tasks-per-child", "5") as running:
        ask(tmp_path, receiver, "many")
        ended(running, 40)
        running.end()
    until(lambda: len(receiver.spans(name=f"{STEP}add")) >= 40)
    assert 40 == len(receiver.spans(name=f"{STEP}add"))


def test_a_task_that_fails_is_a_failed_run_with_a_log_entry(tmp_path: Path, receiver: Receiver) -> None:
    with worker(tmp_path, receiver) as running:
        ask(tmp_path, receiver, "fail")
        ended(running, 0, 1)
        whole(receiver, 1)
        (line,) = until(lambda: receiver.lines("flow failed"))
        assert {"flow_name": "fail", "error_type": "LookupError"}.items() <= line.attributes.items()
        assert receiver.span(name="request").trace_id == line.trace_id


def test_lines_are_told_once_where_celery_logs_what_is_printed(tmp_path: Path, receiver: Receiver) -> None:
    """It replaces stdout and stderr by objects that log, in the main process and again in each child."""
    with worker(tmp_path, receiver) as running:
        ask(tmp_path, receiver, "fail")
        ended(running, 0, 1)
        running.end()
        until(lambda: receiver.lines("flow failed"))
        # Its own handlers would print each record of the worker and of its children.
        (ready,) = (line for line in running.output().splitlines() if " ready." in line)
        assert ready.startswith("{")
        assert 1 == sum("LookupError" in line for line in running.output().splitlines() if "Task " in line)
        assert 1 == len(running.lines(message="flow failed"))
        assert [] == [
            line
            for line in running.output().split("\n")
            if '{"timestamp"' in line and not line.startswith("{")
        ]
    assert [] == [line.body for line in receiver.lines() if line.body.startswith("{")]


@pytest.mark.parametrize(("what", "reason"), [("killed", "WorkerLostError"), ("hang", "TimeLimitExceeded")])
def test_a_task_whose_process_is_killed_is_a_failed_run_in_its_trace(
    tmp_path: Path, receiver: Receiver, what: str, reason: str
) -> None:
    with worker(tmp_path, receiver) as running:
        ask(tmp_path, receiver, what)
        ended(running, 0, 1)
        whole(receiver, 1)
        assert f"billiard.exceptions.{reason}" == receiver.span(name=STEP + what).attributes["error.type"]
        assert "result 7" in ask(tmp_path, receiver, "chain")
        ended(running, 1, 1)
        assert 0 == running.metrics()["bext_flow_active_runs"]


def test_a_flow_that_is_retried_for_ever_is_active_and_each_attempt_a_step(
    tmp_path: Path, receiver: Receiver
) -> None:
    with worker(tmp_path, receiver) as running:
        ask(tmp_path, receiver, "for_ever")
        until(lambda: len(receiver.spans(name=f"{STEP}for_ever")) >= 3)
        seen = [running.metrics()["bext_flow_active_runs"] for _ in range(10)]
        assert 1 == max(seen), (seen, running.holder())
        assert {0} == {
            running.metrics().get(name, 0) for name in ("bext_flow_completed_total", "bext_flow_failed_total")
        }
        assert 1 == len({span.trace_id for span in receiver.spans()})


instrumented = instrumented_by(CeleryInstrumentor)


def test_a_run_is_active_while_it_is_executed_and_while_it_waits_to_be_tried_again(
    instrumented: Telemetry,
) -> None:
    def active() -> int:
        return instrumented.counts(FLOW_ACTIVE_RUNS).get((), 0)

    with working("threads") as shop:
        until(lambda: active() == 0)
        held = shop.hold.delay()
        assert shop.waiting.wait(10)
        assert 1 == active()
        sent = shop.patient.delay()
        until(lambda: len(spans(instrumented, f"{STEP}patient")) == 1)
        until(lambda: active() == 2, why="the run that waits to be active")
        shop.go_on.set()
        assert ("held", "done") == (held.get(timeout=10), sent.get(timeout=20))
        until(
            lambda: (
                [2, 0] == [instrumented.counts(metric).get((), 0) for metric in (FLOW_COMPLETED, FLOW_FAILED)]
            )
        )
        until(lambda: active() == 0)
