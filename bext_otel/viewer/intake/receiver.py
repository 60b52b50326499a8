"""OTLP/HTTP bodies in, messages out (OTLP specification 1.x, "OTLP/HTTP")."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2  # type: ignore[import-untyped]

from bext_otel.errors import BextOtelError
from bext_otel.viewer.intake.portions import TooMuchError, json_portions, wire_portions
from bext_otel.viewer.intake.wire import WireError
from bext_otel.viewer.limits import Limits

__all__ = ["JSON", "PROTOBUF", "BadBodyError", "decode", "encode", "encode_error", "media_type"]

JSON = "application/json"
PROTOBUF = "application/x-protobuf"

_M = TypeVar("_M", bound=Message)

# window bits of zlib: 16 above the usual 15 expects gzip's header, 32 above finds out between gzip and zlib
# by itself.
_WINDOW_BITS: Mapping[str, int] = {"gzip": 31, "x-gzip": 31, "deflate": 47}

_STEP = 64 * 1024
_ID_KEYS = frozenset(("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"))


class BadBodyError(BextOtelError):
    """A body that can't be taken; `status` is the HTTP status that says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def media_type(content_type: str) -> str:
    """The media type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def decode(
    kind: type[_M],
    body: bytes | bytearray,
    *,
    content_type: str,
    encoding: str,
    limits: Limits,
    large: Callable[[], object] = bool,
) -> Iterator[_M | None]:
    """What a request body of `kind` says, in small messages of that kind, each made when it is asked for;
    None for an item that has too many elements to be looked at.

    `large` is called before more than `limits.large_bytes` are inflated. Raises `BadBodyError`: 415 for a
    content type or coding that OTLP doesn't have, 413 for too much, 400 for what doesn't parse.
    """
    media = media_type(content_type)
    if media not in {JSON, PROTOBUF}:
        raise BadBodyError(415, f"Content-Type {media[:100]!r}: expected {PROTOBUF} or {JSON}")
    plain = _inflate(body, encoding.strip().lower(), limits, large)
    with _refusing(media):
        if media == PROTOBUF:
            return _parsed(kind, wire_portions(plain, kind, limits))
        return _read(kind, json_portions(plain, kind, limits))


def _parsed(kind: type[_M], portions: Iterator[bytes | None]) -> Iterator[_M | None]:
    with _refusing(PROTOBUF):
        for portion in portions:
            yield None if portion is None else kind.FromString(portion)


def _read(kind: type[_M], portions: Iterator[dict[str, Any] | None]) -> Iterator[_M | None]:
    with _refusing(JSON):
        for portion in portions:
            if portion is None:
                yield None
            else:
                yield json_format.ParseDict(_with_base64_ids(portion), kind(), ignore_unknown_fields=True)


@contextmanager
def _refusing(media: str) -> Iterator[None]:
    """What a parser raises is the sender's mistake."""
    try:
        yield
    except TooMuchError as exc:
        raise BadBodyError(413, f"the body has {exc}: too much to be taken") from exc
    except (DecodeError, WireError) as exc:
        raise BadBodyError(400, "the body is no protobuf message of this signal") from exc
    except (
        json_format.ParseError,
        msgspec.DecodeError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as exc:
        # json_format raises the last four for shapes it didn't foresee, e.g. a list where an object belongs.
        raise BadBodyError(400, f"the body is no {media} of this signal: {str(exc)[:200]}") from exc


def encode(message: Message, content_type: str) -> tuple[str, bytes]:
    """Content type and body of an answer, in the coding of the question."""
    if media_type(content_type) == JSON:
        return JSON, msgspec.json.encode(json_format.MessageToDict(message))
    return PROTOBUF, message.SerializeToString()


def encode_error(status: int, reason: str, content_type: str) -> tuple[str, bytes]:
    """Content type and body of a refusal: a `google.rpc.Status`, as OTLP wants it."""
    # 3 is INVALID_ARGUMENT in google.rpc.Code, 8 RESOURCE_EXHAUSTED, 14 UNAVAILABLE.
    code = {413: 8, 503: 14}.get(status, 3)
    return encode(status_pb2.Status(code=code, message=reason), content_type)


def _inflate(
    body: bytes | bytearray, encoding: str, limits: Limits, large: Callable[[], object]
) -> bytes | bytearray:
    """The body without its content coding, never inflating further than `limits.inflated_bytes`."""
    limit = limits.inflated_bytes
    if encoding in {"", "identity"}:
        if len(body) > limit:
            raise BadBodyError(413, f"the body has {len(body)} bytes: at most {limit} are taken")
        if len(body) > limits.large_bytes:
            large()
        return body
    if encoding not in _WINDOW_BITS:
        raise BadBodyError(415, f"Content-Encoding {encoding[:100]!r}: expected gzip, deflate or none")
    # Grown step by step: zlib itself would hold it twice.
    plain = bytearray()
    try:
        inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
        for part in _inflated(body, inflater):
            plain += part
            if len(plain) > limit:
                raise BadBodyError(413, f"the body inflates to more than {limit} bytes")
            if len(plain) > limits.large_bytes:
                large()
    except zlib.error as exc:
        raise BadBodyError(400, f"the body is not {encoding}: {exc}") from exc
    if not inflater.eof:
        raise BadBodyError(400, f"the body's {encoding} stream ends early")
    return plain


def _inflated(body: bytes | bytearray, inflater: zlib._Decompress) -> Iterator[bytes]:
    """The content in steps of limited size."""
    for start in range(0, len(body), _STEP):
        rest = bytes(body[start : start + _STEP])
        while rest:
            yield inflater.decompress(rest, _STEP)
            rest = inflater.unconsumed_tail
    # All of it may have gone in before all of it has come out.
    while part := inflater.decompress(b"", _STEP):
        yield part


def _with_base64_ids(node: Any) -> Any:
    """The same document with trace and span ids in base64.

    OTLP's JSON writes ids as hex digits, where the protobuf JSON mapping expects base64. Attribute names
    can't be confused with the keys looked for: in OTLP they are values under `key`.
    """
    if isinstance(node, dict):
        return {
            key: _base64_id(value) if key in _ID_KEYS else _with_base64_ids(value)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_with_base64_ids(item) for item in node]
    return node


def _base64_id(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("an id must be a string of hex digits")
    return base64.b64encode(bytes.fromhex(value)).decode("ascii")
