"""DBOS on SQLite: durable workflows are runs, also of a process that goes on with what another one began."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dbos import DBOS, DBOSConfig, SetWorkflowAttributes, SetWorkflowID, WorkflowStatus
from dbos._sys_db import SystemDatabase
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.instrumentation.utils import is_instrumentation_enabled, suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from bext_otel import runs
from bext_otel.catalogue import FLOW_ACTIVE_RUNS, FLOW_COMPLETED, FLOW_FAILED, FLOW_STEP_DURATION
from bext_otel_instrumentors.dbos.instrumentor import DBOSInstrumentor
from tests.e2e.launching import APPS, SCRIPTS, environment, free_port
from tests.e2e.otlp import Receiver, receiving
from tests.instrumentors.conftest import Telemetry
from tests.waiting import until

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning",
        "ignore::ResourceWarning",
        "ignore::pytest.PytestUnraisableExceptionWarning",
    ),
    # It takes for granted that a Python of this age has a SQLite of its age.
    pytest.mark.skipif(
        sys.version_info >= (3, 12) and sqlite3.sqlite_version_info < (3, 42),
        reason="DBOS needs SQLite 3.42 from Python 3.12 on",
    ),
]

FLOW, STEP = "bext.flow ", "bext.flow.step "


class Shop:
    """Workflows, registered anew with a DBOS of its own."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        config: DBOSConfig = {
            "name": "shop",
            "system_database_url": f"sqlite:///{folder / 'dbos.sqlite'}",
            "run_admin_server": False,
            **settings,  # type: ignore[typeddict-item]
        }
        DBOS.destroy(destroy_registry=True)
        DBOS(config=config)
        self.tried = 0
        self.active: list[int] = []

        @DBOS.step(name="reserve")
        def reserve(amount: int) -> int:
            self.active.append(runs._active)
            return amount + 1

        @DBOS.step(name="flaky", retries_allowed=True, max_attempts=3, interval_seconds=0.01)
        def flaky() -> int:
            self.tried += 1
            if self.tried < 3:
                raise LookupError("not yet")
            return self.tried

        @DBOS.step(name="charge")
        async def charge(amount: int) -> int:
            await asyncio.sleep(0)
            return amount * 2

        @DBOS.workflow(name="checkout")
        def checkout(amount: int) -> int:
            return reserve(reserve(amount))

        @DBOS.workflow(name="patient")
        def patient() -> int:
            return flaky()

        @DBOS.workflow(name="broken")
        def broken() -> None:
            reserve(1)
            raise LookupError("gone")

        @DBOS.workflow(name="parent")
        def parent() -> int:
            return reserve(checkout(1))

        @DBOS.workflow(name="asynchronous")
        async def asynchronous(amount: int) -> int:
            return await charge(await charge(amount))

        self.checkout, self.patient, self.broken, self.parent, self.asynchronous = (
            checkout,
            patient,
            broken,
            parent,
            asynchronous,
        )
        DBOS.launch()
        self.queue = DBOS.register_queue("work", polling_interval_sec=0.05)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    yield Shop(tmp_path)
    DBOS.destroy(destroy_registry=True)


@pytest.fixture
def instrumented(telemetry: Telemetry) -> Iterator[Telemetry]:
    DBOSInstrumentor().instrument()
    yield telemetry
    DBOSInstrumentor().uninstrument()
    assert 0 == runs._active


def named(telemetry: Telemetry, name: str) -> list[ReadableSpan]:
    return [span for span in telemetry.spans() if span.name == name]


def attribute(span: ReadableSpan, name: str) -> Any:
    return (span.attributes or {}).get(name)


def outcomes(telemetry: Telemetry) -> tuple[int, int]:
    return telemetry.counts(FLOW_COMPLETED).get((), 0), telemetry.counts(FLOW_FAILED).get((), 0)


def whole(telemetry: Telemetry) -> None:
    """One trace, in which nobody misses a parent."""
    known = {span.context.span_id for span in telemetry.spans() if span.context}
    assert 1 == len({span.context.trace_id for span in telemetry.spans() if span.context})
    assert 1 == len([span for span in telemetry.spans() if span.parent is None])
    assert {span.parent.span_id for span in telemetry.spans() if span.parent} <= known


def test_a_workflow_is_a_run_with_its_steps_in_the_callers_trace(instrumented: Telemetry, shop: Shop) -> None:
    with instrumented.tracer_provider.get_tracer("app").start_as_current_span("request"):
        assert 3 == shop.checkout(1)
    whole(instrumented)
    assert [f"{FLOW}checkout", f"{STEP}reserve", f"{STEP}reserve", "request"] == [
        span.name for span in instrumented.spans()
    ]
    assert (1, 0) == outcomes(instrumented)
    assert {("checkout",): 2} == instrumented.counts(FLOW_STEP_DURATION)
    assert [1, 1] == shop.active
    assert {(): 0} == instrumented.counts(FLOW_ACTIVE_RUNS)


