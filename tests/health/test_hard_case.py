"""Twenty checks of which five hang, five raise, five are slow and five are well, and many who ask."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from bext_otel.health import Health
from tests.waiting import until

LONG_S = 60.0


class Dependencies:
    """Twenty, which count how often each is asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.released = threading.Event()
        self.broken = True

    def ask(self, name: str) -> bool:
        self.asked[name] += 1
        kind = name.partition("-")[0]
        if kind == "hangs" and self.broken:
            self.released.wait(LONG_S)
        elif kind == "raises" and self.broken:
            raise ConnectionError("down")
        elif kind == "slow":
            time.sleep(0.05)
        return True

    def register(self, health: Health) -> list[str]:
        names = [f"{kind}-{number}" for kind in ("hangs", "raises", "slow", "well") for number in range(5)]
        for name in names:
            health.register(name, lambda name=name: self.ask(name), critical=True)  # type: ignore[misc]
        return names


@pytest.fixture
def dependencies() -> Iterator[Dependencies]:
    made = Dependencies()
    yield made
    made.released.set()


def test_a_thousand_probes_cause_no_run_more(dependencies: Dependencies) -> None:
    health = Health(interval_seconds=LONG_S, timeout_seconds=0.5)
    names = dependencies.register(health)
    health.ready(wait_seconds=LONG_S)
    for _ in range(1000):
        assert (503, 200) == (health.ready().http_status, health.live().http_status)
    assert dict.fromkeys(names, 1) == dict(dependencies.asked)


def test_each_check_says_what_is_so_and_the_hung_ones_hold_a_thread_each(dependencies: Dependencies) -> None:
    health = Health(interval_seconds=0.05, timeout_seconds=0.5)
    names = dependencies.register(health)

    def statuses() -> dict[str, str]:
        return {name: check.status for name, check in health.ready().checks.items()}

    until(lambda: "starting" not in statuses().values() and dependencies.asked["well-4"] > 10)
    bad = [name for name in names if name.startswith(("hangs", "raises"))]
    assert bad == [name for name, status in statuses().items() if status == "unhealthy"]
    assert {1} == {dependencies.asked[name] for name in names if name.startswith("hangs")}
    assert 20 >= sum(thread.name == "bext-health" for thread in threading.enumerate())
    dependencies.broken = False
    dependencies.released.set()
    until(lambda: health.ready().http_status == 200)
