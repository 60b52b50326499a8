"""Children that count with `prometheus_client` alone: their counts show while they live."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import prometheus_client
import pytest

from bext_otel.metrics.third_party.prometheus_listener import PrometheusListener

PROGRAM = """
import multiprocessing, sys, time
import bext_otel

METHOD = {method!r}
runtime = bext_otel.configure(metrics={{'mount': True}}, logging={{'output': 'none'}})
from prometheus_client import Counter, Gauge, Summary
jobs, size = Counter('jobs', 'Jobs.'), Summary('size', 'Size.')
newest = Gauge('newest', 'Newest.', multiprocess_mode='mostrecent')

def page():
    return runtime.endpoints.reply('GET', '/metrics', '', {{}}, trusted=True).body.decode()

def until(*lines):
    end = time.monotonic() + 20
    while time.monotonic() < end and not all(f'\\n{{line}}\\n' in page() for line in lines):
        time.sleep(0.05)
    assert all(f'\\n{{line}}\\n' in page() for line in lines), page()

def work(turn, end):
    jobs.inc(2)
    size.observe(5)
    newest.set(1)
    turn.release()
    end.acquire(timeout=60)
    jobs.inc(40)  # after a pause, in which nothing was looked at
    newest.set(2)
    turn.release()
    time.sleep(60)

if __name__ == '__main__':
    context = multiprocessing.get_context(METHOD)
    turn, end = context.Semaphore(0), context.Semaphore(0)
    children = [context.Process(target=work, args=(turn, end), daemon=True) for _ in range(2)]
    for child in children: child.start()
    for child in children: assert turn.acquire(timeout=40)
    until('jobs_total 4', 'size_sum 10', 'size_count 2', 'newest 1')
    time.sleep(2.5)
    newest.set(9)
    assert '\\nnewest 9\\n' in page(), page()
    for child in children: end.release()
    for child in children: assert turn.acquire(timeout=40)
    until('jobs_total 84', 'newest 2')
    for child in children: child.kill()
    for child in children: child.join()
    until('jobs_total 84')
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_a_child_counts_shows_while_it_lives(method: str, tmp_path: Path) -> None:
    """And of the mode `mostrecent` it is what was set last, whoever was looked at last."""
    program = tmp_path / "main.py"
    program.write_text(PROGRAM.format(method=method))
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=120, check=False
    )
    assert 0 == done.returncode, done.stderr


def test_the_next_change_is_heard_once_and_the_library_is_left_as_it_was() -> None:
    hearing, heard = PrometheusListener(), list[int]()
    kind = prometheus_client.values.ValueClass
    inc, put = kind.inc, kind.set
    counter, gauge = (
        prometheus_client.Counter("heard", "Heard.", registry=None),
        prometheus_client.Gauge("level", "L.", registry=None),
    )
    hearing.open()
    try:
        counter.inc()
        assert [] == heard, "nobody listens"
        for change in (counter.inc, lambda: gauge.set(3), gauge.dec):
            hearing.listen(lambda: heard.append(1))
            change()
            change()
            assert [1] == heard
            assert kind.inc is inc
            heard.clear()
    finally:
        hearing.close()
    hearing.listen(lambda: heard.append(1))
    counter.inc()
    assert ([], inc, put) == (heard, kind.inc, kind.set)
