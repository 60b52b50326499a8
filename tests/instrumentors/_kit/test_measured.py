"""Work around a call of a library: an operation that the call never notices."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.instrumentation.utils import suppress_instrumentation

from bext_otel.catalogue import PLUGIN_DURATION, PLUGIN_ERRORS, PLUGIN_HOOK
from bext_otel_instrumentors._kit import measured as _measured
from bext_otel_instrumentors._kit.measured import Measured
from bext_otel_instrumentors.plugins.calls import PluginCall
from tests.instrumentors.conftest import Telemetry


def broken(*args: Any, **kwargs: Any) -> Any:
    raise LookupError("telemetry is broken")


@pytest.mark.parametrize("part", ["start", "finish", "is_instrumentation_enabled"])
def test_a_failure_of_ours_is_no_failure_of_the_call(
    part: str, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_measured, part, broken)
    before = trace.get_current_span()
    with Measured(PLUGIN_HOOK, plugin="p", hook="h"):
        called = True
    assert called
    assert before is trace.get_current_span()


@pytest.mark.parametrize("part", ["failure", "settle", "tell"])
def test_nor_is_one_of_a_subclass(part: str, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PluginCall, part, broken)
    before = trace.get_current_span()
    with pytest.raises(KeyError, match="the call's own"), PluginCall("p", "h"):
        raise KeyError("the call's own")
    assert before is trace.get_current_span()


def test_a_suppressed_call_is_not_measured(telemetry: Telemetry) -> None:
    with suppress_instrumentation(), PluginCall("p", "h"):
        pass
    assert {} == telemetry.counts(PLUGIN_DURATION)
    assert [] == telemetry.spans()


def test_the_span_is_current_but_not_in_a_pause(telemetry: Telemetry) -> None:
    outside = trace.get_current_span()
    call = PluginCall("p", "h")
    with call:
        assert call.operation is not None
        inside = call.operation.span
        assert inside is trace.get_current_span()
        call.pause()
        assert outside is trace.get_current_span()
        call.resume()
        assert inside is trace.get_current_span()
    assert outside is trace.get_current_span()


def test_a_call_ends_once(telemetry: Telemetry) -> None:
    call = PluginCall("p", "h")
    with call:
        call.end(LookupError())
    call.end()
    assert {("p", "h"): 1} == telemetry.counts(PLUGIN_DURATION) == telemetry.counts(PLUGIN_ERRORS)


def test_a_call_is_told_at_debug_and_its_fuel_at_trace(telemetry: Telemetry) -> None:
    with PluginCall("p", "h") as _:
        pass
    call = PluginCall("p", "h")
    with call:
        call.fuel = 7
    told = [data.log_record for data in telemetry._records.get_finished_logs()]
    debug, trace_ = (
        ("plugin called", SeverityNumber.DEBUG, None),
        ("plugin fuel consumed", SeverityNumber.TRACE, 7),
    )
    assert [debug, debug, trace_] == [
        (log.body, log.severity_number, (log.attributes or {}).get("fuel")) for log in told
    ]
    assert [span.context.span_id for span in telemetry.spans()] == [told[0].span_id, told[1].span_id]