@pytest.mark.parametrize("how", ["started", "enqueued"])
def test_a_workflow_in_the_background_is_in_the_callers_trace(
    instrumented: Telemetry, shop: Shop, how: str
) -> None:
    with instrumented.tracer_provider.get_tracer("app").start_as_current_span("request"):
        handle = (
            DBOS.start_workflow(shop.checkout, 1)
            if how == "started"
            else shop.queue.enqueue(shop.checkout, 1)
        )
    assert 3 == handle.get_result()
    until(lambda: runs._active == 0)
    whole(instrumented)
    assert (1, 0) == outcomes(instrumented)
    assert 2 == len(named(instrumented, f"{STEP}reserve"))
    assert {None} == {attribute(span, "bext.resumed") for span in instrumented.spans()}


def test_an_asynchronous_workflow_is_a_run(instrumented: Telemetry, shop: Shop) -> None:
    assert 8 == asyncio.run(shop.asynchronous(2))
    whole(instrumented)
    assert (1, 0) == outcomes(instrumented)
    assert {("asynchronous",): 2} == instrumented.counts(FLOW_STEP_DURATION)


def test_each_attempt_is_a_step(instrumented: Telemetry, shop: Shop) -> None:
    assert 3 == shop.patient()
    attempts = named(instrumented, f"{STEP}flaky")
    assert [(None, StatusCode.ERROR), (2, StatusCode.ERROR), (3, StatusCode.UNSET)] == [
        (attribute(span, "bext.attempt"), span.status.status_code) for span in attempts
    ]
    assert (1, 0) == outcomes(instrumented)


def test_a_workflow_that_raises_failed_with_a_log_entry(instrumented: Telemetry, shop: Shop) -> None:
    with pytest.raises(LookupError, match="gone"):
        shop.broken()
    assert (0, 1) == outcomes(instrumented)
    (record,) = [data.log_record for data in instrumented._records.get_finished_logs()]
    assert ("ERROR", "flow failed", {"flow_name": "broken", "error_type": "LookupError"}) == (
        record.severity_text,
        record.body,
        dict(record.attributes or {}),
    )


def test_a_workflow_inside_another_is_a_run_of_its_own_in_its_trace(
    instrumented: Telemetry, shop: Shop
) -> None:
    assert 4 == shop.parent()
    whole(instrumented)
    assert (2, 0) == outcomes(instrumented)
    assert {("parent",): 1, ("checkout",): 2} == instrumented.counts(FLOW_STEP_DURATION)


def test_a_workflow_that_is_done_is_not_done_again(instrumented: Telemetry, shop: Shop) -> None:
    for _ in range(2):
        with SetWorkflowID("once"):
            assert 3 == shop.checkout(1)
    assert (1, 0) == outcomes(instrumented)
    assert {("checkout",): 2} == instrumented.counts(FLOW_STEP_DURATION)


def test_dbos_makes_its_own_spans_if_it_is_told_to_and_ours_are_not_beside_them(
    instrumented: Telemetry, tmp_path: Path
) -> None:
    shop = Shop(tmp_path, enable_otlp=True)
    try:
        with instrumented.tracer_provider.get_tracer("app").start_as_current_span("request"):
            assert 3 == DBOS.start_workflow(shop.checkout, 1).get_result()
        until(lambda: runs._active == 0)
    finally:
        DBOS.destroy(destroy_registry=True)
    whole(instrumented)
    assert ["checkout", "reserve", "reserve"] == sorted(
        span.name for span in instrumented.spans() if not span.name.startswith((FLOW, "request"))
    )
    assert (1, 0) == outcomes(instrumented)
    assert {("checkout",): 2} == instrumented.counts(FLOW_STEP_DURATION)


@pytest.fixture
def database(instrumented: Telemetry) -> Iterator[Telemetry]:
    """With upstream's instrumentation of the database that DBOS has."""
    SQLite3Instrumentor().instrument(tracer_provider=instrumented.tracer_provider)
    yield instrumented
    SQLite3Instrumentor().uninstrument()


# What DBOS's threads ask the database for, one each: the queues' manager, each queue's own, that of timers,
# and the scheduler.
_ASKED = ("list_queues", "start_queued_workflows", "transition_delayed_workflows", "list_schedules")


