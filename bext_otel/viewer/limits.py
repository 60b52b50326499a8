"""How much the viewer takes and keeps."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]

_KIB = 1024
_MIB = 1024 * _KIB


@dataclass(frozen=True)
class Limits:
    """Bounds of the store and of what may be sent; past one, the newest telemetry stays and what goes is
    counted.

    `span_bytes`, `log_bytes` and `metric_bytes` bound what is kept by the memory that it takes, so that few
    huge spans can't do what many small ones may not. `points` is kept of each series; a histogram point with
    more than `buckets` buckets or `labels` labels is refused.

    Of one span, log record or point: `attributes` of each set of them, `events` and `links` are kept, `text`
    characters of a value and `name` of a name, in all at most `item_bytes` of memory; one with more than
    `item_elements` (messages, texts and numbers at every depth) is not looked at.

    Of one request: `body_bytes` as sent, `inflated_bytes` without its compression; `items` spans, records or
    metrics; `groups` resources and scopes, each of at most `group_bytes` and `group_elements`;
    `json_elements` commas and brackets of a body in JSON. Bodies of more than `large_bytes` are taken one at
    a time; who comes meanwhile waits for `wait_seconds` at most. An answer shows what took at most
    about `answer_bytes` of memory.
    """

    traces: int = 1_000
    spans: int = 20_000
    spans_per_trace: int = 5_000
    span_bytes: int = 64 * _MIB
    logs: int = 5_000
    log_bytes: int = 32 * _MIB
    series: int = 2_000
    points: int = 240
    metric_bytes: int = 64 * _MIB
    buckets: int = 4_096
    attributes: int = 256
    labels: int = 64
    events: int = 256
    links: int = 256
    text: int = 8_192
    name: int = 512
    item_bytes: int = 512 * _KIB
    item_elements: int = 50_000
    body_bytes: int = 16 * _MIB
    inflated_bytes: int = 16 * _MIB
    items: int = 50_000
    groups: int = 5_000
    group_bytes: int = 256 * _KIB
    group_elements: int = 2_000
    json_elements: int = 300_000
    large_bytes: int = 256 * _KIB
    wait_seconds: float = 1.0
    answer_bytes: int = 8 * _MIB
