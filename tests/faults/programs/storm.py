"""Workers that count as fast as they are let, one of them killed again and again; reports what was seen of
their counts meanwhile.

Called with the number of kills and of workers. What each life has counted stands in memory that it shares
with this process.
"""

import json
import mmap
import os
import random
import signal
import sys
import threading
import time
from bisect import bisect_left

import bext_otel
from bext_otel.catalogue import CACHE_HITS
from bext_otel.operation import count

KILLS, WORKERS = int(sys.argv[1]), int(sys.argv[2])
BATCH, REST_SECONDS = 100, 0.005

runs = bext_otel.running()
assert runs is not None
# Written in one piece, which `struct.pack_into` does not do: it clears the place first.
truth = memoryview(mmap.mmap(-1, 8 * (KILLS + WORKERS))).cast("q")


def work(life: int) -> None:
    """Until killed: say in the memory what is about to be counted, and count it."""
    name = f"life-{life}"
    while True:
        for _ in range(BATCH):
            truth[life] += 1
            count(CACHE_HITS, app=name, layer="isr")
        time.sleep(REST_SECONDS)


def start(life: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work(life)
        finally:
            os._exit(1)
    return pid


def read() -> dict[int, int]:
    """What is shown of each life."""
    reply = runs.endpoints.reply("GET", "/metrics", "", {}, trusted=True)
    assert reply is not None
    found = {}
    for line in reply.body.decode().splitlines():
        if line.startswith("bext_cache_hits_total{"):
            labels, _, value = line.rpartition(" ")
            found[int(labels.partition("life-")[2].partition('"')[0])] = int(float(value))
    return found


class Watch:
    """Reads all the time, and keeps when each life had counted how much."""

    def __init__(self) -> None:
        self.ending = threading.Event()
        self.readings = self.backwards = self.too_many = 0
        self.shown: dict[int, int] = {}
        self.history: dict[int, list[tuple[int, float]]] = {}

    def read_all_the_time(self) -> None:
        while not self.ending.is_set():
            found = read()
            self.readings += 1
            self.backwards += any(found.get(life, 0) < value for life, value in self.shown.items())
            self.too_many += any(value > truth[life] for life, value in found.items())
            self.shown = found

    def look_all_the_time(self) -> None:
        while not self.ending.wait(0.01):
            now = time.monotonic()
            for life in range(KILLS + WORKERS):
                if count := truth[life]:
                    self.history.setdefault(life, []).append((count, now))

    def counted_at(self, life: int, count: int) -> float:
        """When this life had at most counted so many: the last look before it had more."""
        looks = self.history[life]
        return looks[max(bisect_left(looks, (count, float("inf"))) - 1, 0)][1]


def main() -> None:
    watch, chance = Watch(), random.Random()
    alive = {life: start(life) for life in range(WORKERS)}
    killed: dict[int, float] = {}
    threads = [
        threading.Thread(target=watch.read_all_the_time),
        threading.Thread(target=watch.look_all_the_time),
    ]
    for thread in threads:
        thread.start()
    for kill in range(KILLS):
        time.sleep(chance.uniform(0.05, 0.55))
        life = chance.choice(list(alive))
        os.kill(alive[life], signal.SIGKILL)
        killed[life] = time.monotonic()
        os.waitpid(alive.pop(life), 0)
        alive[WORKERS + kill] = start(WORKERS + kill)
    time.sleep(1.5)
    for life, pid in alive.items():
        os.kill(pid, signal.SIGKILL)
        killed[life] = time.monotonic()
        os.waitpid(pid, 0)
    time.sleep(0.2)
    watch.ending.set()
    for thread in threads:
        thread.join()
    shown = read()
    lost = [
        killed[life] - watch.counted_at(life, shown.get(life, 0))
        for life in killed
        if truth[life] > shown.get(life, 0)
    ]
    report = {
        "kills": len(killed),
        "counted": sum(truth[life] for life in killed),
        "shown": sum(shown.values()),
        "readings": watch.readings,
        "backwards": watch.backwards,
        "too_many": watch.too_many,
        "more_than_counted": [life for life, value in shown.items() if value > truth[life]],
        "worst_loss_seconds": max(lost, default=0.0),
    }
    print(json.dumps(report), flush=True)


main()
