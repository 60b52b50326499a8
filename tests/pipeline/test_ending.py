"""The end takes one deadline, whatever hangs."""

from __future__ import annotations

import threading
import time

from bext_otel.pipeline.delivery import Delivery
from bext_otel.pipeline.ending import Undelivered, end_all


def test_endings_run_side_by_side_and_learn_their_time() -> None:
    meet, given = threading.Barrier(3, timeout=5), []

    def ending(seconds: float) -> None:
        given.append(seconds)
        meet.wait()

    assert end_all([ending, ending, ending], 5.0)
    assert [5.0] * 3 == given


def test_one_that_hangs_is_left_behind() -> None:
    release = threading.Event()
    started = time.monotonic()
    assert not end_all([lambda _: release.wait(60), lambda _: None], 0.2)
    assert time.monotonic() - started < 30
    release.set()


def test_what_is_lost_or_still_waits_is_one_line_that_says_what_where_and_why() -> None:
    traces, logs, metrics = Delivery("traces", "there"), Delivery("logs", "there too"), Delivery("metrics", "elsewhere")
    traces.lost(100)
    undelivered = Undelivered([traces, logs, metrics])
    assert "" == undelivered.line(), "what was lost before has been told"
    traces.hear("Transient error refused encountered while exporting traces batch, retrying in 1.00s.")
    traces.lost(2)
    logs.queue.attach(lambda: 3, 10)
    logs.queue.drop_items(1, "already_shutdown")
    metrics.lost(7, "any")
    assert (
        "not delivered at the end: 2 spans to there (refused); "
        "not delivered at the end: 4 log records to there too, 7 metric points to elsewhere (no answer in time)"
    ) == undelivered.line()


def test_one_that_raises_stops_no_other() -> None:
    ended = threading.Event()

    def broken(_: float) -> None:
        raise RuntimeError

    assert end_all([broken, lambda _: ended.set()], 5.0)
    assert ended.is_set()
