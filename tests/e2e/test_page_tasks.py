"""docs/tasks.md, done by what it says, with a real Redis between."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import redis

from tests.e2e import backends
from tests.e2e.launching import SOON, Launched, free_port, launched
from tests.e2e.otlp import Receiver, receiving
from tests.pages import write_files
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.backends]


@contextmanager
def serving_redis(folder: Path, port: int) -> Iterator[None]:
    command = [backends.program("redis-server"), "--port", str(port), "--save", "", "--bind", "127.0.0.1"]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)

    def answers() -> bool:
        with suppress(redis.ConnectionError), redis.Redis(port=port) as client:
            return bool(client.ping())
        return False

    try:
        until(answers, why="Redis")
        yield
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def shop(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Launched, Launched, Receiver]]:
    """The page's web application and its worker of two processes, after an order and one that fails."""
    folder = tmp_path_factory.mktemp("tasks")
    assert ["tasks.py", "web.py", "bext.config.toml"] == write_files("tasks.md", folder)
    with ExitStack() as stack:
        port = free_port()
        stack.enter_context(serving_redis(folder, port))
        received = stack.enter_context(receiving())
        env = {
            **SOON,
            "BROKER": f"redis://127.0.0.1:{port}/0",
            "BEXT_CONFIG": str(folder / "bext.config.toml"),
        }
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = received.endpoint
        first = (str(folder),)
        web = stack.enter_context(
            launched(
                folder / "web",
                "flask --app web run --port {port}",
                env={**env, "OTEL_SERVICE_NAME": "shop"},
                path="/none",
                first=first,
            )
        )
        worker = stack.enter_context(
            launched(
                folder / "worker",
                "celery -A tasks worker -c 2",
                env={**env, "OTEL_SERVICE_NAME": "packing"},
                first=first,
            )
        )
        for order in ("7", "broken"):
            httpx.post(f"{web.url}/orders/{order}", trust_env=False, timeout=20).raise_for_status()
        yield web, worker, received


def test_a_task_that_fails_is_counted_by_its_name(shop: tuple[Launched, Launched, Receiver]) -> None:
    _, worker, _ = shop

    def found() -> dict[str, float] | None:
        samples = {name: value for name, value in worker.metrics().items() if 'step="pack"' in name}
        return samples if 2 == sum(samples.values()) else None

    counted = until(found, why=worker.output)
    assert {"success": 1, "failed": 1} == {
        status: value
        for name, value in counted.items()
        for status in ("success", "failed")
        if f'status="{status}"' in name
    }


def test_lines_of_a_task_are_the_request_s(shop: tuple[Launched, Launched, Receiver]) -> None:
    web, worker, _ = shop
    asked = web.completion("/orders/7")
    (line,) = until(lambda: worker.lines(message="packed 7"), why=worker.output)
    expected = {name: asked[name] for name in ("trace_id", "route", "request_id", "app", "tenant")}
    assert ("acme", "/orders/<order>") == (asked["tenant"], asked["route"])
    assert expected == {name: line.get(name) for name in expected}


def test_it_is_one_trace_as_the_page_says(shop: tuple[Launched, Launched, Receiver]) -> None:
    web, _, received = shop
    trace_id = web.completion("/orders/7")["trace_id"]
    names = {"POST /orders/<order>", "send celery", "process celery"}
    until(
        lambda: names <= {span.name for span in received.spans(trace_id=trace_id)},
        why=lambda: str([span.name for span in received.spans(trace_id=trace_id)]),
    )
    by_id = {span.span_id: span for span in received.spans(trace_id=trace_id)}
    (processed,) = (span for span in by_id.values() if span.name == "process celery")
    above = by_id[processed.parent_id]
    assert ("send celery", "POST /orders/<order>") == (above.name, by_id[above.parent_id].name)
