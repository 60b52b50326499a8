"""Where spans and records come from: their resource and scope, written once for a whole batch.

Requests for spans, metrics and log records have the same fields (opentelemetry-proto): resource_* 1 of the
request; resource 1, scope_* 2 and schema_url 3 of that; scope 1, the items 2 and schema_url 3 of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel.export.protobuf import Attributes, field, text
from bext_otel.redaction.policy import redact_attribute

__all__ = ["Encoded", "Origins", "resource_message", "scope_message", "size_of"]

Encoded: TypeAlias = "tuple[int, bytes]"
"""An item that waits: the number of its origin, and itself as a field of its scope's message. A tuple of a
number and bytes is nothing that the garbage collector keeps an eye on."""


def size_of(item: Encoded) -> int:
    """The bytes of an item."""
    return len(item[1])


class Origins:
    """Numbers for pairs of resource and scope. There are as many as tracers, and once more for each change of
    the resource."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int], int] = {}
        # Kept, so that the ids of these objects stay theirs.
        self._pairs: list[tuple[Resource | None, InstrumentationScope | None]] = []

    def number(self, resource: Resource | None, scope: InstrumentationScope | None) -> int:
        """Of these two, which are known by identity."""
        found = self._numbers.get((id(resource), id(scope)))
        return self._new(resource, scope) if found is None else found

    def _new(self, resource: Resource | None, scope: InstrumentationScope | None) -> int:
        self._pairs.append((resource, scope))
        found = self._numbers[id(resource), id(scope)] = len(self._pairs) - 1
        return found

    def request(self, batch: Sequence[Encoded]) -> bytes:
        """The items as an OTLP request."""
        items: dict[int, list[bytes]] = {}
        for number, item in batch:
            items.setdefault(number, []).append(item)
        scopes: dict[int, list[bytes]] = {}
        resources: dict[int, Resource | None] = {}
        for number, group in items.items():
            resource, scope = self._pairs[number]
            resources[id(resource)] = resource
            scopes.setdefault(id(resource), []).append(field(b"\x12", scope_message(scope, group)))
        return b"".join(
            [field(b"\x0a", resource_message(resources[key], groups)) for key, groups in scopes.items()]
        )


def scope_message(scope: InstrumentationScope | None, items: list[bytes]) -> bytes:
    """A scope with its items, which are fields 2 already."""
    if scope is None:
        return b"".join([b"\x0a\x00", *items])
    parts = [text(b"\x0a", scope.name), text(b"\x12", scope.version)]
    Attributes(b"\x1a", redact_attribute).write(scope.attributes or {}, parts)
    return b"".join([field(b"\x0a", b"".join(parts)), *items, text(b"\x1a", scope.schema_url)])


def resource_message(resource: Resource | None, scopes: list[bytes]) -> bytes:
    """A resource with its scopes, which are fields 2 already."""
    resource = Resource.create({}) if resource is None else resource
    parts: list[bytes] = []
    Attributes(b"\x0a", redact_attribute).write(resource.attributes, parts)
    return b"".join([field(b"\x0a", b"".join(parts)), *scopes, text(b"\x1a", resource.schema_url)])
