"""Whether what was sent is seen: one trace, one count and a log line for every request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bext_otel import catalogue
from bext_otel.viewer import Store
from bext_otel.viewer.waterfall import root_of

__all__ = ["Arrivals", "arrivals", "wait_for"]


@dataclass(frozen=True)
class Arrivals:
    """What the viewer has: traces that begin with a request, log lines, and requests that the metrics count."""

    traces: int
    logs: int
    counted: int

    def missing(self, requests: int) -> list[str]:
        """What should be there after `requests` answers, and isn't, in words; nothing if all is."""
        found = []
        if self.traces < requests:
            found.append(f"spans: {self.traces} of {requests} requests have a trace")
        if not self.logs:
            found.append("logs: no line came")
        if self.counted < requests:
            found.append(f"metrics: {catalogue.REQUESTS.exported} counts {self.counted} of {requests} requests")
        return found


def arrivals(store: Store) -> Arrivals:
    """What has come so far."""
    with store.reading():
        roots = [root_of(trace.spans) for _, trace in store.spans.newest()]
        family = store.metrics.families.get(catalogue.REQUESTS.exported)
        return Arrivals(
            traces=sum(1 for root in roots if root.kind == "server" and not root.parent_id),
            logs=store.logs.received,
            counted=int(sum(series.total for series in family.series.values())) if family else 0,
        )


def wait_for(store: Store, requests: int, *, wait: Callable[[float], bool], tries: int) -> list[str]:
    """What is still missing after up to `tries` looks. `wait` pauses between them for that many seconds, and is true to give up."""
    missing = arrivals(store).missing(requests)
    for _ in range(tries):
        if not missing or wait(0.25):
            break
        missing = arrivals(store).missing(requests)
    return missing
