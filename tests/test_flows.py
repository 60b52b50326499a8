"""Flows of one's own engine: counted runs, traced steps, one trace over restarts."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

import bext_otel
from bext_otel import runs
from bext_otel.catalogue import FLOW_ACTIVE_RUNS, FLOW_COMPLETED, FLOW_FAILED, FLOW_STEP_DURATION
from bext_otel.flows import Run, current_run, flow, step
from tests.e2e.launching import environment, free_port
from tests.e2e.otlp import receiving
from tests.fresh import fresh
from tests.instrumentors.conftest import Telemetry, telemetry, use_telemetry  # noqa: F401  # fixtures
from tests.waiting import until


def named(telemetry: Telemetry, name: str) -> ReadableSpan:
    (found,) = [span for span in telemetry.spans() if span.name == name]
    return found


def ids(span: ReadableSpan) -> tuple[int, int, int | None]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id, span.parent.span_id if span.parent else None


def outcomes(telemetry: Telemetry) -> tuple[int, int, int]:
    """Runs active, completed and failed."""
    counted = [
        telemetry.counts(metric).get((), 0) for metric in (FLOW_ACTIVE_RUNS, FLOW_COMPLETED, FLOW_FAILED)
    ]
    return counted[0], counted[1], counted[2]


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    before = runs._active
    yield
    assert before == runs._active


def test_they_are_offered_at_the_front_door() -> None:
    assert (flow, step) == (bext_otel.flow, bext_otel.step)


def test_a_run_is_active_until_it_has_completed_and_each_step_is_a_span(telemetry: Telemetry) -> None:
    with flow("checkout") as run:
        with run.step("reserve") as op:
            op.set(cache="miss")
            assert (1, 0, 0) == outcomes(telemetry)
        with run.step("charge", attempt=2):
            pass
    assert (0, 1, 0) == outcomes(telemetry)
    assert {("checkout",): 2} == telemetry.counts(FLOW_STEP_DURATION)
    top, reserve, charge = (
        named(telemetry, name)
        for name in ("bext.flow checkout", "bext.flow.step reserve", "bext.flow.step charge")
    )
    assert [ids(top)[1]] * 2 == [ids(reserve)[2], ids(charge)[2]]
    assert {"bext.flow_name": "checkout", "bext.step": "reserve", "bext.cache": "miss"} == dict(
        reserve.attributes or {}
    )
    assert 2 == (charge.attributes or {})["bext.attempt"]
    assert [(), ()] == [reserve.links, charge.links]


def test_a_run_is_a_child_of_what_began_it_and_spans_inside_are_children_of_its_steps(
    telemetry: Telemetry,
) -> None:
    tracer = telemetry.tracer_provider.get_tracer("app")
    with (
        tracer.start_as_current_span("request"),
        flow("checkout") as run,
        run.step("reserve"),
        tracer.start_as_current_span("query"),
    ):
        pass
    assert ids(named(telemetry, "request"))[1] == ids(named(telemetry, "bext.flow checkout"))[2]
    assert ids(named(telemetry, "bext.flow.step reserve"))[1] == ids(named(telemetry, "query"))[2]
    assert 1 == len({ids(span)[0] for span in telemetry.spans()})


def test_a_run_that_raises_failed_once_and_the_caller_gets_it(telemetry: Telemetry) -> None:
    raised = LookupError("gone")
    with pytest.raises(LookupError) as caught, flow("checkout") as run, run.step("reserve"):
        raise raised
    assert raised is caught.value
    assert (0, 0, 1) == outcomes(telemetry)
    span = named(telemetry, "bext.flow.step reserve")
    assert (StatusCode.ERROR, "LookupError") == (
        span.status.status_code,
        (span.attributes or {})["error.type"],
    )
    (record,) = [data.log_record for data in telemetry._records.get_finished_logs()]
    assert ("ERROR", "flow failed", {"flow_name": "checkout", "error_type": "LookupError"}) == (
        record.severity_text,
        record.body,
        dict(record.attributes or {}),
    )
    assert ids(span)[0] == record.trace_id


def test_a_step_that_failed_may_be_tried_again(telemetry: Telemetry) -> None:
    with flow("checkout") as run:
        for attempt in (1, 2, 3):
            try:
                with run.step("charge", attempt=attempt):
                    assert attempt == 3
            except AssertionError:
                continue
    assert (0, 1, 0) == outcomes(telemetry)
    assert {("checkout",): 3} == telemetry.counts(FLOW_STEP_DURATION)


def test_a_run_that_waits_has_not_ended(telemetry: Telemetry) -> None:
    with flow("checkout") as run:
        run.suspended()
    assert (0, 0, 0) == outcomes(telemetry)
    with flow("checkout", resume=run.carrier):
        pass
    assert (0, 1, 0) == outcomes(telemetry)


def test_a_resumed_run_is_in_the_same_trace_with_a_link_to_the_step_before(telemetry: Telemetry) -> None:
    with flow("checkout") as run:
        with run.step("reserve"):
            pass
        carrier = run.carrier
        run.suspended()
    with (
        telemetry.tracer_provider.get_tracer("app").start_as_current_span("recovery"),
        flow("checkout", resume=carrier) as again,
    ):
        with again.step("charge"):
            pass
        with again.step("ship"):
            pass
    first, second = (span for span in telemetry.spans() if span.name == "bext.flow checkout")
    reserve, charge, ship = (
        named(telemetry, f"bext.flow.step {name}") for name in ("reserve", "charge", "ship")
    )
    assert 1 == len({ids(span)[0] for span in (first, second, reserve, charge, ship)})
    assert (ids(first)[1], ids(second)[1]) == (ids(second)[2], ids(charge)[2])
    assert [[ids(reserve)[1], ids(named(telemetry, "recovery"))[1]], [ids(reserve)[1]], []] == [
        [link.context.span_id for link in span.links] for span in (second, charge, ship)
    ]
    assert True is (second.attributes or {})["bext.resumed"]
    assert len(carrier) <= 72


@pytest.mark.parametrize(
    "carrier",
    [
        None,
        "",
        "nonsense",
        "00-" + "0" * 32 + "-" + "0" * 16 + "-01",
        "ff-" + "1" * 32 + "-" + "1" * 16 + "-01",
    ],
)
def test_what_is_no_carrier_begins_a_new_trace(telemetry: Telemetry, carrier: str | None) -> None:
    with flow("checkout", resume=carrier) as run:
        assert run.carrier.startswith("00-")
    assert None is ids(named(telemetry, "bext.flow checkout"))[2]


@given(st.text())
def test_no_text_is_too_odd_to_be_a_carrier(text: str) -> None:
    with flow("checkout", resume=text) as run:
        assert isinstance(run.carrier, str)


def test_decorated_functions_are_flows_and_steps_and_stay_what_they_were(telemetry: Telemetry) -> None:
    @step
    def reserve(amount: int) -> int:
        """Set something aside."""
        return amount + 1

    @step("pay")
    async def charge(amount: int) -> int:
        await asyncio.sleep(0)
        return amount * 2

    @flow("checkout")
    async def checkout(amount: int) -> tuple[int, str]:
        run = current_run()
        assert run is not None
        return await charge(reserve(amount)), run.name

    @flow
    def tidy() -> None:
        pass

    assert (6, "checkout") == asyncio.run(checkout(2))
    assert ("reserve", "Set something aside.") == (reserve.__name__, reserve.__doc__)
    tidy()
    assert (0, 2, 0) == outcomes(telemetry)
    assert ["bext.flow checkout", "bext.flow.step reserve", "bext.flow.step pay", "bext.flow tidy"] == [
        span.name for span in telemetry.spans()
    ]
    assert None is current_run()


def test_an_async_body_is_a_body(telemetry: Telemetry) -> None:
    async def main() -> None:
        async with flow("checkout") as run:

            async def one(number: int) -> None:
                async with run.step(f"part {number}"):
                    await asyncio.sleep(0)

            await asyncio.gather(one(1), one(2))

    asyncio.run(main())
    top = ids(named(telemetry, "bext.flow checkout"))[1]
    assert [top, top] == [ids(named(telemetry, f"bext.flow.step part {number}"))[2] for number in (1, 2)]
    assert (0, 1, 0) == outcomes(telemetry)


def test_a_step_in_a_thread_belongs_to_the_run(telemetry: Telemetry) -> None:
    with flow("checkout") as run:

        def work() -> None:
            with run.step("mail"):
                pass

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert ids(named(telemetry, "bext.flow checkout"))[1] == ids(named(telemetry, "bext.flow.step mail"))[2]


def test_a_step_outside_of_any_run_is_measured_too(telemetry: Telemetry) -> None:
    with step("reserve"):
        pass
    assert {("unknown",): 1} == telemetry.counts(FLOW_STEP_DURATION)


def test_a_flow_inside_a_step_is_a_run_of_its_own(telemetry: Telemetry) -> None:
    with flow("outer") as outer, outer.step("begin"), flow("inner") as inner, inner.step("work"):
        assert (2, 0, 0) == outcomes(telemetry)
    assert (0, 2, 0) == outcomes(telemetry)
    assert ids(named(telemetry, "bext.flow.step begin"))[1] == ids(named(telemetry, "bext.flow inner"))[2]


def test_a_generator_is_refused_since_its_caller_decides_when_it_goes_on() -> None:
    with pytest.raises(TypeError, match="many is a generator"):

        @flow
        def many() -> Iterator[int]:
            yield 1


def test_without_telemetry_the_carrier_of_others_is_kept() -> None:
    carrier = f"00-{'1' * 32}-{'2' * 16}-01;{'3' * 16}"
    code = (
        "import sys\nfrom bext_otel import flow\n"
        "with flow('checkout') as run:\n    with run.step('x'): pass\n    assert '' == run.carrier, "
        "run.carrier\n"
        f"with flow('checkout', resume='{carrier}') as run:\n    print(run.carrier)\n"
        "assert 'opentelemetry.sdk' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert carrier == done.stdout.strip()


def test_what_else_is_active_counts_until_it_is_taken_back(telemetry: Telemetry) -> None:
    forget = runs.also_active(lambda: 3)
    with flow("checkout"):
        assert (4, 0, 0) == outcomes(telemetry)
    forget()
    forget()
    assert (0, 1, 0) == outcomes(telemetry)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_runs_of_the_parent_are_not_the_childs() -> None:
    """Neither are they counted twice, nor does one that the child leaves count as less than nothing."""
    code = (
        "import os\nfrom bext_otel import flow, runs\n"
        "with flow('checkout'):\n"
        "    child = os.fork()\n"
        "    if not child: assert runs._active == 0\n"
        "assert runs._active == 0\n"
        "if child: raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    assert 0 == subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode


ENGINE = """
import sys, pathlib, threading, bext_otel
from bext_otel import flow
bext_otel.configure()
state = pathlib.Path(sys.argv[1])
done, _, carrier = (state.read_text() if state.exists() else "0 ").partition(" ")
with flow("checkout", resume=carrier) as run:
    for number in range(int(done), 3):
        if number == 1 and not carrier:
            print("in the middle", flush=True)
            threading.Event().wait()
        with run.step(f"step {number}"):
            pass
        state.write_text(f"{number + 1} {run.carrier}")
