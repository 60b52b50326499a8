"""A forked child counts from the fork, also with `prometheus_client`, whose values a fork copies."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from threading import Thread
from typing import Any

import prometheus_client
import pytest
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily

from bext_otel.metrics.snapshot import Histogram, Summary
from bext_otel.metrics.third_party import prometheus_client as registry
from bext_otel.metrics.third_party import prometheus_forks as inheritance
from tests.fresh import printed


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Whatever a test registers, or inherits, is gone afterwards."""
    before = set(REGISTRY._collector_to_names)
    yield
    for collector in set(REGISTRY._collector_to_names) - before:
        REGISTRY.unregister(collector)
    inheritance.take_baseline()


def values(name: str) -> list[Any]:
    return [point.value for family in registry.registered() if family.name == name for point in family.points]


def test_what_the_parent_counted_is_subtracted_and_gauges_stay() -> None:
    jobs = prometheus_client.Counter("jobs", "Jobs.", ["queue"])
    jobs.labels("mail").inc(100)
    waits = prometheus_client.Histogram("wait_seconds", "Wait.", buckets=(1.0, 5.0))
    waits.observe(0.5)
    size = prometheus_client.Summary("size", "Size.")
    size.observe(2)
    prometheus_client.Gauge("depth", "Depth.").set(7)
    inheritance.take_baseline()
    jobs.labels("mail").inc(3)
    jobs.labels("new").inc(4)
    waits.observe(7)
    size.observe(0.5)
    assert [3, 4] == values("jobs_total")
    assert [Histogram((1.0, 5.0), (0, 0, 1), 7.0, 1)] == values("wait_seconds")
    assert [Summary(1, 0.5, ())] == values("size")
    assert [7] == values("depth")


def test_a_childs_child_inherits_the_sum() -> None:
    jobs = prometheus_client.Counter("jobs", "Jobs.")
    for _ in range(3):
        jobs.inc(5)
        inheritance.take_baseline()
    jobs.inc(1)
    assert [1] == values("jobs_total")


def test_what_begins_anew_in_the_child_is_shown_whole() -> None:
    jobs = prometheus_client.Counter("jobs", "Jobs.")
    jobs.inc(100)
    inheritance.take_baseline()
    jobs.reset()
    jobs.inc(2)
    assert [2] == values("jobs_total")
    jobs.inc(200)
    assert [202] == values("jobs_total")


def test_in_its_multiprocess_mode_the_library_begins_at_nothing_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs = prometheus_client.Counter("jobs", "Jobs.")
    jobs.inc(3)
    monkeypatch.setattr(jobs._value, "_multiprocess", True)
    inheritance.take_baseline()
    assert [3] == values("jobs_total")


def test_collections_of_garbage_are_those_since_the_fork() -> None:
    gc.disable()
    try:
        gc.collect()
        inheritance.take_baseline()
        assert {0} == set(values("python_gc_collections_total"))
        gc.collect()
        assert [0, 0, 1] == values("python_gc_collections_total")
    finally:
        gc.enable()


def test_no_collector_of_the_application_is_asked_at_a_fork() -> None:
    class Asked:
        calls = 0

        def describe(self) -> list[Any]:
            return []

        def collect(self) -> Iterator[Any]:
            self.calls += 1
            yield CounterMetricFamily("odd", "Odd.", value=9)

    asked = Asked()
    REGISTRY.register(asked)
    inheritance.take_baseline()
    assert 0 == asked.calls
    assert [9] == values("odd_total")


def test_locks_that_the_parent_held_are_not_waited_for() -> None:
    jobs = prometheus_client.Counter("jobs", "Jobs.", ["queue"])
    jobs.labels("mail").inc(2)
    locks = [REGISTRY._lock, jobs._lock, jobs.labels("mail")._value._lock]
    for lock in locks:
        lock.acquire()
    try:
        reading = Thread(target=inheritance.take_baseline, daemon=True)
        reading.start()
        reading.join(10)
        assert not reading.is_alive()
    finally:
        for lock in locks:
            lock.release()
    assert [0] == values("jobs_total")


def test_a_library_that_has_changed_is_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    jobs, others = prometheus_client.Counter("jobs", "Jobs."), prometheus_client.Counter("others", "Others.")
    others.inc(3)
    monkeypatch.setattr(jobs, "_value", object())
    inheritance.take_baseline()
    monkeypatch.undo()
    assert [0] == values("others_total"), "one costs no other"
    assert ["counted again" in message for message in caplog.messages] == [True]


