"""Records known durations: those of its seed at once, and ten times as long ones when it gets SIGUSR1."""

from __future__ import annotations

import random
import signal
import sys
import threading

AMOUNT = 5000


def durations(seed: int, scale: float = 1.0) -> list[float]:
    """Milliseconds."""
    draw = random.Random(seed)
    return [scale * draw.lognormvariate(1.0 + seed, 0.7) for _ in range(AMOUNT)]


def main() -> None:
    from bext_otel.catalogue import REQUEST_DURATION
    from bext_otel.operation import measure

    asked = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: asked.set())
    seed = int(sys.argv[1])
    for scale in (1.0, 10.0):
        for value in durations(seed, scale):
            measure(REQUEST_DURATION, value, app="shop", route="/")
        while not asked.wait(0.2):
            pass
        asked.clear()


if __name__ == "__main__":
    main()
