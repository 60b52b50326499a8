"""Attributes that many spans have in common: made once, looked at once, and encoded once.

A span of a request has a dozen attributes, of which one or two are its own. The rest are what its service,
its client and its result have in common with other requests' (`Shared`); the span keeps references to these
until somebody asks for its attributes one by one.

Needs the standard library only.
"""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = ["Described", "Shared", "merged"]


class Shared:
    """Attributes with values of plain types, and without secrets in addresses, which nobody changes.
    `written` is what an encoder has made of them (empty: none has yet)."""

    __slots__ = ("attributes", "written")

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes
        self.written = b""


Described: TypeAlias = "dict[str, Any] | tuple[dict[str, Any] | Shared, ...]"
"""Attributes as a span may begin with them: a dictionary of nobody else's, or parts that have no name in
common."""


def merged(described: Described) -> dict[str, Any]:
    """All of them, in a dictionary of nobody else's."""
    if isinstance(described, dict):
        return described
    made: dict[str, Any] = {}
    for part in described:
        made.update(part.attributes if isinstance(part, Shared) else part)
    return made
