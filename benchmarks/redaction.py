"""What redaction costs a request without secrets: its completion record, a line of its own with six fields,
and its server span, as far as each of them is looked at for secrets.

`python -m benchmarks.redaction`. CPU time of a process; each part once with values that came before, and once
with new ones (a path, an id, a sum) in each request. The last rows are texts with secrets in them.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from itertools import count
from time import process_time_ns
from typing import Any

from bext_otel.export.protobuf import Attributes
from bext_otel.logs.values import plain_fields
from bext_otel.redaction import redact_body
from bext_otel.redaction.policy import redact_attribute

_SPAN: dict[str, Any] = {
    "http.request.method": "GET",
    "http.route": "/products/{product}",
    "http.response.status_code": 200,
    "url.scheme": "https",
    "url.path": "/products/chair",
    "server.address": "shop.example",
    "server.port": 443,
    "client.address": "192.0.2.17",
    "network.protocol.version": "1.1",
    "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "bext.app": "shop",
}
_FIELDS: dict[str, Any] = {
    "user": "u-48151623",
    "cart": 4711,
    "total": 129.95,
    "currency": "EUR",
    "express": True,
    "attempt": 1,
}
_SECRET = "login of ada failed: password=hunter2, Authorization: Bearer 5f2b7c9e1d3a4f6b8c0d"


def _request(*, new: bool, looks: bool) -> Callable[[], object]:
    """A request with a line of its own; `new`: its path, its client and two fields are nobody's before."""
    attributes = Attributes(b"\x4a", redact_attribute if looks else None)
    numbers = count(10**6)

    def request() -> None:
        number = next(numbers) if new else 1
        path = f"/products/{number}"
        fields = {**_FIELDS, "user": f"u-{number}-of-the-shop", "cart": number}
        attributes.write({**_SPAN, "url.path": path, "client.address": f"192.0.{number % 250}.17"}, [])
        if looks:
            redact_body(path)
            redact_body("order placed")
            plain_fields(fields)

    return request


_WORK: dict[str, Callable[[], Callable[[], object]]] = {
    "values that came before": lambda: _request(new=False, looks=True),
    "values that came before, bare": lambda: _request(new=False, looks=False),
    "new values": lambda: _request(new=True, looks=True),
    "new values, bare": lambda: _request(new=True, looks=False),
    "a text with two secrets": lambda: lambda: redact_body(_SECRET),
    "16 KiB of text without any": lambda: lambda: redact_body("nothing to hide, they say; " * 600),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--times", type=int, default=5_000, help="requests a round")
    given = parser.parse_args()
    works = {name: make() for name, make in _WORK.items()}
    figures: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(given.rounds):
        for name, work in works.items():
            times = given.times if "KiB" not in name else given.times // 100
            began = process_time_ns()
            for _ in range(times):
                work()
            figures[name].append((process_time_ns() - began) / times / 1e3)
    for name, found in figures.items():
        print(f"{name:30} {statistics.median(found):8.2f} us of CPU (median of {given.rounds} rounds)")
    for name in ("values that came before", "new values"):
        cost = statistics.median(figures[name]) - statistics.median(figures[f"{name}, bare"])
        print(f"a request without secrets, {name}: {cost:.2f} us (at most 3)")


if __name__ == "__main__":
    main()
