"""Nested settings and details, fit to be shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bext_otel.redaction.names import is_secret
from bext_otel.redaction.texts import redact_text
from bext_otel.redaction.urls import redact_url

__all__ = ["SECRET", "redact_details", "redact_settings"]

SECRET = "***"  # noqa: S105  # the opposite of one
"""What stands for a secret setting."""


def redact_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested settings, fit to be shown: secret settings as `***`, URLs without their secrets."""
    return {
        name: SECRET if value and is_secret(str(name)) else _redact_value(value)
        for name, value in settings.items()
    }


def _redact_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return redact_settings(value)
    if isinstance(value, str):
        return redact_url(value) if "://" in value or "@" in value else value
    if isinstance(value, (list, tuple)):
        return [_redact_value(item) for item in value]
    return value


def redact_details(value: Any) -> Any:
    """A copy of what somebody tells of himself, mappings, lists and texts in any depth, fit to be shown: what
    stands under a secret name as `***`, texts as `redact_text` has them. Truth values and None stay."""
    if isinstance(value, Mapping):
        return {
            name: SECRET
            if inner and not isinstance(inner, bool) and is_secret(str(name))
            else redact_details(inner)
            for name, inner in value.items()
        }
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, (list, tuple)):
        return [redact_details(item) for item in value]
    return value
