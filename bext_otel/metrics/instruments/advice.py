"""The buckets that the semantic conventions want of histograms whose makers say nothing of them.

Upstream's instrumentors of databases make `db.client.operation.duration`, in seconds, without advice: by the
SDK's default buckets, made for milliseconds, each query is in the first one.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["advised_bounds"]

_HTTP = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_DATABASE = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
_MODEL = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_ROWS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0)
_TOKENS = tuple(float(4**power) for power in range(14))

# By name and unit: an instrument that is called so and counts in something else is another one.
_ADVISED: Mapping[tuple[str, str], tuple[float, ...]] = {
    ("http.server.request.duration", "s"): _HTTP,
    ("http.client.request.duration", "s"): _HTTP,
    ("db.client.operation.duration", "s"): _DATABASE,
    ("db.client.response.returned_rows", "{row}"): _ROWS,
    ("messaging.client.operation.duration", "s"): _HTTP,
    ("messaging.process.duration", "s"): _HTTP,
    ("rpc.server.call.duration", "s"): _HTTP,
    ("rpc.client.call.duration", "s"): _HTTP,
    ("gen_ai.client.operation.duration", "s"): _MODEL,
    ("gen_ai.client.token.usage", "{token}"): _TOKENS,
}


def advised_bounds(name: str, unit: str) -> tuple[float, ...] | None:
    """The upper bounds of the buckets of an instrument of this name and unit; None: the conventions say
    nothing of it."""
    return _ADVISED.get((name.lower(), unit))