def test_dbos_makes_no_spans_while_it_is_idle(
    database: Telemetry, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    suppressed: dict[str, list[bool]] = {name: [] for name in _ASKED}

    def noting(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            suppressed[name].append(not is_instrumentation_enabled())
            return original(*args, **kwargs)

        return noted

    for name in _ASKED:
        monkeypatch.setattr(SystemDatabase, name, noting(name, getattr(SystemDatabase, name)))
    database.clear()
    until(
        lambda: all(len(found) > 1 for found in suppressed.values()),
        why=f"each to be asked twice: {suppressed}",
    )
    assert [] == [span.name for span in database.spans()]
    assert {True} == {one for found in suppressed.values() for one in found}


@pytest.mark.parametrize("name", ["checkout", "asynchronous"])
def test_what_dbos_s_threads_start_makes_spans_down_to_the_database(
    database: Telemetry, shop: Shop, name: str
) -> None:
    database.clear()
    with database.tracer_provider.get_tracer("app").start_as_current_span("request"):
        handle = shop.queue.enqueue(getattr(shop, name), 2)
    with suppress_instrumentation():  # it asks the database again and again
        handle.get_result()
    until(lambda: runs._active == 0)
    whole(database)
    assert (1, 0) == outcomes(database)
    assert 2 == len([span for span in database.spans() if span.name.startswith(STEP)])
    run = {span.context.span_id for span in named(database, FLOW + name) if span.context}
    queries = [span for span in database.spans() if attribute(span, "db.system") == "sqlite"]
    assert run & {span.parent.span_id for span in queries if span.parent}, "what DBOS writes down of the run"


def behaviour(folder: Path) -> list[str]:
    """What an application sees of DBOS: results, errors, what is kept of workflows and steps."""
    folder.mkdir()
    shop, seen = Shop(folder), []
    try:
        with SetWorkflowAttributes({"tenant": "a"}), SetWorkflowID("one"):
            seen.append(shop.checkout(1))
        with SetWorkflowID("two"):
            seen.append(DBOS.start_workflow(shop.parent).get_result())
        seen.append(asyncio.run(shop.asynchronous(3)))
        seen.append(shop.queue.enqueue(shop.checkout, 5).get_result())
        seen.append(shop.patient())
        for call in (shop.broken, lambda: shop.checkout("x")):  # type: ignore[arg-type]
            try:
                call()
            except Exception as error:
                seen.append(repr(error))
        kept: list[WorkflowStatus] = sorted(
            DBOS.list_workflows(), key=lambda status: (status.name, str(status.input))
        )
        seen += [
            (status.name, status.status, status.attributes, status.output, repr(status.error))
            for status in kept
        ]
        seen += [
            [(step["function_name"], step["output"]) for step in DBOS.list_workflow_steps(identifier)]
            for identifier in ("one", "two")
        ]
        status = DBOS.get_workflow_status("two")
        seen.append(status is not None and status.attributes)
    finally:
        DBOS.destroy(destroy_registry=True)
    return [repr(event) for event in seen]


def test_dbos_behaves_as_it_does_without_us(telemetry: Telemetry, tmp_path: Path) -> None:
    plain = behaviour(tmp_path / "plain")
    DBOSInstrumentor().instrument()
    try:
        assert plain == behaviour(tmp_path / "watched")
    finally:
        DBOSInstrumentor().uninstrument()
    telemetry.clear()
    assert plain == behaviour(tmp_path / "plain again")
    assert [] == telemetry.spans()


def launch(folder: Path, receiver: Receiver, *arguments: str) -> subprocess.Popen[bytes]:
    given = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_METRIC_EXPORT_INTERVAL": "300",
    }
    command = [
        str(Path(SCRIPTS) / "opentelemetry-instrument"),
        sys.executable,
        str(APPS / "dbos_app.py"),
        *arguments,
    ]
    return subprocess.Popen(
        command, cwd=folder, env=environment(folder, free_port(), given), stdout=subprocess.PIPE
    )


def links(receiver: Receiver, name: str) -> list[str]:
    return [
        link.span_id.hex()
        for message in receiver.messages
        for resource in getattr(message, "resource_spans", ())
        for scope in resource.scope_spans
        for span in scope.spans
        for link in span.links
        if span.name == name
    ]


@pytest.mark.e2e
@pytest.mark.parametrize("own_spans", [False, True])
def test_a_workflow_whose_process_is_killed_goes_on_in_the_same_trace(
    tmp_path: Path, own_spans: bool
) -> None:
    """Recovery at the next start: steps that were done are neither done nor told again, the next one links to
    the last of them."""
    options = ("--otlp",) if own_spans else ()
    prefix = "" if own_spans else STEP
    (tmp_path / "hang").touch()
    with receiving() as receiver:
        with launch(tmp_path, receiver, "begin", *options) as process:
            assert process.stdout is not None
            until(lambda: b"in the middle" in process.stdout.readline())  # type: ignore[union-attr]
            before = receiver.span(name=f"{prefix}reserve")
            process.send_signal(signal.SIGKILL)
        (tmp_path / "hang").unlink()
        with launch(tmp_path, receiver, "recover", *options) as process:
            assert process.stdout is not None
            assert b"reserved charged shipped" in process.stdout.read()
            assert 0 == process.wait(30)
        assert "reserve\ncharge\nship\n" == (tmp_path / "done").read_text()
        after = receiver.span(name=f"{prefix}charge")
        # DBOS also asks its database now and then, in traces of their own.
        told = [
            span
            for span in receiver.spans()
            if span.name.startswith((FLOW, STEP)) or span.name in {"request", "checkout", "reserve"}
        ]
        assert 1 == len({span.trace_id for span in told})
        assert before.trace_id == after.trace_id
        assert [before.span_id] == links(receiver, f"{prefix}charge")
        assert [] == links(receiver, f"{prefix}ship")
        first, again = receiver.spans(name=f"{FLOW}checkout")
        assert (first.span_id, True) == (again.parent_id, again.attributes["bext.resumed"])
        (*_, completed) = receiver.metrics("bext_flow_completed_total")
        assert 1 == completed.sum.data_points[0].as_int