def test_children_of_a_process_that_counts_add_what_they_count_themselves() -> None:
    program = (
        "import multiprocessing, os, sys, bext_otel\n"
        "runtime = bext_otel.configure(metrics={'mount': True}, logging={'output': 'none'})\n"
        "from prometheus_client import Counter\n"
        "from bext_otel.operation import count\n"
        "from bext_otel.catalogue import FLOW_COMPLETED\n"
        "jobs = Counter('jobs', 'Jobs.')\n"
        "jobs.inc(100)\n"
        "count(FLOW_COMPLETED)\n"
        "def page(): return runtime.endpoints.reply('GET', '/metrics', '', {}, trusted=True).body.decode()\n"
        "def child():\n"
        "    jobs.inc()\n"
        "    count(FLOW_COMPLETED)\n"
        "for _ in range(3):\n"
        "    process = multiprocessing.get_context('fork').Process(target=child)\n"
        "    process.start()\n"
        "    process.join()\n"
        "assert '\\njobs_total 103\\n' in page(), page()\n"
    )
    assert "" == printed(program)


def test_what_a_master_counted_that_measures_nothing_counts_once() -> None:
    """It tells so when it forks, whether its children live or not, and needs no thread for it."""
    program = (
        "import multiprocessing, os, sys, threading, bext_otel\n"
        "runtime = bext_otel.configure(metrics={'mount': True}, logging={'output': 'none'})\n"
        "from prometheus_client import Counter\n"
        "from bext_otel.operation import count\n"
        "from bext_otel.catalogue import FLOW_COMPLETED\n"
        "jobs = Counter('jobs', 'Jobs.')\n"
        "def page(): return runtime.endpoints.reply('GET', '/metrics', '', {}, trusted=True).body.decode()\n"
        "def child(total):\n"
        "    count(FLOW_COMPLETED)\n"
        "    jobs.inc()\n"
        "    assert f'\\njobs_total {total}\\n' in page(), page()\n"
        "for number in range(1, 4):\n"
        "    jobs.inc(100)\n"
        "    assert number > 1 or 1 == threading.active_count()\n"
        "    process = multiprocessing.get_context('fork').Process(target=child, args=(101 * number,))\n"
        "    process.start()\n"
        "    process.join()\n"
        "    assert 0 == process.exitcode\n"
        "assert '\\njobs_total 303\\n' in page(), page()\n"
    )
    assert "" == printed(program)


def test_no_gauge_of_a_master_counts_beside_those_that_its_workers_have_of_it() -> None:
    """As they would show it had each of them set it; what the master, or a worker, sets afterwards is its
    own."""
    program = (
        "import os, time, bext_otel\n"
        "runtime = bext_otel.configure(metrics={'mount': True}, logging={'output': 'none'})\n"
        "from prometheus_client import Gauge\n"
        "from bext_otel.operation import count\n"
        "from bext_otel.catalogue import FLOW_COMPLETED\n"
        "count(FLOW_COMPLETED)\n"
        "still, moved, theirs = (Gauge(name, 'Depth.', multiprocess_mode='livesum') for name in ('still', "
        "'moved', 'theirs'))\n"
        "for gauge in (still, moved, theirs): gauge.set(7)\n"
        "each = Gauge('each', 'Depth.')\n"
        "each.set(7)\n"
        "def page(): return runtime.endpoints.reply('GET', '/metrics', '', {}, trusted=True).body.decode()\n"
        "pids, (end, going) = [], os.pipe()\n"
        "for number in range(2):\n"
        "    answer, say = os.pipe()\n"
        "    pids.append(os.fork())\n"
        "    if not pids[-1]:\n"
        "        os.close(going)\n"
        "        theirs.set(number)\n"
        "        count(FLOW_COMPLETED)\n"
        "        page()\n"
        "        os.write(say, b'.')\n"
        "        os.read(end, 1)\n"
        "        os._exit(0)\n"
        "    os.read(answer, 1)\n"
        "moved.set(100)\n"
        "lines = page().splitlines()\n"
        "assert {'still 14', 'moved 100', 'theirs 1'} <= set(lines), lines\n"
        "assert {f'each{{pid=\"{pid}\"}} 7' for pid in pids} == {line for line in lines if "
        "line.startswith('each')}, lines\n"
        "os.close(going)\n"
        "for pid in pids: os.waitpid(pid, 0)\n"
        "assert {'still 7', 'moved 100', 'theirs 7'} <= set(page().splitlines()), page()\n"
    )
    assert "" == printed(program)