"""


def test_an_engine_killed_in_the_middle_goes_on_in_the_same_trace(tmp_path: Path) -> None:
    with receiving() as receiver:
        env = environment(
            tmp_path,
            free_port(),
            {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"},
        )
        command: list[Any] = [sys.executable, "-c", ENGINE, str(tmp_path / "state")]
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert b"in the middle\n" == process.stdout.readline()
            before = receiver.span(name="bext.flow.step step 0")
            process.send_signal(signal.SIGKILL)
        subprocess.run(command, env=env, timeout=60, check=True, stdout=subprocess.DEVNULL)
        after = receiver.span(name="bext.flow.step step 1")
        until(lambda: len(receiver.spans(name="bext.flow checkout")) == 2)
        known = {span.span_id for span in receiver.spans()}
        assert before.trace_id == after.trace_id
        assert {""} == {span.parent_id for span in receiver.spans()} - known, "a span misses its parent"
        links = [
            link.span_id.hex()
            for message in receiver.messages
            for resource in getattr(message, "resource_spans", ())
            for scope in resource.scope_spans
            for span in scope.spans
            for link in span.links
            if span.name == "bext.flow.step step 1"
        ]
        assert [before.span_id] == links


def test_a_run_knows_its_context(telemetry: Telemetry) -> None:
    with flow("checkout") as run:
        assert run is current_run()
        assert isinstance(run, Run)


def test_flows_and_steps_are_counted_by_name_where_the_operator_wants_that(tmp_path: Path) -> None:
    code = """
    import bext_otel
    runs = bext_otel.configure()

    for amount in (1, 2, 0):
        try:
            with bext_otel.flow("checkout") as run, run.step("charge"):
                1 / amount
        except ZeroDivisionError:
            pass
    page = runs.endpoints.reply("GET", "/metrics", "", {}, trusted=True).body.decode()
    show(sorted(line for line in page.splitlines() if line.startswith(("bext_flow_runs", "bext_flow_steps"))))
    """
    shown, _ = fresh(code, tmp_path, BEXT_METRICS_FLOW_NAMES="true")
    assert [
        'bext_flow_runs_total{flow_name="checkout",status="failed"} 1',
        'bext_flow_runs_total{flow_name="checkout",status="success"} 2',
        'bext_flow_steps_total{flow_name="checkout",step="charge",status="failed"} 1',
        'bext_flow_steps_total{flow_name="checkout",step="charge",status="success"} 2',
    ] == shown
    assert [] == fresh(code, tmp_path)[0]
