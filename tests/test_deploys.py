"""A deploy is a span with steps, a duration, an outcome and one log entry."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

import bext_otel
from bext_otel.apps import current_app
from bext_otel.catalogue import DEPLOY_DURATION, DEPLOYS
from bext_otel.deploys import context_of, deploy
from tests.instrumentors.conftest import Telemetry, telemetry, use_telemetry  # noqa: F401  # fixtures


def named(telemetry: Telemetry, name: str) -> ReadableSpan:  # noqa: F811
    (found,) = [span for span in telemetry.spans() if span.name == name]
    return found


def parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def told(telemetry: Telemetry) -> list[tuple[str | None, Any, dict[str, Any]]]:  # noqa: F811
    records = [data.log_record for data in telemetry._records.get_finished_logs()]
    return [(record.severity_text, record.body, dict(record.attributes or {})) for record in records]


def test_it_is_offered_at_the_front_door() -> None:
    assert deploy is bext_otel.deploy


def test_a_deploy_that_ends_well_is_a_success(telemetry: Telemetry) -> None:  # noqa: F811
    with deploy("shop", "1.4.2"):
        assert "shop" == current_app()
    assert {("shop", "success"): 1} == telemetry.counts(DEPLOYS)
    assert {("shop",): 1} == telemetry.counts(DEPLOY_DURATION)
    span = named(telemetry, "bext.deploy")
    assert {"bext.app": "shop", "bext.version": "1.4.2", "bext.status": "success"} == dict(
        span.attributes or {}
    )
    assert StatusCode.UNSET is span.status.status_code
    ((level, body, fields),) = told(telemetry)
    duration = fields.pop("duration_ms")
    assert ("INFO", "deploy completed", {"app": "shop", "version": "1.4.2", "status": "success"}) == (
        level,
        body,
        fields,
    )
    assert duration >= 0


def test_a_deploy_that_raises_failed_and_the_caller_gets_it(telemetry: Telemetry) -> None:  # noqa: F811
    raised = TimeoutError("not up")
    with pytest.raises(TimeoutError) as caught, deploy("shop", "1"):
        raise raised
    assert raised is caught.value
    assert {("shop", "failed"): 1} == telemetry.counts(DEPLOYS)
    assert "TimeoutError" == (named(telemetry, "bext.deploy").attributes or {})["error.type"]
    ((level, body, fields),) = told(telemetry)
    assert ("ERROR", "deploy failed", "TimeoutError") == (level, body, fields["error_type"])


@pytest.mark.parametrize("raises", [True, False])
def test_a_deploy_that_was_rolled_back_is_neither_success_nor_failure(
    telemetry: Telemetry, raises: bool
) -> None:
    try:
        with deploy("shop", "1") as d:
            d.rolled_back("unhealthy")
            if raises:
                raise TimeoutError
    except TimeoutError:
        assert raises
    assert {("shop", "rolled_back"): 1} == telemetry.counts(DEPLOYS)
    span = named(telemetry, "bext.deploy")
    assert ("rolled_back", "TimeoutError" if raises else "unhealthy") == (
        (span.attributes or {})["bext.status"],
        (span.attributes or {})["error.type"],
    )
    assert StatusCode.ERROR is span.status.status_code
    assert [("INFO", "deploy rolled back")] == [(level, body) for level, body, _ in told(telemetry)]


@pytest.mark.parametrize(
    ("code", "status"), [(None, "success"), (0, "success"), (2, "failed"), ("no", "failed")]
)
def test_sys_exit_says_how_a_script_ended(telemetry: Telemetry, code: object, status: str) -> None:  # noqa: F811
    with pytest.raises(SystemExit), deploy("shop", "1"):
        sys.exit(code)  # type: ignore[arg-type]
    assert {("shop", status): 1} == telemetry.counts(DEPLOYS)


def test_steps_are_child_spans_also_inside_each_other_and_in_threads(telemetry: Telemetry) -> None:  # noqa: F811
    with deploy("shop", "1") as d:
        with d.step("migrate"), d.step("backup"):
            pass

        def copy() -> None:
            with d.step("copy"):
                pass

        thread = threading.Thread(target=copy)
        thread.start()
        thread.join()
    top = named(telemetry, "bext.deploy").context
    migrate = named(telemetry, "bext.deploy.step migrate")
    assert top is not None
    assert migrate.context is not None
    assert [top.span_id, migrate.context.span_id, top.span_id] == [
        parent(migrate),
        parent(named(telemetry, "bext.deploy.step backup")),
        parent(named(telemetry, "bext.deploy.step copy")),
    ]
    assert {"bext.step": "migrate", "bext.app": "shop"} == dict(migrate.attributes or {})


def test_a_step_that_fails_does_not_fail_the_deploy_by_itself(telemetry: Telemetry) -> None:  # noqa: F811
    with deploy("shop", "1") as d:
        with pytest.raises(KeyboardInterrupt), d.step("warm up"):
            raise KeyboardInterrupt
    step = named(telemetry, "bext.deploy.step warm up")
    assert (StatusCode.ERROR, "KeyboardInterrupt") == (
        step.status.status_code,
        (step.attributes or {})["error.type"],
    )
    assert {("shop", "success"): 1} == telemetry.counts(DEPLOYS)


def test_a_child_process_can_go_on_with_the_trace(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with deploy("shop", "1") as d, d.step("run") as step:
        variables = d.environment()
    assert (
        f"00-{step.get_span_context().trace_id:032x}-{step.get_span_context().span_id:016x}"
        in variables["TRACEPARENT"]
    )
    monkeypatch.setenv("TRACEPARENT", variables["TRACEPARENT"])
    with deploy("child", "1"):
        pass
    child = [span for span in telemetry.spans() if span.name == "bext.deploy"][-1]
    assert step.get_span_context().span_id == parent(child)


def test_variables_are_named_after_the_headers_of_any_propagator(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        fields = {"x-b3-traceid"}

        def extract(self, carrier: Any, **_: Any) -> Any:
            assert {"x-b3-traceid": "1"} == carrier
            return trace.set_span_in_context(trace.INVALID_SPAN)

    monkeypatch.setattr(propagate, "get_global_textmap", Other)
    monkeypatch.setattr(propagate, "extract", lambda carrier: Other().extract(carrier))
    assert context_of({"X_B3_TRACEID": "1", "TRACEPARENT": "2"})


def test_labels_that_nobody_should_give_are_shown_as_well_as_can_be(telemetry: Telemetry) -> None:  # noqa: F811
    with deploy("", "\ud800") as d, d.step("\0"):
        pass
    assert {("unknown", "success"): 1} == telemetry.counts(DEPLOYS)


def test_without_telemetry_it_does_nothing_and_needs_the_api_only() -> None:
    code = (
        "import sys\nfrom bext_otel import deploy\n"
        "with deploy('shop', '1') as d:\n"
        "    with d.step('x'): pass\n"
        "    assert d.environment().keys() <= {'BAGGAGE'}, d.environment()\n"
        "assert 'opentelemetry.sdk' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
