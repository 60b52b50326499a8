from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.logs.formats import json_line
from bext_otel.logs.people import People, wants_color
from tests.logs.programs import SETUP
from tests.logs.test_formats import record

COLORS = re.compile(r"\x1b\[[0-9;]*m")
# Two requests, whose work takes turns, and a line of nobody's.
REQUESTS = """
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from bext_otel.entries import write, logger
from opentelemetry._logs import SeverityNumber, set_logger_provider
from bext_otel.export.internal_metrics import SpanCounts
from bext_otel.traces.provider import BextTracerProvider
set_logger_provider(provider)
tracer = BextTracerProvider(Resource({}), SpanCounts()).get_tracer("t")
def request(path):
    attributes = {"http.request.method": "GET", "url.path": path}
    root = trace.set_span_in_context(trace.INVALID_SPAN)
    return tracer.start_span("GET", context=root, kind=SpanKind.SERVER, attributes=attributes)
def complete(span, path, status=200):
    write(logger("bext.request"), SeverityNumber.INFO, "request completed", {
        "method": "GET", "path": path, "status": status, "duration_ms": 1.5}, here=trace.set_span_in_context(span))
a, b = request("/a"), request("/b")
with trace.use_span(a):
    log.info("begun", extra={"order": 7})
    with tracer.start_as_current_span("render"):
        log.warning("slow")
        with tracer.start_as_current_span("query"):
            log.info("asked")
with trace.use_span(b):
    log.info("other")
with trace.use_span(a):
    log.info("again")
complete(a, "/a")
log.info("nobody's")
complete(b, "/b", 503)
"""


class Shown:
    """What a program that serves shows at a terminal, or (`terminal=False`) gives to a pipe."""

    def __init__(
        self, script: str, *, terminal: bool = True, env: Mapping[str, str] | None = None, **settings: Any
    ) -> None:
        setup = SETUP.format(
            settings={"level": "info", **settings}, export=False, serves=True, apps={}, resource={}
        )
        kept = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR", "TERM"}}
        reader, writer = pty.openpty() if terminal else os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-c", setup + script],
            stdout=writer,
            stderr=subprocess.PIPE,
            env={**kept, "TERM": "xterm", **(env or {})},
        )
        os.close(writer)
        got: list[bytes] = []

        def read() -> None:
            try:
                while data := os.read(reader, 65536):
                    got.append(data)
            except OSError:  # a terminal that nobody writes to any more
                return

        reading = threading.Thread(target=read)
        reading.start()
        errors = process.communicate(timeout=60)[1].decode()
        reading.join(60)
        os.close(reader)
        assert (0, "") == (process.returncode, errors)
        self.text = b"".join(got).decode().replace("\r\n", "\n")

    @property
    def plain(self) -> str:
        """Without colours, times and traces' numbers."""
        text = re.sub(r" \d\d:\d\d:\d\d\.\d{3}$", "", COLORS.sub("", self.text), flags=re.MULTILINE)
        return re.sub(r"[0-9a-f]{32}", "TRACE", text)


def test_on_a_terminal_lines_of_a_request_stand_below_it_and_deeper_for_nested_work() -> None:
    assert (
        "> GET /a TRACE\n"
        "  INFO  begun order=7 shop\n"
        "    WARN  slow shop\n"
        "      INFO  asked shop\n"
        "> GET /b TRACE\n"
        "  INFO  other shop\n"
        "> GET /a TRACE\n"
        "  INFO  again shop\n"
        "< INFO  GET /a 200 in 1.5 ms bext.request\n"
        "INFO  nobody's shop\n"
        "INFO  GET /b 503 in 1.5 ms bext.request\n"
    ) == Shown(REQUESTS).plain


@pytest.mark.parametrize(
    ("env", "settings", "colored"),
    [
        ({}, {}, True),
        ({"NO_COLOR": "1"}, {}, False),
        ({"NO_COLOR": ""}, {}, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, {}, False),
        ({"TERM": "dumb"}, {}, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, {}, True),
        ({}, {"format": "pretty"}, True),
        ({}, {"format": "json"}, False),
    ],
)
def test_a_terminal_has_colors_unless_somebody_wants_none(
    env: dict[str, str], settings: dict[str, Any], *, colored: bool
) -> None:
    shown = Shown("log.info('hello')\n", env=env, **settings)
    assert colored == bool(COLORS.search(shown.text))
    assert "hello" in shown.text


@pytest.mark.parametrize("env", [{}, {"FORCE_COLOR": "1"}])
def test_into_a_pipe_lines_are_json_whatever_colors_are_wanted(env: dict[str, str]) -> None:
    shown = Shown("log.info('hello')\n", terminal=False, env=env)
    assert "hello" == json.loads(shown.text)["message"]


@pytest.mark.parametrize(
    ("env", "colored"), [({}, False), ({"FORCE_COLOR": "1"}, True), ({"NO_COLOR": "1"}, False)]
)
def test_the_form_for_people_has_colors_in_a_pipe_where_they_are_forced(
    env: dict[str, str], *, colored: bool
) -> None:
    shown = Shown("log.info('hello')\n", terminal=False, env=env, format="pretty")
    assert colored == bool(COLORS.search(shown.text))


def test_a_file_beside_a_terminal_is_json(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    shown = Shown("log.info('hello')\n", output="stdout,file", file_path=str(path))
    assert ("hello", "INFO  hello shop\n") == (json.loads(path.read_text())["message"], shown.plain)


def test_a_stack_trace_stands_below_its_line() -> None:
    done = Shown("try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('boom')\n")
    shown = done.plain.splitlines()
    assert shown[0].startswith("ERROR boom exception.type=ZeroDivisionError")
    begin, end = "    Traceback (most recent call last):", "    ZeroDivisionError: division by zero"
    assert (begin, end) == (shown[1], shown[-1])


def test_colors_are_decided_as_python_decides_them() -> None:
    assert not wants_color({}, isatty=False)
    assert wants_color({"FORCE_COLOR": "1"}, isatty=False)


@given(
    st.text(st.characters()),
    st.dictionaries(st.text(st.characters(), min_size=1), st.text(st.characters()), max_size=4),
)
def test_no_record_can_break_the_line_or_move_the_cursor(body: str, fields: dict[str, str]) -> None:
    shown = People(json_line, color=False)(record(body=body, attributes=fields)).decode()
    stacks = sum(
        len(fields[name].splitlines())
        for name in ("exception.stacktrace", "code.stacktrace")
        if name in fields
    )
    assert "\x1b" not in shown
    assert 1 + stacks == len(shown.splitlines())


def test_what_is_known_of_traces_is_bounded() -> None:
    people = People(partial(json_line, max_bytes=8192), color=False)
    for number in range(1, 3000):
        made = record()
        made.trace_id = made.span_id = number
        people(made)
    assert 1024 == len(people._depths)


def test_what_is_too_long_is_cut_as_in_json() -> None:
    shown = People(partial(json_line, max_bytes=8192), color=False)(record("x" * 100_000))
    assert len(shown) < 9000
