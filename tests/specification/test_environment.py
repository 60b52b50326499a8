"""The specification's rows on environment variables that no other section shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fresh import fresh
from tests.specification.programs import attributes, running

TELLING = """
import logging
import bext_otel
from opentelemetry import trace
runs = bext_otel.configure()
span = trace.get_tracer("shop").start_span("s", attributes={"odd": object()})
span.end()
span.end()
logging.getLogger("opentelemetry.sdk").error("out of order")
logging.getLogger("shop").warning("sold out")
runs.shutdown()
show(None)
"""


@pytest.mark.specification("Environment Variables", "OTEL_LOG_LEVEL")
@pytest.mark.parametrize(
    ("level", "said"), [("", 4), ("error", 2)], ids=["what is told by itself", "errors alone"]
)
def test_what_telemetry_says_of_itself_has_a_level_of_its_own(tmp_path: Path, level: str, said: int) -> None:
    _, lines = fresh(TELLING, tmp_path, OTEL_LOG_LEVEL=level)
    assert said == len(lines)
    assert {"out of order", "sold out"} <= {line["message"] for line in lines}


BATCHES = """
import time
import bext_otel
from opentelemetry import _logs, trace
runs = bext_otel.configure()
tracer, logger = trace.get_tracer("shop"), _logs.get_logger("shop")
for number in range(7):
    tracer.start_span(f"s{number}").end()
    logger.emit(body=f"r{number}")
# Whole batches go at once, and what is left of them after the delay.
until = time.monotonic() + 10
while sum(delivery.exported for delivery in runs._deliveries) < EXPECTED and time.monotonic() < until:
    time.sleep(0.02)
show(sorted(delivery.exported for delivery in runs._deliveries))
import os
os._exit(0)
"""


@pytest.mark.specification("Environment Variables", "OTEL_BSP_*", "OTEL_BLRP_*")
@pytest.mark.parametrize(("delay", "arrived"), [("100", 7), ("3600000", 6)])
def test_batches_have_the_size_and_leave_at_the_time_that_is_asked_for(
    tmp_path: Path, delay: str, arrived: int
) -> None:
    sizes = {f"OTEL_{kind}_MAX_EXPORT_BATCH_SIZE": "3" for kind in ("BSP", "BLRP")}
    delays = {f"OTEL_{kind}_SCHEDULE_DELAY": delay for kind in ("BSP", "BLRP")}
    program = BATCHES.replace("EXPECTED", str(2 * arrived)).replace("import os\nos._exit(0)\n", LEAVE)
    with running(program, tmp_path, OTEL_METRICS_EXPORTER="none", **sizes, **delays) as run:
        kinds = ("resource_spans", "resource_logs")
        found = [
            len(getattr(scope, "spans", ())) or len(getattr(scope, "log_records", ()))
            for message in run.messages
            for kind in kinds
            for resource in getattr(message, kind, ())
            for scope in getattr(resource, kind.replace("resource", "scope"))
        ]
    assert [arrived, arrived] == run.shown
    assert sorted([3, 3, 1] * 2 if arrived == 7 else [3, 3] * 2) == sorted(found)


# Ends without a last export.
LEAVE = """
import os, sys
sys.stdout.flush()
os._exit(0)
"""

NAMED = """
import io, sys
# Upstream's exporters write to what this was when they were imported.
shown, sys.stdout = sys.stdout, io.StringIO()
import bext_otel
from opentelemetry import _logs, metrics, trace
runs = bext_otel.configure()
trace.get_tracer("shop").start_span("work").end()
_logs.get_logger("shop").emit(body="sold")
metrics.get_meter("shop").create_counter("shop.sold").add(1)
runs.flush()
runs.shutdown()
out, sys.stdout = sys.stdout, shown
show([part in out.getvalue() for part in ('"name": "work"', '"body": "sold"', '"name": "shop.sold"')])
"""


@pytest.mark.specification(
    "Environment Variables", "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"
)
def test_each_signal_goes_to_all_exporters_that_its_variable_names(tmp_path: Path) -> None:
    names = {f"OTEL_{signal}_EXPORTER": "otlp,console" for signal in ("TRACES", "METRICS", "LOGS")}
    with running(NAMED, tmp_path, BEXT_LOGGING_OUTPUT="none", **names) as run:
        kinds = {type(message).__name__ for message in run.messages}
    assert [True, True, True] == run.shown
    assert 3 == len(kinds)


LIMITED = """
import bext_otel
from opentelemetry import _logs, trace
runs = bext_otel.configure()
given = {f"a{number}": "x" * 9 for number in range(5)}
trace.get_tracer("shop").start_span("full", attributes=given).end()
_logs.get_logger("shop").emit(body="full", attributes=given)
runs.shutdown()
show(None)
"""


@pytest.mark.specification(
    "Environment Variables",
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
)
@pytest.mark.parametrize(
    ("own", "of_records"), [({}, (4, 3)), ({"COUNT_LIMIT": "2", "VALUE_LENGTH_LIMIT": "7"}, (2, 7))]
)
def test_limits_of_records_go_before_those_of_all(
    tmp_path: Path, own: dict[str, str], of_records: tuple[int, int]
) -> None:
    with running(
        LIMITED,
        tmp_path,
        OTEL_ATTRIBUTE_COUNT_LIMIT="4",
        OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT="3",
        **{f"OTEL_LOGRECORD_ATTRIBUTE_{name}": value for name, value in own.items()},
    ) as run:
        span, record = run.span("full"), run.record("full")
    count, length = of_records
    assert (4, {"xxx"}) == (len(span.attributes), set(attributes(span.attributes).values()))
    assert (count, {"x" * length}) == (len(record.attributes), set(attributes(record.attributes).values()))
    assert (1, 5 - count) == (span.dropped_attributes_count, record.dropped_attributes_count)


INTERVAL = """
import time
import bext_otel
from opentelemetry import metrics
runs = bext_otel.configure()
counter = metrics.get_meter("shop").create_counter("shop.sold")
counter.add(1)
until = time.monotonic() + 15
(delivery,) = [each for each in runs._deliveries if each.signal == "metrics"]
seen, before = 0, 0
while seen < 3 and time.monotonic() < until:
    if delivery.exported > before:
        seen, before = seen + 1, delivery.exported
    time.sleep(0.02)
show(seen)
"""


@pytest.mark.specification("Environment Variables", "OTEL_METRIC_EXPORT_INTERVAL")
def test_metrics_leave_as_often_as_is_asked_for(tmp_path: Path) -> None:
    with running(INTERVAL, tmp_path, OTEL_METRIC_EXPORT_INTERVAL="300") as run:
        assert 3 == run.shown
