"""Some thirty OTLP bodies, each a few kilobytes to send, that would be a great deal to keep or to look at."""

from __future__ import annotations

import gzip
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["BODIES", "Body"]

_MIB = 1024 * 1024
_NOW = 10**18
# Just below what the viewer takes once inflated; `_PAST` is beyond.
_FULL = 15 * _MIB
_PAST = 31 * _MIB


@dataclass(frozen=True)
class Body:
    """A body: what it does, where it is sent, and as what, before and after its compression."""

    name: str
    signal: str
    make: Callable[[], bytes]
    content_type: str = "application/x-protobuf"
    encoding: str = "gzip"
    times: int = 1

    def sent(self) -> Iterator[bytes]:
        """The bytes to send, of each request."""
        for _ in range(self.times):
            plain = self.make()
            if self.encoding == "gzip":
                yield gzip.compress(plain, 6, mtime=0)
            else:
                yield zlib.compress(plain) if self.encoding == "deflate" else plain


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))


def field(number: int, value: bytes) -> bytes:
    """A field with a length: a message, a text or a packed list."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def fixed(number: int, value: int) -> bytes:
    """A field of eight bytes."""
    return varint(number << 3 | 1) + value.to_bytes(8, "little")


def pair(key: bytes, value: bytes) -> bytes:
    """An attribute with a text."""
    return field(1, key) + field(2, field(1, value))


def request(*items: bytes, resource: bytes = b"", scope: bytes = b"") -> bytes:
    """A request of any signal: the three have the same field numbers so far."""
    return field(
        1, field(1, resource) + field(2, field(1, scope) + b"".join(field(2, item) for item in items))
    )


def span(extra: bytes = b"", *, number: int = 1, trace: int = 1) -> bytes:
    """A span with ids, a name and times, and what else is given."""
    ids = field(1, trace.to_bytes(16, "big")) + field(2, number.to_bytes(8, "big"))
    return ids + field(5, b"n") + fixed(7, _NOW) + fixed(8, _NOW + 1) + extra


def many(number: int, value: bytes = b"", size: int = _FULL) -> bytes:
    """A field over and over, `size` bytes of it."""
    one = field(number, value)
    return one * (size // len(one))


def point(extra: bytes = b"", *, time: int = _NOW) -> bytes:
    """A number's data point."""
    return fixed(3, time) + fixed(4, 7) + extra


def gauge(*points: bytes, name: bytes = b"g") -> bytes:
    """A gauge metric."""
    return field(1, name) + field(5, b"".join(field(1, one) for one in points))


def _texts(seed: int, count: int, length: int) -> list[bytes]:
    """Texts of one astral character each, which Python keeps in four bytes a letter."""
    chance = random.Random(seed)
    head = "\N{GRINNING FACE}"
    return [(head + f"{chance.getrandbits(64):x}" + "x" * length).encode() for _ in range(count)]


def _wide_spans(seed: int) -> bytes:
    texts = _texts(seed, 1_700, 8_100)
    return request(
        *(span(field(9, pair(b"k", text)), number=n + 1, trace=seed + 1) for n, text in enumerate(texts))
    )


def _wide_lines(seed: int) -> bytes:
    return request(*(fixed(1, _NOW) + field(5, field(1, text)) for text in _texts(seed, 1_700, 8_100)))


def _wide_labels(seed: int) -> bytes:
    texts = iter(_texts(seed, 20_000, 480))
    labels = [b"".join(field(7, pair(b"k%d" % n, next(texts))) for n in range(60)) for _ in range(330)]
    return request(*(gauge(point(one), name=b"g%d" % n) for n, one in enumerate(labels)))


def _buckets(seed: int) -> bytes:
    counts = field(6, b"\1\0\0\0\0\0\0\0" * 4_000)
    bounds = field(7, b"".join(_double(n) for n in range(3_999)))
    held = [
        field(1, b"h%d-%d" % (seed, n)) + field(9, field(1, fixed(3, _NOW) + counts + bounds))
        for n in range(200)
    ]
    return request(*held)


def _double(number: int) -> bytes:
    return struct.pack("<d", float(number))


def _packed_buckets() -> bytes:
    one = fixed(3, _NOW) + field(8, field(2, b"\1" * _FULL))
    return request(field(1, b"h") + field(10, field(1, one)))


