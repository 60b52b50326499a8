"""The overhead gate: what ours costs as a share of upstream's, both in turn in this run, beside the figures
of `benchmarks/overhead.json`, which are those of the documents.

`python -m benchmarks.gate` (`make gate`). Fails where a share is more than half as much again as its figure.
CPU time of processes of their own; a share is the lesser one of the median over the rounds and of that of the
two best rounds, since what else runs on a machine only adds; and what is above its limit is measured once
more, with twice the rounds, before it fails. Whoever makes something cheaper writes its new figure into the
file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import requests, sides, spans
from benchmarks.interleaved import Contestant, contestant_loop

Work = Callable[[int], object]

FIGURES = Path(__file__).with_name("overhead.json")
"""Shares of upstream's CPU time, by the name of what is measured."""

_ROOM = 1.5

_FIELDS: Mapping[str, Any] = {
    "tenant": "acme",
    "cart": 17,
    "total": 120.5,
    "currency": "EUR",
    "paid": True,
    "items": 3,
}
_ATTRIBUTES = {"kind": "card", "tenant": "acme"}


@dataclass(frozen=True)
class Measured:
    """Something that both sides do `times` times a round; `bare` is the contestant that does the rest of it
    alone."""

    ours: str
    upstream: str
    times: int
    bare: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in (self.bare, self.ours, self.upstream) if name)

    def share(self, figures: Mapping[str, list[float]]) -> float:
        """What ours costs above bare, as a share of what upstream's does."""
        ours, theirs = figures[self.ours], figures[self.upstream]
        base = figures[self.bare] if self.bare else [0.0] * len(ours)
        shares = [
            (mine - rest) / max(other - rest, 1e-9)
            for mine, other, rest in zip(ours, theirs, base, strict=True)
        ]
        best = (min(ours) - min(base)) / max(min(theirs) - min(base), 1e-9)
        return max(min(statistics.median(shares), best), 0.0)


GATES: Mapping[str, Measured] = {
    "request": Measured("request asgi bext", "request asgi upstream", 400, "request asgi bare"),
    "request with a line": Measured(
        "request asgi bext with completion lines", "request asgi upstream", 400, "request asgi bare"
    ),
    "request, not sampled": Measured(
        "request asgi bext, not sampled", "request asgi upstream", 400, "request asgi bare"
    ),
    "Flask request": Measured("request flask bext", "request flask upstream", 300, "request flask bare"),
    "span": Measured("span span-ours", "span span-upstream", 1000),
    "line": Measured("line bext", "line upstream", 1500),
    "own instrument": Measured("instrument bext", "instrument upstream", 5000),
}
"""What is measured. Contestants are a kind of work and a side, which may be in several of these."""


def contestant(name: str) -> Work:
    """What a contestant of `GATES` does."""
    kind, _, side = name.partition(" ")
    return {
        "request": requests.contestant,
        "span": spans.contestant,
        "line": _line,
        "instrument": _instrument,
    }[kind](side)


def _line(side: str) -> Work:
    """A JSON line with the ids of its span and six fields, by standard logging."""
    import logging

    from opentelemetry import trace

    if side == "bext":
        sides.ours()
    else:
        sides.upstream()
        logging.getLogger().addHandler(_json_handler())
        logging.getLogger().setLevel(logging.INFO)
    tracer, logger = trace.get_tracer("bench"), logging.getLogger("shop")
    logger.setLevel(logging.INFO)

    def work(times: int) -> None:
        with tracer.start_as_current_span("work"):
            for _ in range(times):
                logger.info("order placed", extra=_FIELDS)

    return work


def _json_handler() -> Any:
    """What programs write for themselves: a formatter that is `json.dumps`."""
    import logging
    import tempfile

    from opentelemetry import trace

    class Json(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            span = trace.get_current_span().get_span_context()
            said = {
                "timestamp": self.formatTime(record),
                "level": record.levelname,
                "logger": record.name,
                "event": record.getMessage(),
                "trace_id": trace.format_trace_id(span.trace_id),
                "span_id": trace.format_span_id(span.span_id),
            }
            for name in _FIELDS:
                said[name] = getattr(record, name)
            return json.dumps(said)

    handler = logging.FileHandler(Path(tempfile.mkdtemp(prefix="bext-otel-bench-")) / "lines.log")
    handler.setFormatter(Json())
    return handler


def _instrument(side: str) -> Work:
    """A counter of the application's own: one `add` with two attributes."""
    from opentelemetry import metrics

    if side == "bext":
        sides.ours()
    else:
        sides.upstream()
    counter = metrics.get_meter("shop").create_counter("orders")

    def work(times: int) -> None:
        for _ in range(times):
            counter.add(1, _ATTRIBUTES)

    return work


def measure(names: Iterable[str], *, rounds: int) -> dict[str, float]:
    """The share of each of these, from this many rounds, in which all contestants are in turn."""
    gates = {name: GATES[name] for name in names}
    times: dict[str, int] = {each: gate.times for gate in gates.values() for each in gate.names}
    with ThreadPoolExecutor(2) as pool:  # importing takes longer than measuring
        begun = list(pool.map(partial(Contestant, "benchmarks.gate"), times))
    contestants = dict(zip(times, begun, strict=True))
    figures: dict[str, list[float]] = {name: [] for name in times}
    try:
        for name, each in contestants.items():
            each.run(times[name])  # warm
        for _ in range(rounds):
            for name, each in contestants.items():
                figures[name].append(each.run(times[name]) / times[name] * 1e6)
    finally:
        for each in contestants.values():
            each.close()
    return {name: gate.share(figures) for name, gate in gates.items()}


def documented() -> dict[str, float]:
    """The figures. Raises ValueError where there are not those of all that is measured, and no other."""
    found: dict[str, float] = json.loads(FIGURES.read_text(encoding="utf-8"))
    if found.keys() != GATES.keys():
        raise ValueError(f"{FIGURES.name}: expected figures of {sorted(GATES)}, found {sorted(found)}")
    return found


def over(shares: Mapping[str, float], figures: Mapping[str, float]) -> list[str]:
    """What costs more than half as much again as is documented."""
    return [name for name, share in shares.items() if share > figures[name] * _ROOM]


def main() -> int:
    """Measure, print, and tell by the exit status whether the figures hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        contestant_loop(contestant(arguments.contestant))
        return 0
    figures = documented()
    shares = measure(GATES, rounds=arguments.rounds)
    if again := over(shares, figures):
        print(f"once more, with twice the rounds: {', '.join(again)}", flush=True)
        for name, share in measure(again, rounds=2 * arguments.rounds).items():
            shares[name] = min(share, shares[name])
    for name, share in shares.items():
        limit = figures[name] * _ROOM
        verdict = "" if share <= limit else ": TOO MUCH"
        told = f"{name:24} {share:.3f} of upstream's CPU time"
        print(f"{told} (documented {figures[name]}, limit {limit:.3f}){verdict}")
    return 1 if over(shares, figures) else 0


if __name__ == "__main__":
    sys.exit(main())
