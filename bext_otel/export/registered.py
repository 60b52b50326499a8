"""Fields of our own entries by the names that OpenTelemetry's semantic conventions have registered.

A line has the names of the platform's contract (`method`, `status`). A backend that gets records over OTLP
looks for `http.request.method`; it gets those, with ours beside them where the names differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["registered"]

_ERROR = (("error_type", "error.type"),)
_REQUEST = (
    ("method", "http.request.method"),
    ("status", "http.response.status_code"),
    ("path", "url.path"),
    *_ERROR,
)
# By scope: a field of one name may mean something else in another, as `status` of a deploy does.
_NAMES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "bext.request": _REQUEST,
    "bext.isolate": _ERROR,
    "bext.plugin": _ERROR,
    "bext.flow": _ERROR,
    "bext.deploy": _ERROR,
}


def registered(scope: str, attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an entry's fields are called by the conventions; None for whoever is no scope of ours with such
    fields."""
    names = _NAMES.get(scope)
    if names is None:
        return None
    found = {}
    for field, name in names:  # a comprehension costs a call more, for each request
        if field in attributes:
            found[name] = attributes[field]
    # A field has a class by its short name, the conventions by its whole one.
    if "error.type" in found and "exception.type" in attributes:
        found["error.type"] = attributes["exception.type"]
    return found