def _wide_resource() -> bytes:
    resource = field(1, pair(b"k", b"x" * (_MIB // 5)))
    return request(*[span()] * 9_000, resource=resource)


def _small_spans(seed: int) -> bytes:
    return request(*(span(number=seed * 50_000 + n + 1, trace=n % 997 + 1) for n in range(45_000)))


def _nested(depth: int) -> bytes:
    value = field(1, b"x")
    for _ in range(depth):
        value = field(5, field(1, value))
    return request(span(field(9, field(1, b"k") + field(2, value))))


def _tree() -> bytes:
    value = field(1, b"x")
    for _ in range(4):
        value = field(5, many(1, value, 40 * len(value)) if len(value) < _MIB else field(1, value))
    return request(span(field(9, field(1, b"k") + field(2, value))))


def _json(text: str) -> Callable[[], bytes]:
    return text.encode


def _in_span(inner: str) -> Callable[[], bytes]:
    start = '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"' + "1" * 32 + '","spanId":"' + "1" * 16
    return _json(start + '",' + inner + "}]}]}]}")


_JSON = "application/json"
_LINE = '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"%s"}}]}]}]}'
_EMPTY = 5_000_000


class _Changing:
    """A body that is another one each time."""

    def __init__(self, make: Callable[[int], bytes]) -> None:
        self._make = make
        self._seed = 0

    def __call__(self) -> bytes:
        self._seed += 1
        return self._make(self._seed)


BODIES: tuple[Body, ...] = (
    Body("span, 31 million events", "traces", lambda: request(span(many(11, size=2 * _PAST)))),
    Body("span, 7 million events", "traces", lambda: request(span(many(11)))),
    Body("span, 7 million links", "traces", lambda: request(span(many(13)))),
    Body("span, 7 million attributes", "traces", lambda: request(span(many(9)))),
    Body("span, a list of 5 million", "traces", lambda: request(span(field(9, field(2, field(5, many(1))))))),
    Body("span, a map of 5 million", "traces", lambda: request(span(field(9, field(2, field(6, many(1))))))),
    Body("span, unknown fields", "traces", lambda: request(span(many(99, b"")))),
    Body("span, 1,200 deep", "traces", lambda: _nested(1_200)),
    Body("span, a tree", "traces", _tree),
    Body("span, one text of 15 MiB", "traces", lambda: request(span(field(9, pair(b"k", b"x" * _FULL))))),
    Body("7 million spans", "traces", lambda: field(1, field(2, many(2)))),
    Body("7 million scopes", "traces", lambda: field(1, many(2))),
    Body("7 million resources", "traces", lambda: many(1)),
    Body("resource, 7 million attributes", "traces", lambda: request(span(), resource=many(1))),
    Body("resource, repeated for each span", "traces", _wide_resource),
    Body("wide texts in spans", "traces", _Changing(_wide_spans), times=6),
    Body("45,000 spans", "traces", _Changing(_small_spans), times=3),
    Body("log record, 7 million attributes", "logs", lambda: request(many(6))),
    Body("wide texts in log records", "logs", _Changing(_wide_lines), times=6),
    Body("7 million log records", "logs", lambda: field(1, field(2, many(2)))),
    Body("metric, 7 million points", "metrics", lambda: request(field(1, b"g") + field(5, many(1)))),
    Body("point, 7 million labels", "metrics", lambda: request(gauge(point(many(7))))),
    Body("wide labels", "metrics", _Changing(_wide_labels), times=8),
    Body("histogram, 15 million buckets in bytes", "metrics", _packed_buckets),
    Body("histograms of 4,000 buckets", "metrics", _Changing(_buckets), times=8),
    Body("exemplars, 5 million", "metrics", lambda: request(gauge(point(many(5))))),
    Body(
        "JSON, spans {}",
        "traces",
        _json('{"resourceSpans":[{"scopeSpans":[{"spans":[' + "{}," * _EMPTY + "{}]}]}]}"),
        _JSON,
    ),
    Body("JSON, events {}", "traces", _in_span('"events":[' + "{}," * _EMPTY + "{}]"), _JSON),
    Body(
        "JSON, values []",
        "traces",
        _in_span(
            f'"attributes":[{{"key":"k","value":{{"arrayValue":{{"values":[{"{}," * _EMPTY}{{}}]}}}}}}]'
        ),
        _JSON,
    ),
    Body("JSON, depth 100,000", "traces", _json('{"resourceSpans":' + "[" * 100_000), _JSON),
    Body("JSON, a number of 14 MiB", "traces", _in_span('"startTimeUnixNano":' + "1" * (14 * _MIB)), _JSON),
    Body("JSON, escapes", "logs", _json(_LINE % ("\\ud83d\\ude00" * 1_200_000)), _JSON),
    Body("not compressed, 15 MiB", "traces", lambda: request(span(many(11))), encoding=""),
    Body("deflate, endless", "traces", lambda: bytes(16 * _PAST), encoding="deflate"),
)
"""Every one of them; those with `times` are sent so often that a store must let go of something."""
