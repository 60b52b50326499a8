"""Requests in progress, by app: counted in every thread, and none of a parent's in its child."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from bext_otel.operation import joint
from bext_otel_instrumentors.http import request_metrics
from bext_otel_instrumentors.http.request_metrics import count_active


@pytest.fixture(autouse=True)
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_metrics, "_in_progress", {})
    monkeypatch.setattr(request_metrics, "_active", joint(request_metrics._bind_active))


def shown() -> dict[str, int]:
    return {app: held for held, (app,) in request_metrics._observed()}


def test_requests_in_progress_are_told_by_app() -> None:
    first, second = count_active("GET", "http", "one"), count_active("PUT", "http", "two")
    count_active("GET", "https", "two")
    assert {"one": 1, "two": 2} == shown()
    first(-1)
    second(-1)
    assert {"one": 0, "two": 1} == shown()


def test_apps_without_end_are_one() -> None:
    for number in range(300):
        count_active("GET", "http", f"app-{number}")
    assert 201 == len(shown())
    assert 100 == shown()["otel.metric.overflow"]


def test_threads_lose_none() -> None:
    def work(_: int) -> None:
        for _ in range(2_000):
            count_active("GET", "http", "shop")(-1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert {"shop": 0} == shown()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_none_of_its_parents() -> None:
    count_active("GET", "http", "shop")
    pid = os.fork()
    if not pid:
        os._exit(shown()["shop"])
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert {"shop": 1} == shown()
