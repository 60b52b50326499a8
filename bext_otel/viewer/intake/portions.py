"""A request body cut into small requests, before any of it becomes an object.

A body of a few kilobytes can stand for millions of elements. So it is never parsed as a whole: its frame of
resources and scopes is walked, within limits, and what stands in it comes out in requests of a few items
each, of which the next is made when the last one is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from google.protobuf.message import Message

from bext_otel.viewer.intake.wire import LENGTH, Span, fields, has_more_elements
from bext_otel.viewer.limits import Limits

__all__ = ["TooMuchError", "json_portions", "wire_portions"]

# Field numbers of all three requests: 1 has resources; in each, 1 is the resource itself and 2 has scopes; in
# each of these, 1 is the scope itself and 2 has the items.
_ITEMS, _HEAD, _INSIDE = 1, 1, 2
# An item of less than this can't have elements enough to matter, so they needn't be counted.
_PORTION_BYTES = 64 * 1024
_PORTION_ITEMS = 64

_raws = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_anything = msgspec.json.Decoder(dict[str, Any])


class TooMuchError(Exception):
    """A body within its limit of bytes and beyond another one, which the message names."""


class _Frame:
    """What stands around items, counted while it is found."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._groups = self._items = 0

    def group(self, size: int) -> None:
        """One more resource or scope, `size` bytes of it its own."""
        self._groups += 1
        if self._groups > self.limits.groups:
            raise TooMuchError(f"more than {self.limits.groups} resources and scopes")
        if size > self.limits.group_bytes:
            raise TooMuchError(f"a resource or scope of more than {self.limits.group_bytes} bytes")

    def items(self, count: int) -> None:
        """As many more spans, records or metrics."""
        self._items += count
        if self._items > self.limits.items:
            raise TooMuchError(f"more than {self.limits.items} spans, log records or metrics")


def wire_portions(body: bytes | bytearray, kind: type[Message], limits: Limits) -> Iterator[bytes | None]:
    """Requests of type `kind`, in protobuf, that together say what `body` does; None for each item that has
    too many elements to be looked at.

    Raises `WireError` and `TooMuchError` for the frame at once, and `WireError` for an item when it is its
    turn.
    """
    request: Any = kind.DESCRIPTOR
    resources = request.fields_by_number[_ITEMS].message_type
    scopes = resources.fields_by_number[_INSIDE].message_type
    frame = _Frame(limits)
    found: list[tuple[list[Span], list[tuple[list[Span], list[Span]]]]] = []
    for outer in _spans(body, (0, len(body)), _ITEMS, limits.groups):
        head, inside = _split(body, outer, resources, frame)
        found.append((head, groups := []))
        for scope in inside:
            groups.append(_split(body, scope, scopes, frame))
            frame.items(len(groups[-1][1]))
    item = scopes.fields_by_number[_INSIDE].message_type

    def portions() -> Iterator[bytes | None]:
        for head, groups in found:
            for scope, items in groups:
                for few in _few(items):
                    begin, end = few[0]
                    if end - begin > _PORTION_BYTES and has_more_elements(
                        body, begin, end, item, limits.item_elements
                    ):
                        yield None
                    else:
                        yield _framed(body, head, scope, few)

    return portions()


def _split(
    body: bytes | bytearray, group: Span, descriptor: Any, frame: _Frame
) -> tuple[list[Span], list[Span]]:
    """A group's own message (in pieces, which a parser merges) and what stands in it."""
    limits = frame.limits
    head = _spans(body, group, _HEAD, limits.items)
    frame.group(sum(end - begin for begin, end in head))
    message = descriptor.fields_by_number[_HEAD].message_type
    if any(has_more_elements(body, begin, end, message, limits.group_elements) for begin, end in head):
        raise TooMuchError(f"a resource or scope of more than {limits.group_elements} elements")
    return head, _spans(body, group, _INSIDE, limits.items)


