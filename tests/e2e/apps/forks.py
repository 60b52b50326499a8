"""Forks forty children while its threads measure, collect and export; each child measures, reads, exports and
ends."""

import faulthandler
import json
import logging
import os
import signal
import sys
import threading

from opentelemetry import metrics, trace

import bext_otel
from bext_otel.catalogue import CACHE_HITS, RENDER
from bext_otel.operation import count, operation

CHILDREN = 40
things = metrics.get_meter("shop").create_counter("shop.things")
stalls = metrics.get_meter("shop").create_histogram("shop.stalls")
provider = metrics.get_meter_provider()
runs = bext_otel.running()
assert runs is not None
ending = threading.Event()
counted = [0, 0]


def page() -> str:
    reply = runs.endpoints.reply("GET", "/metrics", "", {}, trusted=True)
    assert reply is not None
    return reply.body.decode()


def measure(number: int) -> None:
    while not ending.is_set():
        with operation(RENDER, app="shop"):
            count(CACHE_HITS, app="shop", layer="isr")
            things.add(1)
            stalls.record(1.0)
            counted[number] += 1


def again(call: object) -> None:
    while not ending.wait(0.002):
        call()


def child() -> None:
    signal.alarm(60)  # whoever hangs ends by this
    failed = 1
    try:
        with trace.get_tracer("shop").start_as_current_span("child"):
            count(CACHE_HITS, app="shop", layer="isr")
            things.add(1)
            logging.getLogger("shop").warning("child counts")
        assert "bext_cache_hits_total" in page()
        failed = 0 if runs.shutdown() else 2
        if failed:
            faulthandler.dump_traceback(all_threads=True)
    finally:
        os._exit(failed)


def main() -> None:
    work = [*(threading.Thread(target=measure, args=(number,)) for number in (0, 1))]
    work += [threading.Thread(target=again, args=(call,)) for call in (page, page, provider.force_flush)]
    for thread in work:
        thread.start()
    children = []
    for _ in range(CHILDREN):
        before = sum(counted)
        while sum(counted) < before + 20:  # so that each fork meets another moment
            ending.wait(0.001)
        pid = os.fork()
        if pid == 0:
            child()
        children.append(pid)
    exits = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    ending.set()
    for thread in work:
        thread.join()
    hits = [
        line
        for line in page().splitlines()
        if line.startswith(("bext_cache_hits_total", "shop_things_total"))
    ]
    shown = [float(line.rpartition(" ")[2]) for line in hits]
    print(json.dumps({"exits": exits, "counted": sum(counted), "shown": shown}), flush=True)
    sys.exit(0)


main()
