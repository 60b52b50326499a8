"""OTLP/HTTP bodies in, messages out (OTLP specification 1.x, "OTLP/HTTP")."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2  # type: ignore[import-untyped]

from bext_otel.errors import BextOtelError

__all__ = ["JSON", "PROTOBUF", "BadBodyError", "decode", "encode", "encode_error", "media_type"]

JSON = "application/json"
PROTOBUF = "application/x-protobuf"

_M = TypeVar("_M", bound=Message)

# window bits of zlib: 16 above the usual 15 expects gzip's header, 32 above finds out between gzip and zlib
# by itself.
_WINDOW_BITS: Mapping[str, int] = {"gzip": 31, "x-gzip": 31, "deflate": 47}

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


def decode(message: _M, body: bytes, *, content_type: str, encoding: str, limit: int) -> _M:
    """Fill `message` from a request body of at most `limit` bytes once inflated.

    Raises `BadBodyError`: 415 for a content type or coding that OTLP doesn't have, 413 for too much, 400 for
    what doesn't parse.
    """
    kind = media_type(content_type)
    if kind not in {JSON, PROTOBUF}:
        raise BadBodyError(415, f"Content-Type {kind!r}: expected {PROTOBUF} or {JSON}")
    plain = _inflate(body, encoding.strip().lower(), limit)
    try:
        if kind == PROTOBUF:
            message.ParseFromString(plain)
        else:
            json_format.ParseDict(
                _with_base64_ids(msgspec.json.decode(plain, type=dict[str, Any])),
                message,
                ignore_unknown_fields=True,
            )
    except DecodeError as exc:
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
        raise BadBodyError(400, f"the body is no JSON of this signal: {str(exc)[:200]}") from exc
    return message


def encode(message: Message, content_type: str) -> tuple[str, bytes]:
    """Content type and body of an answer, in the coding of the question."""
    if media_type(content_type) == JSON:
        return JSON, msgspec.json.encode(json_format.MessageToDict(message))
    return PROTOBUF, message.SerializeToString()


def encode_error(status: int, reason: str, content_type: str) -> tuple[str, bytes]:
    """Content type and body of a refusal: a `google.rpc.Status`, as OTLP wants it."""
    # 3 is INVALID_ARGUMENT in google.rpc.Code, 8 RESOURCE_EXHAUSTED.
    return encode(status_pb2.Status(code=8 if status == 413 else 3, message=reason), content_type)


def _inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its content coding, never inflating further than `limit`."""
    if encoding in {"", "identity"}:
        if len(body) > limit:
            raise BadBodyError(413, f"the body has {len(body)} bytes: at most {limit} are taken")
        return body
    if encoding not in _WINDOW_BITS:
        raise BadBodyError(415, f"Content-Encoding {encoding!r}: expected gzip, deflate or none")
    inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error as exc:
        raise BadBodyError(400, f"the body is not {encoding}: {exc}") from exc
    if len(plain) > limit:
        raise BadBodyError(413, f"the body inflates to more than {limit} bytes")
    if not inflater.eof:
        raise BadBodyError(400, f"the body's {encoding} stream ends early")
    return plain


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
