"""Every entry of a request tells whose it is, wherever it is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.launching import launched
from tests.waiting import until

pytestmark = pytest.mark.e2e

PLACES = {"request", "task", "to_thread", "executor", "process", "thread", "later", "after"}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_threads_tasks_executors_process_pools_and_after_the_answer(tmp_path: Path, method: str) -> None:
    env = {"OTEL_SERVICE_NAME": "shop", "BEXT_LOGGING_SEND_REQUEST_ID": "true"}
    with launched(tmp_path, "uvicorn --port {port} context_asgi:app", env=env, path="/") as program:
        answer = program.get(f"/in/a/every/{method}", headers={"x-request-id": "4711-a.b"})
        assert "4711-a.b" == answer.headers["x-request-id"]
        lines = until(
            lambda: len(found := program.lines(target="shop.context")) >= len(PLACES) and found,
            why=lambda: program.output(),
        )
        (completed,) = program.lines(message="request completed", path=f"/in/a/every/{method}")
        whose = {"app": "shop", "route": "/in/{where}/every/{method}", "request_id": "4711-a.b"}
        trace_id = completed["trace_id"]
        for line in (*lines, completed):
            assert {**whose, "trace_id": trace_id} == {
                name: line.get(name) for name in (*whose, "trace_id")
            }, line
        assert {line["message"] for line in lines} == PLACES


@pytest.mark.parametrize("sent", ["", 'a"b', "a b", "-x", "x" * 129, "ä"])
def test_an_id_that_is_none_is_not_taken_but_the_trace_s(tmp_path: Path, sent: str) -> None:
    with launched(tmp_path, "uvicorn --port {port} context_asgi:app", path="/") as program:
        answer = program.get("/crash/1", headers={"x-request-id": sent.encode()} if sent else {})
        assert (500, None) == (answer.status_code, answer.headers.get("x-request-id"))
        line = program.completion("/crash/1")
        assert ("/crash/{x}", line["trace_id"]) == (line["route"], line["request_id"])


def test_in_tasks_of_celery(tmp_path: Path) -> None:
    env = {"OTEL_SERVICE_NAME": "shop", "BEXT_LOGGING_OUTPUT": "stdout"}
    worker = "celery -A context_celery:celery worker -P solo --loglevel warning"
    web = "flask --app context_celery run --port {port}"
    with launched(tmp_path, web, env=env, path="/") as program:
        program.get("/order/tea", headers={"x-request-id": "42"})
        asked = program.completion("/order/tea")
        log = tmp_path / "log"
        log.rename(tmp_path / "log.web")
        with launched(tmp_path, worker, env=env) as consumer:
            lines = until(
                lambda: (
                    len(
                        found := [*consumer.lines(message="packed tea"), *consumer.lines(message="other tea")]
                    )
                    == 2
                    and found
                ),
                why=lambda: consumer.output(),
            )
    for line in lines:
        expected = {
            "app": "shop",
            "route": "/order/<what>",
            "request_id": "42",
            "trace_id": asked["trace_id"],
        }
        assert expected == {name: line.get(name) for name in expected}, line


def test_a_task_that_nobody_s_request_has_published_is_the_service_s(tmp_path: Path) -> None:
    env = {"OTEL_SERVICE_NAME": "shop", "BEXT_LOGGING_OUTPUT": "stdout"}
    with launched(tmp_path, "celery -A context_celery:celery worker -P solo", env=env) as consumer:
        code = "import context_celery; context_celery.pack.delay('salt')"
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent / "apps")}
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environ, check=True, timeout=60)
        (line,) = until(lambda: consumer.lines(message="packed salt"), why=lambda: consumer.output())
        assert ("shop", None) == (line["app"], line.get("route"))