def _spans(body: bytes | bytearray, within: Span, number: int, most: int) -> list[Span]:
    """Where the messages with a field number stand in another one, which has at most so many fields."""
    found: list[Span] = []
    for index, (at, kind, begin, end) in enumerate(fields(body, *within)):
        if index >= most:
            raise TooMuchError(f"more than {most} elements in one place")
        if at == number and kind == LENGTH:
            found.append((begin, end))
    return found


def _few(items: Sequence[Span]) -> Iterator[Sequence[Span]]:
    """Items in portions: few of them, and few bytes but for one that is large by itself."""
    start = size = 0
    for index, (begin, end) in enumerate(items):
        if index > start and (index - start >= _PORTION_ITEMS or size + end - begin > _PORTION_BYTES):
            yield items[start:index]
            start, size = index, 0
        size += end - begin
    if start < len(items):
        yield items[start:]


def _framed(
    body: bytes | bytearray, resource: Sequence[Span], scope: Sequence[Span], items: Sequence[Span]
) -> bytes:
    view = memoryview(body)

    def parts(number: int, spans: Sequence[Span]) -> list[bytes | memoryview]:
        return [part for begin, end in spans for part in (_tag(number, end - begin), view[begin:end])]

    inner = b"".join(parts(_HEAD, scope) + parts(_INSIDE, items))
    outer = b"".join([*parts(_HEAD, resource), _tag(_INSIDE, len(inner)), inner])
    return _tag(_ITEMS, len(outer)) + outer


def _tag(number: int, length: int) -> bytes:
    found = bytearray((number << 3 | LENGTH,))
    while length > 0x7F:
        found.append(length & 0x7F | 0x80)
        length >>= 7
    found.append(length)
    return bytes(found)


def json_portions(
    body: bytes | bytearray, kind: type[Message], limits: Limits
) -> Iterator[dict[str, Any] | None]:
    """The same for a body in JSON, as documents. Raises `TooMuchError` and what `msgspec` raises, for the
    frame at once."""
    if _json_elements(body) > limits.json_elements:
        raise TooMuchError(f"more than {limits.json_elements} elements")
    request: Any = kind.DESCRIPTOR
    outside = request.fields_by_number[_ITEMS]
    inside = outside.message_type.fields_by_number[_INSIDE]
    last = inside.message_type.fields_by_number[_INSIDE]
    frame = _Frame(limits)
    found: list[tuple[Any, list[tuple[Any, list[msgspec.Raw]]]]] = []
    for outer in _listed(_object.decode(body), outside):
        resource, scopes = _opened(outer, "resource", inside, frame)
        groups = [_opened(scope, "scope", last, frame) for scope in scopes]
        for _, items in groups:
            frame.items(len(items))
        found.append((resource, groups))

    def portions() -> Iterator[dict[str, Any] | None]:
        for resource, groups in found:
            for scope, items in groups:
                for item in items:
                    raw = bytes(item)
                    if _json_elements(raw) > limits.item_elements:
                        yield None
                        continue
                    held = {"scope": scope, last.json_name: [_anything.decode(raw)]}
                    yield {outside.json_name: [{"resource": resource, inside.json_name: [held]}]}

    return portions()


def _opened(
    raw: msgspec.Raw, own: str, field: Any, frame: _Frame
) -> tuple[dict[str, Any], list[msgspec.Raw]]:
    group = _object.decode(raw)
    head = bytes(group.get(own, b"null"))
    frame.group(len(head))
    if _json_elements(head) > frame.limits.group_elements:
        raise TooMuchError(f"a resource or scope of more than {frame.limits.group_elements} elements")
    return {} if head == b"null" else _anything.decode(head), _listed(group, field)


def _listed(group: dict[str, msgspec.Raw], field: Any) -> list[msgspec.Raw]:
    """A list of a document; protobuf's JSON mapping takes either spelling of its name, and null for none."""
    raw = group.get(field.json_name, group.get(field.name))
    return [] if raw is None or bytes(raw) == b"null" else _raws.decode(raw)


def _json_elements(text: bytes | bytearray) -> int:
    """At least as many as there are values: each but the first of a list or an object has a comma before
    it."""
    return sum(text.count(mark) for mark in (b",", b"{", b"["))
