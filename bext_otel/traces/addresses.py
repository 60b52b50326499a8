"""Addresses among a span's attributes lose their secrets, whoever wrote them: other instrumentors know four
names of those."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bext_otel.redaction import redact_query, redact_url

__all__ = ["ADDRESSES", "without_secrets"]

ADDRESSES: Mapping[str, Callable[[str], str]] = {
    "url.full": redact_url,
    "url.query": redact_query,
    "http.url": redact_url,
    "http.target": redact_url,
}
"""Attributes with addresses by the semantic conventions, those of old included, and what redacts each."""

_names = ADDRESSES.keys()


def without_secrets(attributes: dict[str, Any]) -> dict[str, Any]:
    """A span's own attributes, redacted in place."""
    if not _names.isdisjoint(attributes):
        for name in _names & attributes.keys():
            if isinstance(attributes[name], str):
                attributes[name] = ADDRESSES[name](attributes[name])
    return attributes
