"""OTLP requests as JSON (OTLP specification, "JSON Protobuf Encoding"): Protobuf's JSON, but for ids, which
are hex digits, and enumerations, which are numbers.

Imported where JSON is asked for.
"""

from __future__ import annotations

from base64 import b64decode
from importlib import import_module
from typing import Any

import msgspec
from google.protobuf import json_format

from bext_otel.config import Signal

__all__ = ["json_of"]

_MODULES = {"traces": "trace", "metrics": "metrics", "logs": "logs"}
_IDS = frozenset({"traceId", "spanId", "parentSpanId"})


def json_of(signal: Signal, content: bytes) -> bytes:
    """A request that is encoded as Protobuf, as JSON."""
    package = _MODULES[signal]
    module = import_module(f"opentelemetry.proto.collector.{package}.v1.{package}_service_pb2")
    request = getattr(module, f"Export{package.capitalize()}ServiceRequest").FromString(content)
    return msgspec.json.encode(_with_hex(json_format.MessageToDict(request, use_integers_for_enums=True)))


def _with_hex(said: Any) -> Any:
    """Names of attributes are values here, so that no other field has the name of an id."""
    if isinstance(said, list):
        return [_with_hex(each) for each in said]
    if not isinstance(said, dict):
        return said
    return {
        name: b64decode(value).hex() if name in _IDS else _with_hex(value) for name, value in said.items()
    }
