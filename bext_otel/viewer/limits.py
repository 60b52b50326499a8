"""How much the viewer keeps."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]

_MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Bounds of the store; past one, the newest telemetry stays and what goes is counted.

    `span_bytes` and `log_bytes` bound what was held by its size on the wire, so that few huge spans can't do
    what many small ones may not. `points` is kept of each series; a histogram point with more than `buckets`
    buckets is refused. `text` is the longest attribute value in characters. `body_bytes` bounds a request
    body as sent, `inflated_bytes` the same body without its compression.
    """

    traces: int = 1_000
    spans: int = 20_000
    spans_per_trace: int = 5_000
    span_bytes: int = 64 * _MIB
    logs: int = 5_000
    log_bytes: int = 32 * _MIB
    series: int = 2_000
    points: int = 240
    buckets: int = 4_096
    text: int = 8_192
    body_bytes: int = 16 * _MIB
    inflated_bytes: int = 64 * _MIB
