"""Whether what was sent is seen: a trace and a log line for every request, and a count for every one that a
span tells of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bext_otel import catalogue
from bext_otel.viewer import Store
from bext_otel.viewer.waterfall import root_of

__all__ = ["Arrivals", "arrivals", "wait_for"]


@dataclass(frozen=True)
class Arrivals:
    """What the viewer has.

    `traces` begin with a request; `requests` are all that spans tell of, those among the applications of the
    platform included; `counted` are those that the metrics tell of. `logs` are log lines.
    """

    traces: int
    requests: int
    counted: int
    logs: int

    def missing(self, requests: int) -> list[str]:
        """What should be there after `requests` answers, and isn't, in words; nothing if all is."""
        found = []
        if self.traces < requests:
            found.append(f"spans: {self.traces} of {requests} requests have a trace")
        if self.logs < requests:
            found.append(f"logs: {self.logs} lines for {requests} requests")
        if self.counted < max(self.requests, requests):
            found.append(
                f"metrics: {catalogue.REQUESTS.exported} counts {self.counted} of "
                f"{max(self.requests, requests)} requests"
            )
        return found


def arrivals(store: Store) -> Arrivals:
    """What has come so far."""
    with store.reading():
        held = [trace.spans for _, trace in store.spans.newest()]
        roots = [root_of(spans) for spans in held]
        family = store.metrics.families.get(catalogue.REQUESTS.exported)
        return Arrivals(
            traces=sum(root.kind == "server" and not root.parent_id for root in roots),
            requests=sum(span.kind == "server" for spans in held for span in spans.values()),
            counted=int(sum(series.total for series in family.series.values())) if family else 0,
            logs=store.logs.received,
        )


def wait_for(store: Store, requests: int, *, wait: Callable[[float], bool], tries: int) -> list[str]:
    """What is still missing after up to `tries` looks. `wait` pauses between them for that many seconds, and
    is true to give up."""
    missing = arrivals(store).missing(requests)
    for _ in range(tries):
        if not missing or wait(0.25):
            break
        missing = arrivals(store).missing(requests)
    return missing
