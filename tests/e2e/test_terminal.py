"""Programs side by side, bare and with us: what is on their terminal."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.launching import APPS, SCRIPTS, environment, launched
from tests.e2e.otlp import receiving
from tests.waiting import until

pytestmark = pytest.mark.e2e


def ran(folder: Path, name: str, *, instrument: bool, **env: str) -> tuple[int, bytes, bytes]:
    """The exit code of a program of `apps/`, and both streams."""
    command = [sys.executable, str(APPS / name)]
    done = subprocess.run(
        [str(Path(SCRIPTS) / "opentelemetry-instrument"), *command] if instrument else command,
        capture_output=True,
        env=environment(folder, 0, env),
        cwd=folder,
        timeout=90,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_script_prints_what_it_prints_without_us_and_is_heard_over_otlp(tmp_path: Path) -> None:
    bare = ran(tmp_path, "printing_job.py", instrument=False)
    with receiving() as received:
        with_us = ran(
            tmp_path, "printing_job.py", instrument=True, OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint
        )
        assert bare == with_us
        for body in ("row 2 has no name", "half way", "sold", "after the end of the data"):
            assert until(lambda body=body: received.lines(body))
        assert not received.lines("HTTP Request: GET /")


def test_what_is_wrong_with_the_settings_of_a_script_is_told_on_standard_error(tmp_path: Path) -> None:
    code, out, err = ran(tmp_path, "printing_job.py", instrument=False)
    wrong = ran(tmp_path, "printing_job.py", instrument=True, BEXT_METRICS_PORT="many")
    assert (code, out) == wrong[:2]
    (line,) = set(wrong[2].splitlines()) - set(err.splitlines())
    assert line.startswith(b"bext-otel: BEXT_METRICS_PORT='many'")


def test_a_script_that_forks_a_server_keeps_its_own_lines_and_the_server_s_are_ours(tmp_path: Path) -> None:
    code, out, err = ran(tmp_path, "forking_script.py", instrument=True)
    lines = out.decode().splitlines()
    assert (0, ["own before", "200", "own after"], b"") == (
        code,
        [line for line in lines if not line.startswith("{")],
        err,
    )
    messages = [json.loads(line)["message"] for line in lines if line.startswith("{")]
    assert 1 == messages.count("request completed")
    assert any("Started server process" in message for message in messages)


def test_a_worker_tells_each_record_once_whichever_stream_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    (tmp_path / "tasks.py").write_text(
        f"""
import logging, celery
from celery.utils.log import get_task_logger
where = {{"data_folder_in": {str(folder)!r}, "data_folder_out": {str(folder)!r}}}
app = celery.Celery("tasks", broker="filesystem://", broker_transport_options=where)
@app.task
def sell():
    get_task_logger("shop").info("by the task's logger")
    logging.getLogger("shop").warning("by another")
    raise RuntimeError("out of coffee")
"""
    )
    command = "celery -A tasks worker -l INFO -P solo --without-gossip --without-mingle"
    with launched(tmp_path, command, env={"PYTHONPATH": str(tmp_path)}) as worker:
        subprocess.run(
            [sys.executable, "-c", "import tasks; tasks.sell.delay()"],
            cwd=tmp_path,
            env=environment(tmp_path, 0, {"PYTHONPATH": str(tmp_path)}),
            check=True,
            timeout=60,
        )
        until(lambda: "out of coffee" in worker.output(), why=worker.output)
        worker.end()
        output = worker.output().splitlines()
    for said in ("by the task's logger", "by another", "raise RuntimeError"):
        assert [True] == [line.startswith("{") for line in output if said in line]
    assert all(re.fullmatch("[0-9a-f]{32}", line["trace_id"]) for line in worker.lines(target="shop"))


def test_at_a_terminal_what_a_request_says_stands_below_it(tmp_path: Path) -> None:
    command = (
        "python -m at_terminal opentelemetry-instrument uvicorn starlette_app:app --no-use-colors "
        "--log-level warning --port {port}"
    )
    with launched(tmp_path, command, instrument=False, env={"TERM": "xterm"}) as running:
        running.get("/items/7")
        until(lambda: "/items/7 " in running.output().partition("> ")[2])
        until(lambda: "metrics at" in running.output(), why=running.output)
        shown = re.sub(r"\x1b\[[0-9;]*m", "", running.output())
    told = [line.strip("\r") for line in shown.split("\n")]
    begun = next(number for number, line in enumerate(told) if line.startswith("> GET /items/7 "))
    assert re.fullmatch(r"  WARN  item read .*item=7 .*shop \d\d:\d\d:\d\d\.\d{3}", told[begun + 1])
    assert re.fullmatch(
        r"< INFO  GET /items/7 200 in [\d.]+ ms .*bext\.request \d\d:\d\d:\d\d\.\d{3}", told[begun + 2]
    )
    assert "\x1b[33mWARN " in running.output()
    # Standard error is the same terminal here; elsewhere it is not told at all, as other tests of lines see.
    address = f"{running.endpoints_url}/metrics"
    assert [f"bext-otel: metrics at {address}"] == [line for line in told if address in line]


@pytest.mark.parametrize("output", ["none", ""])
def test_where_the_endpoints_are_is_told_at_a_terminal_of_a_server_only(tmp_path: Path, output: str) -> None:
    """Once for two workers; not where the terminal is left as it is, and not in a pipe."""
    terminal = "python -m at_terminal " * (output == "none")
    command = f"{terminal}opentelemetry-instrument uvicorn starlette_app:app --workers 2 --port {{port}}"
    env = {"TERM": "xterm"} | ({"BEXT_LOGGING_OUTPUT": output} if output else {})
    with launched(tmp_path, command, instrument=False, env=env) as running:
        assert 200 == running.endpoint("/metrics").status_code
        running.get("/items/7")
    assert "metrics at" not in running.output()


def test_two_workers_tell_once_where_the_endpoints_are(tmp_path: Path) -> None:
    command = (
        "python -m at_terminal opentelemetry-instrument uvicorn starlette_app:app --workers 2 --port {port}"
    )
    with launched(tmp_path, command, instrument=False, env={"TERM": "xterm"}) as running:
        for _ in range(4):
            running.get("/items/7")
        assert 200 == running.endpoint("/metrics").status_code
        until(lambda: "metrics at" in running.output(), why=running.output)
    assert 1 == running.output().count(f"bext-otel: metrics at {running.endpoints_url}/metrics")
