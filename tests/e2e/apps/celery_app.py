"""A Celery application over a broker and a result backend of files in the working directory."""

from __future__ import annotations

import os
import pathlib
import signal
import sys
import threading

from celery import Celery, chain, chord

for folder in ("queue", "control", "results"):
    pathlib.Path(folder).mkdir(exist_ok=True)

app = Celery("celery_app", broker="filesystem://", backend=f"file://{pathlib.Path('results').resolve()}")
app.conf.update(
    broker_transport_options={
        "data_folder_in": "queue",
        "data_folder_out": "queue",
        "control_folder": "control",
        "polling_interval": 0.05,
    },
    worker_prefetch_multiplier=1,
    task_default_retry_delay=0,
)


@app.task(name="add")
def add(x: int, y: int = 1) -> int:
    return x + y


@app.task(name="total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(name="fail")
def fail() -> None:
    raise LookupError("gone")


@app.task(name="for_ever", bind=True, max_retries=None)
def for_ever(task) -> None:  # type: ignore[no-untyped-def]
    raise task.retry(countdown=0.5)


@app.task(name="killed")
def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="hang", time_limit=1)
def hang() -> None:
    threading.Event().wait()


if __name__ == "__main__":
    from opentelemetry import trace

    asked = {
        "chain": lambda: chain(add.s(1), add.s(2), add.s(3)).delay(),
        "chord": lambda: chord([add.s(1), add.s(2)], total.s()).delay(),
        "many": lambda: [add.delay(number) for number in range(40)][-1],
        **{
            name: task.delay
            for name, task in (("fail", fail), ("for_ever", for_ever), ("killed", killed), ("hang", hang))
        },
    }[sys.argv[1]]
    with trace.get_tracer("app").start_as_current_span("request"):
        sent = asked()
    if sys.argv[1] in {"chain", "chord"}:
        print("result", sent.get(timeout=30), flush=True)
