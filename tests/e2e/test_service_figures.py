"""Every figure of the JSON document, and what workers send over OTLP, recomputed from the traffic that caused
it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.instances import by_instance
from tests.e2e.launching import SOON
from tests.e2e.otlp import receiving
from tests.e2e.services import GUNICORN, ON_LINUX, STARLETTE, both_answer, port_of, serving
from tests.e2e.traffic import Traffic, document, fetch, page, settled
from tests.waiting import until

pytestmark = [pytest.mark.e2e, ON_LINUX]

ITEMS, FAILED = 30, 4


class Seen:
    """A document, the traffic before it, and when everything was (monotonic seconds)."""

    def __init__(self, port: int, work: Traffic, launched_at: float) -> None:
        self.work = work.answered
        self.requests = ITEMS + FAILED + self.work
        self.first_at, self.launched_at = work.answers[0].at, launched_at
        workers = [psutil.Process(pid) for pid in work.pids()]
        self.processes = [*workers, workers[0].parent() or workers[0]]
        self.asked_at, self.asked_unix = time.monotonic(), time.time()
        self.document: dict[str, Any] = document(port)
        self.told_at = time.monotonic()
        self.memory_mb = sum(process.memory_info().rss for process in self.processes) / 2**20
        self.open_fds = sum(process.num_fds() for process in self.processes)
        self.shop: dict[str, Any] = self.document["apps"]["shop"]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    began = time.monotonic()
    with serving(
        tmp_path_factory.mktemp("figures"), f"uvicorn --workers 2 --port {{port}} {STARLETTE}"
    ) as program:
        port = port_of(program)
        work = Traffic(port, "/work")
        with work.flowing(2):
            both_answer(work)
        for _ in range(ITEMS):
            assert 200 == fetch(port, "/items/1")[0]
        for _ in range(FAILED):
            assert 500 == fetch(port, "/fail")[0]
        settled(port, ITEMS, ITEMS)
        calls = 2 * work.answered
        until(lambda: {document(port)["plugins"]["analytics"]["calls"] for _ in range(8)} == {calls})
        yield Seen(port, work, began)


def test_it_has_what_the_specification_has_and_one_key_more(seen: Seen) -> None:
    assert {"timestamp", "uptime_secs", "apps", "plugins", "system", "telemetry"} == set(seen.document)
    assert {"shop"} == set(seen.document["apps"])
    assert {"requests", "cache", "isolate", "errors"} == set(seen.shop)


def test_the_timestamp_is_now_and_the_uptime_since_the_oldest_worker(seen: Seen) -> None:
    then = (
        datetime.strptime(seen.document["timestamp"], "%Y-%m-%dT%H:%M:%SZ")
        .replace(tzinfo=timezone.utc)
        .timestamp()
    )
    assert seen.asked_unix - 1 <= then <= seen.asked_unix + seen.told_at - seen.asked_at + 1
    assert (
        seen.asked_at - seen.first_at - 1
        <= seen.document["uptime_secs"]
        <= seen.told_at - seen.launched_at + 1
    )


def test_requests_and_errors_are_all_that_were_answered(seen: Seen) -> None:
    assert seen.requests == seen.shop["requests"]["total"]
    assert {"total": FAILED, "rate": round(FAILED / seen.requests, 4)} == seen.shop["errors"]


def test_the_rate_is_of_the_time_since_the_workers_began(seen: Seen) -> None:
    """All of the traffic is within the window of a minute, so it is the time since each worker's start."""
    slowest, fastest = (
        seen.requests / (seen.told_at - seen.launched_at),
        seen.requests / max(seen.asked_at - seen.first_at, 1),
    )
    assert slowest - 0.1 <= seen.shop["requests"]["rps"] <= fastest + 0.1


def test_the_cache_hit_three_of_four_times_and_both_workers_hold_some(seen: Seen) -> None:
    assert {"hit_rate": 0.75, "entries": 2 * 7, "bytes": 2 * 1000} == seen.shop["cache"]


def test_isolates_of_both_workers(seen: Seen) -> None:
    assert {"workers": 2 * 2, "memory_mb": 2 * 8, "avg_render_ms": 4.0} == seen.shop["isolate"]


def test_plugins_are_called_twice_for_each_request_of_work(seen: Seen) -> None:
    assert {"analytics": {"calls": 2 * seen.work, "avg_us": 15}} == seen.document["plugins"]


def test_the_system_is_what_both_workers_and_their_master_use_by_psutil(seen: Seen) -> None:
    system = seen.document["system"]
    assert seen.memory_mb == pytest.approx(system["memory_mb"], rel=0.15)
    assert seen.open_fds == pytest.approx(system["open_fds"], abs=10)
    assert 0 <= system["cpu_percent"] <= 100 * (psutil.cpu_count() or 1) + 20


def test_every_worker_sends_its_own_counts_and_nothing_of_its_parents(tmp_path: Path) -> None:
    """The master counted a hundred before it forked them. The id that the user gave stays recognisable."""
    with receiving() as receiver:
        env = {
            **SOON,
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=till",
        }
        with serving(tmp_path, f"{GUNICORN} --preload preloaded_wsgi:app", **env) as program:
            port = port_of(program)
            work = Traffic(port, "/work")
            with work.flowing(2):
                both_answer(work)
            answered = work.answered

            def arrived() -> list[dict[str, float]] | None:
                names = {
                    "bext_cache_hits_total": 100 + 3 * answered,
                    "shop.things": 100 + 2 * answered,
                    "bext_requests_total": answered,
                }
                found = [by_instance(receiver, name) for name in names]
                return found if list(names.values()) == [sum(totals.values()) for totals in found] else None

            hits, things, requests = until(arrived, why="every count to arrive")
            until(
                lambda: (
                    {shown(page(port), "bext_cache_hits_total") for _ in range(8)} == {100 + 3 * answered}
                ),
            )
            assert 100 + 2 * answered == shown(page(port), "shop_things_total")
    assert 100 == hits.pop("till"), "the master's, under the id that was given"
    assert 100 == things.pop("till")
    assert 2 == len(requests)
    assert all(instance.startswith("till-") for instance in requests)
    assert {instance: 3 * count for instance, count in requests.items()} == hits
    assert {instance: 2 * count for instance, count in requests.items()} == things


def shown(found: dict[str, float], name: str) -> float:
    """All series of a family."""
    return sum(value for sample, value in found.items() if sample.startswith(name + "{"))
